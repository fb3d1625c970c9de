"""backtrader: the feed against the engine's own `PandasData` over the same raw files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import backtrader as bt
import pandas as pd
import pytest
from helpers.raw_minutes import SYMBOLS, raw_file

from omega_slices import InvalidPriceTypeError, RequestError, SchemaMismatchError, open_slices, read_slices
from omega_slices.engines.backtrader import feeds


class Pair(bt.Strategy):  # type: ignore[misc]  # the engine ships no types
    """Buys one symbol when it falls while the other one rises, for seven bars."""

    def __init__(self) -> None:
        self.fills: list[tuple[Any, ...]] = []
        self.equity: list[tuple[Any, float]] = []
        self.bought_at: dict[str, int] = {}
        self.means = [bt.indicators.SimpleMovingAverage(data.close, period=5) for data in self.datas]

    def notify_order(self, order: bt.Order) -> None:
        if order.status == order.Completed:
            done = order.executed
            self.fills.append((order.data._name, bt.num2date(done.dt), done.size, done.price, done.comm))

    def next(self) -> None:
        self.equity.append((self.datetime.datetime(0), self.broker.getvalue()))
        first, second = self.datas
        for data, mean, other, other_mean in ((first, *self.means[:1], second, self.means[1]),):
            if self.getposition(data).size == 0:
                if data.close[0] < mean[0] and other.close[0] > other_mean[0]:
                    self.buy(data=data, size=1_000)
                    self.bought_at[data._name] = len(data)
            elif len(data) - self.bought_at[data._name] >= 7:
                self.close(data=data)


def run(datas: dict[str, Any], **options: Any) -> tuple[Any, ...]:
    cerebro = bt.Cerebro(**options)
    cerebro.broker.setcommission(commission=0.00002)
    for symbol, data in datas.items():
        cerebro.adddata(data, name=symbol)
    cerebro.addstrategy(Pair)
    (strategy,) = cerebro.run()
    return strategy.fills, strategy.equity


def own_way(root: Path, side: str = "BID", **options: Any) -> dict[str, Any]:
    datas = {}
    for symbol in SYMBOLS:
        frame = pd.read_parquet(raw_file(root, symbol, side)).set_index("UTC time")
        frame.index = frame.index.tz_localize(None)
        frame.columns = [name.lower() for name in frame.columns]
        datas[symbol] = bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, **options)
    return datas


@pytest.mark.parametrize("preload", [True, False])
def test_the_same_fills_and_equity_as_from_the_own_feed(raw: Path, preload: bool) -> None:
    with open_slices(raw, symbols=SYMBOLS, timeline="union") as slices:
        ours = run(feeds(slices), preload=preload, runonce=preload)
    theirs = run(own_way(raw), preload=preload, runonce=preload)
    assert ours == theirs
    assert len(ours[0]) > 20
    assert len(ours[1]) > 600


def test_asks_from_a_file_and_within_dates(raw: Path, tmp_path: Path) -> None:
    import subprocess

    from helpers.executable import executable

    target = tmp_path / "x.arrow"
    command = [str(executable()), "sync", f"--data={raw}", f"--symbols={','.join(SYMBOLS)}", "--timeline=union"]
    subprocess.run([*command, "-o", str(target)], check=True, capture_output=True)
    dates = {"fromdate": pd.Timestamp("2024-01-02T03:00"), "todate": pd.Timestamp("2024-01-02T09:00")}
    ours = feeds(read_slices(target), "ask")
    for feed in ours.values():
        feed.p.fromdate, feed.p.todate = dates["fromdate"], dates["todate"]
    assert run(ours) == run(own_way(raw, "ASK", **dates))


def test_resampled_bars_are_those_of_the_own_feed(raw: Path) -> None:
    def resampled(datas: dict[str, Any]) -> list[tuple[float, ...]]:
        cerebro = bt.Cerebro()
        cerebro.resampledata(datas["EURUSD"], timeframe=bt.TimeFrame.Minutes, compression=15)
        seen: list[tuple[float, ...]] = []

        class Collect(bt.Strategy):  # type: ignore[misc]
            def next(self) -> None:
                data = self.data
                seen.append((data.datetime[0], data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0]))

        cerebro.addstrategy(Collect)
        cerebro.run()
        return seen

    with open_slices(raw, symbols=SYMBOLS, timeline="union") as slices:
        ours = resampled(feeds(slices))
    assert ours == resampled(own_way(raw))
    assert len(ours) == 61


def test_bars_of_hours_are_not_seen_early(raw: Path, tmp_path: Path) -> None:
    """Beside minutes, and made of minutes, an hour is seen when it is over, with its own values."""
    minutes = pd.read_parquet(raw_file(raw, "EURUSD")).set_index("UTC time")
    rules = {"Open": "first", "High": "max", "Low": "min", "Close": "last", "Volume": "sum"}
    hours = minutes.resample("1h").agg(rules)
    target = tmp_path / "EURUSD" / "EURUSD_H1_BID.parquet"
    target.parent.mkdir()
    hours.reset_index().to_parquet(target)
    options: dict[str, Any] = {"symbols": ["EURUSD"], "price_types": ["bid"]}
    with open_slices(raw, **options) as one, open_slices(tmp_path, **options, timeframe="H1") as other:
        minute, hour = (feeds(slices, stamped="close")["EURUSD"] for slices in (one, other))
    with open_slices(raw, **options) as one:
        made = feeds(one, stamped="close")["EURUSD"]
    seen: dict[str, list[tuple[Any, ...]]] = {"own": [], "made": []}

    class Collect(bt.Strategy):  # type: ignore[misc]
        minute = latest = datetime.min  # noqa: DTZ901  # the engine's are naive

        def next(self) -> None:
            now = self.data0.datetime.datetime(0)
            if now != self.minute:
                # No minute comes after an hour that it is part of.
                assert now > self.latest
                self.minute = now
            for name, data in zip(seen, self.datas[1:], strict=True):
                self.latest = max(self.latest, data.datetime.datetime(0))
                bar = (data.datetime.datetime(0), data.open[0], data.high[0], data.low[0], data.close[0])
                if not seen[name] or seen[name][-1] != bar:
                    seen[name].append(bar)

    cerebro = bt.Cerebro()
    cerebro.adddata(minute)
    cerebro.adddata(hour)
    cerebro.resampledata(made, timeframe=bt.TimeFrame.Minutes, compression=60)
    cerebro.addstrategy(Collect)
    cerebro.run()
    expected = [
        (stamp.to_pydatetime().replace(tzinfo=None) + pd.Timedelta(hours=1), *row[:4])
        for stamp, row in zip(hours.index, hours.itertuples(index=False), strict=True)
    ]
    assert seen["own"] == expected[: len(seen["own"])]
    assert seen["made"] == expected[: len(seen["made"])]
    assert min(len(bars) for bars in seen.values()) >= 14


def test_carried_candles_make_no_bar(raw: Path) -> None:
    options: dict[str, Any] = {"symbols": SYMBOLS, "timeline": "union"}
    with open_slices(raw, **options, fill="forward", max_age="9m") as carried, open_slices(raw, **options) as plain:
        assert run(feeds(carried)) == run(feeds(plain))


def test_what_was_not_asked_for_is_named(raw: Path) -> None:
    with open_slices(raw, symbols=SYMBOLS, price_types=["bid"]) as slices:
        with pytest.raises(SchemaMismatchError, match="no column 'ask_open'"):
            feeds(slices, "ask")
        with pytest.raises(InvalidPriceTypeError):
            feeds(slices, "mid")
    few = pytest.raises(RequestError, match="bars need all five fields; the slices have close")
    with open_slices(raw, symbols=SYMBOLS, fields=["close"]) as slices, few:
        feeds(slices)
    with pytest.raises(RequestError, match="expected a stream or a table"):
        feeds("x.arrow")  # type: ignore[arg-type]


def test_the_page_runs(page: Callable[[str], str]) -> None:
    printed = page("backtrader")
    assert float(printed) > 0
