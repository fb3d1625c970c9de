"""`assert_slices_equal`: what it takes, what it says, and that the command says the same."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import stream_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omega_slices import (
    DeserializationError,
    IteratorExhaustedError,
    RequestError,
    assert_slices_equal,
    open_slices,
    read_slices,
    testing,
)
from omega_slices._compare import Difference, first_difference

OF = stream_factory.schema(fills=True, indicators=["x"])


def write(path: Path, batches: Sequence[pa.RecordBatch], of: pa.Schema = OF) -> Path:
    """Write a stream: messages of the contract, with seal and end marker."""
    path.write_bytes(b"".join(stream_factory.encode(of, batches)))
    return path


def changed(batch: pa.RecordBatch, row: int, column: str, value: Any) -> pa.RecordBatch:
    """Return the batch with another value in one place."""
    place = batch.schema.get_field_index(column)
    values = batch.column(place).to_pylist()
    values[row] = value
    return batch.set_column(place, batch.schema.field(place), pa.array(values, batch.schema.field(place).type))


def changed_candle(batch: pa.RecordBatch, row: int, column: str, value: Any) -> pa.RecordBatch:
    """Do the same, and let a candle come or go as a whole.

    Files in which it does not are refused.
    """
    side = column.partition("_")[0]
    if side in ("bid", "ask") and batch.column(column)[row].is_valid is (value is None):
        for name in (f"{side}_{field}" for field in stream_factory.FIELDS):
            batch = changed(batch, row, name, None if value is None else 1.0)
        batch = changed(batch, row, f"{side}_timestamp", None if value is None else stream_factory.START_NS)
    return changed(batch, row, column, value)


def without(batch: pa.RecordBatch, number: int) -> list[pa.RecordBatch]:
    """Return the batch without one slice, in up to two parts."""
    width = len(stream_factory.SYMBOLS)
    parts = [batch.slice(0, number * width), batch.slice((number + 1) * width)]
    return [part for part in parts if part.num_rows]


def difference(actual: Any, expected: Any, tolerance: float = 0.0) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_slices_equal(actual, expected, tolerance=tolerance)
    return str(caught.value)


def test_every_kind_of_slices_is_taken(data: Path, tmp_path: Path) -> None:
    def stream() -> Any:
        return open_slices(data, symbols=["EURUSD", "GBPUSD"])

    with stream() as slices:
        listed = list(slices)
    sink = tmp_path / "x.arrows"
    with stream() as slices, pa.OSFile(str(sink), "wb") as file, pa.ipc.new_stream(file, slices.schema) as writer:
        for batch in slices.batches():
            writer.write_batch(batch)
        writer.write_batch(batch.slice(0, 0))
    for other in (sink, str(sink), read_slices(sink), listed, iter(listed), pickle.loads(pickle.dumps(listed))):
        with stream() as slices:
            assert_slices_equal(slices, other)
    assert_slices_equal(read_slices(sink)[1:], listed[1:])
    # A stream counts from where it is.
    with stream() as slices:
        next(slices)
        assert_slices_equal(slices, listed[1:])


def test_how_slices_are_cut_into_batches_makes_no_difference(tmp_path: Path) -> None:
    one = stream_factory.batch(OF, 0, 50, missing=0.2, nan=0.1, carried=0.3)
    parts = [one.slice(first * 3, 21) for first in range(0, 50, 7)]
    a, b = write(tmp_path / "a", [one]), write(tmp_path / "b", parts)
    assert_slices_equal(a, b)
    assert_slices_equal(list(read_slices(a)), b)
    assert_slices_equal(list(read_slices(b)), a)


def test_the_first_difference_is_named(tmp_path: Path) -> None:
    one = stream_factory.batch(OF, 0, 9)
    other = changed(changed(changed(one, 10, "bid_close", 2.5), 20, "bid_open", 1.0), 10, "ask_open", 3.0)
    said = difference(write(tmp_path / "a", [changed(one, 10, "bid_close", 2.25)]), write(tmp_path / "b", [other]))
    assert said == (
        "slices differ at 2024-01-02T00:03:00Z\n"
        "  symbol      GBPUSD\n"
        "  field       bid_close\n"
        "  actual      2.25\n"
        "  expected    2.5\n"
        "  difference  0.25\n"
        "  slice       3 (the first is 0)"
    )


@pytest.mark.parametrize(
    ("column", "mine", "theirs", "said"),
    [
        ("ask_high", None, 1.5, ("no candle", "1.5")),
        ("ind_x", 1.5, None, ("1.5", "no value")),
        ("ask_high", math.nan, math.inf, ("nan", "inf")),
        ("ask_high", None, math.nan, ("no candle", "nan")),
        ("ask_high", 0.1, 0.30000000000000004, ("0.1", "0.30000000000000004")),
        ("valid_ask", True, False, ("True", "False")),
        ("ask_timestamp", 1_704_153_600 * 10**9, 1, ("2024-01-02T00:00:00Z", "1970-01-01T00:00:00.000000001Z")),
    ],
)
def test_both_values_are_shown(tmp_path: Path, column: str, mine: Any, theirs: Any, said: tuple[str, str]) -> None:
    one = stream_factory.batch(OF, 0, 2)
    a, b = (testing._Side(name, _Held(changed(one, 4, column, value))) for name, value in (("a", mine), ("b", theirs)))
    found = first_difference(a, b, 0.0)
    assert found is not None
    lines = found.text(("actual", "expected")).splitlines()
    assert lines[2:5] == [f"  field       {column}", f"  actual      {said[0]}", f"  expected    {said[1]}"]


class _Held:
    """A batch that is held in memory, as a table."""

    def __init__(self, *batches: pa.RecordBatch) -> None:
        self.symbols = stream_factory.SYMBOLS
        self.schema = OF
        self._batches = batches

    def batches(self) -> Any:
        """Iterate over it."""
        return iter(self._batches)


@pytest.mark.parametrize(
    ("mine", "theirs", "tolerance", "equal"),
    [
        (math.nan, math.nan, 0.0, True),
        (math.nan, -math.nan, 0.0, True),
        (0.0, -0.0, 0.0, True),
        (math.inf, math.inf, 0.0, True),
        (math.inf, -math.inf, math.inf, False),
        (math.inf, 1.0, math.inf, False),
        (math.nan, 1.0, math.inf, False),
        (None, math.nan, math.inf, False),
        (1.0, 1.25, 0.25, True),
        (1.0, 1.25, 0.2, False),
        (-1.7e308, 1.7e308, 1.0, False),
    ],
)
def test_what_is_equal(mine: Any, theirs: Any, tolerance: float, equal: bool) -> None:
    one = stream_factory.batch(OF, 0, 2)
    a, b = (_Held(changed(one, 3, "bid_low", value)) for value in (mine, theirs))
    if equal:
        assert_slices_equal(a, b, tolerance=tolerance)
    else:
        assert "bid_low" in difference(a, b, tolerance)


def test_what_lies_under_a_null_does_not_count() -> None:
    one = stream_factory.batch(OF, 0, 4)
    rows = one.num_rows
    absent = np.arange(rows) % 2 == 0
    place = OF.get_field_index("bid_low")
    a, b = (
        one.set_column(
            place,
            OF.field(place),
            stream_factory.masked(pa.float64(), np.where(absent, value, 1.0), absent, bitmap=True),
        )
        for value in (7.0, math.nan)
    )
    assert_slices_equal(_Held(a), _Held(b))


@pytest.mark.parametrize("number", [0, 4, 8])
def test_a_slice_that_one_side_lacks_is_named(number: int) -> None:
    one = stream_factory.batch(OF, 0, 9)
    time = f"2024-01-02T00:0{number}:00Z"
    assert difference(_Held(one), _Held(*without(one, number))) == (
        f"slices differ at {time}\n  actual      slice {number} (the first is 0)\n  expected    no slice"
    )
    assert difference(_Held(*without(one, number)), _Held(one)) == (
        f"slices differ at {time}\n  actual      no slice\n  expected    slice {number} (the first is 0)"
    )


def test_nothing_equals_nothing_and_is_shorter_than_anything(data: Path) -> None:
    assert_slices_equal([], [])
    with open_slices(data, symbols=["EURUSD"]) as slices:
        listed = list(slices)
    assert "expected    no slice" in difference(listed, [])
    assert "actual      no slice" in difference(iter([]), listed)


def test_other_symbols_columns_and_timeframes_are_told_in_words(tmp_path: Path) -> None:
    def side(*symbols: str, **options: Any) -> Path:
        of = stream_factory.schema(symbols, **options)
        return write(tmp_path / f"{len(list(tmp_path.iterdir()))}.arrows", [stream_factory.batch(of, 0, 2)], of)

    asked = {"timeframe": "M1", "price_types": ["bid", "ask"], "fill": "none", "with_timeframe": [], "indicators": []}
    hours = json.dumps(asked | {"timeframe": "H1", "price_types": ["bid"]})
    others = side("C", "A", "D", price_types=["bid"], timeframe="H1", request=hours)
    said = difference(side("A", "B", "C"), others)
    head, *lines = said.splitlines()
    assert head == "slices are of another kind"
    assert lines == [
        "  symbols only in actual: B",
        "  symbols only in expected: D",
        "  symbols come in another order",
        "  columns only in actual: ask_open, ask_high, ask_low, ask_close, ask_volume, valid_ask",
        "  timeframe is M1 in actual, H1 in expected",
    ]
    # Who made them does not count.
    assert_slices_equal(side("A"), side("A", producer="somebody else", request=json.dumps(asked | {"start": 1})))


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, -math.inf])
def test_a_tolerance_that_allows_nothing_is_refused(tolerance: float) -> None:
    with pytest.raises(RequestError, match="tolerance"):
        assert_slices_equal([], [], tolerance=tolerance)


def test_what_holds_no_slices_is_refused(data: Path) -> None:
    for wrong in (3, [1], ["text"]):
        with pytest.raises(RequestError, match="expected holds"):
            assert_slices_equal([], wrong)  # type: ignore[arg-type]  # is what is tested
    with open_slices(data, symbols=["EURUSD"]) as one, open_slices(data, symbols=["GBPUSD"]) as other:
        mixed = [*one, *other]
    with pytest.raises(RequestError, match="several kinds"):
        assert_slices_equal(mixed, mixed)


def test_what_is_not_whole_raises_and_never_passes(tmp_path: Path, data: Path) -> None:
    whole = write(tmp_path / "whole.arrows", [stream_factory.batch(OF, 0, 20), stream_factory.batch(OF, 20, 20)])
    cut = tmp_path / "cut.arrows"
    for size in (20, 1 / 2, -8):
        raw = whole.read_bytes()
        cut.write_bytes(raw[: size if isinstance(size, int) else int(len(raw) * size)])
        for pair in ((whole, cut), (cut, whole)):
            with pytest.raises(DeserializationError):
                assert_slices_equal(*pair)
    with open_slices(data, symbols=["EURUSD"]) as slices:
        listed = list(slices.peek(1))
    with pytest.raises(IteratorExhaustedError):
        assert_slices_equal(slices, listed)


def test_the_traceback_ends_at_the_caller() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_slices_equal(_Held(stream_factory.batch(OF, 0, 1)), _Held(stream_factory.batch(OF, 0, 1, seed=1)))
    shown = [entry for entry in caught.traceback if not entry.ishidden(caught)]
    assert shown[-1].path == Path(__file__)


# The command and the function are one comparison in two languages.

_Change = Callable[[pa.RecordBatch], pa.RecordBatch]

_numbers = st.sampled_from([None, math.nan, 0.0, -0.0, math.inf, 1.0, 1.0 + 2**-40, 1.25])


@st.composite
def _changes(draw: st.DrawFn) -> _Change:
    row = draw(st.integers(0, 29))
    column = draw(st.sampled_from(["bid_open", "ask_volume", "valid_bid", "bid_timestamp", "ind_x"]))
    if column == "valid_bid":
        value: Any = draw(st.booleans())
    elif column == "bid_timestamp":
        value = draw(st.sampled_from([None, 0, stream_factory.START_NS]))
    else:
        value = draw(_numbers)
    return lambda batch: changed_candle(batch, row % batch.num_rows, column, value)


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Return two lists of batches of mostly the same slices, cut at other places."""
    whole = stream_factory.batch(OF, 0, 10, seed=draw(st.integers(0, 3)), missing=0.2, nan=0.1, carried=0.3)
    sides = []
    for _ in range(2):
        batch = whole
        for change in draw(st.lists(_changes(), max_size=2)):
            batch = change(batch)
        drop = draw(st.sets(st.integers(0, 9), max_size=2) | st.just(set(range(10))))
        kept = [batch.slice(number * 3, 3) for number in range(10) if number not in drop]
        size = draw(st.integers(1, 10))
        parts = [kept[first : first + size] for first in range(0, len(kept), size)]
        sides.append([pa.Table.from_batches(part).combine_chunks().to_batches()[0] for part in parts])
    return sides[0], sides[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=_pairs(), tolerance=st.sampled_from([0.0, 1e-9, 0.3]))
