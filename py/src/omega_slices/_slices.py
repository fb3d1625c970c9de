"""The slices: light views of the rows of a record batch.

Owns `MultiSymbolSlice`, the interface that it shares with the cursor of a table, and the
per-batch object behind both.  A slice is three words: its timestamp, its batch, its
first row.  Everything that can be computed once is computed once per batch, and only
when first asked for: plain memory views of the columns' buffers, so that a price is one
dictionary look-up and one read of eight bytes away, with no Arrow call, no copy and no
numpy scalar.  A slice keeps its batch alive, so it
stays valid for as long as it is referenced.  Expects batches that `check_batch` let
through; knows nothing of where they come from.
"""

from __future__ import annotations

import weakref
from array import array
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Protocol, Union

import numpy as np
import pyarrow as pa
from msgspec import Struct

from omega_slices._buffers import (
    floats_view,
    integers_view,
    timestamps_view,
    unpack_presence,
    unpack_values,
    values_view,
)
from omega_slices._candle import (
    PRICE_TYPES,
    CandleData,
    SymbolSnapshot,
    datetime_from_ns,
    timeframe_not_in_slice,
    unknown_price_type,
)
from omega_slices._schema import indicator_column
from omega_slices._times import timeframe_ns
from omega_slices.errors import DeserializationError, SchemaMismatchError, SymbolNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView
    from datetime import datetime

    from omega_slices._schema import CandleColumns, StreamContent

# What of each row (None: a candle stamped at the slice, in all rows), then open, high, low,
# close, volume.
_Side = tuple[
    "memoryview[int] | None",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
]

# A side, and the timestamps of its candles.
_Stamped = tuple[_Side, "memoryview[int]"]

# What the first part of a _Side says of a row.  Without fill, and in a further timeframe, a
# candle that is there is `_FRESH`.
_ABSENT: Final = 0
_FRESH: Final = 1
_CARRIED: Final = 2

_CLOSE: Final = 4  # the place of the closes in a _Side

# What CPython takes for one entry of a list, and for a float.
_POINTER_BYTES: Final = 8
_FLOAT_BYTES: Final = 24

# The close of each row, None where there is no candle.
_Closes = Union["memoryview[float]", "list[float | None]"]


class _Forgetful(Protocol):
    def clear(self) -> None:
        """Forget what was computed."""


class DerivedMemory:
    """Bounds what the batches of a table compute from their columns and keep.

    Views cost a few hundred bytes, whatever they show.  What is computed (mids, closes of
    a series with gaps, unpacked bitmaps) may take as much as the columns themselves, and
    the batches of a table stay.  What was computed first is forgotten first, and computed
    again when it is asked for again.

    Has no lock: threads that meet here may forget too much or count a little wrong, which
    the next empty queue puts right.
    """

    __slots__ = ("_bytes", "_bytes_max", "_held")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: deque[tuple[weakref.ref[_Forgetful], int]] = deque()

    def note(self, holder: _Forgetful, size: int) -> None:
        """Count bytes that a holder is about to keep; let it, or others, forget where that is too much."""
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


class SliceLayout:
    """What all slices of one stream or file share."""

    __slots__ = (
        "candles",
        "content",
        "derived",
        "index",
        "is_plain",
        "known_after_ns",
        "path",
        "symbol_names",
        "symbols",
        "timeframe",
        "timeframe_ns",
    )

    def __init__(
        self,
        symbols: tuple[str, ...],
        content: StreamContent,
        derived: DerivedMemory | None = None,
        path: str | None = None,
        known_after_ns: int | None = None,
    ) -> None:
        """Make the layout.

        Of a file `derived` bounds what its batches keep, and `path` is its own, for errors.
        `known_after_ns` is when candles are complete, from a slice's timestamp on, where
        that is not the timeframe.
        """
        self.symbols = symbols
        self.content = content
        self.derived = derived
        self.path = path
        self.candles = content.candles
        self.index = {symbol: position for position, symbol in enumerate(symbols)}
        self.timeframe = content.timeframe
        self.timeframe_ns = timeframe_ns(content.timeframe)
        self.known_after_ns = self.timeframe_ns if known_after_ns is None else known_after_ns
        # A snapshot then has candles of the primary timeframe alone.
        self.is_plain = not content.further and not content.indicators
        self.symbol_names = np.array(symbols, dtype=object)
        self.symbol_names.flags.writeable = False

    def key(self) -> tuple[object, ...]:
        """Return what must be equal for two slices to be comparable."""
        return (self.symbols, self.content)


