"""The table.

Every way to a slice against a plain list, what files it takes, and what it says of those it does
not.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import threading
from bisect import bisect_right
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from helpers import stream_factory
from helpers.slice_files import BATCHES, FORMS, MINUTE, SCHEMA, STAMPS, START, write
from hypothesis import given
from hypothesis import strategies as st

from omega_slices import (
    DeserializationError,
    IteratorExhaustedError,
    MultiSymbolSlice,
    NoDataForTimestampError,
    RequestError,
    RunWarning,
    SliceTable,
    open_slices,
    read_slices,
)
from omega_slices._slices import file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("table")


@pytest.fixture(scope="module", params=FORMS)
def path(request: pytest.FixtureRequest, folder: Path) -> Path:
    """The same slices in every form."""
    return write(folder, FORMS[request.param](), request.param)


@pytest.fixture(scope="module")
def table(path: Path) -> SliceTable:
    return read_slices(path)


# --- What is not a file of ours ---


@pytest.fixture(scope="module")
def plain(table: SliceTable) -> list[MultiSymbolSlice]:
    return list(table)


def test_it_tells_what_it_holds(table: SliceTable, path: Path) -> None:
    assert len(table) == len(STAMPS)
    assert table.path == str(path)
    assert (table.symbols, table.timeframe, table.timeframes, table.indicators) == (
        stream_factory.SYMBOLS,
        "M1",
        (),
        (),
    )
    assert table.schema.equals(SCHEMA, check_metadata=True)
    report = table.report
    assert (report.slices, report.batches, report.complete) == (7, 3, True)
    assert (report.first_timestamp_ns, report.last_timestamp_ns) == (STAMPS[0], STAMPS[-1])
    assert repr(table) == (
        "<SliceTable M1 of 3 symbols, 7 slices, 2024-01-02T00:00:00+00:00 to 2024-01-02T00:11:00+00:00, "
        f"of {str(path)!r}>"
    )


def test_its_slices_are_those_of_the_batches(table: SliceTable) -> None:
    assert [one.timestamp_ns for one in table] == STAMPS
    for column in ("bid_close", "ask_volume", "valid_bid", "timestamp"):
        expected = [value for batch in BATCHES for value in batch.column(column).to_numpy(zero_copy_only=False)]
        assert [value for one in table for value in one.column(column)] == expected
    assert pa.Table.from_batches(table.batches()).equals(pa.Table.from_batches(BATCHES))


def test_it_walks_again_and_again(table: SliceTable, plain: list[MultiSymbolSlice]) -> None:
    assert list(table) == plain
    assert list(reversed(table)) == plain[::-1]
    assert plain[3] in table


positions = st.integers(-9, 9)


@given(start=st.none() | positions, stop=st.none() | positions, inner_start=positions, inner_stop=positions)
def test_views_are_those_of_a_list(
    table: SliceTable,
    plain: list[MultiSymbolSlice],
    start: int | None,
    stop: int | None,
    inner_start: int,
    inner_stop: int,
) -> None:
    view, expected = table[start:stop], plain[start:stop]
    assert list(view) == expected
    assert list(view[inner_start:inner_stop]) == expected[inner_start:inner_stop]
    assert [row for batch in view.batches() for row in batch.column("timestamp").cast(pa.int64()).to_pylist()] == [
        one.timestamp_ns for one in expected for _ in stream_factory.SYMBOLS
    ]
    for position in range(-len(expected) - 2, len(expected) + 2):
        if -len(expected) <= position < len(expected):
            assert view[position] == expected[position]
        else:
            with pytest.raises(IndexError, match=f"no position {position}"):
                view[position]


# Around every edge, and at none.
moments = st.builds(
    lambda minute, more: START + minute * MINUTE + more, st.integers(-2, 13), st.sampled_from([-1, 0, 1])
)


@given(start=positions, stop=positions, moment=moments, until=moments)
def test_timestamps_are_found_as_in_a_list(
    table: SliceTable, plain: list[MultiSymbolSlice], start: int, stop: int, moment: int, until: int
) -> None:
    view, expected = table[start:stop], plain[start:stop]
    stamps = [one.timestamp_ns for one in expected]
    if moment in stamps:
        assert view.at(moment) == expected[stamps.index(moment)]
    else:
        with pytest.raises(NoDataForTimestampError, match="has no slice at"):
            view.at(moment)
    if stamps and stamps[0] <= moment:
        assert view.asof(moment) == expected[bisect_right(stamps, moment) - 1]
    else:
        with pytest.raises(NoDataForTimestampError, match="at or before"):
            view.asof(moment)
    assert list(view.between(moment, until)) == [one for one in expected if moment <= one.timestamp_ns <= until]


@pytest.mark.parametrize("same", ["2024-01-02T00:03", datetime(2024, 1, 2, 0, 3, tzinfo=UTC), STAMPS[3]])
def test_a_time_may_be_written_in_any_way(table: SliceTable, same: Any) -> None:
    assert table.at(same).timestamp_ns == table.asof(same).timestamp_ns == STAMPS[3]
    assert [one.timestamp_ns for one in table.between(same, same)] == [STAMPS[3]]
    assert table.at(date(2024, 1, 2)) == table[0]


@pytest.mark.parametrize("wrong", ["yesterday", 1.5, None, True, 2**63])
def test_what_is_no_time_is_refused(table: SliceTable, wrong: Any) -> None:
    for find in (table.at, table.asof, lambda one: table.between(one, 0), lambda one: table.between(0, one)):
        with pytest.raises(RequestError, match=r"expected a point in time|is out of range"):
            find(wrong)


def test_the_neighbours_are_named(table: SliceTable) -> None:
    with pytest.raises(NoDataForTimestampError) as caught:
        table.at("2024-01-02T00:07")
    assert "before is at 2024-01-02T00:04:00.000000000Z" in caught.value.message
    assert "after is at 2024-01-02T00:10:00.000000000Z" in caught.value.message
    assert caught.value.code == 3003
    with pytest.raises(NoDataForTimestampError, match=r"Z: the one after is at 2024-01-02T00:00:00\.0{9}Z\n"):
        table.at("2024-01-01")
    with pytest.raises(NoDataForTimestampError, match=r"Z: the one before is at 2024-01-02T00:11:00\.0{9}Z\n"):
        table.at("2024-01-03")
    with pytest.raises(NoDataForTimestampError, match="it is empty"):
        table[:0].at("2024-01-02")
    with pytest.raises(NoDataForTimestampError, match="the first one is at 2024-01-02T00:02"):
        table[2:].asof("2024-01-02T00:01")


def test_positions_and_steps_that_are_none(table: SliceTable) -> None:
    with pytest.raises(IteratorExhaustedError, match="it has 7 slices") as caught:
        table[7]
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), IndexError)
    for step in (2, -1):
        with pytest.raises(ValueError, match="a step of 1") as refused:
            table[::step]
        assert isinstance(refused.value, RequestError)
    with pytest.raises(TypeError):
        table["EURUSD"]  # type: ignore[call-overload]  # is what is tested


def test_an_empty_table(folder: Path) -> None:
    for name, data in (
        ("empty.arrow", stream_factory.encode_file(SCHEMA, [])),
        ("empty.arrows", b"".join(stream_factory.encode(SCHEMA, []))),
    ):
        table = read_slices(write(folder, data, name))
        assert (len(table), list(table), list(table.batches()), len(table[1:5])) == (0, [], [], 0)
        assert pa.table(table).num_rows == 0
        assert len(table.between(0, START)) == 0
        assert (table.report.first_timestamp_ns, table.report.last_timestamp_ns) == (None, None)
        for find in (table.at, table.asof):
            with pytest.raises(NoDataForTimestampError, match="it is empty"):
                find(START)
        assert "0 slices, of" in repr(table)


def test_arrow_takes_it_as_often_as_it_likes(table: SliceTable) -> None:
    view = table[2:6]
    expected = pa.Table.from_batches(BATCHES).slice(6, 12)
    assert pa.table(view).equals(expected)
    assert pa.table(view).equals(expected)
    assert view.to_polars()["bid_close"].to_list() == expected["bid_close"].to_pylist()
    assert view.to_pandas()["symbol"].tolist() == list(stream_factory.SYMBOLS) * 4


def test_duckdb_asks_again_and_on_its_own_connection(table: SliceTable) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        relation = table.to_duckdb(connection)
        for _ in range(2):
            assert relation.aggregate("count(*) AS rows, max(bid_close) AS top").fetchall() == [
                (21, max(value for batch in BATCHES for value in batch.column("bid_close").to_pylist()))
            ]


def test_slices_outlive_the_table(path: Path) -> None:
    table = read_slices(path)
    kept, columns, candles = list(table), [one.column("bid_close") for one in table], [one["EURUSD"] for one in table]
    del table
    assert [one.timestamp_ns for one in kept] == STAMPS
    assert [one.column("bid_close").tolist() for one in kept] == [column.tolist() for column in columns]
    assert [one["EURUSD"] for one in kept] == candles


def test_it_shows_the_file_without_copying_it(folder: Path) -> None:
    table = read_slices(write(folder, stream_factory.encode_file(SCHEMA, BATCHES), "mapped.arrow"))
    assert isinstance(table._file, file.SliceFile)
    before = pa.total_allocated_bytes()
    for one in table:
        assert one.column("bid_close").ctypes.data in table._file._mapped
    for batch in table.batches():
        assert batch.column("bid_close").buffers()[1].address in table._file._mapped
    assert pa.total_allocated_bytes() == before


def test_few_batches_stay_of_a_compressed_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_DECOMPRESSED_MAX", 2)
    batches = [stream_factory.batch(SCHEMA, first, 4) for first in range(0, 40, 4)]
    table = read_slices(write(folder, stream_factory.encode_file(SCHEMA, batches, compression="lz4"), "many.lz4"))
    assert isinstance(table._file, file.SliceFile)
    read: list[int] = []
    monkeypatch.setattr(table._file, "_form", Counting(table._file._form, read))
    assert [one.timestamp_ns for one in table] == [START + minute * MINUTE for minute in range(40)]
    assert read == list(range(10))
    # The two last ones are there; the one used longer ago goes first.
    table[32], table[36], table[0]
    table[36], table[32]
    assert read[10:] == [0, 8]


def test_few_views_stay_where_there_are_very_many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_VIEWS_MAX", 3)
    batches = [stream_factory.batch(SCHEMA, first, 1) for first in range(10)]
    table = read_slices(write(folder, stream_factory.encode_file(SCHEMA, batches), "views.arrow"))
    assert [one.timestamp_ns for one in table] == [START + minute * MINUTE for minute in range(10)]
    assert [view is not None for view in table._views] == [False] * 7 + [True] * 3
    assert table[0].timestamp_ns == START


class Counting:
    """The form of a file that tells which batches are read."""

    def __init__(self, form: Any, read: list[int]) -> None:
        self._form = form
        self._read = read

    def read(self, number: int) -> pa.RecordBatch:
        self._read.append(number)
        return self._form.read(number)


def test_what_is_computed_from_a_file_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mids, closes with gaps and unpacked bitmaps are forgotten and come back the same."""
    monkeypatch.setattr(file, "DERIVED_BYTES_MAX", 200)
    of = stream_factory.schema(fills=True, higher_timeframes=["H1"], indicators=["rsi"])
    batches = [stream_factory.batch(of, first, 4, missing=0.3, carried=0.5) for first in range(0, 40, 4)]
    table = read_slices(write(folder, stream_factory.encode_file(of, batches), "derived.arrow"))

    def seen(one: MultiSymbolSlice) -> list[object]:
        prices = [one.get_price(symbol, side) for symbol in one for side in ("bid", "ask", "trade", "mid")]
        columns = [repr(one.column(name)) for name in ("valid_bid", "bid_timestamp", "H1_ask_timestamp", "ind_rsi")]
        return [prices, columns, one.values(), [one.get_candle(symbol, "H1", "ask") for symbol in one]]

    expected = [repr(seen(one)) for batch in batches for one in read_slices_of(of, batch, folder)]
    for _ in range(2):
        assert [repr(seen(one)) for one in table] == expected
    held = [len(view.closes) + len(view.columns) + len(view.sides) for view in table._views if view is not None]
    assert len(held) == 10
    assert held.count(0) >= 8


