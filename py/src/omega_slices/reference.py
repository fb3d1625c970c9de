"""The reference: what the contract says, in the plainest Python that says it.

Owns a second, independent answer to every request: whole files into lists of rows, rows
into dicts, dicts looked up timestamp by timestamp.  It is the oracle that the executable
is held against, and `backend="python"` where there is no executable.  Guarantees the
candles, values, order, counts and errors of the contract; makes no promise about speed
or memory (everything is held at once).  It shares the request, the candle types and the
errors with the rest of the package, and not one line of reading or synchronising.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from omega_slices._candle import CandleData, RunReport, RunWarning, SeriesReport
from omega_slices._request import Request, format_time_ns
from omega_slices.errors import (
    CorruptInputError,
    DuplicateTimestampError,
    InvalidPriceTypeError,
    OmegaSlicesError,
    RequestError,
    SchemaMismatchError,
    SymbolNotFoundError,
    SystemFailureError,
    TimeframeNotFoundError,
    UnsortedInputError,
)

__all__ = ["ReferenceRun", "open_reference"]

_DAY_NS: Final = 86_400 * 10**9
_NS_PER_TICK: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_MONDAY, _SATURDAY, _SUNDAY = 0, 5, 6
_WEEK_ORIGIN_NS: Final = -3 * _DAY_NS  # 1970-01-01 was a Thursday; its week began on Monday 1969-12-29

_DEFAULT_TEMPLATES: Final = (
    "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet",
    "{root}/{symbol}/{symbol}_{timeframe}_{side}.parquet",
)
_ANY: Final = "\0"  # stands for `*` in a pattern: no path holds it, so a `*` in a name stays a literal


class _Row(NamedTuple):
    """One row of a file; `number` counts from 0 within the file."""

    timestamp_ns: int
    values: tuple[float, ...]
    file: str
    number: int


@dataclass(frozen=True)
class _Series:
    """What is left of one (symbol, price type) after all steps, and the report about it."""

    candles: dict[int, CandleData]
    report: SeriesReport
    warnings: tuple[RunWarning, ...]

    @property
    def name(self) -> str:
        return f"{self.report.symbol} {self.report.price_type}"


class ReferenceRun:
    """The answer to one request, complete when the object is made.

    Iterating gives `(timestamp_ns, cells)`, timestamps strictly increasing; `cells` has one
    dict per symbol, in the order of `symbols`, from each requested price type to its candle
    or None.  It can be iterated any number of times.
    """

    def __init__(self, request: Request, symbols: tuple[str, ...], series: dict[tuple[str, str], _Series]) -> None:
        self.symbols = symbols
        self._price_types = request.price_types
        self._series = series
        self._timeline = _timeline(request.timeline, series.values())
        self._warnings = [warning for one in series.values() for warning in one.warnings]
        if not self._timeline:
            self._warnings.append(_empty_timeline(list(series.values())))

    def __iter__(self) -> Iterator[tuple[int, list[dict[str, CandleData | None]]]]:
        """Yield the slices."""
        for timestamp_ns in self._timeline:
            yield (
                timestamp_ns,
                [
                    {side: self._series[symbol, side].candles.get(timestamp_ns) for side in self._price_types}
                    for symbol in self.symbols
                ],
            )

    def report(self) -> RunReport:
        """Return what the run says about itself; there are no batches here."""
        return RunReport(
            slices=len(self._timeline),
            batches=0,
            first_timestamp_ns=self._timeline[0] if self._timeline else None,
            last_timestamp_ns=self._timeline[-1] if self._timeline else None,
            series=tuple(one.report for one in self._series.values()),
            warnings=tuple(self._warnings),
            complete=True,
        )


def open_reference(request: Request) -> ReferenceRun:
    """Answer a request.

    Raises
    ------
    OmegaSlicesError
        The first problem found: missing files of all series before the content of any,
        series by symbol and then price type.
    """
    symbols = request.symbols if request.symbols is not None else _all_symbols(request)
    keys: list[tuple[str, str]] = [(symbol, side) for symbol in symbols for side in request.price_types]
    files = {key: _files(request, *key) for key in keys}
    series = {key: _read_series(request, key, files[key]) for key in keys}
    return ReferenceRun(request, symbols, series)


# --- Files -------------------------------------------------------------------------------


def _templates(request: Request) -> tuple[str, ...]:
    return _DEFAULT_TEMPLATES if request.path_template is None else (request.path_template,)


def _fill(template: str, request: Request, symbol: str, side: str, timeframe: str) -> str:
    root = request.data.rstrip("/") or "/"
    fields = {"root": root, "symbol": symbol, "timeframe": timeframe, "side": side, "SIDE": side.upper()}
    # The stars first: one that comes with a field's value is no wildcard.
    return re.sub(r"\{(\w+)\}", lambda field: fields[field[1]], template.replace("*", _ANY))


def _matching(pattern: str) -> list[str]:
    """Return the files that match, in the order of their whole names; a wildcard stays within one part of them."""
    paths = [""]
    for depth, part in enumerate(pattern.split("/")):
        prefixes = [path + "/" if depth else "" for path in paths]
        if _ANY not in part:
            paths = [prefix + part for prefix in prefixes]
            continue
        expression = re.compile(".*".join(map(re.escape, part.split(_ANY))), re.DOTALL)
        paths = [
            prefix + name
            for prefix in prefixes
            if os.path.isdir(prefix or ".")
            for name in os.listdir(prefix or ".")
            # As in shells, a hidden name is matched by a pattern only that is hidden itself.
            if expression.fullmatch(name) and (part.startswith(".") or not name.startswith("."))
        ]
    return sorted(path for path in paths if os.path.isfile(path))


def _files(request: Request, symbol: str, side: str) -> list[str]:
    """Return the files of one series, or raise what says how much of it is missing."""

    def found(side: str, timeframe: str) -> list[str]:
        patterns = [_fill(template, request, symbol, side, timeframe) for template in _templates(request)]
        return next(filter(None, map(_matching, patterns)), [])

    if files := found(side, request.timeframe):
        return files
    path = _fill(_templates(request)[0], request, symbol, side, request.timeframe).replace(_ANY, "*")
    error: type[OmegaSlicesError] = SymbolNotFoundError
    missing = f"there is no file of the symbol {symbol}"
    if found(_ANY, request.timeframe):
        error, missing = InvalidPriceTypeError, f"{symbol} has {request.timeframe} candles, but no {side} ones"
    elif found(_ANY, _ANY):
        error, missing = TimeframeNotFoundError, f"{symbol} has no {request.timeframe} candles"
    raise _wrong(error, missing, "check the data folder and the names of its files", (symbol, side), path)


def _all_symbols(request: Request) -> tuple[str, ...]:
    """Return every symbol that has a file of the timeframe and of one requested price type at least."""
    found = set()
    for template in _templates(request):
        for side in request.price_types:
            # The same template as an expression: the first {symbol} is a group to which the others refer.
            parts = re.escape(_fill(template, request, "\1", side, request.timeframe)).split("\1", 1)
            whole = "(?P<symbol>[^/]+)".join(parts).replace(_ANY, "[^/]*").replace("\1", "(?P=symbol)")
            for path in _matching(_fill(template, request, _ANY, side, request.timeframe)):
                longest = re.fullmatch(whole, path)
                shortest = re.fullmatch(whole.replace("[^/]+", "[^/]+?"), path)
                if longest is None or shortest is None:
                    continue
                if longest["symbol"] != shortest["symbol"]:
                    message = f"the path template leaves open which symbol {path} belongs to"
                    raise RequestError(message, hint="list the symbols, or name more of the path", file=path)
                found.add(longest["symbol"])
    if not found:
        missing = f"no symbol has {request.timeframe} candles of {' or '.join(request.price_types)}"
        raise _wrong(SymbolNotFoundError, missing, "check the data folder", (None, None), request.data)
    symbols = tuple(sorted(found))
    replace(request, symbols=symbols)  # names from the disk obey the rules for names in a request, which checks them
    return symbols


# --- One file to rows --------------------------------------------------------------------


def _read_file(request: Request, series: tuple[str, str], path: str) -> list[_Row]:
    time, *values = request.input_columns.values()
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(columns=[time, *values])
        # The deprecated INT96 timestamps may wrap around in nanoseconds; in this unit they cannot.
        with pq.ParquetFile(path, coerce_int96_timestamp_unit="ms") as file:
            coarse = file.read(columns=[time])
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise _wrong(SystemFailureError, f"cannot be opened: {error}", "check the file", series, path) from error
        raise _wrong(CorruptInputError, f"no readable Parquet: {error}", "write the file anew", series, path) from error

    for name in (time, *values):
        hint = "repair the file, or rename the columns in the request"
        if table.column_names.count(name) != 1:
            message = f"{table.column_names.count(name)} columns are named {name!r}, not one"
            raise _wrong(SchemaMismatchError, message, hint, series, path, column=name)
        kind = table.schema.field(name).type
        if not (_is_time(kind) if name == time else _is_number(kind)):
            message = f"column {name!r} holds {kind}, no {'timestamps' if name == time else 'numbers'}"
            raise _wrong(SchemaMismatchError, message, hint, series, path, column=name)

    rows = []
    prices = zip(*(table.column(name).to_pylist() for name in values), strict=True)
    timestamps = _timestamps_ns(table.column(time), coarse.column(time))
    for number, (timestamp_ns, candle) in enumerate(zip(timestamps, prices, strict=True)):
        if timestamp_ns is None or not -(2**63) <= timestamp_ns < 2**63:
            message = (
                "there is no timestamp" if timestamp_ns is None else "the timestamp does not fit 64-bit nanoseconds"
            )
            raise _wrong(CorruptInputError, message, "repair or remove the row", series, path, number, time)
        rows.append(_Row(timestamp_ns, tuple(map(_to_float, candle)), path, number))
    return rows


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date32(kind))


def _to_float(value: Any) -> float:
    # float() takes integers and decimals to the nearest double.
    return float("nan") if value is None else float(value)


def _timestamps_ns(column: pa.ChunkedArray, coarse: pa.ChunkedArray) -> list[int | None]:
    """Return exact nanoseconds, in Python's unbounded integers; a zone changes nothing, the integers are UTC."""
    if pa.types.is_date32(column.type):
        return [None if day is None else day * _DAY_NS for day in column.cast(pa.int32()).to_pylist()]
    ticks = column.cast(pa.int64()).to_pylist()
    if column.type == coarse.type:
        return [None if tick is None else tick * _NS_PER_TICK[column.type.unit] for tick in ticks]
    milliseconds = coarse.cast(pa.int64()).to_pylist()
    return [
        None if tick is None else tick if tick // 10**6 == millisecond else millisecond * 10**6
        for tick, millisecond in zip(ticks, milliseconds, strict=True)
    ]


