"""The same work without us.

One function per library, each run as a process of its own that prints one JSON object.

Every peer has the same task:

1. Load all five values of every file.
2. Find the timestamps that all files have, and align all values with them.
3. Walk through the bid closes, one numpy row of all symbols per timestamp.

A slice carries all ten values of every symbol, so a peer that loaded the closes alone would do
other work. Every peer is written to be fast, with all cores. It may assume what omega-slices may
not: files in order without duplicates, no nulls, and enough memory for everything.

The clock runs from the first look at the files to the last row. Before that, the peer runs on two
files, so that what a library imports or starts on its first use does not count.
"""

# A process imports the one library that it is about.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

TIME = "UTC time"
VALUES = ("Open", "High", "Low", "Close", "Volume")


@dataclass(frozen=True)
class Aligned:
    """All values on the common timeline.

    Attributes
    ----------
    closes : array of shape (timestamps, symbols)
        The closes of the bids.
    values : iterable of array
        All values, closes of the bids included. Made when taken: a peer keeps them in the form of
        its library.
    """

    closes: Array
    values: Iterable[Array]


def closes_of(values: Sequence[Array]) -> Array:
    """Return the closes of series of which every other one is a bid, one row per timestamp."""
    import numpy as np

    closes: Array = np.column_stack(values[::2])
    return closes


