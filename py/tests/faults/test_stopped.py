"""A consumer or a producer that is stopped, slow, or gone: the other one notices."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import pytest
from helpers import resource_checks, subprocess_worker
from helpers.resource_checks import Tally
from helpers.subprocess_worker import expected

from omega_slices import open_slices

pytestmark = pytest.mark.usefixtures("nothing_is_left")

# Nothing may be waited for longer than this; far more than any of it takes.
BOUND_S: Final = 20.0


def told(consumer: subprocess.Popen[str], key: str) -> int:
    assert consumer.stdout is not None
    line = consumer.stdout.readline()
    assert line, consumer.communicate()
    value = json.loads(line)[key]
    assert isinstance(value, int)
    return value


def test_a_consumer_that_is_stopped_for_seconds(binary: Path, market: Path, tally: Tally) -> None:
    consumer = subprocess_worker.start("consume", str(market))
    try:
        producer = told(consumer, "producer")
        told(consumer, "first")
        consumer.send_signal(signal.SIGSTOP)
        time.sleep(2)
        # It waits, and neither ends nor goes on into memory.
        assert resource_checks.is_running(producer)
        consumer.send_signal(signal.SIGCONT)
        written, complaint = consumer.communicate("\n", timeout=BOUND_S)
    finally:
        subprocess_worker.end(consumer)
    assert (consumer.returncode, complaint) == (0, "")
    assert tuple(json.loads(written)) == expected()
    tally.faults += 1
    tally.streams += 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_consumer_that_dies_while_the_producer_writes(
    binary: Path, market: Path, tally: Tally, number: signal.Signals
) -> None:
    consumer = subprocess_worker.start("consume", str(market))
    try:
        producer = told(consumer, "producer")
        told(consumer, "first")
        time.sleep(0.1)  # so that what lies between the two is full
        assert resource_checks.is_running(producer)
        consumer.send_signal(number)
        assert resource_checks.until(lambda: not resource_checks.is_running(producer))
    finally:
        subprocess_worker.end(consumer)
    tally.faults += 1
    tally.streams += 1


# Two forked children: workers of a pool that hang, or go on without their parent.
@pytest.mark.parametrize("children", ["0", "2"])
def test_a_consumer_that_dies_while_nothing_is_written(binary: Path, silent: Path, tally: Tally, children: str) -> None:
    consumer = subprocess_worker.start("consume", str(silent), children)
    try:
        producer = told(consumer, "producer")
        time.sleep(0.3)  # so that it is amid its work
        assert resource_checks.is_running(producer)
        consumer.kill()
        assert resource_checks.until(lambda: not resource_checks.is_running(producer))
    finally:
        subprocess_worker.end(consumer)
    tally.faults += 1
    tally.streams += 1


def test_a_consumer_that_leaves_while_nothing_is_written(binary: Path, silent: Path, tally: Tally) -> None:
    slices = open_slices(silent, backend="rust")
    producer = subprocess_worker.pid_of(slices)
    assert resource_checks.is_running(producer)
    slices.close()
    assert resource_checks.state_and_parent(producer) is None
    tally.faults += 1
    tally.streams += 1
