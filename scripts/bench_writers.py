"""Write candles as different programs write Parquet files.

Each writer keeps its own defaults, but for what its name says. `arrow-rs` and `spark` are written
by `rust/examples/rewrite_parquet.rs`: the latter is what Spark's library makes of a column, namely
Snappy, a page index, and page headers without statistics.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def with_pyarrow(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


def with_pyarrow_zstd(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")


def with_pyarrow_index(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, write_page_index=True)


def with_polars(table: pa.Table, path: Path) -> None:
    import polars as pl  # noqa: PLC0415 - only where it is asked for

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_parquet(path)


def with_duckdb(table: pa.Table, path: Path) -> None:
    import duckdb  # noqa: PLC0415 - only where it is asked for

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        connection.register("candles", table)
        connection.execute(f"COPY candles TO '{path}' (FORMAT parquet)")


WRITERS: Mapping[str, Callable[[pa.Table, Path], None]] = {
    "pyarrow": with_pyarrow,
    "pyarrow-zstd": with_pyarrow_zstd,
    "pyarrow-index": with_pyarrow_index,
    "polars": with_polars,
    "duckdb": with_duckdb,
}
# Those that rewrite what pyarrow wrote, and what the example is told.
REWRITERS: Mapping[str, tuple[str, ...]] = {"arrow-rs": (), "spark": ("--snappy",)}


def rewrite(writer: str, program: Path, root: Path, target: Path) -> None:
    """Write all files below a folder once more."""
    subprocess.run([program, *REWRITERS[writer], root, target], check=True)
