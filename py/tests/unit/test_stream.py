"""The stream: its position, whatever mixture of ways it is read in."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import stream_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_slices import (
    CorruptInputError,
    ErrorCode,
    IteratorExhaustedError,
    OmegaSlicesError,
    RequestError,
    RunReport,
    RunWarning,
    SliceStream,
    open_slices,
)
from omega_slices._model.request_parser import make_request
from omega_slices._monitor import StreamMonitor

REQUEST = make_request("unused", symbols=stream_factory.SYMBOLS)


class ListSource:
    """A source of given batches, which may end in an error."""

    def __init__(self, sizes: list[int], failure: OmegaSlicesError | None = None) -> None:
        self.schema = stream_factory.schema()
        self.symbols: tuple[str, ...] = stream_factory.SYMBOLS
        self.closed = 0
        self.batches = []
        first = 0
        for size in sizes:
            self.batches.append(stream_factory.batch(self.schema, first, size, missing=0.2))
            first += size
        self._rest = iter(self.batches)
        self._failure = failure

    def read(self) -> pa.RecordBatch | None:
        assert not self.closed
        batch = next(self._rest, None)
        if batch is None and self._failure is not None:
            raise copy.copy(self._failure)  # the traceback would keep the stream
        return batch

    def take_warnings(self) -> list[RunWarning]:
        return []

    def report(self) -> RunReport | None:
        return None

    def close(self) -> None:
        self.closed += 1


def open_list(sizes: list[int], failure: OmegaSlicesError | None = None) -> tuple[SliceStream, ListSource]:
    source = ListSource(sizes, failure)
    return SliceStream(source, REQUEST, StreamMonitor(REQUEST, "rust", "a test")), source


def stamps(batch: pa.RecordBatch) -> list[int]:
    """Return the minutes of a batch's slices."""
    width = len(stream_factory.SYMBOLS)
    assert batch.num_rows % width == 0
    values: list[int] = np.asarray(batch.column("timestamp").cast(pa.int64()))[::width].tolist()
    return [(value - stream_factory.START_NS) // stream_factory.MINUTE_NS for value in values]


def minutes(slices: Iterator[Any] | list[Any]) -> list[int]:
    return [(one.timestamp_ns - stream_factory.START_NS) // stream_factory.MINUTE_NS for one in slices]


STEPS = st.one_of(
    st.tuples(st.just("next"), st.just(0)),
    st.tuples(st.just("batch"), st.just(0)),
    st.tuples(st.just("peek"), st.integers(0, 12)),
    st.tuples(st.just("skip"), st.integers(0, 12)),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(1, 5), max_size=6), st.lists(STEPS, max_size=20))
def test_any_mixture_of_steps_gives_each_slice_once(sizes: list[int], steps: list[tuple[str, int]]) -> None:
    stream, _ = open_list(sizes)
    total = sum(sizes)
    at = 0
    for step, n in steps:
        match step:
            case "next":
                one = next(stream, None)
                assert (None if one is None else minutes([one])) == ([at] if at < total else None)
                at = min(at + 1, total)
            case "peek":
                assert minutes(stream.peek(n)) == list(range(at, min(at + n, total)))
            case "skip" if at + n > total:
                with pytest.raises(IteratorExhaustedError, match=f"only {total - at} were left"):
                    stream.skip(n)
                at = total
            case "skip":
                stream.skip(n)
                at += n
            case "batch":
                batch = next(stream.batches(), None)
                found = [] if batch is None else stamps(batch)
                assert found == list(range(at, at + len(found)))
                assert bool(found) == (at < total)
                at += len(found)
    assert minutes(stream) == list(range(at, total))
    assert stream.report == RunReport(
        slices=total,
        batches=len(sizes),
        first_timestamp_ns=stream_factory.START_NS if total else None,
        last_timestamp_ns=stream_factory.START_NS + (total - 1) * stream_factory.MINUTE_NS if total else None,
        complete=True,
    )


def test_what_peek_shows_is_what_comes() -> None:
    stream, _ = open_list([2, 3, 1])
    ahead = stream.peek(100)
    assert len(ahead) == 6
    assert list(stream) == ahead


def test_batches_are_not_copied() -> None:
    stream, source = open_list([3, 2])
    addresses = [batch.column("bid_open").buffers()[1].address for batch in source.batches]
    next(stream)
    first, second = stream.batches()
    assert (first.num_rows, second.num_rows) == (6, 6)
    assert first.column("bid_open").buffers()[1].address == addresses[0]
    assert first.equals(source.batches[0].slice(3))
    assert second is source.batches[1]


def test_a_batch_taken_whole_is_the_one_that_came() -> None:
    stream, source = open_list([3, 2])
    stream.peek(5)
    assert [*stream.batches()][1].equals(source.batches[1])


def test_progress_is_reported() -> None:
    stream, _ = open_list([2, 3])
    assert stream.report == RunReport(slices=0, batches=0)
    next(stream)
    assert stream.report == RunReport(
        slices=2,
        batches=1,
        first_timestamp_ns=stream_factory.START_NS,
        last_timestamp_ns=stream_factory.START_NS + stream_factory.MINUTE_NS,
    )
    assert "open, 2 slices read" in repr(stream)
    list(stream)
    assert stream.report.complete
    assert "complete, 5 slices read" in repr(stream)


def test_an_error_comes_where_it_is_and_stays() -> None:
    stream, source = open_list([2, 1], CorruptInputError("broken", file="a.parquet"))
    assert minutes([next(stream), next(stream), next(stream)]) == [0, 1, 2]
    for way in (lambda: next(stream), lambda: next(stream), stream.peek, lambda: stream.skip(0), lambda: list(stream)):
        with pytest.raises(CorruptInputError, match="broken") as caught:
            way()
        assert caught.value.file == "a.parquet"
    assert source.closed
    assert not stream.report.complete
    stream.close()
    with pytest.raises(CorruptInputError):
        next(stream)


def test_an_error_ahead_is_raised_by_peek() -> None:
    stream, _ = open_list([2, 1], CorruptInputError("broken"))
    assert len(stream.peek(3)) == 3
    with pytest.raises(CorruptInputError):
        stream.peek(4)


@pytest.mark.parametrize("read", [0, 1, 2, 5, 6])
def test_closing_before_the_end_is_told(read: int) -> None:
    stream, source = open_list([2, 4])
    with stream:
        for _ in range(read):
            next(stream)
    assert source.closed
    # Also where the last slice was read, but the end was not seen: it might have been an error.
    with pytest.raises(IteratorExhaustedError, match="closed before its end") as caught:
        next(stream)
    assert caught.value.code is ErrorCode.ITERATOR_EXHAUSTED
    assert "closed" in repr(stream)


def test_closing_before_the_end_is_told_where_peek_saw_the_end() -> None:
    stream, _ = open_list([2, 4])
    stream.peek(100)
    assert stream.report.complete
    stream.close()
    with pytest.raises(IteratorExhaustedError):
        next(stream)


def test_closing_at_the_end_changes_nothing() -> None:
    stream, source = open_list([2, 4])
    with stream as same:
        assert same is stream
        assert iter(stream) is stream
        assert len(list(stream)) == 6
    assert source.closed
    assert next(stream, None) is None
    assert list(stream) == []
    assert stream.peek() == []
    stream.skip(0)
    with pytest.raises(IteratorExhaustedError):
        stream.skip(1)
    # A second table, or query, would take the end for the data.
    with pytest.raises(IteratorExhaustedError, match="walked through"):
        pa.table(stream)


def test_a_stream_without_slices_is_an_empty_table() -> None:
    stream, _ = open_list([])
    assert pa.table(stream).num_rows == 0
    assert pa.table(stream).num_rows == 0


@pytest.mark.parametrize("n", [-1, 1.5, "1", None, True])
def test_what_is_no_count(n: Any) -> None:
    stream, _ = open_list([2])
    for way in (stream.peek, stream.skip):
        with pytest.raises(RequestError):
            way(n)
    assert len(stream.peek(np.int64(1))) == 1  # type: ignore[arg-type]  # an integer all the same


def test_a_stream_is_not_kept_alive_by_what_came_from_it() -> None:
    gc.disable()
    try:
        stream, source = open_list([2, 4])
        one, (two,) = next(stream), stream.peek()
        batch = next(stream.batches())
        gone = weakref.ref(stream)
        del stream
        assert gone() is None
        assert source.closed == 1
        assert minutes([one, two]) == [0, 1]
        assert stamps(batch) == [1]
    finally:
        gc.enable()


def test_a_failed_stream_is_not_kept_alive_by_its_error() -> None:
    gc.disable()
    try:
        stream, _ = open_list([2], CorruptInputError("broken"))
        try:
            list(stream)
        except CorruptInputError:
            gone = weakref.ref(stream)
        del stream
        assert gone() is None
    finally:
        gc.enable()


def test_the_python_backend_is_read_in_bounded_batches(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega_slices._backends.plain._REFERENCE_BATCH_ROWS", 3)
    with open_slices(data, backend="python") as slices:
        assert slices.symbols == ("EURUSD", "GBPUSD")
        assert [batch.num_rows for batch in slices.batches()] == [2, 2]
    report = slices.report
    assert report.complete
    assert (report.slices, report.batches) == (2, 2)
    assert [(one.symbol, one.timeframe, one.price_type, one.candles) for one in report.series] == [
        ("EURUSD", "M1", "bid", 2),
        ("EURUSD", "M1", "ask", 2),
        ("GBPUSD", "M1", "bid", 2),
        ("GBPUSD", "M1", "ask", 2),
    ]


def test_the_python_backend_gives_all_columns(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omega_slices._backends.plain._REFERENCE_BATCH_ROWS", 4)
    for symbol in ("EURUSD", "GBPUSD"):
        for side in ("BID", "ASK"):
            # One that is complete at midnight, and one that is not.
            stream_factory.write_series(data, symbol, side, [(-5, 7.5), (0, 8.5)], timeframe="M5")
        stream_factory.write_indicators(data, symbol, [(0, 50.0), (3, None)], "rsi")
    stream_factory.write_series(data, "GBPUSD", "BID", [(-1, 9.5), (0, 2.5), (3, 3.5)])
    options: dict[str, Any] = {"fill": "forward", "max_age": "1bar", "with_timeframe": "M5", "indicators": ["rsi"]}
    with open_slices(data, backend="python", timeline="union", start=stream_factory.START_NS, **options) as slices:
        assert slices.timeframes == ("M5",)
        assert slices.indicators == ("rsi",)
        expected = stream_factory.schema(
            ["EURUSD", "GBPUSD"], fills=True, higher_timeframes=("M5",), indicators=("rsi",)
        )
        assert slices.schema.equals(expected, check_metadata=False)
        batches = [*slices.batches()]
    rows = pa.Table.from_batches(batches).to_pylist()
    assert [batch.num_rows for batch in batches] == [4, 2]
    assert [row["bid_close"] for row in rows if row["symbol"] == "GBPUSD"] == [2.5, 2.5, 3.5]
    ages = [(row["timestamp"] - row["bid_timestamp"]).total_seconds() for row in rows if row["symbol"] == "GBPUSD"]
    assert ages == [0.0, 60.0, 0.0]
    # Three minutes in, EURUSD has been silent for too long.
    assert [row["bid_timestamp"] is None for row in rows if row["symbol"] == "EURUSD"] == [False, False, True]
    assert [row["M5_ask_close"] for row in rows] == [7.5] * 6
    assert {(row["timestamp"].minute, repr(row["ind_rsi"])) for row in rows} == {(0, "50.0"), (1, "None"), (3, "nan")}
    # What lies under a null can be read as plain numbers.
    for column in (column for batch in batches for column in batch.columns if column.null_count):
        beneath = np.frombuffer(column.buffers()[1], "float64" if column.type == pa.float64() else "int64")
        gaps = np.asarray(column.is_null())
        assert (np.isnan(beneath[gaps]) if column.type == pa.float64() else beneath[gaps] == 0).all()
    assert [(one.timeframe, one.price_type) for one in slices.report.series] == [
        *([("M1", "bid"), ("M1", "ask")] * 2),
        *([("M5", "bid"), ("M5", "ask")] * 2),
        *([("M1", None)] * 2),
    ]


def test_when_batches_are_known() -> None:
    stream, _ = open_list([3, 2])
    next(stream)
    known = [stream.known_at(batch) for batch in stream.batches()]
    assert [one.dtype for one in known] == ["datetime64[ns]"] * 2
    assert [
        [(time - stream_factory.START_NS) // stream_factory.MINUTE_NS for time in one.astype("int64").tolist()]
        for one in known
    ] == [
        [2, 3],
        [4, 5],
    ]
    slices = open_list([3])[0].peek(3)
    assert [one.known_at_ns for one in slices] == [
        stream_factory.START_NS + n * stream_factory.MINUTE_NS for n in (1, 2, 3)
    ]


def test_what_is_no_batch_of_the_stream() -> None:
    stream, source = open_list([3])
    batch = source.batches[0]
    assert stream.known_at(batch.slice(0, 0)).shape == (0,)
    other = stream_factory.batch(stream_factory.schema(["A"]), 0, 3)
    for bad in (batch.slice(1), batch.slice(0, 4), batch.drop_columns("bid_open"), other, stream.schema, None):
        with pytest.raises(RequestError, match="expected whole slices") as caught:
            stream.known_at(bad)
        assert caught.value.hint


def test_what_the_slices_hold() -> None:
    stream, _ = open_list([1])
    assert (stream.timeframe, stream.timeframes, stream.indicators) == ("M1", (), ())
