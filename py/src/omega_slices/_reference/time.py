"""Time in the reference: zones, wall clocks, dates, text and units.

Owns the way from what a column holds to instants, and calendar days of a zone.  Zones are
those of the package tzdata, read by zoneinfo; never the system's.  All times are
nanoseconds since 1970 in Python's unbounded integers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from omega_slices._reference.options import DAY_NS

NS_PER_TICK: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NS_PER_SECOND: Final = 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Whole days inside the years that Python's datetime knows; offsets matter nowhere else.
_FIRST_KNOWN_NS: Final = -719_000 * DAY_NS
_LAST_KNOWN_NS: Final = 2_932_000 * DAY_NS

_UTC_NAMES: Final = {
    "Z",
    *(f"{folder}{name}" for folder in ("", "Etc/") for name in ("UTC", "UCT", "GMT", "Zulu", "Universal")),
    *(f"{folder}{name}" for folder in ("", "Etc/") for name in ("Greenwich", "GMT0", "GMT+0", "GMT-0")),
}

_OFFSET: Final = re.compile(r"([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?")
_DATE: Final = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_CLOCK: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?"
_PLACE: Final = r"(?P<utc>[Zz])|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9])"
_TEXT: Final = re.compile(f"{_DATE}(?:[T ]{_CLOCK}(?:{_PLACE})?)?")
_PLAIN_DATE: Final = re.compile(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})")

# The dates that give integers their unit.
_FIRST_DATED_NS: Final = 7_305 * DAY_NS  # 1990-01-01
_END_DATED_NS: Final = 47_847 * DAY_NS  # 2101-01-01

# What the value of a row is: a point in time, what a clock shows, or a date without a time.
INSTANT: Final = "instant"
WALL: Final = "wall clock"
DATE: Final = "date"


class Held(NamedTuple):
    """What a row holds.

    Its value, read as UTC where it is not an instant, and what kind of value it is.
    """

    held_ns: int
    form: str


class Instants(NamedTuple):
    """The instants at which a clock shows a time.

    Attributes
    ----------
    by_before, by_after : int
        By the distance from UTC in force before a change of the clocks, and after it; the
        same where there is no change.
    change_ns : int or None
        When the clocks were changed, where they skip the time or show it twice.
    """

    by_before: int
    by_after: int
    change_ns: int | None

    @property
    def is_skipped(self) -> bool:
        """Whether the clocks never show it."""
        return self.by_before > self.by_after

    @property
    def is_twice(self) -> bool:
        """Whether the clocks show it twice."""
        return self.by_before < self.by_after

    @property
    def nearest(self) -> int:
        """The end of a gap, the earlier of two, or the one there is."""
        if self.is_skipped:
            assert self.change_ns is not None
            return self.change_ns
        return self.by_before


# --- Zones -------------------------------------------------------------------------------


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache
def zone_of(name: str) -> tzinfo | None:
    """Return the zone of a name: an IANA name, or a distance such as ``+05:30``.

    Parameters
    ----------
    name : str
        The name, as a column or a request has it.

    Returns
    -------
    tzinfo or None
        None where there is no zone of that name.

    Examples
    --------
    >>> zone_of("Etc/UTC") is zone_of("Z") is UTC, zone_of("Europe/Atlantis")
    (True, None)
    """
    if name in _UTC_NAMES:
        return UTC
    if match := _OFFSET.fullmatch(name):
        distance = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        return timezone(-distance if match[1] == "-" else distance) if distance else UTC
    if name not in _zone_names():
        return None
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def offset_ns(zone: tzinfo, instant_ns: int) -> int:
    """Return how far a zone's clocks are ahead of UTC at an instant.

    0 where no calendar reaches.
    """
    if not _FIRST_KNOWN_NS <= instant_ns <= _LAST_KNOWN_NS:
        return 0
    moment = _EPOCH + timedelta(seconds=instant_ns // _NS_PER_SECOND)
    return _ns(moment.astimezone(zone).utcoffset())


def instants_of(wall_ns: int, zone: tzinfo) -> Instants:
    """Return the instants at which a zone's clocks show a time.

    Parameters
    ----------
    wall_ns : int
        What the clock shows, read as UTC.
    zone : tzinfo
        Where the clock hangs.

    Returns
    -------
    Instants
    """
    if not _FIRST_KNOWN_NS <= wall_ns <= _LAST_KNOWN_NS:
        return Instants(wall_ns, wall_ns, None)
    shown = (_EPOCH + timedelta(seconds=wall_ns // _NS_PER_SECOND)).replace(tzinfo=zone)
    by_before = wall_ns - _ns(shown.utcoffset())
    by_after = wall_ns - _ns(shown.replace(fold=1).utcoffset())
    if by_before == by_after:
        return Instants(by_before, by_after, None)
    return Instants(by_before, by_after, _change_ns(zone, *sorted((by_before, by_after))))


def _change_ns(zone: tzinfo, before_ns: int, after_ns: int) -> int:
    """Return when the clocks change between two instants.

    The first second of the later one's distance from UTC.
    """
    low, high = before_ns // _NS_PER_SECOND, after_ns // _NS_PER_SECOND
    later_ns = offset_ns(zone, after_ns)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_ns(zone, middle * _NS_PER_SECOND) == later_ns:
            high = middle
        else:
            low = middle
    return high * _NS_PER_SECOND


def _ns(distance: timedelta | None) -> int:
    assert distance is not None, "every zone has a distance from UTC"
    return (distance.days * 86_400 + distance.seconds) * _NS_PER_SECOND


# --- Days of a zone ----------------------------------------------------------------------


def days_later(instant_ns: int, days: int, zone: tzinfo) -> int:
    """Return the instant some calendar days later, or earlier, at the same time of day.

    Where the clocks skip that time it is the end of the gap, and where they show it twice
    the earlier of the two.
    """
    return instants_of(instant_ns + offset_ns(zone, instant_ns) + days * DAY_NS, zone).nearest


def first_instant(date_ns: int, zone: tzinfo) -> int:
    """Return the first instant of a date in a zone; the date is given by its midnight, UTC."""
    return instants_of(date_ns, zone).nearest


def local_date_ns(instant_ns: int, zone: tzinfo) -> int:
    """Return the midnight, UTC, of the date in its zone of the middle of a candle of days."""
    middle_ns = instant_ns + offset_ns(zone, instant_ns) + DAY_NS // 2
    return middle_ns - middle_ns % DAY_NS


def is_past_midnight(instant_ns: int, zone: tzinfo) -> bool:
    """Return whether a zone's clock shows a morning, but not the first instant of a date."""
    wall_ns = instant_ns + offset_ns(zone, instant_ns)
    since_ns = wall_ns % DAY_NS
    return 0 < since_ns < DAY_NS // 2 and instant_ns != first_instant(wall_ns - since_ns, zone)


