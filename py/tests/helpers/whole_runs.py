"""What systems of parts are compared with: the whole request, answered by one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omega_slices import Request, open_slices

_DAY_NS: Final = 86_400 * 10**9
_FIRST_NS: Final = 1_704_153_600 * 10**9
_SPECIAL: Final = (np.nan, np.inf, -np.inf, -0.0)


def write_days(root: Path, shift_ns: int = 0) -> None:
    """Write two symbols, bid and ask, half hours and four hours of four days, with gaps.

    Nothing lies on the second day.  Among the values are NaN, infinities and a negative zero.  Half
    hours of one symbol are shifted.
    """
    for place, symbol in enumerate(("A", "B")):
        for timeframe, minutes in (("M30", 30), ("H4", 240)):
            for gap, side in enumerate(("BID", "ASK")):
                stamps = _FIRST_NS + np.arange(0, 4 * _DAY_NS, minutes * 60 * 10**9)
                kept = stamps // _DAY_NS != _FIRST_NS // _DAY_NS + 1
                stamps = stamps[kept & (np.arange(len(stamps)) % (5 + place) != gap)]
                columns: dict[str, Any] = {}
                for number, name in enumerate(("Open", "High", "Low", "Close", "Volume")):
                    values = stamps % 1_000_003 / 7.0 + place + number
                    values[3 + number : 7 + number] = _SPECIAL
                    columns[name] = values
                if timeframe == "M30" and symbol == "B":
                    stamps = stamps + shift_ns
                columns["UTC time"] = pa.array(stamps).cast(pa.timestamp("ns", "UTC"))
                path = root / symbol / f"{symbol}_{timeframe}_{side}.parquet"
                path.parent.mkdir(exist_ok=True, parents=True)
                pq.write_table(pa.table(columns), path)


def request_of_days(root: Path) -> Request:
    """Return a request whose slices have columns of every kind but indicators."""
    return Request(
        data=str(root),
        symbols=("B", "A"),
        timeframe="M30",
        timeline="union",
        fill="forward",
        max_age="3h",
        with_timeframe=("H4",),
    )


def whole_run(
    request: Request,
    timestamp_unit: Literal["ns", "us"] = "ns",
    symbols: Literal["dictionary", "string"] = "dictionary",
) -> pa.Table:
    """Return the slices of a request from one run, in these types."""
    with open_slices(**msgspec.structs.asdict(request)) as slices:
        return slices.to_arrow(timestamp_unit, symbols).replace_schema_metadata()


def files_of_parts(folder: Path) -> list[str]:
    """Return the files of a folder of parts, in order."""
    listed = json.loads((folder / "_slices.json").read_text(encoding="utf-8"))["parts"]
    return [str(folder / part["file"]) for part in listed]


def assert_same_table(found: pa.Table, expected: pa.Table) -> None:
    """Check that two tables have the same columns and rows, doubles to the bit."""
    assert found.schema == expected.schema
    assert found.num_rows == expected.num_rows
    for name in expected.column_names:
        one, other = (table[name].combine_chunks() for table in (found, expected))
        if pa.types.is_floating(other.type):
            one, other = one.view(pa.int64()), other.view(pa.int64())
        assert one.equals(other), name
