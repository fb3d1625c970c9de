"""The reference: what the contract says, in the plainest Python that says it.

Owns a second, independent answer to every request: whole files into lists of rows, rows
into dicts, dicts looked up timestamp by timestamp.  It is the oracle that the executable
is held against, and `backend="python"` where there is no executable.  Guarantees the
candles, values, order, counts and errors of the contract; makes no promise about speed
or memory (everything is held at once).  It shares the request, the candle types and the
errors with the rest of the package, and not one line of reading or synchronising.
"""

from __future__ import annotations

import csv
import io
import os
import re
import stat
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise, takewhile
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from omega_slices._candle import PRICE_TYPES, CandleData, RunReport, RunWarning, SeriesReport
from omega_slices._request import Request
from omega_slices._times import format_time_ns, parse_time_ns, timeframe_ns
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

__all__ = ["ReferenceCell", "ReferenceRun", "file_identity", "open_reference", "series_files"]

_DAY_NS: Final = 86_400 * 10**9
_NS_PER_TICK: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_MONDAY, _SATURDAY, _SUNDAY = 0, 5, 6
_WEEK_ORIGIN_NS: Final = -3 * _DAY_NS  # 1970-01-01 was a Thursday; its week began on Monday 1969-12-29
_NS_MIN, _NS_MAX = -(2**63), 2**63 - 1
_ALL: Final = (_NS_MIN, _NS_MAX)
_NS_PER_AGE_UNIT: Final = {
    unit: seconds * 10**9 for unit, seconds in (("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800))
}

_DEFAULT_TEMPLATES: Final = (
    "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet",
    "{root}/{symbol}/{symbol}_{timeframe}_{side}.parquet",
)
_DEFAULT_INDICATOR_TEMPLATE: Final = "{root}/{symbol}/{symbol}_{timeframe}_IND.parquet"
_ANY: Final = "\0"  # stands for `*` in a pattern: no path holds it, so a `*` in a name stays a literal


class ReferenceCell(NamedTuple):
    """What one symbol shows in one slice.

    Attributes
    ----------
    candles : dict of str to CandleData, or None
        By price type; a candle's timestamp is its own, earlier than the slice's where it is carried.
    further : dict of str to dict
        By further timeframe, then by price type: the latest complete candle, or None.
    indicators : dict of str to float, or None
        By name; None where the symbol has no row at the slice's timestamp.
    """

    candles: dict[str, CandleData | None]
    further: dict[str, dict[str, CandleData | None]]
    indicators: dict[str, float | None]


class _Name(NamedTuple):
    """Which series; the one of a symbol's indicators has no price type."""

    symbol: str
    timeframe: str
    side: str | None

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.side or 'indicators'}"


class _Row(NamedTuple):
    """One row of a file: when the file says it is, how it is stamped, and its `number`, which counts from 0."""

    raw_ns: int
    timestamp_ns: int
    values: tuple[float, ...]
    file: str
    number: int


@dataclass(frozen=True)
class _Series:
    """What is left of one series after all steps, values by timestamp in its order, and the report about it."""

    name: _Name
    values: dict[int, tuple[float, ...]]
    timestamps_ns: list[int]
    report: SeriesReport
    warnings: tuple[RunWarning, ...]

    def candle(self, timestamp_ns: int) -> CandleData | None:
        """Return the candle stamped so."""
        values = self.values.get(timestamp_ns)
        return None if values is None else CandleData(timestamp_ns, *values)

    def latest(self, until_ns: int) -> CandleData | None:
        """Return the last of the candles stamped so or earlier."""
        number = bisect_right(self.timestamps_ns, until_ns)
        return self.candle(self.timestamps_ns[number - 1]) if number else None


class ReferenceRun:
    """The answer to one request, complete when the object is made.

    Iterating gives `(timestamp_ns, cells)`, timestamps strictly increasing; `cells` has one
    `ReferenceCell` per symbol, in the order of `symbols`.  It can be iterated any number of
    times.
    """

    def __init__(
        self, request: Request, symbols: tuple[str, ...], series: dict[_Name, _Series], part: tuple[int, int] = _ALL
    ) -> None:
        self.symbols = symbols
        self._request = request
        self._series = series
        primary = [series[name] for name in _primary_names(request, symbols)]
        stamps = {one.name: _timeline_stamps(request, one) for one in primary}
        whole = _timeline(request, symbols, stamps)
        self._timeline = [stamp_ns for stamp_ns in whole if part[0] <= stamp_ns <= part[1]]
        self._warnings = [warning for one in series.values() for warning in one.warnings]
        empty = [one for one in series.values() if one.name not in stamps and not one.values]
        if empty:
            message = f"no candle is left of {', '.join(str(one.name) for one in empty)}"
            self._warnings.append(RunWarning("EMPTY_SERIES", message))
        if not self._timeline:
            self._warnings.append(_empty_timeline(request, stamps))

    def __iter__(self) -> Iterator[tuple[int, list[ReferenceCell]]]:
        """Yield the slices."""
        for timestamp_ns in self._timeline:
            yield timestamp_ns, [self._cell(symbol, timestamp_ns) for symbol in self.symbols]

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

    def _cell(self, symbol: str, timestamp_ns: int) -> ReferenceCell:
        request = self._request
        sides = request.price_types
        return ReferenceCell(
            candles={
                side: _candle_at(request, self._series[_Name(symbol, request.timeframe, side)], timestamp_ns)
                for side in sides
            },
            further={
                timeframe: {
                    side: _complete_candle_at(
                        request, self._series[_Name(symbol, timeframe, side)], timestamp_ns, age_ns
                    )
                    for side in sides
                }
                for timeframe, age_ns in _further(request)
            },
            indicators=self._indicators_at(symbol, timestamp_ns),
        )

    def _indicators_at(self, symbol: str, timestamp_ns: int) -> dict[str, float | None]:
        names = self._request.indicators
        if not names:
            return {}
        values = self._series[_Name(symbol, self._request.timeframe, None)].values.get(timestamp_ns)
        return dict.fromkeys(names) if values is None else dict(zip(names, values, strict=True))


def open_reference(
    request: Request,
    sessions: Sequence[tuple[int, int]] | None = None,
    *,
    follow_links: bool = False,
    part: tuple[int, int] = _ALL,
) -> ReferenceRun:
    """Answer a request.

    Parameters
    ----------
    request : Request
    sessions : sequence of (int, int), optional
        Open (included) and close (excluded) of every session, in nanoseconds since 1970,
        where `request.session` names a market calendar.
    follow_links : bool
        Whether links may lead out of the folder that stands in a path before the symbol.
    part : tuple of (int, int)
        The first and the last timestamp of the slices that are wanted, which are the same as
        in the whole; only rows that these need are kept.  Counts in the report are then
        those of the part.

    Raises
    ------
    OmegaSlicesError
        The first problem found: that of the session file, then missing files of all series
        before the content of any; series of the primary timeframe first, by symbol and then
        price type, those of further timeframes after them, indicators last.
    """
    if request.session_file is not None:
        sessions = _read_sessions(request.session_file)
    elif sessions is not None:
        sessions = sorted(sessions)
    elif request.session not in ("none", "fx"):
        raise RequestError(
            f"the sessions of the calendar {request.session!r} are not there", hint="give them, or use open_slices"
        )
    symbols = _symbols(request)
    files = _all_files(request, symbols)
    series = {}
    for name, paths in files.items():
        if not follow_links:
            _check_inside(request, name, paths)
        series[name] = _read_series(request, name, paths, sessions, part)
    return ReferenceRun(request, symbols, series, part)


def series_files(request: Request, symbols: Sequence[str] | None = None) -> list[str]:
    """Return the paths of all files of all series of a request.

    Parameters
    ----------
    request : Request
    symbols : sequence of str, optional
        Those of the request, or all there are, where it is not given.

    Returns
    -------
    list of str
        In the order of the series.

    Raises
    ------
    OmegaSlicesError
        A series has no file.
    """
    names = _symbols(request) if symbols is None else tuple(symbols)
    return [path for paths in _all_files(request, names).values() for path in paths]


def file_identity(path: str) -> tuple[int, ...]:
    """Return what tells whether a path still names the very same, unchanged file.

    Raises
    ------
    OSError
        There is no such file.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


# --- The words of the request -----------------------------------------------------------


def _symbols(request: Request) -> tuple[str, ...]:
    """Return the symbols, which the timeline's rule has to suit."""
    symbols = request.symbols if request.symbols is not None else _all_symbols(request)
    rule, _, rest = request.timeline.partition(":")
    if rule == "leader" and rest not in symbols:
        message = f"the timeline follows {rest}, which is not among the symbols (symbol {rest})"
        raise SymbolNotFoundError(message, hint="lead by a symbol that is asked for", symbol=rest)
    if rule == "quorum" and int(rest) > len(symbols):
        message = f"the timeline asks for {rest} symbols, and there are {len(symbols)}"
        raise RequestError(message, hint=f"ask for quorum:{len(symbols)} at most")
    return symbols


def _further(request: Request) -> list[tuple[str, int | None]]:
    """Return the further timeframes, each with the age up to which its candles are shown, if there is one."""
    found: list[tuple[str, int | None]] = []
    for text in request.with_timeframe:
        timeframe, _, age = text.partition(":max-age=")
        found.append((timeframe, _age_ns(age, timeframe) if age else None))
    return found


def _age_ns(text: str, timeframe: str) -> int:
    count = re.match("[0-9]+", text)
    assert count, f"the request let the age {text!r} pass"
    unit = text[count.end() :]
    return int(count[0]) * (timeframe_ns(timeframe) if unit in ("bar", "bars") else _NS_PER_AGE_UNIT[unit])


def _first_ns(request: Request) -> int | None:
    """Return the first timestamp that a slice may have."""
    if request.start is None or not request.normalize:
        return request.start
    return _floor_ns(request.start, request.timeframe)


def _floor_ns(timestamp_ns: int, timeframe: str) -> int:
    origin_ns = _WEEK_ORIGIN_NS if timeframe.startswith("W") else 0
    return timestamp_ns - (timestamp_ns - origin_ns) % timeframe_ns(timeframe)


def _primary_names(request: Request, symbols: tuple[str, ...]) -> list[_Name]:
    return [_Name(symbol, request.timeframe, side) for symbol in symbols for side in request.price_types]


def _names(request: Request, symbols: tuple[str, ...]) -> list[_Name]:
    """Return all series, in the order in which everything is done to them."""
    names = _primary_names(request, symbols)
    for timeframe, _ in _further(request):
        names += [_Name(symbol, timeframe, side) for symbol in symbols for side in request.price_types]
    if request.indicators:
        names += [_Name(symbol, request.timeframe, None) for symbol in symbols]
    return names


# --- Files -------------------------------------------------------------------------------


def _templates(request: Request) -> tuple[str, ...]:
    return _DEFAULT_TEMPLATES if request.path_template is None else (request.path_template,)


def _fill(template: str, request: Request, symbol: str, timeframe: str, side: str) -> str:
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


def _all_files(request: Request, symbols: tuple[str, ...]) -> dict[_Name, list[str]]:
    return {
        name: _indicator_files(request, name) if name.side is None else _files(request, name, name.side)
        for name in _names(request, symbols)
    }


def _files(request: Request, name: _Name, side: str) -> list[str]:
    """Return the files of one series, or raise what says how much of it is missing."""

    def found(timeframe: str, side: str) -> list[str]:
        patterns = [_fill(template, request, name.symbol, timeframe, side) for template in _templates(request)]
        return next(filter(None, map(_matching, patterns)), [])

    if files := found(name.timeframe, side):
        return files
    path = _fill(_templates(request)[0], request, *name[:2], side).replace(_ANY, "*")
    error: type[OmegaSlicesError] = SymbolNotFoundError
    missing = f"there is no file of the symbol {name.symbol}"
    if any(found(name.timeframe, other) for other in PRICE_TYPES):
        error, missing = InvalidPriceTypeError, f"{name.symbol} has {name.timeframe} candles, but no {side} ones"
    elif any(found(_ANY, other) for other in PRICE_TYPES):
        error, missing = TimeframeNotFoundError, f"{name.symbol} has no {name.timeframe} candles"
    raise _wrong(error, missing, "check the data folder and the names of its files", name, path)


def _indicator_files(request: Request, name: _Name) -> list[str]:
    template = request.indicator_template or _DEFAULT_INDICATOR_TEMPLATE
    pattern = _fill(template, request, name.symbol, name.timeframe, "")
    if files := _matching(pattern):
        return files
    missing = f"{name.symbol} has no {name.timeframe} indicators"
    hint = "check the data folder and the names of its files, or give an indicator template"
    raise _wrong(TimeframeNotFoundError, missing, hint, name, pattern.replace(_ANY, "*"))


def _check_inside(request: Request, name: _Name, paths: Sequence[str]) -> None:
    """Raise where a file leads, through links, out of the folder that the user has spelled."""
    indicators = request.indicator_template or _DEFAULT_INDICATOR_TEMPLATE
    parts = (indicators if name.side is None else _templates(request)[0]).split("/")
    # Up to the first part that a symbol, another field or a wildcard adds to.
    spelled = list(takewhile(lambda part: not re.search(r"\*|\{(?!root\})", part), parts))
    if len(spelled) == len(parts):
        return
    folder = "/".join(spelled).replace("{root}", request.data) or ("/" if spelled else ".")
    inside = os.path.realpath(folder)
    for path in paths:
        real = os.path.realpath(path)
        if os.path.commonpath([real, inside]) != inside:
            message = f"the file lies outside {inside}: a link leads to {real}"
            hint = "allow it with follow_links=True, or put the file itself there"
            raise _wrong(SymbolNotFoundError, message, hint, name, path)


def _all_symbols(request: Request) -> tuple[str, ...]:
    """Return every symbol that has a file of the timeframe and of one requested price type at least."""
    found = set()
    for template in _templates(request):
        for side in request.price_types:
            # The same template as an expression: the first {symbol} is a group to which the others refer.
            parts = re.escape(_fill(template, request, "\1", request.timeframe, side)).split("\1", 1)
            whole = "(?P<symbol>[^/]+)".join(parts).replace(_ANY, "[^/]*").replace("\1", "(?P=symbol)")
            for path in _matching(_fill(template, request, _ANY, request.timeframe, side)):
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
        raise _wrong(SymbolNotFoundError, missing, "check the data folder", None, request.data)
    symbols = tuple(sorted(found))
    replace(request, symbols=symbols)  # names from the disk obey the rules for names in a request, which checks them
    return symbols


# --- One file to rows --------------------------------------------------------------------


def _read_file(request: Request, series: _Name, path: str, part: tuple[int, int]) -> tuple[int, list[_Row]]:
    """Return how many rows a file has, and those of them that may count."""
    time, *values = request.input_columns.values()
    if series.side is None:
        values = list(request.indicators)
    table, coarse = _read_table(path, [time], values, series)
    hint = "repair the file, or rename the columns in the request"
    _check_column(table, time, _is_time, "timestamps", hint, series, path)
    for name in values:
        _check_column(table, name, _is_number, "numbers", hint, series, path)
    timestamps = _checked_times(_timestamps_ns(table.column(time), coarse.column(time)), series, path, time)
    first_ns, last_ns = _span(request, series, part)
    kept = [
        number
        for number, raw_ns in enumerate(timestamps)
        if first_ns <= raw_ns <= last_ns
        and (_in_window(request, series, raw_ns) or _in_lead_in(request, series, raw_ns))
    ]
    candles = zip(*(table.column(name).take(pa.array(kept, pa.int64())).to_pylist() for name in values), strict=True)
    rows = [
        _Row(timestamps[number], timestamps[number], tuple(map(_to_float, candle)), path, number)
        for number, candle in zip(kept, candles, strict=True)
    ]
    return table.num_rows, rows


def _read_table(path: str, times: list[str], values: list[str], series: _Name | None) -> tuple[pa.Table, pa.Table]:
    """Return those of the columns that are there, and the times once more, those of the old INT96 in milliseconds."""
    try:
        before = file_identity(path)
        with pq.ParquetFile(path) as file:
            table = file.read(columns=[*times, *values])
        # The deprecated INT96 timestamps may wrap around in nanoseconds; in this unit they cannot.
        with pq.ParquetFile(path, coerce_int96_timestamp_unit="ms") as file:
            coarse = file.read(columns=times)
        if file_identity(path) != before:
            raise _wrong(CorruptInputError, "the file changed while it was being read", "run again", series, path)
        return table, coarse
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise _wrong(SystemFailureError, f"cannot be opened: {error}", "check the file", series, path) from error
        raise _wrong(CorruptInputError, f"no readable Parquet: {error}", "write the file anew", series, path) from error


def _check_column(
    table: pa.Table,
    name: str,
    is_right: Callable[[pa.DataType], bool],
    what: str,
    hint: str,
    series: _Name | None,
    path: str,
) -> None:
    count = table.column_names.count(name)
    if count != 1:
        message = f"{count} columns are named {name!r}, not one"
        raise _wrong(SchemaMismatchError, message, hint, series, path, column=name)
    kind = table.schema.field(name).type
    if not is_right(kind):
        message = f"column {name!r} holds {kind}, no {what}"
        raise _wrong(SchemaMismatchError, message, hint, series, path, column=name)


def _checked_times(timestamps: list[int | None], series: _Name | None, path: str, column: str) -> list[int]:
    """Return timestamps that are all there and fit 64-bit nanoseconds."""
    checked = []
    for row, timestamp_ns in enumerate(timestamps):
        if timestamp_ns is None or not _NS_MIN <= timestamp_ns <= _NS_MAX:
            message = "there is no timestamp"
            if timestamp_ns is not None:
                message = "the timestamp does not fit 64-bit nanoseconds"
            raise _wrong(CorruptInputError, message, "repair or remove the row", series, path, row, column)
        checked.append(timestamp_ns)
    return checked


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


# --- The session file --------------------------------------------------------------------

_SESSION_HINT: Final = "write the columns open and close, with times such as 2024-01-02T14:30:00Z"


def _read_sessions(path: str) -> list[tuple[int, int]]:
    """Return the sessions, in the order of time."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _wrong(CorruptInputError, "is no regular file", "give one that is", None, path)
            content = file.read()
    except OSError as error:
        raise _wrong(CorruptInputError, f"cannot be read: {error}", "check the name", None, path) from error
    read = _sessions_of_parquet(path) if content.startswith(b"PAR1") else _sessions_of_csv(path, content)
    for row, (open_ns, close_ns) in enumerate(read):
        if close_ns <= open_ns:
            message, hint = "a session closes no later than it opens", "correct the row"
            raise _wrong(CorruptInputError, message, hint, None, path, row, "close")
    in_order = sorted(range(len(read)), key=lambda row: read[row][0])
    for before, row in pairwise(in_order):
        if read[row][0] < read[before][1]:
            message, hint = f"a session opens before that of row {before} has closed", "correct one of the rows"
            raise _wrong(CorruptInputError, message, hint, None, path, row, "open")
    return sorted(read)


def _sessions_of_parquet(path: str) -> list[tuple[int, int]]:
    names = ["open", "close"]
    table, coarse = _read_table(path, names, [], None)
    edges = []
    for name in names:
        _check_column(table, name, _is_time, "timestamps", _SESSION_HINT, None, path)
        timestamps = _timestamps_ns(table.column(name), coarse.column(name))
        edges.append(_checked_times(timestamps, None, path, name))
    return list(zip(*edges, strict=True))


def _sessions_of_csv(path: str, content: bytes) -> list[tuple[int, int]]:
    try:
        text = content.decode("utf-8-sig")
        # An empty line is no row.
        header, *rows = [line for line in csv.reader(io.StringIO(text, newline="")) if line] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _wrong(CorruptInputError, f"no readable CSV: {error}", _SESSION_HINT, None, path) from error
    header = [name.strip() for name in header]
    for name in ("open", "close"):
        if header.count(name) != 1:
            message = f"{header.count(name)} columns are named {name!r}, not one"
            raise _wrong(SchemaMismatchError, message, _SESSION_HINT, None, path, column=name)
    sessions = []
    for row, cells in enumerate(rows):
        if len(cells) != len(header):
            message = f"the row has {len(cells)} cells, the header {len(header)}"
            raise _wrong(CorruptInputError, message, "correct the row", None, path, row)
        texts = dict(zip(header, cells, strict=True))
        sessions.append((_csv_time(texts["open"], path, row, "open"), _csv_time(texts["close"], path, row, "close")))
    return sessions


def _csv_time(text: str, path: str, row: int, column: str) -> int:
    try:
        return parse_time_ns(text, column)
    except RequestError as error:
        message = f"{text!r} is no point in time in 64-bit nanoseconds"
        raise _wrong(CorruptInputError, message, _SESSION_HINT, None, path, row, column) from error


# --- Rows to a series: the steps in their order ------------------------------------------


def _read_series(
    request: Request,
    name: _Name,
    paths: list[str],
    sessions: Sequence[tuple[int, int]] | None,
    part: tuple[int, int] = _ALL,
) -> _Series:
    counts, files = zip(*(_read_file(request, name, path, part) for path in paths), strict=True)
    in_window = [row for rows in files for row in rows]
    in_session = [row for row in in_window if _in_session(request, name, sessions, row)]
    stamped = [_floored(request, name, row) for row in in_session] if request.normalize else in_session
    warnings = _check_order(request, name, stamped)
    kept = _without_duplicates(request, name, sorted(stamped, key=lambda row: row.timestamp_ns))

    def counted(some: list[_Row]) -> int:
        return sum(_in_window(request, name, row.raw_ns) for row in some)

    report = SeriesReport(
        symbol=name.symbol,
        timeframe=name.timeframe,
        price_type=name.side,
        files=len(paths),
        rows=sum(counts),
        outside_window=sum(counts) - counted(in_window),
        outside_session=counted(in_window) - counted(in_session),
        duplicates=counted(stamped) - counted(kept),
        candles=counted(kept),
        sorted=not warnings,
    )
    values = {row.timestamp_ns: row.values for row in kept}
    return _Series(name, values, list(values), report, warnings)


def _span(request: Request, name: _Name, part: tuple[int, int]) -> tuple[int, int]:
    """Return from when to when there may be rows that count, so that the others are passed over quickly."""
    first_ns = max(part[0], _NS_MIN if request.start is None else _floor_ns(request.start, request.timeframe))
    last_ns = part[1] + (timeframe_ns(request.timeframe) - 1 if request.normalize else 0)
    if name.timeframe != request.timeframe:
        age_ns = dict(_further(request))[name.timeframe]
    else:
        age_ns = 0 if request.max_age is None else _age_ns(request.max_age, request.timeframe)
    return (
        _NS_MIN if age_ns is None else first_ns - age_ns,
        last_ns if request.end is None else min(last_ns, request.end),
    )


def _in_window(request: Request, name: _Name, raw_ns: int) -> bool:
    if request.end is not None and raw_ns > request.end:
        return False
    if name.timeframe == request.timeframe:
        return request.start is None or raw_ns >= request.start
    # The latest complete candle may be of any time before the start, unless its age is limited.
    age_ns = dict(_further(request))[name.timeframe]
    first_ns = _first_ns(request)
    return first_ns is None or age_ns is None or raw_ns >= first_ns - age_ns


def _in_lead_in(request: Request, name: _Name, raw_ns: int) -> bool:
    """Return whether a row before the start may be carried into the window."""
    if request.fill == "none" or request.start is None or name.side is None or name.timeframe != request.timeframe:
        return False
    first_ns = _first_ns(request)
    assert first_ns is not None
    assert request.max_age is not None
    lead_ns = first_ns - _age_ns(request.max_age, request.timeframe)
    # The candle that the window cuts consists of what the window keeps of it.
    stamp_ns = _floor_ns(raw_ns, request.timeframe) if request.normalize else raw_ns
    return lead_ns <= raw_ns < request.start and stamp_ns < first_ns


def _in_session(request: Request, name: _Name, sessions: Sequence[tuple[int, int]] | None, row: _Row) -> bool:
    if sessions is not None:
        # The sessions are in order and apart from each other: only the last that has opened can be open.
        number = bisect_right(sessions, row.raw_ns, key=lambda session: session[0])
        return number > 0 and row.raw_ns < sessions[number - 1][1]
    if request.session == "none":
        return True
    # Every edge is a whole second, so the fraction of the second does not matter.
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=row.raw_ns // 10**9)
    if timeframe_ns(name.timeframe) >= _DAY_NS:
        return moment.weekday() not in (_SATURDAY, _SUNDAY) and not _is_placeholder(name, row)
    sydney = moment.astimezone(ZoneInfo("Australia/Sydney"))
    if sydney.weekday() == _MONDAY:
        return sydney.hour >= 7
    if sydney.weekday() == _SATURDAY:
        return sydney.hour < 7
    return sydney.weekday() != _SUNDAY


def _is_placeholder(name: _Name, row: _Row) -> bool:
    if name.side is None:
        return False
    open_, high, low, close, volume = row.values
    return volume == 0 and open_ == high == low == close


def _floored(request: Request, name: _Name, row: _Row) -> _Row:
    floored_ns = _floor_ns(row.raw_ns, name.timeframe)
    if floored_ns < _NS_MIN:
        message = f"the timestamp, floored to {name.timeframe}, does not fit 64-bit nanoseconds"
        column = request.input_columns["timestamp"]
        raise _wrong(CorruptInputError, message, "set a later start", name, row.file, row.number, column)
    return row._replace(timestamp_ns=floored_ns)


def _check_order(request: Request, name: _Name, rows: list[_Row]) -> tuple[RunWarning, ...]:
    """Warn of the first row that is earlier than the one before it, or raise it."""
    for before, row in pairwise(rows):
        if row.timestamp_ns < before.timestamp_ns:
            message = f"{format_time_ns(row.timestamp_ns)} comes after {format_time_ns(before.timestamp_ns)}"
            if request.unsorted == "error":
                hint = "sort the file, or ask for unsorted=sort"
                raise _wrong(UnsortedInputError, message, hint, name, row.file, row.number)
            message = f"{row.file}, row {row.number}: {message}; the series was sorted"
            return (RunWarning("UNSORTED_INPUT", message, row.file, name.symbol, name.side),)
    return ()


def _without_duplicates(request: Request, name: _Name, rows: list[_Row]) -> list[_Row]:
    """Keep one row of each timestamp; `rows` are sorted, those of one timestamp still in file order."""
    kept: dict[int, _Row] = {}
    for row in rows:
        if row.timestamp_ns in kept and request.duplicates == "error":
            message = f"a second row of {format_time_ns(row.timestamp_ns)}"
            hint = "remove it, or ask for duplicates=last or duplicates=first"
            raise _wrong(DuplicateTimestampError, message, hint, name, row.file, row.number)
        if row.timestamp_ns not in kept or request.duplicates == "last":
            kept[row.timestamp_ns] = row
    return list(kept.values())


# --- Series to slices --------------------------------------------------------------------


def _timeline_stamps(request: Request, series: _Series) -> set[int]:
    """Return the timestamps with which a primary series shapes the timeline; the lead-in shapes nothing."""
    first_ns = _first_ns(request)
    return {stamp_ns for stamp_ns in series.timestamps_ns if first_ns is None or stamp_ns >= first_ns}


def _timeline(request: Request, symbols: tuple[str, ...], stamps: dict[_Name, set[int]]) -> list[int]:
    complete = {
        symbol: set.intersection(*(stamps[_Name(symbol, request.timeframe, side)] for side in request.price_types))
        for symbol in symbols
    }
    rule, _, rest = request.timeline.partition(":")
    if rule == "intersection":
        return sorted(set.intersection(*stamps.values()))
    if rule == "union":
        return sorted(set.union(*stamps.values()))
    if rule == "leader":
        return sorted(complete[rest])
    counts = Counter(stamp_ns for one in complete.values() for stamp_ns in one)
    return sorted(stamp_ns for stamp_ns, count in counts.items() if count >= int(rest))


def _empty_timeline(request: Request, stamps: dict[_Name, set[int]]) -> RunWarning:
    """Name the fewest series that explain why no timestamp is left."""
    rule, _, rest = request.timeline.partition(":")
    stamps = {name: one for name, one in stamps.items() if rule != "leader" or name.symbol == rest}
    names = ", ".join(map(_short, stamps))
    empty = [name for name, one in stamps.items() if not one]
    apart = next((pair for pair in combinations(stamps, 2) if stamps[pair[0]].isdisjoint(stamps[pair[1]])), None)
    if rule == "quorum":
        reason = f"at no timestamp have {rest} symbols all their price types, of {names}"
    elif empty:
        reason = f"no candle is left of {', '.join(map(_short, empty))}"
    elif apart is not None:
        reason = f"{_short(apart[0])} and {_short(apart[1])} share no timestamp"
    else:
        reason = f"no timestamp is shared by all of {names}"
    return RunWarning("EMPTY_TIMELINE", f"the timeline is empty: {reason}")


def _short(name: _Name) -> str:
    return f"{name.symbol} {name.side}"


def _candle_at(request: Request, series: _Series, timestamp_ns: int) -> CandleData | None:
    """Return the candle of the primary timeframe that a slice shows."""
    if request.fill == "none":
        return series.candle(timestamp_ns)
    assert request.max_age is not None
    candle = series.latest(timestamp_ns)
    return _young_enough(candle, timestamp_ns, _age_ns(request.max_age, request.timeframe))


def _complete_candle_at(request: Request, series: _Series, timestamp_ns: int, age_ns: int | None) -> CandleData | None:
    """Return the candle of a further timeframe that a slice shows: the latest that is complete."""
    known_ns = timestamp_ns
    if request.known_at == "close":
        known_ns += timeframe_ns(request.timeframe)
    candle = series.latest(known_ns - timeframe_ns(series.name.timeframe))
    return candle if age_ns is None else _young_enough(candle, timestamp_ns, age_ns)


def _young_enough(candle: CandleData | None, timestamp_ns: int, age_ns: int) -> CandleData | None:
    if candle is None or timestamp_ns - candle.timestamp_ns > age_ns:
        return None
    return candle


# --- Errors -----------------------------------------------------------------------------


def _wrong(
    error: type[OmegaSlicesError],
    message: str,
    hint: str,
    series: _Name | None,
    file: str,
    row: int | None = None,
    column: str | None = None,
) -> OmegaSlicesError:
    symbol, side = (None, None) if series is None else (series.symbol, series.side)
    about = {"file": file, "symbol": symbol, "price type": side, "row": row, "column": column}
    place = ", ".join(f"{what} {value}" for what, value in about.items() if value is not None)
    message = f"{message} ({place})"
    return error(message, hint=hint, file=file, symbol=symbol, price_type=side, row=row, column=column)
