"""Benchmarks: `python -m tests.bench` prints what one machine carries."""
