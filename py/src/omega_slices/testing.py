"""For tests of code that makes or changes slices.

Owns `assert_slices_equal`, the twin of the command ``omega-slices diff``: the same
equality, the same first difference.  Guarantees memory that does not depend on how many
slices there are.  Leaves counts of what else differs to the command.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from omega_slices._buffers import unpack_presence, unpack_values, values_view
from omega_slices._slices import MultiSymbolSlice
from omega_slices._table import read_slices
from omega_slices._times import format_time_ns
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Array = np.ndarray[Any, Any]

__all__ = ["assert_slices_equal"]

# What slices are matched by.
_KEYS: Final = ("timestamp", "symbol")

_NAMES_SHOWN: Final = 10


class _Slices(Protocol):
    """What a `SliceStream` and a `SliceTable` have in common."""

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def schema(self) -> pa.Schema: ...
    def batches(self) -> Iterator[pa.RecordBatch]: ...


def assert_slices_equal(
    actual: str | os.PathLike[str] | _Slices | Iterable[MultiSymbolSlice],
    expected: str | os.PathLike[str] | _Slices | Iterable[MultiSymbolSlice],
    *,
    tolerance: float = 0.0,
) -> None:
    """Raise an AssertionError that names the first difference, unless both hold the same slices.

    Equal are the same timestamps, symbols in the same order, columns in the same order,
    timeframe, and values: no candle equals no candle only, NaN equals NaN, -0.0 equals
    0.0, an infinity only itself.  Who made the slices, and for which request, does not
    count.

    Both are read side by side, batch by batch, up to the first difference; streams are
    consumed as far.  The command ``omega-slices diff`` tells how much differs in all.

    Parameters
    ----------
    actual, expected : str, path, SliceStream, SliceTable or iterable of MultiSymbolSlice
        A path is that of a file or stream that ``omega-slices sync -o`` wrote.  A stream
        counts from where it is.
    tolerance : float
        Finite float64 values are also equal where ``abs(a - b) <= tolerance``; not
        negative.

    Raises
    ------
    AssertionError
        They differ: names timestamp, slice, symbol, field and both values; or the
        slice that only one has; or how symbols, columns or timeframe differ.
    RequestError
        `tolerance` is negative or NaN; an argument is none of the above, or an iterable
        of slices of several kinds.
    OmegaSlicesError
        Any other class of this package, where one of the two cannot be read to the
        first difference or, without one, to its end.

    Examples
    --------
    >>> from omega_slices import assert_slices_equal, open_slices
    >>> def bid(**options):
    ...     return open_slices(data, symbols=["EURUSD"], price_types=["bid"], **options)
    >>> with bid() as actual, bid() as expected:
    ...     assert_slices_equal(actual, expected)
    >>> with bid() as actual, bid(start="2024-01-02T00:01") as expected:
    ...     assert_slices_equal(actual, expected)
    Traceback (most recent call last):
        ...
    AssertionError: slices differ at 2024-01-02T00:00:00Z
      actual      slice 0 (the first is 0)
      expected    no slice
    """
    __tracebackhide__ = True
    if not tolerance >= 0.0:
        raise RequestError(f"tolerance={tolerance!r} allows nothing at all", hint="give 0 or a positive number")
    mine, theirs = _Side("actual", actual), _Side("expected", expected)
    problem = _structure_text(mine, theirs)
    if problem is None and (difference := first_difference(mine, theirs, tolerance)) is not None:
        problem = difference.text()
    if problem is not None:
        raise AssertionError(problem)


class Difference(NamedTuple):
    """The first difference, as ``omega-slices diff --json`` tells it.

    Attributes
    ----------
    timestamp_ns : int
        Of the slice, nanoseconds since 1970-01-01T00:00Z.
    positions : tuple of (int or None)
        The number of the slice in actual and in expected, from 0; None in the one that
        lacks it.
    symbol, column : str or None
        Whose value, and which; None where one of them lacks the slice.
    values : tuple
        Of actual and of expected: float, bool, int (nanoseconds since 1970), or None for
        a null.
    """

    timestamp_ns: int
    positions: tuple[int | None, int | None]
    symbol: str | None = None
    column: str | None = None
    values: tuple[float | int | None, float | int | None] = (None, None)

    def text(self) -> str:
        """Return what an assertion says of it."""
        mine, theirs = self.positions
        if self.symbol is None or self.column is None:
            sides = ["no slice" if one is None else f"slice {one} (the first is 0)" for one in (mine, theirs)]
            entries = {"actual": sides[0], "expected": sides[1]}
        else:
            sides = [_value_text(value, self.column) for value in self.values]
            entries = {"symbol": self.symbol, "field": self.column, "actual": sides[0], "expected": sides[1]}
            a, b = self.values
            if isinstance(a, float) and isinstance(b, float) and np.isfinite([a, b]).all():
                entries["difference"] = repr(abs(a - b))
            entries["slice"] = f"{mine if mine == theirs else f'{mine} and {theirs}'} (the first is 0)"
        lines = [f"  {word:<10}  {value}" for word, value in entries.items()]
        return "\n".join([f"slices differ at {_time_text(self.timestamp_ns)}", *lines])


class _Side:
    """One of the two, and how far it has been walked."""

    __slots__ = ("_batch", "_batches", "_next", "name", "passed", "schema", "symbols")

    def __init__(self, name: str, source: object) -> None:
        self.name = name
        self.schema: pa.Schema | None  # None: an iterable without slices, which can be of any kind
        self.symbols: tuple[str, ...]
        if isinstance(source, str | os.PathLike):
            source = read_slices(source)
        if all(hasattr(source, attribute) for attribute in ("symbols", "schema", "batches")):
            whole: Any = source
            self.symbols, self.schema, self._batches = tuple(whole.symbols), whole.schema, whole.batches()
        elif hasattr(source, "__iter__"):
            self._batches = _batches_of(source, name)
            first = next(self._batches, None)
            self.symbols, self.schema = ((), None) if first is None else (_symbols_of(first), first.schema)
            self._batches = _prepend(first, self._batches)
        else:
            raise RequestError(
                f"{name} holds no slices: {source!r}", hint="give a path, a SliceStream, a SliceTable or slices"
            )
        self._batch: pa.RecordBatch | None = None
        self._next = 0  # the next slice in the batch
        self.passed = 0

    def ahead(self) -> tuple[pa.RecordBatch, Array] | None:
        """Return what is left of the batch at hand, and the timestamps of its slices; None at the end."""
        width = len(self.symbols)
        if self._batch is None or self._next * width == self._batch.num_rows:
            self._batch, self._next = next(self._batches, None), 0
        if self._batch is None:
            return None
        rest = self._batch.slice(self._next * width)
        return rest, values_view(rest.column("timestamp"), "int64")[::width]

    def move(self, slices: int) -> None:
        """Walk over so many slices of the batch at hand."""
        self._next += slices
        self.passed += slices


def first_difference(mine: _Side, theirs: _Side, tolerance: float) -> Difference | None:
    """Return the first difference of two sides of the same symbols and columns; None where there is none.

    The first is that of the earliest timestamp; then in the order of symbols, then of
    columns.
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


