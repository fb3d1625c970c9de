"""The stream: what a user iterates, looks ahead in and closes.

Owns the position within the stream.  Guarantees that:

- slices come in order, and iteration ends quietly only where the stream is complete;
- an error, once raised, is raised again by each further step;
- a second thread that reads at the same time is refused;
- a stream that is left early leaves nothing behind.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from copy import copy
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, NoReturn, Self

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._arrow.buffers import string_array, values_view
from omega_slices._arrow.schema_check import check_batch
from omega_slices._matrices import gathered
from omega_slices._model.checks import checked_count
from omega_slices._model.report import RunReport
from omega_slices._model.schema import TIMESTAMP_COLUMN, known_after_ns, stream_spec
from omega_slices._run_report import completed, with_batch
from omega_slices._slices.batch import SliceBatch, column_array
from omega_slices._slices.layout import SliceLayout, SlicesDescribed
from omega_slices._slices.slice import MultiSymbolSlice, cursor_of, slices_of
from omega_slices._wide import WideSlices
from omega_slices.errors import IteratorExhaustedError, OmegaSlicesError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

    Array = np.ndarray[Any, Any]

    from omega_slices._backends.source import Source
    from omega_slices._model.request import Request
    from omega_slices._monitor import StreamMetrics, StreamMonitor


class SliceStream(SlicesDescribed, WideSlices):
    """The slices of a request: an iterator, and a context manager that closes it.

    Made by `open_slices`.  Slices come lazily, in memory that does not grow with the
    length of the stream.  Take records as slices (iterate) or as record batches
    (`batches`, or hand the stream to ``polars.DataFrame``, duckdb, ``pyarrow.table``,
    ``pandas.DataFrame.from_arrow``), or some of each.
    For one thread at a time: another one that asks for the next batch meanwhile gets a
    `RequestError`.  For the process that opened it: a child that was forked from it gets
    one too.

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
        "_lock",
        "_monitor",
        "_owner",
        "_report",
        "_request",
        "_rest",
        "_rows",
        "_source",
        "_symbols_array",
    )

    def __init__(self, source: Source, request: Request, monitor: StreamMonitor) -> None:
        self._source = source
        self._request = request
        self._monitor = monitor
        # Also called by the garbage collector and at the interpreter's exit.  Neither the
        # source nor the monitor knows the stream: they keep it from neither.
        self._finalizer = weakref.finalize(self, _abandon, source, monitor)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._layout = SliceLayout(source.symbols, stream_spec(request), known_after_ns=known_after_ns(source.schema))
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
        """What the run says about itself.

        Before its end, the whole batches that have arrived so far.
        """
        self._note_warnings()
        return self._report

    @property
    def metrics(self) -> StreamMetrics:
        """What the stream has cost so far, at its last batch."""
        return self._monitor.metrics

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
        n = checked_count("n", n, 0)
        with self._alone():
            self._raise_failure()
            found: list[MultiSymbolSlice] = []
            if self._current is not None:
                found.extend(islice(slices_of(self._current, self._position()), n))
            for batch in self._ahead:
                found.extend(islice(slices_of(batch), n - len(found)))
            while len(found) < n and (record_batch := self._read()) is not None:
                self._ahead.append(SliceBatch(record_batch, self._layout))
                found.extend(islice(slices_of(self._ahead[-1]), n - len(found)))
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
            The stream ended before `n` slices were skipped, or was closed before its end.
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
        n = checked_count("n", n, 0)
        with self._alone():
            self._raise_failure()
            missing = n
            while missing > (here := length_hint(self._rows)):
                missing -= here
                if not self._advance():
                    raise IteratorExhaustedError(
                        f"cannot skip {n} slices: only {n - missing} were left",
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

        Examples
        --------
        >>> from omega_slices import open_slices
        >>> slices = open_slices(data, symbols=["EURUSD"])
        >>> first = next(slices)
        >>> slices.close()
        >>> first.get_price("EURUSD", "bid"), slices.report.complete
        (1.5, False)
        """
        if self._failure is None and not (self._complete and not self._ahead and not length_hint(self._rows)):
            self._failure = IteratorExhaustedError(
                "the stream was closed before its end", hint="open it again, or read on before closing it"
            )
        self._release()
        self._monitor.ended("closed", self._report)

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
        while self._has_more():
            for current in self._rest:
                return current
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

        Where the stream cannot be completed, the taker raises an error of its own class with
        our message in it.  The next step of the stream raises ours.

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
        self._check_unread()
        reader = pa.RecordBatchReader.from_batches(self.schema, self._unread_batches())
        return reader.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """Return what the stream is about and how far it has come."""
        state = "complete" if self._complete else "open" if self._failure is None else "closed"
        return (
            f"<SliceStream {self.timeframe} of {len(self.symbols)} symbols, {state}, {self._report.slices} slices read>"
        )

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled."""
        raise TypeError("a stream cannot be copied or pickled: open another one, or pass on its slices")

    def _relation_source(self) -> pa.Table:
        """Return an Arrow table, since a relation may be asked for its rows again."""
        return self.to_arrow()

    def _matrices(self, names: tuple[str, ...], *, is_own: bool) -> dict[str, Array]:
        return gathered(self, names, is_own=is_own)[1]

    def _check_unread(self) -> None:
        """Raise where all slices have been taken already: nothing would pass for data."""
        if self._complete and self._report.slices and not (self._ahead or length_hint(self._rows)):
            raise IteratorExhaustedError(
                "the stream has been walked through; it has no slices left to hand over",
                hint="open it again for another walk, or keep the first table",
            )

    def _unread_batches(self) -> Iterator[pa.RecordBatch]:
        """Iterate as `batches`; raise where all slices turn out to have been taken already."""
        batch = None
        for batch in self.batches():
            yield batch
        if batch is None:
            self._check_unread()

    def _blocks(self, names: tuple[str, ...]) -> Iterator[tuple[Array, dict[str, Array]]]:
        width = len(self.symbols)
        for batch in self._unread_batches():
            timestamps = values_view(batch.column(TIMESTAMP_COLUMN), "datetime64[ns]")[::width]
            yield timestamps, {name: column_array(batch.column(name)).reshape(-1, width) for name in names}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep out other processes, and other threads while the position changes."""
        if os.getpid() != self._owner:
            raise RequestError(
                f"the stream was opened by another process, {self._owner}, from which this one was forked",
                hint="open it in the process that reads it",
            )
        if not self._lock.acquire(blocking=False):
            raise RequestError(
                "the stream is being read already, by another thread or by the step that called this one",
                hint="open a stream for each thread, or guard this one by a lock",
            )
        try:
            yield
        finally:
            self._lock.release()

    def _has_more(self) -> bool:
        """Return whether there is a slice, in the batch at hand or in the next one."""
        with self._alone():
            # Another thread may have entered a batch since the one at hand came to its end.
            return length_hint(self._rows) > 0 or self._advance()

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
        with self._alone():
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
        self._rows, self._rest = cursor_of(batch, first)

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
        width = len(self.symbols)
        self._monitor.asked()
        try:
            batch = self._source.read()
            self._note_warnings()
            if batch is None:
                self._note_end()
            else:
                self._note_batch(batch)
            self._monitor.answered(batch, width)
        except BaseException as error:
            self._monitor.answered(None, width)
            if self._failure is not None:
                # Closed by another thread meanwhile, which is why reading failed.
                raise copy(self._failure) from error
            # A copy, without the traceback, which would keep this very stream alive.
            self._failure = (
                copy(error)
                if isinstance(error, OmegaSlicesError)
                else IteratorExhaustedError(f"the stream was given up after {error!r}", hint="open it again")
            )
            self._release()
            self._monitor.ended("failed", self._report, error)
            raise
        if batch is None:
            self._monitor.ended("complete", self._report)
        return batch

    def _note_batch(self, batch: pa.RecordBatch) -> None:
        before = self._report.last_timestamp_ns
        last_ns = check_batch(batch, self._symbols_array, self._layout.spec, before)
        self._report = with_batch(self._report, batch, batch.num_rows // len(self.symbols), last_ns)

    def _note_warnings(self) -> None:
        new = self._source.take_warnings()
        if new:
            self._monitor.warn(new)
            self._report = msgspec.structs.replace(self._report, warnings=(*self._report.warnings, *new))

    def _note_end(self) -> None:
        self._report = completed(self._report, self._source.report())
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


def _abandon(source: Source, monitor: StreamMonitor) -> None:
    """End what a stream leaves behind once it is unreachable."""
    source.close()
    monitor.ended("closed", None)
