"""bt: prices by `to_wide` against those made with pandas from the same raw files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bt
import pandas as pd
import pytest
from helpers.raw_minutes import SYMBOLS, closes_by_pandas

from omega_slices import open_slices

pytestmark = pytest.mark.filterwarnings("ignore")


def run(prices: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Hold the symbol that is below its mean while the other one is above."""
    means = prices.rolling(5).mean()
    signal = (prices < means).astype(float)
    weights = signal.div(signal.sum(axis=1).where(lambda total: total > 0, 1.0), axis=0)
    algos = [bt.algos.WeighTarget(weights), bt.algos.Rebalance()]
    test = bt.Backtest(bt.Strategy("pair", algos), prices, integer_positions=False, progress_bar=False)
    result = bt.run(test)
    return result.get_transactions(), result.prices["pair"]


def test_the_same_fills_and_equity_as_from_pandas(raw: Path) -> None:
    with open_slices(raw, symbols=SYMBOLS, price_types=["bid"], fields=["close"]) as slices:
        ours = slices.to_wide("bid_close")
    theirs = closes_by_pandas(raw)
    pd.testing.assert_frame_equal(ours, theirs, check_names=False, check_freq=False)
    (fills, equity), (own_fills, own_equity) = run(ours), run(theirs)
    pd.testing.assert_frame_equal(fills, own_fills, check_names=False)
    pd.testing.assert_series_equal(equity, own_equity, check_names=False)
    assert len(fills) > 20


def test_the_page_runs(page: Callable[[str], str]) -> None:
    printed = page("bt")
    assert float(printed) > 0
