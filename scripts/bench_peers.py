"""The same work without us.

One function per library, each run as a process of its own that prints one JSON object.

Every peer has the same task:

1. Load all five values of every file.
2. Find the timestamps that all files have, or those that any file has. Align all values with them,
   NaN where a series has none.
3. Walk through the bid closes, one numpy row of all symbols per timestamp.

A slice carries all values of every symbol, so a peer that loaded the closes alone would do other
work. Every peer is written to be fast, with all cores. It may assume what omega-slices may not:
files in order without duplicates, no nulls, and enough memory for everything.

`polars-scan` is another task: the sums of all columns of all files, with nothing aligned.

The clock runs from the first look at the files to the last row. Before that, the peer runs on two
files, so that what a library imports or starts on its first use does not count. What ArcticDB reads
is its own store, which `--prepare` makes of the files in a process of its own.
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
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Array = npt.NDArray[Any]

TIME = "UTC time"
VALUES = ("Open", "High", "Low", "Close", "Volume")
LIBRARY = "candles"  # in the store of ArcticDB


# What aligning means, or else what is done with the files.
Kind = Literal["intersection", "union", "scan"]


@dataclass(frozen=True)
class Task:
    """What a peer has to do.

    Attributes
    ----------
    kind : str
        Align on the timestamps of all files, on those of any, or only read.
    files : sequence of Path
        The files of all symbols, each symbol's next to each other, its bid first.
    sides : int
        The number of files of a symbol.
    threads : int
        The number of threads that the peer may start.
    store : Path
        The folder of ArcticDB's store.
    """

    kind: Kind
    files: Sequence[Path]
    sides: int
    threads: int
    store: Path

    def closes_of(self, values: Sequence[Array]) -> Array:
        """Return the closes of the bids, one row per timestamp, of the closes of all series."""
        import numpy as np

        closes: Array = np.column_stack(values[:: self.sides])
        return closes


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

    def sums(self) -> dict[str, float]:
        """Return the number of timestamps, and the sums of the closes and of all values."""
        import numpy as np

        values = sum(float(np.nansum(one)) for one in self.values)
        return {"slices": len(self.closes), "closes": float(np.nansum(self.closes)), "values": values}


def common(some: Array, others: Array) -> Array:
    """Return the timestamps that both have."""
    import numpy as np

    places = np.searchsorted(others, some)
    places[places == len(others)] = 0
    both: Array = some[others[places] == some]
    return both


def either(some: Array, others: Array) -> Array:
    """Return the timestamps that at least one has."""
    import numpy as np

    places = np.searchsorted(some, others)
    places[places == len(some)] = 0
    new = others[some[places] != others]
    return np.sort(np.concatenate([some, new])) if len(new) else some


def align_with_numpy(task: Task, series: Sequence[tuple[Array, list[Array]]]) -> Aligned:
    """Find the timeline of series, each with its sorted timestamps; gather or scatter the values."""
    import numpy as np

    def gather(one: tuple[Array, list[Array]]) -> list[Array]:
        rows = np.searchsorted(one[0], timeline)
        return [values.take(rows) for values in one[1]]

    def scatter(one: tuple[Array, list[Array]]) -> list[Array]:
        rows = np.searchsorted(timeline, one[0])
        aligned = [np.full(len(timeline), np.nan) for _ in one[1]]
        for target, values in zip(aligned, one[1], strict=True):
            target[rows] = values
        return aligned

    find, align = (either, scatter) if task.kind == "union" else (common, gather)
    with ThreadPoolExecutor(task.threads) as pool:
        timestamps = [one[0] for one in series]
        parts = range(min(task.threads, len(series)))
        timeline = reduce(find, pool.map(lambda first: reduce(find, timestamps[first :: task.threads]), parts))
        aligned = list(pool.map(align, series))
    closes = task.closes_of([one[VALUES.index("Close")] for one in aligned])
    return Aligned(closes, (values for one in aligned for values in one))


def with_pyarrow(task: Task) -> Aligned:
    """Load with pyarrow, align with numpy."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def load(file: Path) -> tuple[Array, list[Array]]:
        source = pq.ParquetFile(file, memory_map=True, pre_buffer=False)
        table = source.read(columns=[TIME, *VALUES], use_threads=False)
        return table[TIME].cast(pa.int64()).to_numpy(), [table[name].to_numpy() for name in VALUES]

    with ThreadPoolExecutor(task.threads) as pool:
        series = list(pool.map(load, task.files))
    return align_with_numpy(task, series)


