"""vectorbt: prices by `to_wide` against those made with pandas from the same raw files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.raw_minutes import SYMBOLS, closes_by_pandas

from omega_slices import open_slices

pytestmark = pytest.mark.filterwarnings("ignore")


def run(prices: pd.DataFrame) -> Any:
    import vectorbt as vbt

    means = prices.rolling(5).mean()
    below = prices < means
    entries = below & ~below[prices.columns[::-1]].to_numpy()
    portfolio = vbt.Portfolio.from_signals(prices, entries, ~below, fees=0.00002, freq="1min")
    return portfolio.orders.records, portfolio.value()


def test_the_same_fills_and_equity_as_from_pandas(raw: Path) -> None:
    with open_slices(raw, symbols=SYMBOLS, price_types=["bid"], fields=["close"]) as slices:
        ours = slices.to_wide("bid_close")
    theirs = closes_by_pandas(raw)
    pd.testing.assert_frame_equal(ours, theirs, check_names=False, check_freq=False)
    (fills, equity), (own_fills, own_equity) = run(ours), run(theirs)
    pd.testing.assert_frame_equal(pd.DataFrame(fills), pd.DataFrame(own_fills))
    pd.testing.assert_frame_equal(equity, own_equity, check_names=False, check_freq=False)
    assert len(fills) > 20


def test_the_page_runs(page: Callable[[str], str]) -> None:
    printed = page("vectorbt")
    assert printed.startswith("[")
