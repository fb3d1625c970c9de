"""From series to slices in the reference: the timeline, and what each symbol shows.

Owns the answer to one request.  Reads no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from omega_slices._model.candle import CandleData
from omega_slices._model.report import RunReport, RunWarning
from omega_slices._model.request import Request
from omega_slices._model.times import timeframe_ns
from omega_slices._reference.files import all_files, check_places, resolve_symbols
from omega_slices._reference.options import (
    ALL,
    SeriesName,
    age_ns,
    days_of,
    first_ns,
    higher_timeframes_of,
    primary_names,
)
from omega_slices._reference.series import Series, read_series, stamp_range
from omega_slices._reference.sessions import read_sessions
from omega_slices._reference.time import smallest_offset_ns
from omega_slices.errors import OmegaSlicesError, RequestError

__all__ = ["ReferenceCell", "ReferenceRun", "open_reference", "timestamp_range"]


class ReferenceCell(NamedTuple):
    """What one symbol shows in one slice.

    Attributes
    ----------
    candles : dict of str to CandleData, or None
        By price type.  A candle has its own timestamp; a carried one is earlier.
    further : dict of str to dict
        By higher timeframe, then by price type: the latest complete candle, or None.
    indicators : dict of str to float, or None
        By name; None where the symbol has no row at the slice's timestamp.

    Examples
    --------
    >>> from omega_slices import Request
    >>> from omega_slices.reference import open_reference
    >>> run = open_reference(Request(data=str(data), symbols=("EURUSD",)))
    >>> [cells[0].candles["bid"].close for _, cells in run]
    [1.5, 1.625]
    """

    candles: dict[str, CandleData | None]
    further: dict[str, dict[str, CandleData | None]]
    indicators: dict[str, float | None]


class ReferenceRun:
    """The answer to one request, complete when the object is made.

    Iterating gives `(timestamp_ns, cells)`, timestamps strictly increasing; `cells` has one
    `ReferenceCell` per symbol, in the order of `symbols`.  It can be iterated any number of
    times.

    Attributes
    ----------
    symbols : tuple of str
        In the order of the cells.
    known_after_ns : int or None
        How long after a slice's timestamp its candles are complete, in nanoseconds, where the
        primary timeframe has local days; None where it is the timeframe.

    Examples
    --------
    >>> from omega_slices import Request
    >>> from omega_slices.reference import open_reference
    >>> run = open_reference(Request(data=str(data), symbols=("EURUSD",)))
    >>> run.symbols, len(list(run)), run.known_after_ns
    (('EURUSD',), 2, None)
    """

    def __init__(
        self, request: Request, symbols: tuple[str, ...], series: dict[SeriesName, Series], part: tuple[int, int] = ALL
    ) -> None:
        self.symbols = symbols
        self._request = request
        self._series = series
        primary = [series[name] for name in primary_names(request, symbols)]
        self.known_after_ns = _known_after_ns(request, primary)
        timestamps = {one.name: _timeline_stamps(request, one) for one in primary}
        whole = _timeline(request, symbols, timestamps)
        self._timeline = [stamp_ns for stamp_ns in whole if part[0] <= stamp_ns <= part[1]]
        self._warnings = [warning for one in series.values() for warning in one.warnings]
        empty = [one for one in series.values() if one.name not in timestamps and not one.values]
        if empty:
            message = f"no candles within window and session: {', '.join(str(one.name) for one in empty)}"
            self._warnings.append(RunWarning("EMPTY_SERIES", message))
        if not self._timeline:
            self._warnings.append(_empty_timeline(request, timestamps))

    def __iter__(self) -> Iterator[tuple[int, list[ReferenceCell]]]:
        """Yield the slices."""
        for timestamp_ns in self._timeline:
            yield timestamp_ns, [self._cell(symbol, timestamp_ns) for symbol in self.symbols]

    def report(self) -> RunReport:
        """Return what the run says about itself; there are no batches here.

        Examples
        --------
        >>> from omega_slices import Request
        >>> from omega_slices.reference import open_reference
        >>> run = open_reference(Request(data=str(data), symbols=("EURUSD",)))
        >>> run.report().slices, run.report().complete
        (2, True)
        """
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
                side: _candle_at(request, self._series[SeriesName(symbol, request.timeframe, side)], timestamp_ns)
                for side in sides
            },
            further={
                timeframe: {
                    side: self._complete_candle_at(SeriesName(symbol, timeframe, side), timestamp_ns, oldest_ns)
                    for side in sides
                }
                for timeframe, oldest_ns in higher_timeframes_of(request)
            },
            indicators=self._indicators_at(symbol, timestamp_ns),
        )

    def _complete_candle_at(self, name: SeriesName, timestamp_ns: int, oldest_ns: int | None) -> CandleData | None:
        """Return the candle of a higher timeframe that a slice shows.

        The latest that is complete.
        """
        known_ns = timestamp_ns
        if self._request.known_at == "close":
            known_ns += self.known_after_ns or timeframe_ns(self._request.timeframe)
        found = self._series[name].complete(known_ns)
        if found is None:
            return None
        candle, end_ns = found
        age_ns = timestamp_ns - (end_ns - timeframe_ns(name.timeframe))
        return candle if oldest_ns is None or age_ns <= oldest_ns else None

    def _indicators_at(self, symbol: str, timestamp_ns: int) -> dict[str, float | None]:
        names = self._request.indicators
        if not names:
            return {}
        values = self._series[SeriesName(symbol, self._request.timeframe, None)].values.get(timestamp_ns)
        return dict.fromkeys(names) if values is None else dict(zip(names, values, strict=True))


def open_reference(
    request: Request,
    sessions: Sequence[tuple[int, int]] | None = None,
    *,
    follow_links: bool = False,
    part: tuple[int, int] = ALL,
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
        price type, those of higher timeframes after them, indicators last.

    Examples
    --------
    >>> from omega_slices import Request
    >>> from omega_slices.reference import open_reference
    >>> run = open_reference(Request(data=str(data), symbols=("EURUSD",)))
    >>> [timestamp_ns for timestamp_ns, _ in run][0]
    1704153600000000000
    """
    if request.session_file is not None:
        sessions = read_sessions(request.session_file)
    elif sessions is not None:
        sessions = sorted(sessions)
    elif request.session not in ("none", "fx"):
        raise RequestError(
            f"the sessions of the calendar {request.session!r} are not there", hint="give them, or use open_slices"
        )
    symbols = resolve_symbols(request)
    files = all_files(request, symbols)
    series = {}
    for name, listed in files.items():
        check_places(request, name, listed, follow_links=follow_links)
        series[name] = read_series(request, name, listed, sessions, part)
    return ReferenceRun(request, symbols, series, part)