def read_slices_of(of: pa.Schema, batch: pa.RecordBatch, folder: Path) -> SliceTable:
    return read_slices(write(folder, stream_factory.encode_file(of, [batch]), "one.arrow"))


def test_warnings_and_series_come_from_the_footer(data: Path, binary: Path, tmp_path: Path) -> None:
    stream_factory.write_series(data, "EURUSD", "BID", [(1, 1.5), (0, 1.25)])
    with open_slices(data, symbols=["EURUSD"]) as slices:
        expected = list(slices)
    path = tmp_path / "warned.arrow"
    command = [str(binary), "sync", f"--data={data}", "--symbols=EURUSD", "--timeframe=M1", f"--output={path}"]
    assert os.spawnv(os.P_WAIT, command[0], [*command, "--error-format=json", "--progress=never"]) == 0
    table = read_slices(path)
    assert list(table) == expected
    assert table.report == slices.report
    assert [type(warning) for warning in table.report.warnings] == [RunWarning]


def test_a_pickle_opens_the_file_anew(table: SliceTable, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    kept = pickle.dumps(read_slices(path.name)[2:6])
    monkeypatch.chdir("/")
    assert list(pickle.loads(kept)) == list(table[2:6])


def test_a_pickle_of_a_file_that_has_changed(tmp_path: Path) -> None:
    path = write(tmp_path, stream_factory.encode_file(SCHEMA, BATCHES))
    kept = pickle.dumps(read_slices(path))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(kept)
    write(tmp_path, stream_factory.encode_file(SCHEMA, BATCHES[:2]))
    with pytest.raises(DeserializationError, match="holds other slices"):
        pickle.loads(kept)


def _closes(table: SliceTable) -> list[float]:
    return [float(value) for one in table for value in one.column("bid_close")]


def test_a_spawned_process_takes_it(table: SliceTable) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_closes, (table[1:6],)) == _closes(table[1:6])


