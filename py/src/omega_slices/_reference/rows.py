"""One file of the reference: its format, its columns, and what its rows hold.

Owns reading a whole file into lists, and every check that one file, or the files of one
series together, can fail by themselves.  Leaves to others which instants its times mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

import pyarrow as pa

from omega_slices._model.options import CANDLE_FIELDS, INPUT_COLUMNS
from omega_slices._model.request import Request
from omega_slices._model.times import timeframe_ns
from omega_slices._reference.columns import (
    COLUMN_HINT,
    column_of,
    columns_of,
    fields_read,
    is_number,
    is_of_text,
    is_time,
    is_value,
    scales_of,
    to_float,
)
from omega_slices._reference.options import DAY_NS, SeriesName, contradiction, wrong
from omega_slices._reference.parquet import check_column, read_table, timestamps_ns
from omega_slices._reference.time import DATE, INSTANT, NS_PER_TICK, WALL, Held, fitting_unit, held_by_text, zone_of
from omega_slices.errors import AmbiguousInputError, CorruptInputError, OmegaSlicesError, SchemaMismatchError

_ROW_HINT: Final = "repair or remove the row"
_USUAL_TIMES: Final = ("date", "datetime", "time", "timestamp", "__index_level_0__")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_INSTRUMENT_NAMES: Final = ("symbol", "ticker", "instrument", "instrument_id", "code", "pair", "asset")


class InputFile(NamedTuple):
    """One file of a series, and what a list of inputs says about it.

    Attributes
    ----------
    path : str
        Where it is.
    columns : dict of str to str
        Names of its columns by field, or by indicator, where the list gives them.
    unit, zone : str or None
        The unit of its integers and the zone of its wall clocks, where the list gives them.
    """

    path: str
    columns: dict[str, str] = {}  # noqa: RUF012  # nothing changes it
    unit: str | None = None
    zone: str | None = None


@dataclass
class FileRows:
    """The rows of a file.

    Attributes
    ----------
    path : str
        The file.
    place : int
        Its place among the files of the series, in the order of names.
    column : str
        The column of its timestamps.
    held_ns : list of int
        By row: the timestamp as the column holds it, of whatever size.
    forms : sequence of str
        By row: what kind of time that is.
    values : pyarrow.Table
        The columns of prices, or of indicators.
    fields : tuple of str, or None
        The fields of candles that these columns are; None for indicators.
    scales : tuple of Fraction or None
        By column: the factor of its integers.
    listed : dict of str to str
        The columns that a list of inputs names, by field.
    own_zone : str or None
        The zone of the column, unless that is UTC.
    zone : str or None
        The zone of its wall clocks, and of its days where the column has none.
    unit : str or None
        The unit of its integers.
    instants_ns : list of int
        By row: the instant that the timestamp means; empty until that is known.
    """

    path: str
    place: int
    column: str
    held_ns: list[int]
    forms: Sequence[str]
    values: pa.Table
    fields: tuple[str, ...] | None
    scales: tuple[Fraction | None, ...]
    listed: Mapping[str, str]
    own_zone: str | None
    zone: str | None
    unit: str | None
    instants_ns: list[int] = field(default_factory=list)

    @property
    def day_zone(self) -> tzinfo | None:
        """The zone of its days; None where nothing is known of the column's own."""
        name = self.own_zone or self.zone
        return UTC if name is None else zone_of(name)


def read_files(
    request: Request, series: SeriesName, files: Sequence[InputFile]
) -> tuple[list[FileRows], int, list[tzinfo]]:
    """Read the files of a series.

    Parameters
    ----------
    request : Request
    series : SeriesName
    files : sequence of InputFile
        In the order of their names.

    Returns
    -------
    tuple
        The files with rows, in the same order; the rows of all together; and the zones
        of the days of those without rows.

    Raises
    ------
    OmegaSlicesError
        A file, a column or a row cannot be read, or the files hold several instruments.
    """
    found, zones = [], []
    seen: dict[str, tuple[str, str]] = {}
    for place, file in enumerate(files):
        rows = _read_file(request, series, file, place, seen)
        if isinstance(rows, FileRows):
            found.append(rows)
        elif rows is not None:
            zones.append(rows)
    return found, sum(len(rows.held_ns) for rows in found), zones


def columns_read(request: Request, series: SeriesName, files: Sequence[FileRows]) -> dict[str, tuple[str, ...]] | None:
    """Return the columns that were read of fields whose column the request leaves open."""
    found: dict[str, set[str]] = {}
    for rows in files:
        fields = () if rows.fields is None else rows.fields
        for field_, name in [("timestamp", rows.column), *zip(fields, rows.values.column_names, strict=False)]:
            if field_ in rows.listed:
                continue
            given = request.column(series.side, field_)
            is_only = name == INPUT_COLUMNS[field_] if given is None else len(given) == 1
            if not is_only:
                found.setdefault(field_, set()).add(name)
    return {field_: tuple(sorted(found[field_])) for field_ in sorted(found)} or None


