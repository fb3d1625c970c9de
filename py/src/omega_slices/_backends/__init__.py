"""Where record batches come from.

The executable, its cache, the plain implementation, or two at once.
"""
