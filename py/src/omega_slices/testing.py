"""For tests: slices compared as a whole, and told apart like a good test failure.

Owns the comparison and its words.  Both sides go through batch by batch, so files larger
than memory can be compared; values are compared by columns, never one by one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from omega_slices._buffers import unpack_presence, unpack_values, values_view
from omega_slices._slices import MultiSymbolSlice, SliceBatch, SliceLayout
from omega_slices._stream import SliceStream
from omega_slices._table import SliceTable, read_slices
from omega_slices._times import format_time_ns
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Array = np.ndarray[Any, Any]

# What is named of many.
_SHOWN: Final = 3


def assert_slices_equal(
    actual: str | os.PathLike[str] | SliceTable | SliceStream | Iterable[MultiSymbolSlice],
    expected: str | os.PathLike[str] | SliceTable | SliceStream | Iterable[MultiSymbolSlice],
    *,
    tolerance: float = 0.0,
) -> None:
    """Fail where two runs of slices differ, and say where and by what.

    Equal is what `MultiSymbolSlice` calls equal: NaN equals NaN, -0.0 equals 0.0, and a
    missing value differs from one of NaN.  Where batches end makes no difference.

    Parameters
    ----------
    actual, expected : str, path, SliceTable, SliceStream or iterable of MultiSymbolSlice
        A path is opened by `read_slices`.  Streams and iterators are read to their end, or
        to the first difference.
    tolerance : float
        By how much a float64 value may differ, absolutely; not negative.  Timestamps, and
        whether a value is there, must agree exactly.

    Raises
    ------
    AssertionError
        They differ.  The message names the first difference by timestamp, number of the
        slice, symbol and column, and both values; or the symbols, columns, timeframe or
        timestamps that only one of them has.
    RequestError
        `tolerance` is no such number, or something is no slices.
    OmegaSlicesError
        One of them cannot be read.

    Examples
    --------
    >>> from omega_slices import assert_slices_equal, open_slices
    >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
    ...     assert_slices_equal(slices, slices_file)
    """
    __tracebackhide__ = True
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not tolerance >= 0:
        raise RequestError(f"tolerance={tolerance!r} is no tolerance", hint="give a number from 0 on")
    difference = _difference(_Side(actual), _Side(expected), float(tolerance))
    if difference is not None:
        raise AssertionError(f"the slices differ: {difference}")


class _Run(NamedTuple):
    """Consecutive slices of one batch: from `first` on, up to `stop`, which is excluded."""

    batch: SliceBatch
    first: int
    stop: int


class _Side:
    """One of the two, as runs of slices that are taken bit by bit.

    Attributes
    ----------
    layout : SliceLayout or None
        What its slices hold, where that is known before the first one.
    """

    def __init__(self, slices: Any) -> None:
        if isinstance(slices, (str, os.PathLike)):
            slices = read_slices(slices)
        self.layout: SliceLayout | None = None
        match slices:
            case SliceTable() | SliceStream():
                self.layout = slices._layout  # noqa: SLF001  # of this package
                self._runs = _runs_of_batches(slices.batches(), slices._layout)  # noqa: SLF001
            case MultiSymbolSlice():
                raise RequestError("one slice was given", hint="put it into a list, or compare two slices with ==")
            case _:
                try:
                    self._runs = _runs_of_slices(iter(slices))
                except TypeError:
                    raise RequestError(
                        f"{slices!r} is no slices", hint="give a path, a table, a stream, or an iterable of slices"
                    ) from None
        self._run: _Run | None = None

    def peek(self) -> _Run | None:
        """Return the run that is next; None at the end."""
        if self._run is None:
            self._run = next(self._runs, None)
        if self._run is not None:
            self.layout = self._run.batch.layout
        return self._run

    def advance(self, count: int) -> None:
        """Move on within the run that is next."""
        assert self._run is not None  # who moves on has seen it
        batch, first, stop = self._run
        self._run = _Run(batch, first + count, stop) if first + count < stop else None

    def timestamps(self) -> Iterator[int]:
        """Yield the timestamps of all slices that are left."""
        while (run := self.peek()) is not None:
            yield from run.batch.timestamps_ns[run.first : run.stop]
            self.advance(run.stop - run.first)


def _runs_of_batches(batches: Iterator[pa.RecordBatch], layout: SliceLayout) -> Iterator[_Run]:
    for record_batch in batches:
        batch = SliceBatch(record_batch, layout)
        yield _Run(batch, 0, batch.slice_count)


def _runs_of_slices(slices: Iterator[MultiSymbolSlice]) -> Iterator[_Run]:
    """Put neighbours of a batch together again."""
    run: _Run | None = None
    for one in slices:
        if not isinstance(one, MultiSymbolSlice):
            raise RequestError(f"{one!r} is no slice", hint="give slices, or one path for all of them")
        batch = one._batch  # noqa: SLF001  # of this package
        place = one._row // len(one)  # noqa: SLF001
        if run is not None and run.batch is batch and run.stop == place:
            run = _Run(batch, run.first, place + 1)
            continue
        if run is not None:
            yield run
        run = _Run(batch, place, place + 1)
    if run is not None:
        yield run


def _difference(actual: _Side, expected: _Side, tolerance: float) -> str | None:
    """Return the first difference in words; None where there is none."""
    number = 0
    compared: tuple[SliceLayout, SliceLayout] | None = None
    while True:
        one, other = actual.peek(), expected.peek()
        if actual.layout is not None and expected.layout is not None:
            layouts = (actual.layout, expected.layout)
            if layouts != compared and (told := _layout_difference(*layouts)) is not None:
                return told
            compared = layouts
        if one is None and other is None:
            return None
        if one is None or other is None:
            return _timestamp_difference(actual, expected, number)
        count = min(one.stop - one.first, other.stop - other.first)
        agreeing = _agreeing(one, other, count)
        if agreeing and (told := _value_difference(one, other, agreeing, tolerance, number)) is not None:
            return told
        number += agreeing
        for side in (actual, expected):
            if agreeing:
                side.advance(agreeing)
        if agreeing < count:
            return _timestamp_difference(actual, expected, number)


def _agreeing(one: _Run, other: _Run, count: int) -> int:
    """Return how many of the next slices have the same timestamps."""
    mine, theirs = (np.array(run.batch.timestamps_ns[run.first : run.first + count], np.int64) for run in (one, other))
    differs = np.flatnonzero(mine != theirs)
    return int(differs[0]) if len(differs) else count


def _layout_difference(actual: SliceLayout, expected: SliceLayout) -> str | None:
    if actual.symbols != expected.symbols:
        return _names_difference("symbols", actual.symbols, expected.symbols)
    if actual.timeframe != expected.timeframe:
        return f"the timeframe of actual is {actual.timeframe!r}, that of expected {expected.timeframe!r}"
    if actual.content != expected.content:
        return _names_difference("columns", _columns(actual), _columns(expected))
    return None


def _columns(layout: SliceLayout) -> tuple[str, ...]:
    """Return the names of the columns that are compared, in the order of the schema's candles."""
    names: list[str] = []
    for columns in layout.candles.values():
        names += [*columns.values, columns.valid]
        names += [] if columns.timestamp is None else [columns.timestamp]
    return (*names, *(f"ind_{name}" for name in layout.content.indicators))


