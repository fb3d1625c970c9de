"""Make the Parquet data on which speed and memory are measured.

Question the data answers: how fast does `omega-slices sync` move many regular, nearly complete series?
Shape: SYMBOLS x price types, one file each, ROWS minutes from 2020-01-01T00:00Z, of which each file misses its own
random `--missing` share; prices are random walks rounded to five decimals, volumes random with two decimals.
Files are written with pyarrow's defaults (snappy, dictionary pages, row groups of 1,048,576 rows), so they look
like the files that users already have. The same arguments, and the same numpy, give the same values.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

TIMEFRAME = "M1"
PRICE_TYPES = ("bid", "ask", "trade")
MINUTE_NS = 60_000_000_000
FIRST_TIMESTAMP_NS = 1_577_836_800_000_000_000  # 2020-01-01T00:00:00Z
PIP = 0.0001


def symbol_names(count: int) -> list[str]:
    """Return `count` symbol names in the order in which they are requested."""
    return [f"SYM{number:03d}" for number in range(count)]


def series_path(root: Path, symbol: str, price_type: str) -> Path:
    """Return the file of one series in the default layout."""
    return root / symbol / f"{symbol}_{TIMEFRAME}_{price_type.upper()}.parquet"


def make_symbol(root: Path, index: int, rows: int, price_types: list[str], missing: float, seed: int) -> None:
    """Write the files of symbol number `index`: the ask follows the others at a small random distance."""
    rng = np.random.default_rng([seed, index])
    symbol = symbol_names(index + 1)[-1]
    timestamps_ns = FIRST_TIMESTAMP_NS + MINUTE_NS * np.arange(rows, dtype=np.int64)
    close = rng.uniform(0.6, 1.6) + np.cumsum(rng.normal(0.0, 0.2 * PIP, rows))
    open_ = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(open_, close) + rng.exponential(0.3 * PIP, rows)
    low = np.minimum(open_, close) - rng.exponential(0.3 * PIP, rows)
    spread = rng.integers(5, 15, rows) * (PIP / 10)
    (root / symbol).mkdir(parents=True, exist_ok=True)
    for price_type in price_types:
        shift: npt.NDArray[np.floating] | float = spread if price_type == "ask" else 0.0
        kept = np.flatnonzero(rng.random(rows) >= missing)
        columns = {"UTC time": pa.array(timestamps_ns[kept], pa.timestamp("ns", tz="UTC"))}
        for name, values in (("Open", open_), ("High", high), ("Low", low), ("Close", close)):
            columns[name] = pa.array(np.round(values + shift, 5)[kept])
        columns["Volume"] = pa.array(np.round(rng.gamma(2.0, 40.0, rows), 2)[kept])
        pq.write_table(pa.table(columns), series_path(root, symbol, price_type))


def make(options: argparse.Namespace) -> None:
    """Write the whole data set; numpy and pyarrow release the interpreter lock, so threads help."""
    shape = (options.rows, options.price_types, options.missing, options.seed)
    with ThreadPoolExecutor(options.threads) as pool:
        jobs = [pool.submit(make_symbol, options.out, index, *shape) for index in range(options.symbols)]
        for job in jobs:
            job.result()


def price_type_list(text: str) -> list[str]:
    """Parse names separated by commas."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(PRICE_TYPES)):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write into; must be empty or absent")
    parser.add_argument("--symbols", type=int, default=50, metavar="N")
    parser.add_argument(
        "--rows", type=int, default=200_000, metavar="N", help="minutes per file, before any is missing"
    )
    parser.add_argument("--price-types", type=price_type_list, default=["bid", "ask"], metavar="LIST")
    parser.add_argument("--missing", type=float, default=0.001, metavar="SHARE")
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
    print(
        f"{options.symbols} symbols x {','.join(options.price_types)} x {options.rows} rows, {options.missing:.4%} "
        f"missing, seed {options.seed}: {megabytes:.0f} MB in {time.perf_counter() - started:.1f} s"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
