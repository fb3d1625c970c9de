"""What breaks while a stream runs.

It raises or it is whole, and what was handed out before is right either way.

The real executable is killed, starved, cut, flooded and left alone here, at points that a
seed chooses.  Streams made by hand, and what one single fault says, are in
`test_incomplete`.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
from helpers import resource_checks, stream_factory, subprocess_worker
from helpers.resource_checks import Tally
from helpers.subprocess_worker import MINUTES, open_market

from omega_slices import DeserializationError, OmegaSlicesError, open_slices

pytestmark = pytest.mark.usefixtures("nothing_is_left")

SIGNALS: Final = [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]


# Nothing may be waited for longer than this; far more than any of it takes.
BOUND_S: Final = 20.0


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Put a shell script in the executable's place."""
    path = folder / "omega-slices"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("OMEGA_SLICES_BINARY", str(path))


# --- The executable dies.


def strike(pid: int, number: signal.Signals) -> None:
    """Send a signal that a process is to die of."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        if number == signal.SIGSEGV:
            # The first one may be an overflow of a stack to a program in Rust, which looks, and
            # would meet it again.
            time.sleep(0.01)
            os.kill(pid, number)


def outcome(root: Path) -> str | None:
    """Walk through the market.

    Return why it broke off, None where it did not. Check what came before.
    """
    taken: list[pa.RecordBatch] = []
    failure = None
    try:
        with open_market(root) as slices:
            taken.extend(slices.batches())
            assert slices.report.complete
    except OmegaSlicesError as error:
        failure = str(error)
    rows = sum(batch.num_rows for batch in taken)
    assert failure is not None or rows == MINUTES * len(stream_factory.SYMBOLS)
    for name, values in subprocess_worker.market_columns().items():
        seen = [batch.column(name).to_numpy(zero_copy_only=False) for batch in taken]
        assert np.array_equal(np.concatenate([values[:0], *seen]), values[:rows])
    return failure


@pytest.mark.parametrize("number", SIGNALS)
def test_killed_at_any_moment(
    binary: Path, market: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """From its start on: while it opens files, between batches, at its end."""
    started = time.monotonic()
    assert outcome(market) is None
    whole_s = time.monotonic() - started
    chance = random.Random(f"kill {number}")
    timers: list[threading.Timer] = []

    class Doomed(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            timers.append(threading.Timer(chance.uniform(0, whole_s), strike, [self.pid, number]))
            timers[-1].start()

    monkeypatch.setattr(subprocess, "Popen", Doomed)
    failures = []
    for _ in range(20):
        failures.append(outcome(market))
        timers[-1].join()
        tally.faults += 1
        tally.streams += 1
    causes = [failure for failure in failures if failure is not None]
    assert causes
    assert all(number.name in cause for cause in causes), causes


@pytest.mark.parametrize("number", SIGNALS)
def test_killed_between_two_slices(binary: Path, market: Path, tally: Tally, number: signal.Signals) -> None:
    chance = random.Random(f"between {number}")
    for _ in range(10):
        taken = chance.randrange(MINUTES // 3)
        with open_market(market) as slices:
            slices.skip(taken)
            # Of 13 MB it cannot have written more than what lies between the two.
            strike(subprocess_worker.pid_of(slices), number)
            with pytest.raises(DeserializationError, match=number.name):
                list(slices)
            with pytest.raises(DeserializationError, match=number.name):
                next(slices)
        tally.faults += 1
        tally.streams += 1


def test_out_of_memory(
    binary: Path, market: Path, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = {}
    for kib in range(10_000, 190_000, 12_000):
        # No core is to be left by the abort.
        stand_in(monkeypatch, tmp_path, f'ulimit -c 0; ulimit -v {kib}; exec {shlex.quote(str(binary))} "$@"')
        failures[kib] = outcome(market)
        tally.faults += 1
        tally.streams += 1
    assert failures[min(failures)] is not None
    causes = [failure for failure in failures.values() if failure is not None]
    assert len(causes) >= 5
    assert any("memory allocation" in cause for cause in causes)
    monkeypatch.setenv("OMEGA_SLICES_BINARY", str(binary))
    assert outcome(market) is None


# --- Its stream is cut, spliced, and changed on its way.


@dataclass
class Recorded:
    """What the executable wrote for some request."""

    options: dict[str, Any]
    messages: list[bytes]
    stderr: bytes

    @property
    def whole(self) -> bytes:
        """The stream."""
        return b"".join(self.messages)

    def batches(self) -> list[pa.RecordBatch]:
        """Return its batches as pyarrow reads them, without the seal."""
        with pa.ipc.open_stream(self.whole) as reader:
            return [batch for batch in reader if batch.num_rows]


def record(binary: Path, root: Path, *price_types: str, timeline: str = "intersection") -> Recorded:
    command = [str(binary), "sync", f"--data={root}", f"--symbols={','.join(stream_factory.SYMBOLS)}", "--timeframe=M1"]
    command += [f"--price-types={','.join(price_types)}", f"--timeline={timeline}", "--error-format=json"]
    done = subprocess.run([*command, "--progress=never"], check=True, capture_output=True)
    whole = pa.py_buffer(done.stdout)
    reader = pa.BufferReader(whole)
    edges = [0]
    while edges[-1] < whole.size - len(stream_factory.END_OF_STREAM):
        pa.ipc.read_message(reader)
        edges.append(reader.tell())
    messages = [done.stdout[start:stop] for start, stop in pairwise([*edges, whole.size])]
    return Recorded(
        {"symbols": stream_factory.SYMBOLS, "price_types": price_types, "timeline": timeline}, messages, done.stderr
    )


@pytest.fixture(scope="module")
def large(binary: Path, market: Path) -> Recorded:
    """Some batches of megabytes."""
    return record(binary, market, "bid")


@pytest.fixture(scope="module")
def small(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """One batch of some kilobytes, with absent candles.

    A byte chosen at random may lie anywhere.
    """
    root = tmp_path_factory.mktemp("small")
    for place, symbol in enumerate(stream_factory.SYMBOLS):
        for side in ("BID", "ASK"):
            stream_factory.write_series(root, symbol, side, [(m, 1.5 + place) for m in range(20) if (m + place) % 7])
    return record(binary, root, "bid", "ask", timeline="union")


class Replay:
    """A program that writes recorded bytes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally) -> None:
        self._out, self._err = folder / "replayed-out", folder / "replayed-err"
        self._tally = tally
        self._then = folder / "then"
        stand_in(monkeypatch, folder, f"cat {self._err} >&2; cat {self._out}; . {self._then}")

    def read(
        self, of: Recorded, data: bytes, *, stderr: bytes = b"", then: str = "exit 0"
    ) -> tuple[list[pa.RecordBatch], str | None]:
        """Read the bytes as the stream of the same request.

        Return its batches, and why it broke off.
        """
        self._out.write_bytes(data)
        self._err.write_bytes(stderr)
        self._then.write_text(then)
        self._tally.streams += 1
        taken: list[pa.RecordBatch] = []
        try:
            with resource_checks.deadline(), open_slices("unused", backend="rust", **of.options) as slices:
                taken.extend(slices.batches())
                assert slices.report.complete
        except OmegaSlicesError as error:
            return taken, str(error)
        return taken, None


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally) -> Replay:
    """A program in the executable's place that writes what was recorded of it."""
    return Replay(tmp_path, monkeypatch, tally)


