"""The table: the slices of a file, by position and by timestamp, and a cursor over them.

Owns positions and ranges: which slice is the i-th, which is at a timestamp, what a view
shows.  Guarantees that finding one costs two searches in plain integers and no call of
Arrow.  Leaves the file and its batches to `SliceFile`, what a slice holds to the slices.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain, islice
from operator import index as plain_index
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, overload

import pyarrow as pa

from omega_slices._candle import datetime_from_ns
from omega_slices._file import SliceFile
from omega_slices._slices import MultiSymbolSlice, SliceReading, SlicesDescribed
from omega_slices._times import TimeLike, format_time_ns, parse_time_ns
from omega_slices.errors import (
    DeserializationError,
    IteratorExhaustedError,
    NoDataForTimestampError,
    RequestError,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from omega_slices._candle import RunReport
    from omega_slices._slices import SliceBatch


def read_slices(path: str | os.PathLike[str]) -> SliceTable:
    """Open a file of slices, to be walked, sliced and searched at will.

    Takes as long for a file of gigabytes as for a small one: only its footer is read.
    The rest is mapped, and read by the system where it is touched; nothing is copied
    unless the file is compressed.

    Parameters
    ----------
    path : str or path
        What ``omega-slices sync -o x.arrow`` wrote.  A stream (``x.arrows``, or what
        ``sync`` writes to its standard output) is taken too; without a footer, it is
        gone through once from message to message, and its `report` has no series.

    Returns
    -------
    SliceTable

    Raises
    ------
    DeserializationError
        The file cannot be read, holds no slices of ours, is incomplete, or of a newer
        major version of the schema.  Where there is no such file, also a
        `FileNotFoundError`.
    UnsupportedInputError
        The path is a URI.

    Examples
    --------
    >>> from omega_slices import read_slices
    >>> table = read_slices(path)
    >>> len(table), table.symbols
    (2, ('EURUSD', 'GBPUSD'))
    >>> table[-1].get_price("EURUSD", "bid"), table.at("2024-01-02").column("bid_close")
    (1.625, array([1.5, 2.5]))
    """
    file = SliceFile(path)
    return SliceTable(file, 0, file.index.starts[-1])


class SliceTable(SlicesDescribed):
    """The slices of a file, or of a part of it: a sequence that is also ordered by time.

    Made by `read_slices`.  ``len(table)``, ``table[i]`` and ``table[a:b]`` are those of a
    list; ``table[a:b]`` and `between` give views, which are tables of the same file and
    cost nothing.  Hand it as it is to whatever takes Arrow (``pyarrow.table``,
    ``polars.DataFrame``, duckdb), as often as you like.

    May be used by several threads at once, and by the children of a fork; a pickle holds
    path and range, and opens the file anew.  Each part of the file is checked when it is
    touched for the first time, so any method that gives slices or batches may raise
    `DeserializationError` where the file is damaged.

    Slices that were taken from a table stay valid when it is gone.

    Examples
    --------
    >>> from omega_slices import read_slices
    >>> table = read_slices(path)
    >>> [s.timestamp.minute for s in table], [s.timestamp.minute for s in table[1:]]
    ([0, 1], [1])
    >>> table.asof("2024-01-02T00:00:59").timestamp.minute
    0
    """

    __slots__ = (
        "__weakref__",
        "_file",
        "_firsts",
        "_layout",
        "_start",
        "_starts",
        "_stop",
        "_timeframe_ns",
        "_views",
        "_width",
    )

    def __init__(self, file: SliceFile, start: int, stop: int) -> None:
        self._file = file
        # The range, in slices of the file.
        self._start = start
        self._stop = stop
        # The file's own, one step nearer.
        self._firsts, self._starts = file.index
        self._views = file.views
        self._layout = file.layout
        self._width = len(file.layout.symbols)
        self._timeframe_ns = file.layout.timeframe_ns

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return self._file.path

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the record batches, with its metadata."""
        return self._file.schema

    @property
    def report(self) -> RunReport:
        """What the run that made the file said of itself, warnings included; of the whole file, also in a view."""
        return self._file.report

    def at(self, timestamp: TimeLike) -> MultiSymbolSlice:
        """Return the slice of exactly this timestamp.

        Parameters
        ----------
        timestamp : str, datetime, date or int
            As in `open_slices`: a text, a datetime or a date, without a zone UTC, or
            nanoseconds since 1970, which are the fastest.

        Returns
        -------
        MultiSymbolSlice

        Raises
        ------
        NoDataForTimestampError
            There is none; the message names those before and after.
        RequestError
            `timestamp` is no point in time.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).at("2024-01-02T00:01").get_price("EURUSD", "bid")
        1.625
        """
        timestamp_ns = timestamp if type(timestamp) is int else parse_time_ns(timestamp, "timestamp")
        number = bisect_right(self._firsts, timestamp_ns) - 1
        if number >= 0:
            batch = self._views[number] or self._file.batch(number)
            stamps = batch.timestamps_ns
            # Where no slice of the batch is missing before it; otherwise it is searched for.
            place = (timestamp_ns - self._firsts[number]) // self._timeframe_ns
            if place >= len(stamps) or stamps[place] != timestamp_ns:
                place = bisect_left(stamps, timestamp_ns)
            if (
                place < len(stamps)
                and stamps[place] == timestamp_ns
                and self._start <= self._starts[number] + place < self._stop
            ):
                return MultiSymbolSlice(timestamp_ns, batch, place * self._width)
        raise self._nothing_at(timestamp_ns)

    def asof(self, timestamp: TimeLike) -> MultiSymbolSlice:
        """Return the latest slice at or before a timestamp.

        Parameters
        ----------
        timestamp : str, datetime, date or int
            As in `at`.

        Returns
        -------
        MultiSymbolSlice

        Raises
        ------
        NoDataForTimestampError
            All slices are later, or there are none.
        RequestError
            `timestamp` is no point in time.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).asof("2024-01-03").timestamp.isoformat()
        '2024-01-02T00:01:00+00:00'
        """
        timestamp_ns = parse_time_ns(timestamp, "timestamp")
        position = self._position(timestamp_ns, bisect_right) - 1
        if position < 0:
            first = f"the first one is at {format_time_ns(self[0].timestamp_ns)}" if len(self) else "it is empty"
            raise NoDataForTimestampError(
                f"{self._name()} has no slice at or before {format_time_ns(timestamp_ns)}: {first}",
                hint="ask for a later timestamp, or for a longer range",
            )
        return self._slice(position)

    def between(self, start: TimeLike, end: TimeLike) -> SliceTable:
        """Return a view of the slices from one timestamp to another, both ends inclusive.

        Parameters
        ----------
        start, end : str, datetime, date or int
            As in `at`.  A date is its midnight, so ``end="2024-01-31"`` ends with the
            first slice of that day.

        Returns
        -------
        SliceTable
            Empty where no slice lies between them.

        Raises
        ------
        RequestError
            `start` or `end` is no point in time.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> len(read_slices(path).between("2024-01-02T00:00:30", "2024-01-03"))
        1
        """
        first = self._position(parse_time_ns(start, "start"), bisect_left)
        return self[first : self._position(parse_time_ns(end, "end"), bisect_right)]

    def cursor(self) -> SliceCursor:
        """Return one slice object that can be moved along, at the first slice.

        Returns
        -------
        SliceCursor
            Of its own: each engine and each thread takes one.

        Raises
        ------
        NoDataForTimestampError
            The table is empty.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> cursor = read_slices(path).cursor()
        >>> for i in range(2):
        ...     print(cursor.set_index(i).timestamp.time(), cursor.get_price("EURUSD", "bid"))
        00:00:00 1.5
        00:01:00 1.625
        """
        if not len(self):
            raise NoDataForTimestampError(
                f"{self._name()} is empty: a cursor has nowhere to be", hint="test len() before, or ask for more"
            )
        return SliceCursor(self, 0)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Iterate over the table as record batches.

        Yields
        ------
        pyarrow.RecordBatch
            Whole slices, N rows each, of the table's `schema`; never without rows.
            Views of the mapped file unless it is compressed.

        Raises
        ------
        DeserializationError
            The file is damaged.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> [batch.num_rows for batch in read_slices(path)[1:].batches()]
        [2]
        """
        width = self._width
        for number, batch, first, stop in self._parts():
            record_batch = self._file.record_batch(number)
            if stop - first == batch.slice_count:
                yield record_batch
            else:
                yield record_batch.slice(first * width, (stop - first) * width)

    def to_polars(self) -> pl.DataFrame:
        """Return the table as a polars DataFrame, which needs polars.

        Returns
        -------
        polars.DataFrame
            A row per slice and symbol; columns as in `schema`.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).to_polars()["bid_close"].to_list()
        [1.5, 2.5, 1.625, 2.75]
        """
        import polars as pl  # noqa: PLC0415  # not a dependency of this package

        return pl.DataFrame(self)

    def to_pandas(self) -> Any:
        """Return the table as a pandas DataFrame, which needs pandas.

        Returns
        -------
        pandas.DataFrame
            A row per slice and symbol; columns as in `schema`, a null as NaN or NaT.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).to_pandas()["bid_close"].tolist()
        [1.5, 2.5, 1.625, 2.75]
        """
        return pa.table(self).to_pandas()

    def to_duckdb(self, connection: Any = None) -> Any:
        """Return the table as a relation of duckdb, which needs duckdb.

        Nothing is read before the relation is asked for its rows; each time it is, the
        table is read anew.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection, optional
            Where the relation belongs; by default duckdb's own one of the process.

        Returns
        -------
        duckdb.DuckDBPyRelation
            A row per slice and symbol; columns as in `schema`.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> relation = read_slices(path).to_duckdb()
        >>> relation.aggregate("symbol, max(bid_close) AS top").order("top").fetchall()
        [('EURUSD', 1.625), ('GBPUSD', 2.75)]
        """
        import duckdb  # noqa: PLC0415  # not a dependency of this package

        return (duckdb if connection is None else connection).from_arrow(self)

    def __len__(self) -> int:
        """Return the number of slices."""
        return self._stop - self._start

    @overload
    def __getitem__(self, key: SupportsIndex) -> MultiSymbolSlice: ...

    @overload
    def __getitem__(self, key: slice) -> SliceTable: ...

    def __getitem__(self, key: SupportsIndex | slice) -> MultiSymbolSlice | SliceTable:
        """Return the slice at a position, or a view of those between two.

        Raises
        ------
        IteratorExhaustedError
            There is no such position; also an `IndexError`.
        RequestError
            The step of the view is not 1; also a `ValueError`.
        """
        if isinstance(key, slice):
            begin, end, step = key.indices(len(self))
            if step != 1:
                raise RequestError(
                    f"a view of every {step}. slice is not possible: slices are views of their neighbours",
                    hint="use a step of 1, and itertools.islice(table, start, stop, step) or a loop over table[i]",
                )
            return SliceTable(self._file, self._start + begin, self._start + max(begin, end))
        position = plain_index(key)
        count = self._stop - self._start
        if position < 0:
            position += count
        if not 0 <= position < count:
            raise self._no_position(plain_index(key))
        return self._slice(position)

    def __iter__(self) -> Iterator[MultiSymbolSlice]:
        """Iterate over the slices; from any point on with ``iter(table[i:])``."""
        return chain.from_iterable(
            batch.slices(first) if stop == batch.slice_count else islice(batch.slices(first), stop - first)
            for _, batch, first, stop in self._parts()
        )

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the table over as an Arrow C stream; may be called again, each time from the start.

        The taker raises an error of its own class where the file is damaged, with our
        message in it.

        Parameters
        ----------
        requested_schema : PyCapsule, optional
            A schema to cast to, as the Arrow PyCapsule interface describes it.

        Returns
        -------
        PyCapsule
        """
        reader = pa.RecordBatchReader.from_batches(self.schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)

    def __reduce__(self) -> tuple[object, ...]:
        """Return path and range, and what tells whether the file is still the same."""
        return _reopen, (self.path, self._start, self._stop, _identity(self._file))

    def __repr__(self) -> str:
        """Return what the table is about, where it begins and ends, and its file."""
        edges = ""
        if len(self):
            edges = f", {_iso(self[0].timestamp_ns)} to {_iso(self[-1].timestamp_ns)}"
        return (
            f"<SliceTable {'+'.join((self.timeframe, *self.timeframes))} of {len(self.symbols)} symbols, "
            f"{len(self)} slices{edges}, of {self.path!r}>"
        )

    def _parts(self) -> Iterator[tuple[int, SliceBatch, int, int]]:
        """Iterate over the batches of the range: number, batch, first and last (excluded) slice in it."""
        if self._start == self._stop:
            return
        starts = self._starts
        for number in range(bisect_right(starts, self._start) - 1, bisect_left(starts, self._stop)):
            batch = self._views[number] or self._file.batch(number)
            before = starts[number]
            yield number, batch, max(self._start - before, 0), min(self._stop - before, batch.slice_count)

    def _find_in(self, position: int) -> tuple[SliceBatch, int]:
        """Return the batch of a position, and the position of that batch's first slice, which may be negative."""
        number = bisect_right(self._starts, self._start + position) - 1
        return self._views[number] or self._file.batch(number), self._starts[number] - self._start

    def _slice(self, position: int) -> MultiSymbolSlice:
        batch, first = self._find_in(position)
        place = position - first
        return MultiSymbolSlice(batch.timestamps_ns[place], batch, place * self._width)

    def _position(self, timestamp_ns: int, side: Callable[[Sequence[int], int], int]) -> int:
        """Return how many slices are before a timestamp, or, by `bisect_right`, not after it."""
        number = bisect_right(self._firsts, timestamp_ns) - 1
        if number < 0:
            return 0
        batch = self._views[number] or self._file.batch(number)
        in_file = self._starts[number] + side(batch.timestamps_ns, timestamp_ns)
        return min(max(in_file - self._start, 0), len(self))

    def _index_at(self, timestamp_ns: int) -> int:
        """Return the position of the slice of exactly this timestamp."""
        position = self._position(timestamp_ns, bisect_left)
        if position < len(self) and self._slice(position).timestamp_ns == timestamp_ns:
            return position
        raise self._nothing_at(timestamp_ns)

    def _nothing_at(self, timestamp_ns: int) -> NoDataForTimestampError:
        parse_time_ns(timestamp_ns, "timestamp")  # refuses what no timestamp can be
        after = self._position(timestamp_ns, bisect_left)
        near = []
        if after > 0:
            near.append(f"the one before is at {format_time_ns(self._slice(after - 1).timestamp_ns)}")
        if after < len(self):
            near.append(f"the one after is at {format_time_ns(self._slice(after).timestamp_ns)}")
        return NoDataForTimestampError(
            f"{self._name()} has no slice at {format_time_ns(timestamp_ns)}: {', '.join(near) or 'it is empty'}",
            hint="asof() gives the latest one at or before a timestamp",
        )

    def _no_position(self, position: int) -> IteratorExhaustedError:
        return _NoSuchPositionError(
            f"{self._name()} has no position {position}: it has {len(self)} slices",
            hint="positions count from 0; len() tells how many there are",
        )

    def _name(self) -> str:
        whole = (self._start, self._stop) == (0, self._starts[-1])
        return f"{self.path!r}" if whole else f"this part of {self.path!r}"


