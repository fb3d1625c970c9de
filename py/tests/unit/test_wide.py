"""Matrices of stream and table: against the slices one by one, in every library that takes them."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import stream_factory
from helpers.slice_files import BATCHES, FORMS, SCHEMA, STAMPS, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega_slices import (
    DeserializationError,
    IteratorExhaustedError,
    Request,
    RequestError,
    RunReport,
    SchemaMismatchError,
    SliceStream,
    SliceTable,
    read_slices,
)
from omega_slices._extras import library
from omega_slices._monitor import StreamMonitor

FULL: dict[str, Any] = {"fills": True, "higher_timeframes": ("H1",), "indicators": ("rsi",)}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "closes": {"candle_fields": ("close",), "price_types": ("bid",)},
    "full": FULL,
}


class Held:
    """A source of batches that are there already."""

    def __init__(self, of: pa.Schema, batches: Sequence[pa.RecordBatch]) -> None:
        self.schema = of
        self.symbols: tuple[str, ...] = stream_factory.SYMBOLS
        self._left = list(batches)

    def read(self) -> pa.RecordBatch | None:
        return self._left.pop(0) if self._left else None

    def take_warnings(self) -> tuple[()]:
        return ()

    def report(self) -> RunReport | None:
        return None

    def close(self) -> None:
        self._left.clear()


def stream_of(batches: Sequence[pa.RecordBatch], of: pa.Schema = SCHEMA, **options: Any) -> SliceStream:
    request = Request(
        data="held",
        symbols=stream_factory.SYMBOLS,
        price_types=options.get("price_types", ("bid", "ask")),
        fields=options.get("candle_fields", stream_factory.FIELDS),
        fill="forward" if options.get("fills") else "none",
        max_age="9m" if options.get("fills") else None,
        with_timeframe=options.get("higher_timeframes", ()),
        indicators=options.get("indicators", ()),
    )
    return SliceStream(Held(of, batches), request, StreamMonitor(request, "rust", "", None, None))


@pytest.fixture(scope="module", params=FORMS)
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SliceTable:
    folder = tmp_path_factory.mktemp("wide")
    return read_slices(write(folder, FORMS[request.param](), request.param))


@pytest.fixture(params=["table", "stream"])
def slices(request: pytest.FixtureRequest, tmp_path: Path) -> SliceTable | SliceStream:
    """The same slices, as a table and as a stream."""
    if request.param == "stream":
        return stream_of(BATCHES)
    return read_slices(write(tmp_path, FORMS["file"]()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.integers(1, 5), max_size=4),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
    st.integers(0, 3),
)
def test_matrices_are_the_slices_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, kind: str, counts: list[int], cut: tuple[int, int], taken: int
) -> None:
    options = KINDS[kind]
    of = stream_factory.schema(**options)
    firsts = np.cumsum([0, *counts])[:-1].tolist()
    batches = [
        stream_factory.batch(of, first, count, missing=0.3, nan=0.1, carried=0.3)
        for first, count in zip(firsts, counts, strict=True)
    ]
    path = write(tmp_path_factory.mktemp("w"), stream_factory.encode_file(of, batches))
    table = read_slices(path)[cut[0] : cut[1]]
    stream = stream_of(batches, of, **options)
    for _, _ in zip(range(taken), stream, strict=False):
        pass
    names = [name for name in of.names if name != "symbol"]
    for one, left in ((table, list(table)), (stream, list(read_slices(path))[taken:])):
        expected = {name: [s.column(name) for s in left] for name in names}
        if isinstance(one, SliceStream) and not left and counts:
            with pytest.raises(IteratorExhaustedError, match="walked through"):
                one.to_numpy(*names)
            continue
        found = one.to_numpy(*names)
        assert list(found) == names
        for name, matrix in found.items():
            assert matrix.shape == (len(left), len(one.symbols))
            assert not matrix.flags.writeable
            assert matrix.dtype == ("bool" if "valid_" in name else "M8[ns]" if "timestamp" in name else "f8")
            if left:
                np.testing.assert_array_equal(matrix, np.stack(expected[name]))
    np.testing.assert_array_equal(table.timestamps(), np.array([s.timestamp_ns for s in table], "M8[ns]"))


def test_a_matrix_of_one_batch_is_a_view(tmp_path: Path) -> None:
    table = read_slices(write(tmp_path, FORMS["file"]()))
    for part in (table[:3], table[1:2], table[3:5]):
        matrix = part.to_numpy("bid_close")
        assert np.shares_memory(matrix, part[0].column("bid_close"))
        assert not matrix.flags.writeable
    assert not np.shares_memory(table[2:4].to_numpy("bid_close"), table[2].column("bid_close"))
    timestamps, block = next(table.blocks("bid_close"))
    assert np.shares_memory(block["bid_close"], table[0].column("bid_close"))
    assert not timestamps.flags.writeable
    stream = stream_of(BATCHES[:1])
    first = stream.peek()[0]
    assert np.shares_memory(stream.to_numpy("bid_close"), first.column("bid_close"))


def test_a_matrix_outlives_its_table(tmp_path: Path) -> None:
    path = write(tmp_path, FORMS["file"]())
    matrix = read_slices(path)[:3].to_numpy("ask_open")
    path.unlink()
    assert matrix.tolist() == np.array(BATCHES[0]["ask_open"]).reshape(3, 3).tolist()


def test_blocks_are_the_batches(slices: SliceTable | SliceStream) -> None:
    blocks = list(slices.blocks("bid_close", ["valid_bid"]))
    assert [len(timestamps) for timestamps, _ in blocks] == [3, 2, 2]
    assert np.concatenate([timestamps for timestamps, _ in blocks]).astype(int).tolist() == STAMPS
    for (_, block), batch in zip(blocks, BATCHES, strict=True):
        assert list(block) == ["bid_close", "valid_bid"]
        assert block["bid_close"].ravel().tolist() == batch["bid_close"].to_pylist()
        assert block["valid_bid"].ravel().tolist() == batch["valid_bid"].to_pylist()


def test_blocks_of_a_stream_come_one_by_one() -> None:
    stream = stream_of(BATCHES)
    blocks = stream.blocks("bid_close")
    next(blocks)
    assert next(stream).timestamp_ns == STAMPS[3]
    assert [len(timestamps) for timestamps, _ in blocks] == [1, 2]


def numbers(frame: Any) -> np.ndarray[Any, Any]:
    return np.column_stack([np.asarray(frame[symbol], float) for symbol in stream_factory.SYMBOLS])


def test_wide_tables_say_the_same_in_every_library(table: SliceTable) -> None:
    expected = table.to_numpy("bid_high")
    pandas, polars, arrow = (table.to_wide("bid_high", library=one) for one in ("pandas", "polars", "pyarrow"))
    assert isinstance(pandas, pd.DataFrame)
    assert isinstance(polars, pl.DataFrame)
    assert isinstance(arrow, pa.Table)
    for frame in (pandas, polars, arrow):
        np.testing.assert_array_equal(numbers(frame), expected)
    assert list(pandas.columns) == list(table.symbols)
    assert polars.columns == arrow.column_names == ["timestamp", *table.symbols]
    assert (pandas.index.name, str(pandas.index.dtype)) == ("timestamp", "datetime64[ns, UTC]")
    assert pandas.index.asi8.tolist() == STAMPS
    assert polars["timestamp"].dtype == pl.Datetime("ns", "UTC")
    assert polars["timestamp"].cast(pl.Int64).to_list() == STAMPS
    assert arrow["timestamp"].type == pa.timestamp("ns", "UTC")
    assert arrow["timestamp"].cast(pa.int64()).to_pylist() == STAMPS


@pytest.mark.parametrize("library_name", ["pandas", "polars", "pyarrow"])
def test_a_stream_of_one_batch_is_wide_too(library_name: Any) -> None:
    stream = stream_of(BATCHES[:1])
    frame = stream.to_wide("bid_close", library_name)
    np.testing.assert_array_equal(numbers(frame), np.array(BATCHES[0]["bid_close"]).reshape(3, 3))
    assert stream_of(BATCHES[:1]).timestamps().flags.c_contiguous


def test_a_frame_may_be_written_to(slices: SliceTable | SliceStream) -> None:
    frame = slices.to_wide("bid_close")
    frame.iloc[0, 0] = 7.0
    assert frame.iloc[0, 0] == 7.0


@pytest.mark.parametrize("column", ["valid_bid", "bid_timestamp", "ind_rsi", "H1_ask_volume"])
def test_any_column_can_be_wide(column: str, tmp_path: Path) -> None:
    of = stream_factory.schema(**FULL)
    batches = [stream_factory.batch(of, first, 4, missing=0.4, carried=0.5) for first in (0, 4)]
    table = read_slices(write(tmp_path, stream_factory.encode_file(of, batches)))
    expected = table.to_numpy(column)
    for library_name in ("pandas", "polars", "pyarrow"):
        frame = table.to_wide(column, library=library_name)
        for place, symbol in enumerate(table.symbols):
            found = pa.array(frame[symbol]) if library_name == "pandas" else frame[symbol]
            values = found.to_pylist() if isinstance(found, pa.Array | pa.ChunkedArray) else found.to_list()
            for value, plain in zip(values, expected[:, place], strict=True):
                is_absent = bool(pd.isna(value))
                assert is_absent == bool(pd.isna(plain))
                if not is_absent and expected.dtype.kind != "M":
                    assert value == plain


def test_a_dataset_has_all_columns_by_default(table: SliceTable) -> None:
    dataset = table.to_xarray()
    assert list(dataset) == [name for name in SCHEMA.names if name not in ("timestamp", "symbol")]
    assert dict(dataset.sizes) == {"timestamp": len(STAMPS), "symbol": 3}
    assert dataset.symbol.values.tolist() == list(table.symbols)
    assert dataset.timestamp.values.astype(int).tolist() == STAMPS
    for name in dataset:
        np.testing.assert_array_equal(dataset[name].values, table.to_numpy(str(name)))
    assert list(table.to_xarray(["ask_low"])) == ["ask_low"]


def test_a_stream_has_what_the_table_has(tmp_path: Path) -> None:
    table = read_slices(write(tmp_path, FORMS["file"]()))
    ways: list[Callable[[Any], Any]] = [
        lambda one: one.to_arrow(),
        lambda one: one.to_arrow("us", "string"),
        lambda one: pa.table(one.to_polars()),
        lambda one: pa.Table.from_pandas(one.to_pandas("us", "string")),
        lambda one: one.to_duckdb(duckdb.connect()).to_arrow_table(),
        lambda one: pa.table({"timestamps": one.timestamps()}),
        lambda one: one.to_wide("bid_close", "pyarrow"),
        lambda one: pa.table(one.to_xarray(["bid_close"]).to_dataframe().reset_index()),
    ]
    for way in ways:
        assert way(stream_of(BATCHES)).equals(way(table))


def test_arrow_types_are_those_asked_for(slices: SliceTable | SliceStream) -> None:
    found = slices.to_arrow("us", "string")
    expected = [
        pa.timestamp("us", "UTC")
        if pa.types.is_timestamp(kind)
        else pa.string()
        if pa.types.is_dictionary(kind)
        else kind
        for kind in SCHEMA.types
    ]
    assert found.schema.types == expected
    assert found["symbol"].to_pylist() == list(stream_factory.SYMBOLS) * len(STAMPS)
    assert found["timestamp"].cast(pa.int64()).to_pylist()[::3] == [stamp // 1_000 for stamp in STAMPS]


def test_an_instant_between_microseconds_is_refused(tmp_path: Path) -> None:
    batch = BATCHES[0]
    shifted = pa.array([stamp + 1 for stamp in batch["timestamp"].cast(pa.int64()).to_pylist()])
    batch = batch.set_column(0, SCHEMA.field(0), shifted.cast(SCHEMA.field(0).type))
    for one in (stream_of([batch]), read_slices(write(tmp_path, stream_factory.encode_file(SCHEMA, [batch])))):
        with pytest.raises(SchemaMismatchError, match="no whole microsecond") as caught:
            one.to_arrow("us")
        assert (caught.value.code, caught.value.column) == (3007, "timestamp")


def test_nothing_is_an_empty_matrix_of_the_right_shape(tmp_path: Path) -> None:
    of = stream_factory.schema(**FULL)
    empty: list[SliceStream | SliceTable] = [
        stream_of([], of, **FULL),
        read_slices(write(tmp_path, stream_factory.encode_file(of, []))),
        read_slices(write(tmp_path, stream_factory.encode_file(of, [stream_factory.batch(of, 0, 2)]), "y.arrow"))[1:1],
    ]
    for one in empty:
        found: Any = one.to_numpy("bid_close", "valid_ask", "H1_bid_timestamp")
        assert [(matrix.shape, matrix.dtype) for matrix in found.values()] == [
            ((0, 3), np.dtype(kind)) for kind in ("f8", "?", "M8[ns]")
        ]
        assert one.timestamps().dtype == "M8[ns]"
        assert list(one.blocks("bid_close")) == []
        assert one.to_wide("bid_close").shape == (0, 3)
        assert one.to_wide("bid_close", "polars").schema["EURUSD"] == pl.Float64
        assert one.to_wide("valid_bid", "pyarrow").schema.types == [pa.timestamp("ns", "UTC"), *[pa.bool_()] * 3]
        assert dict(one.to_xarray(["bid_close"]).sizes) == {"timestamp": 0, "symbol": 3}
        assert one.to_arrow("us", "string").num_rows == 0


def exhausted(result: object) -> None:
    """Take all of what comes lazily."""
    if isinstance(result, Iterator):
        list(result)


def test_a_stream_whose_end_was_not_seen_yet_is_used_up_too() -> None:
    for take in (lambda one: list(one.blocks("bid_close")), lambda one: one.to_numpy("bid_close"), pa.table):
        stream = stream_of(BATCHES)
        assert len([one for one, _ in zip(stream, range(7), strict=False)]) == 7
        with pytest.raises(Exception, match="walked through"):
            take(stream)


def test_a_stream_is_given_once() -> None:
    calls: list[Callable[[SliceStream], object]] = [
        lambda one: one.to_numpy("bid_close"),
        lambda one: one.timestamps(),
        lambda one: one.blocks("bid_close"),
        lambda one: one.to_wide("bid_close"),
        lambda one: one.to_xarray(),
        lambda one: one.to_arrow(),
        lambda one: one.to_polars(),
        lambda one: one.to_pandas(),
        lambda one: one.to_duckdb(),
    ]
    for call in calls:
        stream = stream_of(BATCHES)
        assert len(stream.to_numpy("bid_close")) == 7
        with pytest.raises(IteratorExhaustedError, match="walked through"):
            call(stream)
        closed = stream_of(BATCHES)
        closed.close()
        with pytest.raises(IteratorExhaustedError, match="closed before its end"):
            exhausted(call(closed))


def test_what_is_no_matrix_is_refused(slices: SliceTable | SliceStream) -> None:
    def refused(kind: type[Exception], match: str, *columns: Any) -> None:
        for call in (slices.to_numpy, slices.blocks):
            with pytest.raises(kind, match=match):
                call(*columns)

    refused(SchemaMismatchError, "the stream has no column 'bid_clos'", "bid_clos")
    refused(KeyError, "no column", ["bid_close", "H1_bid_close"])
    refused(RequestError, "no column is named")
    refused(RequestError, "no column is named", [])
    refused(RequestError, "'bid_close' is named twice", "bid_close", ["bid_close"])
    refused(RequestError, "symbols are no matrix", "symbol")
    refused(RequestError, "invalid column 5", 5)
    refused(RequestError, "invalid column b'bid_close'", b"bid_close")
    with pytest.raises(RequestError, match="they are a coordinate"):
        slices.to_xarray(["timestamp"])
    with pytest.raises(SchemaMismatchError) as caught:
        slices.to_wide("trade_close")
    assert "its columns are timestamp, symbol, bid_open" in str(caught.value.hint)
    with pytest.raises(RequestError, match="expected the name of one column"):
        slices.to_wide(["bid_close"])  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="invalid library='numpy'"):
        slices.to_wide("bid_close", library="numpy")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="invalid timestamp_unit='ms'"):
        slices.to_arrow("ms")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="invalid symbols='text'"):
        slices.to_arrow(symbols="text")  # type: ignore[arg-type]


def test_a_symbol_named_timestamp_has_no_place_of_its_own(tmp_path: Path) -> None:
    of = stream_factory.schema(("A", "timestamp"))
    table = read_slices(write(tmp_path, stream_factory.encode_file(of, [stream_factory.batch(of, 0, 2)])))
    assert list(table.to_wide("bid_close").columns) == ["A", "timestamp"]
    for library_name in ("polars", "pyarrow"):
        with pytest.raises(RequestError, match="a symbol is named 'timestamp'"):
            table.to_wide("bid_close", library=library_name)


def test_a_damaged_file_gives_no_matrix(tmp_path: Path) -> None:
    data = bytearray(FORMS["file"]())
    place = data.find(np.array(STAMPS[3], "int64").tobytes() * 3)
    data[place : place + 8] = np.array(STAMPS[6], "int64").tobytes()
    damaged = read_slices(write(tmp_path, bytes(data)))
    with pytest.raises(DeserializationError, match="damaged"):
        damaged.to_numpy("bid_close")
    # Two slices of the first batch in the other order.
    data = bytearray(FORMS["file"]())
    one, other = (np.array(stamp, "int64").tobytes() * 3 for stamp in STAMPS[1:3])
    place = data.find(one + other)
    data[place : place + 48] = other + one
    swapped = read_slices(write(tmp_path, bytes(data), "swapped.arrow"))
    # Two symbols of a slice in the other order.
    data = bytearray(FORMS["file"]())
    place = data.find(np.array([0, 1, 2] * 3, "int16").tobytes())
    data[place : place + 4] = np.array([1, 0], "int16").tobytes()
    mixed = read_slices(write(tmp_path, bytes(data), "mixed.arrow"))
    takes: list[Callable[[SliceTable], object]] = [
        lambda one: list(one.blocks("bid_close")),
        lambda one: one.to_numpy("timestamp", "bid_close"),
        lambda one: one.to_wide("bid_close"),
        list,
    ]
    for table in (swapped, mixed):
        for take in takes:
            with pytest.raises(DeserializationError, match="damaged"):
                take(table)
    with pytest.raises(DeserializationError, match="damaged"):
        mixed.to_numpy("bid_close")


def test_timestamps_in_a_frame_have_the_zone_of_its_index(tmp_path: Path) -> None:
    of = stream_factory.schema(**FULL)
    table = read_slices(write(tmp_path, stream_factory.encode_file(of, [stream_factory.batch(of, 0, 4, carried=0.5)])))
    with table as same:
        frame = same.to_wide("bid_timestamp")
    ages = frame.rsub(frame.index, axis=0)
    assert (ages >= pd.Timedelta(0)).to_numpy().all()


def test_a_library_that_is_missing_or_old_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = read_slices(write(tmp_path, FORMS["file"]()))
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match="xarray is not installed") as caught:
        table.to_xarray()
    assert isinstance(caught.value, RequestError)
    assert caught.value.hint == 'install it: pip install "omega-slices[xarray]"'
    monkeypatch.setattr("omega_slices._extras.version", lambda _: "2.1.4")
    with pytest.raises(RequestError, match=r"pandas 2\.1\.4 is too old: 2\.2 is the oldest") as old:
        table.to_wide("bid_close")
    assert old.value.hint == 'install it: pip install "pandas>=2.2"'


def test_a_library_that_lacks_another_one_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import something_else_that_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="something_else_that_is_missing"):
        library("needy")
    monkeypatch.setitem(sys.modules, "of_no_package", types.ModuleType("of_no_package"))
    assert library("of_no_package", minimum="9").__name__ == "of_no_package"
