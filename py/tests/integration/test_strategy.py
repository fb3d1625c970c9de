"""Strategies written against the class that a slice replaces run on slices unchanged."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest
from helpers.stream_factory import write_series

from omega_slices import open_slices

CLOSES = {"EURUSD": [1.0, 1.5, 1.25, 2.0], "GBPUSD": [2.0, 1.0, 3.0, 3.5], "USDJPY": [5.0, 4.0, 6.0, 6.5]}


class OldSymbol:
    """One symbol of the replaced class: candles in a dict by timeframe and price type."""

    def __init__(self, primary_tf: str, candles: dict[tuple[str, str], Any]) -> None:
        self._primary_tf = primary_tf
        self._candles = candles

    def latest(self, tf: str | None = None, price_type: str = "bid") -> Any:
        return self._candles.get((tf or self._primary_tf, price_type))


class OldSlice:
    """The replaced class as strategies know it: symbols in a dict."""

    def __init__(self, timestamp: Any, primary_tf: str, symbols: dict[str, OldSymbol]) -> None:
        self.timestamp = timestamp
        self.primary_tf = primary_tf
        self.slices = symbols

    def get(self, symbol: str, price_type: str = "bid") -> Any:
        return self.slices[symbol].latest(self.primary_tf, price_type) if symbol in self.slices else None

    def __getitem__(self, symbol: str) -> OldSymbol:
        return self.slices[symbol]

    def __iter__(self) -> Any:
        return iter(self.slices)

    def __len__(self) -> int:
        return len(self.slices)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self.slices

    def keys(self) -> Any:
        return self.slices.keys()


class Strategy:
    """Momentum and spreads, written against everything that the replaced class had."""

    def __init__(self) -> None:
        self.history: dict[str, deque[float]] = {}
        self.orders: list[tuple[Any, ...]] = []

    def on_slice(self, current: Any) -> None:
        if len(current) < 2 or "EURUSD" not in current or "XAUUSD" in current:
            return
        for symbol in current:
            candle = current.get(symbol)
            if candle is None:
                self.orders.append((current.timestamp, symbol, "wait"))
                continue
            closes = self.history.setdefault(symbol, deque(maxlen=2))
            closes.append(candle.close)
            if len(closes) == 2 and closes[1] > closes[0]:
                ask = current[symbol].latest(price_type="ask")
                self.orders.append(
                    (current.timestamp, symbol, "buy", None if ask is None else ask.close - candle.close)
                )
        if current.get("XAUUSD") is not None or current.get("XAUUSD", "ask") is not None:
            self.orders.append(("never",))
        try:
            current["XAUUSD"].latest()
        except KeyError:
            self.orders.append((current.timestamp, "no gold"))
        best = max(
            current.keys(), key=lambda symbol: getattr(current[symbol].latest(current.primary_tf), "close", -1.0)
        )
        self.orders.append((current.timestamp, "best", best, sorted(current.slices), list(current.keys())))
        latest = current["EURUSD"].latest()
        if latest is not None:
            self.orders.append((latest.timestamp, latest.open, latest.high, latest.low, latest.close, latest.volume))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for symbol, closes in CLOSES.items():
        for side, add in (("BID", 0.0), ("ASK", 0.5)):
            # GBPUSD has no bid in minute 2, USDJPY no ask in minute 3.
            holes = {("GBPUSD", "BID"): 2, ("USDJPY", "ASK"): 3}
            rows = [(n, close + add) for n, close in enumerate(closes) if holes.get((symbol, side)) != n]
            write_series(tmp_path, symbol, side, rows)
    return tmp_path


@pytest.mark.parametrize("backend", ["python", "rust"])
def test_a_strategy_decides_the_same(root: Path, backend: str) -> None:
    old, new = Strategy(), Strategy()
    seen = 0
    with open_slices(root, symbols=tuple(CLOSES), timeline="union", backend=backend) as slices:
        for current in slices:
            candles = {
                symbol: OldSymbol("M1", {("M1", side): getattr(current[symbol], side) for side in ("bid", "ask")})
                for symbol in current
            }
            old.on_slice(OldSlice(current.timestamp, "M1", candles))
            new.on_slice(current)
            seen += 1
    assert seen == 4
    assert new.orders == old.orders
    assert [order[1:] for order in new.orders if "buy" in order or "wait" in order] == [
        ("EURUSD", "buy", 0.5),
        ("GBPUSD", "wait"),
        ("USDJPY", "buy", 0.5),
        ("EURUSD", "buy", 0.5),
        ("GBPUSD", "buy", 0.5),
        ("USDJPY", "buy", None),
    ]