def test_a_replay_is_read(replay: Replay, large: Recorded, small: Recorded) -> None:
    for one in (large, small):
        assert replay.read(one, one.whole, stderr=one.stderr) == (one.batches(), None)


@pytest.mark.parametrize("then", ["exit 0", "exit 3", "exit 4", "exit 137", "kill -KILL $$", "kill -TERM $$"])
def test_cut_between_messages(replay: Replay, large: Recorded, tally: Tally, then: str) -> None:
    whole = large.batches()
    assert len(large.messages) == len(whole) + 4  # schema, dictionary, batches, seal, marker
    for count in range(len(large.messages)):
        taken, failure = replay.read(large, b"".join(large.messages[:count]), then=then)
        assert failure is not None
        assert taken == whole[: max(0, min(count - 2, len(whole)))]
        tally.faults += 1


@pytest.mark.parametrize("then", ["exit 0", "exit 4"])
def test_cut_anywhere(replay: Replay, large: Recorded, small: Recorded, tally: Tally, then: str) -> None:
    chance = random.Random(f"cut {then}")
    for recorded, times in ((large, 12), (small, 60)):
        whole, data = recorded.batches(), recorded.whole
        for _ in range(times):
            # The report that was recorded is of a whole stream; it must not help a cut one.
            cut = chance.randrange(len(data))
            taken, failure = replay.read(recorded, data[:cut], stderr=recorded.stderr, then=then)
            assert failure is not None, cut
            assert taken == whole[: len(taken)]
            tally.faults += 1


