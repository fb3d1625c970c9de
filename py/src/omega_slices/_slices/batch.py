"""One record batch of whole slices, with the memory views that its slices read through.

Owns what can be computed once per batch.  Each view is made when first asked for.  A price
then costs one dictionary look-up and one read of eight bytes: no Arrow call, no copy, no
numpy scalar.  Expects batches that `check_batch` accepts.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final, Union

import numpy as np
import pyarrow as pa

from omega_slices._arrow.buffers import (
    floats_view,
    integers_view,
    timestamps_view,
    unpack_presence,
    unpack_values,
    values_view,
)
from omega_slices._model.candle import PRICE_TYPES, CandleData, PriceCandle, timeframe_not_in_slice, unknown_price_type
from omega_slices._model.schema import TIMESTAMP_COLUMN, indicator_column
from omega_slices._slices.derived_cache import note_derived
from omega_slices.errors import DeserializationError, RequestError, SchemaMismatchError

if TYPE_CHECKING:
    from omega_slices._model.schema import CandleColumns
    from omega_slices._slices.derived_cache import Clearable, DerivedCache
    from omega_slices._slices.layout import SliceLayout


# Open, high, low, close, volume.
_Values = tuple["memoryview[float]", "memoryview[float]", "memoryview[float]", "memoryview[float]", "memoryview[float]"]

# What of each row (None: a candle stamped at the slice, in all rows), then the values, and what
# candles they make.
_Side = tuple[
    "memoryview[int] | None",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
    "memoryview[float]",
    type[CandleData],
]

# A side, and the timestamps of its candles.
_Stamped = tuple[_Side, "memoryview[int]"]

# What the first part of a _Side says of a row.  Without fill, and in a higher timeframe, a
# candle that is there is `FRESH`.
ABSENT: Final = 0
FRESH: Final = 1
CARRIED: Final = 2

# What CPython takes for one entry of a list, and for a float.
_POINTER_BYTES: Final = 8
_FLOAT_BYTES: Final = 24

# The close of each row, None where there is no candle.
_Closes = Union["memoryview[float]", "list[float | None]"]


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
        "states",
        "timestamps_ns",
    )

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout) -> None:
        width = len(layout.symbols)
        self.layout = layout
        self.index = layout.index  # one step nearer: every look-up starts here
        # None of these refers back to this object: a cycle would leave megabytes of
        # buffers to the garbage collector.
        self.columns = _Columns(record_batch, layout.derived)
        self.states = _States(record_batch, layout)
        self.sides = _Sides(record_batch, layout, self.states)
        self.stamped = _StampedSides(record_batch, layout)
        self.indicators = _Indicators(record_batch, layout.derived)
        # What `get_price` needs of each price type, and of "mid": filled when first asked
        # for.  A plain dict, which the interpreter looks up faster than a subclass.
        self.closes: dict[str, _Closes] = {}
        # Eight bytes per slice, side by side.  A list would hold five times as much for as
        # long as the batch is there; a strided view would read a page per timestamp.
        # Searched one by one, an array gives its items faster than a memory view.
        timestamps = values_view(record_batch.column(TIMESTAMP_COLUMN), "int64")[::width]
        self.timestamps_ns: array[int] = array("q", timestamps.tobytes())
        self.slice_count = len(self.timestamps_ns)

    @property
    def record_batch(self) -> pa.RecordBatch:
        """The record batch itself."""
        return self.columns.record_batch

    def fill_closes(self, price_type: str) -> None:
        """Make the entry of `closes` for a price type or ``"mid"``; raise for any other text."""
        if price_type != "mid" and price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type, (*PRICE_TYPES, "mid"))
        sides = ("bid", "ask") if price_type == "mid" else (price_type,)
        names = self._close_columns(sides)
        if len(names) < len(sides):
            self._keep_closes(price_type, [None] * self.record_batch.num_rows, _POINTER_BYTES)
            return
        if price_type == "mid":
            # Under an absent candle lies NaN; infinite closes are the input's.
            with np.errstate(all="ignore"):
                bids, asks = (self.columns[name] for name in names)
                mids = (bids + asks) / 2.0
            closes = memoryview(mids).cast("B").cast("d").toreadonly()
        else:
            closes = floats_view(self.record_batch.column(names[0]))
        presences = [states for states in map(self.states.__getitem__, sides) if states is not None]
        if not presences:
            self._keep_closes(price_type, closes, 8 if price_type == "mid" else 0)
            return
        with_gaps: list[float | None] = [*closes]
        for present in presences:
            for row in np.flatnonzero(np.frombuffer(present, np.uint8) == 0).tolist():
                with_gaps[row] = None
        self._keep_closes(price_type, with_gaps, _POINTER_BYTES + _FLOAT_BYTES)

    def clear(self) -> None:
        """Forget the closes; `get_price` makes them again."""
        self.closes.clear()

    def _close_columns(self, sides: tuple[str, ...]) -> list[str]:
        """Return the columns of the closes of those price types that were requested."""
        if "close" not in self.layout.spec.fields:
            raise left_out(self.layout.spec.fields, "prices: these are closes", "add close to fields")
        candles = (self.layout.candles.get((self.layout.timeframe, side)) for side in sides)
        return [columns.close for columns in candles if columns is not None and columns.close is not None]

    def _keep_closes(self, price_type: str, closes: _Closes, row_bytes: int) -> None:
        note_derived(self.layout.derived, self, row_bytes * self.record_batch.num_rows)
        self.closes[price_type] = closes

    def higher_timeframe_candles(self, row: int) -> dict[str, dict[str, CandleData | None]]:
        """Return the candles of a row by higher timeframe and price type."""
        spec = self.layout.spec
        return {
            timeframe: {side: stamped_candle(self.stamped[timeframe, side], row) for side in spec.price_types}
            for timeframe in spec.higher_timeframes
        }

    def indicator_values(self, row: int) -> dict[str, float | None] | None:
        """Return the indicators of a row by name; None where none were requested."""
        values: dict[str, float | None] = {}
        for name in self.layout.spec.indicators:
            present, floats = self.indicators[name]
            values[name] = floats[row] if present is None or present[row] else None
        return values or None

    def indicator_presence(self, row: int) -> list[list[int]]:
        """Return 1 or 0 for each indicator and each symbol of the slice at a row.

        Whether it is there.
        """
        width = len(self.index)
        presences = [self.indicators[name][0] for name in self.layout.spec.indicators]
        return [[1] * width if present is None else present[row : row + width].tolist() for present in presences]


_FLOAT64: Final = pa.float64()


def column_array(column: pa.Array) -> np.ndarray[Any, Any]:
    """Return a column but that of the symbols as a read-only array; a view of its memory if it can be."""
    if column.type == _FLOAT64:
        return values_view(column, "float64")
    return unpack_values(column) if pa.types.is_boolean(column.type) else timestamps_view(column)


class _Columns(dict[str, "np.ndarray[Any, Any]"]):
    """The batch's columns as read-only numpy arrays, made when first asked for."""

    __slots__ = ("__weakref__", "_derived", "record_batch")

    def __init__(self, record_batch: pa.RecordBatch, derived: DerivedCache | None) -> None:
        self.record_batch = record_batch
        self._derived = derived

    def __missing__(self, name: str) -> np.ndarray[Any, Any]:
        schema = self.record_batch.schema
        if name not in schema.names:
            raise SchemaMismatchError(
                f"the stream has no column {name!r}", hint=f"its columns are {', '.join(schema.names)}", column=name
            )
        column = self.record_batch.column(name)
        array = column_array(column)
        is_made = pa.types.is_boolean(column.type) or (pa.types.is_timestamp(column.type) and column.null_count)
        note_derived(self._derived, self, array.nbytes if is_made else 0)
        self[name] = array
        return array


