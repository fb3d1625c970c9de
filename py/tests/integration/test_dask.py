"""Slices as dask dataframes, on a cluster of processes on this machine."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dask.dataframe.dask_expr.io import FromMapProjectable
from distributed import Client, LocalCluster
from helpers.candle_files import COLUMNS, DAY_NS, START_NS, write_candles
from helpers.whole_runs import open_whole

from omega_slices import (
    DeserializationError,
    DuplicateTimestampError,
    Request,
    RequestError,
    SymbolNotFoundError,
    assert_slices_equal,
    precompute,
)
from omega_slices.dask import read_slices


@contextmanager
def two_workers() -> Iterator[Client]:
    """Run two worker processes of one thread each."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster that the tests share."""
    with two_workers() as client:
        yield client


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two symbols, four days of half hours with gaps; nothing on the second day."""
    root = tmp_path_factory.mktemp("root")
    for place, symbol in enumerate(("A", "B")):
        for side in ("BID", "ASK"):
            stamps = START_NS + np.arange(0, 4 * DAY_NS, 1_800 * 10**9)
            stamps = stamps[(stamps // DAY_NS != START_NS // DAY_NS + 1) & (np.arange(len(stamps)) % (5 + place) != 2)]
            columns = dict.fromkeys(COLUMNS, stamps % 1_000_003 / 7.0 + place + 1)
            write_candles(root / symbol / f"{symbol}_M30_{side}.parquet", stamps, columns)
    return root


@pytest.fixture
def request_(root: Path) -> Request:
    return Request(data=str(root), symbols=("A", "B"), timeframe="M30", timeline="union")


def whole_frame(request: Request) -> Any:
    with open_whole(request) as slices:
        return slices.to_pandas().set_index("timestamp")


@pytest.mark.parametrize("form", ["folder", "request"])
def test_the_frame_is_that_of_the_whole(form: str, request_: Request, tmp_path: Path, client: Client) -> None:
    if form == "folder":
        precompute(request_, tmp_path / "parts", by="day")
        frame = read_slices(tmp_path / "parts")
        # Partitions without slices are left out.
        assert frame.npartitions == 3
    else:
        frame = read_slices(request_, by="day")
        assert frame.npartitions == 4
    expected = whole_frame(request_)
    assert frame.known_divisions
    found = frame.compute()
    found["symbol"] = found["symbol"].astype(expected["symbol"].dtype)
    pd.testing.assert_frame_equal(found, expected)
    assert [str(one) for one in frame.dtypes.drop("symbol")] == [str(one) for one in expected.dtypes.drop("symbol")]
    assert frame["symbol"].cat.known
    for name in ("bid_close", "ask_volume"):
        assert frame[name].sum().compute() == pytest.approx(expected[name].sum())
    by_symbol = frame.groupby("symbol", observed=True)["bid_close"].count().compute()
    assert by_symbol.to_dict() == expected.groupby("symbol", observed=True)["bid_close"].count().to_dict()
    # Divisions are right: a range of the index is the same range.
    chosen = frame.loc["2024-01-04":"2024-01-05"].compute()
    assert len(chosen) == len(expected.loc["2024-01-04":"2024-01-05"]) > 0
    assert client.status == "running"


@pytest.mark.parametrize("form", ["folder", "request"])
def test_columns_are_chosen_where_they_are_read(form: str, request_: Request, tmp_path: Path) -> None:
    source: Any = request_
    if form == "folder":
        precompute(request_, tmp_path / "parts", by="week")
        source = tmp_path / "parts"
    expected = whole_frame(request_)
    names = ["ask_low", "bid_close"]
    with dask.config.set(scheduler="sync"):
        chosen = read_slices(source, columns=names)
        assert [*chosen.columns] == names
        pd.testing.assert_frame_equal(chosen.compute(), expected[names])
        # What is asked for later is asked for there too.
        graph = read_slices(source)["bid_close"].optimize(fuse=False).expr
        assert [one.operand("columns") for one in graph.find_operations(FromMapProjectable)] == [["bid_close"]]
        pd.testing.assert_series_equal(read_slices(source)["bid_close"].compute(), expected["bid_close"])
    with pytest.raises(RequestError, match="invalid columns"):
        read_slices(source, columns=["bid_closes"])
    with pytest.raises(RequestError, match="invalid columns"):
        read_slices(source, columns="bid_close")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Candles without a close, and two that differ in it alone; hours above them."""
    root = tmp_path / "broken"
    for timeframe, step in (("M30", 1_800), ("H1", 3_600)):
        stamps = START_NS + np.arange(0, 2 * DAY_NS, step * 10**9)
        close = np.where(np.arange(len(stamps)) % 3 == 1, np.nan, 2.0)
        columns = dict.fromkeys(COLUMNS, np.ones(len(stamps))) | {"Close": close}
        write_candles(root / "A" / f"A_{timeframe}_BID.parquet", stamps, columns)
    return root


