"""One file of slices, mapped into memory: its batches on demand.

Owns the way from a path to checked batches.  Guarantees that a batch is checked before
it is read, and that broken bytes raise nothing but an `OmegaSlicesError`.  Positions and
ranges are the table's part.

Several threads may use it, also after a fork: there is no lock.  Where two threads meet,
both read the same batch, and one of the two results stays.

Nothing can guard against a file that is cut short while it is mapped: the system ends the
process (SIGBUS).  Our own programs never write into an existing file; they replace it.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from omega_slices._arrow.buffers import integers_view, string_array, values_view
from omega_slices._arrow.ipc import MAGIC, REMAKE_HINT, FileForm, StreamForm, map_descriptor, map_file, no_such_file
from omega_slices._arrow.schema_check import check_batch
from omega_slices._model.paths import check_readable, is_remote, local_form
from omega_slices._model.schema import SYMBOL_PLACE, TIMESTAMP_PLACE, known_after_ns
from omega_slices._slices.batch import SliceBatch
from omega_slices._slices.derived_cache import DerivedCache
from omega_slices._slices.layout import SliceLayout
from omega_slices._slices.remote import fetched
from omega_slices.errors import DeserializationError, OmegaSlicesError, RequestError

if TYPE_CHECKING:
    from omega_slices._model.storage import StorageOptions

# What stays in memory of a file that is touched all over.  A batch of views takes some
# 30 kB, whatever it shows; one that had to be decompressed takes all of its columns.
_VIEWS_MAX: Final = 4_096
_DECOMPRESSED_MAX: Final = 16
DERIVED_BYTES_MAX: Final = 256 << 20

# Positions of symbols, two bytes each, in a word.
_POSITIONS_AT_ONCE: Final = 4


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
    size : int
        In bytes.
    views : list of SliceBatch or None
        The batches at hand, by number.  To be read only, as the short way past `batch`.
    """

    __slots__ = (
        "_decompressed",
        "_decompressed_max",
        "_form",
        "_mapped",
        "_maps_columns",
        "_order",
        "_positions",
        "_rows_checked",
        "_symbols_array",
        "index",
        "layout",
        "path",
        "report",
        "schema",
        "size",
        "storage",
        "views",
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        derived: DerivedCache | None = None,
        storage: StorageOptions | None = None,
    ) -> None:
        """Map a file and read what it says of itself.

        Parameters
        ----------
        path : str or path
            Where it is.
        derived : DerivedCache, optional
            That of the files that it is one of; then it also keeps one decompressed batch only.
        storage : StorageOptions, optional
            How it is reached, if it is an object.  All of it is fetched, into a temporary file.

        Raises
        ------
        DeserializationError
            The file cannot be read, is not ours, incomplete, or of a newer version.  Where
            there is no such file, also a `FileNotFoundError`.
        RequestError
            The path is not a path.
        """
        try:
            text = os.fsdecode(path)
        except TypeError:
            raise RequestError(
                f"invalid path={path!r}: expected a path", hint="give the file as text or as a pathlib.Path"
            ) from None
        check_readable(text)
        self.storage = storage
        if is_remote(text):
            self.path = text
            with fetched(text, storage) as body:
                if not os.fstat(body.fileno()).st_size:
                    raise no_such_file(text)
                buffer = map_descriptor(body.fileno(), text)
        else:
            self.path = os.path.abspath(local_form(text))
            buffer = map_file(self.path)
        self.size: int = buffer.size
        # Addresses tell views of the file from memory of their own.
        self._mapped = range(buffer.address, buffer.address + buffer.size)
        try:
            is_file = buffer[: len(MAGIC)].to_pybytes() == MAGIC
            self._form = FileForm(buffer) if is_file else StreamForm(buffer)
        except OmegaSlicesError as error:
            raise self._unreadable(error.message, error.hint) from None
        except Exception as error:  # broken bytes make pyarrow raise many classes
            raise self._unreadable(f"it is not a complete Arrow IPC file or stream: {error}") from error
        self.schema = self._form.schema
        self.index = self._form.index
        self.report = self._form.report
        self.layout = SliceLayout(
            self._form.symbols,
            self._form.spec,
            DerivedCache(DERIVED_BYTES_MAX) if derived is None else derived,
            self.path,
            known_after_ns(self.schema),
        )
        self._symbols_array = string_array(self.layout.symbols)
        # Which symbol each row of a batch is, for the longest one so far.
        self._positions = np.empty(0, np.int16)
        self.views: list[SliceBatch | None] = [None] * len(self.index.first_timestamps_ns)
        self._rows_checked = bytearray(len(self.views))
        self._maps_columns: bool | None = None
        self._order: deque[int] = deque()
        # The least recently used first.
        self._decompressed: dict[int, SliceBatch] = {}
        self._decompressed_max = _DECOMPRESSED_MAX if derived is None else 1

    @property
    def source(self) -> str:
        """What to open again: its path."""
        return self.path

    @property
    def identity(self) -> tuple[int | str | None, ...]:
        """What tells it from other files: its slices, and the timestamps of the first and the last."""
        return self.report.slices, self.report.first_timestamp_ns, self.report.last_timestamp_ns

    def read(self, number: int) -> pa.RecordBatch:
        """Return a record batch as the file has it, unchecked.

        Raises
        ------
        DeserializationError
            Its bytes are not a record batch.
        """
        try:
            return self._form.read(number)
        except Exception as error:  # broken bytes make pyarrow raise many classes
            raise self._unreadable(f"its batch {number} is damaged: {error}") from error

    def batch(self, number: int) -> SliceBatch:
        """Return a batch, checked when it is first touched.

        Checks what is needed to find its slices and to read any memory.  That the columns of
        a candle agree is checked where they are first read.  `record_batch` checks what only
        it shows: the symbol and the timestamp of each row.  To do so for every batch costs a
        third of a walk through the file.

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
                check_batch(record_batch, self._symbols_array, self.layout.spec, None)
            except DeserializationError as error:
                raise self._damaged(number, error.message) from None
            self._rows_checked[number] = True
        return record_batch

    def unkept(self, number: int) -> pa.RecordBatch:
        """Return a record batch for its values alone, and keep nothing of it.

        Checks what `batch` checks, but of the timestamps only the first and the last: to look at
        all of them takes longer than to copy a column.

        Raises
        ------
        DeserializationError
            It does not hold what the file says that it holds.
        """
        if (found := self.views[number]) is not None:
            return found.record_batch
        record_batch = self.read(number)
        self._check_shape(number, record_batch)
        timestamps = integers_view(record_batch.column(TIMESTAMP_PLACE))
        last_ns = timestamps[-1]
        if timestamps[0] != self.index.first_timestamps_ns[number] or not self._ends_right(number, last_ns):
            raise self._damaged(number, "its timestamps are not those of the index")
        return record_batch

    def _ends_right(self, number: int, last_ns: int) -> bool:
        """Return whether the last timestamp of a batch is where the index and the report have it."""
        firsts = self.index.first_timestamps_ns
        if number + 1 < len(firsts):
            return last_ns < firsts[number + 1]
        return last_ns == self.report.last_timestamp_ns

    def _check_shape(self, number: int, record_batch: pa.RecordBatch) -> None:
        starts = self.index.starts
        if record_batch.num_rows != (starts[number + 1] - starts[number]) * len(self.layout.symbols):
            raise self._damaged(number, f"it has {record_batch.num_rows} rows")
        try:
            record_batch.validate()
        except pa.ArrowInvalid as error:
            raise self._damaged(number, str(error)) from None
        symbols = record_batch.column(SYMBOL_PLACE)
        rows = record_batch.num_rows
        if len(self._positions) < rows:
            self._positions = np.resize(np.arange(len(self.layout.symbols), dtype=np.int16), rows)
        found, expected = values_view(symbols.indices, "int16"), self._positions[:rows]
        # Four at once, as far as there are four; other threads go on meanwhile.
        whole = rows - rows % _POSITIONS_AT_ONCE
        if (
            not symbols.dictionary.equals(self._symbols_array)
            or (found[:whole].view(np.int64) != expected[:whole].view(np.int64)).any()
            or (found[whole:] != expected[whole:]).any()
        ):
            raise self._damaged(number, "its rows are not in the order of its symbols")

    def _checked(self, number: int) -> SliceBatch:
        record_batch = self.read(number)
        self._check_shape(number, record_batch)
        batch = SliceBatch(record_batch, self.layout)
        timestamps = np.frombuffer(batch.timestamps_ns, np.int64)
        is_first_right = timestamps[0] == self.index.first_timestamps_ns[number]
        is_in_order = is_first_right and (timestamps[:-1] < timestamps[1:]).all()
        if not is_in_order or not self._ends_right(number, int(timestamps[-1])):
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
        while len(kept) > self._decompressed_max:
            # A copy, since another thread may change the dict meanwhile.
            kept.pop(next(iter(tuple(kept))), None)

    def _damaged(self, number: int, what: str) -> DeserializationError:
        return self._unreadable(f"its batch {number} is damaged: {what}")

    def _unreadable(self, what: str, hint: str | None = None) -> DeserializationError:
        return DeserializationError(f"cannot read {self.path!r}: {what}", hint=hint or REMAKE_HINT, file=self.path)
