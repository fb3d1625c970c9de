"""Matrices of closes, and feeds of an engine: ours and by other ways, each a process of its own.

Each program prints one JSON object. The clock runs from the files to the table, imports aside. All
tables of closes hold the timestamps that every symbol has.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ["UTC time", "Close"]


def files_of(options: argparse.Namespace) -> dict[str, Path]:
    """Return the bid file of every symbol."""
    symbols = sorted(path.name for path in options.data.iterdir())
    return {symbol: options.data / symbol / f"{symbol}_M1_BID.parquet" for symbol in symbols}


def answer(started: float, frame: Any) -> dict[str, Any]:
    """Return the time since the start, and what the table holds."""
    seconds = time.perf_counter() - started
    matrix = np.asarray(frame, np.float64)
    return {"value": seconds, "slices": len(matrix), "closes": float(matrix.sum())}


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Ask for the closes of the bids, and take them as a frame of pandas."""
    import pandas as pd  # noqa: F401, PLC0415 - imported before the clock starts, as for the others

    from omega_slices import open_slices  # noqa: PLC0415

    started = time.perf_counter()
    with open_slices(
        options.data, symbols=list(files_of(options)), price_types=["bid"], fields=["close"], threads=options.threads
    ) as slices:
        frame = slices.to_wide("bid_close")
    return answer(started, frame)


def by_pandas(options: argparse.Namespace) -> dict[str, Any]:
    """Read two columns of every file, and join them."""
    import pandas as pd  # noqa: PLC0415

    started = time.perf_counter()
    columns = [
        pd.read_parquet(path, columns=COLUMNS).set_index("UTC time")["Close"].rename(symbol)
        for symbol, path in files_of(options).items()
    ]
    return answer(started, pd.concat(columns, axis=1, join="inner"))


def by_polars_joins(options: argparse.Namespace) -> dict[str, Any]:
    """Scan two columns of every file, and join them one by one."""
    import polars as pl  # noqa: PLC0415

    started = time.perf_counter()
    scans = [
        pl.scan_parquet(path).select("UTC time", pl.col("Close").alias(symbol))
        for symbol, path in files_of(options).items()
    ]
    joined = scans[0]
    for scan in scans[1:]:
        joined = joined.join(scan, on="UTC time", how="inner")
    frame = joined.sort("UTC time").collect().drop("UTC time")
    return answer(started, frame.to_numpy())


def by_polars_align(options: argparse.Namespace) -> dict[str, Any]:
    """Read two columns of every file, and pivot all of them at once."""
    import polars as pl  # noqa: PLC0415

    started = time.perf_counter()
    frames = [
        pl.read_parquet(path, columns=COLUMNS).with_columns(symbol=pl.lit(symbol))
        for symbol, path in files_of(options).items()
    ]
    wide = pl.concat(frames).pivot("symbol", index="UTC time", values="Close").drop_nulls().sort("UTC time")
    return answer(started, wide.drop("UTC time").to_numpy())


def by_duckdb(options: argparse.Namespace) -> dict[str, Any]:
    """Let a database pivot the files."""
    import duckdb  # noqa: PLC0415

    connection = duckdb.connect(config={"threads": options.threads})
    started = time.perf_counter()
    parts = " UNION ALL ".join(
        f"""SELECT "UTC time" AS stamp, '{symbol}' AS symbol, "Close" AS price FROM read_parquet('{path}')"""  # noqa: S608
        for symbol, path in files_of(options).items()
    )
    wide = connection.execute(f"PIVOT ({parts}) ON symbol USING first(price) GROUP BY stamp ORDER BY stamp").df()
    return answer(started, wide.drop(columns="stamp").dropna())


def blocks(options: argparse.Namespace) -> dict[str, Any]:
    """Walk through a stream by blocks of closes."""
    return walked(options, lambda slices: (block for _, block in slices.blocks("bid_close")))


def batches(options: argparse.Namespace) -> dict[str, Any]:
    """Walk through a stream by batches."""
    return walked(options, lambda slices: slices.batches())


def walked(options: argparse.Namespace, way: Callable[[Any], Any]) -> dict[str, Any]:
    """Walk through a stream."""
    from omega_slices import open_slices  # noqa: PLC0415

    started = time.perf_counter()
    with open_slices(options.data, symbols=list(files_of(options)), threads=options.threads) as slices:
        for _ in way(slices):
            pass
    return {"value": time.perf_counter() - started, "slices": slices.report.slices}


def to_numpy(options: argparse.Namespace) -> dict[str, Any]:
    """Take one column of a file as a matrix, and copy that; return how many copies it takes."""
    from omega_slices import read_slices  # noqa: PLC0415

    ratios = []
    # The first time brings the column into the page cache, and memory to the process.
    for _ in range(4):
        table = read_slices(options.data)
        started = time.perf_counter()
        matrix = table.to_numpy("bid_close")
        taken = time.perf_counter() - started
        started = time.perf_counter()
        copied = matrix.copy()
        ratios.append(taken / (time.perf_counter() - started))
        del copied, matrix
    return {"value": sorted(ratios[1:])[1], "slices": len(table)}


def feed(options: argparse.Namespace) -> dict[str, Any]:
    """Load the bars of our feeds into the engine."""
    import backtrader  # noqa: F401, PLC0415

    from omega_slices import open_slices  # noqa: PLC0415
    from omega_slices.engines.backtrader import feeds  # noqa: PLC0415

    symbols = list(files_of(options))[:2]
    started = time.perf_counter()
    with open_slices(
        options.data, symbols=symbols, price_types=["bid"], timeline="union", threads=options.threads
    ) as slices:
        found = feeds(slices)
    return loaded(started, list(found.values()))


def own_feed(options: argparse.Namespace) -> dict[str, Any]:
    """Load the bars of the engine's own feed over frames of pandas."""
    import backtrader as bt  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    started = time.perf_counter()
    datas = []
    for path in list(files_of(options).values())[:2]:
        frame = pd.read_parquet(path).set_index("UTC time").tz_localize(None)
        datas.append(bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes))
    return loaded(started, datas)


def loaded(started: float, datas: list[Any]) -> dict[str, Any]:
    """Load all bars as the engine does before it runs a strategy."""
    import backtrader as bt  # noqa: PLC0415

    bars, engine = 0, bt.Cerebro()
    for data in datas:
        data.setenvironment(engine)
        data._start()  # noqa: SLF001 - as the engine does
        data.preload()
        bars += data.buflen()
    return {"value": time.perf_counter() - started, "slices": bars}


KINDS = {
    "wide-ours": ours,
    "wide-pandas": by_pandas,
    "wide-polars-joins": by_polars_joins,
    "wide-polars-pivot": by_polars_align,
    "wide-duckdb": by_duckdb,
    "blocks": blocks,
    "batches": batches,
    "to-numpy": to_numpy,
    "feed": feed,
    "own-feed": own_feed,
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("data", type=Path, help="the root folder; of to-numpy: a precomputed file")
    parser.add_argument("--price-types", help="of the data; the programs take the bids")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    print(json.dumps(KINDS[options.kind](options)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
