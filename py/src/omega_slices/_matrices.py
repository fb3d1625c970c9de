"""From batches to matrices: one column of whole slices, reshaped.

Owns memory and copies.  A column of a batch is a matrix of slices by symbols in memory already, so
it is viewed; where a range lies in several batches, it is copied once.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa

from omega_slices._model.schema import SYMBOL_COLUMN, TIMESTAMP_TYPE
from omega_slices.errors import RequestError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Array = np.ndarray[Any, Any]
    # Timestamps, and matrices by column.
    Block = tuple[Array, dict[str, Array]]

# Rows of a matrix that are turned at a time, so that they stay in the cache.
_TURNED_ROWS: Final = 1_024


class Blocks(Protocol):
    """What stream and table have, from which matrices are made."""

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def schema(self) -> pa.Schema: ...
    def _blocks(self, names: tuple[str, ...]) -> Iterator[Block]: ...
    def _check_unread(self) -> None: ...


def column_names(schema: pa.Schema, columns: Sequence[str | Iterable[str]]) -> tuple[str, ...]:
    """Return the names of columns of matrices: checked, flattened, in the given order."""
    given: Sequence[object] = columns
    for one in given:
        if isinstance(one, bytes) or not isinstance(one, Iterable):
            raise RequestError(f"invalid column {one!r}: expected a name", hint=_column_hint(schema))
    names = tuple(chain.from_iterable((one,) if isinstance(one, str) else one for one in columns))
    if not names:
        raise RequestError("no column is named", hint=_column_hint(schema))
    for name in names:
        if name not in schema.names:
            raise SchemaMismatchError(f"the stream has no column {name!r}", hint=_column_hint(schema), column=name)
        if name == SYMBOL_COLUMN:
            raise RequestError("the symbols are no matrix: they are its columns", hint="symbols are their names")
        if names.count(name) > 1:
            raise RequestError(f"the column {name!r} is named twice", hint="name each column once")
    return names


def _column_hint(schema: pa.Schema) -> str:
    return f"its columns are {', '.join(schema.names)}"


def gathered(slices: Blocks, names: tuple[str, ...], *, is_own: bool = False) -> Block:
    """Return whole columns, and the timestamps.

    With `is_own`, in memory that nothing else shares and that may be written to; otherwise
    read-only, and in the place of a copy a view where it can be.
    """
    slices._check_unread()  # noqa: SLF001  # of this package
    blocks = slices._blocks(names)  # noqa: SLF001
    first = next(blocks, None)
    if first is None:
        timestamps = np.empty(0, "datetime64[ns]")
        matrices = {name: np.empty((0, len(slices.symbols)), matrix_dtype(slices.schema, name)) for name in names}
    else:
        second = next(blocks, None)
        if second is None and not is_own:
            timestamps = np.ascontiguousarray(first[0])
            timestamps.flags.writeable = False
            return timestamps, first[1]
        parts = chain((first,), () if second is None else (second,), blocks)
        timestamps, matrices = _joined(parts, first)
    if not is_own:
        for array in (timestamps, *matrices.values()):
            array.flags.writeable = False
    return timestamps, matrices


def _joined(parts: Iterable[Block], first: Block) -> Block:
    timestamps = _Growing(first[0])
    matrices = {name: _Growing(matrix) for name, matrix in first[1].items()}
    for part_timestamps, part in parts:
        timestamps.append(part_timestamps)
        for name, matrix in part.items():
            matrices[name].append(matrix)
    return timestamps.array(), {name: growing.array() for name, growing in matrices.items()}


class _Growing:
    """An array to which rows are added whose number is not known.  It moves no byte to grow."""

    def __init__(self, like: Array) -> None:
        self._dtype = like.dtype
        self._shape = like.shape[1:]
        self._row_bytes = like.dtype.itemsize * int(np.prod(self._shape, dtype=np.int64))
        self._rows = 0
        # Private, and so moved by the system from page table to page table.
        self._map = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def append(self, part: Array) -> None:
        stop = self._rows + len(part)
        if (needed := stop * self._row_bytes) > len(self._map):
            self._map.resize(max(needed, 2 * len(self._map)))
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._array()[self._rows : stop] = part
        self._rows = stop

    def array(self) -> Array:
        self._map.resize(self._rows * self._row_bytes)
        return self._array()

    def _array(self) -> Array:
        rows = len(self._map) // self._row_bytes
        count = rows * (self._row_bytes // self._dtype.itemsize)
        return np.frombuffer(self._map, self._dtype, count).reshape(rows, *self._shape)


def matrix_dtype(schema: pa.Schema, name: str) -> str:
    """Return the type of the matrix of a column."""
    kind = schema.field(name).type
    return "bool" if pa.types.is_boolean(kind) else "datetime64[ns]" if pa.types.is_timestamp(kind) else "float64"


def turned(matrix: Array) -> Array:
    """Return the transposed matrix, each of its rows in one piece."""
    turned = np.empty(matrix.shape[::-1], matrix.dtype)
    for first in range(0, len(matrix), _TURNED_ROWS):
        turned[:, first : first + _TURNED_ROWS] = matrix[first : first + _TURNED_ROWS].T
    return turned


def arrow_array(array: Array) -> pa.Array:
    """Return an array of numbers, flags or timestamps as an Arrow array, without a copy if it can be.

    NaN stays NaN; NaT becomes null.
    """
    if array.dtype == np.float64:
        return pa.Array.from_buffers(pa.float64(), len(array), [None, pa.py_buffer(array)])
    if array.dtype == np.bool_:
        bits = np.packbits(array, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(array), [None, pa.py_buffer(bits)])
    present = ~np.isnat(array)
    bitmap = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(TIMESTAMP_TYPE, len(array), [bitmap, pa.py_buffer(array.view("int64"))])
