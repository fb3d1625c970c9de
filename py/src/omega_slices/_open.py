"""Opening a stream: the options of a request, and who answers it.

Owns `open_slices`, the choice of the backend and what it falls back to.  Guarantees that
the plain implementation stands in for the executable only where nobody asked for that one
and there is none, and says so.  Leaves the stream itself to `_stream`.
"""

from __future__ import annotations

import os
import warnings
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from omega_slices._binary import binary_override, find_binary
from omega_slices._inputs import inputs_of
from omega_slices._monitor import StreamMonitor, logger
from omega_slices._request import checked_count, default_data, make_request
from omega_slices._shadow import ShadowSource
from omega_slices._sources import BinarySource, Cache, CachedSource, Permissions, ReferenceSource, reference_range_ns
from omega_slices._stream import SliceStream
from omega_slices._times import TimeLike
from omega_slices.errors import BackendUnavailableError, RequestError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from omega_slices._monitor import StreamMetrics
    from omega_slices._request import Request
    from omega_slices._sources import Source

Backend = Literal["auto", "rust", "python", "shadow"]

BACKEND_VARIABLE: Final = "OMEGA_USE_RUST_MULTI_SYMBOL"
SAMPLE_VARIABLE: Final = "OMEGA_SLICES_SHADOW_SAMPLE"

# From `_find_binary` up to the line that calls `open_slices`.
_CALLER_OF_OPEN_SLICES: Final = 4

_BACKEND_BY_VARIABLE: Final[dict[str, Backend]] = {
    "auto": "auto",
    "true": "rust",
    "1": "rust",
    "false": "python",
    "0": "python",
    "shadow": "shadow",
}


