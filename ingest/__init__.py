"""Camera to access units: one process per camera."""