def _read_file(
    request: Request, series: SeriesName, file: InputFile, place: int, seen: dict[str, tuple[str, str]]
) -> FileRows | tzinfo | None:
    """Return the rows of a file, or without any the zone of its days.

    Adds to the instruments that were seen.
    """
    path = file.path

    def columns(schema: pa.Schema) -> tuple[list[str], list[str]]:
        time, values = columns_of(request, series, path, file.columns, schema)
        is_name = [] if request.one_instrument else [one for one in schema.names if one.lower() in _INSTRUMENT_NAMES]
        return [time], values + is_name

    table, coarse = read_table(path, columns, series)
    if table.num_rows == 0:
        time = column_of(request, series, path, file.columns, table.schema, "timestamp")
        return _zone_without_rows(table, time, file.zone or request.zone_of(series.symbol))
    time, values = columns_of(request, series, path, file.columns, table.schema)
    check_column(table, time, is_time, "timestamps", COLUMN_HINT, series, path)
    is_right, what = (is_number, "numbers") if series.side is None else (is_value, "numbers, or texts of numbers")
    for name in values:
        check_column(table, name, is_right, what, COLUMN_HINT, series, path)
    fields = None if series.side is None else fields_read(request, series)
    kind = table.schema.field(time).type
    own_zone = kind.tz if pa.types.is_timestamp(kind) else None
    rows = FileRows(
        path=path,
        place=place,
        column=time,
        held_ns=[],
        forms=(),
        values=table.select(values),
        fields=fields,
        listed=file.columns,
        scales=scales_of(request, series, path, table, values, fields),
        # Of a column of UTC instants, the zone that is given says in which zone its days are.
        own_zone=None if own_zone is None or zone_of(own_zone) is UTC else own_zone,
        zone=file.zone or request.zone_of(series.symbol),
        unit=None,
    )
    asked = request.zone_of(series.symbol)
    # What a column says of itself is listed too, whatever zone is asked for beside it.
    says_utc = own_zone is not None and rows.own_zone is None and file.zone is not None and zone_of(file.zone) is UTC
    if says_utc and asked is not None:
        rows.zone = asked
    elif rows.own_zone is None and asked is not None and file.zone not in (None, asked):
        raise contradiction(series, path, "zone", file.zone, asked)
    if not request.one_instrument:
        _check_instruments(series, path, table, {time, *values}, seen)
    _hold(request, series, file, rows, table.column(time), coarse.column(time))
    return rows


def _zone_without_rows(table: pa.Table, column: str, given: str | None) -> tzinfo | None:
    """Return the zone of the days that a file would have.

    None where it has no such column of timestamps.
    """
    if table.column_names.count(column) != 1 or not is_time(table.schema.field(column).type):
        return None
    kind = table.schema.field(column).type
    own = zone_of(kind.tz) if pa.types.is_timestamp(kind) and kind.tz is not None else None
    if own is not None and own is not UTC:
        return own
    return UTC if given is None else zone_of(given)


# --- Columns -----------------------------------------------------------------------------


def _check_instruments(
    series: SeriesName, path: str, table: pa.Table, read: set[str], seen: dict[str, tuple[str, str]]
) -> None:
    """Raise where a column names a second instrument.

    `seen` holds the first one and its file, by column.
    """
    for number, name in enumerate(table.column_names):
        column = table.column(number)
        if name in read or name.lower() not in _INSTRUMENT_NAMES or not _names_instruments(column.type):
            continue
        known = seen.get(name.lower())
        values = {text for value in column.unique().to_pylist() if (text := _instrument(value)) is not None}
        if len(values | ({known[0]} if known else set())) <= 1:
            for value in values:
                seen.setdefault(name.lower(), (value, path))
            continue
        for row, value in enumerate(column.to_pylist()):
            text = _instrument(value)
            if text is None:
                continue
            first, file = seen.setdefault(name.lower(), (text, path))
            if text != first:
                message = f"the series contains several instruments: {first!r}, first in {file}, and {text!r}"
                hint = "write one file per symbol; if they are one instrument, add one_instrument=True"
                raise wrong(AmbiguousInputError, message, hint, series, path, row, name)


