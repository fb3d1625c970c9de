"""Precomputing a request in parts: a file for each, and the list of them.

Owns the order of the work and the list.  The executable makes each part as an entry of a cache in
the folder: complete or not there, made once whoever asks, and made again where an input has changed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from omega_slices._backends.binary import find_binary
from omega_slices._backends.cached import CachedSource
from omega_slices._backends.resolve import calendar_sessions_of
from omega_slices._model.options import CacheOptions, ExecutionOptions, Permissions
from omega_slices._model.paths import check_local
from omega_slices._model.times import NS_MAX, format_time_ns
from omega_slices._slices.part_list import PARTS_FILE, Part, list_of, read_parts
from omega_slices._slices.parts import PartedFile, open_folder
from omega_slices._table import SliceTable
from omega_slices.errors import RequestError, SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omega_slices._model.request import Request

# No entry is ever in excess: parts are not removed while others are made.
_NO_LIMIT: Final = str(2**62)
_READ_BYTES: Final = 1 << 20


class _Task(NamedTuple):
    """What a worker needs to make a part."""

    request: Request
    into: str
    permissions: Permissions


def precompute(
    request: Request,
    into: str | os.PathLike[str],
    by: str | int = "month",
    executor: Executor | None = None,
    *,
    overwrite: bool = False,
    follow_links: bool = False,
) -> SliceTable:
    """Make the slices of a request as files, one for each part, in a folder.

    Begun again, it makes what is missing, and what its inputs make another part of by now.  Several
    runs at once do no harm: each part is made once.  The list of parts, ``_slices.json``, comes
    last, so `read_slices` takes a folder only where all parts are there.

    Parameters
    ----------
    request : Request
        What is wanted.
    into : str or path
        The folder, made where it is not there.
    by : {"day", "week", "month", "year"} or int
        How the request is cut; see `Request.split`.
    executor : concurrent.futures.Executor, optional
        Who makes the parts, such as a process pool or that of a cluster whose workers see the same
        files; by default as many processes as there are cores.
    overwrite : bool
        Take the folder of another request: its list is replaced, and its parts are removed.
    follow_links : bool
        Whether links may lead out of the root folder.

    Returns
    -------
    SliceTable
        The slices of all parts.

    Raises
    ------
    RequestError
        The folder has the parts of another request, and `overwrite` is not set; or `by` is no way
        to cut.
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
    try:
        folder = os.path.abspath(os.fsdecode(into))
    except TypeError:
        raise RequestError(f"invalid into={into!r}: expected a path", hint="give a folder as text or path") from None
    check_local(os.fsdecode(into))
    known = read_parts(folder)
    told = msgspec.json.decode(request.to_json())
    if known is not None and known.request != told and not overwrite:
        raise RequestError(
            f"the folder {folder!r} holds the parts of another request",
            hint="give another folder, or overwrite=True to replace them",
        )
    parts = request.split(by)
    tasks = [_Task(part, folder, Permissions(follow_links=follow_links)) for part in parts]
    made = list(_made_by(executor, tasks))
    _write(folder, msgspec.json.format(msgspec.json.encode(list_of(told, made)), indent=1))
    for stale in () if known is None else known.parts:
        if stale.file not in {part.file for part in made}:
            _remove(os.path.join(folder, os.path.basename(stale.file)))
    file: PartedFile = open_folder(folder)
    return SliceTable(file, 0, file.index.starts[-1])


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
    """Make one part, or find it made; in whatever process."""
    request = task.request
    binary = find_binary()
    options = ExecutionOptions(threads=1, cache=CacheOptions(task.into, _NO_LIMIT), permissions=task.permissions)
    source = CachedSource(binary, request, options, calendar_sessions_of(request, binary, options.permissions))
    path, report = source.path, source.report()
    source.close()
    assert report is not None  # of a file, it is there at once
    name = os.path.basename(path)
    last_ns = request.last_ns
    before = None if last_ns in (None, NS_MAX) else last_ns + 1
    return Part(
        file=name,
        start=None if request.start is None else format_time_ns(request.start),
        before=None if before is None else format_time_ns(before),
        slices=report.slices,
        batches=report.batches,
        first_timestamp_ns=report.first_timestamp_ns,
        last_timestamp_ns=report.last_timestamp_ns,
        bytes=os.stat(path).st_size,
        sha256=_sha256(path),
        key=os.path.splitext(name)[0],
    )


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(folder: str, document: bytes) -> None:
    """Write the list of parts: complete or not there."""
    path = os.path.join(folder, PARTS_FILE)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="_slices.", suffix=".partial", delete=False) as file:
            try:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                _remove(file.name)
                raise
    except OSError as error:
        raise SystemFailureError(
            f"cannot write {path!r}: {error.strerror or error}", hint="make room there, or give another folder"
        ) from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