class SlicesDescribed:
    """What stream and table say of their slices alike."""

    __slots__ = ()

    # The heir's own.
    _layout: SliceLayout

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


class SliceBatch:
    """One record batch of whole slices, with the views that its slices read through."""

    __slots__ = (
        "__weakref__",
        "closes",
        "columns",
        "index",
        "indicators",
        "layout",
        "sides",
        "slice_count",
        "stamped",
        "timestamps_ns",
    )

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout) -> None:
        width = len(layout.symbols)
        self.layout = layout
        self.index = layout.index  # one step nearer: every look-up starts here
        # None of these refers back to this object: a cycle would leave megabytes of
        # buffers to the garbage collector.
        self.columns = _Columns(record_batch, layout.derived)
        self.sides = _Sides(record_batch, layout)
        self.stamped = _StampedSides(record_batch, layout)
        self.indicators = _Indicators(record_batch, layout.derived)
        # What `get_price` needs of each price type, and of "mid": filled when first asked
        # for.  A plain dict, which the interpreter looks up faster than a subclass.
        self.closes: dict[str, _Closes] = {}
        # Eight bytes per slice, side by side: a list would hold five times as much for as
        # long as the batch is there, and a strided view would read a page per timestamp.
        # Searched one by one, an array gives its items faster than a memory view.
        stamps = values_view(record_batch.column("timestamp"), "int64")[::width]
        self.timestamps_ns: array[int] = array("q", stamps.tobytes())
        self.slice_count = len(self.timestamps_ns)

    @property
    def record_batch(self) -> pa.RecordBatch:
        """The record batch itself."""
        return self.columns.record_batch

    def fill_closes(self, price_type: str) -> None:
        """Make the entry of `closes` for a price type or ``"mid"``; raise for any other text."""
        if price_type != "mid" and price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type, (*PRICE_TYPES, "mid"))
        sides = [self.sides[one] for one in (("bid", "ask") if price_type == "mid" else (price_type,))]
        closes = [side[_CLOSE] for side in sides if side is not None]
        if len(closes) < len(sides):
            self._keep_closes(price_type, [None] * self.record_batch.num_rows, _POINTER_BYTES)
            return
        if price_type == "mid":
            # Under an absent candle lies NaN; infinite closes are the input's.
            with np.errstate(all="ignore"):
                mids = (self.columns["bid_close"] + self.columns["ask_close"]) / 2.0
            closes = [memoryview(mids).cast("B").cast("d").toreadonly()]
        presences = [side[0] for side in sides if side is not None and side[0] is not None]
        if not presences:
            self._keep_closes(price_type, closes[0], 8 if price_type == "mid" else 0)
            return
        with_gaps: list[float | None] = [*closes[0]]
        for present in presences:
            for row in np.flatnonzero(np.frombuffer(present, np.uint8) == 0).tolist():
                with_gaps[row] = None
        self._keep_closes(price_type, with_gaps, _POINTER_BYTES + _FLOAT_BYTES)

    def clear(self) -> None:
        """Forget the closes; `get_price` makes them again."""
        self.closes.clear()

    def _keep_closes(self, price_type: str, closes: _Closes, row_bytes: int) -> None:
        _note(self.layout.derived, self, row_bytes * self.record_batch.num_rows)
        self.closes[price_type] = closes

    def further_candles(self, row: int) -> dict[str, dict[str, CandleData | None]]:
        """Return the candles of a row by further timeframe and price type."""
        content = self.layout.content
        return {
            timeframe: {side: _stamped_candle(self.stamped[timeframe, side], row) for side in content.price_types}
            for timeframe in content.further
        }

    def indicator_values(self, row: int) -> dict[str, float | None] | None:
        """Return the indicators of a row by name; None where none were requested."""
        values: dict[str, float | None] = {}
        for name in self.layout.content.indicators:
            present, floats = self.indicators[name]
            values[name] = floats[row] if present is None or present[row] else None
        return values or None

    def indicator_presence(self, row: int) -> list[list[int]]:
        """Return 1 or 0 for each indicator and each symbol of the slice at a row: whether it is there."""
        width = len(self.index)
        presences = [self.indicators[name][0] for name in self.layout.content.indicators]
        return [[1] * width if present is None else present[row : row + width].tolist() for present in presences]

    def cursor(self, first: int = 0) -> tuple[Iterator[int], Iterator[MultiSymbolSlice]]:
        """Return an iterator over the slices from the given one on, which runs in C.

        The other iterator belongs to it, and is not to be advanced: its length hint tells
        how many slices are left.
        """
        width = len(self.layout.symbols)
        rows = iter(range(first * width, self.slice_count * width, width))
        return rows, map(MultiSymbolSlice, self.timestamps_ns[first:].tolist(), repeat(self), rows)

    def slices(self, first: int = 0) -> Iterator[MultiSymbolSlice]:
        """Return an iterator over the slices from the given one on."""
        return self.cursor(first)[1]