def open_slices(
    data: str | os.PathLike[str] | None = None,
    *,
    symbols: Iterable[str] | None = None,
    timeframe: str = "M1",
    price_types: Iterable[str] = ("bid", "ask"),
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    timeline: str = "intersection",
    session: str = "none",
    normalize: bool = False,
    unsorted: str = "sort",
    duplicates: str | None = None,
    path_template: str | None = None,
    columns: Mapping[str, str] | None = None,
    fill: str = "none",
    max_age: str | timedelta | None = None,
    with_timeframe: str | Iterable[str] = (),
    known_at: str = "open",
    session_file: str | os.PathLike[str] | None = None,
    indicators: Iterable[str] = (),
    indicator_template: str | None = None,
    inputs: str | os.PathLike[str] | None = None,
    symbol_pattern: str | None = None,
    one_instrument: bool = False,
    timestamp_unit: str | None = None,
    zone: str | None = None,
    ambiguous: str = "error",
    stamped: str = "open",
    days: str | None = None,
    strict: bool = False,
    follow_links: bool = False,
    threads: int | None = None,
    backend: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_size: str | int | None = None,
    shadow_sample: float | None = None,
    metrics_hook: Callable[[StreamMetrics], object] | None = None,
) -> SliceStream:
    """Open a stream of synchronised slices.

    The slices are the same whichever backend makes them.  Returns as soon as the
    stream's schema is there, so whatever is wrong from the start (a missing symbol, an
    unreadable file) is raised here.

    Parameters
    ----------
    data : str or path, optional
        The root folder of the input.  By default the environment variable
        `OMEGA_DATA_PARQUET_ROOT`, else ``data/parquet``.
    symbols : iterable of str, optional
        In the order wanted; by default every symbol under the root that has a file of
        the timeframe, in name order.
    timeframe : str
        How long the candles in the files are: a letter of ``SMHDW`` and a positive
        integer, such as ``"M1"``; ``"1m"``, ``"4h"``, ``"1d"`` will do too.  Nothing is
        resampled.
    price_types : iterable of str
        Some of ``"bid"``, ``"ask"``, ``"trade"``.
    start, end : str, datetime, date or int, optional
        The window, both ends inclusive.  An RFC 3339 text, a date (its midnight), a
        datetime, or nanoseconds since 1970; without a zone UTC.
    timeline : str
        Which timestamps get a slice: ``"intersection"``, those of all series;
        ``"union"``, those of any; ``"leader:SYMBOL"``, those at which that symbol has
        every price type; ``"quorum:K"``, those at which at least K symbols have every
        price type.  Only candles of the primary timeframe count, and none that is
        carried.
    session : str
        Which rows to keep: with ``"none"`` all; with ``"fx"`` those of the FX trading
        week, which is Monday 07:00 (included) to Saturday 07:00 (excluded) in Sydney,
        and for timeframes of a day or more all but those stamped Saturday or Sunday
        (UTC) and placeholders (volume 0 and open = high = low = close).  Any other name
        is that of a market calendar of pandas_market_calendars, such as ``"NYSE"``,
        ``"JPX"``, ``"CME_Equity"``: rows stamped within its sessions, open included,
        close excluded, without its breaks; where `timeframe` is a day or more, rows
        stamped on the UTC days that its sessions are dated.  Calendars need
        ``pip install "omega-slices[calendars]"``, and go with no further timeframe of a
        day or more where `timeframe` is shorter.
    normalize : bool
        Floor timestamps to the timeframe (weeks from Monday).  Rows that then share a
        timestamp are duplicates; nothing is aggregated.
    unsorted : {"sort", "error"}
        Sort rows that are out of order, with a warning, or refuse them.
    duplicates : {"last", "first", "identical", "error"}, optional
        Which row of a timestamp counts, if several may, in the order of the files' names;
        with ``"identical"`` equal rows are one candle, and others an error.  By default
        the last one, with a warning where the rows differ.
    path_template : str, optional
        Where the files are, with the fields ``{root}``, ``{symbol}``, ``{timeframe}``,
        ``{side}``, ``{SIDE}`` and ``*`` (any text within a name: all files that match are
        one series); by default
        ``{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet``.
    columns : mapping of str to str, optional
        Names of the input's columns by ``timestamp``, ``open``, ``high``, ``low``,
        ``close``, ``volume``, where they are not ``UTC time``, ``Open``, ``High``,
        ``Low``, ``Close``, ``Volume``.
    fill : {"none", "forward"}
        Show candles only where they are stamped, or show a series that has no candle at
        a slice with its latest earlier one, up to `max_age`; also one from before
        `start`.  Every candle keeps its own timestamp; see `SymbolSnapshot.is_carried`.
    max_age : str or timedelta, optional
        How old such a candle may be, from its timestamp to that of the slice: a positive
        integer and a unit, ``s``, ``m``, ``h``, ``d``, ``w`` or ``bars`` (of
        `timeframe`), as in ``"15m"``, ``"5bars"``; or a timedelta of whole seconds.
        Required with ``fill="forward"``.
    with_timeframe : str or iterable of str
        Further timeframes, none by default: ``"H1"``, or with an age limit as in
        `max_age`, ``"H1:max-age=1d"`` (bars are then those of H1).  Each slice also shows
        each series' latest candle of it that is complete.  Read from files of their own;
        none may be shorter than `timeframe`.
    known_at : {"open", "close"}
        When such a candle must be complete: when the slice's own candles open (at its
        timestamp), or when they close (one `timeframe` later).
    session_file : str or path, optional
        A Parquet or CSV file with the columns ``open`` and ``close``, UTC: rows with
        open <= timestamp < close are kept, whatever the timeframe.  In place of
        `session`.
    indicators : iterable of str
        Columns of a file per symbol, joined on the exact timestamp; none by default.
        They never make a slice.
    indicator_template : str, optional
        Where these files are, with the fields ``{root}``, ``{symbol}``, ``{timeframe}``
        and ``*``; by default ``{root}/{symbol}/{symbol}_{timeframe}_IND.parquet``.
    inputs : str or path, optional
        A JSON file that lists the files of every series, as `list_inputs` makes it.  In
        place of `data`, `path_template` and `indicator_template`.
    symbol_pattern : str, optional
        A regular expression for the whole name of a symbol, such as ``"[A-Z]{6}"``: other
        names are no symbols.  Without look-around and references.
    one_instrument : bool
        Take the files of a series as sound although a column (``ticker``,
        ``instrument_id``, …) names several instruments, which is an error by default.
    timestamp_unit : {"s", "ms", "us", "ns", "magnitude"}, optional
        The unit of timestamps that are integers, which without it are an error;
        ``"magnitude"`` finds it for each file, for dates from 1990 to 2100.
    zone : str, optional
        The IANA time zone, such as ``"Europe/Paris"``, in which timestamps and texts
        without a zone are wall-clock times; by default UTC.  Of a column of UTC instants
        it says in which zone its days are.
    ambiguous : {"error", "infer", "earlier", "later"}
        What a wall-clock time means that happens twice when the clocks go back.  With
        ``"infer"``, the second pass begins where the wall clock steps back.  Needs `zone`.
    stamped : {"open", "close"}
        Whether the input stamps its candles when they open or when they close.  With
        ``"close"``, every timestamp is moved one timeframe back.
    days : {"utc", "local"}, optional
        What a candle of whole days is stamped with: ``"utc"``, its own timestamp;
        ``"local"``, the midnight UTC of the date on which its middle lies in its zone.
        By default as ``"utc"``, with a warning or an error where that looks wrong.
    strict : bool
        Raise an error, before the stream ends, in the place of the first warning.  A
        permission; the slices are the same.
    follow_links : bool
        Whether links may lead out of the root folder.  By default, what the name of a
        symbol, another field or ``*`` adds to a path has to stay, links followed, in the
        folder that stands before it in the template.  A permission; the slices are the same.
    threads : int, optional
        Threads that decode the input; by default as many as there are cores.  The
        `python` backend has one.
    backend : {"auto", "rust", "python", "shadow"}, optional
        Who does the work: the executable, or the plain implementation in this package.
        ``"auto"`` is the executable, and the plain implementation only where there is no
        executable, with a `UserWarning` and the same text in the log.  ``"shadow"`` is both: the slices of
        the executable, each given only after the plain implementation made the same one.
        By default the environment variable `OMEGA_USE_RUST_MULTI_SYMBOL` (``auto``;
        ``true``, ``1``; ``false``, ``0``; ``shadow``), else ``"auto"``.
    cache : str or path, optional
        A folder in which the executable keeps the slices of each request as a file, and
        from which it takes them when they are asked for again and no input has changed.
        The first time, this returns when all slices are there; from then on at once.
        Several processes may share it.  Not for the `python` backend.
    cache_size : str or int, optional
        What the files in `cache` may take together: a number of bytes, or a text such as
        ``"500MB"``, ``"20GiB"``.  Beyond it, those not used for longest are removed.  By
        default that of the executable.
    shadow_sample : float, optional
        Which part of the slices ``"shadow"`` compares, above 0 and up to 1: stretches of
        them, evenly spread, the first included.  By default the environment variable
        `OMEGA_SLICES_SHADOW_SAMPLE`, else 1: all of them.
    metrics_hook : callable, optional
        Called with the `StreamMetrics` so far after every batch and at the stream's end,
        in the thread that reads; to hand them to a metrics system.  Where it raises, that
        is logged, and it is not called again.

    Returns
    -------
    SliceStream

    Raises
    ------
    RequestError
        The request contradicts itself or holds an unknown option.
    SymbolNotFoundError, TimeframeNotFoundError, InvalidPriceTypeError
        What is asked for is not there, or cannot be.
    AmbiguousInputError, UnsupportedInputError
        The input can be read in two ways, or is of a kind that is not read.
    BackendUnavailableError
        There is no executable, and ``"auto"`` was not asked for.
    DivergenceError
        With ``"shadow"``, on reaching the first slice that the two do not agree on.
    OmegaSlicesError
        Any other class of this package, for input that cannot be read.

    Examples
    --------
    >>> from omega_slices import open_slices
    >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"], start="2024-01-02") as slices:
    ...     for s in slices:
    ...         print(s.timestamp.time(), s.get_price("EURUSD", "mid"), s["GBPUSD"].bid.close)
    00:00:00 1.625 2.5
    00:01:00 1.75 2.75

    Candles may be carried for a while, which they tell:

    >>> options = {"symbols": ["EURUSD", "GBPUSD"], "timeline": "union", "fill": "forward"}
    >>> with open_slices(data, **options, max_age="5bars") as slices:
    ...     for s in slices:
    ...         print(s.timestamp.time(), s["GBPUSD"].bid.timestamp.time(), s["GBPUSD"].is_carried)
    00:00:00 00:00:00 False
    00:01:00 00:01:00 False
    """
    chosen = _choose_backend(backend)
    sample = _shadow_sample(shadow_sample, chosen.backend)
    if metrics_hook is not None and not callable(metrics_hook):
        raise RequestError(f"metrics_hook={metrics_hook!r} cannot be called", hint="give a function of one argument")
    request = make_request(
        default_data() if data is None and inputs is None else data,
        symbols=symbols,
        timeframe=timeframe,
        price_types=price_types,
        start=start,
        end=end,
        timeline=timeline,
        session=session,
        normalize=normalize,
        unsorted=unsorted,
        duplicates=duplicates,
        path_template=path_template,
        columns=columns,
        fill=fill,
        max_age=max_age,
        with_timeframe=with_timeframe,
        known_at=known_at,
        session_file=session_file,
        indicators=indicators,
        indicator_template=indicator_template,
        inputs=inputs,
        symbol_pattern=symbol_pattern,
        one_instrument=one_instrument,
        timestamp_unit=timestamp_unit,
        zone=zone,
        ambiguous=ambiguous,
        stamped=stamped,
        days=days,
    )
    threads = None if threads is None else checked_count("threads", threads, 1)
    permissions = Permissions(follow_links=bool(follow_links), strict=bool(strict))
    means = _Means(threads, _cache(cache, cache_size), permissions, sample)
    answer = _find_answer(chosen, request, means)
    monitor = StreamMonitor(request, answer.backend, answer.reason, answer.executable, metrics_hook)
    try:
        source = answer.open(monitor)
        monitor.answered()
        return SliceStream(source, request, monitor)
    except BaseException as error:
        monitor.ended("failed", None, error)
        raise


