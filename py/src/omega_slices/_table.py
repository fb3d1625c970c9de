"""The table: the slices of a file, by position and by timestamp.

Owns what users ask of a range of slices.  The search itself is in `_range`, one moving
slice in `_cursor`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from operator import index as plain_index
from typing import TYPE_CHECKING, Any, Final, Self, SupportsIndex, overload

import numpy as np
import pyarrow as pa

from omega_slices._backends.objects import fetch_object
from omega_slices._cursor import SliceCursor
from omega_slices._matrices import gathered, matrix_dtype
from omega_slices._model.candle import datetime_from_ns
from omega_slices._model.schema import TIMESTAMP_COLUMN
from omega_slices._model.storage import checked_storage
from omega_slices._model.times import TimeLike, format_time_ns, parse_time_ns
from omega_slices._range import SliceRange
from omega_slices._slices.batch import column_array
from omega_slices._slices.layout import SlicesDescribed
from omega_slices._slices.parts import open_slices_at
from omega_slices._slices.remote import set_fetcher
from omega_slices._slices.slice import MultiSymbolSlice, slices_of
from omega_slices._wide import WideSlices
from omega_slices.errors import DeserializationError, NoDataForTimestampError, RequestError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    Array = np.ndarray[Any, Any]

    from omega_slices._model.report import RunReport
    from omega_slices._model.storage import StorageOptions

set_fetcher(fetch_object)


# What one thread copies about as fast as two.
_COPIED_ALONE_BYTES: Final = 4 << 20


def read_slices(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    storage_options: Mapping[str, str] | None = None,
) -> SliceTable:
    """Open a file of slices, to be walked, sliced and searched at will.

    Takes as long for a file of gigabytes as for a small one: only its footer is read.
    The rest is mapped, and read by the system where it is touched; nothing is copied
    unless the file is compressed.

    Parameters
    ----------
    path : str or path, or list of these
        What ``omega-slices sync -o x.arrow`` wrote; or a folder that `precompute` filled, by its
        list of parts; or a list of files whose slices follow each other.  Each may be the URI of an
        object, which the executable fetches as a whole, when it is first touched.  A stream (``x.arrows``, or what
        ``sync`` writes to its standard output) is taken too; without a footer, it is
        gone through once from message to message, and its `report` has no series.
    storage_options : mapping of str to str, optional
        How storage is reached, as in `open_slices`.

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
        The path is a URI of a scheme that is not read.
    RequestError
        The path is neither text nor a path; also a `ValueError`.

    Examples
    --------
    >>> from omega_slices import read_slices
    >>> table = read_slices(path)
    >>> len(table), table.symbols
    (2, ('EURUSD', 'GBPUSD'))
    >>> table[-1].get_price("EURUSD", "bid"), table.at("2024-01-02").column("bid_close")
    (1.625, array([1.5, 2.5]))
    """
    file = open_slices_at(path, checked_storage(storage_options))
    return SliceTable(file, 0, file.index.starts[-1])


class SliceTable(SliceRange, SlicesDescribed, WideSlices):
    """The slices of a file, or of a part of it: a sequence that is also ordered by time.

    Made by `read_slices`.  ``len(table)``, ``table[i]`` and ``table[a:b]`` are those of a
    list.  ``table[a:b]`` and `between` give views: tables of the same file, which cost
    nothing.  Hand it as it is to whatever takes Arrow (``pyarrow.table``,
    ``polars.DataFrame``, duckdb), as often as you like.

    May be used by several threads at once, and by the children of a fork.  A pickle holds
    path and range, and opens the file anew.  Each part of the file is checked when it is
    first touched.  Any method that gives slices or batches may therefore raise
    `DeserializationError`, where the file is damaged.

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

    __slots__ = ("__weakref__",)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the record batches, with its metadata."""
        return self._file.schema

    @property
    def report(self) -> RunReport:
        """What the run that made the file said of itself, warnings included.

        Of the whole file, also in a view.
        """
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
            `timestamp` is not a point in time.

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
            timestamps = batch.timestamps_ns
            # Where no slice of the batch is missing before it; otherwise it is searched for.
            place = (timestamp_ns - self._firsts[number]) // self._timeframe_ns
            if place >= len(timestamps) or timestamps[place] != timestamp_ns:
                place = bisect_left(timestamps, timestamp_ns)
            if (
                place < len(timestamps)
                and timestamps[place] == timestamp_ns
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
            `timestamp` is not a point in time.

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
            `start` or `end` is not a point in time.

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

    def __enter__(self) -> Self:
        """Return the table itself, for code that takes streams and tables alike."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: a table has nothing to close, and stays as it is."""

    def _relation_source(self) -> SliceTable:
        """Return the table itself: it is read anew whenever a relation is asked for its rows."""
        return self

    def _matrices(self, names: tuple[str, ...], *, is_own: bool) -> dict[str, Array]:
        """Copy columns out of all batches, by two threads where that is worth it."""
        starts, width = self._starts, self._width
        numbers = range(bisect_right(starts, self._start) - 1, bisect_left(starts, self._stop))
        # Timestamps that are handed out are checked one by one.
        has_stamps = TIMESTAMP_COLUMN in names
        if self._start == self._stop or has_stamps or (len(numbers) == 1 and not is_own):
            return gathered(self, names, is_own=is_own)[1]
        made = {name: np.empty((len(self), width), matrix_dtype(self.schema, name)) for name in names}

        places = [self.schema.get_field_index(name) for name in made]
        columns = [*zip(places, made.values(), strict=True)]
        begin, end, batch_of = self._start, self._stop, self._file.unkept

        def fill(some: range) -> None:
            # Between two copies a thread holds the interpreter: as little as can be is done there.
            for number in some:
                batch, before = batch_of(number), starts[number]
                first, stop = max(begin, before), min(end, starts[number + 1])
                rows = slice((first - before) * width, (stop - before) * width)
                for place, matrix in columns:
                    found = column_array(batch.column(place))[rows]
                    matrix[first - begin : stop - begin] = found.reshape(-1, width)

        if sum(matrix.nbytes for matrix in made.values()) < _COPIED_ALONE_BYTES:
            fill(numbers)
        else:
            with ThreadPoolExecutor(2) as threads:
                half = len(numbers) // 2
                list(threads.map(fill, (numbers[:half], numbers[half:])))
        for matrix in made.values():
            matrix.flags.writeable = is_own
        return made

    def _check_unread(self) -> None:
        """Do nothing: a table can be walked through again."""

    def _blocks(self, names: tuple[str, ...]) -> Iterator[tuple[Array, dict[str, Array]]]:
        width = self._width
        for _, batch, first, stop in self._parts():
            timestamps = np.frombuffer(memoryview(batch.timestamps_ns).toreadonly(), "datetime64[ns]")[first:stop]
            rows = slice(first * width, stop * width)
            yield timestamps, {name: batch.columns[name][rows].reshape(-1, width) for name in names}

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
            if key.step is not None and key.step != 1:
                raise RequestError(
                    f"invalid step {key.step!r}: expected 1, since views are of neighbouring slices",
                    hint="use a step of 1, and itertools.islice(table, start, stop, step) or a loop over table[i]",
                )
            begin, end, _ = key.indices(len(self))
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
            slices_of(batch, first) if stop == batch.slice_count else islice(slices_of(batch, first), stop - first)
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
        return _reopen, (self._file.source, self._start, self._stop, self._file.identity, self._file.storage)

    def __repr__(self) -> str:
        """Return what the table is about, where it begins and ends, and its file."""
        edges = ""
        if len(self):
            edges = f", {_iso(self[0].timestamp_ns)} to {_iso(self[-1].timestamp_ns)}"
        return (
            f"<SliceTable {'+'.join((self.timeframe, *self.timeframes))} of {len(self.symbols)} symbols, "
            f"{len(self)} slices{edges}, of {self.path!r}>"
        )


def _reopen(
    source: str | tuple[str, ...],
    start: int,
    stop: int,
    identity: tuple[int | str | None, ...],
    storage: StorageOptions | None = None,
) -> SliceTable:
    """Make the table of a pickle."""
    file = open_slices_at(source, storage)
    if file.identity != identity:
        raise DeserializationError(
            f"{file.path!r} holds other slices than when the table was pickled",
            hint="let the file be as long as others use it; write new slices under another name",
            file=file.path,
        )
    return SliceTable(file, start, stop)


def _iso(timestamp_ns: int) -> str:
    return datetime_from_ns(timestamp_ns).isoformat()
