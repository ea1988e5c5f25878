"""Browser sessions to workers: one thin process; no media passes here."""