# --- Rows to a series: the steps in their order ------------------------------------------


def _read_series(request: Request, key: tuple[str, str], paths: list[str]) -> _Series:
    rows = [row for path in paths for row in _read_file(request, key, path)]
    in_window = [row for row in rows if _in_window(request, row)]
    in_session = [row for row in in_window if _in_session(request, row)]
    floored = [_floor(request, key, row) for row in in_session] if request.normalize else in_session
    warnings = _check_order(request, key, floored)
    kept = _without_duplicates(request, key, sorted(floored, key=lambda row: row.timestamp_ns))
    candles = {row.timestamp_ns: CandleData(row.timestamp_ns, *row.values) for row in kept}
    report = SeriesReport(
        *key,
        files=len(paths),
        rows=len(rows),
        outside_window=len(rows) - len(in_window),
        outside_session=len(in_window) - len(in_session),
        duplicates=len(floored) - len(kept),
        candles=len(kept),
        sorted=not warnings,
    )
    return _Series(candles, report, warnings)


def _in_window(request: Request, row: _Row) -> bool:
    after_start = request.start is None or request.start <= row.timestamp_ns
    return after_start and (request.end is None or row.timestamp_ns <= request.end)


def _in_session(request: Request, row: _Row) -> bool:
    if request.session == "none":
        return True
    # Every edge is a whole second, so the fraction of the second does not matter.
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=row.timestamp_ns // 10**9)
    if request.timeframe_ns >= _DAY_NS:
        open_, high, low, close, volume = row.values
        placeholder = volume == 0 and open_ == high == low == close
        return moment.weekday() not in (_SATURDAY, _SUNDAY) and not placeholder
    sydney = moment.astimezone(ZoneInfo("Australia/Sydney"))
    if sydney.weekday() == _MONDAY:
        return sydney.hour >= 7
    if sydney.weekday() == _SATURDAY:
        return sydney.hour < 7
    return sydney.weekday() != _SUNDAY


