"""Slice files: a table is a list of slices in which times are found, and a file that is not whole is none."""

from __future__ import annotations

import bisect
import doctest
import gc
import json
import math
import multiprocessing
import os
import pickle
import random
import re
import subprocess
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_slices import (
    DeserializationError,
    ErrorCode,
    MultiSymbolSlice,
    NoDataForTimestampError,
    OmegaSlicesError,
    RequestError,
    RunReport,
    SliceTable,
    SystemFailureError,
    open_slices,
    read_slices,
)
from omega_slices import _file as file_module
from omega_slices._request import make_request
from omega_slices._schema import StreamContent
from omega_slices._slices import SliceBatch, SliceLayout

MORE: dict[str, Any] = {"fills": True, "further": ("H1", "M5"), "indicators": ("rsi", "valid_bid")}


def at_minute(minute: int) -> int:
    return wire.START_NS + minute * wire.MINUTE_NS


def minutes(slices: Any) -> list[int]:
    return [(one.timestamp_ns - wire.START_NS) // wire.MINUTE_NS for one in slices]


def batches(sizes: list[int], schema: pa.Schema | None = None, gap: int = 1, **options: Any) -> list[pa.RecordBatch]:
    """Return batches of consecutive minutes, with `gap` - 1 minutes without a slice between two of them."""
    schema = wire.schema() if schema is None else schema
    made, first = [], 0
    for size in sizes:
        made.append(wire.batch(schema, first, size, **options))
        first += size + gap - 1
    return made


def write(path: Path, sizes: list[int], **options: Any) -> Path:
    """Write a file, or for the suffix `.arrows` a stream."""
    made = batches(sizes, **options)
    return write_batches(path, made)


def write_batches(path: Path, made: list[pa.RecordBatch], schema: pa.Schema | None = None, **options: Any) -> Path:
    schema = schema or (made[0].schema if made else wire.schema())
    if path.suffix == ".arrows":
        path.write_bytes(b"".join(wire.encode(schema, made)))
        return path
    return wire.write_file(path, schema, made, **options)


def plain(made: list[pa.RecordBatch]) -> list[MultiSymbolSlice]:
    """Return the slices of batches of the usual columns, made as a stream makes them."""
    layout = SliceLayout(wire.SYMBOLS, StreamContent("M1", ("bid", "ask")))
    return [one for batch in made for one in SliceBatch(batch, layout).slices()]


SUFFIXES = ["arrow", "arrows"]


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of ten slices in three batches, with missing candles, in either form."""
    return write(tmp_path / f"slices.{request.param}", [4, 1, 5], missing=0.3, nan=0.2)


def test_a_table_is_the_list_of_its_slices(path: Path) -> None:
    table, expected = read_slices(path), plain(batches([4, 1, 5], missing=0.3, nan=0.2))
    assert len(table) == 10
    assert list(table) == expected
    assert list(table) == expected  # a second time
    assert [table[number] for number in range(-10, 10)] == expected + expected
    assert table[np.int64(3)] == expected[3]
    for number, one in enumerate(expected):
        assert table.at(one.timestamp_ns) == table.asof(one.timestamp_ns) == one
        assert one in table
        assert one not in table[:number]
    assert "EURUSD" not in table


def test_what_a_table_holds(path: Path) -> None:
    table = read_slices(str(path))
    assert (table.symbols, table.timeframe, table.timeframes, table.indicators) == (wire.SYMBOLS, "M1", (), ())
    assert table.path == path
    assert table.schema.equals(wire.schema(), check_metadata=True)
    assert table.report == RunReport(
        slices=10, batches=3, first_timestamp_ns=at_minute(0), last_timestamp_ns=at_minute(9), complete=True
    )
    assert repr(table) == (
        "<SliceTable M1 of 3 symbols, 10 slices, 2024-01-02T00:00:00+00:00 to 2024-01-02T00:09:00+00:00, "
        f"{str(path)!r}>"
    )
    assert "0 slices, " in repr(table[:0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_everything_that_slices_may_hold(tmp_path: Path, suffix: str) -> None:
    schema = wire.schema(**MORE)
    made = batches([3, 2], schema, missing=0.3, nan=0.1, carried=0.4)
    table = read_slices(write_batches(tmp_path / f"x.{suffix}", made))
    assert (table.timeframes, table.indicators) == (("H1", "M5"), ("rsi", "valid_bid"))
    content = StreamContent("M1", ("bid", "ask"), fills=True, further=("H1", "M5"), indicators=("rsi", "valid_bid"))
    layout = SliceLayout(wire.SYMBOLS, content)
    expected = [one for batch in made for one in SliceBatch(batch, layout).slices()]
    assert list(table) == expected
    assert [repr(one) for one in table] == [repr(one) for one in expected]
    assert [repr(one.values()) for one in table] == [repr(one.values()) for one in expected]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_slices(tmp_path: Path, suffix: str) -> None:
    table = read_slices(write(tmp_path / f"x.{suffix}", []))
    assert (len(table), list(table), list(table.batches())) == (0, [], [])
    assert table.report == RunReport(slices=0, batches=0, complete=True)
    assert pa.table(table).num_rows == len(table.between("2024-01-01", "2025-01-01")) == 0
    for way in (lambda: table.at(0), lambda: table.asof(0), lambda: table[0], table.cursor):
        with pytest.raises(NoDataForTimestampError):
            way()


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 6), max_size=5),
    gap=st.integers(1, 3),
    suffix=st.sampled_from(SUFFIXES),
    cuts=st.lists(st.tuples(st.integers(-35, 35), st.integers(-35, 35)), max_size=3),
    data=st.data(),
)
def test_against_a_plain_list(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    gap: int,
    suffix: str,
    cuts: list[tuple[int, int]],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("table")
    table = read_slices(write(folder / f"x.{suffix}", sizes, gap=gap))
    stamps = [at_minute(first + place) for first, size in firsts(sizes, gap) for place in range(size)]
    for start, stop in cuts:
        table, stamps = table[start:stop], stamps[start:stop]
    assert len(table) == len(stamps)
    assert [one.timestamp_ns for one in table] == stamps
    assert [table[n].timestamp_ns for n in range(-len(stamps), len(stamps))] == stamps * 2
    for beyond in (len(stamps), -len(stamps) - 1):
        with pytest.raises(IndexError):
            table[beyond]
    step = wire.MINUTE_NS // 2
    for _ in range(8):
        wanted = wire.START_NS + data.draw(st.integers(-2, 2 * (sum(sizes) + 12))) * step
        before = bisect.bisect_right(stamps, wanted)
        if wanted in stamps:
            assert table.at(wanted).timestamp_ns == wanted
        else:
            with pytest.raises(NoDataForTimestampError):
                table.at(wanted)
        if before:
            assert table.asof(wanted).timestamp_ns == stamps[before - 1]
        else:
            with pytest.raises(NoDataForTimestampError):
                table.asof(wanted)
        end = wanted + data.draw(st.integers(0, 20)) * step
        view = table.between(wanted, end)
        assert [one.timestamp_ns for one in view] == [one for one in stamps if wanted <= one <= end]
        assert len(table.between(wanted)) == len(stamps) - bisect.bisect_left(stamps, wanted)
        assert len(table.between(end=wanted)) == before
    rows = pa.Table.from_batches(table.batches(), schema=table.schema).column("timestamp").cast(pa.int64()).to_pylist()
    assert rows == [stamp for stamp in stamps for _ in wire.SYMBOLS]


def firsts(sizes: list[int], gap: int) -> list[tuple[int, int]]:
    """Return the first minute and the number of slices of each batch."""
    found, first = [], 0
    for size in sizes:
        found.append((first, size))
        first += size + gap - 1
    return found


def test_times_in_every_form(path: Path) -> None:
    table = read_slices(path)
    moment = datetime(2024, 1, 2, 0, 3, tzinfo=UTC)
    forms: list[Any] = [
        at_minute(3),
        np.int64(at_minute(3)),
        "2024-01-02T00:03:00Z",
        "2024-01-02 01:03+01:00",
        moment,
        moment.replace(tzinfo=None),
        pd.Timestamp(moment),
        np.datetime64("2024-01-02T00:03"),
        np.datetime64(at_minute(3), "ns"),
        table[3].column("timestamp")[0],
    ]
    for form in forms:
        assert minutes([table.at(form), table.asof(form), table.cursor().set_timestamp(form)]) == [3, 3, 3]
    assert minutes([table.at(date(2024, 1, 2))]) == [0]
    for bad in ("soon", None, True, 1.5, 2**63, np.datetime64("NaT"), np.datetime64("9999-01-01"), pd.NaT):
        for way in (table.at, table.asof, table.cursor().set_timestamp):
            with pytest.raises(RequestError, match="timestamp="):
                way(bad)  # type: ignore[arg-type]  # what is tested


def test_an_unknown_time_names_its_neighbours(tmp_path: Path) -> None:
    table = read_slices(write(tmp_path / "x.arrow", [2, 2], gap=3))
    with pytest.raises(NoDataForTimestampError) as caught:
        table.at(at_minute(2))
    assert caught.value.code is ErrorCode.NO_DATA_FOR_TIMESTAMP
    assert "nearest are 2024-01-02T00:01:00.000000000Z and 2024-01-02T00:04:00.000000000Z" in str(caught.value)
    with pytest.raises(NoDataForTimestampError, match="nearest is 2024-01-02T00:05"):
        table.at("2025-01-01")
    with pytest.raises(NoDataForTimestampError, match=r"at or before .* nearest is 2024-01-02T00:00"):
        table.asof("2023-01-01")
    # A view knows its own slices only.
    with pytest.raises(NoDataForTimestampError, match="nearest is 2024-01-02T00:04"):
        table[2:].at(at_minute(0))


def test_what_is_no_number_of_a_slice(path: Path) -> None:
    table = read_slices(path)
    with pytest.raises(IndexError, match="no slice 10 among 10") as caught:
        table[10]
    assert isinstance(caught.value, NoDataForTimestampError)
    with pytest.raises(ValueError, match="the step 2") as refused:
        table[::2]
    assert isinstance(refused.value, RequestError)
    assert refused.value.hint
    with pytest.raises(TypeError):
        table["EURUSD"]  # type: ignore[call-overload]  # what is tested
    with pytest.raises(RequestError, match="is after end"):
        table.between("2024-01-03", "2024-01-02")


def test_nothing_is_copied(path: Path) -> None:
    table = read_slices(path)
    whole = list(table.batches())
    again = [batch for batch in table[1:9].batches() if batch.num_rows]
    assert sum(batch.num_rows for batch in again) == 8 * len(wire.SYMBOLS)
    assert again[1].column("bid_open").buffers()[1].address == whole[1].column("bid_open").buffers()[1].address
    start = whole[0].column("bid_open").buffers()[1].address
    assert table[0].column("bid_open").__array_interface__["data"][0] == start
    assert not table[0].column("bid_open").flags.writeable


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_compressed_files_are_kept_in_bounds(
    tmp_path: Path, suffix: str, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_DERIVED_BYTES_MAX", 3 << 16)
    made = batches([50] * 8)
    path = tmp_path / f"x.{suffix}"
    if suffix == "arrow":
        wire.write_file(path, wire.schema(), made, compression=compression)
    else:
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, wire.schema(), options=options) as writer:
            for batch in [*made, made[0].slice(0, 0)]:
                writer.write_batch(batch)
    table = read_slices(path)
    assert list(table) == plain(made)
    assert len(table._batches) == 3
    first = table[0]
    order = random.Random(1).sample(range(400), 400)
    assert [table[number] for number in order] == [plain(made)[number] for number in order]
    assert len(table._batches) == 3
    assert first == plain(made)[0]


def test_what_is_computed_is_kept_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "_DERIVED_BYTES_MAX", 3 << 16)
    schema = wire.schema(**MORE)
    made = batches([5] * 6, schema, missing=0.3, carried=0.3)
    table = read_slices(write_batches(tmp_path / "x.arrow", made))

    def everything(one: MultiSymbolSlice) -> list[object]:
        found: list[object] = [one.get_price(symbol, side) for symbol in one for side in ("bid", "ask", "mid")]
        return [*found, *one.values(), *(one.column(name).tolist() for name in schema.names)]

    first = [repr(everything(one)) for one in table]
    assert [repr(everything(table[number])) for number in reversed(range(30))] == first[::-1]
    batch_objects = table._batches.values()
    derived = [
        key
        for batch in batch_objects
        for part in (batch.closes, batch.sides, batch.stamped, batch.indicators)
        for key in part
        if key != "trade"  # of which nothing is there
    ]
    assert len(batch_objects) == 6
    assert len(derived) <= 3


def test_slices_outlive_the_table(path: Path) -> None:
    gc.disable()
    try:
        table = read_slices(path)
        gone = weakref.ref(table._batches)
        one, closes = table[7], table[2].column("bid_close")
        expected = closes.tolist()
        copied = pickle.loads(pickle.dumps(one))
        del table
        assert gone() is None  # references alone suffice
        path.unlink()
        assert one == copied == plain(batches([4, 1, 5], missing=0.3, nan=0.2))[7]
        assert repr(closes.tolist()) == repr(expected)
    finally:
        gc.enable()


def test_a_table_is_pickled_by_its_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    table = read_slices(path.name)
    view = table[2:7]
    text = pickle.dumps(view)
    assert len(text) < 1_000
    monkeypatch.chdir("/")
    again = pickle.loads(text)
    assert isinstance(again, SliceTable)
    assert list(again) == list(view)
    write(path, [3])
    with pytest.raises(DeserializationError, match="not the file that it was"):
        pickle.loads(text)


def test_a_file_that_is_replaced_leaves_its_readers_alone(path: Path) -> None:
    table = read_slices(path)
    write(path.with_name(f"new{path.suffix}"), [3]).replace(path)
    assert minutes(table) == list(range(10))
    assert minutes(read_slices(path)) == [0, 1, 2]


def _minutes_of(table: SliceTable) -> list[int]:
    return minutes(table)


def _sum(table: SliceTable, seed: int) -> float:
    """Read a table all over, in an order of its own."""
    order = list(range(len(table)))
    random.Random(seed).shuffle(order)
    return math.fsum(
        price for number in order for symbol in wire.SYMBOLS if (price := table[number].get_price(symbol)) is not None
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes(path: Path, method: str) -> None:
    table = read_slices(path)
    assert table[5] is not None  # some of it is there, some is not
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        found = pool.map(_minutes_of, [table, table[3:], table[:0]])
    assert found == [list(range(10)), list(range(3, 10)), []]


def test_many_threads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Little is kept, so that threads make things again and forget them all the time.
    monkeypatch.setattr(file_module, "_DERIVED_BYTES_MAX", 4 << 16)
    path = write(tmp_path / "x.arrow", [7] * 30, missing=0.3)
    expected = _sum(read_slices(path), 0)
    for _ in range(5):
        table = read_slices(path)  # of which nothing was read yet
        start = threading.Barrier(8)
        found: list[float] = []

        def work(seed: int, table: SliceTable, start: threading.Barrier, found: list[float]) -> None:
            start.wait()
            found.append(_sum(table, seed))

        threads = [threading.Thread(target=work, args=(seed, table, start, found)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 8


def test_a_fork_in_the_middle_of_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "_DERIVED_BYTES_MAX", 4 << 16)
    table = read_slices(write(tmp_path / "x.arrow", [7] * 30, missing=0.3))
    expected = _sum(table, 0)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            _sum(table, 1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for seed in range(10):
            child = os.fork()
            if child == 0:
                os._exit(0 if _sum(table, seed) == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# In the hands of others.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pyarrow_and_polars_and_pandas(tmp_path: Path, suffix: str) -> None:
    made = batches([4, 1, 5], missing=0.3)
    table, expected = read_slices(write_batches(tmp_path / f"x.{suffix}", made)), pa.Table.from_batches(made)
    assert pa.table(table).equals(expected)
    assert pa.table(table).equals(expected)
    assert pa.table(table[2:6]).equals(expected.slice(6, 12))
    frame = table[2:6].to_polars()
    assert isinstance(frame, pl.DataFrame)
    assert frame["bid_close"].to_list() == expected["bid_close"].slice(6, 12).to_pylist()
    pandas = table[2:6].to_pandas()
    assert isinstance(pandas, pd.DataFrame)
    assert len(pandas) == 12
    assert list(pandas["symbol"]) == list(wire.SYMBOLS) * 4
    assert pandas["bid_close"].isna().sum() == expected["bid_close"].slice(6, 12).null_count


def test_duckdb(path: Path) -> None:
    table = read_slices(path)
    with duckdb.connect() as connection:
        relation = table.to_duckdb(connection)
        for _ in range(2):
            assert relation.aggregate("count(*), count(bid_close)").fetchall() == [
                (30, 30 - sum(one.get(symbol) is None for one in table for symbol in table.symbols))
            ]
        assert table[1:3].to_duckdb(connection).aggregate("count(*)").fetchall() == [(6,)]
    assert table.to_duckdb().aggregate("count(*)").fetchall() == [(30,)]


# What the executable writes.


@pytest.mark.parametrize("name", ["x.arrow", "x.arrows"])
def test_what_the_executable_writes(binary: Path, data: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    symbols = ["GBPUSD", "EURUSD"]
    command = [str(binary), "sync", f"--data={data}", f"--symbols={','.join(symbols)}", f"--output={path}"]
    subprocess.run(command, check=True, capture_output=True)
    table = read_slices(path)
    with open_slices(data, symbols=symbols, backend="rust") as slices:
        assert list(slices) == list(table)
        report = slices.report
    assert table.request == make_request(data, symbols=symbols)
    assert pa.table(table).num_rows == 4
    if name == "x.arrow":
        assert table.report == report
    else:
        assert table.report.series == ()


# What is no whole file of ours.


def refused(path: Path, match: str) -> DeserializationError:
    with pytest.raises(DeserializationError, match=match) as caught:
        list(read_slices(path).batches())
    assert caught.value.code is ErrorCode.DESERIALIZATION_ERROR
    assert caught.value.file == str(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cannot open") as caught:
        read_slices(tmp_path / "none.arrow")
    assert isinstance(caught.value, SystemFailureError)
    assert caught.value.code is ErrorCode.SYSTEM_FAILURE
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(SystemFailureError, match="cannot open") as caught:
            read_slices(path)
        assert caught.value.file == str(path)
    with pytest.raises(SystemFailureError):
        read_slices("\0")


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    path.write_bytes(b"PAR1, or anything else")
    refused(path, "neither an Arrow file nor an Arrow stream")
    other = pa.record_batch({"a": [1, 2]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, other.schema) as writer:
        writer.write_batch(other)
    refused(path, "no slice file .* metadata is incomplete")
    named = wire.schema(schema_name="ticks")
    wire.write_file(path, named, [wire.batch(named, 0, 1)])
    refused(path, "named 'ticks'")
    fields = wire.schema()
    wire.write_file(
        path,
        fields.remove(5),
        [wire.batch(fields, 0, 1).remove_column(5).replace_schema_metadata(fields.metadata)],
        seal=False,
    )
    refused(path, "expected are")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_newer_versions(tmp_path: Path, suffix: str) -> None:
    minor, major = (wire.schema(schema_version=version) for version in ("1.7.0", "2.0.0"))
    assert len(read_slices(write_batches(tmp_path / f"x.{suffix}", [wire.batch(minor, 0, 2)]))) == 2
    error = refused(write_batches(tmp_path / f"y.{suffix}", [wire.batch(major, 0, 2)]), "version '2.0.0'")
    assert "upgrade" in str(error)


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({"symbols": "[]"}, "are none"),
        ({"symbols": '["A","A","B"]'}, "not distinct"),
        ({"symbols": "EURUSD"}, "malformed"),
        ({"timeframe": "Q1"}, "unknown timeframe"),
    ],
)
def test_metadata_that_makes_no_sense(tmp_path: Path, metadata: dict[str, str], match: str) -> None:
    made = wire.batch(wire.schema(), 0, 1)
    schema = wire.schema().with_metadata(
        wire.schema().metadata | {name.encode(): text for name, text in metadata.items()}
    )
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(made.replace_schema_metadata(schema.metadata))
    refused(path, match)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_its_seal(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    schema, made = wire.schema(), batches([2, 3])
    if suffix == "arrow":
        wire.write_file(path, schema, made, seal=False)
        refused(path, "disagree")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for one in [*made, made[0].slice(0, 0)]:
                writer.write_batch(one)
        refused(path, "it has no seal")
    else:
        path.write_bytes(b"".join(wire.encode(schema, made, seal=False)))
        refused(path, "it has no seal")
        path.write_bytes(b"".join(wire.encode(schema, [made[0], made[0].slice(0, 0), made[1]])))
        refused(path, "goes on after its seal")
        path.write_bytes(b"".join(wire.encode(schema, made)) + b"\0" * 8)
        refused(path, "marker")
        path.write_bytes(b"".join(wire.encode(schema, made)) + wire.END_OF_STREAM)
        refused(path, "bytes after its end")


PARTS: list[dict[str, Any]] = [
    {"report": None},
    {"batch_index": None},
    {"batch_index": {"slices": [2, 3, 1], "first_timestamps_ns": [0, 1, 2]}},
    {"batch_index": {"slices": [2, "3"], "first_timestamps_ns": [0, 1]}},
    {"batch_index": {"slices": [2, 3], "first_timestamps_ns": [at_minute(0), at_minute(0)]}},
    {"batch_index": {"slices": [2, 3], "first_timestamps_ns": [at_minute(0), at_minute(3)]}},
    {"batch_index": {"slices": [3, 2], "first_timestamps_ns": [at_minute(0), at_minute(2)]}},
    {"batch_index": {"slices": [0, 5], "first_timestamps_ns": [at_minute(0), at_minute(2)]}},
    {"report": {"slices": 5, "batches": 2}},
    {"report": {"slices": 6, "batches": 2, "first_timestamp_ns": at_minute(0), "last_timestamp_ns": at_minute(4)}},
    {"report": {"slices": 5, "batches": 2, "first_timestamp_ns": at_minute(0), "last_timestamp_ns": at_minute(5)}},
    {"report": {"slices": 5, "batches": 3, "first_timestamp_ns": at_minute(0), "last_timestamp_ns": at_minute(4)}},
]


@pytest.mark.parametrize("parts", PARTS)
def test_a_footer_that_contradicts_the_batches(tmp_path: Path, parts: dict[str, Any]) -> None:
    refused(wire.write_file(tmp_path / "x.arrow", wire.schema(), batches([2, 3]), **parts), "damaged")


@pytest.mark.parametrize("seal", [{"slices": 4, "batches": 2}, {"slices": 5, "batches": 1}, {}, "yes"])
def test_a_seal_that_contradicts_the_batches(tmp_path: Path, seal: Any) -> None:
    schema, made = wire.schema(), batches([2, 3])
    metadata = {name: json.dumps(part) for name, part in (wire.footer(made, 3) | {"seal": seal}).items()}
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema, metadata=metadata) as writer:
        for one in [*made, made[0].slice(0, 0)]:
            writer.write_batch(one)
    refused(path, "damaged")


def _edited(made: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    columns = [column if field.name == name else made.column(field.name) for field in made.schema]
    return pa.RecordBatch.from_arrays(columns, schema=made.schema)


EDITS: dict[str, tuple[Callable[[pa.RecordBatch], pa.RecordBatch], str]] = {
    "rows of a slice apart": (
        lambda made: _edited(made, "timestamp", pa.array([0, 0, 1, 2, 2, 2, 3, 3, 3]).cast(wire.TIMESTAMP)),
        "differ in their timestamps",
    ),
    "backwards": (
        lambda made: _edited(made, "timestamp", pa.array([1] * 3 + [3] * 3 + [2] * 3).cast(wire.TIMESTAMP)),
        "do not increase",
    ),
    "symbols in another order": (
        lambda made: _edited(
            made,
            "symbol",
            pa.DictionaryArray.from_arrays(
                pa.array([0, 2, 1, 0, 1, 2, 0, 1, 2], pa.int16()), pa.array(wire.SYMBOLS, pa.utf8())
            ),
        ),
        "order of its symbols",
    ),
    "other symbols": (
        lambda made: _edited(
            made,
            "symbol",
            pa.DictionaryArray.from_arrays(
                pa.array([0, 1, 2, 0, 1, 2, 0, 1, 2], pa.int16()), pa.array(["A", "B", "C"], pa.utf8())
            ),
        ),
        "symbols are not those|replacement",
    ),
    "columns that disagree": (
        lambda made: _edited(made, "bid_low", pa.array([None, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])),
        "M1 bid columns disagree",
    ),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("edit", EDITS)
def test_batches_that_break_their_promise(tmp_path: Path, suffix: str, edit: str) -> None:
    change, match = EDITS[edit]
    made = [change(wire.batch(wire.schema(), 0, 3))]
    refused(write_batches(tmp_path / f"x.{suffix}", made, wire.schema()), match)


def test_columns_that_disagree_are_noticed_by_who_reads_them(tmp_path: Path) -> None:
    made = [EDITS["columns that disagree"][0](wire.batch(wire.schema(), 0, 3))]
    table = read_slices(wire.write_file(tmp_path / "x.arrow", wire.schema(), made))
    assert table[0].get("EURUSD", "ask") is not None
    with pytest.raises(DeserializationError, match="bid columns disagree"):
        table[0].get("EURUSD", "bid")


def read_everything(path: Path) -> int:
    """Read a file in all ways; return the number of its slices."""
    table = read_slices(path)
    found = sum(1 for one in table if [one.get(symbol, side) for symbol in one for side in ("bid", "ask")])
    assert found == len(table) == sum(batch.num_rows for batch in table.batches()) // len(table.symbols)
    return found


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_anywhere(tmp_path: Path, suffix: str, compression: str | None) -> None:
    schema = wire.schema(["A", "B"], price_types=["bid"])
    made = [wire.batch(schema, 0, 2, missing=0.3), wire.batch(schema, 2, 1)]
    path = tmp_path / f"x.{suffix}"
    options = {"compression": compression} if suffix == "arrow" else {}
    whole = write_batches(path, made, schema, **options).read_bytes()
    assert read_everything(path) == 3
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DeserializationError):
            read_everything(path)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_flipped_bits_are_an_error_or_a_value(tmp_path: Path, suffix: str, compression: str | None) -> None:
    schema = wire.schema(["A", "B"], price_types=["bid", "ask"])
    made = [wire.batch(schema, 0, 2, missing=0.3), wire.batch(schema, 2, 40)]
    path = tmp_path / f"x.{suffix}"
    options = {"compression": compression} if suffix == "arrow" else {}
    whole = write_batches(path, made, schema, **options).read_bytes()
    chosen = random.Random(f"{suffix} {compression}")
    outcomes = []
    for _ in range(700):
        broken = bytearray(whole)
        for _ in range(chosen.choice([1, 1, 1, 3])):
            broken[chosen.randrange(len(broken))] ^= 1 << chosen.randrange(8)
        path.write_bytes(broken)
        try:
            outcomes.append(read_everything(path))
        except OmegaSlicesError:
            outcomes.append(-1)
    assert set(outcomes) == {-1, 42}


def test_the_page_on_files_says_what_happens(
    data: Path, slices_file: Path, binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "parquet").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    assert slices_file == tmp_path / "slices.arrow"
    page = Path(__file__).parents[2] / "docs" / "files.md"
    # A fence would pass for a part of the answer above it.
    text = re.sub("^```.*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    outcome = doctest.DocTestRunner().run(examples)
    assert outcome.attempted > 15
    assert outcome.failed == 0
