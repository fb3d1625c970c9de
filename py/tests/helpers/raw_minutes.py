"""Raw files of minutes, from which engines are fed in two ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SYMBOLS: Final = ("EURUSD", "GBPUSD")
_FIRST = np.datetime64("2024-01-02T00:00", "ns")
_MINUTES = 900


def write_raw(root: Path) -> None:
    """Write two symbols, bid and ask; a tenth of each series is missing, each its own."""
    random = np.random.default_rng(17)
    for place, symbol in enumerate(SYMBOLS):
        closes = 1.1 + place * 0.15 + np.cumsum(random.normal(0, 0.0002, _MINUTES))
        opens = np.concatenate([closes[:1], closes[:-1]])
        reach = np.abs(random.normal(0, 0.0001, (2, _MINUTES)))
        for side, shift in (("BID", 0.0), ("ASK", 0.0001)):
            values = {
                "Open": opens + shift,
                "High": np.maximum(opens, closes) + reach[0] + shift,
                "Low": np.minimum(opens, closes) - reach[1] + shift,
                "Close": closes + shift,
                "Volume": random.integers(1, 1_000, _MINUTES).astype(float),
            }
            kept = random.random(_MINUTES) > 0.1
            stamps = _FIRST + np.arange(_MINUTES) * np.timedelta64(60, "s")
            columns = {"UTC time": pa.array(stamps[kept]).cast(pa.timestamp("ns", "UTC"))}
            columns |= {name: np.round(column[kept], 5) for name, column in values.items()}
            path = raw_file(root, symbol, side)
            path.parent.mkdir(exist_ok=True)
            pq.write_table(pa.table(columns), path)


def raw_file(root: Path, symbol: str, side: str = "BID") -> Path:
    """Return the file of a series."""
    return root / symbol / f"{symbol}_M1_{side}.parquet"


def closes_by_pandas(root: Path) -> Any:
    """Return the bid closes at common timestamps as plain pandas makes them of the raw files."""
    import pandas as pd

    columns = ["UTC time", "Close"]
    found = [pd.read_parquet(raw_file(root, one), columns=columns).set_index("UTC time").Close for one in SYMBOLS]
    return pd.concat([closes.rename(one) for one, closes in zip(SYMBOLS, found, strict=True)], axis=1, join="inner")
