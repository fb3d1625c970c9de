"""What a stream logs, counts and tells a hook."""

from __future__ import annotations

import gc
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import stream_factory

from omega_slices import OmegaSlicesError, RequestError, StreamMetrics, SymbolNotFoundError, open_slices

SIZES = (3, 5, 2)
SLICES = sum(SIZES)


def three_batches() -> list[bytes]:
    """Return the messages of a stream of three batches."""
    schema = stream_factory.schema()
    firsts = [sum(SIZES[:number]) for number in range(3)]
    batches = [stream_factory.batch(schema, first, size) for first, size in zip(firsts, SIZES, strict=True)]
    return stream_factory.encode(schema, batches)


@pytest.fixture
def three(fake: stream_factory.Fake) -> stream_factory.Fake:
    """A producer that writes three batches, and pauses before the last one."""
    messages = three_batches()
    fake.out(b"".join(messages[:-3])).sleep(0.5).out(b"".join(messages[-3:])).err(stream_factory.report_line(SLICES))
    return fake


def open_three(**options: Any) -> Any:
    return open_slices("data", symbols=list(stream_factory.SYMBOLS), **options)


def events(caplog: pytest.LogCaptureFixture) -> list[Any]:
    assert {record.name for record in caplog.records} <= {"omega_slices"}
    return list(caplog.records)


@pytest.fixture(autouse=True)
def _log_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "omega_slices")


def test_a_stream_that_is_read_to_its_end(three: stream_factory.Fake, caplog: pytest.LogCaptureFixture) -> None:
    with open_three(backend="rust", start="2024-01-02") as slices:
        (start,) = events(caplog)
        list(slices)
        assert slices.metrics.outcome == "complete"
    start, end = events(caplog)
    assert (start.levelname, start.event, start.backend, start.reason) == (
        "INFO",
        "stream_start",
        "rust",
        "backend='rust'",
    )
    assert start.request["symbols"] == stream_factory.SYMBOLS
    assert start.request["start"] == stream_factory.START_NS
    assert "EURUSD, GBPUSD, USDJPY, M1 bid/ask, intersection, from data" in start.message
    assert (end.levelname, end.event, end.stream) == ("INFO", "stream_end", start.stream)
    assert end.report["slices"] == SLICES
    assert end.report["complete"] is True
    assert end.metrics["outcome"] == "complete"
    assert f"is complete: {SLICES} slices in 3 batches" in end.message
    # Fit for a formatter that writes JSON.
    json.dumps([start.request, end.report, end.metrics])


