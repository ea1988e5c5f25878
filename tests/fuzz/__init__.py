"""Every parser of octets from a camera, fed with damaged ones: `python -m tests.fuzz`, `make soak`."""
