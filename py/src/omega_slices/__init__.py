"""Synchronised candles of many symbols from Parquet, slice by slice.

`open_slices` opens a `SliceStream` of `MultiSymbolSlice`s, `read_slices` a `SliceTable` of
those in a file; every error is an `OmegaSlicesError` with a `code`.  The logger's name is ``omega_slices``.
"""

from omega_slices._candle import CandleData, RunReport, RunWarning, SeriesReport, SymbolSnapshot
from omega_slices._monitor import StreamMetrics
from omega_slices._open import open_slices
from omega_slices._request import Request
from omega_slices._slices import MultiSymbolSlice
from omega_slices._stream import SliceStream
from omega_slices._table import SliceCursor, SliceTable, read_slices
from omega_slices.errors import (
    BackendUnavailableError,
    CorruptInputError,
    DeserializationError,
    DivergenceError,
    DuplicateTimestampError,
    ErrorCode,
    InvalidPriceTypeError,
    IteratorExhaustedError,
    NoDataForTimestampError,
    OmegaSlicesError,
    RequestError,
    SchemaMismatchError,
    SymbolNotFoundError,
    SystemFailureError,
    TimeframeNotFoundError,
    UnsortedInputError,
)
from omega_slices.testing import assert_slices_equal

__all__ = [
    "BackendUnavailableError",
    "CandleData",
    "CorruptInputError",
    "DeserializationError",
    "DivergenceError",
    "DuplicateTimestampError",
    "ErrorCode",
    "InvalidPriceTypeError",
    "IteratorExhaustedError",
    "MultiSymbolSlice",
    "NoDataForTimestampError",
    "OmegaSlicesError",
    "Request",
    "RequestError",
    "RunReport",
    "RunWarning",
    "SchemaMismatchError",
    "SeriesReport",
    "SliceCursor",
    "SliceStream",
    "SliceTable",
    "StreamMetrics",
    "SymbolNotFoundError",
    "SymbolSnapshot",
    "SystemFailureError",
    "TimeframeNotFoundError",
    "UnsortedInputError",
    "assert_slices_equal",
    "open_slices",
    "read_slices",
]