def _names_instruments(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        is_of_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _instrument(value: Any) -> str | None:
    """Return a value as text.

    Numbers that are missing make integers floats, so a whole one is an integer.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# --- Times as the column holds them ------------------------------------------------------


def _hold(
    request: Request,
    series: SeriesName,
    file: InputFile,
    rows: FileRows,
    column: pa.ChunkedArray,
    coarse: pa.ChunkedArray,
) -> None:
    """Fill in what the rows hold."""
    kind = column.type
    if pa.types.is_date32(kind):
        if timeframe_ns(series.timeframe) < DAY_NS:
            raise _dates_for(series, rows)
        rows.held_ns = _there(timestamps_ns(column, coarse), series, rows)
        rows.forms = [DATE] * len(rows.held_ns)
    elif pa.types.is_timestamp(kind):
        rows.held_ns = _there(timestamps_ns(column, coarse), series, rows)
        rows.forms = [WALL if kind.tz is None else INSTANT] * len(rows.held_ns)
    elif pa.types.is_integer(kind):
        ticks = column.to_pylist()
        rows.unit = _unit(series, rows, ticks, file.unit or request.timestamp_unit)
        rows.held_ns = [tick * NS_PER_TICK[rows.unit] for tick in _there(ticks, series, rows)]
        rows.forms = [INSTANT] * len(rows.held_ns)
    else:
        held = [_held(series, rows, row, text) for row, text in enumerate(column.to_pylist())]
        rows.held_ns = [one.held_ns for one in held]
        rows.forms = [one.form for one in held]


def _there(values: Iterable[int | None], series: SeriesName, rows: FileRows) -> list[int]:
    """Return values none of which is null."""
    found = []
    for row, value in enumerate(values):
        if value is None:
            raise _null(series, rows, row)
        found.append(value)
    return found


def _null(series: SeriesName, rows: FileRows, row: int) -> OmegaSlicesError:
    return wrong(CorruptInputError, "there is no timestamp", _ROW_HINT, series, rows.path, row, rows.column)


def _dates_for(series: SeriesName, rows: FileRows, row: int | None = None) -> OmegaSlicesError:
    message = f"the timestamps of {series.timeframe} candles are dates without a time"
    hint = "read a column with the time of day, or ask for D1"
    return wrong(SchemaMismatchError, message, hint, series, rows.path, row, rows.column)


def _held(series: SeriesName, rows: FileRows, row: int, text: str | None) -> Held:
    if text is None:
        raise _null(series, rows, row)
    held = held_by_text(text)
    if held is None:
        message = f"invalid timestamp {text!r}: expected RFC 3339, YYYY-MM-DD, YYYYMMDD or YYYY-MM-DD HH:MM:SS"
        raise wrong(CorruptInputError, message, _ROW_HINT, series, rows.path, row, rows.column)
    if held.form == DATE and timeframe_ns(series.timeframe) < DAY_NS:
        raise _dates_for(series, rows, row)
    return held


def _unit(series: SeriesName, rows: FileRows, ticks: list[int | None], asked: str | None) -> str:
    """Return the unit of a column of integers."""
    there = [tick for tick in ticks if tick is not None]
    edges = [min(there), max(there)] if there else [0]
    fits = fitting_unit(edges)
    if asked is None:
        hint = "name the unit with timestamp_unit=" if fits is None else f"add timestamp_unit={fits!r}"
        message = "the timestamps are integers of an unknown unit"
        raise wrong(SchemaMismatchError, message, hint, series, rows.path, column=rows.column)
    if asked != "magnitude":
        if fits not in (None, asked):
            message = f"the timestamps do not fit the unit {asked}: as {fits} they lie between 1990 and 2100"
            hint = f"add timestamp_unit={fits!r}"
            raise wrong(SchemaMismatchError, message, hint, series, rows.path, column=rows.column)
        return asked
    unit = None
    for row, tick in enumerate(ticks):
        if tick is None:
            raise _null(series, rows, row)
        found = fitting_unit([tick])
        if found is None or unit not in (None, found):
            expected = "a date from 1990 to 2100" if unit is None or found is None else f"{unit} as in row 0"
            message = f"invalid timestamp {tick}: expected {expected}"
            hint = "correct or remove the row, or name the unit with timestamp_unit="
            raise wrong(CorruptInputError, message, hint, series, rows.path, row, rows.column)
        unit = found
    assert unit is not None, "the file has rows"
    return unit


def values_of(series: SeriesName, rows: FileRows, numbers: list[int]) -> list[tuple[float, ...]]:
    """Return the values of some rows, as doubles; null is NaN, and so are fields that are not read."""
    taken = pa.array(numbers, pa.int64())
    columns = []
    for name, column, scale in zip(rows.values.column_names, rows.values.columns, rows.scales, strict=True):
        values = []
        for number, value in zip(numbers, column.take(taken).to_pylist(), strict=True):
            try:
                values.append(to_float(value, scale))
            except ValueError:
                message = f"invalid number {value!r}"
                raise wrong(CorruptInputError, message, _ROW_HINT, series, rows.path, number, name) from None
        columns.append(values)
    if rows.fields is not None:
        read = dict(zip(rows.fields, columns, strict=True))
        columns = [read.get(field, [math.nan] * len(numbers)) for field in CANDLE_FIELDS]
    return list(zip(*columns, strict=True)) if columns else [()] * len(numbers)
