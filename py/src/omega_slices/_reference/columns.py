"""The columns of a file in the reference: which hold what, and the doubles that their values are.

Reads nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa

from omega_slices._model.options import CANDLE_FIELDS, INPUT_COLUMNS, PRICE_FIELDS
from omega_slices._model.request import Request
from omega_slices._model.times import timeframe_ns
from omega_slices._reference.options import DAY_NS, SeriesName, wrong
from omega_slices._reference.parquet import is_instant
from omega_slices.errors import AmbiguousInputError, SchemaMismatchError

COLUMN_HINT: Final = "repair the file, or rename the columns in the request"
_USUAL_TIMES: Final = ("date", "datetime", "time", "timestamp", "__index_level_0__")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


def columns_of(
    request: Request, series: SeriesName, path: str, listed: Mapping[str, str], schema: pa.Schema
) -> tuple[str, list[str]]:
    """Return the names of a file's columns: that of the timestamps, and those of the values.

    Raises
    ------
    AmbiguousInputError
        Several columns may stand for a field.
    """
    time = column_of(request, series, path, listed, schema, "timestamp")
    if series.side is None:
        return time, [listed.get(name, name) for name in request.indicators]
    return time, [column_of(request, series, path, listed, schema, field) for field in fields_read(request, series)]


def column_of(
    request: Request, series: SeriesName, path: str, listed: Mapping[str, str], schema: pa.Schema, field: str
) -> str:
    """Return the name of the column of one field; see `columns_of`."""
    if field in listed:
        return listed[field]
    given = request.column(series.side, field)
    if given is not None:
        alternatives = [name.replace("{symbol}", series.symbol) for name in given]
        return next((name for name in alternatives if name in schema.names), alternatives[0])
    usual = INPUT_COLUMNS[field]
    if usual in schema.names:
        return usual
    others = {usual.lower()} | (set(_USUAL_TIMES) if field == "timestamp" else set())
    named = [name for name in dict.fromkeys(schema.names) if name.lower() in others]
    is_right = is_time if field == "timestamp" else is_value
    fitting = [name for name in named if is_right(schema.field(schema.names.index(name)).type)]
    if len(fitting) > 1:
        message = f"the columns {fitting[0]!r} and {fitting[1]!r} may both stand for {usual!r}"
        raise wrong(AmbiguousInputError, message, COLUMN_HINT, series, path, column=fitting[0])
    return next(iter(fitting or named), usual)


def fields_read(request: Request, series: SeriesName) -> tuple[str, ...]:
    """Return the fields of a series of candles that are read: rules may look at more than is shown."""
    fields = set(request.fields)
    if request.session == "fx" and timeframe_ns(series.timeframe) >= DAY_NS:
        fields |= set(CANDLE_FIELDS)
    if request.empty_rows == "drop":
        fields |= set(PRICE_FIELDS)
    if series.side in request.no_volume:
        fields.discard("volume")
    # Those that are shown come first, as in errors of several columns.
    return tuple(sorted(fields, key=lambda field: (field not in request.fields, CANDLE_FIELDS.index(field))))


def is_time(kind: pa.DataType) -> bool:
    """Return whether a column may hold timestamps."""
    return bool(is_instant(kind) or pa.types.is_integer(kind) or is_of_text(kind))


def is_of_text(kind: pa.DataType) -> bool:
    """Return whether a column holds texts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_value(kind: pa.DataType) -> bool:
    """Return whether a column may hold values of candles: numbers, texts or bytes."""
    if pa.types.is_fixed_size_binary(kind):
        return kind.byte_width in (8, 16)
    return is_number(kind) or is_of_text(kind) or bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def scales_of(
    request: Request, series: SeriesName, path: str, table: pa.Table, names: list[str], fields: tuple[str, ...] | None
) -> tuple[Fraction | None, ...]:
    """Return the factors of columns of integers, of which bytes need one."""
    found = []
    for name, field_ in zip(names, fields or names, strict=True):
        kind = table.schema.field(name).type
        given = request.volume_scale if field_ == "volume" else request.price_scale
        is_bytes = bool(pa.types.is_fixed_size_binary(kind))
        if isinstance(given, dict):
            given = given.get(str(kind.byte_width)) if is_bytes else None
        if is_bytes and given is None:
            message = f"the column {name!r} holds numbers of {kind.byte_width} bytes of an unknown scale"
            hint = "give price_scale, or volume_scale"
            raise wrong(SchemaMismatchError, message, hint, series, path, column=name)
        is_scaled = fields is not None and (is_bytes or bool(pa.types.is_integer(kind)))
        found.append(Fraction(given) if is_scaled and given is not None else None)
    return tuple(found)


def to_float(value: Any, scale: Fraction | None) -> float:
    """Return the nearest double.

    Raises
    ------
    ValueError
        A text is no number.
    """
    if value is None:
        return math.nan
    if scale is not None:
        return float(scale * (int.from_bytes(value, "little", signed=True) if isinstance(value, bytes) else value))
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str) and value.lower() != "nan" and _NUMBER.fullmatch(value) is None:
        raise ValueError(value)
    # float() takes integers, decimals and texts to the nearest double.
    number = float(value)
    if isinstance(value, str) and math.isinf(number):
        raise ValueError(value)
    return number