def series_errors(request: Request) -> list[OmegaSlicesError]:
    """Return the errors of a request's series, each read by itself, in their order.

    A run raises the first of several; another implementation may come to another one first.

    Parameters
    ----------
    request : Request
        One whose session is none, fx, or a file.

    Raises
    ------
    OmegaSlicesError
        The session file cannot be read, or a file is missing.
    """
    sessions = None if request.session_file is None else read_sessions(request.session_file)
    found: list[OmegaSlicesError] = []
    for name, files in all_files(request, resolve_symbols(request)).items():
        try:
            read_series(request, name, files, sessions)
        except OmegaSlicesError as error:
            found.append(error)
    return found


def timestamp_range(request: Request, *, follow_links: bool = False) -> tuple[int, int] | None:
    """Return the smallest and the largest timestamp of all rows of a request's files.

    They are those that window and sessions look at.  An hour that the clocks show twice
    counts with both of its passes.

    Parameters
    ----------
    request : Request
    follow_links : bool
        As in `open_reference`.

    Returns
    -------
    tuple of (int, int), or None
        Nanoseconds since 1970, cut to 64 bits; None where there is no row.

    Raises
    ------
    OmegaSlicesError
        A series has no file, or a file cannot be read.

    Examples
    --------
    >>> from omega_slices import Request
    >>> from omega_slices.reference import timestamp_range
    >>> first_ns, last_ns = timestamp_range(Request(data=str(data), symbols=("EURUSD",)))
    >>> last_ns - first_ns
    60000000000
    """
    edges: list[int] = []
    for name, files in all_files(request, resolve_symbols(request)).items():
        check_places(request, name, files, follow_links=follow_links)
        edges += stamp_range(request, name, files) or ()
    return (min(edges), max(edges)) if edges else None


