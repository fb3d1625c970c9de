"""Many streams at once, from threads, processes and coroutines.

Each is whole, and nothing is left of any.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import multiprocessing
import os
import pickle
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest
from helpers import resource_checks, stream_factory, subprocess_worker
from helpers.resource_checks import Tally
from helpers.subprocess_worker import MINUTES, digest, expected, open_market, walk

import omega_slices
from omega_slices import (
    IteratorExhaustedError,
    MultiSymbolSlice,
    OmegaSlicesError,
    Request,
    SliceStream,
    SymbolNotFoundError,
    open_slices,
)

pytestmark = pytest.mark.usefixtures("nothing_is_left")

pytestmark = pytest.mark.usefixtures("binary")

WINDOWS: Final = [(first, 1_000 + first // 2) for first in range(0, 24_000, 1_000)]


def test_many_threads(market: Path, tally: Tally) -> None:
    with ThreadPoolExecutor(8) as pool:
        walks = list(pool.map(lambda window: walk(market, *window), WINDOWS))
    assert walks == [expected(*window) for window in WINDOWS]
    tally.streams += len(WINDOWS)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_many_processes(market: Path, tally: Tally, method: str) -> None:
    tally.streams += subprocess_worker.run("processes", method, str(market))


def test_coroutines_through_threads(market: Path, tally: Tally) -> None:
    async def walks() -> list[tuple[int, str]]:
        return await asyncio.gather(*(asyncio.to_thread(walk, market, *window) for window in WINDOWS))

    assert asyncio.run(walks()) == [expected(*window) for window in WINDOWS]
    tally.streams += len(WINDOWS)


def test_coroutines_step_by_step(market: Path, tally: Tally) -> None:
    """Each step of each of three streams may run in another thread."""
    windows = [(first, 300) for first in (0, 10_000, 49_700)]

    async def steps(window: tuple[int, int]) -> list[MultiSymbolSlice]:
        found = []
        with await asyncio.to_thread(open_market, market, *window) as slices:
            while (one := await asyncio.to_thread(next, slices, None)) is not None:
                found.append(one)
        return found

    async def all_steps() -> list[list[MultiSymbolSlice]]:
        return await asyncio.gather(*map(steps, windows))

    assert [digest(found) for found in asyncio.run(all_steps())] == [expected(*window) for window in windows]
    tally.streams += len(windows)


def test_slices_are_read_by_other_threads_while_the_stream_moves_on(market: Path, tally: Tally) -> None:
    handed: queue.Queue[MultiSymbolSlice | None] = queue.Queue(maxsize=200)
    read: list[tuple[int, float | None, float | None, float | None]] = []

    def reader() -> None:
        while (one := handed.get()) is not None:
            # Each of these is made from its batch when first asked for, here by the thread that
            # comes first.
            mid, spread, ask = one.get_price("GBPUSD"), one.get_spread("USDJPY"), one["EURUSD"].ask
            read.append((one.timestamp_ns, mid, spread, None if ask is None else ask.close))

    readers = [threading.Thread(target=reader) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in readers:
            thread.start()
        with open_market(market) as slices:
            for one in slices:
                handed.put(one)
        for _ in readers:
            handed.put(None)
        for thread in readers:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    spread = subprocess_worker.SPREAD
    assert sorted(read) == [
        (stream_factory.START_NS + m * stream_factory.MINUTE_NS, 2 * 2**20 + m + spread / 2, spread, 2**20 + m + spread)
        for m in range(MINUTES)
    ]
    tally.streams += 1


def test_a_stream_is_handed_from_thread_to_thread(market: Path, tally: Tally) -> None:
    slices = open_market(market)
    parts = []

    def in_a_thread(do: Callable[[], object]) -> None:
        thread = threading.Thread(target=do)
        thread.start()
        thread.join()

    in_a_thread(lambda: parts.append(list(islice(slices, 30_000))))
    in_a_thread(lambda: parts.append(slices.peek(20_000)))
    parts.append(list(islice(slices, 5_000)))
    in_a_thread(lambda: parts.append(list(slices)))
    in_a_thread(slices.close)
    first, ahead, middle, rest = parts
    assert digest([*first, *middle, *rest]) == digest([*first, *ahead]) == expected()
    assert slices.report.complete
    tally.streams += 1


def stuck(fake: stream_factory.Fake) -> SliceStream:
    """Open a stream of 80 slices that gives 40, and the rest only once it is told to."""
    schema = stream_factory.schema()
    messages = stream_factory.encode(schema, [stream_factory.batch(schema, first, 20) for first in range(0, 80, 20)])
    fake.out(b"".join(messages[:4])).wait().out(b"".join(messages[4:]))
    slices = open_slices("unused", symbols=stream_factory.SYMBOLS, backend="rust")
    slices.skip(40)
    return slices


@pytest.mark.parametrize(
    "step", [next, SliceStream.peek, lambda slices: slices.skip(1), lambda slices: list(slices.batches())]
)
def test_a_second_thread_is_refused_while_one_reads(
    fake: stream_factory.Fake, step: Callable[[SliceStream], object]
) -> None:
    slices = stuck(fake)
    taken: list[MultiSymbolSlice] = []
    told = disturbed = ""

    def read() -> None:
        nonlocal disturbed
        try:
            taken.extend(slices)
        except OmegaSlicesError as error:
            disturbed = str(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        time.sleep(0.1)  # so that it waits
        try:
            step(slices)
        except OmegaSlicesError as error:
            told = str(error)
        # The refused one did not wait for the other.
        assert reader.is_alive()
    finally:
        fake.go()
        reader.join(300)
        slices.close()
    assert "another thread" in told
    # The one that was there first is not disturbed.
    assert (len(taken), disturbed) == (40, "")
    assert slices.report.complete


def test_threads_that_share_a_stream_lose_nothing(fake: stream_factory.Fake, tally: Tally) -> None:
    schema = stream_factory.schema()
    fake.out(
        b"".join(
            stream_factory.encode(schema, [stream_factory.batch(schema, first, 5) for first in range(0, 2_000, 5)])
        )
    )
    tally.streams += 1
    came = subprocess_worker.run("shared")
    assert came["different"] == came["came"] == 2_000
    # A thread may be refused, but then it is told why.
    assert all("another thread" in told for told in came["told"])


def test_another_thread_may_close_a_stream_that_waits(fake: stream_factory.Fake) -> None:
    slices = stuck(fake)
    raised: list[BaseException] = []

    def read() -> None:
        try:
            next(slices)
        except OmegaSlicesError as error:
            raised.append(error)

    reader, closer = threading.Thread(target=read), threading.Thread(target=slices.close)
    reader.start()
    try:
        time.sleep(0.1)  # so that it waits
        closer.start()
        closer.join(300)
        assert not closer.is_alive()
        reader.join(300)
        assert not reader.is_alive()
        assert not fake.is_running()
        assert [type(error) for error in raised] == [IteratorExhaustedError]
    finally:
        fake.go()
        closer.join()
        reader.join()


def test_an_interpreter_ends_though_a_thread_waits(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema()
    fake.out(b"".join(stream_factory.encode(schema, [stream_factory.batch(schema, 0, 20)])[:3])).hang()
    assert subprocess_worker.run("end_with_a_waiting_thread") == "came to its end"
    assert resource_checks.until(lambda: not resource_checks.is_running(fake.pid))


@pytest.mark.parametrize("way", ["exit", "close", "with", "drop", "return", "multiprocessing"])
def test_a_forked_child_leaves_its_copy(market: Path, tally: Tally, way: str) -> None:
    assert subprocess_worker.run("forked", way, str(market)) == MINUTES
    tally.streams += 1


def test_a_forked_child_that_holds_the_descriptors(market: Path, tally: Tally) -> None:
    assert subprocess_worker.run("held", str(market))
    tally.streams += 2


def test_a_forked_child_cannot_read_its_parents_stream(market: Path, tally: Tally) -> None:
    tally.streams += 1
    told = subprocess_worker.run("read_in_child", str(market))
    assert len(told) == 4
    assert all("another process" in one for one in told)


def test_a_fork_while_a_stream_is_opened(market: Path, tally: Tally) -> None:
    tally.streams += 2
    assert subprocess_worker.run("forked_while_opening", str(market)) > 0


def test_a_program_that_is_started_inherits_nothing(data: Path, tally: Tally) -> None:
    def inherited() -> list[bytes]:
        return subprocess.check_output(["ls", "/proc/self/fd"], close_fds=False).split()

    before = inherited()
    with open_slices(data, backend="rust") as slices:
        assert inherited() == before
        assert len(list(slices)) == 2
    tally.streams += 1


def values(data: Path) -> Iterator[object]:
    """Yield one of everything that a user may send to another process."""
    more: list[dict[str, Any]] = [
        {},
        {"timeline": "union", "fill": "forward", "max_age": "5bars", "with_timeframe": "H1"},
    ]
    for options in more:
        with open_slices(data, backend="rust", **options) as slices:
            first, second = slices
        yield from (first, second, first["EURUSD"], first.get("GBPUSD", "ask"), slices.report, slices.schema)
        yield from slices.report.series
    yield Request(data=str(data), symbols=("EURUSD",))
    yield omega_slices.RunWarning("EMPTY_TIMELINE", "nothing", symbol="EURUSD")


def test_values_come_through_another_process(data: Path, tally: Tally) -> None:
    for symbol in ("EURUSD", "GBPUSD"):
        stream_factory.write_series(data, symbol, "BID", [(-60, 1.0), (0, 2.0)], timeframe="H1")
        stream_factory.write_series(data, symbol, "ASK", [(-60, 1.5)], timeframe="H1")
    sent = list(values(data))
    assert len({type(value) for value in sent}) == 8
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        back = list(pool.map(subprocess_worker.echo, sent))
    assert back == [(value, repr(value)) for value in sent]
    for value in sent:
        for one in (copy.copy(value), copy.deepcopy(value)):
            assert one == value
            assert type(one) is type(value)
    tally.streams += 2


def test_errors_come_through_another_process(tmp_path: Path) -> None:
    kinds: list[type[OmegaSlicesError]] = [
        kind for kind in vars(omega_slices).values() if isinstance(kind, type) and issubclass(kind, OmegaSlicesError)
    ]
    kinds.remove(OmegaSlicesError)
    assert len(kinds) == len(omega_slices.ErrorCode)
    place: dict[str, Any] = {"file": "f.parquet", "symbol": "EURUSD", "price_type": "bid", "row": 7, "column": "Open"}
    sent = [kind("it happened", hint="do this", **place) for kind in kinds]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        back = list(pool.map(subprocess_worker.echo, sent))
        raised = pool.submit(subprocess_worker.fail, str(tmp_path)).exception()
    for error, (other, seen) in zip(sent, back, strict=True):
        for one in (other, copy.copy(error), copy.deepcopy(error)):
            assert type(one) is type(error)
            assert (str(one), vars(one)) == (str(error), vars(error))
        assert seen == repr(error)
    assert isinstance(raised, SymbolNotFoundError)
    assert raised.symbol == "NONE"
    assert raised.hint


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_cannot_be_copied(data: Path, take: Callable[[SliceStream], object]) -> None:
    with open_slices(data, backend="rust") as slices, pytest.raises(TypeError, match="stream"):
        take(slices)


STREAMS: Final = 1_000
TINY: Final = 5


def _close(slices: SliceStream, point: int) -> None:
    slices.skip(point)
    slices.close()


def _break(slices: SliceStream, point: int) -> None:
    with slices:
        for number, _ in enumerate(slices):
            if number == point:
                break


def _drop(slices: SliceStream, point: int) -> None:
    slices.peek(point)


def _raise(slices: SliceStream, point: int) -> None:
    def strategy() -> None:
        with slices:
            for number, one in enumerate(slices):
                assert one.timestamp_ns // (point - number)

    with pytest.raises(ZeroDivisionError):
        strategy()


def _cycle(slices: SliceStream, point: int) -> None:
    knot: list[object] = [slices, slices.peek(point)]
    knot.append(knot)


def _batches(slices: SliceStream, point: int) -> None:
    # An iterator that is left alone keeps the stream no longer than it lives itself.
    next(slices.batches())


def _failed(slices: SliceStream, point: int) -> None:
    slices.skip(point)
    os.kill(subprocess_worker.pid_of(slices), signal.SIGKILL)
    with pytest.raises(OmegaSlicesError):
        list(slices)


_WAYS: Final[list[Callable[[SliceStream, int], None]]] = [_close, _break, _drop, _raise, _cycle, _batches]


def test_a_thousand_streams_leave_nothing(
    market: Path, tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads read half of them to the end, and abandon the others in every way."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    stream_factory.write_series(tmp_path, "EURUSD", "BID", [(minute, 1.0) for minute in range(TINY)])
    chance = random.Random(6)
    plans = []
    for number in range(STREAMS):
        # Now and then one whose producer is in the midst of writing when it is left.
        minutes = MINUTES if number % 50 in (1, 2) else TINY
        way = chance.choice(_WAYS) if number % 2 else None
        plans.append((minutes, way, chance.randrange(minutes)))

    def one(plan: tuple[int, Callable[[SliceStream, int], None] | None, int]) -> int:
        minutes, way, point = plan
        if minutes == TINY:
            slices = open_slices(tmp_path, symbols=["EURUSD"], price_types=["bid"], threads=1, backend="rust")
        else:
            slices = open_market(market)
        if way is None:
            assert all(batch.num_rows for batch in slices.batches())
            return slices.report.slices
        way(slices, point)
        return 0

    assert one((TINY, None, 0)) == TINY  # whatever is made once is made now
    gc.collect()
    before = resource_checks.held(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(one, plans))
    gc.collect()
    assert resource_checks.until(lambda: resource_checks.held(tmp_path) == before), (
        before,
        resource_checks.held(tmp_path),
    )
    assert counts == [minutes if way is None else 0 for minutes, way, _ in plans]
    tally.streams += STREAMS


def test_killed_streams_leave_nothing(market: Path, tmp_path: Path, tally: Tally) -> None:
    gc.collect()
    before = resource_checks.held(tmp_path)
    chance = random.Random(7)
    for _ in range(20):
        _failed(open_market(market), chance.randrange(1_000))
    gc.collect()
    assert resource_checks.until(lambda: resource_checks.held(tmp_path) == before), (
        before,
        resource_checks.held(tmp_path),
    )
    tally.streams += 20
    tally.faults += 20
