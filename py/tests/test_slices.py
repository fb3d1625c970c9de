"""Slices: every way to a value against what pyarrow itself says of the batch."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref
from collections.abc import KeysView
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_slices import (
    CandleData,
    ErrorCode,
    InvalidPriceTypeError,
    MultiSymbolSlice,
    SchemaMismatchError,
    SymbolNotFoundError,
    SymbolSnapshot,
    TimeframeNotFoundError,
)
from omega_slices._slices import SliceBatch, SliceLayout

SIDES = ("bid", "ask", "trade")


def view(batch: pa.RecordBatch, symbols: tuple[str, ...], timeframe: str = "M1") -> list[MultiSymbolSlice]:
    """Return the slices of a batch."""
    price_types = tuple(name.removeprefix("valid_") for name in batch.schema.names if name.startswith("valid_"))
    return list(SliceBatch(batch, SliceLayout(symbols, timeframe, price_types)).slices())


def one_slice(**options: Any) -> MultiSymbolSlice:
    return view(wire.batch(wire.schema(), 0, 1, **options), wire.SYMBOLS)[0]


def sparse() -> list[MultiSymbolSlice]:
    """Return one slice with a candle, one without, one with a NaN close and one with an infinite volume."""
    schema = wire.schema(["A", "B", "C", "D"], price_types=["bid"])
    batch = wire.batch(schema, 0, 1, missing=1e-9)
    columns = {name: batch.column(name) for name in schema.names}
    nan, inf = math.nan, math.inf
    for name in wire.FIELDS:
        columns[f"bid_{name}"] = pa.array([1.0, None, 3.0, 4.0], pa.float64())
    columns["bid_close"] = pa.array([1.5, None, nan, 4.5], pa.float64())
    columns["bid_volume"] = pa.array([10.0, None, 30.0, inf], pa.float64())
    columns["valid_bid"] = pa.array([True, False, False, False])
    return view(pa.record_batch(list(columns.values()), schema=schema), ("A", "B", "C", "D"))


def same(left: float | None, right: float | None) -> bool:
    return left == right or (left is not None and right is not None and math.isnan(left) and math.isnan(right))


@settings(max_examples=60, deadline=None)
@given(
    symbols=st.integers(1, 9),
    slices=st.integers(1, 40),
    price_types=st.sampled_from([("bid",), ("ask",), ("trade",), ("bid", "ask"), ("bid", "trade"), SIDES]),
    missing=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    nan=st.sampled_from([0.0, 0.2]),
    cut=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    seed=st.integers(0, 2**32),
)
def test_every_value_is_that_of_pyarrow(
    symbols: int,
    slices: int,
    price_types: tuple[str, ...],
    missing: float,
    nan: float,
    cut: tuple[int, int],
    seed: int,
) -> None:
    names = tuple(f"S{number}" for number in range(symbols))
    schema = wire.schema(names, price_types=price_types)
    whole = wire.batch(schema, 0, slices, seed=seed, missing=missing, nan=nan)
    first, stop = sorted(min(edge, slices) for edge in cut)
    # A slice of a batch: columns then start within their buffers, bitmaps within a byte.
    batch = whole.slice(first * symbols, max(1, stop - first) * symbols) if first < slices else whole
    rows = batch.to_pylist()
    views = view(batch, names)
    assert len(views) * symbols == len(rows)
    for number, one in enumerate(views):
        cells = rows[number * symbols : (number + 1) * symbols]
        assert one.timestamp_ns == cells[0]["timestamp"].value
        for symbol, cell in zip(names, cells, strict=True):
            check_cell(one, symbol, cell, price_types)
        for name in batch.schema.names:
            check_column(one, name, cells)


def check_cell(one: MultiSymbolSlice, symbol: str, cell: dict[str, Any], price_types: tuple[str, ...]) -> None:
    closes: dict[str, float | None] = dict.fromkeys(SIDES)
    for side in SIDES:
        candle = one.get(symbol, side)
        absent = side not in price_types or cell[f"{side}_open"] is None
        assert (candle is None) == absent
        closes[side] = None if candle is None else candle.close
        if candle is not None:
            assert candle.timestamp_ns == one.timestamp_ns
            for field in wire.FIELDS:
                value = getattr(candle, field)
                assert type(value) is float
                assert same(value, cell[f"{side}_{field}"])
            assert candle.is_valid == cell[f"valid_{side}"]
        price = one.get_price(symbol, side)
        assert same(price, closes[side])
        assert price is None or type(price) is float
        for other in (one[symbol].latest("M1", side), one.get_candle(symbol, "M1", side), getattr(one[symbol], side)):
            # By text, in which NaN equals NaN.
            assert repr(other) == repr(candle)
    bid, ask = closes["bid"], closes["ask"]
    mid = None if bid is None or ask is None else (bid + ask) / 2
    spread = None if bid is None or ask is None else ask - bid
    assert same(one.get_price(symbol), mid)
    assert same(one.get_price(symbol, "mid"), mid)
    assert same(one[symbol].mid, mid)
    assert same(one.get_spread(symbol), spread)
    assert same(one[symbol].spread, spread)


def check_column(one: MultiSymbolSlice, name: str, cells: list[dict[str, Any]]) -> None:
    column = one.column(name)
    assert column.shape == (len(cells),)
    assert not column.flags.writeable
    expected = [cell[name] for cell in cells]
    if name == "symbol":
        assert column.tolist() == expected
    elif name == "timestamp":
        assert column.dtype == "datetime64[ns]"
        assert column.astype("int64").tolist() == [value.value for value in expected]
    elif name.startswith("valid_"):
        assert column.dtype == bool
        assert column.tolist() == expected
    else:
        assert column.dtype == "float64"
        np.testing.assert_array_equal(column, [math.nan if value is None else value for value in expected])


def test_a_column_is_a_view_of_the_batch() -> None:
    batch = wire.batch(wire.schema(), 0, 4)
    slices = view(batch, wire.SYMBOLS)
    address = batch.column("bid_close").buffers()[1].address
    for number, one in enumerate(slices):
        column = one.column("bid_close")
        assert column.__array_interface__["data"] == (address + number * len(wire.SYMBOLS) * 8, True)
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1.0
        assert one.column("valid_bid").base is not None
        with pytest.raises(ValueError, match="read-only"):
            one.column("valid_bid")[0] = False


def test_times() -> None:
    batch = wire.batch(wire.schema(), 0, 2)
    slices = view(batch, wire.SYMBOLS, "M5")
    assert slices[1].timestamp == datetime(2024, 1, 2, 0, 1, tzinfo=UTC)
    assert slices[1].timestamp_ns == wire.START_NS + wire.MINUTE_NS
    assert slices[1].known_at == datetime(2024, 1, 2, 0, 6, tzinfo=UTC)
    assert slices[1].known_at_ns == slices[1].timestamp_ns + 5 * wire.MINUTE_NS
    assert slices[1].timeframe == slices[1].primary_tf == "M5"


def test_datetimes_are_rounded_down() -> None:
    assert CandleData(1_999, 0, 0, 0, 0, 0).timestamp == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    before = datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
    assert CandleData(-1, 0, 0, 0, 0, 0).timestamp == before
    assert SymbolSnapshot("A", -1, "M1", None, None, None).timestamp == before
    for extreme in (-(2**63), 2**63 - 1):
        assert CandleData(extreme, 0, 0, 0, 0, 0).timestamp.tzinfo is UTC


def test_present_missing_and_nan_are_told_apart() -> None:
    (one,) = sparse()
    candles = [one.get(symbol) for symbol in one]
    assert [candle is None for candle in candles] == [False, True, False, False]
    assert [candle.is_valid for candle in candles if candle is not None] == [True, False, False]
    assert one.get_price("A", "bid") == 1.5
    assert one.get_price("B", "bid") is None
    price = one.get_price("C", "bid")
    assert price is not None
    assert math.isnan(price)
    assert one.column("valid_bid").tolist() == [True, False, False, False]


def test_a_mapping_of_symbols() -> None:
    one = one_slice()
    assert list(one) == list(one.keys()) == list(one.slices) == list(one.symbols) == list(wire.SYMBOLS)
    assert one.symbols == wire.SYMBOLS
    assert isinstance(one.keys(), KeysView)
    assert one.keys() == set(wire.SYMBOLS)
    assert len(one) == 3
    assert "EURUSD" in one
    assert "XYZ" not in one
    assert dict(one.items()) == {symbol: one[symbol] for symbol in one}
    assert one.values() == tuple(one[symbol] for symbol in one)
    snapshot = one["GBPUSD"]
    assert (snapshot.symbol, snapshot.timestamp_ns, snapshot.timeframe) == ("GBPUSD", one.timestamp_ns, "M1")
    assert snapshot.bid == snapshot.latest() == one.get("GBPUSD")
    assert snapshot.trade is None
    assert snapshot.indicators is None


def test_unknown_symbols() -> None:
    one = one_slice()
    assert one.get("XYZ") is None
    assert one.get("XYZ", "trade") is None
    ways: list[Any] = [
        lambda: one["XYZ"],
        lambda: one.get_price("XYZ"),
        lambda: one.get_price("XYZ", "trade"),
        lambda: one.get_spread("XYZ"),
        lambda: one.get_candle("XYZ", "M1"),
    ]
    for way in ways:
        with pytest.raises(KeyError) as caught:
            way()
        assert isinstance(caught.value, SymbolNotFoundError)
        assert caught.value.code is ErrorCode.SYMBOL_NOT_FOUND
        assert caught.value.symbol == "XYZ"


def test_price_types() -> None:
    one = one_slice()
    for way in (one.get, one.get_price):
        assert way("EURUSD", "trade") is None
        with pytest.raises(InvalidPriceTypeError) as caught:
            way("EURUSD", "last")
        assert caught.value.price_type == "last"
    ways: list[Any] = [
        lambda: one.get("EURUSD", "mid"),
        lambda: one.get("XYZ", "last"),
        lambda: one["EURUSD"].latest(price_type="mid"),
        lambda: one.get_candle("EURUSD", "M1", "mid"),
    ]
    for way in ways:
        with pytest.raises(InvalidPriceTypeError):
            way()


def test_other_timeframes() -> None:
    one = one_slice()
    with pytest.raises(TimeframeNotFoundError):
        one.get_candle("EURUSD", "H1")
    with pytest.raises(TimeframeNotFoundError):
        one["EURUSD"].latest("H1")


@pytest.mark.parametrize("name", ["bid", "trade_close", "Bid_close", "", "ind_x"])
def test_unknown_columns(name: str) -> None:
    with pytest.raises(KeyError) as caught:
        one_slice().column(name)
    assert isinstance(caught.value, SchemaMismatchError)
    assert caught.value.column == name


def test_equality() -> None:
    options: dict[str, Any] = {"missing": 0.3, "nan": 0.3}
    schema = wire.schema()
    batch = wire.batch(schema, 0, 8, **options)
    slices = view(batch, wire.SYMBOLS)
    again = view(batch, wire.SYMBOLS)
    offset = view(batch.slice(3 * 3), wire.SYMBOLS)
    assert slices == again
    assert slices[3:] == offset
    assert [hash(one) for one in slices[3:]] == [hash(one) for one in offset]
    assert len({*slices, *again}) == 8
    assert slices[0] != slices[1]
    assert slices[0] != "slice"
    assert slices != view(batch, wire.SYMBOLS, "M5")
    assert slices[0] != view(batch, ("A", "B", "C"))[0]
    assert slices != view(wire.batch(schema, 0, 8, seed=1, **options), wire.SYMBOLS)


def test_a_missing_candle_is_not_one_of_nan() -> None:
    schema = wire.schema(["A"], price_types=["bid"])
    missing = wire.batch(schema, 0, 1, missing=1.0)
    nan = wire.batch(schema, 0, 1, nan=1.0)
    assert view(missing, ("A",)) != view(nan, ("A",))


def test_text() -> None:
    (one,) = sparse()
    assert repr(one) == "<MultiSymbolSlice 2024-01-02T00:00:00+00:00 M1 {A: bid, B: none, C: bid, D: bid}>"
    wide = wire.schema([f"S{number}" for number in range(7)])
    assert ", and 3 more}" in repr(view(wire.batch(wide, 0, 1), tuple(f"S{number}" for number in range(7)))[0])


def test_a_slice_cannot_be_changed() -> None:
    one = one_slice()
    with pytest.raises(AttributeError):
        one.timestamp_ns = 0  # type: ignore[misc]  # what is tested
    with pytest.raises(AttributeError):
        one.anything = 0  # type: ignore[attr-defined]  # what is tested
    assert copy.copy(one) == one


def test_a_slice_can_leave_the_process_alone() -> None:
    one = one_slice()
    assert one.get("EURUSD") is not None  # its views are made
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert other == one
        assert other.keys() == one.keys()
        assert other.known_at == one.known_at
        assert other["EURUSD"] == one["EURUSD"]
    many = view(wire.batch(wire.schema(), 0, 5_000, missing=0.2), wire.SYMBOLS)
    assert len(pickle.dumps(many[2_500])) < 10_000
    assert pickle.loads(pickle.dumps(many[2_500])) == many[2_500]


def test_values_can_leave_the_process() -> None:
    snapshot = one_slice()["EURUSD"]
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=SymbolSnapshot) == snapshot
    assert len({snapshot.bid, snapshot.bid, snapshot.ask}) == 2


def test_memory_goes_with_the_last_slice() -> None:
    class Owner(bytearray):
        """Memory whose end can be seen."""

    # The cycle collector is off: references alone must suffice.
    gc.disable()
    try:
        schema = wire.schema(["A"], price_types=["bid"])
        batch = wire.batch(schema, 0, 100)
        owner = Owner(batch.column("bid_close").buffers()[1].to_pybytes())
        gone = weakref.ref(owner)
        columns = {name: batch.column(name) for name in schema.names}
        columns["bid_close"] = pa.Array.from_buffers(pa.float64(), 100, [None, pa.py_buffer(owner)])
        slices = view(pa.record_batch(list(columns.values()), schema=schema), ("A",))
        expected = [one.get_price("A", "bid") for one in slices]
        slices[50].column("bid_close")
        last = slices[50]
        del batch, columns, owner, slices
        assert gone() is not None
        assert last.get_price("A", "bid") == expected[50]
        del last
        assert gone() is None
    finally:
        gc.enable()