class _States(dict[str, "memoryview[int] | None"]):
    """What of each row, by price type of the primary timeframe: absent, fresh or carried.

    None for fresh ones in all rows, and for a price type that was not requested.
    """

    __slots__ = ("__weakref__", "_layout", "_record_batch")

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout) -> None:
        self._record_batch = record_batch
        self._layout = layout

    def __missing__(self, price_type: str) -> memoryview[int] | None:
        states: memoryview[int] | None = None
        columns = self._layout.candles.get((self._layout.timeframe, price_type))
        if columns is not None:
            _check_together(self._record_batch, columns, self._layout)
            states = unpack_presence(self._record_batch.column(columns.values[0]))
            if columns.timestamp is not None:
                states = _states(states, self._record_batch, columns.timestamp)
            _note_presence(self._layout.derived, self, states)
        self[price_type] = states
        return states


class _Sides(dict[str, "_Side | None"]):
    """The memory views of each price type of the primary timeframe.

    None for one that was not requested.
    """

    __slots__ = ("__weakref__", "_layout", "_record_batch", "_states")

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout, states: _States) -> None:
        self._record_batch = record_batch
        self._layout = layout
        self._states = states

    def __missing__(self, price_type: str) -> _Side | None:
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
        _check_whole(self._layout)
        side: _Side | None = None
        columns = self._layout.candles.get((self._layout.timeframe, price_type))
        if columns is not None:
            side = (self._states[price_type], *_values(self._record_batch, columns), _candle_of(columns))
            # Kept by both, and so counted for both: it is gone when both are forgotten.
            _note_presence(self._layout.derived, self, side[0])
        self[price_type] = side
        return side


