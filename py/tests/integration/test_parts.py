"""Requests precomputed in parts: the same slices as the whole, made once, and what can go wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.candle_files import COLUMNS, DAY_NS, START_NS, stamps_of, write_candles
from helpers.whole_runs import files_of, list_of, open_whole

from omega_slices import (
    DeserializationError,
    Request,
    RequestError,
    SystemFailureError,
    assert_slices_equal,
    precompute,
    read_slices,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two symbols, five days of ten minutes each, and the hours above them; a gap of a day."""
    root = tmp_path / "root"
    for place, symbol in enumerate(("A", "B")):
        for side in ("BID", "ASK"):
            stamps = START_NS + np.arange(0, 5 * DAY_NS, 600 * 10**9)
            kept = (stamps // DAY_NS != START_NS // DAY_NS + 2) & (np.arange(len(stamps)) % (7 + place) != 3)
            write(root / symbol / f"{symbol}_M10_{side}.parquet", stamps[kept])
            write(root / symbol / f"{symbol}_H1_{side}.parquet", stamps[::6])
    return root


def write(path: Path, stamps: np.ndarray[Any, Any], shift: float = 0.0) -> None:
    values = stamps % 1_000_003 / 7.0 + shift
    write_candles(path, stamps, {name: values + place for place, name in enumerate(COLUMNS)})


def request_of(root: Path, **options: Any) -> Request:
    plain: dict[str, Any] = {"symbols": ("A", "B"), "timeframe": "M10", "timeline": "union"}
    return Request(data=str(root), **plain | options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fill": "forward", "max_age": "2h", "with_timeframe": ("H1",), "known_at": "close"},
        {"fields": ("close",), "timeline": "quorum:2"},
        {"start": START_NS + 5, "before": START_NS + 4 * DAY_NS - 7},
    ],
)
@pytest.mark.parametrize("by", ["day", "week", 3])
def test_parts_joined_are_the_whole(root: Path, tmp_path: Path, options: dict[str, Any], by: str | int) -> None:
    request = request_of(root, **options)
    table = precompute(request, tmp_path / "parts", by=by)
    with open_whole(request) as whole:
        assert_slices_equal(read_slices(tmp_path / "parts"), whole)
    with open_whole(request) as whole:
        assert_slices_equal(table, whole)
    names = [name for name in table.schema.names if name != "symbol"]
    with open_whole(request) as whole:
        matrices = whole.to_numpy(names)
    assert isinstance(matrices, dict)
    for name, matrix in matrices.items():
        np.testing.assert_array_equal(table.to_numpy(name), matrix)


def test_rows_of_other_series_in_the_first_and_last_candle_count(tmp_path: Path) -> None:
    """Where timestamps are floored: the hour that ends with the last candle, and an indicator."""
    minute, hour = 60 * 10**9, START_NS + 9 * 3_600 * 10**9
    write(tmp_path / "A" / "A_M5_BID.parquet", hour + minute * np.array([52, 56]))
    write(tmp_path / "A" / "A_H1_BID.parquet", hour + minute * np.array([0, 57]))
    write_candles(tmp_path / "A" / "A_M5_IND.parquet", hour + minute * np.array([50, 58]), {"rsi": [0.25, 0.5]})
    request = Request(
        data=str(tmp_path),
        symbols=("A",),
        timeframe="M5",
        price_types=("bid",),
        normalize=True,
        with_timeframe=("H1",),
        known_at="close",
        indicators=("rsi",),
    )
    table = precompute(request, tmp_path / "parts", by=1)
    with open_whole(request) as whole:
        assert_slices_equal(table, whole)
    assert table.to_numpy("ind_rsi").tolist() == [[0.25], [0.5]]


