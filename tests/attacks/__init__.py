"""What strangers and viewers with bad intent send to the whole system, and what they get."""
