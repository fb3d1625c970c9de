"""Slices for nautilus_trader: bars of instruments.

Needs the extra ``nautilus``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omega_slices._extras import library
from omega_slices.engines._bars import bar_length, bars_by_symbol
from omega_slices.errors import RequestError, SymbolNotFoundError

if TYPE_CHECKING:
    from omega_slices._stream import SliceStream
    from omega_slices._table import SliceTable
    from omega_slices.engines._bars import Bars

__all__ = ["bar_type", "bars"]

_INSTALL: Final = "omega-slices[nautilus]"
library("nautilus_trader", minimum="1.200", install=_INSTALL)
_data: Any = library("nautilus_trader.model.data", install=_INSTALL)

_UNITS: Final = {"S": "SECOND", "M": "MINUTE", "H": "HOUR", "D": "DAY", "W": "WEEK"}
_PRICE_TYPES: Final = {"bid": "BID", "ask": "ASK", "trade": "LAST"}


def bar_type(instrument: Any, timeframe: str, price_type: str = "bid") -> Any:
    """Return the engine's type of the bars of an instrument.

    Parameters
    ----------
    instrument : nautilus_trader.model.instruments.Instrument
        Whose bars.
    timeframe : str
        Of the candles, such as ``"M1"``.
    price_type : {"bid", "ask", "trade"}
        Whose candles; ``"trade"`` is the engine's LAST.

    Returns
    -------
    nautilus_trader.model.data.BarType
        Aggregated outside of the engine: EXTERNAL.
    """
    unit, count = bar_length(timeframe)
    text = f"{instrument.id}-{count}-{_UNITS[unit]}-{_PRICE_TYPES[price_type]}-EXTERNAL"
    return _data.BarType.from_str(text)


def bars(
    slices: SliceStream | SliceTable, instruments: Mapping[str, Any], price_type: str = "bid"
) -> dict[str, list[Any]]:
    """Return the bars of instruments.

    A bar per candle, stamped when the candle is complete, so that the engine hands it out no
    earlier.  Candles that are missing make no bar, nor do carried ones.  Prices and volumes are
    rounded to the precision of the instrument.

    Parameters
    ----------
    slices : SliceStream or SliceTable
        What is left of a stream, or a table.
    instruments : mapping of str to nautilus_trader.model.instruments.Instrument
        By symbol: those whose bars are wanted.
    price_type : {"bid", "ask", "trade"}
        Whose candles.

    Returns
    -------
    dict of str to list of nautilus_trader.model.data.Bar
        By symbol, in the order of `instruments`.

    Raises
    ------
    SymbolNotFoundError
        The slices have no symbol of that name.
    RequestError
        The engine takes no such bar: it names symbol, timestamp and reason.
    InvalidPriceTypeError
        `price_type` is not one of the three.
    SchemaMismatchError
        The price type was not requested.
    OmegaSlicesError
        The stream cannot be completed, or the file is damaged.

    Examples
    --------
    Feeding two instruments of a file to an engine::

        for of_one in bars(read_slices("slices.arrow"), {"EURUSD": eurusd, "GBPUSD": gbpusd}).values():
            engine.add_data(of_one)
    """
    if not isinstance(instruments, Mapping):
        raise RequestError(
            f"invalid instruments={instruments!r}: expected a mapping", hint='write {"EURUSD": instrument}'
        )
    for symbol in instruments:
        if symbol not in slices.symbols:
            raise SymbolNotFoundError(
                f"the slices have no symbol {symbol!r}", hint=f"they have {', '.join(slices.symbols)}", symbol=symbol
            )
    known_after_ns, timeframe = slices.known_after_ns, slices.timeframe
    by_symbol = bars_by_symbol(slices, price_type)
    return {
        symbol: _bars(
            instrument, bar_type(instrument, timeframe, price_type), by_symbol[symbol], symbol, known_after_ns
        )
        for symbol, instrument in instruments.items()
    }


def _bars(instrument: Any, kind: Any, found: Bars, symbol: str, known_after_ns: int) -> list[Any]:
    bar, price, quantity = _data.Bar, instrument.make_price, instrument.make_qty
    made = []
    known_ns = (found.timestamps.astype(np.int64) + known_after_ns).tolist()
    rows = zip(known_ns, *(column.tolist() for column in found[1:]), strict=True)
    for at_ns, open_, high, low, close, volume in rows:
        try:
            made.append(bar(kind, price(open_), price(high), price(low), price(close), quantity(volume), at_ns, at_ns))
        except ValueError as error:
            opened = np.datetime64(at_ns - known_after_ns, "ns")
            raise RequestError(
                f"nautilus_trader takes no bar of {symbol} that opens at {opened}Z: {error}",
                hint="omega-slices coverage names candles that contradict themselves; leave them out of the input",
            ) from error
    return made
