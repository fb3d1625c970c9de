"""The cache.

What the executable is asked for, the slices that come of it, and files that are gone.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from helpers import stream_factory

from omega_slices import (
    BackendUnavailableError,
    DeserializationError,
    OmegaSlicesError,
    RequestError,
    RunWarning,
    SliceStream,
    SystemFailureError,
    UnsortedInputError,
    open_slices,
)
from omega_slices._backends import cached, resolve
from omega_slices._slices import file

OF = stream_factory.schema()
BATCHES = [stream_factory.batch(OF, 0, 3), stream_factory.batch(OF, 3, 2)]
WARNING = {"kind": "warning", "name": "UNSORTED_INPUT", "message": "sorted it", "file": "f", "symbol": None}


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A file such as a cache holds."""
    path = tmp_path / "entry.arrow"
    path.write_bytes(stream_factory.encode_file(OF, BATCHES))
    return path


def opened(**options: Any) -> SliceStream:
    return open_slices("root", symbols=stream_factory.SYMBOLS, cache="folder", **options)


def test_the_executable_is_asked_for_a_path(fake: stream_factory.Fake, entry: Path) -> None:
    fake.err(json.dumps(WARNING)).err(stream_factory.report_line(5)).out(f"{entry}\n".encode())
    with opened(cache_size="20GiB", threads=2) as slices:
        assert slices.schema.equals(OF, check_metadata=True)
        found = list(slices)
    assert [one.timestamp_ns for one in found] == [
        stream_factory.START_NS + minute * stream_factory.MINUTE_NS for minute in range(5)
    ]
    assert pa.Table.from_batches(BATCHES)["bid_close"].to_pylist() == [
        value for one in found for value in one.column("bid_close").tolist()
    ]
    assert slices.report.complete
    assert (slices.report.slices, slices.report.batches) == (5, 2)
    assert slices.report.warnings == (RunWarning("UNSORTED_INPUT", "sorted it", "f"),)
    assert {"--cache=folder", "--cache-size=20GiB", "--print-path", "--error-format=json"} <= set(fake.arguments)
    assert fake.arguments[0] == "sync"


def test_the_size_is_left_to_the_executable(fake: stream_factory.Fake, entry: Path) -> None:
    fake.out(f"{entry}\n".encode())
    opened().close()
    assert [one for one in fake.arguments if one.startswith("--cache-size")] == []
    opened(cache_size=1_000).close()
    assert "--cache-size=1000" in fake.arguments


def test_its_stream_is_one_like_any_other(fake: stream_factory.Fake, entry: Path) -> None:
    fake.out(f"{entry}\n".encode())
    with opened() as slices:
        assert [one.timestamp.minute for one in slices.peek(2)] == [0, 1]
        slices.skip(1)
        first = next(slices)
        assert pa.table(slices).equals(pa.Table.from_batches(BATCHES).slice(6))
    assert first.timestamp.minute == 1
    with opened() as slices:
        next(slices)
    with pytest.raises(OmegaSlicesError, match="closed before its end"):
        next(slices)


def test_slices_outlive_the_file(fake: stream_factory.Fake, entry: Path) -> None:
    fake.out(f"{entry}\n".encode())
    with opened() as slices:
        entry.unlink()
        kept = list(slices)
    assert [one.timestamp.minute for one in kept] == list(range(5))
    assert kept[4].column("bid_close").tolist() == BATCHES[1].column("bid_close").to_pylist()[3:]


