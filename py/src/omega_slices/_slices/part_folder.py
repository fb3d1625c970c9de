"""The folder of the parts of a request, as a run leaves it: its lock, its list, and what goes.

Owns every change of the folder but the making of parts.  Several runs may work in one folder; their
lists are written one after another.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from omega_slices._slices.part_list import PARTS_FILE, document_of, read_list_of, stale_files
from omega_slices.errors import SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from omega_slices._slices.part_list import Part, PartList


class PartFolder:
    """The folder in which a request is precomputed.

    Attributes
    ----------
    path : str
        Absolute.
    known : PartList or None
        The list that was there at first, where it is one of this request.
    """

    def __init__(self, path: str, request: dict[str, Any], *, overwrite: bool) -> None:
        """Look at a folder, which may not be there yet.

        Parameters
        ----------
        path : str
            Absolute.
        request : dict of str to Any
            The request, as the list has it.
        overwrite : bool
            Whether the list of another request, or what is no list, is replaced.

        Raises
        ------
        RequestError, DeserializationError
            As of `read_list_of`.
        """
        self.path = path
        self._request = request
        self._overwrite = overwrite
        first = self._read()
        self._lists = [first]
        self.known = first if first is not None and first.request == request else None

    def publish(self, parts: Sequence[Part]) -> list[int]:
        """List the parts, and remove those of former lists, unless a part is missing by now.

        Returns
        -------
        list of int
            The places of the missing parts; where there are any, nothing is written.

        Raises
        ------
        RequestError, DeserializationError
            As at first: another run may have written a list meanwhile.
        SystemFailureError
            The folder cannot be locked or written.
        """
        with self._locked():
            self._lists.append(self._read())
            missing = [place for place, part in enumerate(parts) if self._size_of(part) != part.bytes]
            if not missing:
                self._write(document_of(self._request, parts))
                for name in stale_files(self._lists, parts):
                    with suppress(OSError):
                        os.unlink(os.path.join(self.path, name))
        return missing

    def _read(self) -> PartList | None:
        return read_list_of(self.path, self._request, overwrite=self._overwrite)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._failed("open", error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise self._failed("lock", error) from error
            yield
        finally:
            with suppress(OSError):
                # Not only by closing it: a process that was forked meanwhile holds it too.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _size_of(self, part: Part) -> int | None:
        try:
            state = os.stat(os.path.join(self.path, part.file))
        except OSError:
            return None
        return state.st_size if stat.S_ISREG(state.st_mode) else None

    def _write(self, document: bytes) -> None:
        """Write the list of parts: complete or not there."""
        try:
            with tempfile.NamedTemporaryFile(dir=self.path, prefix="_slices.", suffix=".partial", delete=False) as file:
                try:
                    file.write(document)
                    file.flush()
                    os.fsync(file.fileno())
                    os.chmod(file.name, 0o644)
                    os.replace(file.name, os.path.join(self.path, PARTS_FILE))
                except BaseException:
                    with suppress(OSError):
                        os.unlink(file.name)
                    raise
        except OSError as error:
            raise self._failed("write the list of parts in", error) from error

    def _failed(self, what: str, error: OSError) -> SystemFailureError:
        return SystemFailureError(
            f"cannot {what} {self.path!r}: {error.strerror or error}", hint="make room there, or give another folder"
        )
