"""Bars from elsewhere, compared with joins that polars makes on its own.

Neither the reference nor the goldens take part: the expected frames come from the packages' own
data.
"""

from __future__ import annotations

import runpy
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from helpers.docs import REPOSITORY
from polars.testing import assert_frame_equal

from omega_slices import SliceStream, open_slices

EXAMPLE = REPOSITORY / "scripts" / "real_input_example.py"
FIELDS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def stocks(example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stocks")
    example["write_stocks"](root)
    return root


@pytest.fixture(scope="module")
def eurusd(example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("eurusd")
    example["write_eurusd"](root)
    return root


def stock_frame(example: dict[str, Any], symbol: str) -> pl.DataFrame:
    """Return one stock's bars as polars has them, straight from the package."""
    bars = example["stock_bars"](symbol)
    days = pl.Series("timestamp", [date.fromisoformat(day) for day in bars["date"]]).cast(pl.Datetime("ns"))
    values = [pl.Series(f"{symbol}_{field}", bars[field]).cast(pl.Float64) for field in FIELDS]
    return pl.DataFrame([days.dt.replace_time_zone("UTC"), *values])


def wide_frame(slices: SliceStream, side: str) -> pl.DataFrame:
    """Return a stream as one row per slice: its timestamp, then the values of each symbol."""
    tidy = pl.DataFrame(pa.table(slices))
    frame = tidy.select("timestamp").unique(maintain_order=True)
    for symbol in slices.symbols:
        rows = tidy.filter(pl.col("symbol").cast(pl.String) == symbol)
        assert rows["timestamp"].equals(frame["timestamp"])
        frame = frame.hstack([rows[f"{side}_{field}"].alias(f"{symbol}_{field}") for field in FIELDS])
    return frame


@pytest.mark.parametrize("backend", ["rust", "python"])
@pytest.mark.parametrize(("timeline", "how"), [("intersection", "inner"), ("union", "full")])
def test_stocks(timeline: str, how: Any, backend: str, example: dict[str, Any], stocks: Path) -> None:
    symbols = ["MSFT", "FB", "AAPL", "IBM", "GOOG"]
    expected = stock_frame(example, symbols[0])
    for symbol in symbols[1:]:
        expected = expected.join(stock_frame(example, symbol), on="timestamp", how=how, coalesce=True)
    with open_slices(
        stocks, symbols=symbols, timeframe="D1", price_types=["trade"], timeline=timeline, backend=backend
    ) as slices:
        found = wide_frame(slices, "trade")
    assert_frame_equal(found, expected.sort("timestamp"), check_exact=True)
    # The data is what it is said to be: the intersection begins with the youngest stock, the union
    # long before.
    first = found["timestamp"][0].date()
    assert first == (date(2012, 5, 18) if timeline == "intersection" else date(2000, 3, 1))
    fb_days = len(example["stock_bars"]("FB")["date"])
    assert found["FB_close"].null_count() == (0 if timeline == "intersection" else found.height - fb_days)


@pytest.mark.parametrize("backend", ["rust", "python"])
@pytest.mark.parametrize("session", ["none", "fx"])
def test_hourly_eurusd(session: str, backend: str, example: dict[str, Any], eurusd: Path) -> None:
    bars = pl.read_csv(example["eurusd_csv"](), try_parse_dates=True)
    stamps = bars.to_series(0).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC").alias("timestamp")
    values = [bars[field.capitalize()].cast(pl.Float64).alias(f"EURUSD_{field}") for field in FIELDS]
    expected = pl.DataFrame([stamps, *values])
    if session == "fx":
        sydney = stamps.dt.convert_time_zone("Australia/Sydney")
        hours = (sydney.dt.weekday().cast(pl.Int32) - 1) * 24 + sydney.dt.hour().cast(pl.Int32)  # since Monday 00:00
        expected = expected.filter((hours >= 7) & (hours < 5 * 24 + 7))
        assert 0 < bars.height - expected.height < bars.height, "the data has hours on both sides of the session"
    with open_slices(
        eurusd, symbols=["EURUSD"], timeframe="H1", price_types=["bid"], session=session, backend=backend
    ) as slices:
        found = wide_frame(slices, "bid")
        (series,) = slices.report.series
    assert_frame_equal(found, expected, check_exact=True)
    assert series.outside_session == bars.height - expected.height


def test_the_example_prints_its_table(example: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert example["main"](["--days", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-4:]] == ["2013-02-27", "2013-02-28", "2013-03-01", "move"]
    closes = [example["stock_bars"](symbol)["close"][-1] for symbol in lines[-5].split()]
    assert lines[-2].split()[1:] == [f"{close:.2f}" for close in closes]
