"""The slice: a light view of some rows of a record batch.

Owns `MultiSymbolSlice` and the iteration over a batch.  A slice keeps its batch alive, so
it stays valid for as long as it is referenced.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec import Struct

from omega_slices._slices.accessors import SliceAccessors
from omega_slices._slices.batch import SliceBatch
from omega_slices._slices.layout import SliceLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omega_slices._model.schema import StreamSpec


class MultiSymbolSlice(SliceAccessors, Struct, frozen=True, eq=False, gc=False):
    """The candles and indicators of every requested symbol at one timestamp.

    Read-only, made by a `SliceStream` or a `SliceTable`, never by hand.  It stays valid
    after the stream has moved on or closed, or the table is gone.  It keeps its record batch
    in memory.  Works as a mapping from symbol to
    `SymbolSnapshot`, in the requested order of the symbols.

    Two slices are equal where timestamp, symbols, timeframes, price types, all candles
    with their timestamps and all indicators are; NaN equals NaN.

    Attributes
    ----------
    timestamp_ns : int
        The slice's timestamp, at which its candles OPEN: nanoseconds since
        1970-01-01T00:00Z.  With fill, a candle may be an earlier one; its own timestamp
        says so.

    Examples
    --------
    >>> from omega_slices import open_slices
    >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
    ...     first = next(slices)
    >>> first.timestamp.isoformat(), len(first), "EURUSD" in first
    ('2024-01-02T00:00:00+00:00', 2, True)
    >>> first.get("EURUSD", "ask").close, first.get_spread("EURUSD")
    (1.75, 0.25)
    >>> first.column("bid_close")
    array([1.5, 2.5])
    """

    # The two words behind the timestamp are the package's own.  (A Struct, since its
    # constructor runs in C: a quarter of the time that an __init__ in Python takes.)
    timestamp_ns: int
    _batch: SliceBatch
    _row: int

    def __hash__(self) -> int:
        """Return a hash that equal slices share."""
        return hash((self.timestamp_ns, *self._batch.layout.key()))

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to make the slice anew from its own rows: a pickle does not hold the batch."""
        layout = self._batch.layout
        rows = self._batch.record_batch.slice(self._row, len(layout.symbols))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_batch(rows)
        return _restore, (sink.getvalue().to_pybytes(), layout.symbols, layout.spec, layout.known_after_ns)


def _restore(stream: bytes, symbols: tuple[str, ...], spec: StreamSpec, known_after_ns: int) -> MultiSymbolSlice:
    """Make the one slice of a pickle."""
    layout = SliceLayout(symbols, spec, known_after_ns=known_after_ns)
    with pa.ipc.open_stream(stream) as reader:
        batch = SliceBatch(reader.read_next_batch(), layout)
    return next(slices_of(batch))


def cursor_of(batch: SliceBatch, first: int = 0) -> tuple[Iterator[int], Iterator[MultiSymbolSlice]]:
    """Return an iterator over a batch's slices from the given one on, which runs in C.

    The first iterator belongs to the second one, and must not be advanced: its length hint is
    the number of slices left.
    """
    width = len(batch.layout.symbols)
    rows = iter(range(first * width, batch.slice_count * width, width))
    return rows, map(MultiSymbolSlice, batch.timestamps_ns[first:].tolist(), repeat(batch), rows)


def slices_of(batch: SliceBatch, first: int = 0) -> Iterator[MultiSymbolSlice]:
    """Return an iterator over a batch's slices from the given one on."""
    return cursor_of(batch, first)[1]