def test_the_list_says_what_there_is(root: Path, tmp_path: Path) -> None:
    request = request_of(root)
    table = precompute(request, tmp_path, by="day")
    told = list_of(tmp_path)
    assert list(told) == ["schema_version", "request", "parts", "checksum"]
    assert told["request"] == json.loads(request.to_json())
    with open_whole(request) as whole:
        days = [one.timestamp_ns // DAY_NS - START_NS // DAY_NS for one in whole]
    assert [part["slices"] for part in told["parts"]] == [days.count(day) for day in range(5)]
    assert days.count(2) == 0
    assert [part["start"][8:10] for part in told["parts"]] == ["02", "03", "04", "05", "06"]
    assert sum(part["slices"] for part in told["parts"]) == len(table) == len(days)
    for part, before in zip(told["parts"], [*told["parts"][1:], None], strict=True):
        file = tmp_path / part["file"]
        assert file.stat().st_size == part["bytes"]
        assert part["key"] == file.stem
        assert before is None or before["start"] == part["before"]
    assert sorted(os.listdir(tmp_path)) == sorted(["_slices.json", "root", *(part["file"] for part in told["parts"])])


def test_begun_again_it_makes_what_is_missing_or_changed(root: Path, tmp_path: Path) -> None:
    request, parts = request_of(root), tmp_path / "parts"
    precompute(request, parts, by="day")
    first = files_of(parts)
    # Open files, so that none of their numbers is given to another.
    kept = [path.open("rb") for path in first]
    first[1].unlink()
    with pytest.raises(FileNotFoundError):
        read_slices(parts)
    precompute(request, parts, by="day")
    pairs = [(path.stat(), os.fstat(file.fileno())) for path, file in zip(first, kept, strict=True)]
    assert [os.path.samestat(*pair) for pair in pairs] == [True, False, True, True, True]
    for file in kept:
        file.close()
    path = root / "A" / "A_M10_BID.parquet"
    write(path, stamps_of(path), shift=0.5)
    table = precompute(request, parts, by="day")
    with open_whole(request) as whole:
        assert_slices_equal(table, whole)
    # Nothing of the former parts is left.
    assert len(list(parts.iterdir())) == 6


def test_another_request_needs_leave(root: Path, tmp_path: Path) -> None:
    precompute(request_of(root), tmp_path / "parts", by="week")
    other = request_of(root, fields=("close",))
    with pytest.raises(RequestError, match="parts of another request"):
        precompute(other, tmp_path / "parts", by="week")
    precompute(other, tmp_path / "parts", by="week", overwrite=True)
    assert read_slices(tmp_path / "parts").fields == ("close",)


def test_any_executor_makes_the_same(root: Path, tmp_path: Path) -> None:
    request = request_of(root)
    with ThreadPoolExecutor(3) as threads, ProcessPoolExecutor(2) as processes:
        executors = {"own": None, "threads": threads, "processes": processes}
        tables = [precompute(request, tmp_path / name, by="day", executor=one) for name, one in executors.items()]
    for table in tables[1:]:
        assert_slices_equal(table, tables[0])


def test_two_runs_at_once_do_no_harm(root: Path, tmp_path: Path) -> None:
    request, parts = request_of(root), tmp_path / "parts"
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(precompute, request, parts, "day", Now()) for _ in range(2)]
        one, other = (run.result() for run in runs)
    assert_slices_equal(one, other)
    assert len(list(parts.iterdir())) == 6


