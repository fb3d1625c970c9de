"""Where two sequences of slices first differ.

Owns what equal means, and the walk along two sides at once, however each is cut into
batches.  Guarantees that the difference found is the first: by timestamp, then by symbol,
then by column.  Takes memory for one batch of each side at most.  Leaves to its callers
where the batches come from, whether symbols and columns are the same at all, and what
becomes of a difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from omega_slices._arrow.buffers import unpack_presence, unpack_values, values_view
from omega_slices._model.schema import SYMBOL_COLUMN, TIMESTAMP_COLUMN, is_indicator_column
from omega_slices._model.times import format_time_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    Array = np.ndarray[Any, Any]

# What slices are matched by.
_KEYS: Final = (TIMESTAMP_COLUMN, SYMBOL_COLUMN)


class Difference(NamedTuple):
    """The first difference, as ``omega-slices diff --json`` tells it.

    Attributes
    ----------
    timestamp_ns : int
        Of the slice, nanoseconds since 1970-01-01T00:00Z.
    positions : tuple of (int or None)
        The number of the slice on either side, from 0; None on the one that lacks it.
    symbol, column : str or None
        Whose value, and which; None where one side lacks the slice.
    values : tuple
        Of either side: float, bool, int (nanoseconds since 1970), or None for a null.
    """

    timestamp_ns: int
    positions: tuple[int | None, int | None]
    symbol: str | None = None
    column: str | None = None
    values: tuple[float | int | None, float | int | None] = (None, None)

    def text(self, names: tuple[str, str]) -> str:
        """Return what an error says of it, line by line, with the names of the two sides."""
        mine, theirs = self.positions
        if self.symbol is None or self.column is None:
            sides = ["no slice" if one is None else f"slice {one} (the first is 0)" for one in (mine, theirs)]
            entries = dict(zip(names, sides, strict=True))
        else:
            sides = [_value_text(value, self.column) for value in self.values]
            entries = {"symbol": self.symbol, "field": self.column} | dict(zip(names, sides, strict=True))
            a, b = self.values
            if isinstance(a, float) and isinstance(b, float) and np.isfinite([a, b]).all():
                entries["difference"] = repr(abs(a - b))
            entries["slice"] = f"{mine if mine == theirs else f'{mine} and {theirs}'} (the first is 0)"
        lines = [f"  {word:<10}  {value}" for word, value in entries.items()]
        return "\n".join([f"slices differ at {_time_text(self.timestamp_ns)}", *lines])


class Walk:
    """One side, and how far it has been walked.

    Attributes
    ----------
    symbols : tuple of str
        Those of each of its slices.
    passed : int
        How many slices lie behind.
    """

    __slots__ = ("_batch", "_batches", "_next", "passed", "symbols")

    def __init__(self, symbols: tuple[str, ...], batches: Iterator[pa.RecordBatch]) -> None:
        self.symbols = symbols
        self._batches = batches
        self._batch: pa.RecordBatch | None = None
        self._next = 0  # the next slice in the batch
        self.passed = 0

    def ahead(self) -> tuple[pa.RecordBatch, Array] | None:
        """Return what is left of the batch at hand, and the timestamps of its slices.

        None at the end.
        """
        width = len(self.symbols)
        if self._batch is None or self._next * width == self._batch.num_rows:
            self._batch, self._next = next(self._batches, None), 0
        if self._batch is None:
            return None
        rest = self._batch.slice(self._next * width)
        return rest, values_view(rest.column(TIMESTAMP_COLUMN), "int64")[::width]

    def move(self, slices: int) -> None:
        """Walk over some slices of the batch at hand."""
        self._next += slices
        self.passed += slices


def first_difference(mine: Walk, theirs: Walk, tolerance: float | None) -> Difference | None:
    """Return the first difference of two sides of the same symbols and columns.

    None where there is none.

    Parameters
    ----------
    mine, theirs : Walk
        Both are walked on, up to the difference or to their ends.
    tolerance : float or None
        Finite float64 values are also equal where they are no further apart.  With None
        only the same bits are equal, which tells -0.0 from 0.0; NaN equals NaN all the
        same.
    """
    while True:
        a, b = mine.ahead(), theirs.ahead()
        if a is None and b is None:
            return None
        mine_at, theirs_at = (None if side is None else int(side[1][0]) for side in (a, b))
        if a is None or b is None or mine_at != theirs_at:
            return _lone_slice(mine, theirs, mine_at, theirs_at)
        count = min(len(a[1]), len(b[1]))
        same = a[1][:count] == b[1][:count]
        slices = count if same.all() else int(np.argmin(same))
        rows = slices * len(mine.symbols)
        found = _first_in(a[0].slice(0, rows), b[0].slice(0, rows), tolerance)
        if found is not None:
            row, column = found
            number, symbol = divmod(row, len(mine.symbols))
            return Difference(
                int(a[1][number]),
                (mine.passed + number, theirs.passed + number),
                mine.symbols[symbol],
                column,
                (_value(a[0].column(column), row), _value(b[0].column(column), row)),
            )
        mine.move(slices)
        theirs.move(slices)


def _lone_slice(mine: Walk, theirs: Walk, mine_at: int | None, theirs_at: int | None) -> Difference:
    """Return the difference where the next timestamps are not the same; None: there is none."""
    if mine_at is not None and (theirs_at is None or mine_at < theirs_at):
        return Difference(mine_at, (mine.passed, None))
    assert theirs_at is not None  # both ends at once are no difference
    return Difference(theirs_at, (None, theirs.passed))


def _first_in(a: pa.RecordBatch, b: pa.RecordBatch, tolerance: float | None) -> tuple[int, str] | None:
    """Return row and column of the first difference of as many rows."""
    found: tuple[int, str] | None = None
    rows = a.num_rows
    for name in a.schema.names:
        if name in _KEYS:
            continue
        # Of later columns only what lies in rows before the one found would be earlier.
        differs = _differs(a.column(name).slice(0, rows), b.column(name).slice(0, rows), tolerance)
        if differs is not None and differs.any():
            rows = int(np.argmax(differs))
            found = rows, name
            if rows == 0:
                break
    return found


def _differs(a: pa.Array, b: pa.Array, tolerance: float | None) -> Array | None:
    """Return for each row of two columns whether they differ.

    None where nothing does to the byte.
    """
    mine, theirs = (_numbers(column) for column in (a, b))
    here, there = (_present(column) for column in (a, b))
    same_presence = (here is None and there is None) or np.array_equal(_known(here, len(a)), _known(there, len(b)))
    if same_presence and np.array_equal(mine.view(_bits(mine)), theirs.view(_bits(theirs))):
        return None
    same = mine == theirs if tolerance is not None else mine.view(_bits(mine)) == theirs.view(_bits(theirs))
    if mine.dtype == np.float64:
        same |= np.isnan(mine) & np.isnan(theirs)
        if tolerance is not None:
            # Infinities and the largest numbers subtract to what numpy would warn of.
            with np.errstate(all="ignore"):
                close = np.abs(mine - theirs) <= tolerance
            same |= close & np.isfinite(mine) & np.isfinite(theirs)
    differs: Array = ~same
    if here is not None or there is not None:
        here, there = _known(here, len(a)), _known(there, len(b))
        differs = (here != there) | (here & there & differs)
    return differs


def _numbers(column: pa.Array) -> Array:
    """View the values of a column, whatever lies under a null included."""
    if pa.types.is_boolean(column.type):
        return unpack_values(column)
    return values_view(column, "float64" if pa.types.is_floating(column.type) else "int64")


def _bits(values: Array) -> str:
    return f"u{values.dtype.itemsize}"


def _present(column: pa.Array) -> Array | None:
    presence = unpack_presence(column)
    return None if presence is None else np.frombuffer(presence, np.bool_)


def _known(presence: Array | None, rows: int) -> Array:
    return np.ones(rows, np.bool_) if presence is None else presence


def _value(column: pa.Array, row: int) -> float | int | None:
    value = column[row]
    if not value.is_valid:
        return None
    number: float | int = value.value if pa.types.is_timestamp(column.type) else value.as_py()
    return number


def _value_text(value: float | None, column: str) -> str:
    if value is None:
        return "no value" if is_indicator_column(column) else "no candle"
    if isinstance(value, int) and not isinstance(value, bool):
        return _time_text(value)
    return repr(value)


def _time_text(timestamp_ns: int) -> str:
    return format_time_ns(timestamp_ns).replace(".000000000Z", "Z")
