"""Opening a stream.

Owns `open_slices`, the one place where every option has a line of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, cast

from omega_slices._backends.choice import (
    choose_backend,
    parse_cache_options,
    parse_memory_options,
    parse_shadow_sample,
)
from omega_slices._backends.resolve import resolve_backend
from omega_slices._calendars import check_calendar_of
from omega_slices._model.checks import checked_count, checked_permissions
from omega_slices._model.options import DEFAULT_EXECUTION, ExecutionOptions, Permissions, RequestOptions
from omega_slices._model.request_parser import default_root, make_request
from omega_slices._model.times import TimeLike
from omega_slices._monitor import StreamMonitor
from omega_slices._stream import SliceStream
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from omega_slices._backends.resolve import ResolvedBackend
    from omega_slices._model.options import Scale
    from omega_slices._model.request import Request
    from omega_slices._model.storage import StorageOptions
    from omega_slices._monitor import StreamMetrics

# The arguments that shape the slices; the others say how the work is done.
REQUEST_OPTIONS: Final = tuple(RequestOptions.__annotations__)


def open_slices(
    data: str | os.PathLike[str] | None = None,
    *,
    symbols: Iterable[str] | None = None,
    timeframe: str = "M1",
    price_types: Iterable[str] | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    timeline: str = "intersection",
    session: str = "none",
    normalize: bool = False,
    unsorted: str = "sort",
    duplicates: str | None = None,
    path_template: str | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
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
    ambiguous: str | None = None,
    stamped: str | Mapping[str, str] | None = None,
    days: str | None = None,
    fields: Iterable[str] | None = None,
    before: TimeLike | None = None,
    symbol_separator: str | None = None,
    rewrite: Iterable[str] = (),
    spell: Mapping[str, str] | None = None,
    price_scale: Scale | Mapping[str, Scale] | None = None,
    volume_scale: Scale | Mapping[str, Scale] | None = None,
    empty_rows: str | None = None,
    zones: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    layout: str | os.PathLike[str] | None = None,
    strict: bool = False,
    follow_links: bool = False,
    threads: int | None = None,
    memory: str | int | None = None,
    temp_dir: str | os.PathLike[str] | None = None,
    temp_limit: str | int | None = None,
    backend: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_size: str | int | None = None,
    shadow_sample: float | None = None,
    storage_options: Mapping[str, str] | None = None,
    metrics_hook: Callable[[StreamMetrics], object] | None = None,
) -> SliceStream:
    """Open a stream of synchronised slices.

    The slices are the same whichever backend makes them.  Returns as soon as the
    stream's schema is there, so whatever is wrong from the start (a missing symbol, an
    unreadable file) is raised here.

    Parameters
    ----------
    data : str or path, optional
        The root folder or URI of the input.  By default the environment variable
        `OMEGA_DATA_PARQUET_ROOT`, else ``data/parquet``.
    symbols : iterable of str, optional
        In the order wanted; by default every symbol under the root that has a file of
        the timeframe, in name order.
    timeframe : str
        How long the candles in the files are: a letter of ``SMHDW`` and a positive
        integer, such as ``"M1"``; or ``"1m"``, ``"4h"``, ``"1d"``.  Nothing is resampled.
    price_types : iterable of str, optional
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
        Which rows to keep.

        ``"none"`` keeps all.

        ``"fx"`` keeps those of the FX trading week: from Monday 07:00 (included) to
        Saturday 07:00 (excluded) in Sydney.  For timeframes of a day or more it drops rows
        stamped Saturday or Sunday (UTC), and placeholders (volume 0 and open = high = low =
        close).

        Any other name is that of a market calendar of pandas_market_calendars, such as
        ``"NYSE"``, ``"JPX"``, ``"CME_Equity"``.  It keeps rows stamped within the
        calendar's sessions: open included, close excluded, without breaks.  Where
        `timeframe` is a day or more, it keeps rows stamped on the UTC days of the sessions.
        Calendars need ``pip install "omega-slices[calendars]"``.  Where `timeframe` is
        shorter than a day, they exclude higher timeframes of a day or more.
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
        ``{side}``, ``{SIDE}``, ``*`` (any text within a name: all files that match are one
        series) and ``**`` (any number of folders); by default
        ``{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet``.
    columns : mapping of str to str or sequence of str, optional
        Names of the input's columns by ``timestamp``, ``open``, ``high``, ``low``,
        ``close``, ``volume``; also ``bid_open`` and the like, where a file holds several
        price types.  Of several names, the first that the file has is read.  An empty
        volume says that there is none.  ``{symbol}`` in a name stands for the symbol.  By
        default they are ``UTC time``, ``Open``, ``High``, ``Low``, ``Close``, ``Volume``,
        or else the same words in any case.
    fill : {"none", "forward"}
        With ``"none"``, show candles only where they are stamped.  With ``"forward"``, a
        series without a candle at a slice shows its latest earlier one, up to `max_age`,
        also from before `start`.  Every candle keeps its own timestamp; see
        `SymbolSnapshot.is_carried`.
    max_age : str or timedelta, optional
        How old such a candle may be, from its timestamp to that of the slice: a positive
        integer and a unit, ``s``, ``m``, ``h``, ``d``, ``w`` or ``bars`` (of
        `timeframe`), as in ``"15m"``, ``"5bars"``; or a timedelta of whole seconds.
        Required with ``fill="forward"``.
    with_timeframe : str or iterable of str
        Higher timeframes, none by default: ``"H1"``, or with an age limit as in
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
        names are not symbols.  Without look-around and references.
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
    stamped : {"open", "close"} or mapping, optional
        Whether the input stamps its candles when they open or when they close.  With
        ``"close"``, every timestamp is moved one timeframe back.
    days : {"utc", "local"}, optional
        What a candle of whole days is stamped with: ``"utc"``, its own timestamp;
        ``"local"``, the midnight UTC of the date on which its middle lies in its zone.
        By default as ``"utc"``, with a warning or an error where that looks wrong.
    fields : iterable of str, optional
        What the slices hold of a candle, in every timeframe: some of ``"open"``,
        ``"high"``, ``"low"``, ``"close"``, ``"volume"``, by default all.  Only these are
        decoded, so files need no other columns; but `session` ``"fx"`` looks at all five
        where candles are of days.  Without all five, whole candles cannot be asked for;
        `get_price` needs the close.
    before : str, datetime, date or int, optional
        The exclusive end of the window, in the forms of `start` and in the place of `end`.
    symbol_separator : str, optional
        The text that stands for the slash of a symbol in names.
    rewrite : iterable of str
        Rules such as ``"{a}_{b} = {a}/{b}"``: what names spell, and the symbol that it
        means.
    spell : mapping of str to str, optional
        How names spell timeframes, such as ``{"M1": "1m"}``.
    price_scale, volume_scale : str, float, Decimal or mapping, optional
        Factors of prices, and volumes, that are integers, such as ``"1e-9"``; a mapping has
        those of binary numbers by ``"8"`` and ``"16"`` bytes.
    empty_rows : {"keep", "drop"}, optional
        Whether rows whose prices are all null or NaN are candles.  By default they are.
    zones : mapping of str to str, or pairs
        Zones by patterns of symbols, such as ``{"*.PA": "Europe/Paris"}``, in the place of
        `zone`.
    layout : str or path, optional
        What the files look like: the name of a built-in layout, or a TOML file.  Other
        options come before it.
    strict : bool
        Raise an error, before the stream ends, in the place of the first warning.  A
        permission; the slices are the same.
    follow_links : bool
        Whether links may lead out of the root folder.  By default they may not: a symbol's
        name, another field or ``*`` leads to a place below the folder that stands before it
        in the template.  A permission; the slices are the same.
    threads : int, optional
        Threads that decode the input; by default as many as there are cores.  The
        `python` backend has one.
    memory : str or int, optional
        Memory that the executable may use: a number of bytes, or a text such as ``"2GB"``,
        ``"1500MiB"``.  By default half of what the machine has, or its control group if
        that has less.  Columns that do not fit go through a temporary file; if even that is
        not enough, a `SystemFailureError` says what is needed.  The slices are the same.
    temp_dir : str or path, optional
        The folder of temporary files; by default that of ``TMPDIR``, else ``/var/tmp``.
    temp_limit : str or int, optional
        Disk that temporary files may take, as in `memory`; by default nine tenths of what
        is free.
    backend : {"auto", "rust", "python", "shadow"}, optional
        Who does the work: the executable, or the plain implementation in this package.
        ``"auto"`` is the executable, and the plain implementation only where there is no
        executable, with a `UserWarning` and the same text in the log.  ``"shadow"`` is
        both: the slices of the executable, each given only after the plain implementation
        made the same one.
        By default the environment variable `OMEGA_USE_RUST_MULTI_SYMBOL` (``auto``;
        ``true``, ``1``; ``false``, ``0``; ``shadow``), else ``"auto"``.
    cache : str or path, optional
        A folder in which the executable keeps the slices of each request as a file.  It
        takes them from there when they are asked for again and no input has changed.  The
        first time, this returns when all slices are there; from then on at once.
        Several processes may share it.  Not for the `python` backend.
    cache_size : str or int, optional
        What the files in `cache` may take together: a number of bytes, or a text such as
        ``"500MB"``, ``"20GiB"``.  Beyond it, those not used for longest are removed.  By
        default that of the executable.
    shadow_sample : float, optional
        Which part of the slices ``"shadow"`` compares, above 0 and up to 1: stretches of
        them, evenly spread, the first included.  By default the environment variable
        `OMEGA_SLICES_SHADOW_SAMPLE`, else 1: all of them.
    storage_options : mapping of str to str, optional
        How buckets and web servers are reached, by the names of the object_store library:
        ``aws_region``, ``aws_endpoint_url``, ``allow_http``, …  They go to the executable by its
        environment, and are shown nowhere.  By default the variables of each vendor count
        (``AWS_…``, ``GOOGLE_…``, ``AZURE_…``).  For `data`, `inputs`, `session_file` and templates
        that are URIs: ``s3://``, ``gs://``, ``az://``, and ``http(s)://`` for files named in full.
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
    # First of all, while the arguments are the only names there are.
    given = dict(locals())
    chosen = choose_backend(backend)
    shadow_part = parse_shadow_sample(shadow_sample, chosen.backend)
    if metrics_hook is not None and not callable(metrics_hook):
        raise RequestError(f"metrics_hook={metrics_hook!r} cannot be called", hint="give a function of one argument")
    root = default_root() if data is None and inputs is None else data
    request = make_request(root, **cast("RequestOptions", {name: given[name] for name in REQUEST_OPTIONS}))
    check_calendar_of(request)
    options = ExecutionOptions(
        threads=None if threads is None else checked_count("threads", threads, 1),
        memory=parse_memory_options(memory, temp_dir, temp_limit),
        cache=parse_cache_options(cache, cache_size),
        permissions=checked_permissions(follow_links=follow_links, strict=strict, storage_options=storage_options),
        shadow_sample=shadow_part,
    )
    return _opened(resolve_backend(chosen, request, options), request, metrics_hook)


def open_request(request: Request, storage: StorageOptions | None = None) -> SliceStream:
    """Open a checked request: what `open_slices` does once it has one, with the usual options.

    Raises
    ------
    OmegaSlicesError
        Whatever `open_slices` raises.
    """
    options = DEFAULT_EXECUTION._replace(permissions=Permissions(storage=storage))
    return _opened(resolve_backend(choose_backend(None), request, options), request, None)


def _opened(
    resolved: ResolvedBackend, request: Request, metrics_hook: Callable[[StreamMetrics], object] | None
) -> SliceStream:
    monitor = StreamMonitor(request, resolved.backend, resolved.reason, resolved.executable, metrics_hook)
    try:
        source = resolved.open(monitor)
        monitor.answered()
        return SliceStream(source, request, monitor)
    except BaseException as error:
        monitor.ended("failed", None, error)
        raise
