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
from typing import TYPE_CHECKING, Final, Literal, Self, SupportsIndex, get_args

import msgspec
import pyarrow as pa

from omega_slices._binary import binary_override, find_binary
from omega_slices._buffers import string_array
from omega_slices._candle import RunReport
from omega_slices._request import TimeLike, make_request
from omega_slices._schema import check_batch
from omega_slices._slices import MultiSymbolSlice, SliceBatch, SliceLayout
from omega_slices._sources import BinarySource, ReferenceSource
from omega_slices.errors import (
    BackendUnavailableError,
    DeserializationError,
    IteratorExhaustedError,
    OmegaSlicesError,
    RequestError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
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
    threads: int | None = None,
    backend: str | None = None,
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
    timeline : {"intersection", "union"}
        A slice at the timestamps of all series, or of any.
    session : {"none", "fx"}
        Keep all rows, or those of the FX trading week: Monday 07:00 (included) to
        Saturday 07:00 (excluded) in Sydney; for timeframes of a day or more, all but
        those stamped Saturday or Sunday (UTC) and placeholders (volume 0 and
        open = high = low = close).
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
    threads : int, optional
        Threads that decode the input; by default as many as there are cores.  The
        `python` backend has one.
    backend : {"auto", "rust", "python"}, optional
        Who does the work: the executable, or the plain implementation in this package.
        ``"auto"`` is the executable, and the plain implementation, with a logged
        warning, only where there is no executable.  By default the environment
        variable `OMEGA_USE_RUST_MULTI_SYMBOL` (``auto``; ``true``, ``1``; ``false``,
        ``0``), else ``"auto"``.

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
    )
    threads = None if threads is None else _count("threads", threads, 1)
    return SliceStream(_open_source(chosen, request, threads), request)


class SliceStream:
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
        self._layout = SliceLayout(source.symbols, request.timeframe, request.price_types)
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
    def symbols(self) -> tuple[str, ...]:
        """The symbols of every slice, in order."""
        return self._layout.symbols

    @property
    def timeframe(self) -> str:
        """The timeframe of the slices, such as ``"M1"``."""
        return self._layout.timeframe

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
        """
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
        last_ns = check_batch(batch, self._symbols_array, self._request.price_types, before.last_timestamp_ns)
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


def _open_source(backend: Backend, request: Request, threads: int | None) -> Source:
    if backend == "python":
        return ReferenceSource(request)
    try:
        binary = find_binary()
    except BackendUnavailableError as error:
        # An executable that was named, but cannot be used, is a mistake to be told.
        if backend == "rust" or binary_override() is not None:
            raise
        _logger.warning("the plain Python implementation is used, which is slow: %s", error.message)
        return ReferenceSource(request)
    return BinarySource(binary, request, threads)


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
