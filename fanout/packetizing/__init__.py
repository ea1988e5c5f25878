"""Access units to RTP payloads, once for all viewers."""
