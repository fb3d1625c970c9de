"""Slices as bars of single symbols, which is what engines take.

Owns which candle becomes a bar: one that is there, fresh, and not empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from omega_slices._model.candle import PRICE_TYPES, unknown_price_type
from omega_slices._model.options import CANDLE_FIELDS
from omega_slices._model.times import timeframe_ns
from omega_slices._wide import WideSlices
from omega_slices.errors import RequestError, SymbolNotFoundError

if TYPE_CHECKING:
    from omega_slices._stream import SliceStream
    from omega_slices._table import SliceTable

    Array = np.ndarray[Any, Any]


class Bars(NamedTuple):
    """The bars of one symbol, in order; arrays of one length.

    Attributes
    ----------
    timestamps : numpy.ndarray
        datetime64[ns] (UTC): when each bar opens.
    open, high, low, close, volume : numpy.ndarray
        float64.
    """

    timestamps: Array
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array


def bars_by_symbol(slices: SliceStream | SliceTable, price_type: str) -> dict[str, Bars]:
    """Return the bars of every symbol.

    A bar is made of each candle of the primary timeframe.  Carried candles make none: they have
    had theirs.  Neither do candles with a price that is NaN, which no engine takes.

    Parameters
    ----------
    slices : SliceStream or SliceTable
        What is left of a stream, or a table.
    price_type : {"bid", "ask", "trade"}
        Whose candles.

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
    """
    if price_type not in PRICE_TYPES:
        raise unknown_price_type(price_type)
    if not isinstance(slices, WideSlices):
        raise RequestError(
            f"invalid slices={slices!r}: expected a stream or a table",
            hint="give what open_slices or read_slices returns",
        )
    if slices.fields != CANDLE_FIELDS:
        raise RequestError(
            f"bars need all five fields; the slices have {', '.join(slices.fields)}",
            hint="leave out fields when you ask for slices",
        )
    names = [f"{price_type}_{field}" for field in CANDLE_FIELDS]
    own = f"{price_type}_timestamp"
    has_own = own in slices.schema.names
    blocks = list(slices.blocks("timestamp", *names, *((own,) if has_own else ())))
    bars = {}
    for place, symbol in enumerate(slices.symbols):
        parts = []
        for _, block in blocks:
            timestamps = block["timestamp"][:, place]
            values = [block[name][:, place] for name in names]
            is_bar = ~np.logical_or.reduce([np.isnan(column) for column in values[:4]])
            if has_own:
                is_bar &= block[own][:, place] == timestamps
            parts.append([column[is_bar] for column in (timestamps, *values)])
        empty = [np.empty(0, "datetime64[ns]"), *(np.empty(0) for _ in names)]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else empty
        bars[symbol] = Bars(*columns)
    return bars


def bars_of(slices: SliceStream | SliceTable, symbol: str, price_type: str) -> Bars:
    """Return the bars of one symbol; see `bars_by_symbol`.

    Raises
    ------
    SymbolNotFoundError
        The slices have no such symbol.
    """
    if symbol not in slices.symbols:
        raise SymbolNotFoundError(
            f"the slices have no symbol {symbol!r}", hint=f"they have {', '.join(slices.symbols)}", symbol=symbol
        )
    return bars_by_symbol(slices, price_type)[symbol]


def bar_length(timeframe: str) -> tuple[str, int]:
    """Return the unit of a timeframe, one of ``SMHDW``, and how many of them it is."""
    timeframe_ns(timeframe)
    return timeframe[0], int(timeframe[1:])
