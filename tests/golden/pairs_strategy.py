"""A pairs strategy, as a user of the package writes one.

Owns the rules of the strategy and its book: trades, refusals, equity. Uses nothing of the package
but slices, and plain floats in a fixed order, so that equal slices give equal results to the last
bit. Sums are `math.fsum`, which rounds once: the result depends neither on the order nor on the
Python. Knows nothing of files and requests.

The rules, with `first` and `second` the two symbols of the pair:

- A slice shows candles that are complete only as the next one opens. So what is decided at a slice
  is done at the opens of the next one: bought at the ask, sold at the bid. The spread is the cost.
- Nothing is done unless both candles of both symbols are there, stamped at the slice, and valid. An
  entry that cannot be done is dropped; an exit waits. Carried candles mark and measure, but are
  never traded.
- The measure is the z-score of log(mid of first / mid of second). It is taken over the latest
  `window` slices that show finite mids of both, the slice itself included.
- Flat, at z <= -entry_z: buy first, sell second (long). At z >= entry_z: the other way round
  (short). Not where a spread is wide. With a trend timeframe, not against the latest complete
  candle of first.
- In a position: out when open losses reach `stop_loss`; out when z has come back to within
  `exit_z`. After a stop, no entry before z has been back.
- Equity counts an open position at what closing it would bring. Long legs count at the bid's close,
  short ones at the ask's; where none is shown, at the latest one that was. What is open at the end
  is settled so.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from omega_slices import MultiSymbolSlice

START_BALANCE: Final = 100_000.0
UNITS: Final = 100_000  # of first
LOT: Final = 1_000  # second is sized to the same value, in whole lots


@dataclass(frozen=True)
class Rules:
    """What can be set; prices and losses in the quote currency of both symbols."""

    first: str = "EURUSD"
    second: str = "GBPUSD"
    window: int = 32
    entry_z: float = 1.75
    exit_z: float = 0.25
    stop_loss: float = 250.0
    spread_max: float = 0.00025
    trend_timeframe: str | None = None


@dataclass(frozen=True)
class Leg:
    """One symbol of a trade.

    Units bought, or sold (negative), and at what prices it went in and out.
    """

    symbol: str
    units: int
    entry: float
    exit: float


@dataclass(frozen=True)
class Trade:
    """A round trip: entered on these `mids` and `z_score`.

    `cost` is what the spreads at its fills took.
    """

    direction: int
    entry_ns: int
    exit_ns: int
    reason: str
    mids: tuple[float, float]
    z_score: float
    legs: tuple[Leg, ...]
    cost: float
    pnl: float


@dataclass(frozen=True)
class Refusal:
    """An entry or exit that was wanted at a slice and not done, and why."""

    timestamp_ns: int
    what: str
    why: str


@dataclass
class Book:
    """What came of a run."""

    trades: list[Trade] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    equity: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class _Order:
    """What to do at the next slice; an exit has no units."""

    what: str
    reason: str
    direction: int = 0
    mids: tuple[float, float] = (0.0, 0.0)
    z_score: float = 0.0
    units: tuple[int, int] = (0, 0)


@dataclass
class _Position:
    order: _Order
    entry_ns: int
    entries: list[float]
    marks: list[float]
    cost: float

    def profit_at(self, prices: list[float]) -> float:
        """Return what the position has made where its legs are at these prices."""
        first, second = self.order.units
        return first * (prices[0] - self.entries[0]) + second * (prices[1] - self.entries[1])


class PairsStrategy:
    """Goes through slices one by one; `finish` settles what is open."""

    def __init__(self, rules: Rules) -> None:
        self.book = Book()
        self._rules = rules
        self._symbols = (rules.first, rules.second)
        self._ratios: deque[float] = deque(maxlen=rules.window)
        self._balance = START_BALANCE
        self._order: _Order | None = None
        self._position: _Position | None = None
        self._is_stopped = False

    def on_slice(self, s: MultiSymbolSlice) -> None:
        """Trade at the opens of a slice, mark at its closes, and decide for the next one."""
        if self._order is not None:
            self._fill(s, self._order)
        if self._position is not None:
            self._mark(s, self._position)
        self.book.equity.append((s.timestamp_ns, self._equity()))
        z_score = self._measure(s)
        if self._position is None:
            self._decide_entry(s, z_score)
        elif self._order is None:
            self._decide_exit(self._position, z_score)

    def finish(self) -> Book:
        """Settle what is open at its marks, and return the book."""
        if self._position is not None:
            self._close(self._position, self.book.equity[-1][0], "end", self._position.marks)
        return self.book

    def _fill(self, s: MultiSymbolSlice, order: _Order) -> None:
        obstacle = self._obstacle(s)
        if obstacle is not None:
            self.book.refusals.append(Refusal(s.timestamp_ns, order.what, obstacle))
            if order.what == "entry":
                self._order = None
            return
        self._order = None
        position = self._position
        units = order.units if position is None else tuple(-held for held in position.order.units)
        prices, cost = self._trade(s, units)
        if position is None:
            self._position = _Position(order, s.timestamp_ns, prices, list(prices), cost)
        else:
            position.cost += cost
            self._close(position, s.timestamp_ns, order.reason, prices)

    def _obstacle(self, s: MultiSymbolSlice) -> str | None:
        """Return why nothing can be traded at a slice; None where it can."""
        for symbol in self._symbols:
            snapshot = s[symbol]
            if snapshot.bid is None or snapshot.ask is None:
                return f"{symbol} missing"
            if snapshot.is_carried:
                return f"{symbol} carried"
            if not (snapshot.bid.is_valid and snapshot.ask.is_valid):
                return f"{symbol} not valid"
        return None

    def _trade(self, s: MultiSymbolSlice, units: tuple[int, ...]) -> tuple[list[float], float]:
        """Return the prices of these units at a tradeable slice, and what its spreads take."""
        prices, cost = [], 0.0
        for symbol, wanted in zip(self._symbols, units, strict=True):
            bid, ask = s.get(symbol, "bid"), s.get(symbol, "ask")
            assert bid is not None
            assert ask is not None
            prices.append(ask.open if wanted > 0 else bid.open)
            cost += abs(wanted) * (ask.open - bid.open) / 2.0
        return prices, cost

    def _mark(self, s: MultiSymbolSlice, position: _Position) -> None:
        for number, symbol in enumerate(self._symbols):
            price = s.get_price(symbol, "bid" if position.order.units[number] > 0 else "ask")
            if price is not None and math.isfinite(price):
                position.marks[number] = price

    def _equity(self) -> float:
        return self._balance + (0.0 if self._position is None else self._position.profit_at(self._position.marks))

    def _measure(self, s: MultiSymbolSlice) -> float | None:
        """Return the z-score.

        None where the slice adds nothing to it, or too little is there yet.
        """
        first, second = (s.get_price(symbol) for symbol in self._symbols)
        if first is None or second is None or not (math.isfinite(first) and math.isfinite(second)):
            return None
        self._ratios.append(math.log(first / second))
        if len(self._ratios) < self._rules.window:
            return None
        mean = math.fsum(self._ratios) / len(self._ratios)
        variance = math.fsum((ratio - mean) * (ratio - mean) for ratio in self._ratios) / len(self._ratios)
        return (self._ratios[-1] - mean) / math.sqrt(variance) if variance else None

    def _decide_entry(self, s: MultiSymbolSlice, z_score: float | None) -> None:
        if z_score is None:
            return
        if self._is_stopped:
            self._is_stopped = abs(z_score) > self._rules.exit_z
            return
        if abs(z_score) < self._rules.entry_z:
            return
        direction = -1 if z_score > 0.0 else 1
        objection = self._objection(s, direction)
        if objection is not None:
            self.book.refusals.append(Refusal(s.timestamp_ns, "entry", objection))
            return
        first, second = (s.get_price(symbol) for symbol in self._symbols)
        assert first is not None
        assert second is not None
        lots = round(UNITS * first / second / LOT)
        units = (direction * UNITS, -direction * lots * LOT)
        self._order = _Order("entry", "", direction, (first, second), z_score, units)

    def _objection(self, s: MultiSymbolSlice, direction: int) -> str | None:
        """Return why not to enter, whatever z says; None where nothing speaks against it."""
        for symbol in self._symbols:
            spread = s.get_spread(symbol)
            if spread is None or not spread <= self._rules.spread_max:
                return f"{symbol} spread"
        if self._rules.trend_timeframe is not None:
            trend = s.get_candle(self._rules.first, self._rules.trend_timeframe)
            if trend is None:
                return f"no {self._rules.trend_timeframe}"
            # Also where one of the two is NaN.
            if not direction * (trend.close - trend.open) >= 0.0:
                return f"against {self._rules.trend_timeframe}"
        return None

    def _decide_exit(self, position: _Position, z_score: float | None) -> None:
        if position.profit_at(position.marks) <= -self._rules.stop_loss:
            self._order = _Order("exit", "stop")
        elif z_score is not None and position.order.direction * z_score >= -self._rules.exit_z:
            self._order = _Order("exit", "back")

    def _close(self, position: _Position, exit_ns: int, reason: str, prices: list[float]) -> None:
        entered = position.order
        pnl = position.profit_at(prices)
        legs = tuple(map(Leg, self._symbols, entered.units, position.entries, prices))
        self.book.trades.append(
            Trade(
                entered.direction,
                position.entry_ns,
                exit_ns,
                reason,
                entered.mids,
                entered.z_score,
                legs,
                position.cost,
                pnl,
            )
        )
        self._balance += pnl
        self._position = None
        self._is_stopped = reason == "stop"


def backtest(slices: Iterable[MultiSymbolSlice], rules: Rules) -> Book:
    """Run the strategy over slices."""
    strategy = PairsStrategy(rules)
    for s in slices:
        strategy.on_slice(s)
    return strategy.finish()
