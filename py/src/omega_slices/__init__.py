"""Synchronised candles of many symbols from Parquet, slice by slice.

`open_slices` opens a `SliceStream` of `MultiSymbolSlice`s, `read_slices` a `SliceTable` of
those in a file; `list_inputs` says which files a stream would read.  Every error is an
`OmegaSlicesError` with a `code`.  The logger's name is ``omega_slices``.
"""

from omega_slices._cursor import SliceCursor
from omega_slices._inputs import list_inputs
from omega_slices._model.candle import CandleData, PriceCandle, SymbolSnapshot
from omega_slices._model.input_list import InputFile, InputList, InputSeries
from omega_slices._model.report import RunReport, RunWarning, SeriesReport, TimestampUnit
from omega_slices._model.request import Request
from omega_slices._monitor import StreamMetrics
from omega_slices._open import open_slices
from omega_slices._precompute import precompute
from omega_slices._slices.slice import MultiSymbolSlice
from omega_slices._stream import SliceStream
from omega_slices._table import SliceTable, read_slices
from omega_slices.errors import (
    AmbiguousInputError,
    BackendUnavailableError,
    ConflictingDuplicatesError,
    CorruptInputError,
    DeserializationError,
    DivergenceError,
    DuplicateTimestampError,
    EmptySeriesError,
    EmptyTimelineError,
    ErrorCode,
    InvalidPriceTypeError,
    IteratorExhaustedError,
    LocalDaysError,
    NoDataForTimestampError,
    OmegaSlicesError,
    RequestError,
    SchemaMismatchError,
    SymbolNotFoundError,
    SystemFailureError,
    TimeframeMismatchError,
    TimeframeNotFoundError,
    UnsortedInputError,
    UnsupportedInputError,
)
from omega_slices.testing import assert_slices_equal

__all__ = [
    "AmbiguousInputError",
    "BackendUnavailableError",
    "CandleData",
    "ConflictingDuplicatesError",
    "CorruptInputError",
    "DeserializationError",
    "DivergenceError",
    "DuplicateTimestampError",
    "EmptySeriesError",
    "EmptyTimelineError",
    "ErrorCode",
    "InputFile",
    "InputList",
    "InputSeries",
    "InvalidPriceTypeError",
    "IteratorExhaustedError",
    "LocalDaysError",
    "MultiSymbolSlice",
    "NoDataForTimestampError",
    "OmegaSlicesError",
    "PriceCandle",
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
    "TimeframeMismatchError",
    "TimeframeNotFoundError",
    "TimestampUnit",
    "UnsortedInputError",
    "UnsupportedInputError",
    "assert_slices_equal",
    "list_inputs",
    "open_slices",
    "precompute",
    "read_slices",
]