def _lone_slice(mine: _Side, theirs: _Side, mine_at: int | None, theirs_at: int | None) -> Difference:
    """Return the difference where the next timestamps are not the same; None: there is none."""
    if mine_at is not None and (theirs_at is None or mine_at < theirs_at):
        return Difference(mine_at, (mine.passed, None))
    assert theirs_at is not None  # both ends at once are no difference
    return Difference(theirs_at, (None, theirs.passed))


def _first_in(a: pa.RecordBatch, b: pa.RecordBatch, tolerance: float) -> tuple[int, str] | None:
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


def _differs(a: pa.Array, b: pa.Array, tolerance: float) -> Array | None:
    """Return for each row of two columns whether they differ; None where nothing does to the byte."""
    mine, theirs = (_numbers(column) for column in (a, b))
    here, there = (_present(column) for column in (a, b))
    same_presence = (here is None and there is None) or np.array_equal(_known(here, len(a)), _known(there, len(b)))
    if same_presence and np.array_equal(mine.view(_bits(mine)), theirs.view(_bits(theirs))):
        return None
    same = mine == theirs
    if mine.dtype == np.float64:
        # Infinities and the largest numbers subtract to what numpy would warn of.
        with np.errstate(all="ignore"):
            close = np.abs(mine - theirs) <= tolerance
        same |= np.isnan(mine) & np.isnan(theirs)
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


