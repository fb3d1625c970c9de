"""The executable's slices, from a file that it keeps in a cache.

Owns the way from a request to the mapped file, also where the file is removed meanwhile.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from omega_slices._arrow.schema_check import check_schema
from omega_slices._backends.arguments import sync_arguments
from omega_slices._backends.session_input import start_producer
from omega_slices._backends.source import EndedRun
from omega_slices._slices.file import SliceFile
from omega_slices.errors import DeserializationError, SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from omega_slices._model.options import ExecutionOptions
    from omega_slices._model.report import RunWarning
    from omega_slices._model.request import Request


# How often the executable is asked for a file that is then no longer there.
_CACHE_ATTEMPTS: Final = 3

# More than any system takes as a path.
_PATH_BYTES_MAX: Final = 64 << 10


class CachedSource(EndedRun):
    """The slices of a file in the cache; the executable makes the file if there is none yet."""

    def __init__(
        self,
        binary: Path,
        request: Request,
        options: ExecutionOptions,
        sessions: Sequence[tuple[int, int]] | None = None,
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
        self._warnings = ()
        file = self._open(binary, request, options, sessions)
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

    def _open(
        self, binary: Path, request: Request, options: ExecutionOptions, sessions: Sequence[tuple[int, int]] | None
    ) -> SliceFile:
        # Between the two programs another one may need the room that the file takes.  Once
        # mapped, it is there for us whatever becomes of its name.
        for _ in range(_CACHE_ATTEMPTS):
            path, self._warnings = cached_path(binary, request, options, sessions)
            try:
                return SliceFile(path)
            except FileNotFoundError:
                pass
            except DeserializationError as error:
                folder = None if options.cache is None else options.cache.folder
                hint = f"remove it, or all of them: omega-slices cache clear --cache {folder}"
                raise DeserializationError(error.message, hint=hint, file=path) from error
        raise SystemFailureError(
            f"the cached file was removed before it could be opened, {_CACHE_ATTEMPTS} times",
            hint="give the cache more room (cache_size=), or leave its folder to omega-slices alone",
            file=path,
        )


def cached_path(
    binary: Path, request: Request, options: ExecutionOptions, sessions: Sequence[tuple[int, int]] | None
) -> tuple[str, Sequence[RunWarning]]:
    """Return where the executable keeps the slices of a request, once they are there, and its warnings.

    Raises
    ------
    OmegaSlicesError
        Whatever the executable found wrong.
    """
    cache = options.cache
    assert cache is not None, "only asked where there is one"
    arguments = [str(binary), *sync_arguments(request, options), f"--cache={cache.folder}", "--print-path"]
    if cache.size is not None:
        arguments.append(f"--cache-size={cache.size}")
    producer = start_producer(arguments, sessions, options.permissions.storage)
    try:
        printed = bytes(producer.stdout.read(_PATH_BYTES_MAX))
        if (failure := producer.finish()) is not None:
            raise failure
        warnings = producer.take_warnings()
        path = os.fsdecode(printed[:-1])
        if not printed.endswith(b"\n") or not os.path.isabs(path):
            raise producer.failure(f"cannot read the path of the cached file: {printed[:100]!r}", ended=True)
        return path, warnings
    finally:
        producer.close()