class _StampedSides(dict[tuple[str, str], "_Stamped | None"]):
    """The memory views by timeframe and price type, where candles have timestamps.

    None as in `_Sides`.
    """

    __slots__ = ("__weakref__", "_layout", "_record_batch")

    def __init__(self, record_batch: pa.RecordBatch, layout: SliceLayout) -> None:
        self._record_batch = record_batch
        self._layout = layout

    def __missing__(self, key: tuple[str, str]) -> _Stamped | None:
        timeframe, price_type = key
        known = (self._layout.timeframe, *self._layout.spec.higher_timeframes)
        if timeframe not in known:
            raise timeframe_not_in_slice(timeframe, known)
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
        _check_whole(self._layout)
        stamped: _Stamped | None = None
        columns = self._layout.candles.get(key)
        if columns is not None:
            assert columns.timestamp is not None  # only candles with a column of their own are asked for here
            timestamps = integers_view(self._record_batch.column(columns.timestamp))
            _check_together(self._record_batch, columns, self._layout)
            present = unpack_presence(self._record_batch.column(columns.values[0]))
            stamped = ((present, *_values(self._record_batch, columns), _candle_of(columns)), timestamps)
            _note_presence(self._layout.derived, self, present)
        self[key] = stamped
        return stamped


class _Indicators(dict[str, tuple["memoryview[int] | None", "memoryview[float]"]]):
    """Whether each indicator is there (None: it always is), and its values."""

    __slots__ = ("__weakref__", "_derived", "_record_batch")

    def __init__(self, record_batch: pa.RecordBatch, derived: DerivedCache | None) -> None:
        self._record_batch = record_batch
        self._derived = derived

    def __missing__(self, name: str) -> tuple[memoryview[int] | None, memoryview[float]]:
        column = self._record_batch.column(indicator_column(name))
        views = (unpack_presence(column), floats_view(column))
        _note_presence(self._derived, self, views[0])
        self[name] = views
        return views


def _note_presence(derived: DerivedCache | None, holder: Clearable, presence: memoryview[int] | None) -> None:
    note_derived(derived, holder, 0 if presence is None else presence.nbytes)


def left_out(fields: tuple[str, ...], what: str, hint: str) -> RequestError:
    """Make the error of what cannot be had without the fields that were not requested."""
    return RequestError(f"the slices have no {what}; their fields are {', '.join(fields)}", hint=hint)


def _check_whole(layout: SliceLayout) -> None:
    if not layout.spec.is_whole:
        raise left_out(layout.spec.fields, "whole candles", "use column(), or leave out fields when you ask for slices")


def _check_together(record_batch: pa.RecordBatch, columns: CandleColumns, layout: SliceLayout) -> None:
    names = columns.together
    # All of them are null in the same rows.  Of a stream that is known; of a file it is
    # asked here, since few who walk through one read every candle.
    if layout.path is not None and len({record_batch.column(name).null_count for name in names}) > 1:
        raise DeserializationError(
            f"{layout.path!r} is damaged: its columns {', '.join(names)} disagree on which candles are there",
            hint="write the file again with omega-slices sync",
            file=layout.path,
        )


def _values(record_batch: pa.RecordBatch, columns: CandleColumns) -> _Values:
    opens, highs, lows, closes, volumes = (floats_view(record_batch.column(name)) for name in columns.values)
    return opens, highs, lows, closes, volumes


def _candle_of(columns: CandleColumns) -> type[CandleData]:
    return CandleData if columns.absent is None else PriceCandle


def _states(present: memoryview[int] | None, record_batch: pa.RecordBatch, timestamp: str) -> memoryview[int] | None:
    """Tell carried candles from fresh ones, where there are any."""
    own = values_view(record_batch.column(timestamp), "int64")
    is_carried = own != values_view(record_batch.column(TIMESTAMP_COLUMN), "int64")
    if present is not None:
        is_carried &= np.frombuffer(present, np.bool_)
    if not is_carried.any():
        return present
    states = is_carried.astype(np.uint8) + (FRESH if present is None else np.frombuffer(present, np.uint8))
    return memoryview(states).toreadonly()


def stamped_candle(stamped: _Stamped | None, row: int) -> CandleData | None:
    if stamped is None:
        return None
    (present, opens, highs, lows, closes, volumes, make), timestamps = stamped
    if present is not None and not present[row]:
        return None
    return make(timestamps[row], opens[row], highs[row], lows[row], closes[row], volumes[row])
