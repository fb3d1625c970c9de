"""What the tests let run in an interpreter of its own: walks, forks, ends.

Imported, it gives functions that worker processes can be sent.  Run as a program, it does
one thing by name, and prints the result as JSON.  It asserts what must not be.  Needs nothing
of pytest.
"""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from helpers import resource_checks, stream_factory
from omega_slices import MultiSymbolSlice, OmegaSlicesError, SliceStream, SymbolNotFoundError, open_slices

MINUTES: Final = 50_000
SPREAD: Final = 0.25
_LAST_NS: Final = stream_factory.START_NS + MINUTES * stream_factory.MINUTE_NS


def write_market(root: Path) -> None:
    """Write bid and ask of the symbols; every close tells its symbol and its minute."""
    for place, symbol in enumerate(stream_factory.SYMBOLS):
        for side, add in (("BID", 0.0), ("ASK", SPREAD)):
            stream_factory.write_series(root, symbol, side, [(m, _close(place, m) + add) for m in range(MINUTES)])


def _close(place: int, minute: int) -> float:
    return float((place + 1) * 2**20 + minute)


def digest(slices: Iterable[MultiSymbolSlice]) -> tuple[int, str]:
    """Return how many slices there are, and a hash of their timestamps and closes."""
    seen, count = hashlib.sha256(), 0
    for one in slices:
        seen.update(one.timestamp_ns.to_bytes(8, "little"))
        seen.update(one.column("bid_close").tobytes())
        seen.update(one.column("ask_close").tobytes())
        count += 1
    return count, seen.hexdigest()


def expected(first: int = 0, count: int = MINUTES) -> tuple[int, str]:
    """Return the digest of a window of the market, from what was written."""
    width = len(stream_factory.SYMBOLS)
    table = np.empty(count, [("stamp", "<i8"), ("bid", "<f8", width), ("ask", "<f8", width)])
    minutes = np.arange(first, first + count)
    table["stamp"] = stream_factory.START_NS + minutes * stream_factory.MINUTE_NS
    table["bid"] = np.stack([_close(place, 0) + minutes for place in range(width)], axis=1)
    table["ask"] = table["bid"] + SPREAD
    return count, hashlib.sha256(table.tobytes()).hexdigest()


def market_columns() -> dict[str, np.ndarray[Any, Any]]:
    """Return some columns of the market's stream, from what was written."""
    minutes = np.repeat(np.arange(MINUTES), len(stream_factory.SYMBOLS))
    bid = np.tile([_close(place, 0) for place in range(len(stream_factory.SYMBOLS))], MINUTES) + minutes
    stamps = (stream_factory.START_NS + minutes * stream_factory.MINUTE_NS).astype("datetime64[ns]")
    return {"timestamp": stamps, "bid_close": bid, "ask_close": bid + SPREAD}


def open_market(root: str | Path, first: int = 0, count: int = MINUTES) -> SliceStream:
    """Open a window of the market."""
    start_ns = stream_factory.START_NS + first * stream_factory.MINUTE_NS
    end_ns = start_ns + (count - 1) * stream_factory.MINUTE_NS
    return open_slices(root, symbols=stream_factory.SYMBOLS, start=start_ns, end=end_ns, backend="rust")


def walk(root: str | Path, first: int = 0, count: int = MINUTES) -> tuple[int, str]:
    """Return the digest of a window of the market, from a stream."""
    with open_market(root, first, count) as slices:
        return digest(slices)


def pid_of(slices: SliceStream) -> int:
    """Return the process that writes a stream."""
    number = slices._source._producer._process.pid  # type: ignore[attr-defined]  # of this source, which is private
    assert isinstance(number, int)
    return number


def echo(value: object) -> tuple[object, str]:
    """Give back what came, and how it looks from here."""
    return value, repr(value)


def fail(root: str) -> None:
    """Raise an error that the executable reports."""
    open_slices(root, symbols=["NONE"], backend="rust")


