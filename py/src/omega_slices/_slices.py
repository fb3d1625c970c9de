"""The slices: light views of the rows of a record batch.

Owns `MultiSymbolSlice` and the per-batch object behind it.  A slice is three words: its
timestamp, its batch, its first row.  Everything that can be computed once is computed
once per batch, and only when first asked for: plain memory views of the columns'
buffers, so that a price is one dictionary look-up and one read of eight bytes away,
with no Arrow call, no copy and no numpy scalar.  A slice keeps its batch alive, so it
stays valid for as long as it is referenced.  Expects batches that `check_batch` let
through; knows nothing of where they come from.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Union

import numpy as np
import pyarrow as pa
from msgspec import Struct

from omega_slices._buffers import floats_view, unpack_presence, unpack_values, values_view
from omega_slices._candle import (
    PRICE_TYPES,
    CandleData,
    SymbolSnapshot,
    datetime_from_ns,
    timeframe_not_in_slice,
    unknown_price_type,
)
from omega_slices._request import timeframe_ns
from omega_slices._schema import value_columns
from omega_slices.errors import SchemaMismatchError, SymbolNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView
    from datetime import datetime

# Whether a candle is there (None: it always is), then open, high, low, close, volume.
_Side = tuple[
    "memoryview[int] | None",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
]

_CLOSE: Final = 4  # the place of the closes in a _Side

# The close of each row, None where there is no candle.
_Closes = Union["memoryview[float]", "list[float | None]"]


class SliceLayout:
    """What all slices of one stream share."""

    __slots__ = ("index", "price_types", "symbol_names", "symbols", "timeframe", "timeframe_ns")

    def __init__(self, symbols: tuple[str, ...], timeframe: str, price_types: tuple[str, ...]) -> None:
        self.symbols = symbols
        self.index = {symbol: position for position, symbol in enumerate(symbols)}
        self.timeframe = timeframe
        self.timeframe_ns = timeframe_ns(timeframe)
        self.price_types = price_types
        self.symbol_names = np.array(symbols, dtype=object)
        self.symbol_names.flags.writeable = False

    def key(self) -> tuple[object, ...]:
        """Return what must be equal for two slices to be comparable."""
        return (self.symbols, self.timeframe, self.price_types)


class SliceBatch:
    """One record batch of whole slices, with the views that its slices read through."""

    __slots__ = ("closes", "columns", "index", "layout", "sides", "slice_count", "timestamps_ns")

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout) -> None:
        width = len(layout.symbols)
        self.layout = layout
        self.index = layout.index  # one step nearer: every look-up starts here
        # Neither of the two refers back to this object: a cycle would leave megabytes of
        # buffers to the garbage collector.
        self.columns = _Columns(record_batch)
        self.sides = _Sides(record_batch, layout.price_types)
        # What `get_price` needs of each price type, and of "mid": filled when first asked
        # for.  A plain dict, which the interpreter looks up faster than a subclass.
        self.closes: dict[str, _Closes] = {}
        self.timestamps_ns: list[int] = self.columns["timestamp"][::width].view(np.int64).tolist()
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
            self.closes[price_type] = [None] * self.record_batch.num_rows
            return
        if price_type == "mid":
            # Under an absent candle lies NaN; infinite closes are the input's.
            with np.errstate(all="ignore"):
                mids = (self.columns["bid_close"] + self.columns["ask_close"]) / 2.0
            closes = [memoryview(mids).cast("B").cast("d").toreadonly()]
        presences = [side[0] for side in sides if side is not None and side[0] is not None]
        if not presences:
            self.closes[price_type] = closes[0]
            return
        with_gaps: list[float | None] = [*closes[0]]
        for present in presences:
            for row in np.flatnonzero(np.frombuffer(present, np.uint8) == 0).tolist():
                with_gaps[row] = None
        self.closes[price_type] = with_gaps

    def cursor(self, first: int = 0) -> tuple[Iterator[int], Iterator[MultiSymbolSlice]]:
        """Return an iterator over the slices from the given one on, which runs in C.

        The other iterator belongs to it, and is not to be advanced: its length hint tells
        how many slices are left.
        """
        width = len(self.layout.symbols)
        rows = iter(range(first * width, self.slice_count * width, width))
        return rows, map(MultiSymbolSlice, self.timestamps_ns[first:], repeat(self), rows)

    def slices(self, first: int = 0) -> Iterator[MultiSymbolSlice]:
        """Return an iterator over the slices from the given one on."""
        return self.cursor(first)[1]


class _Columns(dict[str, "np.ndarray[Any, Any]"]):
    """The batch's columns as read-only numpy arrays, made when first asked for."""

    __slots__ = ("record_batch",)

    def __init__(self, record_batch: pa.RecordBatch) -> None:
        self.record_batch = record_batch

    def __missing__(self, name: str) -> np.ndarray[Any, Any]:
        schema = self.record_batch.schema
        if name not in schema.names:
            raise SchemaMismatchError(
                f"the stream has no column {name!r}", hint=f"its columns are {', '.join(schema.names)}", column=name
            )
        column = self.record_batch.column(name)
        if name == "timestamp":
            array = values_view(column, "datetime64[ns]")
        elif name.startswith("valid_"):
            array = unpack_values(column)
        else:
            array = values_view(column, "float64")
        self[name] = array
        return array