def test_a_file_that_is_gone_is_asked_for_again(
    fake: stream_factory.Fake, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the print and the opening, another process may evict the file.

    Then it is made anew.
    """
    asked = vanishing(monkeypatch, entry, times=2)
    fake.err(json.dumps(WARNING)).out(f"{entry}\n".encode())
    with opened() as slices:
        assert len(list(slices)) == 5
    assert asked == [str(entry)] * 3
    assert len(slices.report.warnings) == 1


def test_a_file_that_is_always_gone(fake: stream_factory.Fake, entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = vanishing(monkeypatch, entry, times=9)
    fake.out(f"{entry}\n".encode())
    with pytest.raises(SystemFailureError, match="removed before it could be opened, 3 times") as caught:
        opened()
    assert caught.value.file == str(entry)
    assert asked == [str(entry)] * 3


def vanishing(monkeypatch: pytest.MonkeyPatch, entry: Path, times: int) -> list[str]:
    """Let the file be away when it is opened, some number of times.

    Return the paths that were opened.
    """
    asked: list[str] = []
    away = entry.with_suffix(".away")
    real: Callable[[str], Any] = file.SliceFile

    def open_file(path: str) -> Any:
        asked.append(path)
        if len(asked) > times:
            return real(path)
        entry.rename(away)
        try:
            return real(path)
        finally:
            away.rename(entry)

    monkeypatch.setattr(cached, "SliceFile", open_file)
    return asked


def test_a_file_that_is_broken(fake: stream_factory.Fake, entry: Path) -> None:
    os.truncate(entry, 500)
    fake.out(f"{entry}\n".encode())
    with pytest.raises(DeserializationError, match="incomplete") as caught:
        opened()
    assert caught.value.file == str(entry)
    assert "cache clear" in str(caught.value.hint)


def test_a_file_of_something_else(fake: stream_factory.Fake, entry: Path) -> None:
    fake.out(f"{entry}\n".encode())
    with pytest.raises(DeserializationError, match="its timeframe is 'M1', asked for was 'M5'"):
        opened(timeframe="M5")


@pytest.mark.parametrize("printed", [b"", b"\n", b"relative.arrow\n", b"/cut.arr", b"\xff\xff\xff\xff\x10\0\0\0"])
def test_what_is_printed_is_no_path(printed: bytes, fake: stream_factory.Fake) -> None:
    fake.err("what happened").out(printed)
    with pytest.raises(DeserializationError, match="cannot read the path of the cached file") as caught:
        opened()
    assert "what happened" in caught.value.message
    assert not fake.is_running()


def test_an_error_of_the_executable_is_ours(fake: stream_factory.Fake) -> None:
    fake.err(json.dumps({"kind": "error", "code": 3010, "message": "row 7", "file": "f"})).exit(3)
    with pytest.raises(UnsortedInputError, match="row 7"):
        opened()


def test_a_killed_executable_is_no_hit(fake: stream_factory.Fake, entry: Path) -> None:
    fake.out(f"{entry}\n".encode()).die(9)
    with pytest.raises(DeserializationError, match="signal 9"):
        opened()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cache": None, "cache_size": "1GB"}, "without a cache"),
        ({"cache": ""}, "expected the path of a folder"),
        ({"cache": 5}, "expected the path of a folder"),
        ({"cache": "a\0b"}, "expected the path of a folder"),
        ({"cache": "x", "cache_size": 0}, "cache_size=0"),
        ({"cache": "x", "cache_size": 1.5}, r"cache_size=1\.5"),
        ({"cache": "x", "backend": "python"}, "'python' has no cache"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], match: str, data: Path) -> None:
    with pytest.raises(RequestError, match=match) as caught:
        open_slices(data, **options)
    assert caught.value.hint


def test_without_an_executable_the_warning_tells_of_the_cache(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere() -> Path:
        raise BackendUnavailableError("there is none")

    monkeypatch.delenv("OMEGA_SLICES_BINARY", raising=False)
    monkeypatch.setattr(resolve, "find_binary", nowhere)
    with caplog.at_level(logging.WARNING, logger="omega_slices"), pytest.warns(UserWarning, match="the cache 'kept'"):
        slices = open_slices(data, cache="kept")
    with slices:
        assert len(list(slices)) == 2
    assert "does not use the cache 'kept'" in caplog.text
    with pytest.raises(BackendUnavailableError):
        open_slices(data, cache="kept", backend="rust")


def test_the_real_executable_keeps_and_finds(data: Path, binary: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    stream_factory.write_series(data, "EURUSD", "BID", [(1, 1.5), (0, 1.25)])
    with open_slices(data) as slices:
        expected = list(slices)
    for _ in range(2):
        with open_slices(data, cache=cache) as kept:
            assert list(kept) == expected
        assert kept.report == slices.report
        assert len(kept.report.warnings) == 1
    assert len(list(cache.rglob("*.arrow"))) == 1
    # Another input, and so another file.
    stream_factory.write_series(data, "EURUSD", "BID", [(0, 7.5), (1, 8.5)])
    with open_slices(data, cache=cache) as changed:
        assert [one.get_price("EURUSD", "bid") for one in changed] == [7.5, 8.5]
    assert len(list(cache.rglob("*.arrow"))) == 2


def test_the_real_executable_takes_sessions(data: Path, binary: Path, tmp_path: Path) -> None:
    """Sessions of a calendar come through the standard input, and are a part of the request."""
    pytest.importorskip("pandas_market_calendars")
    options: dict[str, Any] = {"session": "NYSE", "start": "2024-01-02", "end": "2024-01-03"}
    with open_slices(data, **options) as slices:
        expected = list(slices)
    for _ in range(2):
        with open_slices(data, cache=tmp_path / "cache", **options) as kept:
            assert list(kept) == expected
        assert kept.report == slices.report


def test_switching_back_by_the_environment_passes_over_the_cache(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMEGA_USE_RUST_MULTI_SYMBOL", "0")
    with open_slices(data, cache=tmp_path / "cache") as slices:
        assert len(list(slices)) == 2
    (record,) = caplog.records
    assert "OMEGA_USE_RUST_MULTI_SYMBOL=0 does not use the cache" in record.message
    assert not (tmp_path / "cache").exists()
