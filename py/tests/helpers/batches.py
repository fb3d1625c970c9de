"""Record batches with one value changed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def changed(batch: pa.RecordBatch, row: int, column: str, value: Any) -> pa.RecordBatch:
    """Return a batch with another value in one place."""
    values = batch.column(column).to_pylist()
    values[row] = value
    columns = [
        pa.array(values, batch.schema.field(name).type) if name == column else batch.column(name)
        for name in batch.schema.names
    ]
    return pa.record_batch(columns, schema=batch.schema)
