"""`assert_slices_equal`: it agrees with the equality of slices, and says where and by what two runs differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_slices import (
    DeserializationError,
    MultiSymbolSlice,
    RequestError,
    assert_slices_equal,
    open_slices,
    read_slices,
)
from omega_slices._schema import StreamContent
from omega_slices._slices import SliceBatch, SliceLayout

MORE: dict[str, Any] = {"fills": True, "further": ("H1",), "indicators": ("rsi",)}
CONTENT = StreamContent("M1", ("bid", "ask"), fills=True, further=("H1",), indicators=("rsi",))


def batches(sizes: list[int], first: int = 0, **options: Any) -> list[pa.RecordBatch]:
    """Cut the same random slices into batches of given sizes."""
    given_options = {"missing": 0.3, "nan": 0.1, "carried": 0.3} | options
    whole = wire.batch(wire.schema(**MORE), first, sum(sizes), **given_options)
    edges = np.cumsum([0, *sizes]) * 3
    return [whole.slice(start, stop - start) for start, stop in pairwise(edges.tolist())]


def slices(made: list[pa.RecordBatch], content: StreamContent = CONTENT) -> list[MultiSymbolSlice]:
    layout = SliceLayout(wire.SYMBOLS, content)
    return [one for batch in made for one in SliceBatch(batch, layout).slices()]


def edited(batch: pa.RecordBatch, name: str, change: Callable[[list[Any]], None]) -> pa.RecordBatch:
    """Return a batch of which some values of a column are others; what lies under a null is NaN or 0."""
    column = batch.column(name)
    values = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    change(values)
    if pa.types.is_boolean(column.type):
        made = pa.array(values, pa.bool_())
    else:
        kind = np.int64 if pa.types.is_timestamp(column.type) else np.float64
        beneath = np.array([(0 if kind is np.int64 else math.nan) if one is None else one for one in values], kind)
        made = wire.masked(column.type, beneath, np.array([one is None for one in values]), bitmap=True)
    return pa.RecordBatch.from_arrays(
        [made if field.name == name else batch.column(field.name) for field in batch.schema], schema=batch.schema
    )


def setting(row: int, value: object) -> Callable[[list[Any]], None]:
    def change(values: list[Any]) -> None:
        values[row] = value

    return change


def difference(actual: Any, expected: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_slices_equal(actual, expected, **options)
    return str(caught.value)


def test_every_form_of_the_same_slices(tmp_path: Path, fake: wire.Fake) -> None:
    made = batches([4, 1, 5])
    schema = made[0].schema
    path = wire.write_file(tmp_path / "x.arrow", schema, made)
    stream = tmp_path / "x.arrows"
    stream.write_bytes(b"".join(wire.encode(schema, batches([7, 3]))))
    fake.out(b"".join(wire.encode(schema, batches([2, 8])))).err(wire.report_line(10))
    options: dict[str, Any] = {"fill": "forward", "max_age": "9bars", "with_timeframe": "H1", "indicators": ["rsi"]}
    with open_slices("unused", symbols=wire.SYMBOLS, backend="rust", **options) as opened:
        assert_slices_equal(opened, path)
    forms: list[Any] = [path, str(stream), read_slices(path), slices(made), (one for one in slices(batches([3, 3, 4])))]
    for form in forms:
        assert_slices_equal(form, read_slices(stream))
    assert_slices_equal(read_slices(path)[2:5], slices(made)[2:5])
    assert_slices_equal([], [])
    assert_slices_equal(read_slices(path)[:0], [])


@settings(deadline=None, max_examples=300)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    name=st.sampled_from([*wire.schema(**MORE).names[2:]]),
    row=st.integers(0, 59),
    value=st.sampled_from([None, math.nan, 0.0, -0.0, 1.0, math.inf, 50.25]),
)
def test_it_agrees_with_the_equality_of_slices(sizes: list[int], name: str, row: int, value: float | None) -> None:
    (whole,) = batches([sum(sizes)])
    row %= whole.num_rows
    if not name.startswith("ind_"):
        # A candle is there with all of its values, or it is not.
        value = math.nan if value is None else value
        name = "ind_rsi" if whole.column(name)[row].as_py() is None else name
    new: object = value
    if pa.types.is_timestamp(whole.schema.field(name).type):
        new = 7 if value is None or not math.isfinite(value) else wire.START_NS
    if "valid_" in name:
        # No slice compares these; the schema does not let them be null.
        new = not whole.column(name)[row].as_py()
    other = edited(whole, name, setting(row, new))
    mine, theirs = slices(batches(sizes)), slices([other])
    if mine == theirs and "valid_" not in name:
        assert_slices_equal(mine, theirs)
        return
    told = difference(mine, theirs)
    position = row % 3
    if "valid_" in name or value is not None:
        assert f"{name} of {wire.SYMBOLS[position]} at 2024-01-02T00:{row // 3:02}:00" in told
    assert f"slice {row // 3}" in told


def test_a_difference_is_named(tmp_path: Path) -> None:
    made = batches([4, 4], missing=0.0, nan=0.0)
    # 0.1 + 0.2, told by all of its digits
    other = [made[0], edited(made[1], "ask_high", setting(7, 0.30000000000000004))]
    expected = [made[0], edited(made[1], "ask_high", setting(7, 0.3))]
    first = wire.write_file(tmp_path / "a.arrow", made[0].schema, other)
    second = wire.write_file(tmp_path / "b.arrow", made[0].schema, expected)
    assert difference(first, second) == (
        "the slices differ: ask_high of GBPUSD at 2024-01-02T00:06:00.000000000Z, slice 6\n"
        "  actual:   0.30000000000000004\n"
        "  expected: 0.3"
    )
    assert_slices_equal(first, second, tolerance=1e-9)
    assert "1e-17" in difference(first, second, tolerance=1e-17)


def test_the_first_difference_is_the_earliest() -> None:
    (made,) = batches([6], missing=0.0, nan=0.0)
    changed = edited(edited(made, "bid_open", setting(16, 9.0)), "ind_rsi", setting(4, 9.0))
    told = difference(slices([changed]), slices([made]))
    assert "ind_rsi of GBPUSD" in told
    assert "slice 1" in told
    both = edited(edited(made, "bid_low", setting(4, 9.0)), "ind_rsi", setting(4, 9.0))
    told = difference(slices([both]), slices([made]))
    assert "bid_low of GBPUSD" in told
    assert "of the same symbol and slice differ: 'ind_rsi'" in told


def test_missing_is_not_nan() -> None:
    (made,) = batches([1], missing=0.0, nan=0.0)
    nan, missing = (edited(made, "ind_rsi", setting(0, value)) for value in (math.nan, None))
    told = difference(slices([nan]), slices([missing]), tolerance=1e9)
    assert "actual:   nan" in told
    assert "expected: missing" in told
    assert_slices_equal(slices([nan]), slices([nan]))
    assert_slices_equal(slices([missing]), slices([missing]))
    zeros = [edited(made, "bid_open", setting(0, value)) for value in (0.0, -0.0)]
    assert_slices_equal(slices(zeros[:1]), slices(zeros[1:]))


def test_infinities_within_a_tolerance() -> None:
    (made,) = batches([1], missing=0.0, nan=0.0)
    plus, minus = (edited(made, "bid_open", setting(0, value)) for value in (math.inf, -math.inf))
    assert_slices_equal(slices([plus]), slices([plus]), tolerance=0.1)
    assert "actual:   inf" in difference(slices([plus]), slices([minus]), tolerance=0.1)


def test_timestamps_are_told_as_such() -> None:
    (made,) = batches([1], missing=0.0, carried=0.0)
    older = edited(made, "bid_timestamp", setting(1, wire.START_NS - 1))
    told = difference(slices([older]), slices([made]), tolerance=1e9)
    assert "bid_timestamp of GBPUSD" in told
    assert "actual:   2024-01-01T23:59:59.999999999Z" in told


def test_timestamps_that_only_one_has(tmp_path: Path) -> None:
    every = slices(batches([12]))
    table = read_slices(wire.write_file(tmp_path / "x.arrow", wire.schema(**MORE), batches([4, 8])))
    told = difference([*every[:5], *every[6:]], table)
    assert "from slice 5 on" in told
    assert "only in expected: 2024-01-02T00:05:00.000000000Z" in told
    assert "only in actual" not in told
    told = difference(table, every[:2])
    assert "only in actual: 2024-01-02T00:02:00.000000000Z, " in told
    assert "and 7 more" in told
    told = difference(every[:3], table[6:9])
    assert "from slice 0 on" in told
    assert "only in actual: 2024-01-02T00:00" in told
    assert "only in expected: 2024-01-02T00:06" in told
    assert "only in expected" in difference([], table)


def test_a_value_comes_before_a_later_timestamp() -> None:
    (made,) = batches([6], missing=0.0)
    other = edited(made, "bid_open", setting(0, 9.0))
    assert "bid_open of EURUSD" in difference(slices([other]), slices([made])[:4])


def test_other_columns_and_symbols(tmp_path: Path) -> None:
    def write(name: str, *symbols: str, **options: Any) -> Path:
        metadata = {key: options.pop(key) for key in ("timeframe",) if key in options}
        schema = wire.schema(symbols or wire.SYMBOLS, **options, **metadata)
        return wire.write_file(tmp_path / name, schema, [wire.batch(schema, 0, 1)])

    plain = write("a.arrow")
    told = difference(write("b.arrow", "EURUSD", "XAUUSD"), plain)
    assert "only in actual: 'XAUUSD'" in told
    assert "only in expected: 'GBPUSD', 'USDJPY'" in told
    told = difference(write("c.arrow", "EURUSD", "USDJPY", "GBPUSD"), plain)
    assert "number 1 is 'USDJPY' in actual, 'GBPUSD' in expected" in told
    told = difference(plain, write("d.arrow", price_types=["bid"], indicators=["rsi"]))
    assert "only in actual: 'ask_open', " in told
    assert "only in expected: 'ind_rsi'" in told
    assert "the timeframe of actual is 'M1', that of expected 'M5'" in difference(
        plain, write("e.arrow", timeframe="M5")
    )


@pytest.mark.parametrize("tolerance", [-1, math.nan, "1", None, True])
def test_what_is_no_tolerance(tolerance: Any) -> None:
    with pytest.raises(RequestError, match="tolerance="):
        assert_slices_equal([], [], tolerance=tolerance)


def test_what_is_no_slices(tmp_path: Path) -> None:
    one = slices(batches([1]))[0]
    bad: list[Any] = [7, one, [one, 7], ["x.arrow"]]
    for given_slices in bad:
        with pytest.raises(RequestError):
            assert_slices_equal(given_slices, [one])
    with pytest.raises(FileNotFoundError):
        assert_slices_equal(tmp_path / "none.arrow", [one])
    (tmp_path / "x.arrow").write_bytes(b"")
    with pytest.raises(DeserializationError):
        assert_slices_equal([one], tmp_path / "x.arrow")