class _Columns(dict[str, "np.ndarray[Any, Any]"]):
    """The batch's columns as read-only numpy arrays, made when first asked for."""

    __slots__ = ("__weakref__", "_derived", "record_batch")

    def __init__(self, record_batch: pa.RecordBatch, derived: DerivedMemory | None) -> None:
        self.record_batch = record_batch
        self._derived = derived

    def __missing__(self, name: str) -> np.ndarray[Any, Any]:
        schema = self.record_batch.schema
        if name not in schema.names:
            raise SchemaMismatchError(
                f"the stream has no column {name!r}", hint=f"its columns are {', '.join(schema.names)}", column=name
            )
        column = self.record_batch.column(name)
        if pa.types.is_timestamp(column.type):
            array = timestamps_view(column)
            _note(self._derived, self, array.nbytes if column.null_count else 0)
        elif pa.types.is_boolean(column.type):
            array = unpack_values(column)
            _note(self._derived, self, array.nbytes)
        else:
            array = values_view(column, "float64")
        self[name] = array
        return array


class _Sides(dict[str, "_Side | None"]):
    """The memory views of each price type of the primary timeframe; None for one that was not requested."""

    __slots__ = ("__weakref__", "_layout", "_record_batch")

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout) -> None:
        self._record_batch = record_batch
        self._layout = layout

    def __missing__(self, price_type: str) -> _Side | None:
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
        side: _Side | None = None
        columns = self._layout.candles.get((self._layout.timeframe, price_type))
        if columns is not None:
            side = _side(self._record_batch, columns, self._layout)
            if columns.timestamp is not None:
                side = (_states(side[0], self._record_batch, columns.timestamp), *side[1:])
            _note_presence(self._layout.derived, self, side[0])
        self[price_type] = side
        return side


class _StampedSides(dict[tuple[str, str], "_Stamped | None"]):
    """The memory views by timeframe and price type, where candles have timestamps; None as in `_Sides`."""

    __slots__ = ("__weakref__", "_layout", "_record_batch")

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout) -> None:
        self._record_batch = record_batch
        self._layout = layout

    def __missing__(self, key: tuple[str, str]) -> _Stamped | None:
        timeframe, price_type = key
        known = (self._layout.timeframe, *self._layout.content.further)
        if timeframe not in known:
            raise timeframe_not_in_slice(timeframe, known)
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
        stamped: _Stamped | None = None
        columns = self._layout.candles.get(key)
        if columns is not None:
            assert columns.timestamp is not None  # nobody asks for candles that are all stamped at the slice
            stamps = integers_view(self._record_batch.column(columns.timestamp))
            stamped = (_side(self._record_batch, columns, self._layout), stamps)
            _note_presence(self._layout.derived, self, stamped[0][0])
        self[key] = stamped
        return stamped


class _Indicators(dict[str, tuple["memoryview[int] | None", "memoryview[float]"]]):
    """Whether each indicator is there (None: it always is), and its values."""

    __slots__ = ("__weakref__", "_derived", "_record_batch")

    def __init__(self, record_batch: pa.RecordBatch, derived: DerivedMemory | None) -> None:
        self._record_batch = record_batch
        self._derived = derived

    def __missing__(self, name: str) -> tuple[memoryview[int] | None, memoryview[float]]:
        column = self._record_batch.column(indicator_column(name))
        views = (unpack_presence(column), floats_view(column))
        _note_presence(self._derived, self, views[0])
        self[name] = views
        return views


def _note(derived: DerivedMemory | None, holder: _Forgetful, size: int) -> None:
    if derived is not None and size:
        derived.note(holder, size)


def _note_presence(derived: DerivedMemory | None, holder: _Forgetful, presence: memoryview[int] | None) -> None:
    _note(derived, holder, 0 if presence is None else presence.nbytes)


