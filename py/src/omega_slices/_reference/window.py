"""The window in the reference.

Which stamps count, and which are read since they may be carried into it.
"""

from __future__ import annotations

from omega_slices._model.request import Request
from omega_slices._model.times import timeframe_ns
from omega_slices._reference.options import DAY_NS, NS_MIN, SeriesName, age_ns, first_ns, floor_ns, higher_timeframes_of

# No stamp of a local day is further than this from its instants.
DAYS_APART_NS = 3 * DAY_NS


def is_in_reach(request: Request, name: SeriesName, stamp_ns: int, end_ns: int | None) -> bool:
    """Return whether a row stamped so counts, or may be carried into the window."""
    return in_window(request, name, stamp_ns, end_ns) or _in_lead_in(request, name, stamp_ns)


def span_of(request: Request, name: SeriesName, part: tuple[int, int]) -> tuple[int, int]:
    """Return the span of rows that may count; the others are passed over quickly."""
    earliest_ns = max(part[0], NS_MIN if request.start is None else floor_ns(request.start, request.timeframe))
    latest_ns = part[1] + (timeframe_ns(request.timeframe) - 1 if request.normalize else 0)
    margin_ns = DAYS_APART_NS if request.days == "local" else 0
    if name.timeframe != request.timeframe:
        oldest_ns = dict(higher_timeframes_of(request))[name.timeframe]
    else:
        oldest_ns = 0 if request.max_age is None else age_ns(request.max_age, request.timeframe)
    return (
        NS_MIN if oldest_ns is None else earliest_ns - oldest_ns - margin_ns,
        latest_ns + margin_ns if request.last_ns is None else min(latest_ns, request.last_ns) + margin_ns,
    )


def in_window(request: Request, name: SeriesName, stamp_ns: int, end_ns: int | None) -> bool:
    # A date may end before an instant that comes before its stamp.
    is_further_date = end_ns is not None and name.timeframe != request.timeframe
    margin_ns = 2 * DAY_NS if is_further_date and request.days == "local" else 0
    if request.last_ns is not None and stamp_ns > request.last_ns + margin_ns:
        return False
    if name.timeframe == request.timeframe:
        return request.start is None or stamp_ns >= request.start
    # The latest complete candle may be of any time before the start, unless its age is limited.
    oldest_ns = dict(higher_timeframes_of(request))[name.timeframe]
    earliest_ns = first_ns(request)
    if earliest_ns is None or oldest_ns is None:
        return True
    since_ns = stamp_ns if end_ns is None else end_ns - timeframe_ns(name.timeframe)
    return since_ns >= earliest_ns - oldest_ns


def _in_lead_in(request: Request, name: SeriesName, stamp_ns: int) -> bool:
    """Return whether a row before the start may be carried into the window."""
    if request.fill == "none" or request.start is None or name.side is None or name.timeframe != request.timeframe:
        return False
    earliest_ns = first_ns(request)
    assert earliest_ns is not None
    assert request.max_age is not None
    lead_ns = earliest_ns - age_ns(request.max_age, request.timeframe)
    # The candle that the window cuts consists of what the window keeps of it.
    floored_ns = floor_ns(stamp_ns, request.timeframe) if request.normalize else stamp_ns
    return lead_ns <= stamp_ns < request.start and floored_ns < earliest_ns
