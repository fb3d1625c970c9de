"""Daily bars of five US stocks, side by side.

Bars from elsewhere, read through `open_slices`.

Writes the bars of the package `bokeh_sampledata` as Parquet into a folder: AAPL, FB, GOOG, IBM,
MSFT, 2000 to 2013, listed at different times. Prints how the five moved over the last days on which
all traded. It needs `pip install ./py bokeh_sampledata`.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import importlib.util
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omega_slices import open_slices

STOCKS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def write_series(root: Path, symbol: str, timeframe: str, side: str, columns: Mapping[str, pa.Array]) -> None:
    """Write one series in the default layout; `columns` has the six input columns in order."""
    folder = root / symbol
    folder.mkdir(parents=True, exist_ok=True)
    names = ("UTC time", "Open", "High", "Low", "Close", "Volume")
    table = pa.Table.from_arrays([columns[name] for name in names], names=list(names))
    pq.write_table(table, folder / f"{symbol}_{timeframe}_{side}.parquet")


def stock_bars(symbol: str) -> dict[str, Sequence[str | float]]:
    """Return the daily bars of one stock as lists.

    `date` (text), `open`, `high`, `low`, `close`, `volume`.
    """
    bars: dict[str, Sequence[str | float]] = getattr(importlib.import_module("bokeh_sampledata.stocks"), symbol)
    return bars


def write_stocks(root: Path) -> None:
    """Write the daily bars of the five stocks; days are dates, volumes integers."""
    for symbol in STOCKS:
        bars = stock_bars(symbol)
        columns = {name.capitalize(): pa.array(bars[name]) for name in ("open", "high", "low", "close", "volume")}
        days = [date.fromisoformat(str(day)) for day in bars["date"]]
        write_series(root, symbol, "D1", "TRADE", {"UTC time": pa.array(days, pa.date32()), **columns})


def eurusd_csv() -> Path:
    """Return the file of hourly EURUSD bars in the package `backtesting`, without importing it."""
    package = importlib.util.find_spec("backtesting")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("the package `backtesting` is not installed: pip install backtesting")
    return Path(package.submodule_search_locations[0]) / "test" / "EURUSD.csv"


def write_eurusd(root: Path) -> None:
    """Write the hourly EURUSD bars as bid candles; times carry no zone."""
    with eurusd_csv().open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    stamps, *values = zip(*rows, strict=True)
    columns = {"UTC time": pa.array(map(datetime.fromisoformat, stamps), pa.timestamp("us"))}
    for name, column in zip(("Open", "High", "Low", "Close", "Volume"), values, strict=True):
        columns[name] = pa.array(map(float, column))
    write_series(root, "EURUSD", "H1", "BID", columns)


def print_table(root: Path, days: int) -> None:
    """Print the closes of the last days, and the move of each stock over them."""
    with open_slices(root, symbols=STOCKS, timeframe="D1", price_types=["trade"]) as slices:
        # Slices stay valid after the stream has moved on, and after it is closed.
        last = deque(slices, maxlen=days)
        report = slices.report
    print(f"{report.slices} days on which all five traded, the last {len(last)}:")
    print(f"{'':10}", *(f"{symbol:>9}" for symbol in last[0]))
    for one in last:
        print(f"{one.timestamp:%Y-%m-%d}", *(f"{one.get_price(symbol, 'trade'):9.2f}" for symbol in one))
    moves = last[-1].column("trade_close") / last[0].column("trade_close") - 1.0
    print(f"{'move':10}", *(f"{move:9.2%}" for move in moves))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the Parquet files in this folder instead of a temporary one")
    parser.add_argument("--days", type=int, default=8, help="how many days to print")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        root = options.out or Path(temporary)
        write_stocks(root)
        print_table(root, options.days)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
