"""Parsers of octets from cameras and viewers, fed with damaged ones: `python -m tests.fuzz`, `make soak`."""
