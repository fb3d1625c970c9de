"""A bound on what batches compute from their columns and keep.

Owns the count of bytes and the order in which results are dropped.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Protocol


class Clearable(Protocol):
    def clear(self) -> None:
        """Drop what was computed."""


class DerivedCache:
    """Bounds what the batches of a table compute from their columns and keep.

    Views cost a few hundred bytes, whatever they show.  Mids, closes of a series with gaps
    and unpacked bitmaps are computed, and may take as much as the columns.  The batches of a
    table stay.  What was computed first is dropped first, and computed again on demand.

    Has no lock: threads that meet here may drop too much or count a little wrong, which the
    next empty queue corrects.
    """

    __slots__ = ("_bytes", "_bytes_max", "_held")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: deque[tuple[weakref.ref[Clearable], int]] = deque()

    def note(self, holder: Clearable, size: int) -> None:
        """Count bytes that a holder is about to keep.

        Let it, or others, forget where that is too much.
        """
        while self._bytes + size > self._bytes_max:
            try:
                oldest, freed = self._held.popleft()
            except IndexError:
                self._bytes = 0
                break
            self._bytes -= freed
            forgetful = oldest()
            if forgetful is not None:
                forgetful.clear()
        self._held.append((weakref.ref(holder), size))
        self._bytes += size


def note_derived(derived: DerivedCache | None, holder: Clearable, size: int) -> None:
    if derived is not None and size:
        derived.note(holder, size)
