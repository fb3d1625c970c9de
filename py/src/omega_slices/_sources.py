"""Where record batches come from: the executable's pipe, a cached file, or the reference in this process.

Owns the way from a request to record batches, the same for all: the schema first,
then batches with rows, then a proper end or an error.  Guarantees that `read` returns
None only where the stream is complete, which for the pipe means: the seal, the
end-of-stream marker, nothing after it, exit status 0; and for a file what `SliceFile`
asks of it.  Leaves to the stream what the
batches hold, and everything that a user sees.
"""

from __future__ import annotations

import math
import os
import tempfile
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._candle import CandleData, RunReport, RunWarning
from omega_slices._file import CONTINUATION, END_OF_STREAM, SliceFile
from omega_slices._process import HEARTBEAT_S, Producer
from omega_slices._schema import check_schema, content_of, indicator_column, stream_schema
from omega_slices._times import NS_MAX, NS_MIN, format_time_ns
from omega_slices.errors import DeserializationError, OmegaSlicesError, SystemFailureError, error_from_warning
from omega_slices.reference import open_reference, timestamp_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from omega_slices._process import Output
    from omega_slices._request import Request
    from omega_slices._schema import CandleColumns
    from omega_slices.reference import ReferenceCell

# Linux takes 128 KiB as one argument of a program.
_ARGUMENT_BYTES_MAX: Final = 64 << 10

# How often the executable is asked for a file that is then no longer there.
_CACHE_ATTEMPTS: Final = 3

# More than any system takes as a path.
_PATH_BYTES_MAX: Final = 64 << 10

# Rows of one batch of the reference, or one slice where that is more.
_REFERENCE_BATCH_ROWS: Final = 16_384


class Source(Protocol):
    """What a stream reads from."""

    schema: pa.Schema
    symbols: tuple[str, ...]

    def read(self) -> pa.RecordBatch | None:
        """Return the next batch, which has rows; None at the proper end.

        Raises
        ------
        OmegaSlicesError
            The stream cannot be completed.
        """

    def take_warnings(self) -> Sequence[RunWarning]:
        """Return the warnings that were not returned before."""

    def report(self) -> RunReport | None:
        """Return what the producer says of the whole run, after its end; None where it says nothing."""

    def close(self) -> None:
        """Give everything back; may be called again."""


class Permissions(NamedTuple):
    """What a run may do, which changes no slice.

    Attributes
    ----------
    follow_links : bool
        Whether links may lead out of the root folder.
    strict : bool
        Whether a warning ends the run as an error.
    """

    follow_links: bool = False
    strict: bool = False


NO_PERMISSIONS: Final = Permissions()


class BinarySource:
    """The stream of the `omega-slices` executable, straight from its pipe."""

    def __init__(
        self,
        binary: Path,
        request: Request,
        threads: int | None,
        sessions: Sequence[tuple[int, int]] | None = None,
        permissions: Permissions = NO_PERMISSIONS,
    ) -> None:
        """Start the executable and wait for the schema.

        Parameters
        ----------
        binary : pathlib.Path
            The executable.
        request : Request
            What is asked for.
        threads : int or None
            As in `open_slices`.
        sessions : sequence of (int, int), optional
            Those of the request's market calendar, where it names one: open (included)
            and close (excluded), nanoseconds since 1970.
        permissions : Permissions
            What the run may do.

        Raises
        ------
        OmegaSlicesError
            Whatever the executable found wrong before its first word.
        """
        self._producer = _start([str(binary), *sync_arguments(request, threads, permissions)], sessions)
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
                self._fail(f"the stream cannot be read: {error}", error)
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


class Cache(NamedTuple):
    """Where the executable keeps what it made.

    Attributes
    ----------
    folder : str
        The folder, made where it is not there.
    size : str or None
        What all files in it may take together, as the executable reads it; None for its
        default.
    """

    folder: str
    size: str | None