class _Sides(dict[str, "_Side | None"]):
    """The memory views of each price type; None for one that was not requested."""

    __slots__ = ("_price_types", "_record_batch")

    def __init__(self, record_batch: pa.RecordBatch, price_types: tuple[str, ...]) -> None:
        self._record_batch = record_batch
        self._price_types = price_types

    def __missing__(self, price_type: str) -> _Side | None:
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
        side: _Side | None = None
        if price_type in self._price_types:
            columns = [self._record_batch.column(name) for name in value_columns(price_type)]
            opens, highs, lows, closes, volumes = map(floats_view, columns)
            # All five columns are null in the same rows.
            side = (unpack_presence(columns[0]), opens, highs, lows, closes, volumes)
        self[price_type] = side
        return side


class MultiSymbolSlice(Struct, frozen=True, eq=False, gc=False):
    """The candles of every requested symbol at one timestamp.

    Read-only, made by a `SliceStream`, never by hand.  Valid for as long as it is
    referenced, also after the stream has moved on or closed; it keeps the record batch
    that it came in in memory.  Works as a mapping from symbol to `SymbolSnapshot`, in
    the requested order of the symbols.

    Two slices are equal where timestamp, symbols, timeframe, price types and all
    candles are; NaN equals NaN.

    Attributes
    ----------
    timestamp_ns : int
        The slice's timestamp, at which its candles OPEN: nanoseconds since
        1970-01-01T00:00Z.

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

    @property
    def timestamp(self) -> datetime:
        """The slice's timestamp: aware, UTC, rounded down to whole microseconds."""
        return datetime_from_ns(self.timestamp_ns)

    @property
    def known_at_ns(self) -> int:
        """When the slice's candles are complete: timestamp + timeframe, nanoseconds since 1970."""
        return self.timestamp_ns + self._batch.layout.timeframe_ns

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
        """The timeframe of the slice's candles, such as ``"M1"``."""
        return self._batch.layout.timeframe

    @property
    def primary_tf(self) -> str:
        """The same as `timeframe`."""
        return self._batch.layout.timeframe

    @property
    def slices(self) -> KeysView[str]:
        """The same as `keys()`."""
        return self._batch.index.keys()

    def get(self, symbol: str, price_type: str = "bid") -> CandleData | None:
        """Return a symbol's candle.

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
        position = batch.index.get(symbol)
        if position is None or side is None:
            return None
        row = self._row + position
        present, opens, highs, lows, closes, volumes = side
        if present is not None and not present[row]:
            return None
        return CandleData(self.timestamp_ns, opens[row], highs[row], lows[row], closes[row], volumes[row])

    def get_price(self, symbol: str, price_type: str = "mid") -> float | None:
        """Return a symbol's close.

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
            The slice's own timeframe, which is the only one here.
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
        if timeframe != self.timeframe:
            raise timeframe_not_in_slice(timeframe, self.timeframe)
        return self.get(symbol, price_type)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """Return one column of the stream for all symbols.

        Parameters
        ----------
        name : str
            A column of the stream's schema, such as ``"bid_close"``.

        Returns
        -------
        numpy.ndarray
            Shape ``(N,)``, N the number of symbols, in the requested order; read-only.
            float64 for prices and volumes, NaN where there is no candle; bool for
            ``valid_*``; datetime64[ns] (UTC) for ``timestamp``; object (texts) for
            ``symbol``.  A view of the batch's memory, not a copy (``valid_*``: of bits
            unpacked once per batch).

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
        if symbol not in self._batch.index:
            raise self._unknown_symbol(symbol)
        return SymbolSnapshot(
            symbol,
            self.timestamp_ns,
            self._batch.layout.timeframe,
            self.get(symbol, "bid"),
            self.get(symbol, "ask"),
            self.get(symbol, "trade"),
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
        if not isinstance(other, MultiSymbolSlice):
            return NotImplemented
        mine, theirs = (self._batch, self._row), (other._batch, other._row)
        layout = self._batch.layout
        if self.timestamp_ns != other.timestamp_ns or layout.key() != other._batch.layout.key():
            return False
        return all(
            _presence(side, *mine) == _presence(side, *theirs)
            and all(
                np.array_equal(self.column(name), other.column(name), equal_nan=True) for name in value_columns(side)
            )
            for side in layout.price_types
        )

    def __hash__(self) -> int:
        """Return a hash that equal slices share."""
        return hash((self.timestamp_ns, *self._batch.layout.key()))

    def __repr__(self) -> str:
        """Return timestamp, timeframe and, by symbol, which candles are there."""
        sides = self._batch.layout.price_types
        here = (
            f"{symbol}: {'/'.join(side for side in sides if self.get(symbol, side) is not None) or 'none'}"
            for symbol in self._batch.layout.symbols[:_REPR_SYMBOLS]
        )
        more = len(self) - _REPR_SYMBOLS
        tail = f", and {more} more" if more > 0 else ""
        return f"<MultiSymbolSlice {self.timestamp.isoformat()} {self.timeframe} {{{', '.join(here)}{tail}}}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to make the slice anew from its own rows: a pickle does not hold the batch."""
        layout = self._batch.layout
        rows = self._batch.record_batch.slice(self._row, len(layout.symbols))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_batch(rows)
        return _restore, (sink.getvalue().to_pybytes(), layout.symbols, layout.timeframe, layout.price_types)

    def _unknown_symbol(self, symbol: object) -> SymbolNotFoundError:
        return SymbolNotFoundError(
            f"the slice has no symbol {symbol!r}",
            hint="its keys() are the symbols that it has",
            symbol=symbol if isinstance(symbol, str) else None,
        )


def _restore(stream: bytes, symbols: tuple[str, ...], timeframe: str, price_types: tuple[str, ...]) -> MultiSymbolSlice:
    """Make the one slice of a pickle."""
    with pa.ipc.open_stream(stream) as reader:
        batch = SliceBatch(reader.read_next_batch(), SliceLayout(symbols, timeframe, price_types))
    return next(batch.slices())


def _presence(price_type: str, batch: SliceBatch, row: int) -> list[int]:
    """Return 1 or 0 for each symbol of the slice at a row: whether it has such a candle."""
    side = batch.sides[price_type]
    width = len(batch.index)
    return [1] * width if side is None or side[0] is None else side[0][row : row + width].tolist()


_REPR_SYMBOLS: Final = 4