class _Choice(NamedTuple):
    """A backend, what it was chosen by, and whether that is the code that asks."""

    backend: Backend
    reason: str
    by_argument: bool


def _choose_backend(backend: str | None) -> _Choice:
    if backend is None:
        # An empty variable counts as one that is not set.
        text = os.environ.get(BACKEND_VARIABLE)
        if not text:
            return _Choice("auto", "the default", by_argument=False)
        if text not in _BACKEND_BY_VARIABLE:
            raise RequestError(
                f"{BACKEND_VARIABLE}={text!r} is unknown", hint=f"set it to one of {', '.join(_BACKEND_BY_VARIABLE)}"
            )
        return _Choice(_BACKEND_BY_VARIABLE[text], f"{BACKEND_VARIABLE}={text}", by_argument=False)
    match backend:
        case "auto" | "rust" | "python" | "shadow":
            return _Choice(backend, f"backend={backend!r}", by_argument=True)
        case _:
            raise RequestError(f"backend={backend!r} is unknown", hint=f"choose one of {', '.join(get_args(Backend))}")


def _shadow_sample(given: float | None, backend: Backend) -> float:
    """Return which part of the slices is compared; the variable counts for shadow runs only."""
    if backend != "shadow":
        if given is None:
            return 1.0
        raise RequestError(f"shadow_sample={given!r} is given without backend='shadow'", hint="leave it out")
    text = os.environ.get(SAMPLE_VARIABLE) or "1"
    try:
        sample = float(text if given is None else given)
    except (TypeError, ValueError):
        sample = 0.0
    if not 0.0 < sample <= 1.0:
        what = f"{SAMPLE_VARIABLE}={text}" if given is None else f"shadow_sample={given!r}"
        raise RequestError(f"{what} is no number above 0 and up to 1", hint="give the share that is compared, as 0.05")
    return sample


