"""nautilus_trader: the bars against those of the engine's own wrangler over the same raw files."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.raw_minutes import SYMBOLS, raw_file
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

from omega_slices import RequestError, SymbolNotFoundError, open_slices
from omega_slices.engines.nautilus import bar_type, bars

INSTRUMENTS = {
    symbol: TestInstrumentProvider.default_fx_ccy(f"{symbol[:3]}/{symbol[3:]}", Venue("SIM")) for symbol in SYMBOLS
}


class Pair(Strategy):  # type: ignore[misc]  # the engine ships no types
    """Buys one symbol when it falls while the other one rises, for seven of its bars."""

    def __init__(self) -> None:
        super().__init__()
        self.closes: dict[str, list[float]] = {symbol: [] for symbol in SYMBOLS}
        self.bought = -1

    def on_start(self) -> None:
        for instrument in INSTRUMENTS.values():
            for side in ("bid", "ask"):
                self.subscribe_bars(bar_type(instrument, "M1", side))

    def on_bar(self, bar: Any) -> None:
        if "BID" not in str(bar.bar_type):
            return
        symbol = bar.bar_type.instrument_id.symbol.value.replace("/", "")
        self.closes[symbol].append(float(bar.close))
        first, second = (self.closes[one] for one in SYMBOLS)
        if symbol != SYMBOLS[0] or len(first) < 6 or len(second) < 6:
            return
        instrument = INSTRUMENTS[SYMBOLS[0]]
        if self.bought < 0:
            if first[-1] < first[-5] and second[-1] > second[-5]:
                self.order(instrument, OrderSide.BUY)
                self.bought = len(first)
        elif len(first) - self.bought >= 7:
            self.order(instrument, OrderSide.SELL)
            self.bought = -1

    def order(self, instrument: Any, side: OrderSide) -> None:
        quantity = Quantity.from_int(10_000)
        self.submit_order(self.order_factory.market(instrument.id, side, quantity))


def run(of_symbols: list[list[Any]]) -> tuple[pd.DataFrame, str]:
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(Venue("SIM"), OmsType.NETTING, AccountType.MARGIN, [Money(100_000, USD)], USD, Decimal(10))
    for instrument in INSTRUMENTS.values():
        engine.add_instrument(instrument)
    for one in of_symbols:
        engine.add_data(one)
    engine.add_strategy(Pair())
    engine.run()
    fills = engine.trader.generate_order_fills_report()
    account = engine.trader.generate_account_report(Venue("SIM"))
    engine.dispose()
    columns = ["instrument_id", "side", "filled_qty", "avg_px", "ts_init", "ts_last"]
    return fills[columns].reset_index(drop=True), account[["total", "free"]].to_string()


def own_way(root: Path) -> list[list[Any]]:
    found = []
    for symbol, instrument in INSTRUMENTS.items():
        for side in ("bid", "ask"):
            frame = pd.read_parquet(raw_file(root, symbol, side.upper())).set_index("UTC time")
            frame.columns = [name.lower() for name in frame.columns]
            frame.index += pd.Timedelta(minutes=1)
            found.append(BarDataWrangler(bar_type(instrument, "M1", side), instrument).process(frame))
    return found


def test_the_same_fills_and_equity_as_from_the_own_wrangler(raw: Path) -> None:
    ours = []
    for side in ("bid", "ask"):
        with open_slices(raw, symbols=SYMBOLS, timeline="union") as slices:
            ours.append(bars(slices, INSTRUMENTS, side))
    in_order = [ours[place][symbol] for symbol in SYMBOLS for place in (0, 1)]
    theirs = own_way(raw)
    for one, other in zip(in_order, theirs, strict=True):
        assert [str(bar) for bar in one] == [str(bar) for bar in other]
        assert [(bar.ts_event, bar.ts_init) for bar in one] == [(bar.ts_event, bar.ts_init) for bar in other]
    (fills, account), (own_fills, own_account) = run(in_order), run(theirs)
    pd.testing.assert_frame_equal(fills, own_fills)
    assert account == own_account
    assert len(fills) > 20


def test_types_of_bars() -> None:
    instrument = INSTRUMENTS["EURUSD"]
    expected = {("M1", "bid"): "1-MINUTE-BID", ("H4", "ask"): "4-HOUR-ASK", ("D1", "trade"): "1-DAY-LAST"}
    for (timeframe, side), text in expected.items():
        assert str(bar_type(instrument, timeframe, side)) == f"EUR/USD.SIM-{text}-EXTERNAL"


def test_what_the_engine_does_not_take_is_named(raw: Path) -> None:
    unknown = pytest.raises(SymbolNotFoundError, match="no symbol 'USDJPY'")
    with open_slices(raw, symbols=SYMBOLS) as slices, unknown:
        bars(slices, {"USDJPY": INSTRUMENTS["EURUSD"]})


def test_a_candle_that_contradicts_itself_is_named(raw: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(raw_file(raw, "EURUSD"))
    frame.loc[7, "High"] = frame.loc[7, "Low"] - 0.001
    target = raw_file(tmp_path, "EURUSD")
    target.parent.mkdir()
    frame.to_parquet(target)
    opened = str(frame["UTC time"][7])[:16].replace(" ", "T")
    refused = pytest.raises(RequestError, match=f"takes no bar of EURUSD that opens at {opened}")
    with open_slices(tmp_path, symbols=["EURUSD"], price_types=["bid"]) as slices, refused:
        bars(slices, {"EURUSD": INSTRUMENTS["EURUSD"]})


def test_the_page_runs(page: Callable[[str], str]) -> None:
    printed = page("nautilus")
    assert int(printed) > 1_000