def _names_difference(what: str, actual: tuple[str, ...], expected: tuple[str, ...]) -> str:
    lines = [f"their {what} are not the same"]
    for side, mine, theirs in (("actual", actual, expected), ("expected", expected, actual)):
        if only := [name for name in mine if name not in theirs]:
            lines.append(f"only in {side}: {_listed(only)}")
    if len(lines) == 1:
        place = next(place for place, (one, other) in enumerate(zip(actual, expected, strict=True)) if one != other)
        lines.append(
            f"their order is not: number {place} is {actual[place]!r} in actual, {expected[place]!r} in expected"
        )
    return "\n  ".join(lines)


def _listed(names: list[str]) -> str:
    more = len(names) - 10
    return ", ".join(map(repr, names[:10])) + (f" and {more} more" if more > 0 else "")


def _timestamp_difference(actual: _Side, expected: _Side, number: int) -> str:
    """Tell which timestamps only one of them has, from a slice on up to the ends."""
    only: dict[str, list[int]] = {"actual": [], "expected": []}
    counts = {"actual": 0, "expected": 0}
    for side, timestamp_ns in _unpaired(actual.timestamps(), expected.timestamps()):
        counts[side] += 1
        if len(only[side]) < _SHOWN:
            only[side].append(timestamp_ns)
    lines = [f"from slice {number} on, their timestamps are not the same"]
    for side, shown in only.items():
        if shown:
            more = counts[side] - len(shown)
            tail = f" and {more} more" if more else ""
            lines.append(f"only in {side}: {', '.join(map(format_time_ns, shown))}{tail}")
    return "\n  ".join(lines)


