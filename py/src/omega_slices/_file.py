"""Slice files in memory: mapped, checked as far as they are read, never copied.

Owns the way from a path to the batches of a precomputed file.  Guarantees that a file
that opens is complete (it has its seal) and ours, that a batch that it gives is one that
its index promised, and that whatever is wrong with the bytes is told as one of this
package's errors.  Opening reads the footer, and of the batches the seal alone.

Safe for several threads, and in a process that was forked: nothing is written to after
opening but dictionaries of things that can be made again, and there is no lock that a fork
could leave locked.  pyarrow's reader fills in the dictionary of the symbols with the
first batch that it reads; that is the seal, before anybody else knows the reader.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, Protocol, cast

import msgspec
import pyarrow as pa

from omega_slices._buffers import string_array, values_view
from omega_slices._candle import RunReport
from omega_slices._schema import check_batch, content_of_schema, slice_timestamps
from omega_slices._slices import DerivedMemory, SliceBatch, SliceLayout
from omega_slices.errors import DeserializationError, SystemFailureError

# What an Arrow file starts and ends with, what the messages of a stream start with, and
# what a stream ends with.
_FILE_MAGIC: Final = b"ARROW1"
_CONTINUATION: Final = b"\xff\xff\xff\xff"
_END_OF_STREAM: Final = _CONTINUATION + b"\x00\x00\x00\x00"

# What is kept of what batches are unpacked to: decompressed batches, unpacked bitmaps,
# lists of prices.  Some twenty decompressed batches of 50 symbols.
_DERIVED_BYTES_MAX: Final = 128 << 20

_AGAIN: Final = "make it again: omega-slices sync -o"

# There is nothing to decompress in parallel, and a pool of threads does not survive a fork.
_OPTIONS: Final = pa.ipc.IpcReadOptions(use_threads=False)


class FileNotThereError(SystemFailureError, FileNotFoundError):
    """A slice file that is not there (code 4); also the built-in error of that name."""


class FileIdentity(NamedTuple):
    """By what a file is recognised when it is opened again."""

    size_bytes: int
    modified_ns: int


class SliceFile:
    """A complete slice file, mapped into memory.

    Attributes
    ----------
    path : pathlib.Path
        Its absolute path.
    identity : FileIdentity
        Its size and modification time.
    schema : pyarrow.Schema
        That of its record batches, with metadata.
    layout : SliceLayout
        What its slices hold.
    report : RunReport
        What the run that made it said; of a stream, what can be seen in it.
    first_timestamps_ns : list of int
        The timestamp of the first slice of each batch, strictly increasing.
    offsets : list of int
        The number of slices before each batch, and at its end the number of all slices.
    batches : mapping of int to SliceBatch
        The batches, by number from 0 on.
    """

    __slots__ = ("batches", "first_timestamps_ns", "identity", "layout", "offsets", "path", "report", "schema")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map and check a file; see `read_slices` for the errors."""
        self.path = Path(os.path.abspath(os.fsdecode(path)))  # `Path.absolute` keeps what `..` leaves
        mapped, self.identity = _map(self.path)
        content = _open_content(mapped, self.path)
        self.schema: pa.Schema = content.schema
        try:
            symbols, held = content_of_schema(self.schema, lambda what: _foreign(self.path, what))
        except UnicodeDecodeError as error:  # pyarrow decodes names when they are asked for
            raise _unreadable(self.path, error) from error
        self.layout = SliceLayout(symbols, held, DerivedMemory(_DERIVED_BYTES_MAX))
        index = content.read_index(self.layout)
        self.report = index.report
        self.first_timestamps_ns = index.first_timestamps_ns
        self.offsets = [0, *accumulate(index.slices)]
        self.batches = Batches(content, index, self.layout, self.path, mapped)


class _Index(NamedTuple):
    """Where the slices of a file are; `slices` and `first_timestamps_ns` have an entry for each batch."""

    slices: list[int]
    first_timestamps_ns: list[int]
    report: RunReport


class _Content(Protocol):
    """The two kinds of files, as far as they differ."""

    schema: pa.Schema

    def read_index(self, layout: SliceLayout) -> _Index:
        """Return where the slices are; raise where the file is incomplete or contradicts itself."""

    def read_batch(self, number: int) -> pa.RecordBatch:
        """Return a batch without a copy; pyarrow's errors are passed on."""


