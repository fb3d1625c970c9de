"""A folder of objects in which a request is precomputed: its list, and what goes.

It has no lock: a part is the same whoever makes it, and the list that is written last counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omega_slices._backends.objects import put_object, remove_object
from omega_slices._slices.part_list import PARTS_FILE, document_of, read_list_of, stale_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omega_slices._model.storage import StorageOptions
    from omega_slices._slices.part_list import Part, PartList


class PartBucket:
    """What `PartFolder` is for a folder of this machine, with the same members."""

    def __init__(self, path: str, request: dict[str, Any], storage: StorageOptions | None, *, overwrite: bool) -> None:
        """Look at a folder of objects, which may not be there yet."""
        self.path = path
        self._request = request
        self._storage = storage
        self._overwrite = overwrite
        first = self._read()
        self._lists = [first]
        self.known = first if first is not None and first.request == request else None

    def publish(self, parts: Sequence[Part]) -> list[int]:
        """List the parts, and remove those of former lists.  None is ever missing."""
        self._lists.append(self._read())
        put_object(f"{self.path}/{PARTS_FILE}", document_of(self._request, parts), self._storage)
        for name in stale_files(self._lists, parts):
            remove_object(f"{self.path}/{name}", self._storage)
        return []

    def _read(self) -> PartList | None:
        return read_list_of(self.path, self._request, self._storage, overwrite=self._overwrite)