def _floor(request: Request, series: tuple[str, str], row: _Row) -> _Row:
    origin_ns = _WEEK_ORIGIN_NS if request.timeframe.startswith("W") else 0
    floored_ns = row.timestamp_ns - (row.timestamp_ns - origin_ns) % request.timeframe_ns
    if floored_ns < -(2**63):
        message = f"the timestamp, floored to {request.timeframe}, does not fit 64-bit nanoseconds"
        column = request.input_columns["timestamp"]
        raise _wrong(CorruptInputError, message, "set a later start", series, row.file, row.number, column)
    return row._replace(timestamp_ns=floored_ns)


def _check_order(request: Request, series: tuple[str, str], rows: list[_Row]) -> tuple[RunWarning, ...]:
    """Warn of the first row that is earlier than the one before it, or raise it."""
    for before, row in pairwise(rows):
        if row.timestamp_ns < before.timestamp_ns:
            message = f"{format_time_ns(row.timestamp_ns)} comes after {format_time_ns(before.timestamp_ns)}"
            if request.unsorted == "error":
                hint = "sort the file, or ask for unsorted=sort"
                raise _wrong(UnsortedInputError, message, hint, series, row.file, row.number)
            message = f"{row.file}, row {row.number}: {message}; the series was sorted"
            return (RunWarning("UNSORTED_INPUT", message, row.file, *series),)
    return ()