def processes(method: str, root: str) -> object:
    """Walk through many windows, in processes made by the given method."""
    windows = [(first, 2_000 + first) for first in range(0, 24_000, 3_000)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        walks = [pool.submit(walk, root, *window) for window in windows]
        failed = pool.submit(fail, root)
        for window, one in zip(windows, walks, strict=True):
            assert one.result() == expected(*window)
        error = failed.exception()
    assert isinstance(error, SymbolNotFoundError)
    assert error.symbol == "NONE"
    return len(windows) + 1


def forked(way: str, root: str) -> object:
    """Fork with a stream half read.

    The child leaves its copy in some way, and the parent reads on.
    """
    slices = open_market(root)
    taken = list(islice(slices, 100))
    producer = pid_of(slices)
    if way == "multiprocessing":
        child = multiprocessing.get_context("fork").Process(target=_leave, args=("return", slices))
        child.start()
        child.join(30)
        assert child.exitcode == 0
    else:
        assert _wait(_fork(lambda: _leave(way, slices))) == 0
    # Through the channel, at most 2 MB of 8, it cannot be at its end by itself.
    assert resource_checks.is_running(producer)
    assert digest([*taken, *slices]) == expected()
    assert slices.report.complete
    assert resource_checks.children() == []
    return slices.report.slices


def _leave(way: str, slices: SliceStream) -> None:
    match way:
        case "exit":
            sys.exit(0)  # which runs what the interpreter runs at its end
        case "close":
            slices.close()
        case "with":
            with slices:
                pass
        case "drop":
            # The last reference to it in this process: the frames above belong to the parent.
            slices._finalizer()
        case "return":
            del slices
            gc.collect()


def held(root: str) -> object:
    """Let a child hold the descriptors of two streams; one is closed, one read to its end."""
    closed, walked = open_market(root), open_market(root)
    next(closed)
    first = next(walked)
    child = _fork(lambda: time.sleep(600))
    closed.close()
    # It did not have to wait for the child's end.
    assert resource_checks.is_running(child)
    assert digest([first, *walked]) == expected()
    assert resource_checks.children() == [(child, "S")]
    os.kill(child, signal.SIGKILL)
    assert _wait(child) == -signal.SIGKILL
    return True


def read_in_child(root: str) -> object:
    """Read on, in a child, a stream that the parent has opened; return what the child was told."""
    slices = open_market(root)
    first = next(slices)
    reading, writing = os.pipe()

    def read_on() -> None:
        told = []
        # Slices of the batch that was read before the fork may come: they are in its memory.
        ways: list[Callable[[], object]] = [
            lambda: list(slices),
            lambda: slices.peek(MINUTES),
            lambda: slices.skip(MINUTES),
            lambda: list(slices.batches()),
        ]
        for way in ways:
            try:
                way()
                told.append("nothing was raised")
            except OmegaSlicesError as error:
                told.append(str(error))
        os.write(writing, json.dumps(told).encode())

    child = _fork(read_on)
    os.close(writing)
    with open(reading, "rb") as file:
        told = json.load(file)
    assert _wait(child) == 0
    assert digest([first, *slices]) == expected()
    return told


def forked_while_opening(root: str) -> object:
    """Fork in another thread at the worst moment of opening.

    Return how many children outlived the streams.
    """
    children: list[int] = []
    real = socket.socketpair

    def socketpair() -> tuple[socket.socket, socket.socket]:
        ends = real()
        forks = threading.Thread(target=lambda: children.append(_fork(lambda: time.sleep(600))))
        forks.start()
        # A fork that is made to wait until the process has been started is as good as none.
        forks.join(0.3)
        return ends

    socket.socketpair = socketpair  # type: ignore[assignment]  # as opening a stream calls it
    try:
        # The producer's end must not be kept open by a stranger: neither where all is well …
        assert walk(root) == expected()
        # … nor where it dies.
        slices = open_market(root)
        next(slices)
        os.kill(pid_of(slices), signal.SIGKILL)
        error = None
        try:
            list(slices)
        except OmegaSlicesError as caught:
            error = caught
        assert "SIGKILL" in str(error)
        # Nothing had to wait for the children's end.
        outlived = sum(map(resource_checks.is_running, children))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            _wait(child)
    return outlived


def end_with_a_waiting_thread() -> object:
    """Come to the end while a daemon thread waits for a slice that does not come."""
    slices = open_slices("unused", symbols=stream_factory.SYMBOLS, backend="rust")
    slices.skip(20)

    def wait() -> None:
        with suppress(OmegaSlicesError):
            next(slices)

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.2)
    return "came to its end"


def shared() -> object:
    """Let four threads take slices of one stream at the same time; return what came."""
    sys.setswitchinterval(1e-6)
    slices = open_slices("unused", symbols=stream_factory.SYMBOLS, backend="rust")
    seen: list[list[int]] = [[], [], [], []]
    told = []

    def take(mine: list[int]) -> None:
        try:
            mine.extend(one.timestamp_ns for one in slices)
        except OmegaSlicesError as error:
            told.append(str(error))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    slices.close()
    return {"came": sum(map(len, seen)), "different": len(set().union(*seen)), "told": told}


def consume(root: str, children: str = "0") -> object:
    """Read a stream, telling the producer and the first slice at once; return the digest of it all.

    Have children that were forked while it was open, and outlive it.
    """
    with open_slices(root, backend="rust") as slices:
        for _ in range(int(children)):
            _fork(lambda: time.sleep(600))
        _tell({"producer": pid_of(slices)})
        first = next(slices)
        _tell({"first": first.timestamp_ns})
        sys.stdin.read(1)
        return digest([first, *slices])


def full_disk(root: str) -> object:
    """Open a stream whose sessions do not fit on the disk; return what was raised."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    try:
        open_slices(root, session="NYSE", backend="rust").close()
    except OmegaSlicesError as error:
        assert resource_checks.children() == []
        return [error.code, str(error)]
    return None


def _tell(value: object) -> None:
    print(json.dumps(value), flush=True)


def _fork(do: Callable[[], None]) -> int:
    """Let a child do something and end, with what the interpreter does at its end.

    Return its number.
    """
    child = os.fork()
    if child:
        return child
    try:
        do()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  # it must not go on as if it were the parent
        sys.stderr.write(repr(error))
        os._exit(1)
    sys.exit(0)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(*arguments: str, seconds: float = 300.0) -> Any:
    """Run this file as a program; return what it printed last.

    Nothing of it is left: where it hangs, it is ended with all its children, and that fails.
    """
    running = start(*arguments)
    try:
        told, complaint = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{arguments[0]} hangs: it was still running after {seconds:g} s") from None
    finally:
        end(running)
    assert (running.returncode, complaint) == (0, ""), complaint
    return json.loads(told.splitlines()[-1])


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start this file as a program, in a group of its own."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "helpers.subprocess_worker", *arguments]
    folders = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=variables
    )


def end(running: subprocess.Popen[str]) -> None:
    """End a program with all its children, and let go of its pipes."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    with running:
        pass


_COMMANDS: Final[dict[str, Callable[..., object]]] = {
    "consume": consume,
    "end_with_a_waiting_thread": end_with_a_waiting_thread,
    "forked": forked,
    "forked_while_opening": forked_while_opening,
    "full_disk": full_disk,
    "held": held,
    "processes": processes,
    "read_in_child": read_in_child,
    "shared": shared,
}

if __name__ == "__main__":
    # From Python 3.12 on; what it warns of is what is tried here.
    warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
    command, *rest = sys.argv[1:]
    print(json.dumps(_COMMANDS[command](*rest)))
