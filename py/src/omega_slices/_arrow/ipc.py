"""Arrow IPC files and streams of slices: where their batches are, and what they say of themselves.

Owns both forms: the file, whose footer tells everything at once, and the stream, which one
pass indexes.  Guarantees that what is opened is complete and agrees with itself.
"""

from __future__ import annotations

import mmap
import os
import stat
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import pyarrow as pa

from omega_slices._arrow.buffers import string_array, values_view
from omega_slices._arrow.plain_types import plain_batch, plain_schema
from omega_slices._arrow.schema_check import read_schema
from omega_slices._model.report import RunReport
from omega_slices._model.schema import BATCH_INDEX_KEY, REPORT_KEY, SEAL_KEY, SYMBOL_COLUMN, TIMESTAMP_COLUMN
from omega_slices._model.times import NS_MAX, NS_MIN
from omega_slices.errors import DeserializationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omega_slices._model.schema import StreamSpec

MAGIC: Final = b"ARROW1"

# What every message of an Arrow IPC stream starts with, and what the stream ends with: a
# message of no length.
CONTINUATION: Final = b"\xff\xff\xff\xff"
END_OF_STREAM: Final = CONTINUATION + b"\x00\x00\x00\x00"
REMAKE_HINT: Final = "write the file again with omega-slices sync"


class BatchIndex(NamedTuple):
    """Where the slices are.

    Attributes
    ----------
    first_timestamps_ns : sequence of int
        The timestamp of each batch's first slice, nanoseconds since 1970; increasing.
    starts : sequence of int
        How many slices there are before each batch; and, one more, in all.
    """

    first_timestamps_ns: Sequence[int]
    starts: Sequence[int]


class _Form:
    """What files and streams have in common."""

    schema: pa.Schema
    symbols: tuple[str, ...]
    spec: StreamSpec
    index: BatchIndex
    report: RunReport

    def read(self, number: int) -> pa.RecordBatch:
        """Return a batch; raise whatever pyarrow raises."""
        raise NotImplementedError


class FileForm(_Form):
    """The Arrow IPC file: its footer says where everything is."""

    def __init__(self, buffer: pa.Buffer) -> None:
        if buffer[-len(MAGIC) :].to_pybytes() != MAGIC:
            raise _incomplete("its end is missing")
        # Without the pool of threads, whose state a fork would take along.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        self._reader = pa.ipc.open_file(pa.BufferReader(buffer), options=options)
        self.schema = plain_schema(self._reader.schema)
        self.symbols, self.spec = read_schema(self.schema)
        self._texts = string_array(self.symbols)
        self._is_plain = self._reader.schema.types == self.schema.types
        footer: dict[bytes, bytes] = self._reader.metadata or {}
        if SEAL_KEY not in footer:
            raise _incomplete("its footer has no seal")
        try:
            seal = msgspec.json.decode(footer[SEAL_KEY], type=_Seal)
            told = msgspec.json.decode(footer[REPORT_KEY], type=RunReport)
            batches = msgspec.json.decode(footer[BATCH_INDEX_KEY], type=_Batches)
        except (KeyError, msgspec.DecodeError) as error:
            raise _malformed(f"its footer is malformed: {error!r}") from None
        self.report = msgspec.structs.replace(told, complete=True)
        self.index = _index(batches.first_timestamps_ns, batches.slices)
        self._check(seal)

    def read(self, number: int) -> pa.RecordBatch:
        batch = self._reader.get_batch(number)
        return batch if self._is_plain else plain_batch(batch, self.schema, self._texts)

    def _check(self, seal: _Seal) -> None:
        """Check that all that the footer says is true of one and the same file."""
        firsts, starts = self.index
        report = self.report
        if (seal.slices, seal.batches) != (starts[-1], len(firsts)):
            raise _malformed("its seal does not match its index")
        last_ns = report.last_timestamp_ns
        if (
            (report.slices, report.batches, report.first_timestamp_ns)
            != (seal.slices, seal.batches, firsts[0] if firsts else None)
            or (last_ns is None) != (not firsts)
            or (last_ns is not None and last_ns < firsts[-1])
        ):
            raise _malformed("its report does not match its index")
        if self._reader.num_record_batches != len(firsts) + 1:
            raise _malformed(f"it has {self._reader.num_record_batches} batches, not {len(firsts)} and the seal")
        # Reads the dictionaries too, once and for all threads.
        if self._reader.get_batch(len(firsts)).num_rows:
            raise _malformed("its last batch is not the seal")