def with_polars_joins(task: Task) -> Aligned:
    """Join neighbours, then the joined, and so on.

    Each value is copied as often as the tree is high.
    """
    import polars as pl

    frames = [
        pl.scan_parquet(file).select(TIME, pl.col(VALUES).name.suffix(f" {number}"))
        for number, file in enumerate(task.files)
    ]
    while len(frames) > 1:
        pairs = zip(frames[::2], frames[1::2], strict=False)
        joined = [left.join(right, on=TIME, how="inner", maintain_order="left") for left, right in pairs]
        frames = joined + frames[2 * len(joined) :]
    frame = frames[0].collect()
    closes = [frame[f"Close {number}"].to_numpy() for number in range(len(task.files))]
    return Aligned(task.closes_of(closes), (column.to_numpy() for column in frame.drop(TIME)))


def with_polars_timeline(task: Task) -> Aligned:
    """Prepare the timeline, then take the rows of each file that are on it."""
    return unite_with_polars(task) if task.kind == "union" else intersect_with_polars(task)


def intersect_with_polars(task: Task) -> Aligned:
    """Count each timestamp over all files.

    Keep the rows of those that all have, all files in one long frame.
    """
    import numpy as np
    import polars as pl

    count = len(task.files)
    rows = pl.scan_parquet(list(task.files))
    timeline = rows.group_by(TIME).len().filter(pl.col("len") == count).select(TIME).collect(engine="streaming")
    kept = rows.select(TIME, *VALUES).filter(pl.col(TIME).is_in(timeline[TIME].implode())).collect()
    # The files follow each other, each in its order and with one row per timestamp of the timeline.
    shape = (count, timeline.height)
    closes = kept["Close"].to_numpy().reshape(shape)[:: task.sides]
    return Aligned(np.ascontiguousarray(closes.T), (kept[name].to_numpy() for name in VALUES))


def unite_with_polars(task: Task) -> Aligned:
    """Load all files as one long frame; join each file's part of it with the sorted timestamps.

    As-of joins of sorted columns, with no tolerance, are faster than joins by hash.
    """
    import numpy as np
    import polars as pl

    rows = pl.scan_parquet(list(task.files)).select(TIME, *VALUES).collect()
    timeline = rows.select(pl.col(TIME).unique().sort()).set_sorted(TIME)
    # All files cover the same time, so that a file begins where timestamps go back.
    starts = np.flatnonzero(np.diff(rows[TIME].to_physical().to_numpy()) <= 0) + 1
    edges = [0, *starts.tolist(), rows.height]
    assert len(edges) == len(task.files) + 1

    def align(start: int, end: int) -> pl.DataFrame:
        part = rows.slice(start, end - start).set_sorted(TIME)
        return timeline.join_asof(part, on=TIME, tolerance="0ns")

    with ThreadPoolExecutor(task.threads) as pool:
        aligned = list(pool.map(align, edges[:-1], edges[1:]))
    closes = task.closes_of([frame["Close"].to_numpy() for frame in aligned])
    return Aligned(closes, (frame[name].to_numpy() for frame in aligned for name in VALUES))


def scan_with_polars(task: Task) -> None:
    """Add up every column of all files."""
    import polars as pl

    pl.scan_parquet(list(task.files)).select(pl.all().to_physical().sum()).collect()


def with_duckdb(task: Task) -> Aligned:
    """Collect the timestamps in a table; ask for the rows of each file that are in it."""
    import duckdb

    names = [str(file) for file in task.files]
    parameters: dict[str, Any] = {"names": names}
    if task.kind == "union":
        timeline = 'SELECT DISTINCT "UTC time" FROM read_parquet($names)'
        columns = ", ".join(f"coalesce({name}, 'nan'::DOUBLE) AS {name}" for name in VALUES)
        rows = 'timeline LEFT JOIN read_parquet($name) USING ("UTC time")'
    else:
        timeline = 'SELECT "UTC time" FROM read_parquet($names) GROUP BY ALL HAVING count(*) = $count'
        parameters["count"] = len(names)
        columns = ", ".join(VALUES)
        rows = 'read_parquet($name) SEMI JOIN timeline USING ("UTC time")'
    query = f'SELECT {columns} FROM {rows} ORDER BY "UTC time"'  # noqa: S608 - all of it stands here
    with duckdb.connect() as database:
        database.execute(f"SET threads = {task.threads}")
        database.execute(f"CREATE TABLE timeline AS {timeline}", parameters)

        def align(name: str) -> dict[str, Array]:
            found: dict[str, Array] = database.cursor().execute(query, {"name": name}).fetchnumpy()
            return found

        with ThreadPoolExecutor(task.threads) as pool:
            aligned = list(pool.map(align, names))
    return Aligned(task.closes_of([one["Close"] for one in aligned]), (v for one in aligned for v in one.values()))


