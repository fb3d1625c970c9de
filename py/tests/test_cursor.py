"""The cursor: it reads as the slice that it is at, whatever way it came there, and stays where it cannot move."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wire
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_slices import (
    MultiSymbolSlice,
    NoDataForTimestampError,
    RequestError,
    SliceCursor,
    SliceTable,
    SymbolNotFoundError,
    read_slices,
)


def at_minute(minute: int) -> int:
    return wire.START_NS + minute * wire.MINUTE_NS


def write(path: Path, sizes: list[int]) -> Path:
    """Write batches of every other minute."""
    schema = wire.schema(fills=True, further=("H1",), indicators=("rsi",))
    made, first = [], 0
    for size in sizes:
        made.append(wire.batch(schema, first, size, missing=0.3, carried=0.3))
        first += size + 1
    return wire.write_file(path, schema, made)


@pytest.fixture
def table(tmp_path: Path) -> SliceTable:
    """Ten slices in three batches, with a minute missing between two of them."""
    return read_slices(write(tmp_path / "x.arrow", [4, 1, 5]))


def told(one: Any) -> list[object]:
    """Return everything that a slice, or a cursor, tells."""
    sides = ("bid", "ask")
    found: list[object] = [one.timestamp_ns, one.timestamp, one.known_at_ns, one.known_at]
    found += [one.symbols, one.timeframe, one.timeframes, one.primary_tf, list(one.slices), len(one)]
    found += [list(one), list(one.keys()), one.values(), one.items(), "EURUSD" in one, "X" in one]
    for symbol in one:
        found += [one.get(symbol, side) for side in sides]
        found += [one.get_candle(symbol, timeframe, side) for timeframe in ("M1", "H1") for side in sides]
        found += [one.get_price(symbol, side) for side in (*sides, "mid")]
        found += [one.get_spread(symbol), one[symbol]]
    names = ("symbol", "timestamp", "bid_close", "valid_ask", "bid_timestamp", "H1_ask_open", "ind_rsi")
    return [*found, *(one.column(name).tolist() for name in names)]


def test_a_cursor_reads_as_its_slice(table: SliceTable) -> None:
    cursor = table.cursor()
    assert cursor.table is table
    for number, one in enumerate(table):
        assert cursor.set_index(number) is cursor
        assert cursor.index == number
        assert repr(told(cursor)) == repr(told(one))
        assert repr(cursor) == repr(one).replace("MultiSymbolSlice", "SliceCursor")
        assert cursor.slice() == one
        assert cursor.set_timestamp(one.timestamp_ns) is cursor
        assert (cursor.index, cursor.slice()) == (number, one)


def test_it_has_all_that_a_slice_has() -> None:
    public = {name for name, _ in inspect.getmembers(MultiSymbolSlice) if not name.startswith("_")}
    assert public <= set(dir(SliceCursor))


def test_what_was_taken_stays(table: SliceTable) -> None:
    cursor = table.cursor()
    candle, snapshot, column, one = cursor.get("EURUSD"), cursor["EURUSD"], cursor.column("ask_close"), cursor.slice()
    before = repr((candle, snapshot, column.tolist(), told(one)))
    cursor.set_index(-1)
    assert repr((candle, snapshot, column.tolist(), told(one))) == before
    assert one == table[0]
    assert cursor.slice() == table[9]


def test_a_cursor_that_cannot_move_stays(table: SliceTable) -> None:
    cursor = table.cursor().set_index(6)
    for beyond in (10, -11, 2**70):
        with pytest.raises(IndexError):
            cursor.set_index(beyond)
    with pytest.raises(NoDataForTimestampError, match="nearest are"):
        cursor.set_timestamp(at_minute(4))
    with pytest.raises(RequestError):
        cursor.set_timestamp("soon")
    with pytest.raises(SymbolNotFoundError):
        cursor["XAUUSD"]
    for name in ("timestamp_ns", "index", "anything"):
        with pytest.raises(AttributeError):
            setattr(cursor, name, 0)
    assert cursor.index == 6
    assert cursor.slice() == table[6]


def test_numbers_of_other_kinds(table: SliceTable) -> None:
    cursor = table.cursor()
    assert cursor.set_index(np.int16(3)).index == 3
    assert type(cursor.index) is int
    assert cursor.set_index(-1).index == 9
    assert cursor.set_timestamp("2024-01-02").index == 0


@settings(deadline=None, max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    cut=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    moves=st.lists(st.tuples(st.booleans(), st.integers(-2, 18)), max_size=25),
)
def test_any_moves_over_any_view(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    cut: tuple[int, int],
    moves: list[tuple[bool, int]],
) -> None:
    whole = read_slices(write(tmp_path_factory.mktemp("cursor") / "x.arrow", sizes))
    view = whole[slice(*sorted(cut))]
    expected = list(whole)[slice(*sorted(cut))]
    if not expected:
        with pytest.raises(IndexError):
            view.cursor()
        return
    stamps = [one.timestamp_ns for one in expected]
    cursor, at = view.cursor(), 0
    for by_time, step in moves:
        if by_time:
            if at_minute(step) in stamps:
                at = stamps.index(at_minute(step))
                cursor.set_timestamp(at_minute(step))
            else:
                with pytest.raises(NoDataForTimestampError):
                    cursor.set_timestamp(at_minute(step))
        elif -len(stamps) <= step < len(stamps):
            at = step % len(stamps)
            cursor.set_index(step)
        else:
            with pytest.raises(IndexError):
                cursor.set_index(step)
        assert (cursor.index, cursor.timestamp_ns) == (at, stamps[at])
        assert cursor.slice() == expected[at]


def test_cursors_do_not_disturb_each_other(table: SliceTable) -> None:
    one, other = table.cursor(), table.cursor()
    one.set_index(8)
    assert (one.index, other.index) == (8, 0)
    assert one != other


def test_a_cursor_can_leave_the_process(table: SliceTable) -> None:
    again = pickle.loads(pickle.dumps(table[2:].cursor().set_index(3)))
    assert (again.index, again.slice()) == (3, table[5])
