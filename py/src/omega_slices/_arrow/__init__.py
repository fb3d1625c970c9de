"""Arrow memory and Arrow IPC.

Views of buffers, checks of schemas and batches, files and streams.
"""