def _cache(folder: str | os.PathLike[str] | None, size: str | int | None) -> Cache | None:
    if folder is None:
        if size is not None:
            raise RequestError("cache_size is given without a cache", hint="give cache= too, or leave both out")
        return None
    try:
        text = os.fsdecode(folder)
    except TypeError:
        text = ""
    if not text or "\0" in text:
        raise RequestError(f"cache={folder!r} is no path of a folder", hint="give the folder that keeps the files")
    if size is not None and not isinstance(size, str):
        size = str(checked_count("cache_size", size, 1))
    return Cache(text, size)


class _Means(NamedTuple):
    """How a request is answered, where that does not change the answer."""

    threads: int | None
    cache: Cache | None
    permissions: Permissions
    sample: float


class _Answer(NamedTuple):
    """Who answers a request and why, by which executable, and how to open it."""

    backend: str
    reason: str
    executable: str | None
    open: Callable[[StreamMonitor], Source]


def _find_answer(chosen: _Choice, request: Request, means: _Means) -> _Answer:
    threads, cache, permissions, sample = means
    if chosen.backend == "python" and cache is not None:
        if chosen.by_argument:
            raise RequestError(
                "backend='python' has no cache: the executable makes and keeps its files",
                hint="use backend='rust', or leave cache= out",
            )
        # Who switches back by the environment cannot change the code as well.
        logger.warning("%s does not use the cache %s", chosen.reason, printable(repr(cache.folder)))
    binary = _find_binary(chosen, cache)
    sessions = _sessions(request, binary, permissions)
    reference = partial(ReferenceSource, request, sessions, follow_links=permissions.follow_links)

    def plain(_monitor: StreamMonitor) -> Source:
        return reference(strict=permissions.strict)

    if binary is None:
        reason = chosen.reason if chosen.backend == "python" else f"{chosen.reason}, and there is no executable"
        return _Answer("python", reason, None, plain)

    def executable(_monitor: StreamMonitor) -> Source:
        if cache is not None:
            return CachedSource(binary, request, threads, sessions, cache, permissions)
        return BinarySource(binary, request, threads, sessions, permissions)

    def both(monitor: StreamMonitor) -> Source:
        return ShadowSource(
            executable(monitor),
            lambda part: reference(part=part),
            request,
            sample,
            monitor.compared,
            lambda: inputs_of(binary, request, permissions).paths,
        )

    if chosen.backend == "shadow":
        return _Answer("shadow", chosen.reason, str(binary), both)
    return _Answer("rust", chosen.reason, str(binary), executable)


