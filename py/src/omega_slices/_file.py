"""One file of slices, mapped into memory: what it says of itself, and its batches on demand.

Owns the way from a path to checked batches, for both forms of Arrow IPC: the file, whose
footer tells everything at once, and the stream, which is indexed by one pass.  Guarantees
that an opened file is complete (sealed, whole, in agreement with itself), that a batch is
checked before anybody reads it, and that nothing but an `OmegaSlicesError` comes out of
broken bytes.  Leaves positions, ranges and everything that a user sees to the table.

May be used by several threads, and after a fork: there is no lock.  Where two threads
meet, both read the same batch and one of the two results stays.

What nothing can guard against: a file that is cut short while it is mapped ends the
process (SIGBUS).  Our own programs never write into a file that is there; they put
another one under its name.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections import deque
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._buffers import string_array, values_view
from omega_slices._candle import RunReport
from omega_slices._paths import check_local
from omega_slices._schema import check_batch, known_after_ns, read_schema
from omega_slices._slices import DerivedMemory, SliceBatch, SliceLayout
from omega_slices._times import NS_MAX, NS_MIN
from omega_slices.errors import DeserializationError, OmegaSlicesError

if TYPE_CHECKING:
    from omega_slices._schema import StreamContent

_MAGIC: Final = b"ARROW1"
# What every message of an Arrow IPC stream starts with, and what the stream ends with: a
# message of no length.
CONTINUATION: Final = b"\xff\xff\xff\xff"
END_OF_STREAM: Final = CONTINUATION + b"\x00\x00\x00\x00"

# What stays in memory of a file that is touched all over.  A batch of views takes some
# 30 kB, whatever it shows; one that had to be decompressed takes all of its columns.
_VIEWS_MAX: Final = 4_096
_DECOMPRESSED_MAX: Final = 16
_DERIVED_BYTES_MAX: Final = 256 << 20

_REMAKE: Final = "make the file anew with omega-slices sync"


class BatchIndex(NamedTuple):
    """Where the slices are.

    Attributes
    ----------
    first_timestamps_ns : list of int
        The timestamp of each batch's first slice, nanoseconds since 1970; increasing.
    starts : list of int
        How many slices there are before each batch; and, one more, in all.
    """

    first_timestamps_ns: list[int]
    starts: list[int]


class SliceFile:
    """A complete file of slices.

    Attributes
    ----------
    path : str
        Absolute.
    schema : pyarrow.Schema
        With its metadata.
    layout : SliceLayout
        What all its slices share.
    index : BatchIndex
        Where they are.
    report : RunReport
        What the run that made the file said of itself.
    views : list of SliceBatch or None
        The batches at hand, by number.  To be read only, as the short way past `batch`.
    """

    __slots__ = (
        "_decompressed",
        "_form",
        "_mapped",
        "_maps_columns",
        "_order",
        "_rows_checked",
        "_symbols_array",
        "index",
        "layout",
        "path",
        "report",
        "schema",
        "views",
    )

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map a file and read what it says of itself.

        Raises
        ------
        DeserializationError
            The file cannot be read, is not ours, incomplete, or of a newer version.  Where
            there is no such file, also a `FileNotFoundError`.
        """
        text = os.fsdecode(path)
        check_local(text)
        self.path = os.path.abspath(text)
        buffer = _map(self.path)
        # Addresses tell views of the file from memory of their own.
        self._mapped = range(buffer.address, buffer.address + buffer.size)
        try:
            is_file = buffer[: len(_MAGIC)].to_pybytes() == _MAGIC
            self._form = _FileForm(buffer) if is_file else _StreamForm(buffer)
        except OmegaSlicesError as error:
            raise self._unreadable(error.message, error.hint) from None
        except Exception as error:  # broken bytes make pyarrow raise many classes
            raise self._unreadable(f"it is no complete Arrow IPC file or stream: {error}") from error
        self.schema = self._form.schema
        self.index = self._form.index
        self.report = self._form.report
        self.layout = SliceLayout(
            self._form.symbols,
            self._form.content,
            DerivedMemory(_DERIVED_BYTES_MAX),
            self.path,
            known_after_ns(self.schema),
        )
        self._symbols_array = string_array(self.layout.symbols)
        self.views: list[SliceBatch | None] = [None] * len(self.index.first_timestamps_ns)
        self._rows_checked = bytearray(len(self.views))
        self._maps_columns: bool | None = None
        self._order: deque[int] = deque()
        # The least recently used first.
        self._decompressed: dict[int, SliceBatch] = {}

    def read(self, number: int) -> pa.RecordBatch:
        """Return a record batch as the file has it, unchecked.

        Raises
        ------
        DeserializationError
            Its bytes are no record batch.
        """
        try:
            return self._form.read(number)
        except Exception as error:  # broken bytes make pyarrow raise many classes
            raise self._unreadable(f"its batch {number} is damaged: {error}") from error

    def batch(self, number: int) -> SliceBatch:
        """Return a batch, checked when it is first touched.

        Checked is what finding its slices and reading any memory rests on.  That the columns
        of a candle agree is checked where they are first read.  What only a record batch
        shows, the symbol and the timestamp of each row, is left to `record_batch`: to look
        at all of it for every batch costs a third of a walk through the file.

        Raises
        ------
        DeserializationError
            It does not hold what the file says that it holds.
        """
        found = self.views[number] or self._decompressed.pop(number, None)
        if found is None:
            found = self._checked(number)
        if self._is_mapped(found.record_batch):
            self._keep_view(number, found)
        else:
            self._keep_decompressed(number, found)
        return found

    def record_batch(self, number: int) -> pa.RecordBatch:
        """Return a record batch to be handed over, with every row of it checked, once.

        Raises
        ------
        DeserializationError
            As `batch`, or a row is not where it should be.
        """
        record_batch = (self.views[number] or self.batch(number)).record_batch
        if not self._rows_checked[number]:
            try:
                check_batch(record_batch, self._symbols_array, self.layout.content, None)
            except DeserializationError as error:
                raise self._damaged(number, error.message) from None
            self._rows_checked[number] = True
        return record_batch

    def _checked(self, number: int) -> SliceBatch:
        firsts, starts = self.index
        record_batch = self.read(number)
        if record_batch.num_rows != (starts[number + 1] - starts[number]) * len(self.layout.symbols):
            raise self._damaged(number, f"it has {record_batch.num_rows} rows")
        try:
            record_batch.validate()
        except pa.ArrowInvalid as error:
            raise self._damaged(number, str(error)) from None
        batch = SliceBatch(record_batch, self.layout)
        first_ns, last_ns = batch.timestamps_ns[0], batch.timestamps_ns[-1]
        if number + 1 < len(firsts):
            is_end_right = last_ns < firsts[number + 1]
        else:
            is_end_right = last_ns == self.report.last_timestamp_ns
        stamps = np.frombuffer(batch.timestamps_ns, np.int64)
        if first_ns != firsts[number] or not is_end_right or not (stamps[:-1] < stamps[1:]).all():
            raise self._damaged(number, "its timestamps are not those of the index, or not in order")
        return batch

    def _is_mapped(self, record_batch: pa.RecordBatch) -> bool:
        if self._maps_columns is None:
            # All of them, once: a writer that compresses leaves a column as it is that would
            # not become smaller.
            self._maps_columns = all(column.buffers()[1].address in self._mapped for column in record_batch.columns)
        return self._maps_columns

    def _keep_view(self, number: int, batch: SliceBatch) -> None:
        if self.views[number] is None:
            self._order.append(number)
        self.views[number] = batch
        while len(self._order) > _VIEWS_MAX:
            self._forget_view()

    def _forget_view(self) -> None:
        # Another thread may have been quicker.
        with suppress(IndexError):
            self.views[self._order.popleft()] = None

    def _keep_decompressed(self, number: int, batch: SliceBatch) -> None:
        kept = self._decompressed
        kept[number] = batch
        while len(kept) > _DECOMPRESSED_MAX:
            # A copy, since another thread may change the dict meanwhile.
            kept.pop(next(iter(tuple(kept))), None)

    def _damaged(self, number: int, what: str) -> DeserializationError:
        return self._unreadable(f"its batch {number} is damaged: {what}")

    def _unreadable(self, what: str, hint: str | None = None) -> DeserializationError:
        return DeserializationError(f"{self.path!r} cannot be read: {what}", hint=hint or _REMAKE, file=self.path)


