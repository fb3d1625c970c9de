"""The cursor.

It reads like the slice at which it is, moves or stays, and leaves alone what was read before.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import stream_factory
from hypothesis import given
from hypothesis import strategies as st

from omega_slices import (
    DeserializationError,
    InvalidPriceTypeError,
    MultiSymbolSlice,
    NoDataForTimestampError,
    RequestError,
    SliceCursor,
    SliceTable,
    SymbolNotFoundError,
    read_slices,
)

OF = stream_factory.schema(fills=True, higher_timeframes=["H1"], indicators=["rsi"])
# Nine slices in three batches, with a gap before the last one.
BATCHES = [stream_factory.batch(OF, first, 3, missing=0.2, nan=0.1, carried=0.3) for first in (0, 3, 10)]
MINUTES = (0, 1, 2, 3, 4, 5, 10, 11, 12)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> SliceTable:
    path = tmp_path_factory.mktemp("cursor") / "x.arrow"
    path.write_bytes(stream_factory.encode_file(OF, BATCHES))
    return read_slices(path)


def reading(one: SliceCursor | MultiSymbolSlice) -> dict[str, object]:
    """Everything that can be read of a slice."""
    sides = ("bid", "ask", "trade")
    return {
        "times": (one.timestamp_ns, one.timestamp, one.known_at_ns, one.known_at),
        "names": (one.symbols, one.timeframe, one.timeframes, one.primary_tf, list(one.slices)),
        "mapping": (list(one), len(one), list(one.keys()), "EURUSD" in one, "XYZ" in one),
        "snapshots": repr((one.values(), one.items(), [one[symbol] for symbol in one])),
        "candles": repr([one.get(symbol, side) for symbol in (*one, "XYZ") for side in sides]),
        "prices": repr([one.get_price(symbol, side) for symbol in one for side in (*sides, "mid")]),
        "spreads": repr([one.get_spread(symbol) for symbol in one]),
        "higher_timeframes": repr([one.get_candle(symbol, timeframe) for symbol in one for timeframe in ("M1", "H1")]),
        "columns": repr([one.column(name).tolist() for name in OF.names]),
    }


def test_it_reads_like_the_slice(table: SliceTable) -> None:
    cursor = table.cursor()
    assert (cursor.index, cursor.timestamp_ns) == (0, table[0].timestamp_ns)
    for position, one in enumerate(table):
        assert cursor.set_index(position) is cursor
        assert cursor.index == position
        assert reading(cursor) == reading(one)
        assert cursor == one == cursor.to_slice()
        assert (cursor != one) is False
        assert cursor != table[position - 1]
        assert repr(cursor) == repr(one).replace("MultiSymbolSlice", "SliceCursor")


def test_it_has_all_that_a_slice_has() -> None:
    assert {name for name in dir(MultiSymbolSlice) if not name.startswith("_")} <= set(dir(SliceCursor))


def test_it_raises_what_a_slice_raises(table: SliceTable) -> None:
    cursor = table.cursor()
    with pytest.raises(SymbolNotFoundError):
        cursor["XYZ"]
    with pytest.raises(InvalidPriceTypeError):
        cursor.get("EURUSD", "last")
    with pytest.raises(TypeError, match="unhashable"):
        hash(cursor)


@given(
    start=st.integers(0, 8),
    length=st.integers(1, 9),
    moves=st.lists(st.tuples(st.booleans(), st.integers(-2, 13)), max_size=20),
)
def test_it_moves_or_stays(table: SliceTable, start: int, length: int, moves: list[tuple[bool, int]]) -> None:
    view = table[start : start + length]
    plain = list(view)
    cursor = view.cursor()
    at = 0
    for is_position, where in moves:
        if is_position:
            if 0 <= where < len(plain):
                at = where
                assert cursor.set_index(where) is cursor
            else:
                with pytest.raises(IndexError):
                    cursor.set_index(where)
        else:
            stamp = stream_factory.START_NS + where * stream_factory.MINUTE_NS
            stamps = [one.timestamp_ns for one in plain]
            if stamp in stamps:
                at = stamps.index(stamp)
                assert cursor.set_timestamp(stamp) is cursor
            else:
                with pytest.raises(NoDataForTimestampError, match="has no slice at"):
                    cursor.set_timestamp(stamp)
        assert (cursor.index, cursor.timestamp_ns) == (at, plain[at].timestamp_ns)
        assert cursor == plain[at]
        assert cursor.column("bid_close").tobytes() == plain[at].column("bid_close").tobytes()


def test_any_integer_and_any_time_will_do(table: SliceTable) -> None:
    cursor = table.cursor()
    assert cursor.set_index(np.int64(4)).index == 4
    assert type(cursor.index) is int
    assert cursor.set_timestamp("2024-01-02T00:10").index == 6
    assert cursor.set_timestamp(table[1].timestamp).index == 1
    wrong: Any
    for wrong in ("noon", 1.5, True):
        with pytest.raises(RequestError):
            cursor.set_timestamp(wrong)
    with pytest.raises(TypeError):
        cursor.set_index(1.0)  # type: ignore[arg-type]  # is what is tested
    assert cursor.index == 1


def test_what_was_read_before_a_move_stays(table: SliceTable) -> None:
    cursor = table.cursor().set_index(2)
    kept = (cursor["EURUSD"], cursor.get("GBPUSD"), cursor.column("ask_close"), cursor.values())
    kept_slice = cursor.to_slice()
    expected = (repr(kept), reading(kept_slice))
    for position in (8, 0, 5):
        cursor.set_index(position)
        assert (repr(kept), reading(kept_slice)) == expected
    assert kept_slice == table[2]
    assert hash(kept_slice) == hash(table[2])


def test_cursors_move_apart(table: SliceTable) -> None:
    one, other = table.cursor(), table.cursor()
    one.set_index(7)
    assert (one.index, other.index) == (7, 0)
    assert one != other
    assert other.set_index(7) == one


def test_a_pickle_is_at_the_same_slice(table: SliceTable) -> None:
    cursor = table[2:].cursor().set_index(5)
    copied = pickle.loads(pickle.dumps(cursor))
    assert (copied.index, copied) == (5, cursor)
    assert copied.set_index(0) == table[2]


def test_it_outlives_the_table(table: SliceTable) -> None:
    cursor = read_slices(table.path).cursor()
    assert [cursor.set_index(position).timestamp_ns for position in range(9)] == [
        stream_factory.START_NS + minute * stream_factory.MINUTE_NS for minute in MINUTES
    ]


def test_there_is_none_where_there_is_no_slice(table: SliceTable) -> None:
    with pytest.raises(NoDataForTimestampError, match="is empty") as caught:
        table[3:3].cursor()
    assert caught.value.code == 3003


def test_a_damaged_batch_leaves_it_where_it_is(tmp_path: Path) -> None:
    of = stream_factory.schema()
    batches = [stream_factory.batch(of, 0, 2), stream_factory.batch(of, 2, 3).take([0, 1, 2, 6, 7, 8, 3, 4, 5])]
    path = tmp_path / "x.arrow"
    path.write_bytes(stream_factory.encode_file(of, batches))
    cursor = read_slices(path).cursor().set_index(1)
    with pytest.raises(DeserializationError, match="its batch 1 is damaged"):
        cursor.set_index(2)
    assert cursor.index == 1
    assert cursor.set_index(0).index == 0
