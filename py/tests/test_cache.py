"""The cache: what the executable is asked for, what its answers become, and the real one beside the pipe."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import wire

from omega_slices import (
    BackendUnavailableError,
    CorruptInputError,
    DeserializationError,
    IteratorExhaustedError,
    RequestError,
    RunWarning,
    SliceStream,
    SystemFailureError,
    assert_slices_equal,
    open_slices,
)
from omega_slices import _binary as binary_module
from omega_slices import _sources as sources
from omega_slices._process import Producer

WARNING = {"kind": "warning", "name": "UNSORTED_INPUT", "message": "sorted", "symbol": "EURUSD"}


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A file of ten slices, as the cache would hold it."""
    schema = wire.schema()
    return wire.write_file(tmp_path / "entry.arrow", schema, [wire.batch(schema, 0, 4), wire.batch(schema, 4, 6)])


def answers(fake: wire.Fake, path: Path) -> wire.Fake:
    return fake.out(f"{path}\n".encode())


def open_cached(cache: Any = "cache", **options: Any) -> SliceStream:
    return open_slices("unused", symbols=wire.SYMBOLS, backend="rust", cache=cache, **options)


def test_the_file_is_the_stream(fake: wire.Fake, entry: Path) -> None:
    answers(fake, entry).err(json.dumps(WARNING)).err(wire.report_line(10))
    with open_cached() as slices:
        assert not fake.is_running()
        assert wire.threads_left() == []
        assert slices.report.warnings == (RunWarning("UNSORTED_INPUT", "sorted", symbol="EURUSD"),)
        assert not slices.report.complete
        first = slices.peek(3)
        assert list(slices)[:3] == first
    assert (slices.report.slices, slices.report.batches, slices.report.complete) == (10, 2, True)
    assert next(slices, None) is None


def test_what_the_executable_is_asked(fake: wire.Fake, entry: Path) -> None:
    answers(fake, entry)
    open_cached(Path("some where"), cache_size=5_000_000, threads=3).close()
    asked = fake.arguments
    assert {"--cache=some where", "--cache-size=5000000", "--print-path", "--threads=3", "--error-format=json"} <= {
        *asked
    }
    assert asked[0] == "sync"
    open_cached(cache_size="20GiB").close()
    assert "--cache-size=20GiB" in fake.arguments
    open_cached().close()
    assert not any("--cache-size" in argument for argument in fake.arguments)


def test_a_calendar_is_handed_over(fake: wire.Fake, entry: Path, data: Path) -> None:
    schema = wire.schema(["EURUSD", "GBPUSD"])
    answers(fake, wire.write_file(entry, schema, [wire.batch(schema, 0, 1)]))
    with open_slices(data, symbols=["EURUSD", "GBPUSD"], backend="rust", cache="c", session="NYSE") as slices:
        assert len(list(slices)) == 1
    assert fake.stdin.startswith("open,close\n2023-12-26")
    assert "--print-path" in fake.arguments


def test_batches_come_without_a_copy(fake: wire.Fake, entry: Path) -> None:
    answers(fake, entry)
    before = pa.total_allocated_bytes()
    with open_cached() as slices:
        kept = list(slices.batches())
        assert [batch.num_rows for batch in kept] == [12, 18]
        assert pa.total_allocated_bytes() - before < 1_000


def test_closing_before_the_end_is_told(fake: wire.Fake, entry: Path) -> None:
    answers(fake, entry)
    with open_cached() as slices:
        next(slices)
    with pytest.raises(IteratorExhaustedError):
        next(slices)


