"""A whole strategy: the same trades and the same equity, to the bit, with every backend.

The golden files come from the plain Python reference. `pairs_oracle` knows nothing of the package,
so it notices where all backends are wrong in the same way.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pairs_case
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from helpers import cli_harness
from helpers.requests import make_request
from pairs_case import HOUR_NS, SCENARIOS, STEP_NS, Scenario, book_text, time_text
from pairs_oracle import oracle_book
from pairs_strategy import START_BALANCE, Book, Trade, backtest

from omega_slices import open_slices, read_slices

BACKENDS = ["python", "rust", "shadow"]

# What the oracle is told, in its own words.
ORACLE: dict[str, dict[str, Any]] = {
    "intersection": {"timeline": "intersection"},
    "union_fill": {"timeline": "union", "max_age": "1h"},
    "union_fill_hour": {"timeline": "union", "max_age": "1h", "trend_max_age": "2h"},
}

by_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pairs") / "data"
    pairs_case.write_input(made)
    return made


def by_name(name: str) -> Scenario:
    (found,) = [scenario for scenario in SCENARIOS if scenario.name == name]
    return found


def refused(book: Book, what: str, why: str) -> int:
    """Return how many entries or exits were not done for a reason that ends so."""
    return sum(refusal.what == what and refusal.why.endswith(why) for refusal in book.refusals)


def cut(root: Path, target: Path, until_ns: int) -> None:
    """Copy the input without what was not known at a time.

    Later candles, and hours that were not over.
    """
    for source in root.rglob("*.parquet"):
        table = pq.read_table(source)
        length_ns = HOUR_NS if "_H1_" in source.name else 0
        is_known = pc.less_equal(table["UTC time"].cast("int64"), until_ns - length_ns)
        copy = target / source.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter(is_known), copy)


@pytest.mark.parametrize("backend", BACKENDS)
@by_scenario
def test_backtest(scenario: Scenario, backend: str, root: Path) -> None:
    assert book_text(scenario.run(root, backend)) == scenario.golden.read_text(encoding="utf-8")


@by_scenario
def test_backtest_over_a_file(scenario: Scenario, root: Path, tmp_path: Path) -> None:
    target = tmp_path / "slices.arrow"
    run = cli_harness.sync(make_request(root, **scenario.request), f"-o{target}")
    assert run.status == 0, run.lines
    book = backtest(read_slices(target), scenario.rules)
    assert book_text(book) == scenario.golden.read_text(encoding="utf-8")


@by_scenario
def test_oracle(scenario: Scenario, root: Path) -> None:
    book = oracle_book(root, scenario.rules, **ORACLE[scenario.name])
    assert book_text(book) == scenario.golden.read_text(encoding="utf-8")


@by_scenario
def test_golden_says_something(scenario: Scenario, root: Path) -> None:
    book = scenario.run(root, "python")
    assert 10 <= len(book.trades) <= 30
    for trades in (
        [trade for trade in book.trades if trade.direction > 0],
        [trade for trade in book.trades if trade.direction < 0],
        [trade for trade in book.trades if trade.pnl > 0.0],
        [trade for trade in book.trades if trade.pnl < 0.0],
    ):
        assert len(trades) >= 3
    assert {"back", "stop"} <= {trade.reason for trade in book.trades}
    assert all(trade.cost > 0.0 for trade in book.trades)
    assert refused(book, "entry", "spread")
    assert refused(book, "entry", "not valid") + refused(book, "exit", "not valid")
    is_carrying = "fill" in scenario.request
    assert bool(refused(book, "entry", "carried")) == is_carrying
    assert bool(refused(book, "exit", "carried")) == is_carrying
    # The latter: of a candle that was too old to be carried on.
    assert bool(refused(book, "exit", "missing")) == is_carrying
    has_trend = scenario.rules.trend_timeframe is not None
    assert bool(refused(book, "entry", "against H1")) == has_trend
    assert bool(refused(book, "entry", "no H1")) == has_trend


@by_scenario
def test_book_adds_up(scenario: Scenario, root: Path) -> None:
    book = scenario.run(root, "python")
    balance = START_BALANCE
    stamps = [stamp for stamp, _ in book.equity]
    for trade in book.trades:
        assert trade.entry_ns < trade.exit_ns
        balance += trade.pnl
        if trade.reason != "end":
            # Flat at the slice of the exit, and not in again at the same one.
            assert dict(book.equity)[trade.exit_ns] == balance
    assert book.equity[-1][1] == balance
    assert stamps == sorted(set(stamps))
    for before, after in pairwise(book.trades):
        assert before.exit_ns < after.entry_ns


def test_scenarios_differ(root: Path) -> None:
    books = {scenario.name: scenario.run(root, "python") for scenario in SCENARIOS}
    kept, carried, filtered = (books[name] for name in ORACLE)
    assert len(kept.equity) < len(carried.equity)
    assert carried.equity != filtered.equity
    assert [stamp for stamp, _ in carried.equity] == [stamp for stamp, _ in filtered.equity]
    assert kept.trades[-1].reason == "end"
    assert any(_is_over_the_weekend(trade) for trade in carried.trades)


def _is_over_the_weekend(trade: Trade) -> bool:
    return time_text(trade.entry_ns) < "2024-03-09" < time_text(trade.exit_ns)


def test_input_has_what_goes_wrong(root: Path) -> None:
    request = by_name("union_fill_hour").request
    with open_slices(root, **request, backend="python") as slices:
        shown = list(slices)
        report = slices.report
    assert report.warnings == ()
    assert all(series.outside_session for series in report.series)
    assert {series.timeframe for series in report.series} == {"M15", "H1"}
    for symbol in request["symbols"]:
        for side in ("bid", "ask"):
            candles = [s.get(symbol, side) for s in shown]
            fresh = {candle.timestamp_ns for candle in candles if candle is not None}
            assert len(fresh) < len(shown), "no candle is missing"
            assert any(candle is not None and not candle.is_valid for candle in candles)
            # Saturday's nonsense never shows.
            assert all(candle is None or candle.timestamp.weekday() != 5 for candle in candles)
    # Slices are missing where no series has a candle, and from Friday 20:00Z to Sunday 22:00Z.
    gaps = sorted(after - before - STEP_NS for before, after in pairwise(s.timestamp_ns for s in shown))
    assert gaps[-3:] == [0, 3 * STEP_NS, 50 * HOUR_NS]


@pytest.mark.parametrize("backend", BACKENDS)
@by_scenario
def test_no_look_ahead(scenario: Scenario, backend: str, root: Path, tmp_path: Path) -> None:
    whole = scenario.run(root, "python")
    stops = [trade for trade in whole.trades if trade.reason == "stop"]
    # As it is entered, in the midst of it, as it is stopped out; and all over the two weeks.
    stop = stops[0]
    cuts = {stop.entry_ns, (stop.entry_ns + stop.exit_ns) // 2, stop.exit_ns}
    cuts |= {stamp for stamp, _ in whole.equity[60::260]}
    for number, until_ns in enumerate(sorted(cuts)):
        target = tmp_path / str(number)
        cut(root, target, until_ns)
        book = scenario.run(target, backend)
        assert book.equity == [point for point in whole.equity if point[0] <= until_ns]
        assert [trade for trade in book.trades if trade.reason != "end"] == [
            trade for trade in whole.trades if trade.exit_ns <= until_ns and trade.reason != "end"
        ]
        assert book.refusals == [refusal for refusal in whole.refusals if refusal.timestamp_ns <= until_ns]
