"""Slices for backtrader: a data feed per symbol.

Needs the extra ``backtrader``.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from omega_slices._extras import library
from omega_slices._model.checks import check_choice
from omega_slices.engines._bars import bar_length, bars_by_symbol

if TYPE_CHECKING:
    from omega_slices._stream import SliceStream
    from omega_slices._table import SliceTable
    from omega_slices.engines._bars import Bars

__all__ = ["SliceFeed", "feeds"]

bt: Any = library("backtrader", minimum="1.9.76", install="omega-slices[backtrader]")

# The unit of a timeframe in the engine, and how many of them one is.
_UNITS: Final = {
    "S": (bt.TimeFrame.Seconds, 1),
    "M": (bt.TimeFrame.Minutes, 1),
    "H": (bt.TimeFrame.Minutes, 60),
    "D": (bt.TimeFrame.Days, 1),
    "W": (bt.TimeFrame.Weeks, 1),
}


def feeds(
    slices: SliceStream | SliceTable, price_type: str = "bid", stamped: Literal["open", "close"] = "open"
) -> dict[str, SliceFeed]:
    """Return a data feed of every symbol.

    A bar per candle, in naive UTC.  Candles that are missing or have a price that is NaN make no
    bar, nor do carried ones.

    Parameters
    ----------
    slices : SliceStream or SliceTable
        What is left of a stream, or a table.
    price_type : {"bid", "ask", "trade"}
        Whose candles.
    stamped : {"open", "close"}
        With ``"open"`` a bar has the stamp of its candle.  With ``"close"`` it is stamped when the
        candle is complete, as the engine takes it: choose that where feeds of several timeframes
        meet, or a feed is resampled.  The engine hands out bars by their stamps, so one of an hour
        that is stamped when it opens would be seen an hour too early.

    Returns
    -------
    dict of str to SliceFeed
        By symbol, in the requested order.  Each feed is named by its symbol, and knows its
        timeframe and compression.

    Raises
    ------
    InvalidPriceTypeError
        `price_type` is not one of the three.
    SchemaMismatchError
        The price type was not requested.
    RequestError
        A field was not requested.
    OmegaSlicesError
        The stream cannot be completed, or the file is damaged.

    Examples
    --------
    Adding all symbols of a file to an engine::

        cerebro = backtrader.Cerebro()
        for feed in feeds(read_slices("slices.arrow")).values():
            cerebro.adddata(feed)
    """
    check_choice("stamped", stamped, ("open", "close"))
    by_symbol = bars_by_symbol(slices, price_type)
    unit, count = bar_length(slices.timeframe)
    shift = np.timedelta64(slices.known_after_ns if stamped == "close" else 0, "ns")
    timeframe, per_unit = _UNITS[unit]
    return {
        symbol: SliceFeed(
            dataname=bars._replace(timestamps=bars.timestamps + shift),
            name=symbol,
            timeframe=timeframe,
            compression=count * per_unit,
        )
        for symbol, bars in by_symbol.items()
    }


class SliceFeed(bt.feed.DataBase):  # type: ignore[misc]  # the engine ships no types
    """The bars of one symbol; made by `feeds`."""

    # The lines in the order of what `_columns` returns.
    _FILLED: Final = ("datetime", "open", "high", "low", "close", "volume")

    def start(self) -> None:
        """Begin at the first bar."""
        super().start()
        self._columns = _columns(self.p.dataname)
        self._next = 0

    def preload(self) -> None:
        """Load all bars: at once, unless one of the engine's options looks at each of them."""
        looks_at_each = self._filters or self._ffilters or self._tzinput or self._barstack or self._barstash
        if looks_at_each or self.lines[0].idx >= 0:
            super().preload()
            return
        dates = self._columns[0]
        first = next((place for place, date in enumerate(dates) if date >= self.fromdate), len(dates))
        last = next((place for place in range(len(dates), first, -1) if dates[place - 1] <= self.todate), first)
        filled = dict(zip(self._FILLED, self._columns, strict=True))
        absent = array("d", [float("nan")]) * (last - first)
        for alias in self.getlinealiases():
            line = getattr(self.lines, alias)
            line.array.extend(filled[alias][first:last] if alias in filled else absent)
            line.idx += last - first
            line.lencount += last - first
        self._next = len(dates)
        self._last()
        self.home()

    def _load(self) -> bool:
        place = self._next
        dates, opens, highs, lows, closes, volumes = self._columns
        if place >= len(dates):
            return False
        self._next = place + 1
        lines = self.lines
        lines.datetime[0] = dates[place]
        lines.open[0] = opens[place]
        lines.high[0] = highs[place]
        lines.low[0] = lows[place]
        lines.close[0] = closes[place]
        lines.volume[0] = volumes[place]
        return True


def _columns(bars: Bars) -> tuple[array[float], ...]:
    """Return the engine's numbers of the timestamps, and the values."""
    moments = bars.timestamps.astype("datetime64[us]").tolist()
    dates = array("d", map(bt.date2num, moments))
    return dates, *(array("d", column.tobytes()) for column in bars[1:])
