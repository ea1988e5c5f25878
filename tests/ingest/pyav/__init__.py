"""Tests of ingest/pyav, one file for each of its files."""
