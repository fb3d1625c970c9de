"""Make a small set of sample candles, so that the main job can be seen at work.

Shape: five FX symbols x bid and ask, M1 and the H1 that they make up, from Monday
2024-01-01T22:00Z on for `--days` days (default 10). Minutes on which the market is closed (Friday
22:00Z to Sunday 22:00Z) have no candle. In January `--session fx` begins and ends two hours earlier,
so it has rows to leave out. Each file misses its own 0.2 % of the others at random, so
that some minutes are one-sided; AUDUSD is listed from the third day on. Prices are random walks,
rounded to the symbol's digits; the ask lies above the bid; volumes are whole. The same arguments,
and the same numpy, give the same values.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
WEEK_MINUTES = 7 * 24 * 60
FIRST_NS = 1_704_146_400_000_000_000  # 2024-01-01T22:00Z, the first minute of a trading day
OPEN_MINUTES = 4 * 24 * 60  # from that first minute to Friday 22:00Z; then two days without trading
MISSING = 0.002

# First bid, digits, spread in the last digit, first day.
SYMBOLS = {
    "AUDUSD": (0.68, 5, 14, 2),
    "EURUSD": (1.104, 5, 8, 0),
    "GBPUSD": (1.273, 5, 12, 0),
    "USDCHF": (0.842, 5, 13, 0),
    "USDJPY": (141.0, 3, 11, 0),
}


def open_minutes(days: int, first_day: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the minutes since `FIRST_NS` on which the market is open."""
    minutes = np.arange(first_day * 1440, days * 1440, dtype=np.int64)
    of_week = minutes % WEEK_MINUTES
    return minutes[(of_week < OPEN_MINUTES) | (of_week >= OPEN_MINUTES + 2 * 1440)]


def make_symbol(root: Path, symbol: str, days: int, seed: int) -> int:
    """Write the two files of a symbol; return how many rows they have."""
    first_bid, digits, spread, first_day = SYMBOLS[symbol]
    random = np.random.default_rng([seed, *symbol.encode()])
    minutes = open_minutes(days, first_day)
    tick = 10.0**-digits
    close = first_bid + np.cumsum(random.normal(0.0, 8.0, len(minutes))) * tick
    opened = np.concatenate([[first_bid], close[:-1]])
    high = np.maximum(opened, close) + random.integers(0, 9, len(minutes)) * tick
    low = np.minimum(opened, close) - random.integers(0, 9, len(minutes)) * tick
    rows = 0
    for side, above in (("BID", 0), ("ASK", spread)):
        kept = random.random(len(minutes)) >= MISSING
        table = pa.table(
            {
                "UTC time": pa.array(FIRST_NS + minutes[kept] * MINUTE_NS).cast(pa.timestamp("ns", "UTC")),
                "Open": np.round(opened[kept] + above * tick, digits),
                "High": np.round(high[kept] + above * tick, digits),
                "Low": np.round(low[kept] + above * tick, digits),
                "Close": np.round(close[kept] + above * tick, digits),
                "Volume": random.integers(1, 500, int(kept.sum())).astype(np.float64),
            }
        )
        (root / symbol).mkdir(parents=True, exist_ok=True)
        for timeframe, candles in (("M1", table), ("H1", hours(table))):
            pq.write_table(candles, root / symbol / f"{symbol}_{timeframe}_{side}.parquet")
            rows += candles.num_rows
    return rows


def hours(minutes: pa.Table) -> pa.Table:
    """Return the hourly candles that some of a minute make up, stamped when they open."""
    stamps_ns = minutes["UTC time"].cast(pa.int64()).to_numpy() // HOUR_NS * HOUR_NS
    first = np.flatnonzero(np.diff(stamps_ns, prepend=-1))
    column = {name: minutes[name].to_numpy() for name in minutes.column_names[1:]}
    return pa.table(
        {
            "UTC time": pa.array(stamps_ns[first]).cast(pa.timestamp("ns", "UTC")),
            "Open": column["Open"][first],
            "High": np.maximum.reduceat(column["High"], first),
            "Low": np.minimum.reduceat(column["Low"], first),
            "Close": column["Close"][np.append(first[1:], len(stamps_ns)) - 1],
            "Volume": np.add.reduceat(column["Volume"], first),
        }
    )


def main() -> None:
    """Parse the command line, write the files, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder to write to")
    parser.add_argument("--days", type=int, default=10, help="days from 2024-01-01T22:00Z on (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random numbers (default: 1)")
    arguments = parser.parse_args()
    rows = sum(make_symbol(arguments.root, symbol, arguments.days, arguments.seed) for symbol in SYMBOLS)
    print(f"{len(SYMBOLS)} symbols, bid and ask, {rows:,} candles in {arguments.root}")


if __name__ == "__main__":
    main()
