"""Times as text and as nanoseconds: points in time, timeframes and ages.

Owns the grammar of each and its limits.  All times are nanoseconds since
1970-01-01T00:00Z, UTC.  Knows nothing of requests.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from operator import index
from typing import Final, NamedTuple

import numpy as np

from omega_slices.errors import RequestError, TimeframeNotFoundError

TimeLike = str | datetime | date | int | np.datetime64
"""What may stand for a point in time: text, datetime, date, or nanoseconds since 1970 (UTC)."""

NS_MIN: Final = -(2**63)
NS_MAX: Final = 2**63 - 1
_NS_PER_SECOND: Final = 1_000_000_000

_NS_PER_UNIT: Final = {
    "S": _NS_PER_SECOND,
    "M": 60 * _NS_PER_SECOND,
    "H": 3_600 * _NS_PER_SECOND,
    "D": 86_400 * _NS_PER_SECOND,
    "W": 7 * 86_400 * _NS_PER_SECOND,
}

DAY_NS: Final = _NS_PER_UNIT["D"]
_FIRST_MONDAY_NS: Final = -3 * DAY_NS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMEFRAME: Final = re.compile(r"([SMHDW])([1-9][0-9]*)")
_SPELLED_TIMEFRAME: Final = re.compile(r"([1-9][0-9]*)([smhdw])")
_AGE: Final = re.compile(r"([1-9][0-9]*)(s|m|h|d|w|bars?)")

_TIME: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<clock>[0-9]{2}:[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


class HigherTimeframe(NamedTuple):
    """One text of `Request.with_timeframe`, read.

    Attributes
    ----------
    timeframe : str
        Its name, which is the prefix of its columns.
    timeframe_ns : int
        Its length in nanoseconds.
    max_age_ns : int or None
        How old the latest complete candle may be, from its timestamp to that of the
        slice, in nanoseconds; None for any age.
    """

    timeframe: str
    timeframe_ns: int
    max_age_ns: int | None


def candle_begin_ns(timestamp_ns: int, timeframe: str) -> int:
    """Return when the candle begins that a timestamp lies in, nanoseconds since 1970.

    Candles begin at multiples of the timeframe, counted from 1970; those of weeks from the Monday
    before.

    Examples
    --------
    >>> candle_begin_ns(90 * 10**9, "M1") // 10**9, candle_begin_ns(0, "W1") // DAY_NS
    (60, -3)
    """
    origin_ns = _FIRST_MONDAY_NS if timeframe.startswith("W") else 0
    return timestamp_ns - (timestamp_ns - origin_ns) % timeframe_ns(timeframe)


def timeframe_ns(timeframe: str) -> int:
    """Return a timeframe's length in nanoseconds.

    Parameters
    ----------
    timeframe : str
        A letter of ``SMHDW`` and a positive integer.

    Returns
    -------
    int

    Raises
    ------
    TimeframeNotFoundError
        It is not a timeframe, or longer than 64 bits of nanoseconds hold.

    Examples
    --------
    >>> timeframe_ns("H4") // timeframe_ns("S10")
    1440
    """
    match = _TIMEFRAME.fullmatch(timeframe) if isinstance(timeframe, str) else None
    if match is None:
        raise TimeframeNotFoundError(
            f"invalid timeframe {timeframe!r}: expected a unit and a positive number, such as M5 or 5m",
            hint="write it as S10, M1, H4, D1, W1 or as 10s, 1m, 4h, 1d, 1w; months are no timeframe",
        )
    unit, count = match.groups()
    # Nineteen digits already exceed 64 bits of nanoseconds; int() refuses thousands of them.
    length_ns = int(count) * _NS_PER_UNIT[unit] if len(count) < 19 else NS_MAX + 1
    if length_ns > NS_MAX:
        raise TimeframeNotFoundError(
            f"the timeframe {timeframe!r} is too long", hint="the longest one is below 292 years"
        )
    return length_ns


def canonical_timeframe(timeframe: str) -> str:
    """Return the name of a timeframe that may be spelled in the other way.

    Parameters
    ----------
    timeframe : str
        As in `timeframe_ns`, or a positive integer and a letter of ``smhdw``.

    Returns
    -------
    str
        A letter of ``SMHDW`` and the integer; any other text as it is.

    Examples
    --------
    >>> canonical_timeframe("4h"), canonical_timeframe("M1"), canonical_timeframe("1M")
    ('H4', 'M1', '1M')
    """
    match = _SPELLED_TIMEFRAME.fullmatch(timeframe) if isinstance(timeframe, str) else None
    return timeframe if match is None else f"{match[2].upper()}{match[1]}"


def canonical_higher_timeframe(text: str) -> str:
    """Return a text of `with_timeframe` with the name of its timeframe; any other text as it is.

    Examples
    --------
    >>> canonical_higher_timeframe("1h:max-age=1d")
    'H1:max-age=1d'
    """
    name, colon, rest = text.partition(":") if isinstance(text, str) else (text, "", "")
    return f"{canonical_timeframe(name)}{colon}{rest}" if colon else canonical_timeframe(name)


def age_ns(text: str, timeframe_ns: int, what: str = "max_age") -> int:
    """Return an age in nanoseconds.

    Parameters
    ----------
    text : str
        A positive integer and a unit: ``s``, ``m``, ``h``, ``d``, ``w``, ``bars`` or ``bar``.
    timeframe_ns : int
        The length of one bar in nanoseconds.
    what : str
        The option's name, for the error.

    Returns
    -------
    int

    Raises
    ------
    RequestError
        It is not an age, or longer than 64 bits of nanoseconds hold.

    Examples
    --------
    >>> age_ns("15m", 1), age_ns("5bars", 60_000_000_000)
    (900000000000, 300000000000)
    """
    match = _AGE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise RequestError(
            f"invalid {what}={text!r}: expected an age",
            hint="an age is a positive integer and s, m, h, d, w or bars, such as 15m, 2h, 3d, 5bars",
        )
    count, unit = match.groups()
    unit_ns = timeframe_ns if unit.startswith("bar") else _NS_PER_UNIT[unit.upper()]
    length_ns = int(count) * unit_ns if len(count) < 20 else NS_MAX + 1
    if length_ns > NS_MAX:
        raise RequestError(f"{what}={text!r} is too long", hint="the longest age is below 292 years")
    return length_ns


def parse_higher_timeframe(text: str) -> HigherTimeframe:
    """Read one text of `Request.with_timeframe`.

    Raises
    ------
    TimeframeNotFoundError
        It does not start with a timeframe.
    RequestError
        What follows is no ``:max-age=`` with an age.

    Examples
    --------
    >>> parse_higher_timeframe("H1:max-age=2bars")
    HigherTimeframe(timeframe='H1', timeframe_ns=3600000000000, max_age_ns=7200000000000)
    """
    if isinstance(text, str) and "," in text:
        raise RequestError(
            f"invalid with_timeframe={text!r}: expected one timeframe",
            hint=f"write with_timeframe={[part.strip() for part in text.split(',')]!r}",
        )
    name, colon, rest = text.partition(":") if isinstance(text, str) else (text, "", "")
    length_ns = timeframe_ns(name)
    if not colon:
        return HigherTimeframe(name, length_ns, None)
    option, _, age = rest.partition("=")
    if option != "max-age":
        raise RequestError(
            f"invalid with_timeframe={text!r}: expected a timeframe, and at most an age after it",
            hint=f"write {name} or {name}:max-age=1d",
        )
    return HigherTimeframe(name, length_ns, age_ns(age, length_ns, f"the max-age of {name}"))


def parse_time_ns(value: TimeLike, what: str) -> int:
    """Return a point in time as nanoseconds since 1970-01-01T00:00Z.

    Parameters
    ----------
    value : str, datetime, date, numpy.datetime64 or int
        A text is a date, or a date and a time of day with `T` or a blank between them.
        Seconds, a fraction of up to nine digits, and a zone (``Z``, ``+05:30``) may
        follow.  Text and datetimes without a zone are UTC, a date is its midnight, an
        integer is taken as it is.  The nanoseconds of a pandas timestamp are kept.
    what : str
        The option's name, for the error.

    Returns
    -------
    int

    Raises
    ------
    RequestError
        No point in time, or one that 64 bits of nanoseconds do not hold.

    Examples
    --------
    >>> parse_time_ns("1970-01-01 01:00:00.000000001+01:00", "start")
    1
    """
    match value:
        case str():
            timestamp_ns = _text_to_ns(value, what)
        case datetime():
            try:
                timestamp_ns = _datetime_to_ns(value)
            except ValueError:  # pandas.NaT is a datetime, but no time
                raise _no_time(what, value) from None
        case date():
            timestamp_ns = _datetime_to_ns(datetime(value.year, value.month, value.day, tzinfo=UTC))
        case np.datetime64():
            timestamp_ns = _datetime64_to_ns(value, what)
        case bool():
            raise _no_time(what, value)
        case _:
            try:
                timestamp_ns = index(value)
            except TypeError:
                raise _no_time(what, value) from None
    if not NS_MIN <= timestamp_ns <= NS_MAX:
        raise RequestError(
            f"{what}={value!r} is out of range", hint="64 bits of nanoseconds reach from 1677-09-21 to 2262-04-11"
        )
    return timestamp_ns


def format_time_ns(timestamp_ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 text with nine digits, UTC.

    Examples
    --------
    >>> format_time_ns(1)
    '1970-01-01T00:00:00.000000001Z'
    """
    seconds, nanoseconds = divmod(timestamp_ns, _NS_PER_SECOND)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"


