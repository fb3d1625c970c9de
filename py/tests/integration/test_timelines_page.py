"""The page on timelines says what both backends do.

Its pictures are drawn again, from real slices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.docs import docs_page
from helpers.stream_factory import FIELDS, MINUTE_NS

from omega_slices import CandleData, open_slices

PAGE: Final = docs_page("timelines")

NINE_NS: Final = 1_704_186_000 * 10**9  # 2024-01-02T09:00Z
CANDLES: Final = {"A": range(8), "B": (0, 1, 4, 5, 7), "C": (2, 3, 4)}
MINUTES: Final = range(8)

both_backends = pytest.mark.parametrize("backend", ["python", "rust"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for symbol, minutes in CANDLES.items():
        write(tmp_path / symbol / f"{symbol}_M1_BID.parquet", minutes)
        write(tmp_path / symbol / f"{symbol}_M5_BID.parquet", (-5, 0, 5))
    return tmp_path


def write(path: Path, minutes: Any) -> None:
    """Write candles whose every value is the minute that they open at."""
    path.parent.mkdir(exist_ok=True)
    stamps = pa.array([NINE_NS + minute * MINUTE_NS for minute in minutes]).cast(pa.timestamp("ns", "UTC"))
    values = {name.capitalize(): [float(minute) for minute in minutes] for name in FIELDS}
    pq.write_table(pa.table({"UTC time": stamps, **values}), path)


def in_page(*lines: str) -> None:
    """Check that a picture stands in the page, line by line, whatever comes before or behind it."""
    text = [line.rstrip() for line in PAGE.splitlines()]
    for line in lines:
        assert line.rstrip() in text, f"the page lacks:\n{line}"


def clock(minute: int) -> str:
    hours, minutes = divmod(9 * 60 + minute, 60)
    return f"{hours:02}:{minutes:02}"


def test_the_example() -> None:
    cells = {symbol: ["●" if minute in here else "·" for minute in MINUTES] for symbol, here in CANDLES.items()}
    in_page(*(f"{symbol} bid         {first}     {'    '.join(others)}" for symbol, (first, *others) in cells.items()))


@both_backends
@pytest.mark.parametrize("timeline", ["intersection", "union", "leader:B", "quorum:2"])
def test_timelines(timeline: str, backend: str, root: Path) -> None:
    with open_slices(root, symbols=list("ABC"), price_types=["bid"], timeline=timeline, backend=backend) as slices:
        minutes = {(one.timestamp_ns - NINE_NS) // MINUTE_NS for one in slices}
    first, *others = ["■" if minute in minutes else "·" for minute in MINUTES]
    in_page(f"{timeline:12}    {first}     {'    '.join(others)}")


@both_backends
def test_carried_candles(backend: str, root: Path) -> None:
    shown: dict[str, list[str]] = {symbol: [] for symbol in CANDLES}
    options: dict[str, Any] = {"fill": "forward", "max_age": "2m", "timeline": "union"}
    with open_slices(root, symbols=list("ABC"), price_types=["bid"], **options, backend=backend) as slices:
        for one in slices:
            for symbol, cells in shown.items():
                cells.append(carried_text(one[symbol].bid, one.timestamp_ns))
                age_ns = one[symbol].age_ns
                assert one[symbol].is_carried == ("+" in cells[-1])
                assert (age_ns is None) == (cells[-1] == "–")
    for symbol, cells in shown.items():
        in_page(f"{symbol} bid          {' '.join(f'{cell:8}' for cell in cells)}")


def carried_text(candle: CandleData | None, timestamp_ns: int) -> str:
    if candle is None:
        return "–"
    minute = (candle.timestamp_ns - NINE_NS) // MINUTE_NS
    assert candle.close == minute
    age = (timestamp_ns - candle.timestamp_ns) // MINUTE_NS
    return clock(minute) + (f" +{age}" if age else "")


@both_backends
@pytest.mark.parametrize("known_at", ["open", "close"])
def test_further_timeframes(known_at: str, backend: str, root: Path) -> None:
    shown = []
    options: dict[str, Any] = {"with_timeframe": ["M5"], "known_at": known_at}
    with open_slices(root, symbols=["A"], price_types=["bid"], **options, backend=backend) as slices:
        for one in slices:
            candle = one.get_candle("A", "M5")
            assert candle is not None
            shown.append(clock((candle.timestamp_ns - NINE_NS) // MINUTE_NS))
    in_page(f"known-at {known_at:5} {' '.join(f'{cell:8}' for cell in shown)}")