# --- Series to slices --------------------------------------------------------------------


def _timeline_stamps(request: Request, series: Series) -> set[int]:
    """Return the timestamps with which a primary series shapes the timeline.

    The lead-in shapes nothing.
    """
    earliest_ns = first_ns(request)
    return {stamp_ns for stamp_ns in series.timestamps_ns if earliest_ns is None or stamp_ns >= earliest_ns}


def _timeline(request: Request, symbols: tuple[str, ...], timestamps: dict[SeriesName, set[int]]) -> list[int]:
    complete = {
        symbol: set.intersection(
            *(timestamps[SeriesName(symbol, request.timeframe, side)] for side in request.price_types)
        )
        for symbol in symbols
    }
    rule, _, rest = request.timeline.partition(":")
    if rule == "intersection":
        return sorted(set.intersection(*timestamps.values()))
    if rule == "union":
        return sorted(set.union(*timestamps.values()))
    if rule == "leader":
        return sorted(complete[rest])
    counts = Counter(stamp_ns for one in complete.values() for stamp_ns in one)
    return sorted(stamp_ns for stamp_ns, count in counts.items() if count >= int(rest))


def _empty_timeline(request: Request, timestamps: dict[SeriesName, set[int]]) -> RunWarning:
    """Name the fewest series that explain why no timestamp is left."""
    rule, _, rest = request.timeline.partition(":")
    timestamps = {name: one for name, one in timestamps.items() if rule != "leader" or name.symbol == rest}
    names = ", ".join(map(_short, timestamps))
    empty = [name for name, one in timestamps.items() if not one]
    apart = next(
        (pair for pair in combinations(timestamps, 2) if timestamps[pair[0]].isdisjoint(timestamps[pair[1]])), None
    )
    if rule == "quorum":
        reason = f"no timestamp has {rest} symbols with all their price types, of {names}"
    elif empty:
        reason = f"no candles remain of {', '.join(map(_short, empty))}"
    elif apart is not None:
        reason = f"{_short(apart[0])} and {_short(apart[1])} share no timestamp"
    else:
        reason = f"no timestamp is shared by all of {names}"
    return RunWarning("EMPTY_TIMELINE", f"the timeline is empty: {reason}")


def _short(name: SeriesName) -> str:
    return f"{name.symbol} {name.side}"


def _candle_at(request: Request, series: Series, timestamp_ns: int) -> CandleData | None:
    """Return the candle of the primary timeframe that a slice shows."""
    if request.fill == "none":
        return series.candle(timestamp_ns)
    assert request.max_age is not None
    candle = series.latest(timestamp_ns)
    if candle is None or timestamp_ns - candle.timestamp_ns > age_ns(request.max_age, request.timeframe):
        return None
    return candle


def _known_after_ns(request: Request, series: Sequence[Series]) -> int | None:
    """Return how long after its timestamp a local day is over in all zones of the series."""
    if request.days != "local" or days_of(request.timeframe) is None:
        return None
    offsets = [smallest_offset_ns(zone) for one in series for zone in one.zones]
    return timeframe_ns(request.timeframe) - min(offsets, default=0)