def test_a_forked_process_goes_on_with_it(path: Path) -> None:
    table = read_slices(path)
    table[0]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Nothing of the test runner may run on in the child.
        try:
            os.write(writing, pickle.dumps((_closes(table), table.at(STAMPS[5]).timestamp_ns)))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as told:
        seen = told.read()
    assert os.waitpid(child, 0)[1] == 0
    assert pickle.loads(seen) == (_closes(table), STAMPS[5])


def test_many_threads_find_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_DECOMPRESSED_MAX", 2)
    monkeypatch.setattr(file, "DERIVED_BYTES_MAX", 500)
    batches = [stream_factory.batch(SCHEMA, first, 8, missing=0.2) for first in range(0, 160, 8)]
    closes = [value for batch in batches for value in batch.column("bid_close").to_pylist()]
    for compression in (None, "lz4"):
        table = read_slices(
            write(folder, stream_factory.encode_file(SCHEMA, batches, compression=compression), "threads.arrow")
        )
        wrong: list[object] = []
        together = threading.Barrier(8)

        def work(seed: int, table: SliceTable = table, wrong: list[object] = wrong, wait: Any = together.wait) -> None:
            chosen = random.Random(seed)
            wait()
            try:
                for _ in range(400):
                    position = chosen.randrange(160)
                    one = table.at(START + position * MINUTE)
                    prices = [one.get_price(symbol, "bid") for symbol in one]
                    if prices != closes[position * 3 : position * 3 + 3]:
                        wrong.append((position, prices))
            except Exception as error:  # noqa: BLE001  # whatever a thread meets is shown
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
