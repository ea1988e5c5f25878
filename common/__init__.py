"""What every room shares: errors, units, codecs' syntax, the bus and its messages."""
