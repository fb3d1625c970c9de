"""Metrics and log records of a stream while it runs.

Owns the metrics of a stream and the records of the logger ``omega_slices``.  Guarantees
one record at the start and one at the end of every stream that was asked for, however it
ends.  Importing the package logs nothing and adds no handler.  A hook of the user cannot
break a stream, and slows it by its own time alone.
When something happens is the stream's part.
"""

from __future__ import annotations

import logging
import time
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from omega_slices.errors import OmegaSlicesError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from omega_slices._model.report import RunReport, RunWarning
    from omega_slices._model.request import Request


logger: Final = logging.getLogger("omega_slices")
_SYMBOLS_SHOWN: Final = 3
_numbers: Final = count(1)
Outcome = Literal["complete", "closed", "failed"]


class StreamMetrics(msgspec.Struct, frozen=True):
    """What a stream has cost so far, at the last batch.

    Attributes
    ----------
    stream : int
        The stream's number in this process, from 1, as in the log.
    backend : str
        ``"rust"``, ``"python"`` or ``"shadow"``.
    slices, batches : int
        How many have arrived.
    bytes : int
        Of the batches' columns, in memory.
    producer_seconds : float
        Waited for the producer, from the request for a batch until it was there; reading and
        opening included.
    consumer_seconds : float
        Spent elsewhere between one batch and the request for the next: the time of the strategy.
    peak_batch_slices, peak_batch_bytes : int
        Of the largest batch.
    compared_slices : int
        How many of the slices a shadow run has compared; 0 for other backends.
    temporary_bytes : int
        Disk that the temporary file of a complete run took; 0 without one.
    outcome : str or None
        ``"complete"``, ``"closed"`` (before its end) or ``"failed"``; None while it runs.

    Examples
    --------
    >>> from omega_slices import open_slices
    >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
    ...     taken = len(list(slices))
    >>> slices.metrics.slices, slices.metrics.batches, slices.metrics.outcome
    (2, 1, 'complete')
    """

    stream: int
    backend: str
    slices: int = 0
    batches: int = 0
    bytes: int = 0
    producer_seconds: float = 0.0
    consumer_seconds: float = 0.0
    peak_batch_slices: int = 0
    peak_batch_bytes: int = 0
    compared_slices: int = 0
    temporary_bytes: int = 0
    outcome: Outcome | None = None


class StreamMonitor:
    """The clock, the counters and the log of one stream."""

    def __init__(
        self,
        request: Request,
        backend: str,
        reason: str,
        executable: str | None = None,
        hook: Callable[[StreamMetrics], object] | None = None,
    ) -> None:
        """Log the start of a stream, and start its clock.

        Parameters
        ----------
        request : Request
            What is asked for.
        backend, reason : str
            Who answers, and why it is not another one.
        executable : str, optional
            The path of the executable that is started.
        hook : callable, optional
            Is called with the metrics after every batch and at the end.
        """
        self._hook = hook
        self.metrics = StreamMetrics(next(_numbers), backend)
        self._log(
            logging.INFO,
            "stream_start",
            f"starts with the backend {backend} ({reason}{f', {executable}' if executable else ''}): {_short(request)}",
            reason=reason,
            executable=executable,
            request=msgspec.to_builtins(request),
        )
        self._then = time.perf_counter()

    def asked(self) -> None:
        """Note that the consumer wants the next batch."""
        self._note(consumer_seconds=self.metrics.consumer_seconds + self._lap())

    def compared(self, slices: int) -> None:
        """Note that more slices were found the same."""
        self._note(compared_slices=self.metrics.compared_slices + slices)

    def answered(self, batch: pa.RecordBatch | None = None, width: int = 1) -> None:
        """Note that the producer has answered, maybe by a batch of `width` symbols."""
        before = self.metrics
        changes: dict[str, Any] = {"producer_seconds": before.producer_seconds + self._lap()}
        if batch is not None:
            slices, size = batch.num_rows // width, batch.nbytes
            changes |= {
                "slices": before.slices + slices,
                "batches": before.batches + 1,
                "bytes": before.bytes + size,
                "peak_batch_slices": max(before.peak_batch_slices, slices),
                "peak_batch_bytes": max(before.peak_batch_bytes, size),
            }
        self._note(**changes)
        if batch is not None:
            self._call_hook()

    def warn(self, warnings: Sequence[RunWarning]) -> None:
        """Log what the producer warns of."""
        for warning in warnings:
            message = f"{warning.name}: {warning.message}"
            self._log(logging.WARNING, "warning", message, warning=msgspec.to_builtins(warning))

    def ended(self, outcome: Outcome, report: RunReport | None, error: BaseException | None = None) -> None:
        """Log the end of the stream, once; what comes after it is ignored."""
        if self.metrics.outcome is not None:
            return
        self._note(outcome=outcome, temporary_bytes=0 if report is None else report.temporary_bytes)
        metrics = self.metrics
        told = (
            f"{metrics.slices} slices in {metrics.batches} batches, {metrics.bytes} bytes, "
            f"{metrics.producer_seconds:.3f} s in the producer, {metrics.consumer_seconds:.3f} s in the consumer"
        )
        extra: dict[str, Any] = {"metrics": msgspec.to_builtins(metrics)}
        if report is not None:
            extra["report"] = msgspec.to_builtins(report)
        if error is not None:
            code = error.code.name if isinstance(error, OmegaSlicesError) else type(error).__name__
            told = f"{told}: {code}, {str(error).splitlines()[0] if str(error) else repr(error)}"
            extra["error"] = {"code": code, "message": str(error)}
        verb = {"complete": "is complete", "closed": "was closed before its end", "failed": "failed"}[outcome]
        self._log(logging.INFO, "stream_end", f"{verb}: {told}", **extra)
        self._call_hook()

    def _log(self, level: int, event: str, text: str, exc_info: BaseException | None = None, **extra: Any) -> None:
        if logger.isEnabledFor(level):
            about = {"event": event, "stream": self.metrics.stream, "backend": self.metrics.backend}
            told = text if event == "warning" else f"stream {self.metrics.stream} {text}"
            logger.log(level, "%s", printable(told), exc_info=exc_info, extra=about | extra)

    def _note(self, **changes: Any) -> None:
        self.metrics = msgspec.structs.replace(self.metrics, **changes)

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._then = now - self._then, now
        return seconds

    def _call_hook(self) -> None:
        hook = self._hook
        if hook is None:
            return
        try:
            hook(self.metrics)
        except Exception as error:  # noqa: BLE001  # whatever it is, the stream goes on
            self._hook = None
            told = f"goes on without its metrics hook {hook!r}, which failed: {error!r}"
            self._log(logging.ERROR, "hook_failed", told, exc_info=error)


def _short(request: Request) -> str:
    symbols = request.symbols
    if symbols is None:
        names = "all symbols"
    else:
        names = ", ".join(symbols[:_SYMBOLS_SHOWN])
        if len(symbols) > _SYMBOLS_SHOWN:
            names += f" and {len(symbols) - _SYMBOLS_SHOWN} more"
    source = request.data if request.inputs is None else request.inputs
    return f"{names}, {request.timeframe} {'/'.join(request.price_types)}, {request.timeline}, from {source}"
