"""What the parts of the reference share: series names, lengths and ages, and errors.

Owns the order of the series and the lengths, ages and grids that a request spells.  Opens
no file.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from omega_slices._model.request import Request
from omega_slices._model.times import timeframe_ns
from omega_slices.errors import OmegaSlicesError, RequestError

DAY_NS: Final = 86_400 * 10**9
NS_MIN: Final = -(2**63)
NS_MAX: Final = 2**63 - 1
ALL: Final = (NS_MIN, NS_MAX)
_WEEK_ORIGIN_NS: Final = -3 * DAY_NS  # 1970-01-01 was a Thursday; its week began on Monday 1969-12-29

_NS_PER_AGE_UNIT: Final = {
    unit: seconds * 10**9 for unit, seconds in (("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800))
}


class SeriesName(NamedTuple):
    """Which series; the one of a symbol's indicators has no price type."""

    symbol: str
    timeframe: str
    side: str | None

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.side or 'indicators'}"


def primary_names(request: Request, symbols: tuple[str, ...]) -> list[SeriesName]:
    """Return the series that shape the timeline."""
    return [SeriesName(symbol, request.timeframe, side) for symbol in symbols for side in request.price_types]


def series_names(request: Request, symbols: tuple[str, ...]) -> list[SeriesName]:
    """Return all series, in the order in which everything is done to them."""
    names = primary_names(request, symbols)
    for timeframe, _ in higher_timeframes_of(request):
        names += [SeriesName(symbol, timeframe, side) for symbol in symbols for side in request.price_types]
    if request.indicators:
        names += [SeriesName(symbol, request.timeframe, None) for symbol in symbols]
    return names


def higher_timeframes_of(request: Request) -> list[tuple[str, int | None]]:
    """Return the higher timeframes, each with its largest age, if there is one."""
    found: list[tuple[str, int | None]] = []
    for text in request.with_timeframe:
        timeframe, _, age = text.partition(":max-age=")
        found.append((timeframe, age_ns(age, timeframe) if age else None))
    return found


def age_ns(text: str, timeframe: str) -> int:
    """Return an age in nanoseconds; its bars are those of a timeframe."""
    count = re.match("[0-9]+", text)
    assert count, f"the request let the age {text!r} pass"
    unit = text[count.end() :]
    return int(count[0]) * (timeframe_ns(timeframe) if unit in ("bar", "bars") else _NS_PER_AGE_UNIT[unit])


def first_ns(request: Request) -> int | None:
    """Return the first timestamp that a slice may have."""
    if request.start is None or not request.normalize:
        return request.start
    return floor_ns(request.start, request.timeframe)


def floor_ns(timestamp_ns: int, timeframe: str) -> int:
    """Return where the candle begins that a timestamp lies in, counted from 1970.

    Weeks begin on Monday.
    """
    origin_ns = _WEEK_ORIGIN_NS if timeframe.startswith("W") else 0
    return timestamp_ns - (timestamp_ns - origin_ns) % timeframe_ns(timeframe)


def days_of(timeframe: str) -> int | None:
    """Return how many days a timeframe has; None where it is not a whole number of days."""
    days, rest = divmod(timeframe_ns(timeframe), DAY_NS)
    return None if rest else days


def contradiction(name: SeriesName, path: str, what: str, listed: object, asked: object) -> OmegaSlicesError:
    """Return the error where a request contradicts the list of inputs."""
    message = f"the list of inputs and the request differ in {what}: {listed!r} and {asked!r}"
    return wrong(RequestError, message, "leave it out of the request, or of the list", name, path)


def wrong(
    error: type[OmegaSlicesError],
    message: str,
    hint: str,
    series: SeriesName | None,
    file: str | None,
    row: int | None = None,
    column: str | None = None,
) -> OmegaSlicesError:
    """Make an error whose message says where it is."""
    symbol, side = (None, None) if series is None else (series.symbol, series.side)
    about = {"file": file, "symbol": symbol, "price type": side, "row": row, "column": column}
    place = ", ".join(f"{what} {value}" for what, value in about.items() if value is not None)
    message = f"{message} ({place})" if place else message
    return error(message, hint=hint, file=file, symbol=symbol, price_type=side, row=row, column=column)
