"""The commands of `cctv3` that look at a running system, operate it, or write its configuration."""
