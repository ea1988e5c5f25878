"""Offers and answers (RFC 8829)."""