class Now(Executor):
    """Does the work at once, in the thread that asks for it."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the future
            future.set_exception(error)
        return future


class Dying(Now):
    """Kills a process of the pool that does the work, once."""

    def map(self, function: Any, *iterables: Any, **_: Any) -> Iterator[Any]:  # type: ignore[override]  # as it is called
        with ProcessPoolExecutor(1) as pool:
            pool.submit(os.getpid).result()
            (process,) = multiprocessing.active_children()[-1:]
            os.kill(process.pid or 0, signal.SIGKILL)
            yield from pool.map(function, *iterables)


def test_a_worker_that_dies_leaves_what_is_made(root: Path, tmp_path: Path) -> None:
    request, parts = request_of(root), tmp_path / "parts"
    with pytest.raises(Exception, match="terminated abruptly"):
        precompute(request, parts, by="day", executor=Dying())
    assert not (parts / "_slices.json").exists()
    with open_whole(request) as whole:
        assert_slices_equal(precompute(request, parts, by="day"), whole)


def test_a_part_that_fails_is_raised(root: Path, tmp_path: Path) -> None:
    request = request_of(root, duplicates="error", unsorted="error")
    path = root / "B" / "B_M10_ASK.parquet"
    stamps = stamps_of(path)
    stamps[-1] = stamps[-2]
    write(path, stamps)
    with pytest.raises(Exception, match="duplicate timestamp"):
        precompute(request, tmp_path / "parts", by="day")
    assert not (tmp_path / "parts" / "_slices.json").exists()


def test_a_list_of_files_is_a_table_too(root: Path, tmp_path: Path) -> None:
    request = request_of(root)
    precompute(request, tmp_path / "parts", by="day")
    files = files_of(tmp_path / "parts")
    table = read_slices(files)
    assert_slices_equal(table, read_slices(tmp_path / "parts"))
    with pytest.raises(DeserializationError, match="does not begin after"):
        read_slices(files[::-1])
    with pytest.raises(RequestError, match="list of files is empty"):
        read_slices([])
    other = tmp_path / "other"
    precompute(request_of(root, fields=("close",)), other, by="day")
    with pytest.raises(DeserializationError, match="other symbols or columns"):
        read_slices([files[0], next(path for path in other.iterdir() if path.suffix == ".arrow")])


def test_a_table_over_parts_is_a_table(root: Path, tmp_path: Path) -> None:
    table = precompute(request_of(root), tmp_path / "parts", by="day")
    stamps = [one.timestamp_ns for one in table]
    assert stamps == sorted(set(stamps))
    for position in (0, 140, 141, 281, 282, 560, -1):
        assert table[position].timestamp_ns == stamps[position]
        assert table.at(stamps[position]) == table[position]
        assert table.asof(stamps[position] + 1) == table[position]
    assert [one.timestamp_ns for one in table[140:300]] == stamps[140:300]
    copied = pickle.loads(pickle.dumps(table[140:300]))
    assert_slices_equal(copied, table[140:300])
    assert len(pickle.dumps(table)) < 2_000
    cursor = table.cursor()
    assert cursor.set_index(200).timestamp_ns == stamps[200]
    assert sum(batch.num_rows for batch in table.batches()) == 2 * len(stamps)


def test_a_pickle_refuses_a_folder_that_was_made_anew(root: Path, tmp_path: Path) -> None:
    """Also where only values differ: the checksum of the list tells."""
    request, parts = request_of(root), tmp_path / "parts"
    table = precompute(request, parts, by="day")
    pickled = pickle.dumps(table)
    assert_slices_equal(pickle.loads(pickled), table)
    path = root / "A" / "A_M10_BID.parquet"
    write(path, stamps_of(path), shift=0.5)
    precompute(request, parts, by="day")
    with pytest.raises(DeserializationError, match="holds other slices than when"):
        pickle.loads(pickled)


def test_more_parts_than_stay_open(root: Path, tmp_path: Path) -> None:
    request = request_of(root)
    table = precompute(request, tmp_path / "parts", by=100)
    assert len(files_of(tmp_path / "parts")) == 100
    with open_whole(request) as whole:
        expected = [(one.timestamp_ns, one.column("bid_close").tobytes()) for one in whole]
    places = [*range(len(expected)), *range(0, len(expected), 7), *range(len(expected) - 1, -1, -11)]
    for place in places:
        one = table[place]
        assert (one.timestamp_ns, one.column("bid_close").tobytes()) == expected[place]
    # What was taken from a file outlives its closing.
    kept = [*table]
    assert [(one.timestamp_ns, one.column("bid_close").tobytes()) for one in kept] == expected


def test_a_part_that_is_exchanged_later_is_refused(root: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    precompute(request_of(root), parts, by="day")
    told = list_of(parts)["parts"]
    assert told[3]["bytes"] == told[4]["bytes"]
    table = read_slices(parts)
    (parts / told[3]["file"]).unlink()
    (parts / told[4]["file"]).rename(parts / told[3]["file"])
    with pytest.raises(DeserializationError, match="another file than"):
        table[300]
    with pytest.raises(FileNotFoundError):
        table[-1]
    assert table[0].timestamp_ns == told[0]["first_timestamp_ns"]


def test_the_command_makes_the_same_parts(root: Path, tmp_path: Path, binary: Path) -> None:
    parts = tmp_path / "parts"
    request = request_of(root)
    arguments = ["--data", str(root), "--symbols=A,B", "--timeframe=M10", "--timeline=union", "--by=day", "--jobs=2"]
    subprocess.run([binary, "precompute", *arguments, "--into", parts], check=True, capture_output=True)
    listed = list_of(parts)
    files = [*parts.glob("*.arrow")]
    with open_whole(request) as whole:
        assert_slices_equal(read_slices(parts), whole)
    # It goes on where the command ended: with nothing to make.
    precompute(request, parts, by="day")
    again = list_of(parts)
    assert again["parts"] == listed["parts"]
    assert again["request"] == listed["request"]
    assert {*files} == {*parts.glob("*.arrow")}
    # Both tell the same of a request for all symbols.
    everything = request_of(root, symbols=None)
    arguments[2] = "--all-symbols"
    subprocess.run([binary, "precompute", *arguments, "--into", tmp_path / "all"], check=True, capture_output=True)
    precompute(everything, tmp_path / "all", by="day")


def test_a_folder_that_cannot_be_written_says_so(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemFailureError):
        precompute(request_of(root), tmp_path / "file" / "parts", by="day")
    shutil.rmtree(root)
