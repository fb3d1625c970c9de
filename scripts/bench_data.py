"""Make the Parquet data on which speed and memory are measured.

Question: how fast does `omega-slices sync` move many regular, nearly complete series?

Shape: SYMBOLS x price types, one file each, ROWS minutes from 2020-01-01T00:00Z. Each file misses
its own random `--missing` share of them; with `LOW:HIGH` the share is random too. Prices are random
walks rounded to five decimals, volumes random with two decimals. `--further H1,H4` also writes
candles of these timeframes, made of the minutes that are there. `--days` writes one file per series
and day, {symbol}_{timeframe}_{SIDE}_{YYYY-MM-DD}.parquet. With `--indicators N` each symbol gets
moving averages `sma10`, `sma20`, … of the closes of its first price type.

Writer: `--writer`, pyarrow's defaults (snappy, dictionary pages, row groups of 1,048,576 rows) if
not given; see bench_writers.py. The same arguments and the same numpy give the same values,
whatever the writer.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bench_writers import WRITERS

TIMEFRAME = "M1"
PRICE_TYPES = ("bid", "ask", "trade")
MINUTE_NS = 60_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS
FIRST_TIMESTAMP_NS = 1_577_836_800_000_000_000  # 2020-01-01T00:00:00Z
PIP = 0.0001


def symbol_names(count: int) -> list[str]:
    """Return `count` symbol names in the order in which they are requested."""
    return [f"SYM{number:03d}" for number in range(count)]


def series_path(root: Path, symbol: str, timeframe: str, side: str) -> Path:
    """Return the file of one series in the default layout."""
    return root / symbol / f"{symbol}_{timeframe}_{side.upper()}.parquet"


def stamps(timestamps_ns: npt.NDArray[np.int64]) -> pa.Array:
    """Return timestamps as Parquet files hold them."""
    return pa.array(timestamps_ns, pa.timestamp("ns", tz="UTC"))


class Candles(NamedTuple):
    """The columns of a series."""

    timestamps_ns: npt.NDArray[np.int64]
    open: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    close: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]

    def write(self, path: Path, options: argparse.Namespace) -> None:
        """Write them to one file or, with `--days`, to one per day, which has the day in its name."""
        if options.days:
            for day, candles in self.by_day():
                candles.write_to(path.with_stem(f"{path.stem}_{day}"), options.writer)
        else:
            self.write_to(path, options.writer)

    def by_day(self) -> Iterator[tuple[np.datetime64, Candles]]:
        """Return the candles of each day that has any."""
        days = self.timestamps_ns // DAY_NS
        edges = np.flatnonzero(np.diff(days)) + 1
        for columns in zip(*(np.split(column, edges) for column in self), strict=True):
            yield columns[0][0].astype("datetime64[ns]").astype("datetime64[D]"), Candles(*columns)

    def write_to(self, path: Path, writer: str) -> None:
        """Write them as a writer does."""
        names = ("Open", "High", "Low", "Close", "Volume")
        columns = dict(zip(names, self[1:], strict=True))
        WRITERS[writer](pa.table({"UTC time": stamps(self.timestamps_ns), **columns}), path)

    def of_hours(self, hours: int) -> Candles:
        """Return the candles of the hours that they make up."""
        opens_ns = self.timestamps_ns // (hours * 60 * MINUTE_NS) * (hours * 60 * MINUTE_NS)
        first = np.flatnonzero(np.diff(opens_ns, prepend=opens_ns[0] - 1))
        last = np.append(first[1:], opens_ns.size) - 1
        return Candles(
            opens_ns[first],
            self.open[first],
            np.maximum.reduceat(self.high, first),
            np.minimum.reduceat(self.low, first),
            self.close[last],
            np.add.reduceat(self.volume, first),
        )


def make_symbol(root: Path, index: int, options: argparse.Namespace) -> None:
    """Write the files of symbol number `index`.

    The ask follows the others at a small random distance.
    """
    rng = np.random.default_rng([options.seed, index])
    symbol = symbol_names(index + 1)[-1]
    rows = options.rows
    timestamps_ns = FIRST_TIMESTAMP_NS + MINUTE_NS * np.arange(rows, dtype=np.int64)
    close = rng.uniform(0.6, 1.6) + np.cumsum(rng.normal(0.0, 0.2 * PIP, rows))
    open_ = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(open_, close) + rng.exponential(0.3 * PIP, rows)
    low = np.minimum(open_, close) - rng.exponential(0.3 * PIP, rows)
    spread = rng.integers(5, 15, rows) * (PIP / 10)
    (root / symbol).mkdir(parents=True, exist_ok=True)
    for number, price_type in enumerate(options.price_types):
        shift: npt.NDArray[np.floating] | float = spread if price_type == "ask" else 0.0
        least, most = options.missing
        missing = least if least == most else rng.uniform(least, most)
        kept = np.flatnonzero(rng.random(rows) >= missing)
        opens, highs, lows, closes = (np.round(values + shift, 5)[kept] for values in (open_, high, low, close))
        volumes = np.round(rng.gamma(2.0, 40.0, rows), 2)[kept]
        candles = Candles(timestamps_ns[kept], opens, highs, lows, closes, volumes)
        candles.write(series_path(root, symbol, TIMEFRAME, price_type), options)
        for timeframe in options.further:
            hours = candles.of_hours(int(timeframe.removeprefix("H")))
            hours.write(series_path(root, symbol, timeframe, price_type), options)
        if number == 0 and options.indicators:
            table = {"UTC time": stamps(candles.timestamps_ns)}
            table |= {f"sma{10 * n}": mean(candles.close, 10 * n) for n in range(1, options.indicators + 1)}
            WRITERS[options.writer](pa.table(table), series_path(root, symbol, TIMEFRAME, "ind"))


def make(options: argparse.Namespace) -> None:
    """Write the whole data set; numpy and pyarrow release the interpreter lock, so threads help."""
    with ThreadPoolExecutor(options.threads) as pool:
        jobs = [pool.submit(make_symbol, options.out, index, options) for index in range(options.symbols)]
        for job in jobs:
            job.result()


def mean(values: npt.NDArray[np.float64], span: int) -> npt.NDArray[np.float64]:
    """Return the mean of the last `span` values at each, of fewer at the first ones."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, values.size + 1)
    first = np.maximum(last - span, 0)
    means: npt.NDArray[np.float64] = (sums[last] - sums[first]) / (last - first)
    return means


