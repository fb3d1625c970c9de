"""What systems of parts are compared with: the whole request, answered by one run."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa

from helpers.candle_files import COLUMNS, DAY_NS, START_NS, write_candles
from omega_slices import Request, SliceStream, open_slices

_SPECIAL: Final = (np.nan, np.inf, -np.inf, -0.0)


def write_days(root: Path, shift_ns: int = 0) -> None:
    """Write two symbols, bid and ask, half hours and four hours of four days, with gaps.

    Nothing lies on the second day.  Among the values are NaN, infinities and a negative zero.  Half
    hours of one symbol are shifted.
    """
    for place, symbol in enumerate(("A", "B")):
        for timeframe, minutes in (("M30", 30), ("H4", 240)):
            for gap, side in enumerate(("BID", "ASK")):
                stamps = START_NS + np.arange(0, 4 * DAY_NS, minutes * 60 * 10**9)
                kept = stamps // DAY_NS != START_NS // DAY_NS + 1
                stamps = stamps[kept & (np.arange(len(stamps)) % (5 + place) != gap)]
                columns: dict[str, Any] = {}
                for number, name in enumerate(COLUMNS):
                    values = stamps % 1_000_003 / 7.0 + place + number
                    values[3 + number : 7 + number] = _SPECIAL
                    columns[name] = values
                if timeframe == "M30" and symbol == "B":
                    stamps = stamps + shift_ns
                write_candles(root / symbol / f"{symbol}_{timeframe}_{side}.parquet", stamps, columns)


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


def request_of_nothing(days: Request) -> Request:
    """Return a request of two days before all candles."""
    return Request(data=days.data, symbols=("A", "B"), timeframe="M30", start=0, before=2 * DAY_NS)


def open_whole(request: Request) -> SliceStream:
    """Open the slices of a request as one run makes them."""
    return open_slices(**msgspec.structs.asdict(request))


def whole_run(
    request: Request,
    timestamp_unit: Literal["ns", "us"] = "ns",
    symbols: Literal["dictionary", "string"] = "dictionary",
) -> pa.Table:
    """Return the slices of a request from one run, in these types."""
    with open_whole(request) as slices:
        return slices.to_arrow(timestamp_unit, symbols).replace_schema_metadata()


def list_of(folder: Path) -> Any:
    """Return the list of a folder of parts, as it is written."""
    return json.loads((folder / "_slices.json").read_text(encoding="utf-8"))


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder of parts, in order."""
    return [folder / part["file"] for part in list_of(folder)["parts"]]


def assert_same_table(found: pa.Table, expected: pa.Table) -> None:
    """Check that two tables have the same columns and rows, doubles to the bit."""
    assert found.schema == expected.schema
    assert found.num_rows == expected.num_rows
    for name in expected.column_names:
        one, other = (table[name].combine_chunks() for table in (found, expected))
        if pa.types.is_floating(other.type):
            one, other = one.view(pa.int64()), other.view(pa.int64())
        assert one.equals(other), name


def assert_page_printed(printed: str, sample: Path) -> None:
    """Check what the page of a cluster prints: each symbol's highest bid, and the count of rows."""
    highest, count = printed.splitlines()
    expected = whole_run(Request(data=str(sample), symbols=("EURUSD", "GBPUSD")))
    tops = expected.group_by("symbol").aggregate([("bid_close", "max")])
    assert ast.literal_eval(highest) == dict(zip(*(tops[name].to_pylist() for name in tops.column_names), strict=True))
    assert int(count) == expected.num_rows
