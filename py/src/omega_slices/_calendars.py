"""Market calendars: from a calendar's name to the sessions of a request.

Owns the one use of pandas_market_calendars: the library computes the sessions, and nothing
here knows an opening hour or a holiday.  Guarantees sessions that are in order and apart
from each other.  They reach beyond all rows of the request, so no row is dropped because too
few days were asked for.  The library, and pandas with it, is imported only where a calendar
is named.
"""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from omega_slices._model.options import SESSIONS
from omega_slices._model.times import DAY_NS, NS_MAX, NS_MIN
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from omega_slices._model.request import Request


_INSTALL: Final = 'pip install "omega-slices[calendars]"'
_NS_PER_SECOND: Final = 10**9

# Sessions are dated by the exchange, and may open days before their date.
_MARGIN_DAYS: Final = 7


def check_calendar(name: str) -> None:
    """Check that there is a market calendar of a name.

    Raises
    ------
    RequestError
        There is none, or the library of calendars is not installed.
    """
    known = _library(name).get_calendar_names()
    if name in known:
        return
    by_lower_case = {one.lower(): one for one in (*known, *SESSIONS)}
    near = [by_lower_case[one] for one in get_close_matches(name.lower(), by_lower_case, n=4)]
    raise RequestError(
        f"session={name!r} is neither {' nor '.join(SESSIONS)} nor the name of a market calendar",
        hint=f"near names are {', '.join(near)}"
        if near
        else "pandas_market_calendars.get_calendar_names() gives all names",
    )


def check_calendar_of(request: Request) -> None:
    """Check that there is the market calendar that a request names, where it names one.

    Raises
    ------
    RequestError
        As `check_calendar`.
    """
    if request.calendar is not None:
        check_calendar(request.calendar)


def calendar_sessions(request: Request, range_ns: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Return the sessions of a request's market calendar, for all rows of its files up to its end.

    Parameters
    ----------
    request : Request
        One whose `calendar` is not None.
    range_ns : (int, int), or None
        The smallest and the largest timestamp of its files, as the rows are stamped,
        nanoseconds since 1970; None where there are no rows.

    Returns
    -------
    list of (int, int)
        Open (included) and close (excluded), nanoseconds since 1970; in order, and apart
        from each other.  Where the primary timeframe is a day or more, the whole UTC
        days that the sessions are dated; with local days, rows are stamped with these dates.

    Raises
    ------
    RequestError
        There is no such calendar, or it cannot say its sessions.
    """
    name = request.calendar
    assert name is not None  # the caller's part
    check_calendar(name)
    if range_ns is None:
        return []
    first_ns, last_ns = range_ns
    if request.last_ns is not None:
        last_ns = min(last_ns, request.last_ns)
    if last_ns < first_ns:
        return []
    schedule = _schedule(name, first_ns // DAY_NS - _MARGIN_DAYS, last_ns // DAY_NS + _MARGIN_DAYS)
    spans = _days(schedule) if request.timeframe_ns >= DAY_NS else _hours(schedule)
    return _apart(spans)


def _library(name: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pandas_market_calendars  # noqa: PLC0415  # an extra, which may be missing
    except ImportError as error:
        raise RequestError(
            f"session={name!r} is neither {' nor '.join(SESSIONS)}, and market calendars are not installed: {error}",
            hint=_INSTALL,
        ) from error
    module: ModuleType = pandas_market_calendars
    return module


def _schedule(name: str, first_day: int, last_day: int) -> Any:
    """Return the calendar's own table of sessions; days since 1970, both included."""
    first, last = (str(np.datetime64(day, "D")) for day in (first_day, last_day))
    try:
        # What it warns of is between it and pandas.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _library(name).get_calendar(name).schedule(first, last)
    except Exception as error:
        raise RequestError(
            f"the calendar {name} cannot say its sessions from {first} to {last}: {error!r}",
            hint="choose another calendar, or give sessions of your own as session_file",
        ) from error


def _days(schedule: Any) -> Iterator[tuple[int, int]]:
    for day in schedule.index.to_numpy().astype("datetime64[D]").astype(np.int64).tolist():
        yield day * DAY_NS, (day + 1) * DAY_NS


def _hours(schedule: Any) -> Iterator[tuple[int, int]]:
    """Yield the sessions; a break makes two of one."""
    opens, closes = (_seconds(schedule, column) for column in ("market_open", "market_close"))
    no_breaks: list[int | None] = [None] * len(opens)
    break_starts, break_ends = (
        _seconds(schedule, column) if column in schedule.columns else no_breaks
        for column in ("break_start", "break_end")
    )
    for open_s, close_s, break_start_s, break_end_s in zip(opens, closes, break_starts, break_ends, strict=True):
        if open_s is None or close_s is None:
            continue
        edges = [open_s, close_s]
        if break_start_s is not None and break_end_s is not None:
            # Where a market closes early, its break may lie behind the close.
            edges = [open_s, min(break_start_s, close_s), max(break_end_s, open_s), close_s]
        for start_s, stop_s in zip(edges[::2], edges[1::2], strict=True):
            yield start_s * _NS_PER_SECOND, stop_s * _NS_PER_SECOND


def _seconds(schedule: Any, column: str) -> list[int | None]:
    """Return a column of times as seconds since 1970, which no calendar's times are finer than."""
    times = schedule[column].dt.tz_convert(None).to_numpy().astype("datetime64[s]")
    seconds = zip(times.astype(np.int64).tolist(), np.isnat(times).tolist(), strict=True)
    return [None if is_missing else second for second, is_missing in seconds]


def _apart(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Put sessions in order and join those that touch or overlap; leave out empty ones."""
    joined: list[tuple[int, int]] = []
    for open_ns, close_ns in sorted((max(start, NS_MIN), min(stop, NS_MAX)) for start, stop in spans):
        if close_ns <= open_ns:
            continue
        if joined and open_ns <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], close_ns))
        else:
            joined.append((open_ns, close_ns))
    return joined