def _without_duplicates(request: Request, series: tuple[str, str], rows: list[_Row]) -> list[_Row]:
    """Keep one row of each timestamp; `rows` are sorted, those of one timestamp still in file order."""
    kept: dict[int, _Row] = {}
    for row in rows:
        if row.timestamp_ns in kept and request.duplicates == "error":
            message = f"a second row of {format_time_ns(row.timestamp_ns)}"
            hint = "remove it, or ask for duplicates=last or duplicates=first"
            raise _wrong(DuplicateTimestampError, message, hint, series, row.file, row.number)
        if row.timestamp_ns not in kept or request.duplicates == "last":
            kept[row.timestamp_ns] = row
    return list(kept.values())


# --- Series to slices --------------------------------------------------------------------


def _timeline(rule: str, series: Iterable[_Series]) -> list[int]:
    sets = [set(one.candles) for one in series]
    return sorted(set.intersection(*sets) if rule == "intersection" else set.union(*sets))


def _empty_timeline(series: list[_Series]) -> RunWarning:
    """Name the fewest series that explain why no timestamp is left."""
    empty = [one.name for one in series if not one.candles]
    apart = next((pair for pair in combinations(series, 2) if pair[0].candles.keys().isdisjoint(pair[1].candles)), None)
    if empty:
        reason = f"no candle is left of {', '.join(empty)}"
    elif apart is not None:
        reason = f"{apart[0].name} and {apart[1].name} share no timestamp"
    else:
        reason = f"no timestamp is shared by all of {', '.join(one.name for one in series)}"
    return RunWarning("EMPTY_TIMELINE", f"the timeline is empty: {reason}")


# --- Errors -----------------------------------------------------------------------------


def _wrong(
    error: type[OmegaSlicesError],
    message: str,
    hint: str,
    series: tuple[str, str] | tuple[None, None],
    file: str,
    row: int | None = None,
    column: str | None = None,
) -> OmegaSlicesError:
    symbol, side = series
    about = {"file": file, "symbol": symbol, "price type": side, "row": row, "column": column}
    place = ", ".join(f"{what} {value}" for what, value in about.items() if value is not None)
    message = f"{message} ({place})"
    return error(message, hint=hint, file=file, symbol=symbol, price_type=side, row=row, column=column)
