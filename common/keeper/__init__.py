"""The keeper: the one process that writes the configuration, and tells supervisor what follows from it."""
