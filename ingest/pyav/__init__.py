"""Sources that are not RTSP, through PyAV: files, RTMP, FLV, MPEG-TS, HLS, V4L2."""