class StreamForm(_Form):
    """The Arrow IPC stream: one pass over its messages tells where they are."""

    def __init__(self, buffer: pa.Buffer) -> None:
        self._buffer = buffer
        if buffer[: len(CONTINUATION)].to_pybytes() != CONTINUATION:
            raise _malformed("it is neither an Arrow IPC file nor a stream")
        with pa.ipc.open_stream(pa.BufferReader(buffer)) as reader:
            written = reader.schema
        self.schema = plain_schema(written)
        self.symbols, self.spec = read_schema(self.schema)
        # Alone, a batch holds the positions of its symbols as plain integers.  The texts are
        # in a message of their own, and known from the metadata.
        position = self.schema.get_field_index(SYMBOL_COLUMN)
        self._is_plain = written.types == self.schema.types
        self._written = written
        if pa.types.is_dictionary(written.field(position).type):
            self._written = written.set(position, pa.field(SYMBOL_COLUMN, pa.int16(), nullable=False))
        self._texts = string_array(self.symbols)
        self._places: list[int] = []
        self.index = self._walk()
        firsts, starts = self.index
        last_ns = None
        if firsts:
            last_ns = int(values_view(self.read(len(firsts) - 1).column(TIMESTAMP_COLUMN), "int64")[-1])
        self.report = RunReport(
            slices=starts[-1],
            batches=len(firsts),
            first_timestamp_ns=firsts[0] if firsts else None,
            last_timestamp_ns=last_ns,
            complete=True,
        )

    def read(self, number: int) -> pa.RecordBatch:
        return self._read_at(self._places[number])

    def _read_at(self, place: int) -> pa.RecordBatch:
        message = pa.ipc.read_message(pa.BufferReader(self._buffer[place:]))
        batch = pa.ipc.read_record_batch(message, self._written)
        batch.validate()
        position = self.schema.get_field_index(SYMBOL_COLUMN)
        if batch.column(position).type == pa.int16():
            # What they point at is checked with the rest of the batch.
            dictionary = pa.DictionaryArray.from_arrays(batch.column(position), self._texts, safe=False)
            batch = batch.set_column(position, self.schema.field(position), dictionary)
        return batch if self._is_plain else plain_batch(batch, self.schema, self._texts)

    def _walk(self) -> BatchIndex:
        """Go from message to message up to the end; remember where the batches are."""
        source = pa.BufferReader(self._buffer)
        width = len(self.symbols)
        kinds: list[str] = []
        firsts: list[int] = []
        counts: list[int] = []
        is_sealed = False
        while (place := source.tell()) < self._buffer.size:
            if self._buffer[place:] == pa.py_buffer(END_OF_STREAM):
                break
            message = pa.ipc.read_message(source)
            kinds.append(message.type)
            if message.type != "record batch":
                continue
            if is_sealed:
                raise _malformed("it goes on after its seal")
            batch = self._read_at(place)
            is_sealed = not batch.num_rows
            if is_sealed:
                continue
            if batch.num_rows % width:
                raise _malformed(f"a batch has {batch.num_rows} rows, no multiple of its {width} symbols")
            self._places.append(place)
            firsts.append(int(values_view(batch.column(TIMESTAMP_COLUMN), "int64")[0]))
            counts.append(batch.num_rows // width)
        else:
            raise _incomplete("it has no end-of-stream marker")
        if not is_sealed:
            raise _incomplete("it has no seal")
        # The schema, the texts of the symbols, then batches only: no text changes on the way.
        if kinds[0] != "schema" or {"schema", "dictionary"} & set(kinds[2:]):
            raise _malformed("its symbols change on the way")
        return _index(firsts, counts)


class _NoSuchFileError(DeserializationError, FileNotFoundError):
    """For code that knows files, but not this package."""


class _Seal(msgspec.Struct):
    slices: int
    batches: int


class _Batches(msgspec.Struct):
    slices: list[int]
    first_timestamps_ns: list[int]


def _index(firsts: list[int], counts: list[int]) -> BatchIndex:
    if len(firsts) != len(counts) or any(count < 1 for count in counts):
        raise _malformed("its index of batches is malformed")
    if any(before >= after for before, after in pairwise([NS_MIN - 1, *firsts, NS_MAX + 1])):
        raise _malformed("its timestamps do not increase from batch to batch")
    return BatchIndex(firsts, [0, *accumulate(counts)])


def map_file(path: str) -> pa.Buffer:
    """Map a file; the system reads a page when it is touched."""
    try:
        # Not blocking: the name may be that of a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return map_descriptor(descriptor, path)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise no_such_file(path) from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise _unreadable(path, error) from error


def map_descriptor(descriptor: int, path: str) -> pa.Buffer:
    """Map an open file, which errors name `path`.

    Raises
    ------
    DeserializationError
        It is empty, or no regular file.
    """
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        kind = "folder" if stat.S_ISDIR(state.st_mode) else "pipe or device"
        raise DeserializationError(
            f"cannot read {path!r}: it is a {kind}",
            hint="give the path of a file that omega-slices sync wrote with -o",
            file=path,
        )
    if not state.st_size:
        raise DeserializationError(f"cannot read {path!r}: it is empty", hint=REMAKE_HINT, file=path)
    return pa.py_buffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))


def no_such_file(path: str) -> DeserializationError:
    """Return the error for a file or object that is not there."""
    return _NoSuchFileError(
        f"cannot read {path!r}: the file does not exist", hint="check the path, or make the file", file=path
    )


def _unreadable(path: str, error: Exception) -> DeserializationError:
    return DeserializationError(
        f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}",
        hint="check that it exists and is readable",
        file=path,
    )


def _incomplete(what: str) -> DeserializationError:
    return DeserializationError(
        f"it is incomplete: {what}", hint=f"its writer was stopped, or it was copied in part; {REMAKE_HINT}"
    )


def _malformed(what: str) -> DeserializationError:
    return DeserializationError(what, hint=REMAKE_HINT)