class _Form:
    """What files and streams have in common."""

    schema: pa.Schema
    symbols: tuple[str, ...]
    content: StreamContent
    index: BatchIndex
    report: RunReport

    def read(self, number: int) -> pa.RecordBatch:
        """Return a batch; raise whatever pyarrow raises."""
        raise NotImplementedError


class _FileForm(_Form):
    """The Arrow IPC file: its footer says where everything is."""

    def __init__(self, buffer: pa.Buffer) -> None:
        if buffer[-len(_MAGIC) :].to_pybytes() != _MAGIC:
            raise _incomplete("its end is missing")
        # Without the pool of threads, whose state a fork would take along.
        options = pa.ipc.IpcReadOptions(use_threads=False)
        self._reader = pa.ipc.open_file(pa.BufferReader(buffer), options=options)
        self.schema = self._reader.schema
        self.symbols, self.content = read_schema(self.schema)
        footer: dict[bytes, bytes] = self._reader.metadata or {}
        if b"seal" not in footer:
            raise _incomplete("its footer has no seal")
        try:
            seal = msgspec.json.decode(footer[b"seal"], type=_Seal)
            told = msgspec.json.decode(footer[b"report"], type=RunReport)
            batches = msgspec.json.decode(footer[b"batch_index"], type=_Batches)
        except (KeyError, msgspec.DecodeError) as error:
            raise _malformed(f"its footer is malformed: {error!r}") from None
        self.report = msgspec.structs.replace(told, complete=True)
        self.index = _index(batches.first_timestamps_ns, batches.slices)
        self._check(seal)

    def read(self, number: int) -> pa.RecordBatch:
        return self._reader.get_batch(number)

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