def share(text: str) -> tuple[float, float]:
    """Parse a share, or the least and the most of one."""
    low, _, high = text.partition(":")
    shares = (float(low), float(high or low))
    if not 0.0 <= shares[0] <= shares[1] < 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected a share such as 0.001, or two such as 0:0.4")
    return shares


def price_type_list(text: str) -> list[str]:
    """Parse names separated by commas."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(PRICE_TYPES)):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


def further_list(text: str) -> list[str]:
    """Parse timeframes of whole hours separated by commas."""
    names = text.split(",")
    if any(not re.fullmatch("H[1-9][0-9]*", name) for name in names):
        raise argparse.ArgumentTypeError(f"{text}: only H1, H2, … can be made")
    return names


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write into; must be empty or absent")
    parser.add_argument("--symbols", type=int, default=50, metavar="N")
    parser.add_argument(
        "--rows", type=int, default=200_000, metavar="N", help="minutes per file, before any is missing"
    )
    parser.add_argument("--price-types", type=price_type_list, default=["bid", "ask"], metavar="LIST")
    parser.add_argument("--further", type=further_list, default=[], metavar="LIST", help="such as H1,H4")
    parser.add_argument("--indicators", type=int, default=0, metavar="N")
    parser.add_argument("--missing", type=share, default=(0.001, 0.001), metavar="SHARE")
    parser.add_argument("--writer", choices=sorted(WRITERS), default="pyarrow")
    parser.add_argument("--days", action="store_true", help="one file per series and day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = arguments(argv)
    if options.out.exists() and any(options.out.iterdir()):
        print(f"{options.out} is not empty; name a new folder", file=sys.stderr)
        return 2
    started = time.perf_counter()
    make(options)
    megabytes = sum(path.stat().st_size for path in options.out.rglob("*.parquet")) / 1e6
    missing = " to ".join(f"{share:.4%}" for share in dict.fromkeys(options.missing))
    shape = f"{options.symbols} symbols x {','.join(options.price_types)} x {options.rows} rows by {options.writer}"
    print(
        f"{shape}, {missing} missing, seed {options.seed}: {megabytes:.0f} MB in {time.perf_counter() - started:.1f} s"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