def test_messages_lost_doubled_and_exchanged(replay: Replay, large: Recorded, tally: Tally) -> None:
    """Order of timestamps and the report tell what is missing between two whole messages."""
    whole, messages = large.batches(), large.messages
    spliced = []
    for place in range(len(messages)):
        spliced.append([*messages[:place], *messages[place + 1 :]])
        # A dictionary that comes again says the same.
        if place != 1:
            spliced.append([*messages[: place + 1], *messages[place:]])
    spliced += [
        [*messages[:place], messages[place + 1], messages[place], *messages[place + 2 :]]
        for place in range(len(messages) - 1)
    ]
    for one in spliced:
        taken, failure = replay.read(large, b"".join(one), stderr=large.stderr)
        assert failure is not None
        assert len(taken) <= len(whole)
        tally.faults += 1


def test_flipped_bits(replay: Replay, small: Recorded, tally: Tally) -> None:
    """A bit that is not what it was: raised, or it is within a candle.

    Never another shape, a crash, a hang.
    """
    data, (whole,) = small.whole, small.batches()
    values = value_places(small)
    chance = random.Random("flip")
    unnoticed = 0
    for _ in range(300):
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        taken, failure = replay.read(small, bytes(changed), stderr=small.stderr)
        tally.faults += 1
        if failure is not None:
            continue
        # What the stream says of its origin in words is not looked at; a later minor version is
        # read.
        metadata = taken[0].schema.metadata
        other = {name for name, value in whole.schema.metadata.items() if metadata.get(name) != value}
        assert other <= {b"request", b"producer", b"schema_version"}
        if taken != [whole]:
            unnoticed += 1
            assert place in values, place
            (batch,) = taken
            assert batch.schema == whole.schema
            assert [one.null_count for one in batch.columns] == [one.null_count for one in whole.columns]
    # The documents say that values have no checksum.
    assert unnoticed


def value_places(recorded: Recorded) -> set[int]:
    """Return where in a stream values of candles lie, with bits of presence and validity."""
    found: set[int] = set()
    whole = pa.py_buffer(recorded.whole)
    with pa.ipc.open_stream(whole) as reader:
        batch = reader.read_next_batch()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name not in ("timestamp", "symbol"):
            for buffer in filter(None, column.buffers()):
                start = buffer.address - whole.address
                found.update(range(start, start + buffer.size))
    return found


# --- Messages without end.


NOISE: Final = bytes(byte for byte in range(256) if byte != ord("\n"))


def test_a_flood_of_noise_beside_the_stream(fake: stream_factory.Fake, tally: Tally) -> None:
    """12 MB without a line break or valid UTF-8, before, amid and after the slices."""
    schema = stream_factory.schema()
    messages = stream_factory.encode(schema, [stream_factory.batch(schema, first, 10) for first in range(0, 40, 10)])
    for message in messages:
        fake.noise(NOISE * 64, 64).out(message).noise(b"\n\0\n\xff\xfe\n")
    fake.err(stream_factory.report_line(40))
    with open_slices("unused", symbols=stream_factory.SYMBOLS, backend="rust") as slices:
        assert sum(1 for _ in slices) == 40
        assert slices.report.complete
    tally.faults += 1
    tally.streams += 1


def test_a_flood_of_noise_amid_the_executables_messages(
    binary: Path, market: Path, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer may garble what the executable says.

    The stream is whole, and a failure one, all the same.
    """
    flood = "head -c 20000000 /dev/urandom >&2 < /dev/null > /dev/null &"
    stand_in(monkeypatch, tmp_path, f'{flood} exec {shlex.quote(str(binary))} "$@"')
    assert outcome(market) is None
    with pytest.raises(OmegaSlicesError):
        open_slices(market, symbols=["NONE"], backend="rust")
    tally.faults += 2
    tally.streams += 2


# --- The disk is full.


def test_a_full_disk_under_the_sessions_of_a_calendar(binary: Path, market: Path, tally: Tally) -> None:
    """They are handed over in a file, which may not grow here."""
    code, message = subprocess_worker.run("full_disk", str(market))
    assert code == 4
    assert "cannot hand over the sessions of the calendar" in message
    assert "TMPDIR" in message
    tally.faults += 1
    tally.streams += 1
