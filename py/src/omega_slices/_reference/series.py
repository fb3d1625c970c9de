"""From rows to one series in the reference: every step in its order, and the report about them.

Owns instants, stamps, window, flooring, order, duplicates, and the warnings of a series.
Reads no file, and knows no other series.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from omega_slices._model.candle import CandleData, PriceCandle
from omega_slices._model.options import CANDLE_FIELDS
from omega_slices._model.report import RunWarning, SeriesReport, TimestampUnit
from omega_slices._model.request import Request
from omega_slices._model.times import format_time_ns, timeframe_ns
from omega_slices._reference.instants import check_local_day, check_zones, find_instants, stamper_of
from omega_slices._reference.options import ALL, DAY_NS, NS_MAX, NS_MIN, SeriesName, days_of, floor_ns, wrong
from omega_slices._reference.rows import FileRows, InputFile, columns_read, read_files, values_of
from omega_slices._reference.sessions import in_session
from omega_slices._reference.time import INSTANT, instants_of, zone_of
from omega_slices._reference.window import DAYS_APART_NS, in_window, is_in_reach, span_of
from omega_slices.errors import CorruptInputError, DuplicateTimestampError, UnsortedInputError

_HOUR_NS: Final = 3_600 * 10**9
_FITTING: Final = ("M1", "M2", "M3", "M5", "M10", "M15", "M30", "H1", "H2", "H3", "H4", "H6", "H8", "H12", "D1", "W1")
_FITTING_STEPS_MIN: Final = 20


class Row(NamedTuple):
    """One row of a file.

    Attributes
    ----------
    stamp_ns : int
        Its stamp before flooring, at which the window and the session look.
    end_ns : int or None
        When it is complete, where it is a local day; otherwise that follows from its stamp.
    timestamp_ns : int
        The timestamp of its candle.
    values : tuple of float
        Prices and volume, or indicators.
    file : FileRows
        Its file.
    number : int
        Its place there, from 0.
    """

    stamp_ns: int
    end_ns: int | None
    timestamp_ns: int
    values: tuple[float, ...]
    file: FileRows
    number: int


@dataclass(frozen=True)
class Series:
    """What is left of one series after all steps, and the report about it.

    Attributes
    ----------
    make : type
        What its candles are.
    zones : tuple of tzinfo
        The zones of the days of its files.
    of_one_date : dict of int to list of Row
        By timestamp, the rows of local days that share it; the one that is kept comes last.
        Each of them counts from its own end on.
    """

    name: SeriesName
    make: type[CandleData]
    values: dict[int, tuple[float, ...]]
    timestamps_ns: list[int]
    ends_ns: list[int]
    report: SeriesReport
    warnings: tuple[RunWarning, ...]
    zones: tuple[tzinfo, ...]
    of_one_date: dict[int, list[Row]]

    def candle(self, timestamp_ns: int) -> CandleData | None:
        """Return the candle stamped so."""
        values = self.values.get(timestamp_ns)
        return None if values is None else self.make(timestamp_ns, *values)

    def latest(self, until_ns: int) -> CandleData | None:
        """Return the last of the candles stamped so or earlier."""
        number = bisect_right(self.timestamps_ns, until_ns)
        return self.candle(self.timestamps_ns[number - 1]) if number else None

    def complete(self, known_ns: int) -> tuple[CandleData, int] | None:
        """Return the last of the candles that are complete at a time, with its end."""
        number = bisect_right(self.timestamps_ns, known_ns + DAYS_APART_NS)
        while number:
            number -= 1
            timestamp_ns = self.timestamps_ns[number]
            rows = [(row.end_ns, row.values) for row in self.of_one_date.get(timestamp_ns, ())]
            for end_ns, values in reversed(rows or [(self.ends_ns[number], self.values[timestamp_ns])]):
                if end_ns is not None and end_ns <= known_ns:
                    return self.make(timestamp_ns, *values), end_ns
        return None


def read_series(
    request: Request,
    name: SeriesName,
    files: Sequence[InputFile],
    sessions: Sequence[tuple[int, int]] | None,
    part: tuple[int, int] = ALL,
) -> Series:
    """Read a series and take every step.

    Of a part of the slices, only the rows that these need are kept.
    """
    read, count, zones_without_rows = read_files(request, name, files)
    check_zones(request, name, read)
    in_order = sorted(read, key=lambda file: (min(file.held_ns), file.place))
    find_instants(request, name, in_order)
    windowed = [row for file in in_order for row in _rows(request, name, file, part)]
    kept_by_session = [row for row in windowed if in_session(request, name, sessions, row.stamp_ns, row.values)]
    priced = [row for row in kept_by_session if not _is_empty(request, name, row)]
    if request.fields != CANDLE_FIELDS and name.side is not None:
        priced = [row._replace(values=_chosen(request, row.values)) for row in priced]
    stamped = [_floored(name, row) for row in priced] if request.normalize else priced
    unsorted = _check_order(request, name, stamped)
    kept, conflicts = _without_duplicates(request, name, stamped)

    def counted(some: Sequence[Row]) -> int:
        return sum(in_window(request, name, row.stamp_ns, row.end_ns) for row in some)

    warnings = [
        *unsorted,
        *_conflicting(request, name, conflicts),
        *_local_days(request, name, files, priced),
        *_mismatch(request, name, files, kept),
    ]
    units = tuple(TimestampUnit(file.path, file.unit) for file in read if file.unit is not None)
    report = SeriesReport(
        symbol=name.symbol,
        timeframe=name.timeframe,
        price_type=name.side,
        files=len(files),
        rows=count,
        outside_window=count - counted(windowed),
        outside_session=counted(windowed) - counted(kept_by_session),
        duplicates=counted(stamped) - counted(kept),
        conflicting_duplicates=len(conflicts),
        candles=counted(kept),
        sorted=not unsorted,
        timestamp_units=units if units and request.timestamp_unit is not None else None,
        empty=counted(kept_by_session) - counted(priced) if _drops_empty(request, name) else None,
        columns=columns_read(request, name, read),
    )
    length_ns = timeframe_ns(name.timeframe)
    return Series(
        name=name,
        make=PriceCandle if name.side in request.no_volume else CandleData,
        values={row.timestamp_ns: row.values for row in kept},
        timestamps_ns=[row.timestamp_ns for row in kept],
        ends_ns=[row.timestamp_ns + length_ns if row.end_ns is None else row.end_ns for row in kept],
        report=report,
        warnings=tuple(warnings),
        zones=(*(file.day_zone or UTC for file in read), *zones_without_rows),
        of_one_date=_of_one_date(request, stamped),
    )


def stamp_range(request: Request, name: SeriesName, files: Sequence[InputFile]) -> tuple[int, int] | None:
    """Return the smallest and the largest stamp of all rows of a series, saturated.

    None where there is no row.
    """
    read, _, _ = read_files(request, name, files)
    check_zones(request, name, read)
    edges: list[int] = []
    for file in read:
        instants = set(file.held_ns)
        zone = zone_of(file.zone) if file.zone is not None else UTC
        if zone is not UTC and zone is not None:
            rows = list(zip(file.held_ns, file.forms, strict=True))
            # Either pass of an hour that happens twice: this is a range, and may be too wide.
            walls = [instants_of(held_ns, zone) for held_ns, form in rows if form != INSTANT]
            instants = {held_ns for held_ns, form in rows if form == INSTANT}
            instants |= {instant for one in walls for instant in (one.by_before, one.by_after, one.nearest)}
        stamper = stamper_of(request, name, file)
        stamps = {stamper(instant_ns)[0] for instant_ns in instants}
        edges += (min(stamps), max(stamps))
    return (max(min(edges), NS_MIN), min(max(edges), NS_MAX)) if edges else None


def _rows(request: Request, name: SeriesName, file: FileRows, part: tuple[int, int]) -> list[Row]:
    """Return the rows of a file that may count."""
    first_of_part_ns, last_of_part_ns = span_of(request, name, part)
    stamper = stamper_of(request, name, file)
    kept: list[tuple[int, int, int | None]] = []
    for number, (held_ns, instant_ns) in enumerate(zip(file.held_ns, file.instants_ns, strict=True)):
        fits = NS_MIN <= held_ns <= NS_MAX
        stamp_ns, end_ns = stamper(instant_ns) if fits else (held_ns, None)
        fits = fits and NS_MIN <= stamp_ns <= NS_MAX
        if fits and not first_of_part_ns <= stamp_ns <= last_of_part_ns:
            continue
        if not is_in_reach(request, name, stamp_ns, end_ns):
            continue
        if not fits:
            message = "the timestamp does not fit 64-bit nanoseconds"
            hint = "repair or remove the row, or give a window without it"
            raise wrong(CorruptInputError, message, hint, name, file.path, number, file.column)
        if end_ns is not None:
            check_local_day(request, name, file, number)
        kept.append((number, stamp_ns, end_ns))
    values = values_of(name, file, [number for number, _, _ in kept])
    return [
        Row(stamp_ns, end_ns, stamp_ns, candle, file, number)
        for (number, stamp_ns, end_ns), candle in zip(kept, values, strict=True)
    ]


def _drops_empty(request: Request, name: SeriesName) -> bool:
    return request.empty_rows == "drop" and name.side is not None


def _is_empty(request: Request, name: SeriesName, row: Row) -> bool:
    """Return whether a row without a price is no candle."""
    return _drops_empty(request, name) and all(map(math.isnan, row.values[:4]))


def _chosen(request: Request, values: tuple[float, ...]) -> tuple[float, ...]:
    """Return the five values of a candle, NaN in the place of those that were not requested."""
    named = zip(CANDLE_FIELDS, values, strict=True)
    return tuple(value if field in request.fields else math.nan for field, value in named)


# --- Flooring, order, duplicates ---------------------------------------------------------


def _floored(name: SeriesName, row: Row) -> Row:
    floored_ns = floor_ns(row.stamp_ns, name.timeframe)
    if floored_ns < NS_MIN:
        message = f"the timestamp, floored to {name.timeframe}, does not fit 64-bit nanoseconds"
        hint = "set a later start"
        raise wrong(CorruptInputError, message, hint, name, row.file.path, row.number, row.file.column)
    return row._replace(timestamp_ns=floored_ns)


def _check_order(request: Request, name: SeriesName, rows: Sequence[Row]) -> list[RunWarning]:
    """Warn of the first row that is earlier than the one before it, or raise it."""
    for before, row in pairwise(rows):
        if row.timestamp_ns < before.timestamp_ns:
            message = f"{format_time_ns(row.timestamp_ns)} comes after {format_time_ns(before.timestamp_ns)}"
            if request.unsorted == "error":
                hint = "sort the file, or choose unsorted='sort'"
                raise wrong(UnsortedInputError, message, hint, name, row.file.path, row.number)
            message = f"{row.file.path}, row {row.number}: {message}; the series was sorted"
            return [RunWarning("UNSORTED_INPUT", message, row.file.path, name.symbol, name.side)]
    return []


def _without_duplicates(
    request: Request, name: SeriesName, rows: Sequence[Row]
) -> tuple[list[Row], list[tuple[Row, Row]]]:
    """Keep one row of each timestamp.

    Return also those kept beside others that differ, each with one of these.
    """
    if all(before.timestamp_ns < row.timestamp_ns for before, row in pairwise(rows)):
        return list(rows), []
    kept = []
    conflicts = []
    in_order = sorted(rows, key=lambda row: (row.timestamp_ns, row.file.place, row.number))
    for timestamp_ns, group in groupby(in_order, key=lambda row: row.timestamp_ns):
        same = list(group)
        if request.duplicates == "error" and len(same) > 1:
            message = f"duplicate timestamp {format_time_ns(timestamp_ns)}: the series contains it twice"
            hint = "remove it, or choose duplicates='last' or duplicates='first'"
            raise wrong(DuplicateTimestampError, message, hint, name, same[1].file.path, same[1].number)
        one = same[0] if request.duplicates == "first" else same[-1]
        other = next((row for row in same if not _are_equal(row.values, one.values)), None)
        if other is not None and request.duplicates == "identical":
            second = next(row for row in same if not _are_equal(row.values, same[0].values))
            message = f"duplicate timestamp {format_time_ns(timestamp_ns)}: the values differ"
            hint = "remove one of them, or choose duplicates='last' or duplicates='first'"
            raise wrong(DuplicateTimestampError, message, hint, name, second.file.path, second.number)
        kept.append(one)
        if other is not None:
            conflicts.append((one, other))
    return kept, conflicts


def _of_one_date(request: Request, rows: Sequence[Row]) -> dict[int, list[Row]]:
    """Return the rows of local days that share a timestamp; the one that is kept comes last."""
    dated = sorted(
        (row for row in rows if row.end_ns is not None),
        key=lambda row: (row.timestamp_ns, row.file.place, row.number),
        reverse=request.duplicates == "first",
    )
    groups = (list(group) for _, group in groupby(dated, key=lambda row: row.timestamp_ns))
    return {group[0].timestamp_ns: group for group in groups if len(group) > 1}


def _are_equal(some: tuple[float, ...], others: tuple[float, ...]) -> bool:
    pairs = zip(some, others, strict=True)
    return some == others or all(one == other or (one != one and other != other) for one, other in pairs)  # noqa: PLR0124


# --- Warnings ----------------------------------------------------------------------------


def _conflicting(request: Request, name: SeriesName, conflicts: Sequence[tuple[Row, Row]]) -> list[RunWarning]:
    if request.duplicates is not None or not conflicts:
        return []
    kept, other = conflicts[0]
    message = (
        f"{name}: {len(conflicts)} timestamp(s) have rows with different values, the first is "
        f"{format_time_ns(kept.timestamp_ns)}: kept {kept.file.path}, row {kept.number}, which comes last; "
        f"dropped {other.file.path}, row {other.number}"
    )
    return [RunWarning("CONFLICTING_DUPLICATES", message, kept.file.path, name.symbol, name.side)]


def _local_days(
    request: Request, name: SeriesName, files: Sequence[InputFile], rows: Sequence[Row]
) -> list[RunWarning]:
    if not request.normalize or request.days is not None or days_of(name.timeframe) is None:
        return []
    elsewhere = sum(row.stamp_ns % DAY_NS != 0 for row in rows)
    if 2 * elsewhere <= len(rows):
        return []
    message = (
        f"{name}: {elsewhere} of {len(rows)} candles are not stamped at midnight UTC, as if their zone was lost; "
        "give zone and days=local, or days=utc where these are days of UTC"
    )
    return [RunWarning("LOCAL_DAYS", message, files[0].path, name.symbol, name.side)]


def _mismatch(request: Request, name: SeriesName, files: Sequence[InputFile], kept: Sequence[Row]) -> list[RunWarning]:
    if name.side is None:
        return []
    stamps = [row.timestamp_ns for row in kept if in_window(request, name, row.stamp_ns, row.end_ns)]
    steps = {later - earlier for earlier, later in pairwise(stamps)}
    length_ns = timeframe_ns(name.timeframe)
    dividing = [one for one in _FITTING if steps and all(step % timeframe_ns(one) == 0 for step in steps)]
    fits = dividing[-1] if dividing else None
    is_longer = fits is not None and timeframe_ns(fits) > length_ns and len(stamps) > _FITTING_STEPS_MIN
    if not is_longer and all(step >= length_ns for step in steps):
        return []
    message = f"{name}: the steps between candles contradict the timeframe; "
    message += "no timeframe fits them" if fits is None else f"{fits} fits them"
    if days_of(name.timeframe) is not None and not steps.isdisjoint((23 * _HOUR_NS, 25 * _HOUR_NS)):
        message += "; for days of 23 and 25 hours, give days=local"
    return [RunWarning("TIMEFRAME_MISMATCH", message, files[0].path, name.symbol, name.side)]
