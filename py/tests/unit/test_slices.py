"""Slices: every way to a value against what pyarrow itself says of the batch."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from collections.abc import KeysView
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import stream_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from views import SIDES, one_slice, view

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


def sparse() -> list[MultiSymbolSlice]:
    """Return slices with a candle, without one, with a NaN close, and with an infinite volume."""
    schema = stream_factory.schema(["A", "B", "C", "D"], price_types=["bid"])
    batch = stream_factory.batch(schema, 0, 1, missing=1e-9)
    columns = {name: batch.column(name) for name in schema.names}
    nan, inf = math.nan, math.inf
    for name in stream_factory.FIELDS:
        columns[f"bid_{name}"] = pa.array([1.0, None, 3.0, 4.0], pa.float64())
    columns["bid_close"] = pa.array([1.5, None, nan, 4.5], pa.float64())
    columns["bid_volume"] = pa.array([10.0, None, 30.0, inf], pa.float64())
    columns["valid_bid"] = pa.array([True, False, False, False])
    return view(pa.record_batch(list(columns.values()), schema=schema), ("A", "B", "C", "D"))


def same(left: float | None, right: float | None) -> bool:
    return left == right or (left is not None and right is not None and math.isnan(left) and math.isnan(right))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    price_types=st.sampled_from([("bid",), ("ask",), ("trade",), ("bid", "ask"), ("bid", "trade"), SIDES]),
    missing=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    nan=st.sampled_from([0.0, 0.2]),
    carried=st.sampled_from([0.0, 0.3, 1.0]),
    more=st.fixed_dictionaries(
        {
            "fills": st.booleans(),
            "higher_timeframes": st.sampled_from([(), ("H1",), ("D1", "M5")]),
            "indicators": st.sampled_from([(), ("rsi",), ("timestamp", "valid_bid", "é 1")]),
        }
    ),
    cut=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    seed=st.integers(0, 2**32),
)
def test_every_value_is_that_of_pyarrow(
    shape: tuple[int, int],
    price_types: tuple[str, ...],
    missing: float,
    nan: float,
    carried: float,
    more: dict[str, Any],
    cut: tuple[int, int],
    seed: int,
) -> None:
    symbols, slices = shape
    names = tuple(f"S{number}" for number in range(symbols))
    schema = stream_factory.schema(names, price_types=price_types, **more)
    whole = stream_factory.batch(schema, 0, slices, seed=seed, missing=missing, nan=nan, carried=carried)
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
            check_more(one, symbol, cell, price_types, more["higher_timeframes"], more["indicators"])
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
            assert candle.timestamp_ns == cell.get(f"{side}_timestamp", cell["timestamp"]).value
            for field in stream_factory.FIELDS:
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


def check_more(
    one: MultiSymbolSlice,
    symbol: str,
    cell: dict[str, Any],
    price_types: tuple[str, ...],
    higher_timeframes: tuple[str, ...],
    indicators: tuple[str, ...],
) -> None:
    snapshot = one[symbol]
    ages = [one.timestamp_ns - candle.timestamp_ns for side in SIDES if (candle := one.get(symbol, side)) is not None]
    assert snapshot.age_ns == max(ages, default=None)
    assert snapshot.is_carried == any(age > 0 for age in ages)
    assert one.timeframes == tuple(snapshot.candles) == higher_timeframes
    for timeframe in higher_timeframes:
        assert tuple(snapshot.candles[timeframe]) == price_types
        for side in SIDES:
            candle = one.get_candle(symbol, timeframe, side)
            prefix = f"{timeframe}_{side}"
            if side not in price_types or cell[f"{prefix}_open"] is None:
                assert candle is None
            else:
                assert candle is not None
                assert candle.timestamp_ns == cell[f"{prefix}_timestamp"].value
                assert all(same(getattr(candle, field), cell[f"{prefix}_{field}"]) for field in stream_factory.FIELDS)
                assert candle.is_valid == cell[f"{timeframe}_valid_{side}"]
            assert repr(snapshot.candle(timeframe, side)) == repr(snapshot.latest(timeframe, side)) == repr(candle)
    if not indicators:
        assert snapshot.indicators is None
        return
    assert snapshot.indicators is not None
    assert tuple(snapshot.indicators) == indicators
    assert all(same(snapshot.indicators[name], cell[f"ind_{name}"]) for name in indicators)


def check_column(one: MultiSymbolSlice, name: str, cells: list[dict[str, Any]]) -> None:
    column = one.column(name)
    assert column.shape == (len(cells),)
    assert not column.flags.writeable
    expected = [cell[name] for cell in cells]
    if name == "symbol":
        assert column.tolist() == expected
    elif name.endswith("timestamp") and not name.startswith("ind_"):
        assert column.dtype == "datetime64[ns]"
        assert np.isnat(column).tolist() == [value is None for value in expected]
        times = column[~np.isnat(column)].astype("int64").tolist()
        assert times == [value.value for value in expected if value is not None]
    elif "valid_" in name and not name.startswith("ind_"):
        assert column.dtype == bool
        assert column.tolist() == expected
    else:
        assert column.dtype == "float64"
        np.testing.assert_array_equal(column, [math.nan if value is None else value for value in expected])


def test_a_column_is_a_view_of_the_batch() -> None:
    batch = stream_factory.batch(stream_factory.schema(), 0, 4)
    slices = view(batch, stream_factory.SYMBOLS)
    address = batch.column("bid_close").buffers()[1].address
    for number, one in enumerate(slices):
        column = one.column("bid_close")
        assert column.__array_interface__["data"] == (address + number * len(stream_factory.SYMBOLS) * 8, True)
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1.0
        assert one.column("valid_bid").base is not None
        with pytest.raises(ValueError, match="read-only"):
            one.column("valid_bid")[0] = False


def test_times() -> None:
    batch = stream_factory.batch(stream_factory.schema(), 0, 2)
    slices = view(batch, stream_factory.SYMBOLS, "M5")
    assert slices[1].timestamp == datetime(2024, 1, 2, 0, 1, tzinfo=UTC)
    assert slices[1].timestamp_ns == stream_factory.START_NS + stream_factory.MINUTE_NS
    assert slices[1].known_at == datetime(2024, 1, 2, 0, 6, tzinfo=UTC)
    assert slices[1].known_at_ns == slices[1].timestamp_ns + 5 * stream_factory.MINUTE_NS
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
    assert list(one) == list(one.keys()) == list(one.slices) == list(one.symbols) == list(stream_factory.SYMBOLS)
    assert one.symbols == stream_factory.SYMBOLS
    assert isinstance(one.keys(), KeysView)
    assert one.keys() == set(stream_factory.SYMBOLS)
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
    snapshot = one["EURUSD"]
    ways: list[Any] = [
        lambda: one.get_candle("EURUSD", "H1"),
        lambda: one.get_candle("EURUSD", "H1", "mid"),
        lambda: snapshot.latest("H1"),
        lambda: snapshot.candle("H1"),
    ]
    for way in ways:
        with pytest.raises(TimeframeNotFoundError, match="only of M1") as caught:
            way()
        assert caught.value.code is ErrorCode.TIMEFRAME_NOT_FOUND


def test_an_unknown_timeframe_is_told_those_there_are() -> None:
    schema = stream_factory.schema(higher_timeframes=("H1", "D1"))
    one = view(stream_factory.batch(schema, 0, 1), stream_factory.SYMBOLS)[0]
    assert one.timeframes == ("H1", "D1")
    ways: list[Any] = [
        lambda: one.get_candle("EURUSD", "H4"),
        lambda: one["EURUSD"].latest("H4"),
        lambda: one["EURUSD"].candle("H4"),
    ]
    for way in ways:
        with pytest.raises(TimeframeNotFoundError, match="'H4', only of M1, H1, D1"):
            way()
    bad: list[Any] = [
        lambda: one.get_candle("EURUSD", "H1", "mid"),
        lambda: one["EURUSD"].candle("H1", "mid"),
        lambda: one["EURUSD"].candle("M1", "mid"),
    ]
    for way in bad:
        with pytest.raises(InvalidPriceTypeError):
            way()
    with pytest.raises(SymbolNotFoundError):
        one.get_candle("XYZ", "H1")
    assert one.get_candle("EURUSD", "H1", "trade") is None
    assert one["EURUSD"].candle("H1", "trade") is None


def carried_slices() -> list[MultiSymbolSlice]:
    """Return two slices of four symbols.

    Fresh, two minutes old, absent, with a fresh and a carried side.
    """
    schema = stream_factory.schema(["A", "B", "C", "D"], fills=True, higher_timeframes=("H1",), indicators=("rsi",))
    batch = stream_factory.batch(schema, 5, 2, missing=1e-9)
    columns = {name: batch.column(name) for name in schema.names}
    now = stream_factory.START_NS + 5 * stream_factory.MINUTE_NS
    stamps = {
        "bid": [now, now - 2 * stream_factory.MINUTE_NS, None, now],
        "ask": [now, now - 2 * stream_factory.MINUTE_NS, None, now - stream_factory.MINUTE_NS],
    }
    for side, times in stamps.items():
        later = [None if time is None else time + (time == now) * stream_factory.MINUTE_NS for time in times]
        columns[f"{side}_timestamp"] = pa.array([*times, *later], pa.int64()).cast(stream_factory.TIMESTAMP)
        for name in stream_factory.FIELDS:
            columns[f"{side}_{name}"] = pa.array([1.0, 2.0, None, 4.0] * 2, pa.float64())
        columns[f"valid_{side}"] = pa.array([True, True, False, True] * 2)
    rsi = np.array([50.0, math.nan, math.nan, 70.0] * 2)
    columns["ind_rsi"] = stream_factory.masked(
        pa.float64(), rsi, np.array([False, False, True, False] * 2), bitmap=True
    )
    return view(pa.record_batch(list(columns.values()), schema=schema), ("A", "B", "C", "D"))


def test_a_carried_candle_tells_its_age() -> None:
    first, second = carried_slices()
    assert [first[symbol].is_carried for symbol in first] == [False, True, False, True]
    assert [first[symbol].age for symbol in first] == [
        timedelta(0),
        timedelta(minutes=2),
        None,
        timedelta(minutes=1),
    ]
    assert [second[symbol].age_ns for symbol in second] == [
        0,
        3 * stream_factory.MINUTE_NS,
        None,
        2 * stream_factory.MINUTE_NS,
    ]
    bid = first.get("B")
    assert bid is not None
    assert (bid.timestamp_ns, bid.close) == (first.timestamp_ns - 2 * stream_factory.MINUTE_NS, 2.0)
    assert bid.timestamp == first.timestamp - timedelta(minutes=2)
    # What was carried is the same candle, whichever slice shows it.
    assert second.get("B") == bid
    assert first.get("C") is None
    assert (first.get_price("B"), first.get_price("C"), first.get_spread("D")) == (2.0, None, 0.0)
    assert np.isnat(first.column("bid_timestamp")).tolist() == [False, False, True, False]


def test_carried_candles_are_marked_in_the_text() -> None:
    text = "<MultiSymbolSlice 2024-01-02T00:05:00+00:00 M1+H1 {A: bid/ask, B: bid*/ask*, C: none, D: bid/ask*}>"
    assert repr(carried_slices()[0]) == text


def test_an_absent_indicator_is_not_one_without_a_value() -> None:
    one = carried_slices()[0]
    values = [one[symbol].indicators for symbol in one]
    assert repr(values) == "[{'rsi': 50.0}, {'rsi': nan}, {'rsi': None}, {'rsi': 70.0}]"
    np.testing.assert_array_equal(one.column("ind_rsi"), [50.0, math.nan, math.nan, 70.0])


def test_timestamps_are_a_view_where_none_is_missing() -> None:
    batch = stream_factory.batch(stream_factory.schema(fills=True), 0, 4, carried=0.5)
    address = batch.column("ask_timestamp").buffers()[1].address
    column = view(batch, stream_factory.SYMBOLS)[0].column("ask_timestamp")
    assert column.__array_interface__["data"] == (address, True)
    gaps = view(stream_factory.batch(stream_factory.schema(fills=True), 0, 4, missing=0.5), stream_factory.SYMBOLS)[
        0
    ].column("ask_timestamp")
    with pytest.raises(ValueError, match="read-only"):
        gaps[0] = 0


def test_a_snapshot_made_by_hand() -> None:
    plain = SymbolSnapshot("A", 0, "M1", None, None, None)
    assert (plain.candles, plain.indicators, plain.age, plain.is_carried) == ({}, None, None, False)
    hour = CandleData(-60 * stream_factory.MINUTE_NS, 1.0, 1.0, 1.0, 1.0, 1.0)
    one = SymbolSnapshot("A", 0, "M1", None, None, None, candles={"H1": {"ask": hour, "bid": None}})
    assert one.candle("H1", "ask") is one.latest("H1", "ask") is hour
    assert one.candle("H1") is None
    # Only the primary timeframe is carried; a complete candle of a higher one is always older.
    assert one.age is None


@pytest.mark.parametrize("name", ["bid", "trade_close", "Bid_close", "", "ind_x"])
def test_unknown_columns(name: str) -> None:
    with pytest.raises(KeyError) as caught:
        one_slice().column(name)
    assert isinstance(caught.value, SchemaMismatchError)
    assert caught.value.column == name


def test_text() -> None:
    (one,) = sparse()
    assert repr(one) == "<MultiSymbolSlice 2024-01-02T00:00:00+00:00 M1 {A: bid, B: none, C: bid, D: bid}>"
    wide = stream_factory.schema([f"S{number}" for number in range(7)])
    assert ", and 3 more}" in repr(
        view(stream_factory.batch(wide, 0, 1), tuple(f"S{number}" for number in range(7)))[0]
    )


def test_a_slice_cannot_be_changed() -> None:
    one = one_slice()
    with pytest.raises(AttributeError):
        one.timestamp_ns = 0  # type: ignore[misc]  # what is tested
    with pytest.raises(AttributeError):
        one.anything = 0  # type: ignore[attr-defined]  # what is tested
    assert copy.copy(one) == one


def test_memory_goes_with_the_last_slice() -> None:
    class Owner(bytearray):
        """Memory whose end can be seen."""

    # The cycle collector is off: references alone must suffice.
    gc.disable()
    try:
        schema = stream_factory.schema(["A"], price_types=["bid"])
        batch = stream_factory.batch(schema, 0, 100)
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
