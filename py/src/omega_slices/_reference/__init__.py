"""The reference: what the contract says, in the plainest Python that says it.

A second, independent answer to every request: whole files into lists of rows, rows into
dicts, dicts looked up timestamp by timestamp.  The executable is compared with it, and it
is `backend="python"`.  It makes no promise about speed or memory: all rows are held at
once.  It shares requests, candle types and errors with the rest of the package, and no code
that finds files, reads or synchronises.

Each module imports only modules that come before it: options, time, parquet, rows,
sessions, inputs, files, window, instants, series, run.
"""