def _side(record_batch: pa.RecordBatch, columns: CandleColumns, layout: SliceLayout) -> _Side:
    names = columns.values if columns.timestamp is None else (*columns.values, columns.timestamp)
    values = [record_batch.column(name) for name in names]
    # All of them are null in the same rows.  Of a stream that is known; of a file it is
    # asked here, since few who walk through one read every candle.
    if layout.path is not None and len({column.null_count for column in values}) > 1:
        raise DeserializationError(
            f"{layout.path!r} is damaged: its columns {', '.join(names)} disagree on which candles are there",
            hint="make the file anew with omega-slices sync",
            file=layout.path,
        )
    opens, highs, lows, closes, volumes = map(floats_view, values[:5])
    return unpack_presence(values[0]), opens, highs, lows, closes, volumes


def _states(present: memoryview[int] | None, record_batch: pa.RecordBatch, timestamp: str) -> memoryview[int] | None:
    """Tell carried candles from fresh ones, where there are any."""
    own = values_view(record_batch.column(timestamp), "int64")
    is_carried = own != values_view(record_batch.column("timestamp"), "int64")
    if present is not None:
        is_carried &= np.frombuffer(present, np.bool_)
    if not is_carried.any():
        return present
    states = is_carried.astype(np.uint8) + (_FRESH if present is None else np.frombuffer(present, np.uint8))
    return memoryview(states).toreadonly()


def _stamped_candle(stamped: _Stamped | None, row: int) -> CandleData | None:
    if stamped is None:
        return None
    (present, opens, highs, lows, closes, volumes), stamps = stamped
    if present is not None and not present[row]:
        return None
    return CandleData(stamps[row], opens[row], highs[row], lows[row], closes[row], volumes[row])