def test_each_stream_has_a_number(three: stream_factory.Fake, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with open_three() as slices:
            list(slices)
    first, second = (record.stream for record in events(caplog) if record.event == "stream_start")
    assert second == first + 1 == slices.metrics.stream


@pytest.mark.parametrize(
    ("variable", "argument", "reason"),
    [
        (None, None, "the default"),
        ("1", None, "OMEGA_USE_RUST_MULTI_SYMBOL=1"),
        ("1", "auto", "backend='auto'"),
    ],
)
def test_why_a_backend_was_chosen(
    three: stream_factory.Fake,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    argument: str | None,
    reason: str,
) -> None:
    if variable is not None:
        monkeypatch.setenv("OMEGA_USE_RUST_MULTI_SYMBOL", variable)
    open_three(backend=argument).close()
    assert events(caplog)[0].reason == reason


def test_a_stream_that_is_left(three: stream_factory.Fake, caplog: pytest.LogCaptureFixture) -> None:
    with open_three() as slices:
        next(slices)
    slices.close()
    _, end = events(caplog)
    assert (end.event, end.metrics["outcome"], end.report["complete"]) == ("stream_end", "closed", False)
    assert end.metrics["slices"] == 3
    assert "was closed before its end" in end.message


def test_a_stream_that_is_forgotten(three: stream_factory.Fake, caplog: pytest.LogCaptureFixture) -> None:
    slices = open_three()
    next(slices)
    del slices
    gc.collect()
    _, end = events(caplog)
    assert end.metrics["outcome"] == "closed"


def test_a_stream_that_fails(fake: stream_factory.Fake, caplog: pytest.LogCaptureFixture) -> None:
    schema = stream_factory.schema()
    fake.out(b"".join(stream_factory.encode(schema, [stream_factory.batch(schema, 0, 4)])[:-2])).exit(3)
    slices = open_three()
    with pytest.raises(OmegaSlicesError):
        list(slices)
    slices.close()
    _, end = events(caplog)
    assert (end.metrics["outcome"], end.metrics["slices"]) == ("failed", 4)
    assert end.error["code"] == "DESERIALIZATION_ERROR"
    assert "exit status 3" in end.error["message"]


def test_a_stream_that_cannot_be_opened(data: Path, binary: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SymbolNotFoundError):
        open_slices(data, symbols=["NONE"])
    start, end = events(caplog)
    assert start.stream == end.stream
    assert (end.metrics["outcome"], end.error["code"]) == ("failed", "SYMBOL_NOT_FOUND")


def test_a_request_that_makes_no_sense_is_no_stream(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RequestError):
        open_slices(timeline="no")
    assert events(caplog) == []


def test_warnings_are_logged_between(tmp_path: Path, binary: Path, caplog: pytest.LogCaptureFixture) -> None:
    stream_factory.write_series(tmp_path, "A", "BID", [(1, 1.0), (0, 1.0)])
    with open_slices(tmp_path, price_types=["bid"]) as slices:
        list(slices)
    _, warning, _ = events(caplog)
    assert (warning.levelname, warning.event, warning.stream) == ("WARNING", "warning", slices.metrics.stream)
    assert (warning.warning["name"], warning.warning["symbol"]) == ("UNSORTED_INPUT", "A")
    assert warning.message.startswith("UNSORTED_INPUT: ")


def test_nothing_is_logged_or_set_up_at_import() -> None:
    code = """
import logging
logging.basicConfig(level=logging.DEBUG)
import omega_slices
logger = logging.getLogger("omega_slices")
assert (logger.handlers, logger.level, logger.propagate) == ([], logging.NOTSET, True)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_the_clock(fake: stream_factory.Fake) -> None:
    messages = three_batches()
    # The last batch comes only when it is asked for, after a pause.
    fake.out(b"".join(messages[:-3])).wait().sleep(0.2).out(b"".join(messages[-3:]))
    fake.err(stream_factory.report_line(SLICES))
    started = time.perf_counter()
    with open_three() as slices:
        opened = slices.metrics
        for _ in zip(range(4), slices, strict=False):
            time.sleep(0.05)
        fake.go()
        for _ in slices:
            pass
    whole_s = time.perf_counter() - started
    metrics = slices.metrics
    assert opened.consumer_seconds == 0.0
    assert opened.producer_seconds > 0.0
    assert metrics.producer_seconds >= opened.producer_seconds + 0.1
    assert metrics.consumer_seconds >= 0.2
    assert metrics.producer_seconds + metrics.consumer_seconds <= whole_s


def test_the_counters(three: stream_factory.Fake) -> None:
    seen: list[StreamMetrics] = []
    with open_three(metrics_hook=seen.append) as slices:
        sizes = [batch.nbytes for batch in slices.batches()]
    assert [one.slices for one in seen] == [3, 8, 10, 10]
    assert [one.batches for one in seen] == [1, 2, 3, 3]
    assert [one.bytes for one in seen] == [sizes[0], sum(sizes[:2]), sum(sizes), sum(sizes)]
    assert [one.outcome for one in seen] == [None, None, None, "complete"]
    assert seen[-1] == slices.metrics
    assert (seen[-1].peak_batch_slices, seen[-1].peak_batch_bytes) == (5, max(sizes))
    assert seen[-1].compared_slices == 0


@pytest.mark.parametrize("backend", ["python", "rust", "shadow"])
def test_every_backend_counts(data: Path, binary: Path, backend: str) -> None:
    with open_slices(data, backend=backend) as slices:
        list(slices)
    metrics = slices.metrics
    assert (metrics.backend, metrics.slices, metrics.batches, metrics.outcome) == (backend, 2, 1, "complete")
    assert metrics.bytes > 0
    assert metrics.compared_slices == (2 if backend == "shadow" else 0)


def test_a_hook_hears_of_a_close(three: stream_factory.Fake) -> None:
    seen: list[StreamMetrics] = []
    with open_three(metrics_hook=seen.append) as slices:
        next(slices)
    assert [one.outcome for one in seen] == [None, "closed"]


def test_a_hook_that_fails_is_logged_and_dropped(three: stream_factory.Fake, caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    def hook(metrics: StreamMetrics) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError

    with open_three(metrics_hook=hook) as slices:
        assert len(list(slices)) == SLICES
    assert calls == 1
    (failure,) = (record for record in events(caplog) if record.levelname == "ERROR")
    assert failure.exc_info is not None
    assert "hook" in failure.message


def test_a_hook_that_asks_the_stream_for_more_is_told(
    three: stream_factory.Fake, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[Any] = []
    slices = open_three(metrics_hook=lambda _: opened[0].peek())
    opened.append(slices)
    assert len(list(slices)) == SLICES
    (failure,) = (record for record in events(caplog) if record.levelname == "ERROR")
    assert failure.exc_info is not None
    assert "is being read already" in str(failure.exc_info[1])


def test_what_is_no_hook(data: Path) -> None:
    with pytest.raises(RequestError, match="metrics_hook="):
        open_slices(data, metrics_hook=3)  # type: ignore[arg-type]  # that is the mistake


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "\x9b2J", "\u202eturned"])
def test_control_characters_reach_no_terminal(
    tmp_path: Path, binary: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    root = tmp_path / name
    root.mkdir()
    stream_factory.write_series(root, "A", "BID", [(1, 1.0), (0, 1.0)])
    for backend in ("rust", "python"):
        with open_slices(root, price_types=["bid"], backend=backend) as slices:
            list(slices)
        assert name in slices.report.warnings[0].message
        with pytest.raises(OmegaSlicesError) as caught:
            open_slices(root, symbols=["B" + name], price_types=["bid"], backend=backend)
        logged = [record.getMessage() for record in caplog.records]
        # An error has lines of its own.
        shown = [*logged, repr(caught.value), *str(caught.value).splitlines()]
        for text in shown:
            assert text.isprintable()
    assert any(name.encode("unicode_escape").decode() in text for text in shown)
