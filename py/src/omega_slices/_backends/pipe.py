"""The executable's stream, read from its pipe.

Owns the proof that the stream is complete: the seal, the end-of-stream marker, nothing
after it, and exit status 0.  What the batches hold is the stream's part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa

from omega_slices._arrow.ipc import CONTINUATION, END_OF_STREAM
from omega_slices._arrow.schema_check import check_schema
from omega_slices._backends.arguments import sync_arguments
from omega_slices._backends.session_input import start_producer
from omega_slices._model.report import RunReport, RunWarning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from omega_slices._backends.process import Output
    from omega_slices._model.options import ExecutionOptions
    from omega_slices._model.request import Request


class BinarySource:
    """The stream of the `omega-slices` executable, straight from its pipe."""

    def __init__(
        self,
        binary: Path,
        request: Request,
        options: ExecutionOptions,
        sessions: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """Start the executable and wait for the schema.

        Parameters
        ----------
        binary : pathlib.Path
            The executable.
        request : Request
            What is asked for.
        options : ExecutionOptions
            Threads and permissions.
        sessions : sequence of (int, int), optional
            Those of the request's market calendar, where it names one: open (included)
            and close (excluded), nanoseconds since 1970.

        Raises
        ------
        OmegaSlicesError
            Whatever the executable found wrong before its first word.
        """
        arguments = [str(binary), *sync_arguments(request, options)]
        self._producer = start_producer(arguments, sessions, options.permissions.storage)
        self._pipe = _Pipe(self._producer.stdout)
        self._sealed = False
        try:
            self._reader = self._open_reader()
            self.schema: pa.Schema = self._reader.schema
            self.symbols = check_schema(self.schema, request)
        except BaseException:
            self._producer.close()
            raise

    def read(self) -> pa.RecordBatch | None:
        """Return the next batch, or None once everything that makes a stream complete was seen."""
        while True:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                self._finish()
                return None
            except Exception as error:  # noqa: BLE001  # broken bytes make pyarrow raise many classes
                self._fail(f"cannot read the stream: {error}", error)
            if self._sealed:
                self._fail("the stream goes on after its seal")
            if batch.num_rows:
                return batch
            self._sealed = True

    def take_warnings(self) -> Sequence[RunWarning]:
        """Return the warnings that came since the last call."""
        return self._producer.take_warnings()

    def report(self) -> RunReport | None:
        """Return the report that the executable wrote."""
        return self._producer.report

    def close(self) -> None:
        """End the process and reap it."""
        self._producer.close()

    def _open_reader(self) -> pa.RecordBatchStreamReader:
        try:
            # There is nothing to decompress, and so nothing to do for a pool of threads.
            return pa.ipc.open_stream(self._pipe, options=pa.ipc.IpcReadOptions(use_threads=False))
        except Exception as error:  # noqa: BLE001  # as in `read`
            self._fail(f"no stream came: {error}", error)

    def _finish(self) -> None:
        # At a cut between two messages, pyarrow ends as quietly as at the marker.
        if not self._pipe.at_marker:
            self._fail("the stream was cut off: it has no end-of-stream marker")
        if not self._sealed:
            self._fail("the stream is incomplete: it ends without its seal")
        if self._pipe.read(1):
            self._fail("there are bytes after the end of the stream")
        if (failure := self._producer.finish()) is not None:
            raise failure
        self._producer.close()

    def _fail(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise self._producer.failure(reason, ended=self._pipe.ended) from cause


class _Pipe:
    """The pipe as pyarrow reads it, remembering how the bytes ended."""

    def __init__(self, file: Output) -> None:
        self._file = file
        self._last = bytearray()
        self.ended = False

    @property
    def closed(self) -> bool:
        return self._file.closed

    @property
    def at_marker(self) -> bool:
        """Whether the last bytes asked for came, and were the end-of-stream marker."""
        return not self.ended and self._last == END_OF_STREAM

    def read(self, size: int) -> bytearray:
        data = self._file.read(size)
        if not self._last and not data.startswith(CONTINUATION[: len(data)]):
            # Taken as a length, other bytes would make pyarrow wait for gigabytes.
            raise ValueError(f"its first bytes are {bytes(data)!r}")
        # Less than asked for comes at the end only.
        self.ended = len(data) < size
        marker = len(END_OF_STREAM)
        self._last = data[-marker:] if len(data) >= marker else (self._last + data)[-marker:]
        return data
