"""The stream: what a user opens, iterates, looks ahead in and closes.

Owns the position within the stream and the choice of the backend.  Guarantees that
slices come in order, that iteration ends quietly only where the stream is complete,
that an error once raised is raised again rather than turned into an end, and that
leaving early leaves nothing behind.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from copy import copy
from itertools import islice
from operator import index, length_hint
from typing import TYPE_CHECKING, Any, Final, Literal, Self, SupportsIndex, get_args

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._binary import binary_override, find_binary
from omega_slices._buffers import string_array, values_view
from omega_slices._candle import RunReport
from omega_slices._request import make_request
from omega_slices._schema import check_batch, content_of
from omega_slices._slices import MultiSymbolSlice, SliceBatch, SliceLayout, SlicesDescribed
from omega_slices._sources import BinarySource, Cache, CachedSource, ReferenceSource
from omega_slices._times import TimeLike
from omega_slices.errors import (
    BackendUnavailableError,
    DeserializationError,
    IteratorExhaustedError,
    OmegaSlicesError,
    RequestError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import timedelta
    from types import TracebackType

    from omega_slices._request import Request
    from omega_slices._sources import Source

_logger: Final = logging.getLogger("omega_slices")

Backend = Literal["auto", "rust", "python"]

BACKEND_VARIABLE: Final = "OMEGA_USE_RUST_MULTI_SYMBOL"
DATA_VARIABLE: Final = "OMEGA_DATA_PARQUET_ROOT"
DEFAULT_DATA: Final = "data/parquet"

_BACKEND_BY_VARIABLE: Final[dict[str, Backend]] = {
    "auto": "auto",
    "true": "rust",
    "1": "rust",
    "false": "python",
    "0": "python",
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
    duplicates: str = "last",
    path_template: str | None = None,
    columns: Mapping[str, str] | None = None,
    fill: str = "none",
    max_age: str | timedelta | None = None,
    with_timeframe: str | Iterable[str] = (),
    known_at: str = "open",
    session_file: str | os.PathLike[str] | None = None,
    indicators: Iterable[str] = (),
    indicator_template: str | None = None,
    follow_links: bool = False,
    threads: int | None = None,
    backend: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_size: str | int | None = None,
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
        integer, such as ``"M1"``.  Nothing is resampled.
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
    duplicates : {"last", "first", "error"}
        Which row of a timestamp counts, if several may.
    path_template : str, optional
        Where the files are, with the fields ``{root}``, ``{symbol}``, ``{timeframe}``,
        ``{side}``, ``{SIDE}`` and ``*`` (any text within a name: all files that match are
        one series, in name order); by default
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
    follow_links : bool
        Whether links may lead out of the root folder. By default, what the name of a
        symbol, another field or ``*`` adds to a path has to stay, links followed, in the
        folder that stands before it in the template. A permission; the slices are the same.
    threads : int, optional
        Threads that decode the input; by default as many as there are cores.  The
        `python` backend has one.
    backend : {"auto", "rust", "python"}, optional
        Who does the work: the executable, or the plain implementation in this package.
        ``"auto"`` is the executable, and the plain implementation, with a logged
        warning, only where there is no executable.  By default the environment
        variable `OMEGA_USE_RUST_MULTI_SYMBOL` (``auto``; ``true``, ``1``; ``false``,
        ``0``), else ``"auto"``.
    cache : str or path, optional
        A folder in which the executable keeps the slices of each request as a file, and
        from which it takes them when they are asked for again and no input has changed.
        The first time, this returns when all slices are there; from then on at once.
        Several processes may share it.  Not for the `python` backend.
    cache_size : str or int, optional
        What the files in `cache` may take together: a number of bytes, or a text such as
        ``"500MB"``, ``"20GiB"``.  Beyond it, those not used for longest are removed.  By
        default that of the executable.

    Returns
    -------
    SliceStream

    Raises
    ------
    RequestError
        The request contradicts itself or holds an unknown option.
    SymbolNotFoundError, TimeframeNotFoundError, InvalidPriceTypeError
        What is asked for is not there, or cannot be.
    BackendUnavailableError
        There is no executable, and ``"auto"`` was not asked for.
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
    request = make_request(
        _default_data() if data is None else data,
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
    )
    threads = None if threads is None else _count("threads", threads, 1)
    source = _open_source(chosen, request, threads, _cache(cache, cache_size), follow_links=bool(follow_links))
    return SliceStream(source, request)


class SliceStream(SlicesDescribed):
    """The slices of a request: an iterator, and a context manager that closes it.

    Made by `open_slices`.  Slices come lazily, in memory that does not grow with the
    length of the stream.  Take records as slices (iterate) or as record batches
    (`batches`, or hand the stream to ``polars.DataFrame``, duckdb, ``pyarrow.table``,
    ``pandas.DataFrame.from_arrow``), or some of each.
    For one thread at a time.

    A producer that fails, dies or is killed always makes the next step raise.  A stream
    that was closed before its end raises `IteratorExhaustedError` on the next step, so
    that it is never mistaken for a complete one.

    Examples
    --------
    >>> from omega_slices import open_slices
    >>> import pyarrow
    >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
    ...     first = next(slices)
    ...     rest = pyarrow.table(slices)
    >>> first.timestamp_ns, rest.num_rows, slices.report.slices
    (1704153600000000000, 2, 2)
    """

    __slots__ = (
        "__weakref__",
        "_ahead",
        "_complete",
        "_current",
        "_failure",
        "_finalizer",
        "_layout",
        "_report",
        "_request",
        "_rest",
        "_rows",
        "_source",
        "_symbols_array",
    )

    def __init__(self, source: Source, request: Request) -> None:
        self._source = source
        self._request = request
        # Also called by the garbage collector and at the interpreter's exit.  The source
        # does not know the stream: it keeps it from neither.
        self._finalizer = weakref.finalize(self, source.close)
        self._layout = SliceLayout(source.symbols, content_of(request))
        self._symbols_array = string_array(source.symbols)
        self._report = RunReport(slices=0, batches=0)
        self._complete = False
        self._failure: OmegaSlicesError | None = None
        # Read, but not yet reached: only `peek` fills it.
        self._ahead: deque[SliceBatch] = deque()
        # The batch that iteration has come to, and the iterators of its cursor.
        self._current: SliceBatch | None = None
        self._rows: Iterator[int] = iter(())
        self._rest: Iterator[MultiSymbolSlice] = iter(())

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the record batches, with its metadata."""
        return self._source.schema

    @property
    def report(self) -> RunReport:
        """What the run says about itself; before its end, the whole batches that have arrived so far."""
        self._note_warnings()
        return self._report

    def peek(self, n: int = 1) -> list[MultiSymbolSlice]:
        """Return the next slices without consuming them.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        list of MultiSymbolSlice
            `n` of them, or fewer where the stream ends before.

        Raises
        ------
        IteratorExhaustedError
            The stream was closed before its end.
        OmegaSlicesError
            The stream cannot be completed.

        Examples
        --------
        >>> from omega_slices import open_slices
        >>> with open_slices(data, symbols=["EURUSD"]) as slices:
        ...     ahead = slices.peek(5)
        ...     len(ahead), ahead[0] == next(slices)
        (2, True)
        """
        n = _count("n", n, 0)
        self._raise_failure()
        found: list[MultiSymbolSlice] = []
        if self._current is not None:
            found.extend(islice(self._current.slices(self._position()), n))
        for batch in self._ahead:
            found.extend(islice(batch.slices(), n - len(found)))
        while len(found) < n and (record_batch := self._read()) is not None:
            self._ahead.append(SliceBatch(record_batch, self._layout))
            found.extend(islice(self._ahead[-1].slices(), n - len(found)))
        return found

    def skip(self, n: int) -> None:
        """Move on over slices without making them.

        Parameters
        ----------
        n : int
            How many.

        Raises
        ------
        IteratorExhaustedError
            The stream ended before so many were skipped, or was closed before its end.
        OmegaSlicesError
            The stream cannot be completed.

        Examples
        --------
        >>> from omega_slices import open_slices
        >>> with open_slices(data, symbols=["EURUSD"]) as slices:
        ...     slices.skip(1)
        ...     next(slices).timestamp.minute
        1
        """
        n = _count("n", n, 0)
        self._raise_failure()
        missing = n
        while missing > (here := length_hint(self._rows)):
            missing -= here
            if not self._advance():
                raise IteratorExhaustedError(
                    f"{n} slices were to be skipped, but only {n - missing} were left",
                    hint="peek(n) tells how many are left, up to n",
                )
        if self._current is not None:
            self._enter_batch(self._current, self._position() + missing)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Iterate over the rest of the stream as record batches.

        Yields
        ------
        pyarrow.RecordBatch
            Whole slices, N rows each, of the stream's `schema`; never without rows.
            What a batch holds counts as consumed once it has been given.  The first one
            is what is left of the batch that iteration has come to.

        Raises
        ------
        IteratorExhaustedError
            The stream was closed before its end.
        OmegaSlicesError
            The stream cannot be completed.

        Examples
        --------
        >>> from omega_slices import open_slices
        >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
        ...     [batch.num_rows for batch in slices.batches()]
        [4]
        """
        while (batch := self._take_record_batch()) is not None:
            yield batch

    def known_at(self, batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
        """Return when the candles of each slice of a record batch are complete.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            Whole slices of this stream.

        Returns
        -------
        numpy.ndarray
            datetime64[ns] (UTC), one per slice: its timestamp + the primary timeframe.

        Raises
        ------
        RequestError
            The batch does not hold whole slices of this stream.

        Examples
        --------
        >>> from omega_slices import open_slices
        >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
        ...     [str(known_at)[11:16] for batch in slices.batches() for known_at in slices.known_at(batch)]
        ['00:01', '00:02']
        """
        width = len(self.symbols)
        wrong = RequestError("the batch holds no whole slices of this stream", hint="give it as batches() gave it")
        if not isinstance(batch, pa.RecordBatch) or batch.schema != self.schema or batch.num_rows % width:
            raise wrong
        if not batch.num_rows:
            return np.empty(0, "datetime64[ns]")
        timestamps = values_view(batch.column("timestamp"), "datetime64[ns]").reshape(-1, width)
        if not (timestamps == timestamps[:, :1]).all():
            raise wrong
        return timestamps[:, 0] + np.timedelta64(self._layout.timeframe_ns, "ns")

    def close(self) -> None:
        """End the stream and whatever produces it; may be called again.

        Slices that were taken from it stay valid.
        """
        if self._failure is None and not (self._complete and not self._ahead and not length_hint(self._rows)):
            self._failure = IteratorExhaustedError(
                "the stream was closed before its end", hint="open it again, or read on before closing it"
            )
        self._release()

    def __iter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __next__(self) -> MultiSymbolSlice:
        """Return the next slice.

        Raises
        ------
        StopIteration
            The stream is complete.
        OmegaSlicesError
            It is not, and cannot be completed.
        """
        # The shortest way to the next item of an iterator that may be at its end.
        for current in self._rest:
            return current
        if self._advance():
            return next(self._rest)
        raise StopIteration

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the rest of the stream over as an Arrow C stream; see `batches`.

        The taker raises an error of its own class where the stream cannot be completed,
        with our message in it; the next step of the stream raises ours.

        Parameters
        ----------
        requested_schema : PyCapsule, optional
            A schema to cast to, as the Arrow PyCapsule interface describes it.

        Returns
        -------
        PyCapsule

        Raises
        ------
        IteratorExhaustedError
            All slices have been taken already: an empty table would pass for data.
        """
        if self._complete and self._report.slices and not (self._ahead or length_hint(self._rows)):
            raise IteratorExhaustedError(
                "the stream has been walked through; it has no slices left to hand over",
                hint="open it again for another walk, or keep the first table",
            )
        reader = pa.RecordBatchReader.from_batches(self.schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """Return what the stream is about and how far it has come."""
        state = "complete" if self._complete else "open" if self._failure is None else "closed"
        return (
            f"<SliceStream {self.timeframe} of {len(self.symbols)} symbols, {state}, {self._report.slices} slices read>"
        )

    def _advance(self) -> bool:
        """Enter the next batch; return whether there was one."""
        self._leave_batch()
        self._raise_failure()
        if self._ahead:
            self._enter_batch(self._ahead.popleft(), 0)
            return True
        record_batch = self._read()
        if record_batch is None:
            return False
        self._enter_batch(SliceBatch(record_batch, self._layout), 0)
        return True

    def _take_record_batch(self) -> pa.RecordBatch | None:
        """Consume the rest of the current batch, or the next batch; None at the end."""
        self._raise_failure()
        current, first = self._current, self._position()
        self._leave_batch()
        if current is not None and first < current.slice_count:
            return current.record_batch.slice(first * len(self.symbols))
        if self._ahead:
            return self._ahead.popleft().record_batch
        return self._read()

    def _enter_batch(self, batch: SliceBatch, first: int) -> None:
        self._current = batch
        self._rows, self._rest = batch.cursor(first)

    def _leave_batch(self) -> None:
        self._current = None
        self._rows = iter(())
        self._rest = iter(())

    def _position(self) -> int:
        """Return how many slices of the current batch have been consumed."""
        return 0 if self._current is None else self._current.slice_count - length_hint(self._rows)

    def _read(self) -> pa.RecordBatch | None:
        """Return the next batch of the source, checked and counted; None once it is complete."""
        if self._complete:
            return None
        try:
            batch = self._source.read()
            self._note_warnings()
            if batch is None:
                self._note_end()
            else:
                self._note_batch(batch)
        except BaseException as error:
            # A copy, without the traceback, which would keep this very stream alive.
            self._failure = (
                copy(error)
                if isinstance(error, OmegaSlicesError)
                else IteratorExhaustedError(f"the stream was given up after {error!r}", hint="open it again")
            )
            self._release()
            raise
        return batch

    def _note_batch(self, batch: pa.RecordBatch) -> None:
        before = self._report
        last_ns = check_batch(batch, self._symbols_array, self._layout.content, before.last_timestamp_ns)
        first_ns = before.first_timestamp_ns
        self._report = msgspec.structs.replace(
            before,
            slices=before.slices + batch.num_rows // len(self.symbols),
            batches=before.batches + 1,
            first_timestamp_ns=batch.column("timestamp")[0].value if first_ns is None else first_ns,
            last_timestamp_ns=last_ns,
        )

    def _note_warnings(self) -> None:
        new = self._source.take_warnings()
        for warning in new:
            _logger.warning("%s: %s", warning.name, warning.message)
        if new:
            self._report = msgspec.structs.replace(self._report, warnings=(*self._report.warnings, *new))

    def _note_end(self) -> None:
        """Take over the producer's own report, which must agree with what came through."""
        seen, told = self._report, self._source.report()
        if told is not None:
            for field in ("slices", "first_timestamp_ns", "last_timestamp_ns"):
                if getattr(told, field) != getattr(seen, field):
                    raise DeserializationError(
                        f"the producer reports {field}={getattr(told, field)}, read was {getattr(seen, field)}",
                        hint="this is a defect of the program that wrote the stream; please report it",
                    )
            self._report = msgspec.structs.replace(seen, series=told.series)
        self._report = msgspec.structs.replace(self._report, complete=True)
        self._complete = True

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise copy(self._failure)

    def _release(self) -> None:
        self._leave_batch()
        self._ahead.clear()
        self._source.close()
        self._finalizer.detach()
        self._note_warnings()


def _choose_backend(backend: str | None) -> Backend:
    if backend is None:
        # An empty variable counts as one that is not set.
        text = os.environ.get(BACKEND_VARIABLE) or "auto"
        if text not in _BACKEND_BY_VARIABLE:
            raise RequestError(
                f"{BACKEND_VARIABLE}={text!r} is unknown", hint=f"set it to one of {', '.join(_BACKEND_BY_VARIABLE)}"
            )
        return _BACKEND_BY_VARIABLE[text]
    match backend:
        case "auto" | "rust" | "python":
            return backend
        case "shadow":
            raise RequestError(
                "backend='shadow' is not supported by this version",
                hint="run the request once with backend='rust' and once with backend='python', and compare",
            )
        case _:
            raise RequestError(f"backend={backend!r} is unknown", hint=f"choose one of {', '.join(get_args(Backend))}")


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
        size = str(_count("cache_size", size, 1))
    return Cache(text, size)


def _open_source(
    backend: Backend, request: Request, threads: int | None, cache: Cache | None, *, follow_links: bool
) -> Source:
    if backend == "python" and cache is not None:
        raise RequestError(
            "backend='python' has no cache: the executable makes and keeps its files",
            hint="use backend='rust', or leave cache= out",
        )
    sessions = None
    if request.calendar is not None:
        # Imports pandas, which takes longer than many a run.
        from omega_slices._calendars import calendar_sessions  # noqa: PLC0415  # rarely needed

        sessions = calendar_sessions(request)
    if backend == "python":
        return ReferenceSource(request, sessions, follow_links=follow_links)
    try:
        binary = find_binary()
    except BackendUnavailableError as error:
        # An executable that was named, but cannot be used, is a mistake to be told.
        if backend == "rust" or binary_override() is not None:
            raise
        unused = "" if cache is None else f" and does not use the cache {cache.folder!r}"
        _logger.warning("the plain Python implementation is used, which is slow%s: %s", unused, error.message)
        return ReferenceSource(request, sessions, follow_links=follow_links)
    if cache is not None:
        return CachedSource(binary, request, threads, sessions, cache, follow_links=follow_links)
    return BinarySource(binary, request, threads, sessions, follow_links=follow_links)


def _default_data() -> str:
    return os.environ.get(DATA_VARIABLE) or DEFAULT_DATA


def _count(what: str, value: SupportsIndex, least: int) -> int:
    """Return an integer of any kind as a plain one, if it is large enough."""
    try:
        count = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        count = least - 1
    if count < least:
        raise RequestError(f"{what}={value!r} is no number of its kind", hint=f"give an integer from {least} on")
    return count