class Batches(dict[int, SliceBatch]):
    """The batches of a file by number, made and checked when first asked for.

    A dictionary, so that finding one again takes no call in Python.
    """

    __slots__ = (
        "__weakref__",
        "_content",
        "_end",
        "_index",
        "_is_compressed",
        "_layout",
        "_path",
        "_start",
        "_symbols",
        "_whole",
    )

    def __init__(self, content: _Content, index: _Index, layout: SliceLayout, path: Path, mapped: pa.Buffer) -> None:
        self._content = content
        self._index = index
        self._layout = layout
        self._path = path
        self._start, self._end = mapped.address, mapped.address + mapped.size
        self._symbols = string_array(layout.symbols)
        # Told by the first batch: it was one option for all of them.
        self._is_compressed: bool | None = None
        # The numbers of the batches that `record_batch` has checked.
        self._whole: set[int] = set()

    def __missing__(self, number: int) -> SliceBatch:
        record_batch = self.read(number)
        try:
            timestamps = slice_timestamps(record_batch, len(self._layout.symbols))
        except DeserializationError as error:
            raise self._damaged(number, error.message) from None
        self._check_range(number, int(timestamps[0]), int(timestamps[-1]))
        # Eight bytes per slice, where a list would need forty.
        stamps = memoryview(cast("Any", timestamps)).toreadonly().cast("B").cast("q")
        batch = self[number] = SliceBatch(record_batch, self._layout, stamps)
        if self._is_compressed is None:
            self._is_compressed = not self._is_mapped(record_batch)
        if self._is_compressed and self._layout.memory is not None:
            self._layout.memory.note(self, number, record_batch.nbytes)
        return batch

    def forget(self, key: int) -> None:
        """Drop a batch."""
        self.pop(key, None)

    def read(self, number: int) -> pa.RecordBatch:
        """Return a batch of which only the number of rows is checked."""
        try:
            batch = self._content.read_batch(number)
        except Exception as error:  # broken bytes make pyarrow raise many classes
            raise self._damaged(number, f"it cannot be read: {error}") from error
        slices = self._index.slices[number]
        if batch.num_rows != slices * len(self._layout.symbols):
            raise self._damaged(number, f"it has {batch.num_rows} rows, its index says {slices} slices")
        return batch

    def record_batch(self, number: int) -> pa.RecordBatch:
        """Return a batch checked as a whole, for others to read."""
        batch = self[number].record_batch
        if number not in self._whole:
            try:
                check_batch(batch, self._symbols, self._layout.content, None)
            except DeserializationError as error:
                raise self._damaged(number, error.message) from None
            self._whole.add(number)
        return batch

    def _check_range(self, number: int, first_ns: int, last_ns: int) -> None:
        """Check that a batch lies where the index says, and before the next one."""
        firsts = self._index.first_timestamps_ns
        is_last = number + 1 == len(firsts)
        fits = last_ns == self._index.report.last_timestamp_ns if is_last else last_ns < firsts[number + 1]
        if first_ns != firsts[number] or not fits:
            raise self._damaged(number, "its timestamps are not those that the index says")

    def _is_mapped(self, record_batch: pa.RecordBatch) -> bool:
        """Return whether a batch lies in the file itself, and so takes no memory."""
        # A column that compression would not make smaller lies there as it is.
        buffers = (buffer for column in record_batch.columns for buffer in column.buffers())
        return all(self._start <= buffer.address < self._end for buffer in buffers if buffer is not None)

    def _damaged(self, number: int, what: str) -> DeserializationError:
        return DeserializationError(
            f"batch {number} of {str(self._path)!r} is damaged: {what}", hint=_AGAIN, file=str(self._path)
        )


class _Seal(msgspec.Struct):
    slices: int
    batches: int


class _BatchIndex(msgspec.Struct):
    slices: list[int]
    first_timestamps_ns: list[int]


class _ArrowFile:
    """An Arrow IPC file: its footer tells everything but the values."""

    def __init__(self, mapped: pa.Buffer, path: Path) -> None:
        self._path = path
        if mapped.slice(max(0, mapped.size - len(_FILE_MAGIC))).to_pybytes() != _FILE_MAGIC:
            raise _incomplete(path, "it has no footer, so it was cut off")
        try:
            self._reader = pa.ipc.open_file(pa.BufferReader(mapped), options=_OPTIONS)
            self._metadata: dict[bytes, bytes] = dict(self._reader.metadata or {})
        except Exception as error:  # broken bytes make pyarrow raise many classes
            raise _unreadable(path, error) from error
        self.schema: pa.Schema = self._reader.schema

    def read_index(self, layout: SliceLayout) -> _Index:
        """Return what the footer tells, every part held against the others."""
        if b"seal" not in self._metadata:
            raise _incomplete(self._path, "it has no seal")
        try:
            seal = msgspec.json.decode(self._metadata[b"seal"], type=_Seal)
            index = msgspec.json.decode(self._metadata[b"batch_index"], type=_BatchIndex)
            report = msgspec.json.decode(self._metadata[b"report"], type=RunReport)
        except (KeyError, msgspec.DecodeError) as error:
            raise _contradictory(self._path, f"its footer is incomplete or malformed: {error!r}") from None
        counts = {
            len(index.slices),
            len(index.first_timestamps_ns),
            report.batches,
            self._reader.num_record_batches - 1,
        }
        if counts != {seal.batches} or seal.slices != report.slices:
            raise _contradictory(self._path, "its seal, its report and its index disagree on how much it holds")
        _check_index(index.slices, index.first_timestamps_ns, report, self._path)
        self._check_last(layout)
        return _Index(index.slices, index.first_timestamps_ns, msgspec.structs.replace(report, complete=True))

    def read_batch(self, number: int) -> pa.RecordBatch:
        """Return a batch as the reader gives it."""
        return self._reader.get_batch(number)

    def _check_last(self, layout: SliceLayout) -> None:
        """Check that the last batch is the seal; reading it makes the reader read its dictionary."""
        try:
            last = self._reader.get_batch(self._reader.num_record_batches - 1)
            _check_dictionary(last.column("symbol"), layout, self._path)
        except DeserializationError:
            raise
        except Exception as error:  # as above
            raise _unreadable(self._path, error) from error
        if last.num_rows:
            raise _incomplete(self._path, "its last batch is no seal")


