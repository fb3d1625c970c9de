"""All that can be read of one slice: the interface that slices and cursors share.

Owns what each accessor returns.  A slice is three words: its timestamp, its batch, and its
first row in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omega_slices._model.candle import CandleData, SymbolSnapshot, datetime_from_ns
from omega_slices._model.schema import SYMBOL_COLUMN, indicator_column
from omega_slices._slices.batch import ABSENT, CARRIED, FRESH, stamped_candle
from omega_slices.errors import SymbolNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView
    from datetime import datetime

    from omega_slices._slices.batch import SliceBatch


class SliceAccessors:  # noqa: PLW1641  # the heir decides: a slice has a hash, a cursor, which moves, has none
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
        """The higher timeframes, in the requested order; see `get_candle`."""
        return self._batch.layout.spec.higher_timeframes

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
        RequestError
            The slices have not all fields of a candle.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> first.get("EURUSD").close, first.get("USDJPY") is None
        (1.5, True)
        """
        batch = self._batch
        side = batch.sides[price_type]
        if side is None:
            return None
        try:
            row = self._row + batch.index[symbol]
        except KeyError:
            return None
        states, opens, highs, lows, closes, volumes, make = side
        if states is not None and (state := states[row]) != FRESH:
            if state == ABSENT:
                return None
            return stamped_candle(batch.stamped[batch.layout.timeframe, price_type], row)
        return make(self.timestamp_ns, opens[row], highs[row], lows[row], closes[row], volumes[row])

    def get_price(self, symbol: str, price_type: str = "mid") -> float | None:
        """Return a symbol's close in the primary timeframe.

        With fill, it may be of an earlier candle.

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
        RequestError
            The slices have no closes.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> first.get_price("EURUSD"), first.get_price("EURUSD", "ask"), first.get_price("EURUSD", "trade")
        (1.625, 1.75, None)
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
        RequestError
            The slices have no closes.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> first.get_spread("EURUSD")
        0.25
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
        RequestError
            The slices have not all fields of a candle.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> first.get_candle("EURUSD", "M1", "ask").close
        1.75
        """
        if symbol not in self._batch.index:
            raise self._unknown_symbol(symbol)
        batch = self._batch
        if timeframe == batch.layout.timeframe:
            return self.get(symbol, price_type)
        return stamped_candle(batch.stamped[timeframe, price_type], self._row + batch.index[symbol])

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

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> first.column("bid_close"), first.column("valid_ask")
        (array([1.5, 2.5]), array([ True,  True]))
        """
        batch = self._batch
        if name == SYMBOL_COLUMN:
            return batch.layout.symbol_names
        return batch.columns[name][self._row : self._row + len(batch.index)]

    def keys(self) -> KeysView[str]:
        """Return a view of the symbols in the requested order, as of a dict.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> list(first.keys())
        ['EURUSD', 'GBPUSD']
        """
        return self._batch.index.keys()

    def values(self) -> tuple[SymbolSnapshot, ...]:
        """Return the snapshots of all symbols in the requested order.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> [snapshot.mid for snapshot in first.values()]
        [1.625, 2.625]
        """
        return tuple(self[symbol] for symbol in self._batch.index)

    def items(self) -> tuple[tuple[str, SymbolSnapshot], ...]:
        """Return the pairs of symbol and snapshot in the requested order.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> first = read_slices(path)[0]
        >>> {symbol: snapshot.spread for symbol, snapshot in first.items()}
        {'EURUSD': 0.25, 'GBPUSD': 0.25}
        """
        return tuple((symbol, self[symbol]) for symbol in self._batch.index)

    def __getitem__(self, symbol: str) -> SymbolSnapshot:
        """Return everything the slice knows of a symbol.

        Raise `SymbolNotFoundError` for an unknown one, and `RequestError` where the slices have
        not all fields of a candle.
        """
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
            batch.higher_timeframe_candles(row),
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
        if not isinstance(other, SliceAccessors):
            return NotImplemented
        mine, theirs = (self._batch, self._row), (other._batch, other._row)
        spec = self._batch.layout.spec
        if self.timestamp_ns != other.timestamp_ns or self._batch.layout.key() != other._batch.layout.key():
            return False
        # Where candles have timestamps, these tell an absent one from one of NaN too.
        candles = spec.candles.values()
        names = [name for columns in candles for name in columns.values]
        names += [columns.timestamp for columns in candles if columns.timestamp is not None]
        names += map(indicator_column, spec.indicators)
        return (
            all(_presence(side, *mine) == _presence(side, *theirs) for side in spec.price_types)
            and self._batch.indicator_presence(self._row) == other._batch.indicator_presence(other._row)
            and all(np.array_equal(self.column(name), other.column(name), equal_nan=True) for name in names)
        )

    def __ne__(self, other: object) -> bool:
        """Return whether the other is not a slice of the same content."""
        # By itself a Struct without `eq` compares identities here.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __repr__(self) -> str:
        """Return timestamp, timeframes and, by symbol, which candles are there.

        ``*`` marks carried ones.
        """
        layout = self._batch.layout
        here = []
        for symbol in layout.symbols[:_REPR_SYMBOLS]:
            row = self._row + self._batch.index[symbol]
            shown = {side: _state(self._batch, side, row) for side in layout.spec.price_types}
            sides = [f"{side}*" if state == CARRIED else side for side, state in shown.items() if state != ABSENT]
            here.append(f"{symbol}: {'/'.join(sides) or 'none'}")
        more = len(self) - _REPR_SYMBOLS
        tail = f", and {more} more" if more > 0 else ""
        timeframes = "+".join((layout.timeframe, *layout.spec.higher_timeframes))
        return f"<{type(self).__name__} {self.timestamp.isoformat()} {timeframes} {{{', '.join(here)}{tail}}}>"

    def _unknown_symbol(self, symbol: object) -> SymbolNotFoundError:
        return SymbolNotFoundError(
            f"the slice has no symbol {symbol!r}",
            hint="its keys() are the symbols that it has",
            symbol=symbol if isinstance(symbol, str) else None,
        )


def _presence(price_type: str, batch: SliceBatch, row: int) -> list[int]:
    """Return the state of each symbol's candle in the slice at a row: absent, fresh or carried."""
    states = batch.states[price_type]
    width = len(batch.index)
    return [FRESH] * width if states is None else states[row : row + width].tolist()


def _state(batch: SliceBatch, price_type: str, row: int) -> int:
    states = batch.states[price_type]
    return FRESH if states is None else states[row]


_REPR_SYMBOLS: Final = 4