class SliceReading:  # noqa: PLW1641  # the heir decides: a slice has a hash, a cursor, which moves, has none
    """All that can be read of one slice: what `MultiSymbolSlice` and `SliceCursor` have in common.

    Rests on three words that the heir holds: the timestamp, the batch, the first row in it.
    Without words of its own: a Struct can be its heir, and a method costs no more than
    one of the Struct itself.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        timestamp_ns: int
        _batch: SliceBatch
        _row: int

    @property
    def timestamp(self) -> datetime:
        """The slice's timestamp: aware, UTC, rounded down to whole microseconds."""
        return datetime_from_ns(self.timestamp_ns)

    @property
    def known_at_ns(self) -> int:
        """When the slice's candles are complete, nanoseconds since 1970.

        The timestamp + the primary timeframe; with local days when the day is over
        everywhere among the series of the stream.
        """
        return self.timestamp_ns + self._batch.layout.known_after_ns

    @property
    def known_at(self) -> datetime:
        """When the slice's candles are complete: aware, UTC, rounded down to whole microseconds."""
        return datetime_from_ns(self.known_at_ns)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in the requested order."""
        return self._batch.layout.symbols

    @property
    def timeframe(self) -> str:
        """The primary timeframe, such as ``"M1"``."""
        return self._batch.layout.timeframe

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The further timeframes, in the requested order; see `get_candle`."""
        return self._batch.layout.content.further

    @property
    def primary_tf(self) -> str:
        """The same as `timeframe`."""
        return self._batch.layout.timeframe

    @property
    def slices(self) -> KeysView[str]:
        """The same as `keys()`."""
        return self._batch.index.keys()

    def get(self, symbol: str, price_type: str = "bid") -> CandleData | None:
        """Return a symbol's candle of the primary timeframe; with fill, it may be an earlier one.

        Parameters
        ----------
        symbol : str
            Any text.
        price_type : {"bid", "ask", "trade"}
            Which candle.

        Returns
        -------
        CandleData or None
            None where there is no candle, the symbol is unknown, or the price type was
            not requested.

        Raises
        ------
        InvalidPriceTypeError
            `price_type` is not one of the three.
        """
        batch = self._batch
        side = batch.sides[price_type]
        if side is None:
            return None
        try:
            row = self._row + batch.index[symbol]
        except KeyError:
            return None
        states, opens, highs, lows, closes, volumes = side
        if states is not None and (state := states[row]) != _FRESH:
            if state == _ABSENT:
                return None
            return _stamped_candle(batch.stamped[batch.layout.timeframe, price_type], row)
        return CandleData(self.timestamp_ns, opens[row], highs[row], lows[row], closes[row], volumes[row])

    def get_price(self, symbol: str, price_type: str = "mid") -> float | None:
        """Return a symbol's close in the primary timeframe; with fill, it may be of an earlier candle.

        Parameters
        ----------
        symbol : str
            One of `symbols`.
        price_type : {"bid", "ask", "trade", "mid"}
            Whose close; ``"mid"`` is half the sum of bid and ask.

        Returns
        -------
        float or None
            None where there is no candle (for ``"mid"``: not both), or the price type
            was not requested.  NaN where there is a candle without a close.

        Raises
        ------
        SymbolNotFoundError
            The slice has no such symbol.
        InvalidPriceTypeError
            `price_type` is not one of the four.
        """
        batch = self._batch
        try:
            return batch.closes[price_type][self._row + batch.index[symbol]]
        except KeyError:
            if symbol not in batch.index:
                raise self._unknown_symbol(symbol) from None
            batch.fill_closes(price_type)
        return self.get_price(symbol, price_type)

    def get_spread(self, symbol: str) -> float | None:
        """Return a symbol's ask close minus its bid close.

        Parameters
        ----------
        symbol : str
            One of `symbols`.

        Returns
        -------
        float or None
            None where either candle is missing or was not requested.

        Raises
        ------
        SymbolNotFoundError
            The slice has no such symbol.
        """
        bid = self.get_price(symbol, "bid")
        ask = self.get_price(symbol, "ask")
        return None if bid is None or ask is None else ask - bid

    def get_candle(self, symbol: str, timeframe: str, price_type: str = "bid") -> CandleData | None:
        """Return a symbol's candle of a timeframe.

        Parameters
        ----------
        symbol : str
            One of `symbols`.
        timeframe : str
            The primary timeframe, or one of `timeframes`, of which the latest complete
            candle is returned.
        price_type : {"bid", "ask", "trade"}
            Which candle.

        Returns
        -------
        CandleData or None
            None where there is no candle, or the price type was not requested.

        Raises
        ------
        SymbolNotFoundError
            The slice has no such symbol.
        TimeframeNotFoundError
            The slice has no such timeframe.
        InvalidPriceTypeError
            `price_type` is not one of the three.
        """
        if symbol not in self._batch.index:
            raise self._unknown_symbol(symbol)
        batch = self._batch
        if timeframe == batch.layout.timeframe:
            return self.get(symbol, price_type)
        return _stamped_candle(batch.stamped[timeframe, price_type], self._row + batch.index[symbol])

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """Return one column of the stream for all symbols.

        Parameters
        ----------
        name : str
            A column of the stream's schema, such as ``"bid_close"``, ``"H1_ask_open"``,
            ``"bid_timestamp"``, ``"ind_rsi"``.

        Returns
        -------
        numpy.ndarray
            Shape ``(N,)``, N the number of symbols, in the requested order; read-only.
            float64 for prices, volumes and indicators, NaN where there is no candle or
            value; bool for ``valid_*``; datetime64[ns] (UTC) for timestamps, NaT where
            there is no candle; object (texts) for ``symbol``.  A view of the batch's
            memory, not a copy (``valid_*`` and timestamps with NaT: of an array made
            once per batch).

        Raises
        ------
        SchemaMismatchError
            The stream has no such column; also a `KeyError`.
        """
        batch = self._batch
        if name == "symbol":
            return batch.layout.symbol_names
        return batch.columns[name][self._row : self._row + len(batch.index)]

    def keys(self) -> KeysView[str]:
        """Return a view of the symbols in the requested order, as of a dict."""
        return self._batch.index.keys()

    def values(self) -> tuple[SymbolSnapshot, ...]:
        """Return the snapshots of all symbols in the requested order."""
        return tuple(self[symbol] for symbol in self._batch.index)

    def items(self) -> tuple[tuple[str, SymbolSnapshot], ...]:
        """Return the pairs of symbol and snapshot in the requested order."""
        return tuple((symbol, self[symbol]) for symbol in self._batch.index)

    def __getitem__(self, symbol: str) -> SymbolSnapshot:
        """Return everything the slice knows of a symbol; raise `SymbolNotFoundError` for an unknown one."""
        batch = self._batch
        layout = batch.layout
        if symbol not in batch.index:
            raise self._unknown_symbol(symbol)
        bid = self.get(symbol, "bid")
        ask = self.get(symbol, "ask")
        # Requested by few, and the call costs more than the question.
        trade = None if batch.sides["trade"] is None else self.get(symbol, "trade")
        if layout.is_plain:
            return SymbolSnapshot(symbol, self.timestamp_ns, layout.timeframe, bid, ask, trade)
        row = self._row + batch.index[symbol]
        return SymbolSnapshot(
            symbol,
            self.timestamp_ns,
            layout.timeframe,
            bid,
            ask,
            trade,
            batch.indicator_values(row),
            batch.further_candles(row),
        )

    def __iter__(self) -> Iterator[str]:
        """Iterate over the symbols in the requested order."""
        return iter(self._batch.index)

    def __len__(self) -> int:
        """Return the number of symbols."""
        return len(self._batch.index)

    def __contains__(self, symbol: object) -> bool:
        """Return whether the slice has the symbol, with or without a candle."""
        return symbol in self._batch.index

    def __eq__(self, other: object) -> bool:
        """Return whether the other is a slice of the same content."""
        if not isinstance(other, SliceReading):
            return NotImplemented
        mine, theirs = (self._batch, self._row), (other._batch, other._row)
        content = self._batch.layout.content
        if self.timestamp_ns != other.timestamp_ns or self._batch.layout.key() != other._batch.layout.key():
            return False
        # Where candles have timestamps, these tell an absent one from one of NaN too.
        candles = content.candles.values()
        names = [name for columns in candles for name in columns.values]
        names += [columns.timestamp for columns in candles if columns.timestamp is not None]
        names += map(indicator_column, content.indicators)
        return (
            all(_presence(side, *mine) == _presence(side, *theirs) for side in content.price_types)
            and self._batch.indicator_presence(self._row) == other._batch.indicator_presence(other._row)
            and all(np.array_equal(self.column(name), other.column(name), equal_nan=True) for name in names)
        )

    def __ne__(self, other: object) -> bool:
        """Return whether the other is no slice of the same content."""
        # By itself a Struct without `eq` compares identities here.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __repr__(self) -> str:
        """Return timestamp, timeframes and, by symbol, which candles are there; ``*`` marks carried ones."""
        layout = self._batch.layout
        here = []
        for symbol in layout.symbols[:_REPR_SYMBOLS]:
            shown = {side: self.get(symbol, side) for side in layout.content.price_types}
            sides = [
                side if candle.timestamp_ns == self.timestamp_ns else f"{side}*"
                for side, candle in shown.items()
                if candle is not None
            ]
            here.append(f"{symbol}: {'/'.join(sides) or 'none'}")
        more = len(self) - _REPR_SYMBOLS
        tail = f", and {more} more" if more > 0 else ""
        timeframes = "+".join((layout.timeframe, *layout.content.further))
        return f"<{type(self).__name__} {self.timestamp.isoformat()} {timeframes} {{{', '.join(here)}{tail}}}>"

    def _unknown_symbol(self, symbol: object) -> SymbolNotFoundError:
        return SymbolNotFoundError(
            f"the slice has no symbol {symbol!r}",
            hint="its keys() are the symbols that it has",
            symbol=symbol if isinstance(symbol, str) else None,
        )