def test_an_entry_that_is_evicted_is_asked_for_again(
    fake: wire.Fake, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(fake, entry)
    hidden = entry.with_name("hidden")
    entry.rename(hidden)
    asked: list[int] = []

    class Counting(Producer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            asked.append(1)
            if len(asked) == 3:
                hidden.rename(entry)

    monkeypatch.setattr(sources, "Producer", Counting)
    with open_cached() as slices:
        assert len(list(slices)) == 10
    assert len(asked) == 3


def test_an_entry_that_is_never_there(fake: wire.Fake, tmp_path: Path) -> None:
    answers(fake, tmp_path / "none.arrow")
    with pytest.raises(SystemFailureError, match=r"none\.arrow"):
        open_cached()
    assert not fake.is_running()


@pytest.mark.parametrize("told", [b"", b"relative.arrow\n", b"/a\n/b\n", b"/no/end", b"\n"])
def test_an_answer_that_is_no_path(fake: wire.Fake, told: bytes) -> None:
    fake.out(told)
    with pytest.raises(DeserializationError, match="instead of a path"):
        open_cached()


def test_errors_of_the_executable(fake: wire.Fake, entry: Path) -> None:
    error = {"kind": "error", "code": 3008, "message": "'a.parquet' is broken", "file": "a.parquet"}
    answers(fake, entry).err(json.dumps(error)).exit(3)
    with pytest.raises(CorruptInputError, match="is broken"):
        open_cached()
    assert not fake.is_running()
    assert wire.threads_left() == []


def test_an_executable_that_dies(fake: wire.Fake) -> None:
    fake.die(9)
    with pytest.raises(DeserializationError, match="SIGKILL"):
        open_cached()


def test_an_entry_that_answers_something_else(fake: wire.Fake, entry: Path) -> None:
    answers(fake, entry)
    with pytest.raises(DeserializationError, match="not the one asked for"):
        open_slices("unused", symbols=["A"], backend="rust", cache="cache")


def test_an_entry_that_is_damaged(fake: wire.Fake, entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-20])
    answers(fake, entry)
    with pytest.raises(DeserializationError, match="incomplete"):
        open_cached()


@pytest.mark.parametrize(
    "options",
    [
        {"cache": "c", "backend": "python"},
        {"cache": ""},
        {"cache": "a\0b"},
        {"cache": 7},
        {"cache_size": "1GiB"},
        {"cache": "c", "cache_size": 0},
        {"cache": "c", "cache_size": True},
        {"cache": "c", "cache_size": 1.5},
    ],
)
def test_what_makes_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="cache") as caught:
        open_slices("unused", symbols=["A"], **options)
    assert caught.value.hint


def test_without_an_executable_the_cache_is_not_used(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delenv("OMEGA_SLICES_BINARY", raising=False)
    monkeypatch.setattr(binary_module, "_candidates", lambda: (tmp_path / "none",))
    cache = tmp_path / "cache"
    with caplog.at_level(logging.WARNING, "omega_slices"), open_slices(data, cache=cache) as slices:
        assert len(list(slices)) == 2
    assert "makes no use of the cache" in caplog.text
    assert not cache.exists()
    with pytest.raises(BackendUnavailableError):
        open_slices(data, cache=cache, backend="rust")


# The real one.


@pytest.mark.parametrize(
    "options",
    [{}, {"timeline": "union", "fill": "forward", "max_age": "1d"}, {"session": "24/7"}, {"start": "2030-01-01"}],
)
def test_the_real_cache(data: Path, tmp_path: Path, binary: Path, options: dict[str, Any]) -> None:
    cache = tmp_path / "cache"
    with open_slices(data, backend="rust", **options) as slices:
        expected = list(slices)
        report = slices.report
    for _ in range(2):  # cold, then there
        with open_slices(data, backend="rust", cache=cache, **options) as slices:
            assert_slices_equal(slices, expected)
            assert slices.report == report
    (file,) = (path for path in cache.rglob("*.arrow"))
    assert_slices_equal(file, expected)


def test_the_real_cache_sees_that_a_file_has_changed(data: Path, tmp_path: Path, binary: Path) -> None:
    def closes() -> list[float | None]:
        with open_slices(data, backend="rust", cache=tmp_path / "cache", cache_size=2**30) as slices:
            return [one.get_price("EURUSD", "bid") for one in slices]

    assert closes() == closes() == [1.5, 1.625]
    wire.write_series(data, "EURUSD", "BID", [(0, 7.0), (1, 8.0)])
    assert closes() == [7.0, 8.0]


def test_the_real_cache_tells_what_is_missing(data: Path, tmp_path: Path, binary: Path) -> None:
    (data / "EURUSD" / "EURUSD_M1_BID.parquet").unlink()
    with pytest.raises(Exception, match="EURUSD") as cached:
        open_slices(data, symbols=["EURUSD"], backend="rust", cache=tmp_path / "cache")
    with pytest.raises(Exception, match="EURUSD") as streamed:
        open_slices(data, symbols=["EURUSD"], backend="rust")
    assert type(cached.value) is type(streamed.value)