def _unpaired(actual: Iterator[int], expected: Iterator[int]) -> Iterator[tuple[str, int]]:
    one, other = next(actual, None), next(expected, None)
    while one is not None or other is not None:
        if one == other:
            one, other = next(actual, None), next(expected, None)
        elif other is None or (one is not None and one < other):
            assert one is not None
            yield "actual", one
            one = next(actual, None)
        else:
            yield "expected", other
            other = next(expected, None)


def _value_difference(one: _Run, other: _Run, count: int, tolerance: float, number: int) -> str | None:
    """Return the first difference of values in `count` slices of the same timestamps."""
    layout = one.batch.layout
    width = len(layout.symbols)
    differing: dict[str, int] = {}
    for name in _columns(layout):
        mine, theirs = (_Column(run, name, count) for run in (one, other))
        if (row := mine.first_difference(theirs, tolerance)) is not None:
            differing[name] = row
    if not differing:
        return None
    name, row = min(differing.items(), key=lambda item: item[1])
    place, position = divmod(row, width)
    timestamp = format_time_ns(one.batch.timestamps_ns[one.first + place])
    actual, expected = (_Column(run, name, count).value(row) for run in (one, other))
    lines = [
        f"{name} of {layout.symbols[position]} at {timestamp}, slice {number + place}",
        f"  actual:   {actual}",
        f"  expected: {expected}",
    ]
    if tolerance:
        lines.append(f"  tolerance: {tolerance!r}")
    others = [other for other, elsewhere in differing.items() if other != name and elsewhere == row]
    if others:
        lines.append(f"  of the same symbol and slice differ: {_listed(others)}")
    return "\n".join(lines)


class _Column:
    """A column of a part of a run: values, and which of them are there."""

    def __init__(self, run: _Run, name: str, count: int) -> None:
        width = len(run.batch.index)
        self._array = run.batch.record_batch.column(name).slice(run.first * width, count * width)

    def first_difference(self, other: _Column, tolerance: float) -> int | None:
        """Return the first row in which two columns differ; None where they do not."""
        mine, theirs = self._values(), other._values()
        # By bits, which is fastest, and mostly the end of it.
        if np.array_equal(mine.view(self._bits), theirs.view(self._bits)):
            differs = np.zeros(len(mine), np.bool_)
        elif mine.dtype == np.float64:
            with np.errstate(invalid="ignore"):
                near = np.abs(mine - theirs) <= tolerance
            differs = ~(near | (mine == theirs) | (np.isnan(mine) & np.isnan(theirs)))
        else:
            differs = mine != theirs
        my_presence, their_presence = self._presence(), other._presence()
        if my_presence is not None or their_presence is not None:
            here = np.ones(len(mine), np.uint8)
            my_rows, their_rows = (
                here if presence is None else np.frombuffer(presence, np.uint8)
                for presence in (my_presence, their_presence)
            )
            # What lies under nulls of both is nobody's value.
            differs = (differs & (my_rows & their_rows).view(np.bool_)) | (my_rows != their_rows)
        return int(differs.argmax()) if differs.any() else None

    def value(self, row: int) -> str:
        """Return a value in words, by which a float is told exactly."""
        value = self._array[row]
        if not value.is_valid:
            return "missing"
        if pa.types.is_timestamp(self._array.type):
            return format_time_ns(value.value)
        return repr(value.as_py())

    @property
    def _bits(self) -> str:
        return "uint8" if pa.types.is_boolean(self._array.type) else "int64"

    def _values(self) -> Array:
        if pa.types.is_boolean(self._array.type):
            return unpack_values(self._array)
        return values_view(self._array, "float64" if pa.types.is_floating(self._array.type) else "int64")

    def _presence(self) -> memoryview[int] | None:
        return unpack_presence(self._array)
