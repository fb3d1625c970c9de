"""Value types: the candle of one series, and all that one slice shows of one symbol.

Owns what they hold and how they are read.  All are frozen `msgspec.Struct`s: plain values
that can be kept, compared, hashed and encoded.  Knows neither Arrow nor files.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

from msgspec import Struct

from omega_slices.errors import InvalidPriceTypeError, TimeframeNotFoundError

PriceType = Literal["bid", "ask", "trade"]

# In canonical order: columns and requests hold price types in this order, whatever was asked.
PRICE_TYPES: Final[tuple[PriceType, ...]] = get_args(PriceType)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def datetime_from_ns(timestamp_ns: int) -> datetime:
    """Return nanoseconds since 1970 as an aware UTC datetime, rounded down to microseconds."""
    return _EPOCH + timedelta(microseconds=timestamp_ns // 1_000)


def unknown_price_type(price_type: object, known: tuple[str, ...] = PRICE_TYPES) -> InvalidPriceTypeError:
    """Make the error for a text that does not name a price type."""
    return InvalidPriceTypeError(
        f"invalid price type {price_type!r}: expected one of {', '.join(known)}",
        hint="choose one of these",
        price_type=price_type if isinstance(price_type, str) else None,
    )


class CandleData(Struct, frozen=True, gc=False):
    """One OHLCV candle of one series.

    Attributes
    ----------
    timestamp_ns : int
        When the candle OPENS, nanoseconds since 1970-01-01T00:00Z.  The candle's own, also
        where a later slice shows it.
    open, high, low, close : float
        Prices, in the unit of the input; NaN where the input had none.
    volume : float
        Volume, in the unit of the input; NaN where the input had none.

    Examples
    --------
    >>> candle = CandleData(1_704_153_600_000_000_000, 1.0, 2.0, 0.5, 1.5, 100.0)
    >>> candle.timestamp.isoformat(), candle.is_valid
    ('2024-01-02T00:00:00+00:00', True)
    """

    timestamp_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def timestamp(self) -> datetime:
        """When the candle opens: aware, UTC, rounded down to whole microseconds."""
        return datetime_from_ns(self.timestamp_ns)

    @property
    def is_valid(self) -> bool:
        """True where all five values are finite."""
        # Sums would be shorter, but two huge finite prices may add up to infinity.
        finite = math.isfinite
        return (
            finite(self.open) and finite(self.high) and finite(self.low) and finite(self.close) and finite(self.volume)
        )


class PriceCandle(CandleData, frozen=True, gc=False):
    """One candle of files that hold no volume: that is NaN, and not asked for.

    Attributes
    ----------
    timestamp_ns : int
        As in `CandleData`.
    open, high, low, close, volume : float
        As in `CandleData`; the volume is NaN.

    Examples
    --------
    >>> PriceCandle(0, 1.0, 2.0, 0.5, 1.5, float("nan")).is_valid
    True
    """

    @property
    def is_valid(self) -> bool:
        """True where all four prices are finite."""
        finite = math.isfinite
        return finite(self.open) and finite(self.high) and finite(self.low) and finite(self.close)


class SymbolSnapshot(Struct, frozen=True):
    """Everything one slice knows of one symbol.

    Attributes
    ----------
    symbol : str
        The symbol's name.
    timestamp_ns : int
        The slice's timestamp, nanoseconds since 1970-01-01T00:00Z.
    timeframe : str
        The primary timeframe, such as ``"M1"``.
    bid, ask, trade : CandleData or None
        The candles of the primary timeframe: those stamped `timestamp_ns`, with fill
        also earlier ones; None where the series shows none or the price type was not
        requested.
    indicators : dict of str to float or None, or None
        Indicator values by name, in the requested order; None for one that is absent,
        NaN for one that is there without a value.  None where none were requested.
    candles : dict of str to dict of str to CandleData or None
        By higher timeframe, then price type: the latest complete candle.

    Examples
    --------
    >>> bid = CandleData(0, 1.0, 1.0, 1.0, 1.0, 5.0)
    >>> ask = CandleData(0, 1.5, 1.5, 1.5, 1.5, 5.0)
    >>> snapshot = SymbolSnapshot("EURUSD", 0, "M1", bid, ask, None)
    >>> snapshot.latest() is bid, snapshot.mid, snapshot.spread
    (True, 1.25, 0.5)
    >>> later = SymbolSnapshot("EURUSD", 60_000_000_000, "M1", bid, None, None)
    >>> later.is_carried, later.age.total_seconds()
    (True, 60.0)
    """

    symbol: str
    timestamp_ns: int
    timeframe: str
    bid: CandleData | None
    ask: CandleData | None
    trade: CandleData | None
    indicators: dict[str, float | None] | None = None
    candles: dict[str, dict[str, CandleData | None]] = {}

    def __hash__(self) -> int:
        """Return a hash that equal snapshots share: without the dicts, which have none."""
        return hash((self.symbol, self.timestamp_ns, self.timeframe, self.bid, self.ask, self.trade))

    @property
    def timestamp(self) -> datetime:
        """The slice's timestamp: aware, UTC, rounded down to whole microseconds."""
        return datetime_from_ns(self.timestamp_ns)

    @property
    def mid(self) -> float | None:
        """Half the sum of bid close and ask close; None where either candle is missing."""
        if self.bid is None or self.ask is None:
            return None
        return (self.bid.close + self.ask.close) / 2.0

    @property
    def spread(self) -> float | None:
        """Ask close minus bid close; None where either candle is missing."""
        if self.bid is None or self.ask is None:
            return None
        return self.ask.close - self.bid.close

    @property
    def age_ns(self) -> int | None:
        """From the oldest primary candle shown to the slice, in nanoseconds.

        None where none is shown.
        """
        shown = [candle.timestamp_ns for candle in (self.bid, self.ask, self.trade) if candle is not None]
        return self.timestamp_ns - min(shown) if shown else None

    @property
    def age(self) -> timedelta | None:
        """The same as `age_ns`, rounded down to whole microseconds."""
        age_ns = self.age_ns
        return None if age_ns is None else timedelta(microseconds=age_ns // 1_000)

    @property
    def is_carried(self) -> bool:
        """True where any primary candle shown is older than the slice."""
        return bool(self.age_ns)

    def candle(self, timeframe: str, price_type: str = "bid") -> CandleData | None:
        """Return this symbol's candle of a timeframe.

        Parameters
        ----------
        timeframe : str
            The primary timeframe, or one of the higher ones.
        price_type : {"bid", "ask", "trade"}
            Which candle.

        Returns
        -------
        CandleData or None
            None where there is no candle, or the price type was not requested.

        Raises
        ------
        TimeframeNotFoundError
            The slice has no such timeframe.
        InvalidPriceTypeError
            `price_type` is not one of the three.

        Examples
        --------
        >>> bid = CandleData(0, 1.0, 1.0, 1.0, 1.0, 5.0)
        >>> snapshot = SymbolSnapshot("EURUSD", 0, "M1", bid, None, None)
        >>> snapshot.candle("M1") is bid, snapshot.candle("M1", "ask")
        (True, None)
        """
        if timeframe == self.timeframe:
            return self.latest(None, price_type)
        candles = self.candles.get(timeframe)
        if candles is None:
            raise timeframe_not_in_slice(timeframe, (self.timeframe, *self.candles))
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
        return candles.get(price_type)

    def latest(self, tf: str | None = None, price_type: str = "bid") -> CandleData | None:
        """Return this symbol's latest candle that the slice shows.

        Parameters
        ----------
        tf : str, optional
            The timeframe; None means the primary one.
        price_type : {"bid", "ask", "trade"}
            Which candle.

        Returns
        -------
        CandleData or None
            None where there is no candle, or the price type was not requested.

        Raises
        ------
        TimeframeNotFoundError
            The slice has no such timeframe.
        InvalidPriceTypeError
            `price_type` is not one of the three.

        Examples
        --------
        >>> bid = CandleData(0, 1.0, 1.0, 1.0, 1.0, 5.0)
        >>> snapshot = SymbolSnapshot("EURUSD", 0, "M1", bid, None, None)
        >>> snapshot.latest() is bid, snapshot.latest("M1", "ask")
        (True, None)
        """
        if tf is not None and tf != self.timeframe:
            return self.candle(tf, price_type)
        match price_type:
            case "bid":
                return self.bid
            case "ask":
                return self.ask
            case "trade":
                return self.trade
            case _:
                raise unknown_price_type(price_type)


def timeframe_not_in_slice(timeframe: object, known: tuple[str, ...]) -> TimeframeNotFoundError:
    """Make the error for a timeframe that a slice does not carry."""
    return TimeframeNotFoundError(
        f"the slice has no candles of timeframe {timeframe!r}, only of {', '.join(known)}",
        hint=f"open the stream with with_timeframe={timeframe!r}, or with it as the timeframe",
    )
