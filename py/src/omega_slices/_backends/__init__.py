"""Where record batches come from: the executable, its cache, the plain implementation, or two at once."""