class _ArrowStream:
    """An Arrow IPC stream in a file: indexed by one pass over its messages, which reads timestamps alone."""

    def __init__(self, mapped: pa.Buffer, path: Path) -> None:
        self._path = path
        self._mapped = mapped
        # Of each batch, where its message starts and stops.
        self._edges: list[tuple[int, int]] = []
        self._dictionary: pa.Array | None = None
        try:
            with pa.ipc.open_stream(pa.BufferReader(mapped), options=_OPTIONS) as reader:
                self.schema: pa.Schema = reader.schema
        except Exception as error:  # broken bytes make pyarrow raise many classes
            raise _unreadable(path, error) from error
        # A message of a batch has the positions of the symbols; what they mean comes in
        # another one. So a message is read by itself where the positions are no more than that.
        fields = [
            pa.field(field.name, field.type.index_type, nullable=False) if pa.types.is_dictionary(field.type) else field
            for field in self.schema
        ]
        self._plain_schema = pa.schema(fields)

    def read_index(self, layout: SliceLayout) -> _Index:
        """Go through the messages to the very end."""
        if self._mapped.slice(max(0, self._mapped.size - len(_END_OF_STREAM))).to_pybytes() != _END_OF_STREAM:
            raise _incomplete(self._path, "it has no end-of-stream marker")
        width = len(layout.symbols)
        try:
            slices, edges = self._walk(width)
        except DeserializationError:
            raise
        except Exception as error:  # as above
            raise _unreadable(self._path, error) from error
        firsts = [first_ns for first_ns, _ in edges]
        report = RunReport(
            slices=sum(slices),
            batches=len(slices),
            first_timestamp_ns=firsts[0] if firsts else None,
            last_timestamp_ns=edges[-1][1] if edges else None,
            complete=True,
        )
        _check_index(slices, firsts, report, self._path)
        if slices:
            self._dictionary = self._read_dictionary(layout)
        return _Index(slices, firsts, report)

    def read_batch(self, number: int) -> pa.RecordBatch:
        """Return a batch of its own message, and of the symbols that come before all of them."""
        start, stop = self._edges[number]
        plain = pa.ipc.read_record_batch(self._mapped.slice(start, stop - start), self._plain_schema)
        place = self.schema.get_field_index("symbol")
        # Not checked here: `check_batch` compares every position.
        symbols = pa.DictionaryArray.from_arrays(plain.column(place), self._dictionary, safe=False)
        columns = [symbols if position == place else column for position, column in enumerate(plain.columns)]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _read_dictionary(self, layout: SliceLayout) -> pa.Array:
        """Return the symbols, which come with the first batch and never again."""
        try:
            with pa.ipc.open_stream(pa.BufferReader(self._mapped), options=_OPTIONS) as reader:
                return _check_dictionary(reader.read_next_batch().column("symbol"), layout, self._path)
        except DeserializationError:
            raise
        except Exception as error:  # as above
            raise _unreadable(self._path, error) from error

    def _walk(self, width: int) -> tuple[list[int], list[tuple[int, int]]]:
        """Return slices, and first and last timestamp, of each batch; note where the messages are."""
        source = pa.BufferReader(self._mapped)
        only_timestamps = pa.ipc.IpcReadOptions(use_threads=False, included_fields=[0])
        slices: list[int] = []
        times: list[tuple[int, int]] = []
        is_sealed = False
        with pa.ipc.open_stream(source, options=only_timestamps) as reader:
            start = source.tell()
            for batch in reader:
                stop = source.tell()
                if is_sealed:
                    raise _contradictory(self._path, "it goes on after its seal")
                is_sealed = batch.num_rows == 0
                if not is_sealed:
                    batch.validate()
                    if batch.num_rows % width:
                        raise _contradictory(self._path, "a batch does not hold whole slices")
                    stamps = values_view(batch.column(0), "int64")
                    slices.append(batch.num_rows // width)
                    times.append((int(stamps[0]), int(stamps[-1])))
                    self._edges.append((self._after_dictionary(start, stop), stop))
                start = stop
            if source.tell() != self._mapped.size:
                raise _contradictory(self._path, "there are bytes after its end")
        if not is_sealed:
            raise _incomplete(self._path, "it has no seal")
        return slices, times

    def _after_dictionary(self, start: int, stop: int) -> int:
        """Return where the message of the first batch starts, which comes behind that of the symbols."""
        if self._edges:
            return start
        source = pa.BufferReader(self._mapped.slice(start, stop - start))
        offset = 0
        while pa.ipc.read_message(source).type != "record batch":
            offset = source.tell()
        return start + offset


def _map(path: Path) -> tuple[pa.Buffer, FileIdentity]:
    """Map a file into memory; the mapping lives as long as anything that was read from it.

    Not by `pyarrow.memory_map`, which asks the system to read ahead whatever is read, which
    of a whole file would be all of it.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ESPIPE, "is no regular file, so it cannot be mapped")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            identity = FileIdentity(status.st_size, status.st_mtime_ns)
            if not status.st_size:
                raise _incomplete(path, "it is empty")
            return pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), identity
    except DeserializationError:
        raise
    except (OSError, ValueError) as error:
        _refuse(path, error)


def _refuse(path: Path, error: OSError | ValueError) -> NoReturn:
    told = error.strerror if isinstance(error, OSError) else str(error)
    message = f"cannot open {str(path)!r}: {told or error}"
    if isinstance(error, FileNotFoundError):
        raise FileNotThereError(
            message, hint="check the path, or make the file: omega-slices sync -o", file=str(path)
        ) from error
    hint = "name a file, such as slices.arrow" if isinstance(error, IsADirectoryError) else "check the path"
    raise SystemFailureError(message, hint=hint, file=str(path)) from error


def _open_content(mapped: pa.Buffer, path: Path) -> _Content:
    head = mapped.slice(0, min(mapped.size, 8)).to_pybytes()
    if head.startswith(_FILE_MAGIC):
        return _ArrowFile(mapped, path)
    if head.startswith(_CONTINUATION):
        return _ArrowStream(mapped, path)
    if _FILE_MAGIC.startswith(head) or _CONTINUATION.startswith(head):
        raise _incomplete(path, f"it ends after {len(head)} bytes")
    raise _foreign(path, f"it is neither an Arrow file nor an Arrow stream; its first bytes are {head!r}")


def _check_dictionary(column: pa.DictionaryArray, layout: SliceLayout, path: Path) -> pa.Array:
    """Return what the positions in the column of symbols mean, if it is what the metadata says."""
    column.dictionary.validate(full=True)
    if not column.dictionary.equals(string_array(layout.symbols)):
        raise _contradictory(path, "its symbols are not those of its metadata")
    return column.dictionary


def _check_index(slices: list[int], firsts: list[int], report: RunReport, path: Path) -> None:
    """Check that the parts of an index fit together, and with the report."""
    last_ns = report.last_timestamp_ns
    fits = (
        min(slices, default=1) > 0
        and sum(slices) == report.slices
        and all(one < other for one, other in pairwise(firsts))
        and report.first_timestamp_ns == (firsts[0] if firsts else None)
        and (last_ns is None) == (not firsts)
        and (last_ns is None or last_ns >= firsts[-1])
    )
    if not fits:
        raise _contradictory(path, "the slices and timestamps of its batches do not fit together")


def _incomplete(path: Path, what: str) -> DeserializationError:
    return DeserializationError(f"the slice file {str(path)!r} is incomplete: {what}", hint=_AGAIN, file=str(path))


def _contradictory(path: Path, what: str) -> DeserializationError:
    return DeserializationError(f"the slice file {str(path)!r} is damaged: {what}", hint=_AGAIN, file=str(path))


def _unreadable(path: Path, error: Exception) -> DeserializationError:
    return DeserializationError(f"the slice file {str(path)!r} cannot be read: {error}", hint=_AGAIN, file=str(path))


def _foreign(path: Path, what: str) -> DeserializationError:
    return DeserializationError(
        f"{str(path)!r} is no slice file that this package reads: {what}",
        hint="give a file that omega-slices sync -o has written; for one of a newer release, upgrade this package",
        file=str(path),
    )
