"""Slices for backtesting.py: a frame per symbol.

Needs the extra ``backtesting``, which brings pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from omega_slices._extras import library
from omega_slices._wide import PANDAS_MIN
from omega_slices.engines._bars import bars_by_symbol, bars_of

if TYPE_CHECKING:
    from omega_slices._stream import SliceStream
    from omega_slices._table import SliceTable
    from omega_slices.engines._bars import Bars

__all__ = ["frame", "frames"]

library("backtesting", minimum="0.6", install="omega-slices[backtesting]")
pd: Any = library("pandas", minimum=PANDAS_MIN, install="omega-slices[backtesting]")

# The names that the engine asks for.
_COLUMNS: Final = ("Open", "High", "Low", "Close", "Volume")


def frame(slices: SliceStream | SliceTable, symbol: str, price_type: str = "bid") -> Any:
    """Return the frame of one symbol.

    Parameters
    ----------
    slices : SliceStream or SliceTable
        What is left of a stream, or a table.
    symbol : str
        One of its symbols.
    price_type : {"bid", "ask", "trade"}
        Whose candles.

    Returns
    -------
    pandas.DataFrame
        Columns ``Open``, ``High``, ``Low``, ``Close``, ``Volume``, float64; the index is when
        each candle opens (aware, UTC).  A row per candle: missing and carried ones have none.

    Raises
    ------
    SymbolNotFoundError
        The slices have no such symbol.
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
    Running a strategy on one symbol of a file::

        Backtest(frame(read_slices("slices.arrow"), "EURUSD"), MyStrategy).run()
    """
    return _frame(bars_of(slices, symbol, price_type))


def frames(slices: SliceStream | SliceTable, price_type: str = "bid") -> dict[str, Any]:
    """Return the frames of all symbols, in one walk; see `frame`.

    Returns
    -------
    dict of str to pandas.DataFrame
        By symbol, in the requested order.
    """
    return {symbol: _frame(bars) for symbol, bars in bars_by_symbol(slices, price_type).items()}


def _frame(bars: Bars) -> Any:
    index = pd.DatetimeIndex(bars.timestamps, tz="UTC")
    return pd.DataFrame(dict(zip(_COLUMNS, bars[1:], strict=True)), index=index)
