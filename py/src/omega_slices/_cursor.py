"""The cursor: one slice object that moves along a table.

Owns the place at which it is.  A step to a neighbour stays within the batch at hand.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import index as plain_index
from typing import TYPE_CHECKING, Self, SupportsIndex

from omega_slices._model.times import TimeLike, parse_time_ns
from omega_slices._slices.accessors import SliceAccessors
from omega_slices._slices.slice import MultiSymbolSlice

if TYPE_CHECKING:
    from omega_slices._range import SliceRange


class SliceCursor(SliceAccessors):
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

    __slots__ = ("_batch", "_first", "_row", "_start", "_stop", "_table", "_timestamps_ns", "_width", "timestamp_ns")

    def __init__(self, table: SliceRange, position: int) -> None:
        self._table = table
        self._width = table._width  # noqa: SLF001  # made for cursors
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
            self.timestamp_ns = self._timestamps_ns[place]
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
            `timestamp` is not a point in time.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).cursor().set_timestamp("2024-01-02T00:01").index
        1
        """
        timestamp_ns = timestamp if type(timestamp) is int else parse_time_ns(timestamp, "timestamp")
        place = bisect_left(self._timestamps_ns, timestamp_ns, self._start - self._first, self._stop - self._first)
        if place < self._stop - self._first and self._timestamps_ns[place] == timestamp_ns:
            self.timestamp_ns = timestamp_ns
            self._row = place * self._width
        else:
            self._enter(self._table._index_at(timestamp_ns))  # noqa: SLF001  # made for cursors
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
            raise table._no_position(position)  # noqa: SLF001  # made for cursors
        batch, first = table._find_in(position)  # noqa: SLF001  # made for cursors
        self._batch = batch
        self._timestamps_ns = batch.timestamps_ns
        # Positions within the table: of the batch's first slice, which may lie before it, and
        # of those that both have.
        self._first = first
        self._start = max(first, 0)
        self._stop = min(first + batch.slice_count, len(table))
        self.timestamp_ns = self._timestamps_ns[position - first]
        self._row = (position - first) * self._width
