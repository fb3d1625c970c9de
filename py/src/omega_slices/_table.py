"""Precomputed slices: a file as a sequence in which any timestamp is found at once.

Owns `SliceTable`, the views of it, and the cursor that moves over it.  Guarantees that a
look-up by time or number costs two searches over plain integers, with no call of Arrow or
numpy once a batch has been seen.  Leaves to the file what is wrong with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain, islice
from operator import attrgetter, index
from typing import TYPE_CHECKING, Any, SupportsIndex, cast, overload

import pyarrow as pa

from omega_slices._file import FileIdentity, SliceFile
from omega_slices._request import Request
from omega_slices._slices import MultiSymbolSlice, SliceReading
from omega_slices._times import TimeLike, format_time_ns, parse_time_ns
from omega_slices.errors import DeserializationError, NoDataForTimestampError, OmegaSlicesError, RequestError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb
    import pandas as pd
    import polars as pl

    from omega_slices._candle import RunReport
    from omega_slices._slices import SliceBatch


class _NoSuchSliceError(NoDataForTimestampError, IndexError):
    """A number beyond the slices (code 3003); also an `IndexError`."""


def read_slices(path: str | os.PathLike[str]) -> SliceTable:
    """Open a precomputed slice file.

    The file is mapped into memory, not read: opening takes milliseconds whatever its size,
    and its pages are shared by all processes that have it open.  It must not be written
    to meanwhile; ``omega-slices sync --force`` puts a new file in its place, which
    disturbs nobody.

    Parameters
    ----------
    path : str or path
        What ``omega-slices sync -o`` has written: an Arrow file (``.arrow``), or an Arrow
        stream (``.arrows``), which is gone through once when it is opened.  Compressed
        ones are decompressed batch by batch as they are read.

    Returns
    -------
    SliceTable

    Raises
    ------
    DeserializationError
        It is no slice file, incomplete, damaged, or of a newer major schema version.
    SystemFailureError
        It cannot be opened; where it is not there, a `FileNotFoundError` too.

    Examples
    --------
    >>> from omega_slices import read_slices
    >>> table = read_slices(slices_file)
    >>> len(table), table.symbols
    (2, ('EURUSD', 'GBPUSD'))
    >>> table.at("2024-01-02 00:01").get_price("EURUSD", "bid")
    1.625
    """
    file = SliceFile(path)
    return SliceTable(file, 0, file.offsets[-1])


class SliceTable:
    """The slices of a file, or a part of them: a sequence, and a mapping from time.

    Made by `read_slices`; ``table[a:b]`` and `between` make views of the same file, which
    cost nothing.  Slices keep what they need of the file in memory, also after the table
    is gone; there is nothing to close.  A table may be used by several threads at once,
    and after a fork; a pickle of it holds the path, and opens the file again.

    What was read of the file stays in the system's page cache, not in this process.  Of
    its own, a table keeps eight bytes per slice and some kilobytes per record batch that
    was seen, and up to 128 MiB of what was unpacked from them.

    Examples
    --------
    >>> from omega_slices import read_slices
    >>> table = read_slices(slices_file)
    >>> table[0].timestamp.isoformat(), table[-1].timestamp.isoformat()
    ('2024-01-02T00:00:00+00:00', '2024-01-02T00:01:00+00:00')
    >>> [s.get_price("GBPUSD", "bid") for s in table[1:]]
    [2.75]
    >>> table.asof("2024-01-02 12:00").timestamp.minute
    1
    """

    __slots__ = ("_batches", "_file", "_first_timestamps_ns", "_layout", "_offsets", "_start", "_stop", "_width")

    def __init__(self, file: SliceFile, start: int, stop: int) -> None:
        self._file = file
        self._start = start
        self._stop = stop
        # One step nearer: every look-up needs them.
        self._batches = file.batches
        self._first_timestamps_ns = file.first_timestamps_ns
        self._offsets = file.offsets
        self._layout = file.layout
        self._width = len(file.layout.symbols)

    @property
    def path(self) -> Path:
        """The file's absolute path."""
        return self._file.path

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of every slice, in order."""
        return self._layout.symbols

    @property
    def timeframe(self) -> str:
        """The primary timeframe of the slices, such as ``"M1"``."""
        return self._layout.timeframe

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The further timeframes of the slices, in the requested order."""
        return self._layout.content.further

    @property
    def indicators(self) -> tuple[str, ...]:
        """The names of the indicators, in the requested order."""
        return self._layout.content.indicators

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the record batches, with its metadata."""
        return self._file.schema

    @property
    def report(self) -> RunReport:
        """What the run that made the file said of itself; of a view, that of the whole file.

        Of an Arrow stream, which has no footer, what can be seen in it: no series, no warnings.
        """
        return self._file.report

    @property
    def request(self) -> Request:
        """What the file answers; its symbols are those that were found.

        Raises
        ------
        DeserializationError
            A newer release has written it, with options that this one does not know.
        """
        try:
            return Request.from_json(self.schema.metadata[b"request"].decode())
        except (OmegaSlicesError, UnicodeDecodeError) as error:
            raise DeserializationError(
                f"the request of {str(self.path)!r} cannot be read: {error}", file=str(self.path)
            ) from error

    def at(self, timestamp: TimeLike) -> MultiSymbolSlice:
        """Return the slice of a timestamp.

        Parameters
        ----------
        timestamp : str, datetime, date, numpy.datetime64 or int
            Exactly that of the slice; as in `open_slices`.  Nanoseconds since 1970, as an
            `int`, are found fastest.

        Returns
        -------
        MultiSymbolSlice

        Raises
        ------
        NoDataForTimestampError
            There is none; the message tells the nearest ones.
        RequestError
            `timestamp` is no point in time.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(slices_file).at("2024-01-02T00:01:00Z").get_spread("EURUSD")
        0.25
        """
        timestamp_ns = timestamp if type(timestamp) is int else parse_time_ns(timestamp, "timestamp")
        number = bisect_right(self._first_timestamps_ns, timestamp_ns) - 1
        if number >= 0:
            batch = self._batches[number]
            stamps = batch.timestamps_ns
            place = bisect_left(stamps, timestamp_ns)
            if (
                place < len(stamps)
                and stamps[place] == timestamp_ns
                and self._start <= self._offsets[number] + place < self._stop
            ):
                return MultiSymbolSlice(timestamp_ns, batch, place * self._width)
        raise self._nothing_at(parse_time_ns(timestamp, "timestamp"))

    def asof(self, timestamp: TimeLike) -> MultiSymbolSlice:
        """Return the latest slice at or before a timestamp.

        Parameters
        ----------
        timestamp : str, datetime, date, numpy.datetime64 or int
            As in `at`.

        Returns
        -------
        MultiSymbolSlice
            However old it is; its `timestamp_ns` tells.  Its candles OPEN there: they are
            complete at its `known_at`.

        Raises
        ------
        NoDataForTimestampError
            The first slice is later.
        RequestError
            `timestamp` is no point in time.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(slices_file).asof("2024-01-02 00:00:59").timestamp.time().isoformat()
        '00:00:00'
        """
        timestamp_ns = parse_time_ns(timestamp, "timestamp")
        position = min(self._rank(timestamp_ns, bisect_right), self._stop) - 1
        if position < self._start:
            raise self._nothing_at(timestamp_ns, "at or before")
        return self._slice(position)

    def between(self, start: TimeLike | None = None, end: TimeLike | None = None) -> SliceTable:
        """Return a view of the slices in a window.

        Parameters
        ----------
        start, end : str, datetime, date, numpy.datetime64 or int, optional
            Both inclusive, as in `open_slices`; by default the first and the last slice.

        Returns
        -------
        SliceTable
            May be empty.

        Raises
        ------
        RequestError
            `start` or `end` is no point in time, or `start` is after `end`.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> table = read_slices(slices_file)
        >>> len(table.between("2024-01-02 00:01", "2024-01-03")), len(table.between(end="2024-01-01"))
        (1, 0)
        """
        first, stop = self._start, self._stop
        start_ns = None if start is None else parse_time_ns(start, "start")
        end_ns = None if end is None else parse_time_ns(end, "end")
        if start_ns is not None and end_ns is not None and start_ns > end_ns:
            raise RequestError(
                f"start {format_time_ns(start_ns)} is after end {format_time_ns(end_ns)}",
                hint="swap them; both are inclusive",
            )
        if start_ns is not None:
            first = min(max(first, self._rank(start_ns, bisect_left)), stop)
        if end_ns is not None:
            stop = max(min(stop, self._rank(end_ns, bisect_right)), first)
        return SliceTable(self._file, first, stop)

    def cursor(self) -> SliceCursor:
        """Return a cursor at the first slice.

        Returns
        -------
        SliceCursor

        Raises
        ------
        NoDataForTimestampError
            There is no slice; also an `IndexError`.
        """
        return SliceCursor(self, 0)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Iterate over the slices as record batches, without a copy.

        Yields
        ------
        pyarrow.RecordBatch
            Whole slices, N rows each, of the `schema`; never without rows.

        Raises
        ------
        DeserializationError
            The file is damaged there.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> [batch.num_rows for batch in read_slices(slices_file).batches()]
        [4]
        """
        for number, first, stop in self._parts():
            batch = self._batches.record_batch(number)
            whole = (stop - first) * self._width == batch.num_rows
            yield batch if whole else batch.slice(first * self._width, (stop - first) * self._width)

    def to_polars(self) -> pl.DataFrame:
        """Return all rows as a polars frame; its floats are those of the file, not copies.

        Returns
        -------
        polars.DataFrame
            One row per symbol and slice, the columns of `schema`.

        Raises
        ------
        ImportError
            polars is not installed.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> frame = read_slices(slices_file).to_polars()
        >>> frame.shape[0], frame["bid_close"].to_list()
        (4, [1.5, 2.5, 1.625, 2.75])
        """
        import polars as pl  # noqa: PLC0415  # an optional package

        return pl.DataFrame(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return all rows as a pandas frame, which is a copy.

        Returns
        -------
        pandas.DataFrame
            One row per symbol and slice, the columns of `schema`; `symbol` is categorical,
            a missing value is NaN or NaT.

        Raises
        ------
        ImportError
            pandas is not installed.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> frame = read_slices(slices_file).to_pandas()
        >>> frame.groupby("symbol", observed=True)["bid_close"].last().tolist()
        [1.625, 2.75]
        """
        return pa.table(self).to_pandas()

    def to_duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """Return all rows as a duckdb relation, which reads them anew for every query.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection, optional
            Where the relation lives; by default duckdb's own connection.

        Returns
        -------
        duckdb.DuckDBPyRelation

        Raises
        ------
        ImportError
            duckdb is not installed.

        Examples
        --------
        >>> import duckdb
        >>> from omega_slices import read_slices
        >>> with duckdb.connect() as connection:
        ...     slices = read_slices(slices_file).to_duckdb(connection)
        ...     slices.aggregate("symbol, max(bid_close)", "symbol").order("symbol").fetchall()
        [('EURUSD', 1.625), ('GBPUSD', 2.75)]
        """
        import duckdb  # noqa: PLC0415  # an optional package

        return (duckdb if connection is None else connection).from_arrow(self)

    def __len__(self) -> int:
        """Return the number of slices."""
        return self._stop - self._start

    @overload
    def __getitem__(self, key: SupportsIndex) -> MultiSymbolSlice: ...

    @overload
    def __getitem__(self, key: slice) -> SliceTable: ...

    def __getitem__(self, key: SupportsIndex | slice) -> MultiSymbolSlice | SliceTable:
        """Return a slice by its number, from 0 on or negative from the end; or a view of some.

        Raises
        ------
        NoDataForTimestampError
            There is no such slice; also an `IndexError`.
        RequestError
            The step of a view is not 1; also a `ValueError`.
        """
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise RequestError(
                    f"a view of slices cannot have the step {step}",
                    hint="take [a:b], and itertools.islice, or reversed(range(len(table))), over it",
                )
            return SliceTable(self._file, self._start + start, self._start + max(start, stop))
        return self._slice(self._start + self._checked(index(key)))

    def __iter__(self) -> Iterator[MultiSymbolSlice]:
        """Iterate over the slices; start anywhere by iterating over a view."""
        # Both the slices of a batch and the chain run in C.
        return chain.from_iterable(self._runs())

    def __contains__(self, item: object) -> bool:
        """Return whether a slice is one of these; a point in time is asked for by `at`."""
        if not isinstance(item, MultiSymbolSlice):
            return False
        position = self._rank(item.timestamp_ns, bisect_left)
        return self._start <= position < self._stop and self._slice(position) == item

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand all rows over as an Arrow C stream; may be called any number of times.

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
        """Return how to open the file again: a pickle does not hold the slices."""
        return _reopen, (str(self.path), self._file.identity, self._start, self._stop)

    def __repr__(self) -> str:
        """Return what the table is about, and from when to when it reaches."""
        reach = ""
        if len(self):
            first, last = (self[place].timestamp.isoformat() for place in (0, -1))
            reach = f", {first} to {last}"
        symbols = len(self.symbols)
        return f"<SliceTable {self.timeframe} of {symbols} symbols, {len(self)} slices{reach}, {str(self.path)!r}>"

    def _slice(self, position: int) -> MultiSymbolSlice:
        """Return a slice by its number in the file."""
        number = bisect_right(self._offsets, position) - 1
        batch = self._batches[number]
        place = position - self._offsets[number]
        return MultiSymbolSlice(batch.timestamps_ns[place], batch, place * self._width)

    def _rank(self, timestamp_ns: int, side: Any) -> int:
        """Return how many slices of the file are before a timestamp, or with `bisect_right` before or at it."""
        number = bisect_right(self._first_timestamps_ns, timestamp_ns) - 1
        if number < 0:
            return 0
        return self._offsets[number] + cast("int", side(self._batches[number].timestamps_ns, timestamp_ns))

    def _checked(self, position: int) -> int:
        """Return a number from the start for one from either end."""
        count = self._stop - self._start
        found = position + count if position < 0 else position
        if not 0 <= found < count:
            raise _NoSuchSliceError(
                f"there is no slice {position} among {count} slices of {str(self.path)!r}",
                hint="numbers go from 0 to len(table) - 1, or from -len(table) to -1",
                file=str(self.path),
            )
        return found

    def _parts(self) -> Iterator[tuple[int, int, int]]:
        """Yield the number of each batch, and its first slice and the one behind its last."""
        position = self._start
        number = bisect_right(self._offsets, position) - 1
        while position < self._stop:
            offset, after = self._offsets[number], min(self._offsets[number + 1], self._stop)
            yield number, position - offset, after - offset
            position = after
            number += 1

    def _runs(self) -> Iterator[Iterator[MultiSymbolSlice]]:
        for number, first, stop in self._parts():
            batch = self._batches[number]
            run = batch.slices(first)
            yield run if stop == batch.slice_count else islice(run, stop - first)

    def _nothing_at(self, timestamp_ns: int, relation: str = "at") -> NoDataForTimestampError:
        after = min(max(self._rank(timestamp_ns, bisect_left), self._start), self._stop)
        near = [self._slice(one).timestamp_ns for one in (after - 1, after) if self._start <= one < self._stop]
        told = " and ".join(map(format_time_ns, near))
        return NoDataForTimestampError(
            f"there is no slice {relation} {format_time_ns(timestamp_ns)} in {str(self.path)!r}; "
            + (f"the nearest {'are' if len(near) > 1 else 'is'} {told}" if near else "it has no slices"),
            hint="asof(timestamp) gives the latest one at or before a timestamp"
            if relation == "at"
            else "between() gives the slices of a window, which may be none",
            file=str(self.path),
        )


class SliceCursor(SliceReading):
    """One object that is moved over the slices of a table, for engines that hold on to one.

    Made by `SliceTable.cursor`; it starts at the first slice.  Everything that a
    `MultiSymbolSlice` tells, a cursor tells of the slice that it is at.  What was taken
    from it (candles, snapshots, columns) stays what it was when the cursor moves on;
    `slice` gives the slice itself.  A cursor that cannot move raises, and stays where it
    is.  For one thread at a time; any number of cursors may share a table.

    Attributes
    ----------
    timestamp_ns : int
        The timestamp of the slice that it is at: nanoseconds since 1970-01-01T00:00Z.

    Examples
    --------
    >>> from omega_slices import read_slices
    >>> cursor = read_slices(slices_file).cursor()
    >>> cursor.index, cursor.get_price("EURUSD", "bid")
    (0, 1.5)
    >>> cursor.set_timestamp("2024-01-02 00:01").get_price("EURUSD", "bid")
    1.625
    >>> cursor.set_index(0).column("bid_close")
    array([1.5, 2.5])
    """

    __slots__ = ("_batch", "_count", "_first", "_index", "_row", "_table", "_timestamp_ns", "_width")

    def __init__(self, table: SliceTable, position: int) -> None:
        self._table = table
        self._width = len(table.symbols)
        self._enter(table._checked(position))  # noqa: SLF001  # of this module

    # Read at every step: an attrgetter, which runs in C.
    timestamp_ns = property(attrgetter("_timestamp_ns"))
    index = property(attrgetter("_index"), doc="The number of the slice in the table, from 0 on.")

    @property
    def table(self) -> SliceTable:
        """The table that it moves over."""
        return self._table

    def set_index(self, index: SupportsIndex) -> SliceCursor:
        """Move to a slice by its number.

        Parameters
        ----------
        index : int
            From 0 on, or negative from the end.

        Returns
        -------
        SliceCursor
            The cursor itself.

        Raises
        ------
        NoDataForTimestampError
            There is no such slice; also an `IndexError`.
        """
        position = index.__index__()
        place = position - self._first
        if position >= 0 and 0 <= place < self._count:
            batch = self._batch
            self._timestamp_ns = batch.timestamps_ns[place]
            self._row = place * self._width
            self._index = position
        else:
            self._enter(self._table._checked(position))  # noqa: SLF001  # of this module
        return self

    def set_timestamp(self, timestamp: TimeLike) -> SliceCursor:
        """Move to the slice of a timestamp.

        Parameters
        ----------
        timestamp : str, datetime, date, numpy.datetime64 or int
            Exactly that of the slice; see `SliceTable.at`.

        Returns
        -------
        SliceCursor
            The cursor itself.

        Raises
        ------
        NoDataForTimestampError
            There is none; the message tells the nearest ones.
        RequestError
            `timestamp` is no point in time.
        """
        stamps = self._batch.timestamps_ns
        # Time mostly moves within a batch.
        if type(timestamp) is int and stamps[0] <= timestamp <= stamps[-1]:
            place = bisect_left(stamps, timestamp)
            if stamps[place] == timestamp and self._first + place >= 0 and place < self._count:
                self._timestamp_ns = timestamp
                self._row = place * self._width
                self._index = self._first + place
                return self
        table = self._table
        found = table.at(timestamp)
        number = bisect_right(table._first_timestamps_ns, found.timestamp_ns) - 1  # noqa: SLF001  # of this module
        self._note_batch(found._batch, number)  # noqa: SLF001  # of this package
        self._timestamp_ns = found.timestamp_ns
        self._row = found._row  # noqa: SLF001
        self._index = self._first + self._row // self._width
        return self

    def slice(self) -> MultiSymbolSlice:
        """Return the slice that it is at, which does not change."""
        return MultiSymbolSlice(self._timestamp_ns, self._batch, self._row)

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to make the cursor anew, on the file opened again."""
        return SliceCursor, (self._table, self._index)

    def _enter(self, position: int) -> None:
        """Move to a slice of another batch."""
        table = self._table
        place = table._start + position  # noqa: SLF001  # of this module
        number = bisect_right(table._offsets, place) - 1  # noqa: SLF001
        # All that can fail comes first.
        batch = table._batches[number]  # noqa: SLF001
        self._note_batch(batch, number)
        self._timestamp_ns = batch.timestamps_ns[position - self._first]
        self._row = (position - self._first) * self._width
        self._index = position

    def _note_batch(self, batch: SliceBatch, number: int) -> None:
        """Remember a batch, which slice of the table its first one would be, and how many it has in reach."""
        table = self._table
        self._batch = batch
        self._first = table._offsets[number] - table._start  # noqa: SLF001  # of this module
        self._count = min(batch.slice_count, len(table) - self._first)


def _reopen(path: str, identity: FileIdentity, start: int, stop: int) -> SliceTable:
    """Open the file of a pickle."""
    file = SliceFile(path)
    if file.identity != identity:
        raise DeserializationError(
            f"{path!r} is not the file that it was when the table was pickled",
            hint="pickle a table of the file that is there now",
            file=path,
        )
    return SliceTable(file, start, stop)
