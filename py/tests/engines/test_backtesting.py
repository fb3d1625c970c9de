"""backtesting.py: the frame against one that is made from the raw files by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from backtesting import Backtest, Strategy
from helpers.raw_minutes import SYMBOLS, raw_file

from omega_slices import SymbolNotFoundError, open_slices
from omega_slices.engines.backtesting import frame, frames

pytestmark = pytest.mark.filterwarnings("ignore")


class Pair(Strategy):  # type: ignore[misc]  # the engine ships no types
    """Buys when the symbol is below its mean while the other one is above its own."""

    def init(self) -> None:
        def mean(values: Any) -> Any:
            return pd.Series(values).rolling(5).mean()

        self.mean = self.I(mean, self.data.Close)
        self.other_mean = self.I(mean, self.data.Other)

    def next(self) -> None:
        if self.position:
            if len(self.data) - self.trades[0].entry_bar > 7:
                self.position.close()
        elif self.data.Close[-1] < self.mean[-1] and self.data.Other[-1] > self.other_mean[-1]:
            self.buy(size=100)


def run(found: dict[str, Any]) -> tuple[pd.DataFrame, pd.Series]:
    whole = found["EURUSD"].assign(Other=found["GBPUSD"].Close).ffill().dropna()
    stats = Backtest(whole, Pair, cash=10_000, commission=0.00002, finalize_trades=True).run()
    return stats._trades, stats._equity_curve.Equity


def test_the_same_fills_and_equity_as_from_frames_made_by_hand(raw: Path) -> None:
    with open_slices(raw, symbols=SYMBOLS, timeline="union") as slices:
        ours = frames(slices)
    theirs = {symbol: pd.read_parquet(raw_file(raw, symbol)).set_index("UTC time") for symbol in SYMBOLS}
    for symbol in SYMBOLS:
        pd.testing.assert_frame_equal(ours[symbol], theirs[symbol], check_names=False, check_freq=False)
    (trades, equity), (own_trades, own_equity) = run(ours), run(theirs)
    pd.testing.assert_frame_equal(trades, own_trades)
    pd.testing.assert_series_equal(equity, own_equity, check_names=False)
    assert len(trades) > 20


def test_one_symbol_alone(raw: Path) -> None:
    with open_slices(raw, symbols=SYMBOLS, timeline="union") as slices:
        one = frame(slices, "GBPUSD", "ask")
    theirs = pd.read_parquet(raw_file(raw, "GBPUSD", "ASK")).set_index("UTC time")
    pd.testing.assert_frame_equal(one, theirs, check_names=False, check_freq=False)
    with open_slices(raw, symbols=SYMBOLS) as slices, pytest.raises(SymbolNotFoundError, match="no symbol 'USDJPY'"):
        frame(slices, "USDJPY")


def test_the_page_runs(page: Callable[[str], str]) -> None:
    printed = page("backtesting")
    assert int(printed) > 0
