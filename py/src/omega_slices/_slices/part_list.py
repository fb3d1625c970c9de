"""The list of the parts of a request: `_slices.json`.

Owns its form, its checksum, and what of it can be checked without a look at any part.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from omega_slices._model.paths import is_remote
from omega_slices._model.schema import StreamMetadata
from omega_slices._model.times import NS_MAX, NS_MIN, format_time_ns, parse_time_ns
from omega_slices._slices.remote import fetched
from omega_slices.errors import DeserializationError, OmegaSlicesError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from omega_slices._model.storage import StorageOptions

PARTS_FILE: Final = "_slices.json"
PARTS_VERSION: Final = "1.0.0"
# Some hundred thousand parts.
_BYTES_MAX: Final = 1 << 28
# The names that the executable gives to parts; no other file is ever removed.
_PART_NAME: Final = re.compile(r"[0-9a-f]{64}\.arrow")
_REMAKE_HINT: Final = "remove it, or pass overwrite=True, and run precompute again"
# What of a request differs between a part and the whole.
_OF_A_PART: Final = ("start", "end", "before", "symbols")

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Timestamp = Annotated[int, msgspec.Meta(ge=NS_MIN, le=NS_MAX)]


class Part(msgspec.Struct, frozen=True):
    """One part of a precomputed request, as the list names it.

    The order of the fields is that of the checksum.

    Attributes
    ----------
    file : str
        A plain name, in the folder of the list.
    start, before : str
        Its window as RFC 3339 texts; the end is exclusive.
    slices, batches : int
        How many it has.
    first_timestamp_ns, last_timestamp_ns : int or None
        Those of its first and last slice; None without slices.
    bytes : int
        The size of the file.
    sha256 : str
        Of the file, in hex digits.
    key : str
        What identifies request and inputs, as in the cache.
    """

    file: str
    start: str | None
    before: str | None
    slices: _Count
    batches: _Count
    first_timestamp_ns: _Timestamp | None
    last_timestamp_ns: _Timestamp | None
    bytes: _Count
    sha256: str
    key: str


class PartList(msgspec.Struct, frozen=True):
    """The document `_slices.json`; lists of earlier states have no checksum."""

    schema_version: str
    request: dict[str, Any]
    parts: tuple[Part, ...]
    checksum: str | None = None


class PartRequest(NamedTuple):
    """The request of a part: that of the list, in a window of its own.

    Attributes
    ----------
    request : mapping of str to Any
        As in the list.
    start, before : str or None
        As of the part, in the list.
    """

    request: Mapping[str, Any]
    start: str | None
    before: str | None

    def is_of(self, schema: pa.Schema) -> bool:
        """Return whether it is the request in the metadata of a file.

        There the end of the window may be inclusive.  Where all symbols were asked for, the file
        says which these were.
        """
        found = msgspec.json.decode(StreamMetadata.decode(schema.metadata).request, type=dict[str, Any])
        try:
            window = found.get("start"), _exclusive_end(found)
        except RequestError:
            return False
        symbols = self.request.get("symbols")
        return (
            window == (self.start, self.before)
            and (symbols is None or symbols == found.get("symbols"))
            and _shared(found) == _shared(self.request)
        )


def _exclusive_end(request: Mapping[str, Any]) -> str | None:
    before, end = request.get("before"), request.get("end")
    if before is not None or end is None:
        return before
    last_ns = parse_time_ns(end, "end")
    return None if last_ns == NS_MAX else format_time_ns(last_ns + 1)


def _shared(request: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in request.items() if key not in _OF_A_PART}


def document_of(request: dict[str, Any], parts: Sequence[Part]) -> bytes:
    """Return the list of the parts of a request as it is written, with its checksum."""
    found = PartList(PARTS_VERSION, request, tuple(parts), checksum_of(parts))
    return msgspec.json.format(msgspec.json.encode(found), indent=1)


def checksum_of(parts: Sequence[Part]) -> str:
    """Return the SHA-256 over all that a list says of its parts.

    Raises
    ------
    UnicodeEncodeError
        A text is none.
    """
    digest = hashlib.sha256()
    for part in parts:
        for value in msgspec.structs.astuple(part):
            digest.update(f"{'' if value is None else value}\n".encode())
    return digest.hexdigest()


def read_parts(folder: str, storage: StorageOptions | None = None) -> PartList | None:
    """Return the list of parts of a folder, or of a folder of objects; None where it has none.

    Raises
    ------
    DeserializationError
        It cannot be read, or contradicts itself.
    """
    path = os.path.join(folder, PARTS_FILE)
    try:
        if is_remote(folder):
            with fetched(path, storage) as body:
                text = body.read(_BYTES_MAX + 1)
            if not text:
                return None
            if len(text) > _BYTES_MAX:
                raise _wrong(folder, "it is too large")
        else:
            text = _read(folder, path)
    except OmegaSlicesError:
        # Some of them are an OSError too.
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise DeserializationError(
            f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}",
            hint="check that it is readable",
            file=path,
        ) from error
    try:
        told = json.loads(text.decode(), object_pairs_hook=_distinct)
        if isinstance(told, dict):
            _check_version(folder, told.get("schema_version"))
        found = msgspec.convert(told, PartList)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise _wrong(folder, f"it is malformed: {error}") from None
    for what in _contradictions(found):
        raise _wrong(folder, what)
    return found


def read_list_of(
    folder: str, request: dict[str, Any], storage: StorageOptions | None = None, *, overwrite: bool
) -> PartList | None:
    """Return the list of the folder that a request is precomputed in; None where it has none.

    With `overwrite`, a list may be of another request, and one that cannot be read counts as none.

    Raises
    ------
    RequestError
        The folder has the parts of another request, and `overwrite` is not set.
    DeserializationError
        The list cannot be read, and `overwrite` is not set.
    """
    try:
        found = read_parts(folder, storage)
    except DeserializationError:
        if overwrite:
            return None
        raise
    if found is not None and found.request != request and not overwrite:
        raise RequestError(
            f"the folder {folder!r} holds the parts of another request",
            hint="give another folder, or overwrite=True to replace them",
        )
    return found


def stale_files(lists: Iterable[PartList | None], parts: Iterable[Part]) -> list[str]:
    """Return the names of files that former lists name, and the list of these parts does not."""
    former = {part.file for found in lists if found is not None for part in found.parts}
    stale = former - {part.file for part in parts}
    return sorted(name for name in stale if _PART_NAME.fullmatch(name))


def _read(folder: str, path: str) -> bytes:
    # Not blocking: the name may be that of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise _wrong(folder, "it is no regular file")
        if state.st_size > _BYTES_MAX:
            raise _wrong(folder, "it is too large")
        return file.read()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _check_version(folder: str, version: object) -> None:
    if isinstance(version, str) and version.split(".")[0] != PARTS_VERSION.split(".")[0]:
        raise _wrong(folder, f"it has version {version!r}; this package reads {PARTS_VERSION!r}")


def _contradictions(found: PartList) -> Iterator[str]:
    """Yield what is wrong with a list, each on the ground that nothing before was."""
    parts = found.parts
    if not parts:
        yield "it lists no parts"
    for part in parts:
        yield from _contradictions_of(part)
    if len({part.file for part in parts}) < len(parts):
        yield "it names a file twice"
    for one, other in pairwise(parts):
        if one.before is not None and other.start is not None and one.before != other.start:
            yield f"{other.file!r} does not start where {one.file!r} ends"
    last_ns = NS_MIN - 1
    for part in parts:
        if part.first_timestamp_ns is not None and part.last_timestamp_ns is not None:
            if not last_ns < part.first_timestamp_ns <= part.last_timestamp_ns:
                yield f"the slices of {part.file!r} are not after those before it"
            last_ns = part.last_timestamp_ns
    if sum(part.slices for part in parts) > NS_MAX:
        yield "it has more slices than can be counted"
    try:
        checksum = checksum_of(parts)
    except UnicodeEncodeError:
        yield "one of its texts is not UTF-8"
    else:
        if found.checksum not in (None, checksum):
            yield "its checksum is not that of its parts"


def _contradictions_of(part: Part) -> Iterator[str]:
    if part.file != os.path.basename(part.file) or part.file in ("", ".", ".."):
        yield f"{part.file!r} is no plain name of a file"
    texts = (part.file, part.start, part.before, part.sha256, part.key)
    if any("\0" in text for text in texts if text is not None):
        yield f"a text of {part.file!r} holds a NUL"
    are_none = part.batches == 0, part.first_timestamp_ns is None, part.last_timestamp_ns is None
    # Each batch has a slice, and takes room.
    if are_none != (part.slices == 0,) * 3 or part.batches > min(part.slices, part.bytes):
        yield f"what it says of {part.file!r} contradicts itself"


def _wrong(folder: str, what: str) -> DeserializationError:
    path = os.path.join(folder, PARTS_FILE)
    return DeserializationError(
        f"cannot read {path!r}: the list of parts is wrong: {what}", hint=_REMAKE_HINT, file=path
    )
