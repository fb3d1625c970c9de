"""The oracle.

Times, zones and days, by the plainest means: `datetime`, `zoneinfo`, and nothing of ours.

All times are nanoseconds since 1970; a wall clock is what it shows, read as UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from itertools import takewhile
from zoneinfo import ZoneInfo

SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_NS = int((datetime(2099, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * SECOND_NS


@cache
def all_zones() -> tuple[str, ...]:
    """Return the names of all zones."""
    return tuple(sorted(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()))


@cache
def zone(name: str) -> tzinfo:
    """Return a zone by its name, or by its distance from UTC."""
    if name[0] in "+-":
        sign = -1 if name[0] == "-" else 1
        return timezone(sign * timedelta(hours=int(name[1:3]), minutes=int(name[4:6])))
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def shown(name: str, instant_ns: int) -> int:
    """Return what the clocks of a zone show at an instant."""
    moment = EPOCH + timedelta(seconds=instant_ns // SECOND_NS)
    distance = moment.astimezone(zone(name)).utcoffset()
    assert distance is not None
    return instant_ns + int(distance.total_seconds()) * SECOND_NS


def instants(name: str, wall_ns: int) -> list[int]:
    """Return the instants at which the clocks show a time, in order: none, one or two."""
    # Whatever distance from UTC was in force within two days may be the one.
    distances = {shown(name, wall_ns + days * DAY_NS) - wall_ns - days * DAY_NS for days in (-2, -1, 0, 1, 2)}
    for change_ns in changes(name, wall_ns - 2 * DAY_NS, wall_ns + 2 * DAY_NS, DAY_NS // 24):
        distances.add(shown(name, change_ns) - change_ns)
    return sorted({wall_ns - one for one in distances if shown(name, wall_ns - one) == wall_ns})


def nearest(name: str, wall_ns: int) -> int:
    """Return the first instant at which the clocks show a time, or a later one if they skip it."""
    if found := instants(name, wall_ns):
        return found[0]
    (change_ns,) = [
        one
        for one in changes(name, wall_ns - 2 * DAY_NS, wall_ns + 2 * DAY_NS, DAY_NS // 24)
        if shown(name, one - SECOND_NS) < wall_ns <= shown(name, one)
    ]
    return change_ns


def changes(name: str, first_ns: int, end_ns: int, step_ns: int) -> Iterator[int]:
    """Yield the changes of the distance from UTC, but those that undo each other within a step."""

    def distance(instant_ns: int) -> int:
        return shown(name, instant_ns) - instant_ns

    for start_ns in range(first_ns // SECOND_NS * SECOND_NS, end_ns, step_ns):
        low_ns, high_ns = start_ns, start_ns + step_ns
        if distance(low_ns) == distance(high_ns):
            continue
        while high_ns - low_ns > SECOND_NS:
            middle_ns = (low_ns + high_ns) // 2 // SECOND_NS * SECOND_NS
            if distance(middle_ns) == distance(low_ns):
                low_ns = middle_ns
            else:
                high_ns = middle_ns
        yield high_ns


def days_later(name: str, instant_ns: int, days: int) -> int:
    """Return the instant a number of calendar days later."""
    return nearest(name, shown(name, instant_ns) + days * DAY_NS)


def date_of_middle(name: str, instant_ns: int) -> int:
    """Return the midnight, UTC, of the date twelve hours later on the clocks."""
    middle = EPOCH + timedelta(seconds=shown(name, instant_ns) // SECOND_NS, hours=12)
    return (middle.date() - EPOCH.date()).days * DAY_NS


# --- Times and timeframes as text ------------------------------------------------------------

_SECONDS = {"S": 1, "M": 60, "H": 3_600, "D": 86_400, "W": 604_800}


def parse_time_ns(text: str) -> int:
    """Return a date, or a time to the nanosecond, in nanoseconds since 1970."""
    whole, _, rest = text.partition(".")
    digits = "".join(takewhile(str.isdigit, rest))
    moment = datetime.fromisoformat(whole + rest[len(digits) :])
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_NS + int(digits.ljust(9, "0"))


def format_time_ns(time_ns: int) -> str:
    """Return a time as RFC 3339 text with nine digits, UTC."""
    moment = EPOCH + timedelta(seconds=time_ns // SECOND_NS)
    return f"{moment.replace(tzinfo=None).isoformat()}.{time_ns % SECOND_NS:09}Z"


def timeframe_ns(timeframe: str) -> int:
    """Return the length of a timeframe such as ``M1``."""
    return _SECONDS[timeframe[0]] * int(timeframe[1:]) * SECOND_NS


def floored(timestamp_ns: int, timeframe: str) -> int:
    """Return where the candle begins that a timestamp lies in, counted from 1970.

    Weeks begin on Monday.
    """
    origin_ns = -3 * DAY_NS if timeframe.startswith("W") else 0
    return timestamp_ns - (timestamp_ns - origin_ns) % timeframe_ns(timeframe)
