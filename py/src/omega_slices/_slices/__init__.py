"""Slices over record batches: what one slice shows, and the files that hold many."""
