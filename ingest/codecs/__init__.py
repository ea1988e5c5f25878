"""RTP payload formats to access units: a file for each (the registry is in registry.py)."""