class MultiSymbolSlice(SliceReading, Struct, frozen=True, eq=False, gc=False):
    """The candles and indicators of every requested symbol at one timestamp.

    Read-only, made by a `SliceStream` or a `SliceTable`, never by hand.  Valid for as long
    as it is referenced, also after the stream has moved on or closed, or the table is gone;
    it keeps the record batch that it came in in memory.  Works as a mapping from symbol to
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
        return _restore, (sink.getvalue().to_pybytes(), layout.symbols, layout.content, layout.known_after_ns)


def _restore(stream: bytes, symbols: tuple[str, ...], content: StreamContent, known_after_ns: int) -> MultiSymbolSlice:
    """Make the one slice of a pickle."""
    layout = SliceLayout(symbols, content, known_after_ns=known_after_ns)
    with pa.ipc.open_stream(stream) as reader:
        batch = SliceBatch(reader.read_next_batch(), layout)
    return next(batch.slices())


def _presence(price_type: str, batch: SliceBatch, row: int) -> list[int]:
    """Return the state of each symbol's candle in the slice at a row: absent, fresh or carried."""
    side = batch.sides[price_type]
    width = len(batch.index)
    return [_FRESH] * width if side is None or side[0] is None else side[0][row : row + width].tolist()


_REPR_SYMBOLS: Final = 4