def _find_binary(chosen: _Choice, cache: Cache | None) -> Path | None:
    """Return the executable; None where the plain implementation does the work."""
    if chosen.backend == "python":
        return None
    try:
        return find_binary()
    except BackendUnavailableError as error:
        # An executable that was named, but cannot be used, is a mistake to be told.
        if chosen.backend != "auto" or binary_override() is not None:
            raise
        unused = "" if cache is None else f" and does not use the cache {cache.folder!r}"
        text = printable(f"using the plain Python implementation, which is slow{unused}: {error.message}; {error.hint}")
        logger.warning("%s", text)
        # Beside the log, which many programs do not show.
        warnings.warn(text, UserWarning, stacklevel=_CALLER_OF_OPEN_SLICES)
        return None


def _sessions(request: Request, binary: Path | None, permissions: Permissions) -> Sequence[tuple[int, int]] | None:
    """Return the sessions of the request's market calendar, where it names one."""
    if request.calendar is None:
        return None
    # Imports pandas, which takes longer than many a run.
    from omega_slices._calendars import calendar_sessions  # noqa: PLC0415  # rarely needed

    if binary is None:
        return calendar_sessions(request, reference_range_ns(request, permissions))
    return calendar_sessions(request, inputs_of(binary, request, permissions).range_ns)