class _EndedRun:
    """What a run said of itself that had ended before anything of it is read."""

    _report: RunReport
    _warnings: Sequence[RunWarning]

    def take_warnings(self) -> Sequence[RunWarning]:
        """Return the warnings, which are all there from the start; once."""
        new, self._warnings = self._warnings, ()
        return new

    def report(self) -> RunReport | None:
        """Return the run's report."""
        return self._report


class CachedSource(_EndedRun):
    """The slices of a file that the executable keeps in a cache, and makes where it is not there yet."""

    def __init__(
        self,
        binary: Path,
        request: Request,
        threads: int | None,
        sessions: Sequence[tuple[int, int]] | None,
        cache: Cache,
        permissions: Permissions = NO_PERMISSIONS,
    ) -> None:
        """Let the executable find or make the file, and map it.

        Parameters
        ----------
        binary, request, threads, sessions, permissions
            As `BinarySource` takes them.
        cache : Cache
            Where the file is kept.

        Raises
        ------
        OmegaSlicesError
            Whatever the executable found wrong, before and while it made the file.
        """
        asked = sync_arguments(request, threads, permissions)
        arguments = [str(binary), *asked, f"--cache={cache.folder}", "--print-path"]
        if cache.size is not None:
            arguments.append(f"--cache-size={cache.size}")
        self._warnings = ()
        file = self._open(arguments, sessions, cache.folder)
        self._file: SliceFile | None = file
        self.schema: pa.Schema = file.schema
        self.symbols = check_schema(self.schema, request)
        self._report = file.report
        self._numbers = iter(range(self._report.batches))

    def read(self) -> pa.RecordBatch | None:
        """Return the next batch as the file has it, or None at its end."""
        for number in self._numbers:
            assert self._file is not None  # `close` ends the numbers
            return self._file.read(number)
        return None

    def close(self) -> None:
        """Let go of the file; batches that were read keep it mapped."""
        self._numbers = iter(range(0))
        self._file = None

    def _open(self, arguments: Sequence[str], sessions: Sequence[tuple[int, int]] | None, folder: str) -> SliceFile:
        # Between the two programs another one may need the room that the file takes.  Once
        # mapped, it is there for us whatever becomes of its name.
        for _ in range(_CACHE_ATTEMPTS):
            path = self._ask(arguments, sessions)
            try:
                return SliceFile(path)
            except FileNotFoundError:
                pass
            except DeserializationError as error:
                hint = f"remove it, or all of them: omega-slices cache clear --cache {folder}"
                raise DeserializationError(error.message, hint=hint, file=path) from error
        raise SystemFailureError(
            f"the cached file was removed before it could be opened, {_CACHE_ATTEMPTS} times",
            hint="give the cache more room (cache_size=), or leave its folder to omega-slices alone",
            file=path,
        )

    def _ask(self, arguments: Sequence[str], sessions: Sequence[tuple[int, int]] | None) -> str:
        """Return the path that the executable prints once the file is there."""
        producer = _start(arguments, sessions)
        try:
            printed = bytes(producer.stdout.read(_PATH_BYTES_MAX))
            if (failure := producer.finish()) is not None:
                raise failure
            self._warnings = producer.take_warnings()
            path = os.fsdecode(printed[:-1])
            if not printed.endswith(b"\n") or not os.path.isabs(path):
                raise producer.failure(f"no path of a cached file came, but {printed[:100]!r}", ended=True)
            return path
        finally:
            producer.close()


def _start(arguments: Sequence[str], sessions: Sequence[tuple[int, int]] | None) -> Producer:
    return Producer(arguments) if sessions is None else _start_with_sessions(arguments, sessions)


def _start_with_sessions(arguments: Sequence[str], sessions: Sequence[tuple[int, int]]) -> Producer:
    """Start the executable with a CSV file of sessions as its standard input.

    The file has no name, so nothing of it is left whatever happens; and unlike a pipe it
    never makes one of the two wait for the other.
    """
    lines = ["open,close", *(",".join(map(format_time_ns, session)) for session in sessions), ""]
    try:
        with tempfile.TemporaryFile() as file:
            file.write("\n".join(lines).encode())
            file.seek(0)
            return Producer(arguments, stdin=file)
    except OmegaSlicesError:
        raise
    except OSError as error:
        raise SystemFailureError(
            f"the sessions of the calendar cannot be handed over: {error}",
            hint="let the environment variable TMPDIR name a folder with room",
        ) from error


