"""Parquet files in the reference: what format a file has, its columns, and exact times.

Owns opening files.  Knows no request.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from omega_slices._reference.options import DAY_NS, SeriesName, wrong
from omega_slices._reference.time import NS_PER_TICK
from omega_slices.errors import (
    CorruptInputError,
    OmegaSlicesError,
    SchemaMismatchError,
    SystemFailureError,
    UnsupportedInputError,
)

_FORMATS: Final = (
    ("an Arrow (Feather) file", (b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")),
    ("an encrypted Parquet file", (b"PARE",)),
    ("a gzip file", (b"\x1f\x8b",)),
    ("a zip file", (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")),
    ("an HDF5 file", (b"\x89HDF\r\n\x1a\n",)),
    ("an SQLite file", (b"SQLite format 3\0",)),
    ("a bzip2 file", (b"BZh",)),
    ("an xz file", (b"\xfd7zXZ\0",)),
    ("a zstd file", (b"\x28\xb5\x2f\xfd",)),
    ("an ORC file", (b"ORC",)),
    ("an Avro file", (b"Obj\x01",)),
)

_FORMAT_BYTES: Final = 512


def file_identity(path: str) -> tuple[int, ...]:
    """Return what tells whether a path still names the very same, unchanged file.

    Raises
    ------
    OSError
        There is no such file.
    """
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def read_table(
    path: str, columns: Callable[[pa.Schema], tuple[list[str], list[str]]], series: SeriesName | None
) -> tuple[pa.Table, pa.Table]:
    """Return the columns of a file, and its times again, INT96 in milliseconds.

    Parameters
    ----------
    path : str
        The file.
    columns : callable
        Says which columns are wanted, given the schema: those of timestamps, and others.  Those
        that are not there are left out.
    series : SeriesName, optional
        What the file is read for, where it is a series; then a file without rows is not
        looked into.
    """
    try:
        before = file_identity(path)
        _check_format(path, series)
        with pq.ParquetFile(path) as file:
            if series is not None and file.metadata.num_rows == 0:
                empty = [pa.array([], kind) for kind in file.schema_arrow.types]  # whatever they are
                table = pa.Table.from_arrays(empty, names=file.schema_arrow.names)
                return table, table
            times, others = columns(file.schema_arrow)
            table = coarse = file.read(columns=list(dict.fromkeys([*times, *others])))
            leaves = [file.schema.column(number) for number in range(len(file.schema.names))]
        if any(leaf.name in times and leaf.physical_type == "INT96" for leaf in leaves):
            # Deprecated INT96 timestamps may wrap around in nanoseconds, but not in this unit.
            with pq.ParquetFile(path, coerce_int96_timestamp_unit="ms") as file:
                coarse = file.read(columns=times)
        if file_identity(path) != before:
            raise wrong(CorruptInputError, "the file changed while it was being read", "run again", series, path)
        return table, coarse
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise wrong(
                SystemFailureError,
                f"cannot read the file: {error}",
                "check that it exists and is readable",
                series,
                path,
            ) from error
        if "decrypt" in str(error).lower():
            raise _unsupported("an encrypted Parquet file", series, path) from error
        raise wrong(
            CorruptInputError, f"cannot read the file as Parquet: {error}", "write the file anew", series, path
        ) from error


def _check_format(path: str, series: SeriesName | None) -> None:
    """Raise where the first bytes are those of another format."""
    with open(path, "rb") as file:
        first = file.read(_FORMAT_BYTES)
    if not first or first.startswith(b"PAR1"):
        return
    for name, beginnings in _FORMATS:
        if first.startswith(beginnings):
            raise _unsupported(name, series, path)
    if _is_text(first):
        is_json = first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
        raise _unsupported("a JSON file" if is_json else "CSV or other text", series, path)


def _is_text(first: bytes) -> bool:
    # The last character may be cut in its middle.
    for cut in range(4):
        try:
            text = first[: len(first) - cut].decode("utf-8")
        except UnicodeDecodeError:
            if len(first) < _FORMAT_BYTES:
                return False
            continue
        return all(letter >= " " or letter in "\t\r\n" for letter in text)
    return False


def _unsupported(what: str, series: SeriesName | None, path: str) -> OmegaSlicesError:
    return wrong(
        UnsupportedInputError,
        f"cannot read the file: expected Parquet, found {what}",
        "write the candles as Parquet, without encryption",
        series,
        path,
    )


def check_column(
    table: pa.Table,
    name: str,
    is_right: Callable[[pa.DataType], bool],
    what: str,
    hint: str,
    series: SeriesName | None,
    path: str,
) -> None:
    """Raise where a column is missing, is there twice, or is of a wrong type."""
    count = table.column_names.count(name)
    if count != 1:
        message = f"ambiguous column {name!r}: the file has several of this name"
        if not count:
            message = f"the column {name!r} is missing"
        raise wrong(SchemaMismatchError, message, hint, series, path, column=name)
    kind = table.schema.field(name).type
    if not is_right(kind):
        message = f"the column {name!r} has the type {kind}, expected {what}"
        raise wrong(SchemaMismatchError, message, hint, series, path, column=name)


def is_instant(kind: pa.DataType) -> bool:
    """Return whether a type is one of timestamps or dates."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date32(kind))


def timestamps_ns(column: pa.ChunkedArray, coarse: pa.ChunkedArray) -> list[int | None]:
    """Return exact nanoseconds, in Python's unbounded integers.

    A zone changes nothing, the integers are UTC.
    """
    if pa.types.is_date32(column.type):
        return [None if day is None else day * DAY_NS for day in column.cast(pa.int32()).to_pylist()]
    ticks = column.cast(pa.int64()).to_pylist()
    tick_ns = NS_PER_TICK[column.type.unit]
    if column.type == coarse.type:
        return ticks if tick_ns == 1 else [None if tick is None else tick * tick_ns for tick in ticks]
    milliseconds = coarse.cast(pa.int64()).to_pylist()
    return [
        None if tick is None else tick if tick // 10**6 == millisecond else millisecond * 10**6
        for tick, millisecond in zip(ticks, milliseconds, strict=True)
    ]
