"""Write candles as different programs write Parquet files.

Each writer keeps its own defaults, but for what its name says. `arrow-rs` and `spark` are written
by `rust/examples/rewrite_parquet.rs`: the latter is what Spark's library makes of a column, namely
Snappy, a page index, and page headers without statistics.
"""

# What a program imports is imported where it is asked for: the measuring process, too, reads this.
# ruff: noqa: PLC0415

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def with_pyarrow(table: pa.Table, path: Path, **options: Any) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path, **options)


def with_polars(table: pa.Table, path: Path) -> None:
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_parquet(path)


def with_duckdb(table: pa.Table, path: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        connection.register("candles", table)
        connection.execute(f"COPY candles TO '{path}' (FORMAT parquet)")


def with_fastparquet(table: pa.Table, path: Path) -> None:
    import fastparquet

    # Compressed, as pandas calls it.
    fastparquet.write(str(path), table.to_pandas(), compression="SNAPPY")


WRITERS: Mapping[str, Callable[[pa.Table, Path], None]] = {
    "pyarrow": with_pyarrow,
    "pyarrow-zstd": partial(with_pyarrow, compression="zstd"),
    "pyarrow-index": partial(with_pyarrow, write_page_index=True),
    "polars": with_polars,
    "duckdb": with_duckdb,
    "fastparquet": with_fastparquet,
}
# Those that rewrite what pyarrow wrote, and what the example is told.
REWRITERS: Mapping[str, tuple[str, ...]] = {"arrow-rs": (), "spark": ("--snappy",)}
NAMES = (*WRITERS, *REWRITERS)


def missing_packages(writer: str) -> list[str]:
    """Return the packages of a writer that are not installed."""
    packages = {"polars": ["polars"], "duckdb": ["duckdb"], "fastparquet": ["fastparquet", "pandas"]}
    return [package for package in packages.get(writer, []) if importlib.util.find_spec(package) is None]


def rewrite(writer: str, program: Path, root: Path, target: Path) -> None:
    """Write all files below a folder once more."""
    subprocess.run([program, *REWRITERS[writer], root, target], check=True)
