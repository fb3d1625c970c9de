"""The memory of Arrow columns, seen without a copy.

Owns the arithmetic of offsets, widths and bitmaps.  All results are read-only and keep
the memory alive.  Every column must have at least one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]


# By the names that are asked for: to look one up costs less than to make it.
_ITEMS: Final = {name: np.dtype(name) for name in ("float64", "int64", "int16", "datetime64[ns]")}


def values_view(column: pa.Array, dtype: str) -> Array:
    """View the values of a column of fixed width; whatever lies under a null included."""
    item = _ITEMS[dtype]
    array = np.frombuffer(column.buffers()[1], item, len(column), column.offset * item.itemsize)
    array.flags.writeable = False
    return array


def floats_view(column: pa.Array) -> memoryview[float]:
    """View the values of a float64 column as plain floats: one read is one Python float."""
    return _eight_bytes(column).cast("d")


def integers_view(column: pa.Array) -> memoryview[int]:
    """View the values of an int64 or timestamp column as plain integers.

    Whatever lies under a null included.
    """
    return _eight_bytes(column).cast("q")


def _eight_bytes(column: pa.Array) -> memoryview[int]:
    start, stop = column.offset * 8, (column.offset + len(column)) * 8
    return memoryview(column.buffers()[1]).toreadonly()[start:stop]


def timestamps_view(column: pa.Array) -> Array:
    """Return a timestamp column in nanoseconds as an array of datetime64, NaT under a null.

    A copy only then.
    """
    array = values_view(column, "datetime64[ns]")
    present = unpack_presence(column)
    if present is None:
        return array
    array = np.where(np.frombuffer(present, np.bool_), array, np.datetime64("NaT"))
    array.flags.writeable = False
    return array


def string_array(texts: Sequence[str]) -> pa.Array:
    """Return texts as a string column.

    Not by `pyarrow.array`: it imports pandas where that is installed, which takes longer
    than a stream takes to give its first slice.
    """
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def unpack_values(column: pa.Array) -> Array:
    """Return a boolean column without nulls as an array of bool."""
    return _unpack(column.buffers()[1], column.offset, len(column)).view(np.bool_)


def unpack_presence(column: pa.Array) -> memoryview[int] | None:
    """Return one byte per row, 0 under a null and 1 elsewhere; None where there is no null."""
    if column.null_count == 0:
        return None
    return _unpack(column.buffers()[0], column.offset, len(column)).data


def _unpack(bitmap: pa.Buffer, offset: int, length: int) -> Array:
    first, shift = divmod(offset, 8)
    packed = np.frombuffer(bitmap, np.uint8, (shift + length + 7) // 8, first)
    bits = np.unpackbits(packed, count=shift + length, bitorder="little")[shift:]
    bits.flags.writeable = False
    return bits
