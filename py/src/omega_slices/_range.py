"""Ranges of slices: which slice of a file is the i-th, and which is at a timestamp.

Owns the search.  It costs two searches in plain integers and no call of Arrow.  The file
and its batches are `SliceFile`'s part, what a slice holds is the slice's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from omega_slices._model.times import format_time_ns, parse_time_ns
from omega_slices._slices.slice import MultiSymbolSlice
from omega_slices.errors import IteratorExhaustedError, NoDataForTimestampError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from omega_slices._slices.batch import SliceBatch
    from omega_slices._slices.file import SliceFile
    from omega_slices._slices.parts import PartedFile


class SliceRange:
    """The slices of a file between two positions: what `SliceTable` and `SliceCursor` share.

    Its underscored members are for these two, not for users.
    """

    __slots__ = (
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

    def __init__(self, file: SliceFile | PartedFile, start: int, stop: int) -> None:
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

    def __len__(self) -> int:
        """Return the number of slices."""
        return self._stop - self._start

    def _parts(self) -> Iterator[tuple[int, SliceBatch, int, int]]:
        """Iterate over the batches of the range.

        Number, batch, first and last (excluded) slice in it.
        """
        if self._start == self._stop:
            return
        starts = self._starts
        for number in range(bisect_right(starts, self._start) - 1, bisect_left(starts, self._stop)):
            batch = self._views[number] or self._file.batch(number)
            before = starts[number]
            yield number, batch, max(self._start - before, 0), min(self._stop - before, batch.slice_count)

    def _find_in(self, position: int) -> tuple[SliceBatch, int]:
        """Return the batch of a position, and the position of its first slice, maybe negative."""
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


class _NoSuchPositionError(IteratorExhaustedError, IndexError):
    """For code that knows sequences, but not this package."""
