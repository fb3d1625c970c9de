"""Where a request is cut into parts that follow each other.

Owns the cuts: at the beginning of a day, week, month or year, UTC, moved on to where the next candle
of the primary timeframe begins.  So no candle lies in two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, Final, Protocol

from omega_slices._model.times import DAY_NS, NS_MAX, NS_MIN, candle_begin_ns, timeframe_ns
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from omega_slices._model.storage import StorageOptions

PERIODS: Final = ("day", "week", "month", "year")
_PARTS_MAX: Final = 100_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY: Final = date(1970, 1, 5)


class Windowed(Protocol):
    """What of a request says where it is cut."""

    @property
    def start(self) -> int | None:
        """The first timestamp of the window."""

    @property
    def last_ns(self) -> int | None:
        """The last timestamp of the window."""

    @property
    def timeframe(self) -> str:
        """The primary timeframe."""

    @property
    def normalize(self) -> bool:
        """Whether timestamps are floored to the timeframe."""


# What tells the range of a request without dates.
RangeFinder = Callable[[Any], "tuple[int, int] | None"]
# The same, with how storage is reached.
StorageFinder = Callable[[Any, "StorageOptions | None"], "tuple[int, int] | None"]
_range_finder: list[StorageFinder] = []


def set_range_finder(finder: StorageFinder) -> None:
    """Say what tells the first and the last timestamp of a request's primary series.

    Called by the layer that can ask the executable, which is above this one.
    """
    _range_finder[:] = [finder]


def range_of(request: Windowed, storage: StorageOptions | None = None) -> tuple[int, int] | None:
    """Return the first and the last timestamp of a request's primary series, by the finder."""
    (finder,) = _range_finder
    return finder(request, storage)


def window_of(request: Windowed, find_range: RangeFinder = range_of) -> tuple[int, int] | None:
    """Return the window of a request, both ends inclusive: its own, or that of its files.

    None where no row can lie in it.  Where timestamps are floored, what the files say is widened to
    whole candles of the primary timeframe: rows of other series in the first and the last one count.
    """
    first_ns, last_ns = request.start, request.last_ns
    if first_ns is None or last_ns is None:
        found = find_range(request)
        if found is None:
            return None
        if request.normalize:
            found = _whole_candles(*found, request.timeframe)
        first_ns = found[0] if first_ns is None else first_ns
        last_ns = found[1] if last_ns is None else last_ns
    return (first_ns, last_ns) if first_ns <= last_ns else None


def _whole_candles(first_ns: int, last_ns: int, timeframe: str) -> tuple[int, int]:
    """Return where the candle of the first timestamp begins, and the last instant of the last one's."""
    end_ns = candle_begin_ns(last_ns, timeframe) + timeframe_ns(timeframe) - 1
    return max(candle_begin_ns(first_ns, timeframe), NS_MIN), min(end_ns, NS_MAX)


def windows(first_ns: int, last_ns: int, timeframe: str, by: str | int) -> list[tuple[int, int]]:
    """Cut a window into parts.

    Parameters
    ----------
    first_ns, last_ns : int
        The window, both ends inclusive, nanoseconds since 1970.
    timeframe : str
        The primary timeframe.
    by : {"day", "week", "month", "year"} or int
        The length of a part, or the number of parts.

    Returns
    -------
    list of (int, int)
        Start (inclusive) and end (exclusive) of each part, at least one, in order; each ends
        where the next one starts.  Fewer than the number asked for where candles are too long.
    """
    before_ns = last_ns + 1
    found = [first_ns]
    for cut_ns in _cuts(first_ns, before_ns, by):
        begin_ns = _next_begin_ns(cut_ns, timeframe)
        if found[-1] < begin_ns < before_ns:
            found.append(begin_ns)
    return [*pairwise([*found, before_ns])]


def check_by(by: object) -> None:
    """Check what says how a request is cut."""
    is_number = isinstance(by, int) and not isinstance(by, bool) and 1 <= by <= _PARTS_MAX
    if not is_number and by not in PERIODS:
        raise RequestError(
            f"invalid by={by!r}: expected a period or a number of parts",
            hint=f"choose one of {', '.join(PERIODS)}, or an int from 1 to {_PARTS_MAX}",
        )


def _cuts(first_ns: int, before_ns: int, by: str | int) -> Iterator[int]:
    if isinstance(by, int):
        span_ns = before_ns - first_ns
        return (first_ns + span_ns * number // by for number in range(1, by))
    first = (_EPOCH + timedelta(microseconds=first_ns // 1_000)).date()
    stamps = ((start - date(1970, 1, 1)).days * DAY_NS for start in _later_starts(first, by))
    return takewhile(lambda stamp_ns: stamp_ns < before_ns, stamps)


def _later_starts(day: date, period: str) -> Iterator[date]:
    """Yield the days on which periods begin, after the one that a day lies in.

    Without that one: where a candle of several days begins within it is no cut.
    """
    if period == "week":
        day -= timedelta(days=(day - _MONDAY).days % 7)
    elif period != "day":
        day = day.replace(day=1, month=1 if period == "year" else day.month)
    while True:
        if period in ("day", "week"):
            day += timedelta(days=1 if period == "day" else 7)
        else:
            months = day.year * 12 + day.month - 1 + (1 if period == "month" else 12)
            day = date(months // 12, months % 12 + 1, 1)
        yield day


def _next_begin_ns(stamp_ns: int, timeframe: str) -> int:
    """Return the first timestamp at which a candle begins, from a timestamp on.

    The first candle of all begins with the smallest timestamp.
    """
    begin_ns = max(candle_begin_ns(stamp_ns, timeframe), NS_MIN)
    return begin_ns if begin_ns == stamp_ns else candle_begin_ns(stamp_ns, timeframe) + timeframe_ns(timeframe)
