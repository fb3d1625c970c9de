"""A producer that floods, hangs, stops or does not exit.

What the reader does, and that nothing is left.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from helpers import resource_checks, stream_factory, subprocess_worker
from helpers.fake_streams import SLICES, open_fake, read_all, refused, stream
from helpers.resource_checks import Tally

from omega_slices import (
    BackendUnavailableError,
    DeserializationError,
    ErrorCode,
    IteratorExhaustedError,
    UnsortedInputError,
    open_slices,
)
from omega_slices._backends import arguments, process

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ERROR = {
    "kind": "error",
    "code": 3010,
    "name": "UNSORTED_INPUT",
    "message": "row 7 of a.parquet is out of order",
    "hint": "sort it",
    "file": "a.parquet",
    "symbol": "EURUSD",
    "price_type": "bid",
    "row": 7,
    "column": None,
    "exit": 3,
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a sign of life no longer than half a second."""
    monkeypatch.setattr(process, "_SILENCE_MAX_S", 0.5)
    monkeypatch.setattr(process, "_WAIT_S", 0.05)


def test_floods_of_messages_do_not_block(fake: stream_factory.Fake, caplog: pytest.LogCaptureFixture) -> None:
    warning = json.dumps({"kind": "warning", "name": "UNSORTED_INPUT", "message": "sorted", "file": "f"})
    messages = stream()
    fake.err("x" * 1000, 3000).out(messages[0]).err(warning, 3).err("{" * 100, 3000).err(warning).out(
        b"".join(messages[1:])
    )
    fake.err('{"kind": "warning"}').err('{"kind": "report", "slices": "many"}').err("\udcff"[:0]).err(
        stream_factory.report_line(SLICES)
    )
    with open_fake() as slices:
        assert sum(1 for _ in slices) == SLICES
    assert slices.report.complete
    assert [warning.name for warning in slices.report.warnings] == ["UNSORTED_INPUT"] * 4
    assert slices.report.warnings[0].file == "f"
    assert caplog.messages == ["UNSORTED_INPUT: sorted"] * 4
    assert {record.name for record in caplog.records} == {"omega_slices"}


def test_what_is_kept_of_messages_is_bounded(fake: stream_factory.Fake) -> None:
    fake.err("y" * 100_000, 200).exit(9)
    assert len(str(refused(fake, "exit status 9"))) < 200_000


