"""Trees of candle files as the writers of built-in layouts leave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PRICES: Final = ("open", "high", "low", "close")
FIELDS: Final = (*PRICES, "volume")
TIMES: Final = pd.date_range("2024-01-02", periods=6, freq="min")


def frame_of(seed: int, times: pd.DatetimeIndex = TIMES) -> pd.DataFrame:
    """Return candles with round prices, and whole numbers as volume."""
    random = np.random.default_rng(seed)
    values = random.integers(9_000, 11_000, (len(times), 4)) / 100
    frame = pd.DataFrame(values, times, list(PRICES))
    return frame.assign(volume=random.integers(1, 1_000, len(times)).astype(float))


def write(path: Path, frame: pd.DataFrame, index: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.rename_axis(index).reset_index().to_parquet(path, index=False)


def freqtrade(root: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """As ParquetDataHandler stores a pair: reset_index of a frame with the column date in UTC."""
    frames = {("BTC/USDT", "trade"): frame_of(1), ("ETH/USDT:USDT", "trade"): frame_of(2)}
    for (symbol, _), frame in frames.items():
        name = symbol.replace("/", "_").replace(":", "_")
        write(root / f"{name}-1m.parquet", frame.tz_localize("UTC"), "date")
    return frames


def binance(root: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """As the archives: a month in milliseconds, and one of 2025 in microseconds; prices as texts in one of them."""
    later = pd.date_range("2025-01-02", periods=4, freq="min")
    first, second = frame_of(1), frame_of(2, later)
    folder = root / "BTCUSDT" / "1m"
    folder.mkdir(parents=True)
    for month, frame, tick in (("2024-01", first, "ms"), ("2025-01", second, "us")):
        ticks = frame.index.as_unit(tick).astype("int64")
        columns = frame.astype(str) if tick == "ms" else frame
        columns = columns.assign(open_time=ticks, close_time=ticks + 59_999)
        columns.to_parquet(folder / f"BTCUSDT-1m-{month}.parquet", index=False)
    return {("BTCUSDT", "trade"): pd.concat([first, second])}


def nautilus(root: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """As a catalog: prices and volumes as bytes, 8 of them in one instrument and 16 in the other."""
    frames = {}
    for seed, (symbol, width) in enumerate((("AUDUSD.SIM", 8), ("EURUSD.SIM", 16))):
        for side in ("bid", "ask"):
            frame = frames[symbol, side] = frame_of(10 * seed + (side == "ask"))
            units = 10 ** (9 if width == 8 else 16)
            kind = pa.binary(width)
            columns = {
                field: pa.array([_bytes(value, units, width) for value in frame[field]], kind) for field in FIELDS
            }
            stamps = pa.array(frame.index.as_unit("ns").astype("int64"), pa.uint64())
            table = pa.table({**columns, "ts_event": stamps, "ts_init": stamps})
            folder = root / "data" / "bar" / f"{symbol}-1-MINUTE-{side.upper()}-EXTERNAL"
            folder.mkdir(parents=True)
            pq.write_table(table, folder / "2024-01-02T00-00-00-000000000Z_2024-01-02T00-05-00-000000000Z.parquet")
    return frames


def _bytes(value: float, units: int, width: int) -> bytes:
    # Two digits behind the point: hundreds of the value are whole.
    return (round(value * 100) * (units // 100)).to_bytes(width, "little", signed=True)


def yfinance(root: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """As Ticker.history, and as download names columns, with a day that has no prices."""
    days = pd.date_range("2024-01-02", periods=5, freq="B")
    frames = {("AAPL", "trade"): frame_of(1, days), ("MSFT", "trade"): frame_of(2, days)}
    one = frames["AAPL", "trade"].rename(columns=str.title).tz_localize("America/New_York")
    one.rename_axis("Date").to_parquet(root / "AAPL.parquet")
    other = frames["MSFT", "trade"].rename(columns=str.title)
    other.columns = pd.MultiIndex.from_product([other.columns, ["MSFT"]], names=["Price", "Ticker"])
    other = pd.concat([other, pd.DataFrame(np.nan, pd.DatetimeIndex(["2024-01-09"]), other.columns)])
    other.rename_axis("Date").to_parquet(root / "MSFT.parquet")
    return frames


def hive(root: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """As pyarrow partitions a table: names of folders are encoded by it."""
    frames = {("^GSPC", "trade"): frame_of(1), ("BTC/USDT", "trade"): frame_of(2)}
    rows = [frame.assign(symbol=symbol, timestamp=frame.index) for (symbol, _), frame in frames.items()]
    pq.write_to_dataset(pa.Table.from_pandas(pd.concat(rows), preserve_index=False), root, partition_cols=["symbol"])
    return frames


def fxcm(root: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """As get_candles returns them: both sides in a frame, and ticks."""
    bid, ticks = frame_of(1), np.arange(1, len(TIMES) + 1)
    ask = (bid + 0.25).assign(volume=ticks)
    bid = bid.assign(volume=ticks)
    sides = [side[list(PRICES)].add_prefix(name) for name, side in (("bid", bid), ("ask", ask))]
    write(root / "EURUSD_m1.parquet", pd.concat(sides, axis=1).assign(tickqty=ticks), "date")
    return {("EURUSD", "bid"): bid, ("EURUSD", "ask"): ask}


def dukascopy(root: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """As dukascopy-node names and fills its files."""
    frames = {("eurusd", "bid"): frame_of(1), ("eurusd", "ask"): frame_of(2)}
    for (symbol, side), frame in frames.items():
        stamps = frame.index.as_unit("ms").astype("int64")
        columns = frame.assign(timestamp=stamps)
        columns.to_parquet(root / f"{symbol}-m1-{side}-2024-01-02-2024-01-03.parquet", index=False)
    return frames


# Writes a tree, and returns the candles of each symbol and price type in it.
Writer = Callable[[Path], dict[tuple[str, str], pd.DataFrame]]
# By layout: its writer, and what a request must say beside the layout.
WRITERS: Final[Mapping[str, tuple[Writer, dict[str, Any]]]] = {
    "freqtrade": (freqtrade, {}),
    "binance": (binance, {}),
    "nautilus": (nautilus, {}),
    "yfinance": (yfinance, {"timeframe": "D1"}),
    "hive": (hive, {}),
    "fxcm": (fxcm, {}),
    "dukascopy": (dukascopy, {}),
}