def sync_arguments(request: Request, threads: int | None, permissions: Permissions = NO_PERMISSIONS) -> list[str]:
    """Return the arguments that make the executable answer a request.

    The sessions of a market calendar are expected on its standard input.
    """
    arguments = [
        "sync",
        *request_arguments(request, permissions),
        f"--heartbeat={HEARTBEAT_S}",
        "--progress=never",
    ]
    return arguments if threads is None else [*arguments, f"--threads={threads}"]


def request_arguments(request: Request, permissions: Permissions = NO_PERMISSIONS) -> list[str]:
    """Return what tells the executable a request, for every command that takes one.

    Every value is bound to its option with ``=``, so that it may start with a dash.
    """
    arguments = [f"--data={request.data}" if request.inputs is None else f"--inputs={request.inputs}"]
    if request.symbols is None:
        arguments.append("--all-symbols")
    else:
        arguments.extend(f"--symbols={part}" for part in _joined(request.symbols))
    arguments += [
        f"--timeframe={request.timeframe}",
        f"--price-types={','.join(request.price_types)}",
        f"--timeline={request.timeline}",
        f"--session={request.session if request.calendar is None else 'none'}",
        f"--unsorted={request.unsorted}",
        "--error-format=json",
    ]
    flags = {
        "normalize": request.normalize,
        "one-instrument": request.one_instrument,
        "follow-links": permissions.follow_links,
        "strict": permissions.strict,
    }
    arguments += [f"--{flag}" for flag, is_set in flags.items() if is_set]
    arguments += [f"--with-timeframe={further}" for further in request.with_timeframe]
    optional = {
        "duplicates": request.duplicates,
        "start": None if request.start is None else format_time_ns(request.start),
        "end": None if request.end is None else format_time_ns(request.end),
        "path-template": request.path_template,
        "columns": ",".join(f"{field}={name}" for field, name in request.columns.items()) or None,
        "fill": None if request.fill == "none" else request.fill,
        "max-age": request.max_age,
        "known-at": None if request.known_at == "open" else request.known_at,
        "session-file": request.session_file if request.calendar is None else "/dev/stdin",
        "session-name": request.calendar,
        "indicators": ",".join(request.indicators) or None,
        "indicator-template": request.indicator_template,
        "symbol-pattern": request.symbol_pattern,
        "timestamp-unit": request.timestamp_unit,
        "zone": request.zone,
        "ambiguous": None if request.ambiguous == "error" else request.ambiguous,
        "stamped": None if request.stamped == "open" else request.stamped,
        "days": request.days,
    }
    return [*arguments, *(f"--{option}={value}" for option, value in optional.items() if value is not None)]


def _joined(symbols: tuple[str, ...]) -> Iterator[str]:
    """Join symbols by commas, into as many texts as the length of an argument demands."""
    part: list[str] = []
    part_bytes = 0
    for symbol in symbols:
        symbol_bytes = len(symbol.encode()) + 1
        if part and part_bytes + symbol_bytes > _ARGUMENT_BYTES_MAX:
            yield ",".join(part)
            part, part_bytes = [], 0
        part.append(symbol)
        part_bytes += symbol_bytes
    yield ",".join(part)


def reference_range_ns(request: Request, permissions: Permissions) -> tuple[int, int] | None:
    """Return the smallest and the largest timestamp of all files of a request, without the executable.

    Returns
    -------
    (int, int), or None
        Nanoseconds since 1970, as rows are stamped; None where there are no rows.

    Raises
    ------
    OmegaSlicesError
        A series has no file, or what is in it cannot be read.
    """
    return timestamp_range(request, follow_links=permissions.follow_links)


