"""Objects in storage, as the executable reads and writes them.

Credentials are known to that one program alone.  Owns the calls of ``omega-slices object`` and
``omega-slices part``.
"""

from __future__ import annotations

import math
import os
import tempfile
from typing import IO, TYPE_CHECKING, Final

import msgspec

from omega_slices._backends.arguments import request_arguments
from omega_slices._backends.binary import find_binary
from omega_slices._backends.process import Producer
from omega_slices._backends.session_input import start_producer
from omega_slices._slices.part_list import Part
from omega_slices.errors import OmegaSlicesError, SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omega_slices._model.options import Permissions
    from omega_slices._model.request import Request
    from omega_slices._model.storage import StorageOptions

_READ_BYTES: Final = 1 << 20
_LARGE: Final = "/var/tmp"  # noqa: S108  # the folder, not a file in it


def fetch_object(uri: str, storage: StorageOptions | None) -> IO[bytes]:
    """Return a temporary file without a name that holds an object; empty where there is none.

    Raises
    ------
    OmegaSlicesError
        Whatever the executable found wrong.
    SystemFailureError
        There is no room for it.
    """
    producer = Producer(
        [str(find_binary()), "object", "get", uri, "--error-format=json"], silence_max_s=math.inf, storage=storage
    )
    try:
        file = tempfile.TemporaryFile(dir=_temporary_folder())  # noqa: SIM115  # the caller closes it
        while part := producer.stdout.read(_READ_BYTES):
            file.write(part)
        file.flush()
        if (failure := producer.finish()) is not None:
            raise failure
        file.seek(0)
    except OmegaSlicesError:
        # Some of them are an OSError too.
        raise
    except OSError as error:
        raise SystemFailureError(
            f"cannot keep {uri!r} for reading: {error.strerror or error}",
            hint="let the environment variable TMPDIR name a folder with room",
            file=uri,
        ) from error
    finally:
        producer.close()
    return file


def put_object(uri: str, body: bytes, storage: StorageOptions | None) -> None:
    """Write an object, and replace it."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.seek(0)
        _run(["object", "put", uri, "--error-format=json"], storage, file)


def remove_object(uri: str, storage: StorageOptions | None) -> None:
    """Remove an object, if it is there."""
    _run(["object", "remove", uri, "--error-format=json"], storage)


def make_part(
    request: Request, into: str, permissions: Permissions, sessions: Sequence[tuple[int, int]] | None
) -> Part:
    """Make one part of a request in a folder of objects, or find it made."""
    arguments = [str(find_binary()), "part", *request_arguments(request, permissions), f"--into={into}", "--threads=1"]
    producer = start_producer(arguments, sessions, permissions.storage, silence_max_s=math.inf)
    return msgspec.json.decode(_output_of(producer), type=Part)


def _run(arguments: Sequence[str], storage: StorageOptions | None, stdin: IO[bytes] | None = None) -> None:
    _output_of(Producer([str(find_binary()), *arguments], stdin, silence_max_s=math.inf, storage=storage))


def _output_of(producer: Producer) -> bytes:
    printed = bytearray()
    try:
        while part := producer.stdout.read(_READ_BYTES):
            printed += part
        if (failure := producer.finish()) is not None:
            raise failure
    finally:
        producer.close()
    return bytes(printed)


def _temporary_folder() -> str | None:
    """Return where large files belong; the other usual folder may lie in memory."""
    return _LARGE if "TMPDIR" not in os.environ and os.path.isdir(_LARGE) else None