def _batches_of(slices: Any, name: str) -> Iterator[pa.RecordBatch]:
    """Iterate over slices as record batches: neighbours of one batch come together."""
    layout: object = None
    batch: Any = None
    first = stop = 0
    for one in slices:
        if not isinstance(one, MultiSymbolSlice):
            raise RequestError(f"{name} holds {one!r}, which is no slice", hint="give MultiSymbolSlices")
        its_batch, row, width = one._batch, one._row, len(one)  # noqa: SLF001  # of this package
        if its_batch is not batch or row != stop:
            if batch is not None:
                yield batch.record_batch.slice(first, stop - first)
            if layout is not None and layout != its_batch.layout.key():
                raise RequestError(
                    f"{name} holds slices of several kinds: of other symbols, timeframes or columns",
                    hint="compare those of each kind by themselves",
                )
            layout = its_batch.layout.key()
            batch, first = its_batch, row
        stop = row + width
    if batch is not None:
        yield batch.record_batch.slice(first, stop - first)


def _prepend(first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if first is not None:
        yield first
        yield from rest


def _symbols_of(batch: pa.RecordBatch) -> tuple[str, ...]:
    return tuple(batch.column("symbol").dictionary.to_pylist())


def _structure_text(mine: _Side, theirs: _Side) -> str | None:
    """Return how symbols, columns and timeframe differ; None where they do not."""
    if mine.schema is None or theirs.schema is None:
        # Without slices there is nothing but the length to compare.
        return None
    columns = [[(field.name, str(field.type)) for field in side.schema] for side in (mine, theirs) if side.schema]
    names = [_labels(columns[0], columns[1]), _labels(columns[1], columns[0])]
    lines = [*_list_lines("symbols", mine.symbols, theirs.symbols), *_list_lines("columns", *names)]
    timeframes = [side.schema.metadata[b"timeframe"].decode() for side in (mine, theirs) if side.schema]
    if timeframes[0] != timeframes[1]:
        lines.append(f"timeframe is {timeframes[0]} in actual, {timeframes[1]} in expected")
    return "\n".join(["slices are of another kind", *(f"  {line}" for line in lines)]) if lines else None


def _labels(columns: Sequence[tuple[str, str]], others: Sequence[tuple[str, str]]) -> list[str]:
    """Return names of columns, with the type where the other side has another one under that name."""
    types = dict(others)
    return [name if types.get(name, kind) == kind else f"{name} ({kind})" for name, kind in columns]


def _list_lines(what: str, mine: Sequence[str], theirs: Sequence[str]) -> Iterator[str]:
    in_mine, in_theirs = set(mine), set(theirs)
    for side, lone in (
        ("actual", [name for name in mine if name not in in_theirs]),
        ("expected", [name for name in theirs if name not in in_mine]),
    ):
        if lone:
            more = f", and {len(lone) - _NAMES_SHOWN} more" if len(lone) > _NAMES_SHOWN else ""
            yield f"{what} only in {side}: {', '.join(lone[:_NAMES_SHOWN])}{more}"
    if [name for name in mine if name in in_theirs] != [name for name in theirs if name in in_mine]:
        yield f"{what} come in another order"


def _value_text(value: float | None, column: str) -> str:
    if value is None:
        return "no value" if column.startswith("ind_") else "no candle"
    if isinstance(value, int) and not isinstance(value, bool):
        return _time_text(value)
    return repr(value)


def _time_text(timestamp_ns: int) -> str:
    return format_time_ns(timestamp_ns).replace(".000000000Z", "Z")