@cache
def smallest_offset_ns(zone: tzinfo) -> int:
    """Return the smallest distance from UTC in force at any midnight, UTC, from 1970 to 2098."""
    days = (datetime(2099, 1, 1, tzinfo=UTC) - _EPOCH).days
    return min(offset_ns(zone, day * DAY_NS) for day in range(days))


# --- What a column holds -----------------------------------------------------------------


def held_by_text(text: str) -> Held | None:
    """Return what a text says; None where it is not a time.

    Examples
    --------
    >>> held_by_text("19700102"), held_by_text("1970-01-01T01:00:00+01:00")
    (Held(held_ns=86400000000000, form='date'), Held(held_ns=0, form='instant'))
    >>> held_by_text("1970-01-01 00:00") is None
    True
    """
    match = _TEXT.fullmatch(text) or _PLAIN_DATE.fullmatch(text)
    if match is None:
        return None
    parts = match.groupdict()
    date = f"{parts['year']}-{parts['month']}-{parts['day']}"
    clock = ":".join(parts.get(name) or "00" for name in ("hour", "minute", "second"))
    try:
        moment = datetime.fromisoformat(f"{date} {clock}+00:00")
    except ValueError:
        return None
    since = moment - _EPOCH
    held_ns = _ns(since) + int((parts.get("fraction") or "0").ljust(9, "0"))
    if parts.get("hour") is None:
        return Held(held_ns, DATE)
    if parts["sign"] is None:
        return Held(held_ns, WALL if parts["utc"] is None else INSTANT)
    distance_ns = (int(parts["hours"]) * 60 + int(parts["minutes"])) * 60 * _NS_PER_SECOND
    return Held(held_ns + (distance_ns if parts["sign"] == "-" else -distance_ns), INSTANT)


def fitting_unit(values: Iterable[int]) -> str | None:
    """Return the unit under which integers are dates from 1990 to 2100; None where there is none.

    Examples
    --------
    >>> fitting_unit([1_700_000_000_000]), fitting_unit([0])
    ('ms', None)
    """
    found = list(values)
    for unit, tick_ns in NS_PER_TICK.items():
        if all(_FIRST_DATED_NS <= value * tick_ns < _END_DATED_NS for value in found):
            return unit
    return None