def test_closing_early_ends_the_process(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    slices = open_fake()
    first = next(slices)
    slices.close()
    slices.close()
    assert not fake.is_running()
    assert stream_factory.threads_left() == []
    # What was taken stays valid.
    assert first.get_price("EURUSD", "bid") == first.column("bid_close")[0]
    for way in (lambda: next(slices), slices.peek, lambda: slices.skip(1), lambda: list(slices.batches())):
        with pytest.raises(IteratorExhaustedError) as caught:
            way()
        assert caught.value.code is ErrorCode.ITERATOR_EXHAUSTED
    assert slices.symbols == stream_factory.SYMBOLS
    assert not slices.report.complete


def test_a_stubborn_process_is_killed(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang(stubborn=True)
    with open_fake() as slices:
        next(slices)
        time.sleep(0.1)  # so that it has come to ignore SIGTERM
    assert not fake.is_running()


def test_a_writing_process_sees_that_nobody_reads(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema()
    many = stream_factory.encode(schema, [stream_factory.batch(schema, n * 2000, 2000) for n in range(20)])
    assert sum(map(len, many)) > 4 * process._CHANNEL_BYTES
    fake.out(b"".join(many))
    with open_fake() as slices:
        next(slices)
    # By itself: no signal ended it.
    assert slices._source._producer._process.returncode > 0  # type: ignore[attr-defined]  # of this source
    assert not fake.is_running()


def test_leaving_the_loop_leaves_nothing(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()

    def strategy() -> None:
        with open_fake() as slices:
            for current in slices:
                raise ZeroDivisionError(current)

    with pytest.raises(ZeroDivisionError):
        strategy()
    assert not fake.is_running()


def test_a_forgotten_stream_is_collected(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    # filterwarnings = error: a leaked process or pipe would fail the test.
    kept = next(open_fake())
    gc.collect()
    assert not fake.is_running()
    assert stream_factory.threads_left() == []
    assert kept.get("EURUSD") is not None


def test_an_interpreter_that_ends_takes_the_process_along(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    program = (
        "from omega_slices import open_slices\n"
        f"slices = open_slices('unused', symbols={stream_factory.SYMBOLS!r}, backend='rust')\n"
        "print(next(slices).symbols)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ended.stdout.strip() == str(stream_factory.SYMBOLS)
    assert ended.stderr == ""
    assert not fake.is_running()


def test_an_interrupt_closes_the_stream(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    slices = open_fake()
    slices.skip(20)
    interrupts = []

    def interrupt(_number: int, _frame: object) -> None:
        interrupts.append(1)
        if len(interrupts) == 1:
            raise KeyboardInterrupt

    # A handler of our own: polars, where it has been imported, asks for reads to go on after a
    # signal.
    before = signal.signal(signal.SIGINT, interrupt)
    done = threading.Event()

    def send(thread: int) -> None:
        # Again and again: a signal that comes just before the read begins does not end it.  To the
        # thread that waits: another one would take note of it, but not end the waiting.
        while not done.wait(0.3):
            signal.pthread_kill(thread, signal.SIGINT)

    sender = threading.Thread(target=send, args=(threading.get_ident(),))
    sender.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(slices)
    finally:
        done.set()
        sender.join()
        signal.signal(signal.SIGINT, before)
    assert not fake.is_running()
    with pytest.raises(IteratorExhaustedError, match="given up"):
        next(slices)


def test_a_process_that_does_not_exit(fake: stream_factory.Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_EXIT_TIMEOUT_S", 0.3)
    fake.out(b"".join(stream())).err("waiting").close_out().hang()
    error = refused(fake, "was still running and has been ended")
    assert "waiting" in str(error)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("messages", [0, 1, 4])
def test_a_process_that_gives_no_sign_of_life(fake: stream_factory.Fake, messages: int) -> None:
    fake.out(b"".join(stream()[:messages])).hang()
    refused(fake, "not even a sign of life.*still running and has been ended")


@pytest.mark.usefixtures("impatient")
def test_a_process_that_stops_within_a_message(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream())[:-100]).hang()
    refused(fake, "not even a sign of life")


@pytest.mark.usefixtures("impatient")
def test_a_slow_process_that_gives_signs_of_life(fake: stream_factory.Fake) -> None:
    messages = stream()
    fake.out(b"".join(messages[:4]))
    for _ in range(15):
        fake.err('{"kind": "alive"}').sleep(0.1)
    fake.out(b"".join(messages[4:]))
    assert read_all() == SLICES


def test_many_streams_at_once(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()))
    streams = [open_fake() for _ in range(12)]
    assert {len([next(one) for one in streams]) for _ in range(SLICES)} == {12}
    assert [next(one, None) for one in streams] == [None] * 12


def test_a_file_that_is_no_program(fake: stream_factory.Fake) -> None:
    (fake.folder / "omega-slices").write_bytes(b"\0\1\2\3")
    with pytest.raises(BackendUnavailableError, match="cannot run"):
        open_fake()


def test_the_consumer_of_an_arrow_stream_sees_the_failure(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:4])).err(json.dumps(ERROR)).exit(3)
    slices = open_fake()
    with pytest.raises(pa.ArrowException, match=r"row 7 of a\.parquet is out of order"):
        pa.table(slices)
    with pytest.raises(UnsortedInputError):
        next(slices)


def test_a_producer_that_is_stopped(market: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signs of life end; nothing else tells it from a slow one."""
    monkeypatch.setattr(process, "_SILENCE_MAX_S", 1.0)
    monkeypatch.setattr(process, "_WAIT_S", 0.1)
    slices = open_slices(market, backend="rust")
    producer = subprocess_worker.pid_of(slices)
    os.kill(producer, signal.SIGSTOP)
    with pytest.raises(DeserializationError, match="not even a sign of life"):
        list(slices)
    assert resource_checks.state_and_parent(producer) is None
    tally.faults += 1
    tally.streams += 1


@pytest.mark.slow
def test_a_slow_producer_gives_signs_of_life(silent: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them, seconds without a slice would count as a fault here."""
    monkeypatch.setattr(process, "_SILENCE_MAX_S", 2.0)
    monkeypatch.setattr(process, "_WAIT_S", 0.1)
    monkeypatch.setattr(arguments, "HEARTBEAT_S", 1)
    with open_slices(silent, backend="rust") as slices:
        assert list(slices) == []
    assert slices.metrics.producer_seconds > 0.0
    tally.streams += 1
