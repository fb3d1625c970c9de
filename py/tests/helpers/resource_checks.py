"""What a process holds of the system: descriptors, threads, children, files.

Shared by the tests that look for what is left behind.  Read from /proc, so that nothing of
what is tested here is asked about itself.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# A thread or a child that has ended may be listed for some milliseconds more; on a machine
# that is busy, for longer.
_SETTLE_S = 60.0

# Far more than anything here takes.
_DEADLINE_S = 600.0


def descriptors() -> list[str]:
    """Return what the open descriptors of this process are, in the order of their numbers."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one through which the folder was read
            continue
    return [found[number] for number in sorted(found)]


def children(of: int | None = None) -> list[tuple[int, str]]:
    """Return number and state of each child of a process, by default this one.

    ``Z`` is one that was not reaped.
    """
    parent = os.getpid() if of is None else of
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        status = state_and_parent(int(name))
        if status is not None and status[1] == parent:
            found.append((int(name), status[0]))
    return sorted(found)


def state_and_parent(pid: int) -> tuple[str, int] | None:
    """Return state and parent of a process; None where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything.
    state, parent, *_ = text.rpartition(")")[2].split()
    return state, int(parent)


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that is dead but not reaped does not."""
    status = state_and_parent(pid)
    return status is not None and status[0] not in "ZX"


def held(folder: Path) -> dict[str, object]:
    """Return all that this process holds, and the files in a folder."""
    return {
        "descriptors": descriptors(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "children": children(),
        "files": sorted(str(path) for path in folder.rglob("*")),
    }


def until(reached: Callable[[], bool], seconds: float = _SETTLE_S) -> bool:
    """Wait until something is so; return whether it came to be within the time."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def deadline() -> Iterator[None]:
    """End the tests, telling where they are, if something hangs."""
    faulthandler.dump_traceback_later(_DEADLINE_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@dataclass
class Tally:
    """How many faults a test brought about, and how many streams it opened."""

    faults: int = 0
    streams: int = 0
