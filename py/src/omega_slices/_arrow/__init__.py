"""Arrow memory and Arrow IPC: views of buffers, checks of schemas and batches, files and streams."""