class _StreamForm(_Form):
    """The Arrow IPC stream: one pass over its messages tells where they are."""

    def __init__(self, buffer: pa.Buffer) -> None:
        self._buffer = buffer
        if buffer[: len(CONTINUATION)].to_pybytes() != CONTINUATION:
            raise _malformed("it is neither an Arrow IPC file nor a stream")
        with pa.ipc.open_stream(pa.BufferReader(buffer)) as reader:
            self.schema = reader.schema
        self.symbols, self.content = read_schema(self.schema)
        # Alone, a batch holds the positions of its symbols as it would hold plain integers;
        # the texts are in a message of their own, and known from the metadata.
        position = self.schema.get_field_index("symbol")
        self._positions = self.schema.set(position, pa.field("symbol", pa.int16(), nullable=False))
        self._texts = string_array(self.symbols)
        self._places: list[int] = []
        self.index = self._walk()
        firsts, starts = self.index
        last_ns = None
        if firsts:
            last_ns = int(values_view(self.read(len(firsts) - 1).column("timestamp"), "int64")[-1])
        self.report = RunReport(
            slices=starts[-1],
            batches=len(firsts),
            first_timestamp_ns=firsts[0] if firsts else None,
            last_timestamp_ns=last_ns,
            complete=True,
        )

    def read(self, number: int) -> pa.RecordBatch:
        batch = self._read_at(self._places[number])
        columns = batch.columns
        position = self.schema.get_field_index("symbol")
        # What they point at is checked with the rest of the batch.
        columns[position] = pa.DictionaryArray.from_arrays(columns[position], self._texts, safe=False)
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _read_at(self, place: int) -> pa.RecordBatch:
        message = pa.ipc.read_message(pa.BufferReader(self._buffer[place:]))
        batch = pa.ipc.read_record_batch(message, self._positions)
        batch.validate()
        return batch

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
            firsts.append(int(values_view(batch.column("timestamp"), "int64")[0]))
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


def _map(path: str) -> pa.Buffer:
    """Return the bytes of a file as memory that the system fills page by page when it is touched."""
    try:
        # Not blocking: the name may be that of a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                kind = "folder" if stat.S_ISDIR(state.st_mode) else "pipe or device"
                raise DeserializationError(
                    f"{path!r} cannot be read: it is a {kind}",
                    hint="give the path of a file that omega-slices sync wrote with -o",
                    file=path,
                )
            if not state.st_size:
                raise DeserializationError(f"{path!r} cannot be read: it is empty", hint=_REMAKE, file=path)
            return pa.py_buffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise _NoSuchFileError(
            f"{path!r} cannot be read: there is no such file", hint="check the path, or make the file", file=path
        ) from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise DeserializationError(
            f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="check that it is there and may be read",
            file=path,
        ) from error


def _incomplete(what: str) -> DeserializationError:
    return DeserializationError(
        f"it is incomplete: {what}", hint=f"its writer was stopped, or it was copied in part; {_REMAKE}"
    )


def _malformed(what: str) -> DeserializationError:
    return DeserializationError(what, hint=_REMAKE)
