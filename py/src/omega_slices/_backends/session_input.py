"""Starting the executable, with the sessions of a market calendar as its standard input.

Owns the form in which sessions are handed over.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from omega_slices._backends.process import Producer
from omega_slices._model.times import format_time_ns
from omega_slices.errors import OmegaSlicesError, SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omega_slices._model.storage import StorageOptions


def start_producer(
    arguments: Sequence[str],
    sessions: Sequence[tuple[int, int]] | None,
    storage: StorageOptions | None = None,
    *,
    silence_max_s: float | None = None,
) -> Producer:
    if sessions is None:
        return Producer(arguments, silence_max_s=silence_max_s, storage=storage)
    return _start_with_sessions(arguments, sessions, storage, silence_max_s)


def _start_with_sessions(
    arguments: Sequence[str],
    sessions: Sequence[tuple[int, int]],
    storage: StorageOptions | None,
    silence_max_s: float | None,
) -> Producer:
    """Start the executable with a CSV file of sessions as its standard input.

    The file has no name, so nothing of it is left whatever happens.  Unlike a pipe it never
    makes one of the two wait for the other.
    """
    lines = ["open,close", *(",".join(map(format_time_ns, session)) for session in sessions), ""]
    try:
        with tempfile.TemporaryFile() as file:
            file.write("\n".join(lines).encode())
            file.seek(0)
            return Producer(arguments, stdin=file, silence_max_s=silence_max_s, storage=storage)
    except OmegaSlicesError:
        raise
    except OSError as error:
        raise SystemFailureError(
            f"cannot hand over the sessions of the calendar: {error}",
            hint="let the environment variable TMPDIR name a folder with room",
        ) from error