class ReferenceSource(_EndedRun):
    """The slices of the reference implementation, put into batches of the stream's schema."""

    def __init__(
        self,
        request: Request,
        sessions: Sequence[tuple[int, int]] | None = None,
        *,
        follow_links: bool = False,
        strict: bool = False,
        part: tuple[int, int] = (NS_MIN, NS_MAX),
    ) -> None:
        """Answer a request, or a part of it, as `open_reference` takes them.

        Raises
        ------
        OmegaSlicesError
            What the reference found wrong; with `strict` also its first warning.
        """
        run = open_reference(request, sessions, follow_links=follow_links, part=part)
        self._content = content_of(request)
        self._report = run.report()
        self._warnings = self._report.warnings
        if strict and self._warnings:
            raise error_from_warning(**msgspec.structs.asdict(self._warnings[0]))
        self._steps = iter(run)
        self.symbols = run.symbols
        producer = f"omega-slices-python/{_version()}"
        self.schema: pa.Schema = stream_schema(request, self.symbols, producer, run.known_after_ns)

    def read(self) -> pa.RecordBatch | None:
        """Return the next batch, or None at the end of the slices."""
        slices_max = max(1, _REFERENCE_BATCH_ROWS // len(self.symbols))
        steps = list(islice(self._steps, slices_max))
        return self._encode(steps) if steps else None

    def close(self) -> None:
        """Let go of the slices that were not read."""
        self._steps = iter(())

    def _encode(self, steps: list[tuple[int, list[ReferenceCell]]]) -> pa.RecordBatch:
        width, content = len(self.symbols), self._content
        timestamps = np.repeat(np.array([timestamp_ns for timestamp_ns, _ in steps], np.int64), width)
        positions = np.tile(np.arange(width, dtype=np.int16), len(steps))
        cells = [cell for _, step in steps for cell in step]
        columns = {
            "timestamp": pa.array(timestamps).cast(self.schema.field("timestamp").type),
            "symbol": pa.DictionaryArray.from_arrays(pa.array(positions), pa.array(self.symbols, pa.string())),
        }
        for (timeframe, side), names in content.candles.items():
            shown = (cell.candles if timeframe == content.timeframe else cell.further[timeframe] for cell in cells)
            columns |= _candle_columns(names, [candles[side] for candles in shown])
        for name in content.indicators:
            values = [cell.indicators[name] for cell in cells]
            bitmap = _bitmap([value is not None for value in values])
            floats = np.array([math.nan if value is None else value for value in values], np.float64)
            columns[indicator_column(name)] = _column(pa.float64(), bitmap, floats)
        return pa.record_batch([columns[name] for name in self.schema.names], schema=self.schema)


def _candle_columns(names: CandleColumns, candles: list[CandleData | None]) -> dict[str, pa.Array]:
    bitmap = _bitmap([candle is not None for candle in candles])
    values = np.array([_NO_VALUES if candle is None else _values(candle) for candle in candles], np.float64)
    columns = {name: _column(pa.float64(), bitmap, field) for name, field in zip(names.values, values.T, strict=True)}
    columns[names.valid] = pa.array([candle is not None and candle.is_valid for candle in candles])
    if names.timestamp is not None:
        stamps = np.array([0 if candle is None else candle.timestamp_ns for candle in candles], np.int64)
        columns[names.timestamp] = _column(pa.timestamp("ns", "UTC"), bitmap, stamps)
    return columns


def _bitmap(present: list[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(present), bitorder="little"))


def _column(kind: pa.DataType, bitmap: pa.Buffer, values: np.ndarray[Any, Any]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


# A value under a null is NaN, so that a column can be read without looking at its bitmap.
_NO_VALUES: Final = (math.nan,) * 5


def _values(candle: CandleData) -> tuple[float, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume


def _version() -> str:
    try:
        return version("omega-slices")
    except PackageNotFoundError:  # run from the source tree
        return "unknown"
