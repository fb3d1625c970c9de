"""For tests of code that makes or changes slices.

Owns `assert_slices_equal`, the twin of the command ``omega-slices diff``: what may be
compared with what, and the same first difference.  Guarantees memory that does not depend
on how many slices there are.  Leaves counts of what else differs to the command.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from omega_slices._compare import Walk, first_difference
from omega_slices._model.schema import SYMBOL_COLUMN, timeframe_of
from omega_slices._slices.slice import MultiSymbolSlice
from omega_slices._table import read_slices
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa


__all__ = ["assert_slices_equal"]
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

    Slices are equal where timestamps, symbols and columns with their order, timeframe and
    values are.  No candle equals no candle only, NaN equals NaN, -0.0 equals 0.0, an
    infinity only itself.  Who made the slices, and for which request, does not
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
        `tolerance` is negative or NaN; an argument is something else, or an iterable
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
    if not isinstance(tolerance, (int, float)) or not tolerance >= 0.0:
        raise RequestError(
            f"invalid tolerance={tolerance!r}: expected 0 or a positive number", hint="give 0 for equal values"
        )
    mine, theirs = _Side("actual", actual), _Side("expected", expected)
    problem = _structure_text(mine, theirs)
    if problem is None and (difference := first_difference(mine, theirs, tolerance)) is not None:
        problem = difference.text(("actual", "expected"))
    if problem is not None:
        raise AssertionError(problem)


class _Side(Walk):
    """One of the two: its name, and its schema, which an iterable without slices has not."""

    __slots__ = ("name", "schema")

    def __init__(self, name: str, source: object) -> None:
        self.name = name
        self.schema: pa.Schema | None
        if isinstance(source, str | os.PathLike):
            source = read_slices(source)
        if all(hasattr(source, attribute) for attribute in ("symbols", "schema", "batches")):
            whole: Any = source
            self.schema = whole.schema
            super().__init__(tuple(whole.symbols), whole.batches())
        elif hasattr(source, "__iter__"):
            batches = _batches_of(source, name)
            first = next(batches, None)
            self.schema = None if first is None else first.schema
            super().__init__(() if first is None else _symbols_of(first), _prepend(first, batches))
        else:
            raise RequestError(
                f"{name} holds {source!r}: expected slices", hint="give a path, a SliceStream, a SliceTable or slices"
            )


def _batches_of(slices: Any, name: str) -> Iterator[pa.RecordBatch]:
    """Iterate over slices as record batches: neighbours of one batch come together."""
    layout: object = None
    batch: Any = None
    first = stop = 0
    for one in slices:
        if not isinstance(one, MultiSymbolSlice):
            raise RequestError(f"{name} holds {one!r}: expected a MultiSymbolSlice", hint="give MultiSymbolSlices")
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
    return tuple(batch.column(SYMBOL_COLUMN).dictionary.to_pylist())


def _structure_text(mine: _Side, theirs: _Side) -> str | None:
    """Return how symbols, columns and timeframe differ; None where they do not."""
    if mine.schema is None or theirs.schema is None:
        # Without slices there is nothing but the length to compare.
        return None
    columns = [[(field.name, str(field.type)) for field in side.schema] for side in (mine, theirs) if side.schema]
    names = [_labels(columns[0], columns[1]), _labels(columns[1], columns[0])]
    lines = [*_list_lines("symbols", mine.symbols, theirs.symbols), *_list_lines("columns", *names)]
    timeframes = [timeframe_of(side.schema) for side in (mine, theirs) if side.schema]
    if timeframes[0] != timeframes[1]:
        lines.append(f"timeframe is {timeframes[0]} in actual, {timeframes[1]} in expected")
    return "\n".join(["slices are of another kind", *(f"  {line}" for line in lines)]) if lines else None


def _labels(columns: Sequence[tuple[str, str]], others: Sequence[tuple[str, str]]) -> list[str]:
    """Return names of columns, with their type where the other side's is another."""
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