def test_the_command_finds_the_same(
    pair: tuple[list[pa.RecordBatch], list[pa.RecordBatch]], tolerance: float, tmp_path: Path, binary: Path
) -> None:
    a, b = write(tmp_path / "a.arrows", pair[0]), write(tmp_path / "b.arrows", pair[1])
    arguments = [str(binary), "diff", str(a), str(b), "--json", f"--tolerance={tolerance!r}"]
    command = subprocess.run(arguments, capture_output=True, check=False)
    told = json.loads(command.stdout)
    found = first_difference(testing._Side("actual", a), testing._Side("expected", b), tolerance)
    if found is None:
        assert_slices_equal(a, b, tolerance=tolerance)
        assert command.returncode == 0
    else:
        assert difference(a, b, tolerance) == found.text(("actual", "expected"))
        assert command.returncode == 1
    assert told["equal"] is (found is None)
    assert told["first_difference"] == _as_told(found)


def _as_told(found: Difference | None) -> dict[str, Any] | None:
    """Return a difference as the command writes it."""
    if found is None:
        return None
    a, b = found.positions
    if found.symbol is None:
        kind = "only_in_a" if b is None else "only_in_b"
        return {"kind": kind, "timestamp_ns": found.timestamp_ns, "slice": a if b is None else b}
    values = [
        value if not isinstance(value, float) or math.isfinite(value) else "NaN" if math.isnan(value) else str(value)
        for value in found.values
    ]
    return {
        "kind": "value",
        "timestamp_ns": found.timestamp_ns,
        "slice": {"a": a, "b": b},
        "symbol": found.symbol,
        "column": found.column,
        "a": values[0],
        "b": values[1],
    }
