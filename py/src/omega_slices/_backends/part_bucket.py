"""A folder of objects in which a request is precomputed: its list, and what goes.

It has no lock: a part is the same whoever makes it, and the list that is written last counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from omega_slices._backends.objects import put_object, remove_object
from omega_slices._slices.part_folder import PART_NAME, other_request
from omega_slices._slices.part_list import PARTS_FILE, list_of, read_parts
from omega_slices.errors import DeserializationError

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
        self._first = self._read()

    @property
    def known(self) -> PartList | None:
        """The list that was there at first, where it is one of this request."""
        first = self._first
        return first if first is not None and first.request == self._request else None

    def publish(self, parts: Sequence[Part]) -> list[int]:
        """List the parts, and remove those of former lists.  None is ever missing."""
        lists = [self._first, self._read()]
        document = msgspec.json.format(msgspec.json.encode(list_of(self._request, parts)), indent=1)
        put_object(f"{self.path}/{PARTS_FILE}", document, self._storage)
        kept = {part.file for part in parts}
        stale = {part.file for known in lists if known is not None for part in known.parts} - kept
        for name in sorted(stale):
            if PART_NAME.fullmatch(name):
                remove_object(f"{self.path}/{name}", self._storage)
        return []

    def _read(self) -> PartList | None:
        try:
            found = read_parts(self.path, self._storage)
        except DeserializationError:
            if self._overwrite:
                return None
            raise
        if found is not None and found.request != self._request and not self._overwrite:
            raise other_request(self.path)
        return found