class SliceCursor(SliceReading):
    """One slice object that moves along a table, for engines that keep one.

    Made by `SliceTable.cursor`.  Reads like a `MultiSymbolSlice`, of the slice at which it
    is now.  What was read before a move (candles, snapshots, columns) stays what it was.
    For one thread at a time; keeps the batch at which it is in memory.

    Equal to whatever slice or cursor has the same content now, and so without a hash.

    Attributes
    ----------
    timestamp_ns : int
        The timestamp of the slice at which it is now, nanoseconds since 1970-01-01T00:00Z.

    Examples
    --------
    >>> from omega_slices import read_slices
    >>> cursor = read_slices(path).cursor()
    >>> cursor.set_timestamp("2024-01-02T00:01").get("GBPUSD", "ask").close
    3.0
    >>> kept = cursor.to_slice()
    >>> cursor.set_index(0).timestamp.minute, kept.timestamp.minute
    (0, 1)
    """

    __slots__ = ("_batch", "_first", "_row", "_stamps", "_start", "_stop", "_table", "_width", "timestamp_ns")

    def __init__(self, table: SliceTable, position: int) -> None:
        self._table = table
        self._width = len(table.symbols)
        self._enter(position)

    @property
    def index(self) -> int:
        """Where it is now: the position within the table."""
        return self._first + self._row // self._width

    def set_index(self, index: SupportsIndex) -> Self:
        """Move to a position.

        Parameters
        ----------
        index : int
            From 0 to ``len(table) - 1``.  Not negative, unlike ``table[i]``: a step too
            far back must not show the end of the data.

        Returns
        -------
        SliceCursor
            Itself.

        Raises
        ------
        IteratorExhaustedError
            There is no such position, and it has not moved; also an `IndexError`.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).cursor().set_index(1).index
        1
        """
        # Mostly a neighbour, in the same batch.
        if type(index) is int and self._start <= index < self._stop:
            place = index - self._first
            self.timestamp_ns = self._stamps[place]
            self._row = place * self._width
        else:
            self._enter(plain_index(index))
        return self

    def set_timestamp(self, timestamp: TimeLike) -> Self:
        """Move to the slice of exactly this timestamp.

        Parameters
        ----------
        timestamp : str, datetime, date or int
            As in `SliceTable.at`.

        Returns
        -------
        SliceCursor
            Itself.

        Raises
        ------
        NoDataForTimestampError
            There is none, and it has not moved.
        RequestError
            `timestamp` is no point in time.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).cursor().set_timestamp("2024-01-02T00:01").index
        1
        """
        timestamp_ns = timestamp if type(timestamp) is int else parse_time_ns(timestamp, "timestamp")
        place = bisect_left(self._stamps, timestamp_ns, self._start - self._first, self._stop - self._first)
        if place < self._stop - self._first and self._stamps[place] == timestamp_ns:
            self.timestamp_ns = timestamp_ns
            self._row = place * self._width
        else:
            self._enter(self._table._index_at(timestamp_ns))  # noqa: SLF001  # of this module
        return self

    def to_slice(self) -> MultiSymbolSlice:
        """Return the slice at which it is now, which stays what it is.

        Returns
        -------
        MultiSymbolSlice

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> cursor = read_slices(path).cursor()
        >>> cursor.to_slice() == cursor
        True
        """
        return MultiSymbolSlice(self.timestamp_ns, self._batch, self._row)

    def __reduce__(self) -> tuple[object, ...]:
        """Return table and position."""
        return SliceCursor, (self._table, self.index)

    def _enter(self, position: int) -> None:
        """Move to another batch; not at all where something is wrong."""
        table = self._table
        if not 0 <= position < len(table):
            raise table._no_position(position)  # noqa: SLF001  # of this module
        batch, first = table._find_in(position)  # noqa: SLF001  # of this module
        self._batch = batch
        self._stamps = batch.timestamps_ns
        # Positions within the table: of the batch's first slice, which may lie before it, and
        # of those that both have.
        self._first = first
        self._start = max(first, 0)
        self._stop = min(first + batch.slice_count, len(table))
        self.timestamp_ns = self._stamps[position - first]
        self._row = (position - first) * self._width


class _NoSuchPositionError(IteratorExhaustedError, IndexError):
    """For code that knows sequences, but not this package."""


def _identity(file: SliceFile) -> tuple[int, int | None, int | None]:
    return file.report.slices, file.report.first_timestamp_ns, file.report.last_timestamp_ns


def _reopen(path: str, start: int, stop: int, identity: tuple[int, int | None, int | None]) -> SliceTable:
    """Make the table of a pickle."""
    file = SliceFile(path)
    if _identity(file) != identity:
        raise DeserializationError(
            f"{path!r} holds other slices than when the table was pickled",
            hint="let the file be as long as others use it; write new slices under another name",
            file=path,
        )
    return SliceTable(file, start, stop)


def _iso(timestamp_ns: int) -> str:
    return datetime_from_ns(timestamp_ns).isoformat()