def with_pyarrow(files: Sequence[Path], threads: int) -> Aligned:
    """Load with pyarrow; intersect sorted timestamps, and gather, with numpy."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    def load(file: Path) -> tuple[Array, list[Array]]:
        source = pq.ParquetFile(file, memory_map=True, pre_buffer=False)
        table = source.read(columns=[TIME, *VALUES], use_threads=False)
        return table[TIME].cast(pa.int64()).to_numpy(), [table[name].to_numpy() for name in VALUES]

    def common(some: Array, others: Array) -> Array:
        places = np.searchsorted(others, some)
        places[places == len(others)] = 0
        both: Array = some[others[places] == some]
        return both

    def align(one: tuple[Array, list[Array]]) -> list[Array]:
        rows = np.searchsorted(one[0], timeline)
        return [values.take(rows) for values in one[1]]

    with ThreadPoolExecutor(threads) as pool:
        series = list(pool.map(load, files))
        timestamps = [one[0] for one in series]
        shares = pool.map(lambda first: reduce(common, timestamps[first::threads]), range(min(threads, len(files))))
        timeline = reduce(common, shares)
        aligned = list(pool.map(align, series))
    return Aligned(closes_of([one[VALUES.index("Close")] for one in aligned]), (v for one in aligned for v in one))


def with_polars_joins(files: Sequence[Path], threads: int) -> Aligned:
    """Join neighbours, then the joined, and so on.

    Each value is copied as often as the tree is high.
    """
    import polars as pl

    del threads  # set for the whole process
    frames = [
        pl.scan_parquet(file).select(TIME, pl.col(VALUES).name.suffix(f" {number}"))
        for number, file in enumerate(files)
    ]
    while len(frames) > 1:
        pairs = zip(frames[::2], frames[1::2], strict=False)
        joined = [left.join(right, on=TIME, how="inner", maintain_order="left") for left, right in pairs]
        frames = joined + frames[2 * len(joined) :]
    frame = frames[0].collect()
    closes = [frame[f"Close {number}"].to_numpy() for number in range(len(files))]
    return Aligned(closes_of(closes), (column.to_numpy() for column in frame.drop(TIME)))


def with_polars_timeline(files: Sequence[Path], threads: int) -> Aligned:
    """Count each timestamp over all files.

    Keep the rows of those that all have, all files in one long frame.
    """
    import numpy as np
    import polars as pl

    del threads  # set for the whole process
    rows = pl.scan_parquet(list(files))
    timeline = rows.group_by(TIME).len().filter(pl.col("len") == len(files)).select(TIME).collect(engine="streaming")
    kept = rows.select(TIME, *VALUES).filter(pl.col(TIME).is_in(timeline[TIME].implode())).collect()
    # The files follow each other, each in its order and with one row per timestamp of the timeline.
    shape = (len(files), timeline.height)
    closes = kept["Close"].to_numpy().reshape(shape)[::2]
    return Aligned(np.ascontiguousarray(closes.T), (kept[name].to_numpy() for name in VALUES))


def with_duckdb(files: Sequence[Path], threads: int) -> Aligned:
    """Count each timestamp over all files into a table.

    Ask for the rows of each file that are in it.
    """
    import duckdb

    names = [str(file) for file in files]
    with duckdb.connect() as database:
        database.execute(f"SET threads = {threads}")
        common = 'SELECT "UTC time" FROM read_parquet($names) GROUP BY ALL HAVING count(*) = $count'
        database.execute(f"CREATE TABLE timeline AS {common}", {"names": names, "count": len(names)})
        query = (
            "SELECT Open, High, Low, Close, Volume FROM read_parquet($name) "
            'SEMI JOIN timeline USING ("UTC time") ORDER BY "UTC time"'
        )

        def align(name: str) -> dict[str, Array]:
            found: dict[str, Array] = database.cursor().execute(query, {"name": name}).fetchnumpy()
            return found

        with ThreadPoolExecutor(threads) as pool:
            aligned = list(pool.map(align, names))
    return Aligned(closes_of([one["Close"] for one in aligned]), (v for one in aligned for v in one.values()))


def with_pandas(files: Sequence[Path], threads: int) -> Aligned:
    """Intersect the indexes, which are sorted; take the rows of each frame."""
    import pandas as pd
    import pyarrow.parquet as pq

    def load(file: Path) -> pd.DataFrame:
        # As `pandas.read_parquet` does, which is slower by a quarter for what else it looks at.
        source = pq.ParquetFile(file, memory_map=True, pre_buffer=False)
        table = source.read(columns=[TIME, *VALUES], use_threads=False)
        return table.to_pandas(use_threads=False).set_index(TIME)

    def align(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.take(frame.index.get_indexer(timeline))

    with ThreadPoolExecutor(threads) as pool:
        frames = list(pool.map(load, files))
        timeline = reduce(lambda some, others: some.intersection(others), (frame.index for frame in frames))
        aligned = list(pool.map(align, frames))
    closes = closes_of([frame["Close"].to_numpy() for frame in aligned])
    return Aligned(closes, (frame[name].to_numpy() for frame in aligned for name in VALUES))


@dataclass(frozen=True)
class Peer:
    """A peer: its name for people, what it does, and the packages that it needs."""

    label: str
    align: Callable[[Sequence[Path], int], Aligned]
    packages: tuple[str, ...]


PEERS = {
    "pyarrow": Peer("pyarrow + numpy", with_pyarrow, ("numpy", "pyarrow.parquet")),
    "polars-joins": Peer("polars, joins", with_polars_joins, ("numpy", "polars")),
    "polars-timeline": Peer("polars, prepared timeline", with_polars_timeline, ("numpy", "polars")),
    "duckdb": Peer("duckdb", with_duckdb, ("numpy", "duckdb")),
    "pandas": Peer("pandas", with_pandas, ("numpy", "pandas", "pyarrow.parquet")),
}


def missing_packages(name: str) -> list[str]:
    """Return the packages of a peer that are not installed."""
    roots = {package.partition(".")[0] for package in PEERS[name].packages}
    return sorted(root for root in roots if importlib.util.find_spec(root) is None)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    # Our executable raises the limit on open files for itself.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["POLARS_MAX_THREADS"] = str(options.threads)
    peer = PEERS[options.peer]
    for package in peer.packages:
        importlib.import_module(package)
    symbols = sorted(path.name for path in options.data.iterdir())
    files = [options.data / symbol / f"{symbol}_M1_{side}.parquet" for symbol in symbols for side in ("BID", "ASK")]
    peer.align(files[:2], options.threads)
    started = time.perf_counter()
    aligned = peer.align(files, options.threads)
    for _ in aligned.closes:
        pass
    seconds = time.perf_counter() - started

    import numpy as np

    closes, values = float(np.nansum(aligned.closes)), sum(float(np.nansum(one)) for one in aligned.values)
    print(json.dumps({"value": seconds, "slices": len(aligned.closes), "closes": closes, "values": values}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
