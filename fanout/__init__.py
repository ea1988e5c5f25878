"""Access units to browsers: one process per CPU core."""
