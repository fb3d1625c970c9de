"""Schemas and batches whose request chose other types for timestamps or symbols, in the usual ones.

Owns the way from microseconds to nanoseconds, and from texts to a dictionary.  What has the
usual types passes as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from omega_slices._model.schema import SYMBOL_COLUMN, SYMBOL_TYPE, TIMESTAMP_TYPE
from omega_slices.errors import DeserializationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MICROSECONDS = pa.timestamp("us", tz="UTC")


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with timestamps in nanoseconds and symbols in a dictionary."""
    fields = [field.with_type(_plain_type(field)) for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def plain_batch(batch: pa.RecordBatch, schema: pa.Schema, symbols: pa.Array) -> pa.RecordBatch:
    """Return a batch in the types of a plain schema.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        Whole slices, maybe none.
    schema : pyarrow.Schema
        The plain form of its schema.
    symbols : pyarrow.Array
        The symbols of every slice, as strings.

    Raises
    ------
    DeserializationError
        The texts are not the symbols, slice by slice.
    pyarrow.ArrowInvalid
        A timestamp does not fit 64-bit nanoseconds.
    """
    if batch.schema.types == schema.types:
        return batch
    columns = [_plain_column(column, symbols) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def in_types(table: pa.Table, timestamp_unit: str, symbols: str) -> pa.Table:
    """Return a plain table with timestamps of a unit, and symbols as a dictionary or as texts.

    Raises
    ------
    pyarrow.ArrowInvalid
        A timestamp is no whole microsecond.
    """
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type) and timestamp_unit == "us":
            columns.append(column.cast(_MICROSECONDS))
        elif pa.types.is_dictionary(column.type) and symbols == "string":
            columns.append(column.cast(pa.string()))
        else:
            columns.append(column)
    fields = [field.with_type(column.type) for field, column in zip(table.schema, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=table.schema.metadata))


def _plain_type(field: pa.Field) -> pa.DataType:
    if field.type == _MICROSECONDS:
        return TIMESTAMP_TYPE
    if field.name == SYMBOL_COLUMN and field.type == pa.string():
        return SYMBOL_TYPE
    return field.type


def _plain_column(column: pa.Array, symbols: pa.Array) -> pa.Array:
    if column.type == _MICROSECONDS:
        return column.cast(TIMESTAMP_TYPE)
    if column.type != pa.string():
        return column
    positions = _positions(len(column), symbols)
    dictionary = pa.DictionaryArray.from_arrays(positions, symbols)
    column.validate(full=True)
    if not column.equals(dictionary.cast(pa.string())):
        raise DeserializationError(
            "its rows are not in the order of its symbols", hint="write the file again with omega-slices sync"
        )
    return dictionary


def _positions(rows: int, symbols: Sequence[object]) -> pa.Array:
    positions = np.resize(np.arange(len(symbols), dtype=np.int16), rows)
    return pa.Array.from_buffers(pa.int16(), rows, [None, pa.py_buffer(positions)])
