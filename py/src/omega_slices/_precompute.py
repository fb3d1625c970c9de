"""Precomputing a request in parts: a file for each, and the list of them.

Owns the order of the work and the list.  The executable makes each part as an entry of a cache in
the folder: complete or not there, made once whoever asks, and made again where an input has changed.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from omega_slices._backends.binary import find_binary
from omega_slices._backends.cached import cached_path
from omega_slices._backends.inputs import inputs_of, primary_range_ns
from omega_slices._backends.objects import make_part
from omega_slices._backends.part_bucket import PartBucket
from omega_slices._backends.resolve import calendar_sessions_of
from omega_slices._model.checks import checked_permissions
from omega_slices._model.options import CacheOptions, ExecutionOptions, Permissions
from omega_slices._model.paths import check_writable, file_identity, is_remote, local_form
from omega_slices._model.request import split_request
from omega_slices._model.split import check_by
from omega_slices._model.times import NS_MAX, format_time_ns
from omega_slices._slices.file import SliceFile
from omega_slices._slices.part_folder import PartFolder
from omega_slices._slices.part_list import Part, PartRequest
from omega_slices._slices.parts import PartedFile, open_folder
from omega_slices._table import SliceTable
from omega_slices.errors import CorruptInputError, DeserializationError, RequestError, SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from omega_slices._model.input_list import InputList
    from omega_slices._model.request import Request

# No entry is ever in excess: parts are not removed while others are made.
_NO_LIMIT: Final = str(2**62)
# How often a part is made anew, where another process changes or removes it.
_ATTEMPTS: Final = 3


class _Task(NamedTuple):
    """What a worker needs to make a part."""

    request: Request
    into: str
    permissions: Permissions
    # The file and the checksum that the list names for its window, if any.
    known: tuple[str, str] | None


def precompute(
    request: Request,
    into: str | os.PathLike[str],
    by: str | int = "month",
    executor: Executor | None = None,
    *,
    overwrite: bool = False,
    follow_links: bool = False,
    storage_options: Mapping[str, str] | None = None,
) -> SliceTable:
    """Make the slices of a request as files, one for each part, in a folder.

    Begun again, it makes what is missing, what is no longer what the list says, and what its inputs
    make another part of by now.  Several runs at once do no harm: each part is made once.  The list
    of parts, ``_slices.json``, comes last, so `read_slices` takes a folder only where all parts are
    there, and are made of the same inputs.

    Parameters
    ----------
    request : Request
        What is wanted.
    into : str or path
        The folder, made where it is not there; or the URI of one in a bucket.
    by : {"day", "week", "month", "year"} or int
        How the request is cut; see `Request.split`.
    executor : concurrent.futures.Executor, optional
        Who makes the parts, such as a process pool or that of a cluster whose workers see the same
        files; by default as many processes as there are cores.
    overwrite : bool
        Take the folder of another request: its list is replaced, and its parts are removed.  A
        list that cannot be read is replaced too.
    follow_links : bool
        Whether links may lead out of the root folder.
    storage_options : mapping of str to str, optional
        How storage is reached, as in `open_slices`.  Workers get them as an argument that prints
        names alone, never by a file.

    Returns
    -------
    SliceTable
        The slices of all parts.

    Raises
    ------
    RequestError
        The folder has the parts of another request, and `overwrite` is not set; or the request
        cannot be cut, see `Request.split`.
    DeserializationError
        The folder's list cannot be read, and `overwrite` is not set.
    CorruptInputError
        An input changed while the parts were made.  There is no list then: run it again.
    SystemFailureError
        A worker died, or the folder cannot be written.  What is made stays: run it again.
    OmegaSlicesError
        Any other class of this package: the first part that fails, with its window.

    Examples
    --------
    >>> from omega_slices import Request, precompute, read_slices
    >>> request = Request(data=str(data), symbols=("EURUSD", "GBPUSD"), start=1_704_153_600 * 10**9)
    >>> table = precompute(request, folder, by="day")
    >>> len(table), len(read_slices(folder))
    (2, 2)
    """
    check_by(by)
    told = msgspec.json.decode(request.to_json())
    permissions = checked_permissions(follow_links=follow_links, storage_options=storage_options)
    path = _path_of(into)
    folder: PartFolder | PartBucket = (
        PartBucket(path, told, permissions.storage, overwrite=overwrite)
        if is_remote(path)
        else PartFolder(path, told, overwrite=overwrite)
    )
    inputs = inputs_of(find_binary(), request, permissions)
    identity = _identity_of(inputs, request)
    parts = split_request(request, by, lambda whole: primary_range_ns(inputs, whole))
    tasks = _tasks(parts, folder, permissions)
    missing = [*range(len(tasks))]
    made: dict[int, Part] = {}
    for _ in range(1 + _ATTEMPTS):
        # Again, where another run took them for parts of a former list.
        made |= zip(missing, _made_by(executor, [tasks[place] for place in missing]), strict=True)
        _check_unchanged(identity, _identity_of(inputs_of(find_binary(), request, permissions), request))
        missing = folder.publish([made[place] for place in range(len(tasks))])
        if not missing:
            file: PartedFile = open_folder(folder.path, permissions.storage)
            return SliceTable(file, 0, file.index.starts[-1])
    raise SystemFailureError(
        f"cannot list the parts in {folder.path!r}: another process removes them, also {_ATTEMPTS} times more",
        hint="let one run at a time work in the folder, and leave it to omega-slices alone",
    )


def _path_of(into: str | os.PathLike[str]) -> str:
    try:
        text = os.fsdecode(into)
    except TypeError:
        text = ""
    if not text or "\0" in text:
        raise RequestError(f"invalid into={into!r}: expected a path", hint="give a folder as text or path")
    text = local_form(text)
    check_writable(text)
    return text.rstrip("/") if is_remote(text) else os.path.abspath(text)


def _identity_of(inputs: InputList, request: Request) -> set[tuple[str, object]]:
    """Return all files that the slices of a request are made of, each as it is now."""
    series = {
        (file.path, (one.symbol, one.price_type, one.timeframe, file.size, file.modified_ns))
        for one in inputs.series
        for file in one.files
    }
    named = [path for path in (request.inputs, request.session_file) if path is not None]
    return series | {(path, file_identity(path)) for path in named}


def _check_unchanged(before: set[tuple[str, object]], after: set[tuple[str, object]]) -> None:
    """Check that all parts are made of the same files."""
    for path, _ in sorted(before ^ after, key=lambda one: one[0]):
        raise CorruptInputError(
            f"cannot list the parts: the input {path!r} changed while they were made",
            hint="run it again, once the inputs stay as they are: it makes the parts anew that changed",
            file=path,
        )


def _tasks(parts: Sequence[Request], folder: PartFolder | PartBucket, permissions: Permissions) -> list[_Task]:
    listed = () if folder.known is None else folder.known.parts
    known = {(part.start, part.before): (part.file, part.sha256) for part in listed}
    return [_Task(part, folder.path, permissions, known.get(_window_of(part))) for part in parts]


def _made_by(executor: Executor | None, tasks: list[_Task]) -> Iterator[Part]:
    if executor is not None:
        yield from executor.map(_make, tasks)
        return
    workers = min(len(tasks), os.cpu_count() or 1)
    try:
        with ProcessPoolExecutor(workers) as pool:
            yield from pool.map(_make, tasks)
    except BrokenProcessPool as error:
        raise SystemFailureError(
            "a process that made a part has died",
            hint="run it again: it goes on from there; give fewer workers where memory was short",
        ) from error


def _make(task: _Task) -> Part:
    """Make one part, or find it made; in whatever process.

    A file that is there already may be damaged, or another one under its name: it is used only where
    it has the request of the part, and the checksum that the list names.
    """
    request = task.request
    binary = find_binary()
    sessions = calendar_sessions_of(request, binary, task.permissions)
    if is_remote(task.into):
        return make_part(request, task.into, task.permissions, sessions)
    options = ExecutionOptions(threads=1, cache=CacheOptions(task.into, _NO_LIMIT), permissions=task.permissions)
    told = PartRequest(msgspec.json.decode(request.to_json()), *_window_of(request))
    known = task.known
    for _ in range(_ATTEMPTS):
        path, _warnings = cached_path(binary, request, options, sessions)
        # Another run may take it away meanwhile.
        with suppress(DeserializationError, OSError):
            file = SliceFile(path)
            part = _part_of(file, told)
            if told.is_of(file.schema) and known in (None, (part.file, part.sha256)):
                return part
        with suppress(OSError):
            os.unlink(path)
        known = None
    raise SystemFailureError(
        f"cannot make the part {path!r}: there is another file under its name, {_ATTEMPTS} times",
        hint="remove it, and leave the folder to omega-slices alone",
        file=path,
    )


def _part_of(file: SliceFile, told: PartRequest) -> Part:
    name, report = os.path.basename(file.path), file.report
    return Part(
        file=name,
        start=told.start,
        before=told.before,
        slices=report.slices,
        batches=report.batches,
        first_timestamp_ns=report.first_timestamp_ns,
        last_timestamp_ns=report.last_timestamp_ns,
        bytes=file.size,
        sha256=_sha256(file.path),
        key=os.path.splitext(name)[0],
    )


def _window_of(request: Request) -> tuple[str | None, str | None]:
    """Return the start and the exclusive end of a part, as the list has them."""
    last_ns = request.last_ns
    return (
        None if request.start is None else format_time_ns(request.start),
        None if last_ns in (None, NS_MAX) else format_time_ns(last_ns + 1),
    )


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
