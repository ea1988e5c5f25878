"""RTSP 1.0 (RFC 2326) as pure code: bytes and the time in, events and bytes out."""
