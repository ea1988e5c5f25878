"""The parts of the simulated camera, a program of its own: no camera's ingest imports them."""
