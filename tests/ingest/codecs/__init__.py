"""Tests of ingest/codecs, one file for each of its files."""
