"""Equality, hashes and pickles of slices."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from helpers import stream_factory
from views import one_slice, view

from omega_slices import (
    SymbolSnapshot,
)

MORE: dict[str, Any] = {"fills": True, "higher_timeframes": ("H1", "D1"), "indicators": ("rsi", "ema")}


def test_every_part_counts_for_equality() -> None:
    schema = stream_factory.schema(["A", "B"], **MORE)
    batch = stream_factory.batch(schema, 0, 1, missing=1e-9, carried=0.5)
    (one,) = view(batch, ("A", "B"))
    assert (one,) == tuple(view(batch, ("A", "B")))
    for name in schema.names[2:]:
        if "valid_" in name:
            continue  # follows from the others
        columns = {other: batch.column(other) for other in schema.names}
        values = columns[name].cast(pa.int64() if "timestamp" in name else pa.float64()).to_pylist()
        for changed in ([values[0], values[1] + 1], [values[0], None]):
            columns[name] = pa.array(changed, pa.int64() if "timestamp" in name else pa.float64()).cast(
                schema.field(name).type
            )
            (other_slice,) = view(pa.record_batch(list(columns.values()), schema=schema), ("A", "B"))
            assert one != other_slice, name


def test_another_content_is_not_equal() -> None:
    kinds: list[dict[str, Any]] = [
        {},
        *({name: value} for name, value in MORE.items()),
        {"higher_timeframes": ("D1", "H1")},
        MORE,
    ]
    slices = [
        view(stream_factory.batch(stream_factory.schema(**kind), 0, 1), stream_factory.SYMBOLS)[0] for kind in kinds
    ]
    for position, one in enumerate(slices):
        assert [one == other for other in slices] == [position == index for index in range(len(slices))]
        assert [one != other for other in slices] == [position != index for index in range(len(slices))]
    assert len({hash(one) for one in slices}) == len(slices)


def test_an_indicator_that_is_absent_is_not_one_of_nan() -> None:
    schema = stream_factory.schema(["A"], indicators=("rsi",))
    columns = [stream_factory.batch(schema, 0, 1).column(name) for name in schema.names[:-1]]
    # NaN lies under the null too.
    missing, nan = (
        pa.record_batch(
            [*columns, stream_factory.masked(pa.float64(), np.array([math.nan]), gap, bitmap=True)], schema=schema
        )
        for gap in (np.array([True]), np.array([False]))
    )
    assert view(missing, ("A",)) != view(nan, ("A",))
    assert view(nan, ("A",)) == view(nan, ("A",))


def test_all_parts_can_leave_the_process() -> None:
    many = view(
        stream_factory.batch(stream_factory.schema(**MORE), 0, 500, missing=0.2, nan=0.2, carried=0.3),
        stream_factory.SYMBOLS,
    )
    one = many[250]
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert not one != other  # noqa: SIM202  # the operator of its own
        assert other == one
        assert hash(other) == hash(one)
        assert repr(other) == repr(one)
        assert other.timeframes == one.timeframes
        assert repr(other.values()) == repr(one.values())
    assert len(pickle.dumps(one)) < 20_000
    # JSON has no NaN.
    snapshot = view(
        stream_factory.batch(stream_factory.schema(**MORE), 0, 1, missing=0.2, carried=0.3), stream_factory.SYMBOLS
    )[0]["EURUSD"]
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=SymbolSnapshot) == snapshot
    assert len({snapshot, copy.copy(snapshot)}) == 1


def test_equality() -> None:
    options: dict[str, Any] = {"missing": 0.3, "nan": 0.3}
    schema = stream_factory.schema()
    batch = stream_factory.batch(schema, 0, 8, **options)
    slices = view(batch, stream_factory.SYMBOLS)
    again = view(batch, stream_factory.SYMBOLS)
    offset = view(batch.slice(3 * 3), stream_factory.SYMBOLS)
    assert slices == again
    assert slices[3:] == offset
    assert [hash(one) for one in slices[3:]] == [hash(one) for one in offset]
    assert len({*slices, *again}) == 8
    assert slices[0] != slices[1]
    assert slices[0] != "slice"
    assert slices != view(batch, stream_factory.SYMBOLS, "M5")
    assert slices[0] != view(batch, ("A", "B", "C"))[0]
    assert slices != view(stream_factory.batch(schema, 0, 8, seed=1, **options), stream_factory.SYMBOLS)


def test_a_missing_candle_is_not_one_of_nan() -> None:
    schema = stream_factory.schema(["A"], price_types=["bid"])
    missing = stream_factory.batch(schema, 0, 1, missing=1.0)
    nan = stream_factory.batch(schema, 0, 1, nan=1.0)
    assert view(missing, ("A",)) != view(nan, ("A",))


def test_a_slice_can_leave_the_process_alone() -> None:
    one = one_slice()
    assert one.get("EURUSD") is not None  # its views are made
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert other == one
        assert other.keys() == one.keys()
        assert other.known_at == one.known_at
        assert other["EURUSD"] == one["EURUSD"]
    many = view(stream_factory.batch(stream_factory.schema(), 0, 5_000, missing=0.2), stream_factory.SYMBOLS)
    assert len(pickle.dumps(many[2_500])) < 10_000
    assert pickle.loads(pickle.dumps(many[2_500])) == many[2_500]


def test_values_can_leave_the_process() -> None:
    snapshot = one_slice()["EURUSD"]
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=SymbolSnapshot) == snapshot
    assert len({snapshot.bid, snapshot.bid, snapshot.ask}) == 2
