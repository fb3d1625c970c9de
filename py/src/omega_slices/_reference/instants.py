"""Instants in the reference: which ones the rows of a series mean, and how these are stamped.

Owns wall clocks, the hours that they skip or show twice, and the days of a zone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Final

from omega_slices._model.request import Request
from omega_slices._model.times import format_time_ns, timeframe_ns
from omega_slices._reference.options import SeriesName, days_of, wrong
from omega_slices._reference.rows import FileRows
from omega_slices._reference.time import (
    DATE,
    INSTANT,
    days_later,
    first_instant,
    instants_of,
    is_past_midnight,
    local_date_ns,
    zone_of,
)
from omega_slices._reference.window import is_in_reach
from omega_slices.errors import AmbiguousInputError, CorruptInputError, OmegaSlicesError

_AMBIGUOUS_HINT: Final = "choose ambiguous='infer' (by row order), 'earlier' or 'later'"


def check_zones(request: Request, name: SeriesName, files: Sequence[FileRows]) -> None:
    """Raise where the days of a file are those of a zone that is unknown or was not asked for."""
    if days_of(name.timeframe) is None:
        return
    guarded = request.normalize and request.days is None
    for file in files:
        if not (guarded or request.days == "local" or request.stamped_of(name.timeframe) == "close"):
            return
        if file.day_zone is None:
            message = f"the time zone {file.own_zone!r} of the column is unknown"
            hint = "write the column in UTC, or in a zone with an IANA name"
            raise wrong(AmbiguousInputError, message, hint, name, file.path, column=file.column)
        if guarded and file.day_zone is not UTC:
            message = f"cannot floor days: they may be those of {file.own_zone or file.zone} or of UTC"
            hint = "choose days='local' (a candle belongs to its date there) or days='utc'"
            raise wrong(AmbiguousInputError, message, hint, name, file.path, column=file.column)


def find_instants(request: Request, name: SeriesName, files: Sequence[FileRows]) -> None:
    """Fill in the instants of all rows; `files` are in the order in which they are read."""
    # By zone and change of the clocks: the rows in the hour that happens twice.
    doubled: dict[tuple[str, int], list[tuple[FileRows, int]]] = {}
    for file in files:
        zone = UTC if file.zone is None else zone_of(file.zone)
        assert zone is not None, "the zones of a request and of a list are checked"
        if zone is UTC or all(form == INSTANT for form in file.forms):
            file.instants_ns = file.held_ns
            continue
        stamper = stamper_of(request, name, file)
        for row, (held_ns, form) in enumerate(zip(file.held_ns, file.forms, strict=True)):
            if form in (INSTANT, DATE):
                file.instants_ns.append(held_ns if form == INSTANT else first_instant(held_ns, zone))
                continue
            found = instants_of(held_ns, zone)
            candidates = (found.by_before, found.by_after)
            file.instants_ns.append(candidates[found.is_twice and request.ambiguous == "later"])
            if found.is_twice and request.ambiguous == "infer":
                assert found.change_ns is not None
                doubled.setdefault((str(file.zone), found.change_ns), []).append((file, row))
            elif (found.is_skipped or (found.is_twice and request.ambiguous == "error")) and any(
                is_in_reach(request, name, *stamper(instant_ns)) for instant_ns in candidates
            ):
                wall, there = _wall_text(held_ns), f"in {file.zone}"
                message = f"ambiguous local time {wall}: it occurs twice {there}, the clocks were set back"
                if found.is_skipped:
                    message = f"invalid local time {wall}: it does not exist {there}, the clocks skipped it"
                hint = "correct the row" if found.is_skipped else _AMBIGUOUS_HINT
                raise _no_instant(name, file, row, message, hint)
    for rows in doubled.values():
        _infer(request, name, rows)


def _infer(request: Request, name: SeriesName, rows: Sequence[tuple[FileRows, int]]) -> None:
    """Tell the two passes of an hour apart.

    The first backward step of the clock begins the second one.
    """
    walls = [file.held_ns[row] for file, row in rows]
    zone = zone_of(str(rows[0][0].zone))
    assert zone is not None
    found = [instants_of(wall_ns, zone) for wall_ns in walls]
    steps = [number for number in range(1, len(walls)) if walls[number] < walls[number - 1]]
    is_needed = any(
        is_in_reach(request, name, *stamper_of(request, name, file)(instant_ns))
        for (file, _), one in zip(rows, found, strict=True)
        for instant_ns in (one.by_before, one.by_after)
    )
    if is_needed and len(steps) != 1:
        file, row = rows[0] if not steps else rows[steps[1]]
        why = "step backward more than once" if steps else "never step backward"
        message = f"ambiguous local time {_wall_text(file.held_ns[row])}: it occurs twice in {file.zone}"
        message += f", and its rows {why}"
        hint = "choose ambiguous='earlier' or ambiguous='later', or correct the rows"
        raise _no_instant(name, file, row, message, hint)
    for number, (file, row) in enumerate(rows):
        is_second = bool(steps) and number >= steps[0]
        file.instants_ns[row] = found[number].by_after if is_second else found[number].by_before


def _no_instant(name: SeriesName, file: FileRows, row: int, message: str, hint: str) -> OmegaSlicesError:
    return wrong(CorruptInputError, message, hint, name, file.path, row, file.column)


def _wall_text(wall_ns: int) -> str:
    return format_time_ns(wall_ns).removesuffix("Z")


def stamper_of(request: Request, name: SeriesName, file: FileRows) -> Callable[[int], tuple[int, int | None]]:
    """Return what gives the stamp of a row by its instant; of a local day also when it ends."""
    days, length_ns = days_of(name.timeframe), timeframe_ns(name.timeframe)
    zone = file.day_zone or UTC

    def opened(instant_ns: int) -> int:
        if request.stamped_of(name.timeframe) == "open":
            return instant_ns
        return instant_ns - length_ns if days is None else days_later(instant_ns, -days, zone)

    def of_local_day(instant_ns: int) -> tuple[int, int | None]:
        assert days is not None
        opened_ns = opened(instant_ns)
        return local_date_ns(opened_ns, zone), days_later(opened_ns, days, zone)

    if days is not None and request.days == "local":
        return of_local_day
    return lambda instant_ns: (opened(instant_ns), None)


def check_local_day(request: Request, name: SeriesName, file: FileRows, number: int) -> None:
    """Raise where a primary day begins within its date: it may end after it counts as known."""
    if request.normalize or name.side is None or name.timeframe != request.timeframe:
        return
    instant_ns = file.instants_ns[number]
    days, zone = days_of(name.timeframe), file.day_zone or UTC
    if request.stamped_of(name.timeframe) == "close" and days is not None:
        instant_ns = days_later(instant_ns, -days, zone)
    if is_past_midnight(instant_ns, zone):
        message = "ambiguous date of a candle: it is stamped after midnight and before noon"
        hint = "add normalize=True if the time is within the candle's date"
        raise wrong(AmbiguousInputError, message, hint, name, file.path, number, file.column)
