"""Files of candles at chosen timestamps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from helpers import stream_factory

HOUR_NS: Final = 3_600 * 10**9
DAY_NS: Final = 24 * HOUR_NS
START_NS: Final = stream_factory.START_NS
COLUMNS: Final = tuple(name.capitalize() for name in stream_factory.FIELDS)


def write_candles(
    path: Path, stamps: Any, columns: Mapping[str, Any], zone: str | None = "UTC", **options: Any
) -> None:
    """Write columns beside timestamps in nanoseconds, with options of pyarrow's writer."""
    times = pa.array(stamps, pa.int64()).cast(pa.timestamp("ns", zone))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"UTC time": times, **columns}), path, **options)


def stamps_of(path: Path) -> Any:
    """Return the timestamps of a file in nanoseconds; they may be changed."""
    return pq.read_table(path)["UTC time"].cast(pa.int64()).to_numpy().copy()