def with_pandas(task: Task) -> Aligned:
    """Intersect or unite the indexes, which are sorted; take the rows of each frame."""
    import pandas as pd

    def align(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.reindex(timeline) if task.kind == "union" else frame.take(frame.index.get_indexer(timeline))

    find = pd.Index.union if task.kind == "union" else pd.Index.intersection
    with ThreadPoolExecutor(task.threads) as pool:
        frames = list(pool.map(load_with_pandas, task.files))
        timeline = reduce(find, (frame.index for frame in frames))
        aligned = list(pool.map(align, frames))
    closes = task.closes_of([frame["Close"].to_numpy() for frame in aligned])
    return Aligned(closes, (frame[name].to_numpy() for frame in aligned for name in VALUES))


def load_with_pandas(file: Path) -> pd.DataFrame:
    """Load as `pandas.read_parquet` does, which is slower by a quarter for what else it looks at."""
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file, memory_map=True, pre_buffer=False)
    table = source.read(columns=[TIME, *VALUES], use_threads=False)
    return table.to_pandas(use_threads=False).set_index(TIME)


def with_arcticdb(task: Task) -> Aligned:
    """Load from ArcticDB's own store, align with numpy."""
    import arcticdb

    library = arcticdb.Arctic(f"lmdb://{task.store}")[LIBRARY]
    frames = [item.data for item in library.read_batch([file.stem for file in task.files])]
    return align_with_numpy(
        task, [(frame.index.as_unit("ns").asi8, [frame[name].to_numpy() for name in VALUES]) for frame in frames]
    )


def fill_arcticdb(task: Task) -> None:
    """Write all files into a store of ArcticDB."""
    import arcticdb

    task.store.mkdir()
    library = arcticdb.Arctic(f"lmdb://{task.store}").create_library(LIBRARY)
    for file in task.files:
        library.write(file.stem, load_with_pandas(file))


@dataclass(frozen=True)
class Peer:
    """A peer.

    Attributes
    ----------
    label : str
        Its name for people.
    run : callable
        What it does; it aligns where there is something to walk through.
    packages : tuple of str
        The modules that it needs.
    kinds : tuple of str
        The kinds of tasks that it can do.
    prepare : callable or None
        What makes the store that it reads; None where it reads the files.
    """

    label: str
    run: Callable[[Task], Aligned | None]
    packages: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("intersection", "union")
    prepare: Callable[[Task], None] | None = None


PEERS = {
    "pyarrow": Peer("pyarrow + numpy", with_pyarrow, ("numpy", "pyarrow.parquet")),
    "polars-joins": Peer("polars, joins", with_polars_joins, ("numpy", "polars"), ("intersection",)),
    "polars-timeline": Peer("polars, prepared timeline", with_polars_timeline, ("numpy", "polars")),
    "duckdb": Peer("duckdb", with_duckdb, ("numpy", "duckdb")),
    "pandas": Peer("pandas", with_pandas, ("numpy", "pandas", "pyarrow.parquet")),
    "arcticdb": Peer(
        "ArcticDB + numpy", with_arcticdb, ("numpy", "pandas", "pyarrow.parquet", "arcticdb"), prepare=fill_arcticdb
    ),
    "polars-scan": Peer("polars, sums of a scan", scan_with_polars, ("polars",), ("scan",)),
}


def missing_packages(name: str) -> list[str]:
    """Return the packages of a peer that are not installed."""
    roots = {package.partition(".")[0] for package in PEERS[name].packages}
    return sorted(root for root in roots if importlib.util.find_spec(root) is None)


def task_of(options: argparse.Namespace) -> Task:
    """Return the task that the options describe."""
    folders = sorted(options.data.iterdir())
    names = [(folder, f"{folder.name}_M1_{side.upper()}") for folder in folders for side in options.price_types]
    # One file per series, or one per day of it.
    files = [file for folder, name in names for file in sorted(folder.glob(f"{name}*.parquet"))]
    return Task(options.kind, files, len(options.price_types), options.threads, options.store)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kind", choices=get_args(Kind), default="intersection")
    parser.add_argument("--price-types", type=lambda text: text.split(","), default=["bid", "ask"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", type=Path, default=Path("store"), help="of arcticdb")
    parser.add_argument("--prepare", action="store_true", help="make the store, and measure nothing")
    options = parser.parse_args(argv)
    # Our executable raises the limit on open files for itself.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["POLARS_MAX_THREADS"] = str(options.threads)
    peer, task = PEERS[options.peer], task_of(options)
    if options.prepare:
        assert peer.prepare is not None
        peer.prepare(task)
        return 0
    for package in peer.packages:
        importlib.import_module(package)
    peer.run(replace(task, files=task.files[:2]))
    started = time.perf_counter()
    aligned = peer.run(task)
    for _ in () if aligned is None else aligned.closes:
        pass
    seconds = time.perf_counter() - started
    print(json.dumps({"value": seconds, **({} if aligned is None else aligned.sums())}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
