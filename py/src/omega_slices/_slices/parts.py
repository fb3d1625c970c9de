"""Files of slices that follow each other, as one.

Owns the agreement between the files: the same symbols and columns, and timestamps that go on; and
with the list of parts, where there is one.  Each part is a `SliceFile`, with its own checks.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple, overload

from omega_slices._arrow.ipc import BatchIndex
from omega_slices._model.paths import check_readable, is_remote, local_form
from omega_slices._model.report import RunReport
from omega_slices._slices.derived_cache import DerivedCache
from omega_slices._slices.file import DERIVED_BYTES_MAX, SliceFile
from omega_slices._slices.part_list import PARTS_FILE, PartRequest, checksum_of, read_parts
from omega_slices.errors import DeserializationError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from omega_slices._model.storage import StorageOptions
    from omega_slices._slices.batch import SliceBatch

_OPEN_MAX: Final = 64
# An object that ends with one of these is a file of slices, not a folder.
_EXTENSIONS: Final = (".arrow", ".arrows")
_REMAKE_HINT: Final = "run precompute again: it makes what is missing or changed"


class Known(NamedTuple):
    """What is known of a file before it is opened.

    The request is known where a list of parts names it.
    """

    path: str
    slices: int
    batches: int
    first_timestamp_ns: int | None
    last_timestamp_ns: int | None
    bytes: int
    request: PartRequest | None = None


class PartedFile:
    """Files that follow each other: what `SliceFile` is for one, with the same members.

    The first one is opened at once, any other when it is first touched.  At most 64 stay open: what
    was taken from one lives on.
    """

    __slots__ = (
        "_batches_before",
        "_checksum",
        "_derived",
        "_files",
        "_first",
        "_open",
        "_slices_before",
        "index",
        "known",
        "layout",
        "path",
        "schema",
        "source",
        "storage",
        "views",
    )

    def __init__(
        self,
        path: str,
        source: str | tuple[str, ...],
        known: Sequence[Known],
        checksum: str | None = None,
        storage: StorageOptions | None = None,
    ) -> None:
        """Put files together.

        Parameters
        ----------
        path : str
            What errors name.
        source : str or tuple of str
            What to open again.
        known : sequence of Known
            The files, at least one, in order.
        checksum : str, optional
            That of the list of parts.
        storage : StorageOptions, optional
            How they are reached, if they are objects.

        Raises
        ------
        DeserializationError
            They do not follow each other, or the first one is not what is known of it.
        """
        self.path = path
        self.source = source
        self.known = tuple(known)
        self._checksum = checksum
        self.storage = storage
        _check_order(known)
        # How many there are before each file; and, one more, in all.
        self._batches_before = [0, *accumulate(one.batches for one in known)]
        self._slices_before = [0, *accumulate(one.slices for one in known)]
        self._derived = DerivedCache(DERIVED_BYTES_MAX)
        self._open: deque[int] = deque()
        self._first = self._checked(0, None)
        self._files = {0: self._first}
        self.schema = self._first.schema
        self.layout = self._first.layout
        batches = self._batches_before[-1]
        self.index = BatchIndex(_Places(batches, self._first_timestamp_ns), _Places(batches + 1, self._start))
        # Each file keeps its own.
        self.views: list[SliceBatch | None] = [None] * batches

    @property
    def report(self) -> RunReport:
        """The counts of all files, and their warnings; without counts by series.

        Opens every file.
        """
        first_ns, last_ns = self._ends_ns()
        return RunReport(
            slices=self._slices_before[-1],
            batches=len(self.views),
            first_timestamp_ns=first_ns,
            last_timestamp_ns=last_ns,
            warnings=tuple(w for place in range(len(self.known)) for w in self._file(place).report.warnings),
            complete=True,
        )

    @property
    def identity(self) -> tuple[int | str | None, ...]:
        """As `SliceFile.identity`, and the checksum of the list."""
        return self._slices_before[-1], *self._ends_ns(), self._checksum

    def _ends_ns(self) -> tuple[int | None, int | None]:
        firsts = [ns for one in self.known if (ns := one.first_timestamp_ns) is not None]
        lasts = [ns for one in self.known if (ns := one.last_timestamp_ns) is not None]
        return min(firsts, default=None), max(lasts, default=None)

    def batch(self, number: int) -> SliceBatch:
        """As `SliceFile.batch`."""
        place = self._place(number)
        return self._file(place).batch(number - self._batches_before[place])

    def record_batch(self, number: int) -> pa.RecordBatch:
        """As `SliceFile.record_batch`."""
        place = self._place(number)
        return self._file(place).record_batch(number - self._batches_before[place])

    def unkept(self, number: int) -> pa.RecordBatch:
        """As `SliceFile.unkept`."""
        place = self._place(number)
        return self._file(place).unkept(number - self._batches_before[place])

    def _place(self, number: int) -> int:
        """Return which file a batch is in; files without batches are passed over."""
        return bisect_right(self._batches_before, number) - 1

    def _start(self, number: int) -> int:
        place = self._place(number)
        before = self._slices_before[place]
        if number == self._batches_before[place]:
            return before
        return before + self._file(place).index.starts[number - self._batches_before[place]]

    def _first_timestamp_ns(self, number: int) -> int:
        place = self._place(number)
        first_ns = self.known[place].first_timestamp_ns
        if number == self._batches_before[place] and first_ns is not None:
            return first_ns
        return self._file(place).index.first_timestamps_ns[number - self._batches_before[place]]

    def _file(self, place: int) -> SliceFile:
        found = self._files.get(place)
        if found is None:
            found = self._files[place] = self._checked(place, self._first)
            self._open.append(place)
            while len(self._open) > _OPEN_MAX:
                # Another thread may have been quicker.
                with suppress(IndexError):
                    self._files.pop(self._open.popleft(), None)
        return found

    def _checked(self, place: int, first: SliceFile | None) -> SliceFile:
        """Open a file, and check that it is the known one and belongs to the first one."""
        file = open_known(self.known[place], self._derived, self.storage)
        if first is not None:
            _check_alike(file, first)
        return file


class _Places(Sequence[int]):
    """A number for each batch of several files, asked for when it is needed."""

    __slots__ = ("_length", "_tell")

    def __init__(self, length: int, tell: Callable[[int], int]) -> None:
        self._length = length
        self._tell = tell

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, number: int) -> int: ...

    @overload
    def __getitem__(self, number: slice) -> list[int]: ...

    def __getitem__(self, number: int | slice) -> int | list[int]:
        if isinstance(number, slice):
            return [self._tell(one) for one in range(*number.indices(self._length))]
        place = number if number >= 0 else number + self._length
        if not 0 <= place < self._length:
            raise IndexError(number)
        found: int = self._tell(place)
        return found


def open_known(known: Known, derived: DerivedCache | None = None, storage: StorageOptions | None = None) -> SliceFile:
    """Open a file, and check that it is the known one.

    Raises
    ------
    DeserializationError
        It is another, or cannot be read.
    """
    file = SliceFile(known.path, derived, storage)
    if _known_of(file) != known._replace(request=None):
        raise _exchanged(known.path)
    if known.request is not None and not known.request.is_of(file.schema):
        raise _exchanged(known.path)
    return file


def _known_of(file: SliceFile) -> Known:
    """Return what can be known of an open file."""
    report = file.report
    return Known(
        file.path,
        report.slices,
        report.batches,
        report.first_timestamp_ns,
        report.last_timestamp_ns,
        file.size,
    )


def open_slices_at(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], storage: StorageOptions | None = None
) -> SliceFile | PartedFile:
    """Open a file or object, a folder with its list of parts, or a list of files.

    Raises
    ------
    DeserializationError
        They cannot be read, or do not belong together.
    RequestError
        It is none of these.
    """
    if isinstance(path, list | tuple):
        return _open_list(path, storage)
    try:
        text = os.fsdecode(path)  # type: ignore[arg-type]  # anything else is told by SliceFile
    except TypeError:
        return SliceFile(path)  # type: ignore[arg-type]
    text = local_form(text)
    check_readable(text)
    is_list = os.path.basename(text) == PARTS_FILE
    if is_remote(text):
        folder = os.path.dirname(text) if is_list else text.rstrip("/")
        has_list = is_list or not text.endswith(_EXTENSIONS)
        return open_folder(folder, storage) if has_list else SliceFile(text, storage=storage)
    if is_list and os.path.isfile(text):
        text = os.path.dirname(os.path.abspath(text))
    return open_folder(os.path.abspath(text)) if os.path.isdir(text) else SliceFile(text)


def _open_list(paths: Sequence[str | os.PathLike[str]], storage: StorageOptions | None) -> PartedFile:
    if not paths:
        raise RequestError("the list of files is empty", hint="name at least one file")
    first = SliceFile(paths[0], storage=storage)
    known = [_known_of(first)]
    for path in paths[1:]:
        file = SliceFile(path, storage=storage)
        _check_alike(file, first)
        known.append(_known_of(file))
    name = f"{first.path} and {len(paths) - 1} more"
    return PartedFile(name, tuple(one.path for one in known), known, storage=storage)


def open_folder(folder: str, storage: StorageOptions | None = None) -> PartedFile:
    """Open a folder of parts by its list."""
    found = read_parts(folder, storage)
    if found is None:
        raise DeserializationError(
            f"cannot read {folder!r}: it is a folder without {PARTS_FILE}",
            hint="give the folder that precompute filled, or a list of files",
            file=folder,
        )
    known = []
    for part in found.parts:
        path = os.path.join(folder, part.file)
        if not is_remote(folder) and _size_of(path) != part.bytes:
            raise _exchanged(path)
        stamps = part.first_timestamp_ns, part.last_timestamp_ns
        request = PartRequest(found.request, part.start, part.before)
        known.append(Known(path, part.slices, part.batches, *stamps, part.bytes, request))
    return PartedFile(folder, folder, known, checksum_of(found.parts), storage=storage)


def _size_of(path: str) -> int:
    try:
        state = os.stat(path)
    except OSError:
        state = None
    # What it is in the place of a file, that says.
    return SliceFile(path).size if state is None or not stat.S_ISREG(state.st_mode) else state.st_size


def _exchanged(path: str) -> DeserializationError:
    return DeserializationError(
        f"cannot read {path!r}: it is another file than there was when the parts were put together",
        hint=_REMAKE_HINT,
        file=path,
    )


def _check_alike(file: SliceFile, first: SliceFile) -> None:
    """Check that two files have the same columns and symbols."""
    key, first_key = ((one.layout.key(), one.layout.known_after_ns) for one in (file, first))
    if key != first_key or not file.schema.equals(first.schema):
        raise DeserializationError(
            f"{file.path!r} has other symbols or columns than {first.path!r}",
            hint="name files of one request, or remove what does not belong to it",
            file=file.path,
        )


def _check_order(known: Sequence[Known]) -> None:
    """Check that files follow each other."""
    last_ns = None
    for one in known:
        if one.first_timestamp_ns is not None and last_ns is not None and one.first_timestamp_ns <= last_ns:
            raise DeserializationError(
                f"{one.path!r} does not begin after the file before it ends",
                hint="name the files in the order of their slices, each slice once",
                file=one.path,
            )
        last_ns = last_ns if one.last_timestamp_ns is None else one.last_timestamp_ns