def _text_to_ns(text: str, what: str) -> int:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise _no_time(what, text)
    zone = match["zone"]
    offset = UTC
    try:
        if zone is not None and zone not in "Zz":
            minutes = int(zone[1:3]) * 60 + int(zone[-2:])
            if int(zone[-2:]) > 59:
                raise _no_time(what, text)
            offset = timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))
        moment = datetime.strptime(
            f"{match['day']} {match['clock'] or '00:00'}:{match['second'] or '00'}", "%Y-%m-%d %H:%M:%S"
        ).replace(tzinfo=offset)
    except ValueError:
        raise _no_time(what, text) from None
    return _datetime_to_ns(moment) + int((match["fraction"] or "0").ljust(9, "0"))


def _datetime_to_ns(moment: datetime) -> int:
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - _EPOCH
    whole_ns = (since.days * 86_400 + since.seconds) * _NS_PER_SECOND + since.microseconds * 1_000
    # pandas.Timestamp is a datetime; its differences carry nanoseconds of their own.
    return whole_ns + int(getattr(since, "nanoseconds", 0))


def _datetime64_to_ns(value: np.datetime64, what: str) -> int:
    # Conversion wraps around where 64 bits do not suffice, and then does not come back as it went.
    converted = value.astype("datetime64[ns]")
    if np.isnat(value) or converted.astype(value.dtype) != value:
        raise _no_time(what, value)
    return int(converted.astype(np.int64))


def _no_time(what: str, value: object) -> RequestError:
    return RequestError(
        f"invalid {what}={value!r}: expected a point in time",
        hint="give an RFC 3339 text such as 2024-01-02T00:00:00Z, a date, a datetime, or nanoseconds since 1970",
    )


def age_text(age: timedelta) -> str:
    """Return a timedelta as the text of an age."""
    # pandas.Timedelta is a timedelta, with nanoseconds of its own.
    whole = age.microseconds == 0 and not getattr(age, "nanoseconds", 0)
    if age <= timedelta(0) or not whole:
        raise RequestError(
            f"invalid max_age={age!r}: expected a positive number of whole seconds",
            hint="give a timedelta of whole seconds, or a text such as 15m, 2h, 3d, 5bars",
        )
    return f"{age.days * 86_400 + age.seconds}s"
