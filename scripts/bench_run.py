"""Run one process, and say what it took.

Wall-clock time, processor time, memory of the process and its children, output.

Memory is the peak of the resident set, pages of files that a process maps included. Of a process
alone it is the kernel's account after its end. That account does not tell a process from its
children. So where there are any, each process is looked at every few milliseconds. The peaks are
added up: an upper bound of what was held at once.

The kernel's account of a process begins before it becomes another program, when it is still a copy
of the one that starts it. So the measuring process imports nothing but the standard library: numpy
and pyarrow would raise every figure to their own size.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self

from bench_results import BenchError

READ_BYTES = 1 << 20
FIRST_BYTES = 1 << 16
LOOK_S = 0.01

# Where a process' output goes: nowhere, into a pipe that is read and forgotten, or into
# `Run.stdout`.
Output = Literal["null", "pipe", "keep"]


@dataclass(frozen=True)
class Run:
    """One run of a command.

    `too_big` where it was ended since it needed more memory than it may. `first_seconds` is the
    time until 64 KiB had come through the pipe; NaN where less came.
    """

    seconds: float
    cpu_seconds: float
    first_seconds: float
    peak_bytes: int
    piped_bytes: int
    stdout: str
    stderr: str
    too_big: bool


def run(
    command: Sequence[str],
    *,
    output: Output = "null",
    environment: Mapping[str, str] | None = None,
    memory_bytes: int | None = None,
) -> Run:
    """Run a command to its end; raise where it fails."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answered:
        read_end, write_end = os.pipe()
        stdout = {"null": subprocess.DEVNULL, "pipe": write_end, "keep": answered.fileno()}[output]
        started = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=said, env=environment)
        os.close(write_end)
        with _Watch(child.pid, memory_bytes) as watch:
            piped_bytes, first = _drain(read_end)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout_text, stderr_text = (_text(file) for file in (answered, said))
    if child.returncode != 0 and not watch.too_big:
        raise BenchError(f"{' '.join(command[:3])} ended with status {child.returncode}:\n{stderr_text}")
    peak_bytes = sum(watch.peaks.values()) if len(watch.peaks) > 1 else usage.ru_maxrss * 1024
    cpu_seconds = usage.ru_utime + usage.ru_stime
    told = (piped_bytes, stdout_text, stderr_text, watch.too_big)
    return Run(seconds, cpu_seconds, first - started, peak_bytes, *told)


def _drain(descriptor: int) -> tuple[int, float]:
    """Read a pipe to its end, and close it.

    Return how many bytes came, and when the first 64 KiB of them had.
    """
    buffer = bytearray(READ_BYTES)
    total, first = 0, math.nan
    while count := os.readv(descriptor, [buffer]):
        total += count
        if total >= FIRST_BYTES and math.isnan(first):
            first = time.perf_counter()
    os.close(descriptor)
    return total, first


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


class _Watch:
    """A thread that looks at a process and its descendants until the block is left.

    Attributes
    ----------
    peaks : dict of int to int
        For the process and each descendant the peak of its resident set in bytes, as it was last
        seen. Not the highest seen: what is seen before it has become another program is the memory
        of its parent.
    too_big : bool
        Whether the process was ended since all of them held more than they may.
    """

    def __init__(self, pid: int, memory_bytes: int | None) -> None:
        self.peaks: dict[int, int] = {}
        self.too_big = False
        self._pid = pid
        self._memory_bytes = memory_bytes
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Self:
        self._process = os.pidfd_open(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        os.close(self._process)

    def _look_on(self) -> None:
        while not self._left.wait(LOOK_S):
            for pid in (self._pid, *_descendants(self._pid)):
                with suppress(OSError, KeyError):
                    self.peaks[pid] = _status_bytes(pid, "VmHWM")
            if self._memory_bytes is not None:
                with suppress(OSError, KeyError):
                    if _status_bytes(self._pid, "VmRSS") > self._memory_bytes:
                        self.too_big = True
                        signal.pidfd_send_signal(self._process, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (thread / "children").read_text(encoding="ascii").split():
                    yield int(child)
                    yield from _descendants(int(child))


def _status_bytes(pid: int, field: str) -> int:
    """Return a size that the kernel tells of a process.

    KeyError for one that has ended but is still listed.
    """
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status[field].split()[0]) * 1024


def available_memory_bytes() -> int:
    """Return how much memory programs may still take."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