def test_a_flag_is_that_of_the_whole_whatever_is_chosen(broken: Path) -> None:
    """It looks at all fields, so these are read for it."""
    request = Request(data=str(broken), symbols=("A",), timeframe="M30", price_types=("bid",), with_timeframe=("H1",))
    expected = whole_frame(request)
    assert 0 < expected["valid_bid"].sum() < len(expected)
    frame = read_slices(request, by="day")
    with dask.config.set(scheduler="sync"):
        for name in ("valid_bid", "H1_valid_bid"):
            pd.testing.assert_series_equal(frame[name].compute(), expected[name])
            pd.testing.assert_frame_equal(read_slices(request, columns=[name]).compute(), expected[[name]])
        found = frame[frame["valid_bid"]]["bid_open"].count().compute()
        assert found == expected["valid_bid"].sum()


@pytest.mark.parametrize("rule", ["identical", "error"])
def test_a_conflict_is_one_whatever_is_chosen(broken: Path, rule: Any) -> None:
    path = broken / "A" / "A_M30_BID.parquet"
    table = pq.read_table(path)
    second = table.slice(5, 1).set_column(table.column_names.index("Close"), "Close", pa.array([9.0]))
    pq.write_table(pa.concat_tables([table.slice(0, 6), second, table.slice(6)]), path)
    request = Request(
        data=str(broken), symbols=("A",), timeframe="M30", price_types=("bid",), duplicates=rule, start=START_NS
    )
    frame = read_slices(msgspec.structs.replace(request, duplicates=None), by="day")
    assert len(frame["bid_open"].compute(scheduler="sync")) == len(table)
    frame = read_slices(request, by="day", columns=["bid_open"])
    with pytest.raises(DuplicateTimestampError):
        frame.compute(scheduler="sync")


def test_an_empty_partition_has_the_categories_of_all(request_: Request, tmp_path: Path) -> None:
    parts = read_slices(request_, by="day")
    none = msgspec.structs.replace(request_, start=0, before=5)
    precompute(none, tmp_path / "parts", by="day")
    for frame in (parts.get_partition(1), read_slices(none), read_slices(tmp_path / "parts")):
        found = frame.compute(scheduler="sync")
        assert len(found) == 0
        assert found["symbol"].dtype == parts._meta["symbol"].dtype
        assert [*found["symbol"].cat.categories] == ["A", "B"]


def test_the_smallest_timestamp_is_no_division(tmp_path: Path) -> None:
    """In pandas it is NaT."""
    write_candles(tmp_path / "A" / "A_M30_BID.parquet", [-(2**63), 0], {name: [1.0, 2.0] for name in COLUMNS})
    request = Request(data=str(tmp_path), symbols=("A",), timeframe="M30", price_types=("bid",))
    precompute(request, tmp_path / "parts", by=3)
    for frame in (read_slices(request, by=3), read_slices(tmp_path / "parts")):
        assert not frame.known_divisions
        assert len(frame.compute(scheduler="sync")) == 2


def test_a_cluster_makes_the_parts(request_: Request, tmp_path: Path, client: Client) -> None:
    table = precompute(request_, tmp_path / "parts", by="day", executor=client.get_executor())
    alone = precompute(request_, tmp_path / "alone", by="day")
    assert_slices_equal(table, alone)
    # Small enough to go to every worker.
    assert len(pickle.dumps(table)) < 2_000
    counts = client.map(len, [table, table[5:]], pure=False)
    assert client.gather(counts) == [len(alone), len(alone) - 5]


def test_a_worker_that_dies_costs_its_part_alone(request_: Request, tmp_path: Path) -> None:
    with two_workers() as client:
        client.submit(_die_once, str(tmp_path / "died"), pure=False).result()
        assert (tmp_path / "died").exists()
        precompute(request_, tmp_path / "parts", by="day", executor=client.get_executor(retries=1))
        assert len(read_slices(tmp_path / "parts")) == len(whole_frame(request_))


def _die_once(mark: str) -> bool:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return True
    os.kill(os.getpid(), signal.SIGKILL)
    return False


def test_errors_keep_their_class_and_code(request_: Request, tmp_path: Path, client: Client) -> None:
    precompute(request_, tmp_path / "parts", by="day")
    frame = read_slices(tmp_path / "parts")
    for path in (tmp_path / "parts").glob("*.arrow"):
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DeserializationError) as caught:
        frame["bid_close"].sum().compute()
    assert caught.value.code == 3006
    with pytest.raises(RequestError, match="by= is for a request"):
        read_slices(tmp_path / "parts", by="day")
    with pytest.raises(DeserializationError, match=r"folder without _slices\.json"):
        read_slices(tmp_path)
    with pytest.raises(RequestError, match="invalid source"):
        read_slices(7)  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(SymbolNotFoundError):
        read_slices(Request(data=request_.data, symbols=("C",), timeframe="M30"))
    assert client.status == "running"
