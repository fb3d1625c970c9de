"""The backtest once more, without the package.

Pandas joins the candles, trades are looked for one after another.

Owns a second reading of the rules in `pairs_strategy`, and one of what slices show, straight from
the Parquet files. Where the strategy walks and keeps a state, this looks ahead in whole columns
for the next entry, the next exit. Sums and products are those of the strategy, so that the results
are equal to the bit. Shares the records of the book and the numbers that can be set, nothing else.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from pairs_strategy import LOT, START_BALANCE, UNITS, Book, Leg, Refusal, Rules, Trade

_FIELDS = ("Open", "High", "Low", "Close", "Volume")


def oracle_book(
    root: Path, rules: Rules, *, timeline: str, max_age: str = "0h", trend_max_age: str | None = None
) -> Book:
    """Return what the strategy has to come to; `timeline` is intersection or union."""
    frame = _joined(root, rules, timeline, pd.Timedelta(max_age))
    if trend_max_age is not None:
        frame = _with_trend(frame, root, rules, pd.Timedelta(trend_max_age))
    return _Oracle(frame, rules).book()


def _candles(root: Path, symbol: str, timeframe: str, side: str) -> Any:
    """Return the candles of a file that the FX week holds.

    Monday 07:00 to Saturday 07:00 in Sydney.
    """
    frame = pd.read_parquet(root / symbol / f"{symbol}_{timeframe}_{side}.parquet")
    local = frame["UTC time"].dt.tz_convert("Australia/Sydney").dt
    hour_of_week = local.day_of_week * 24 + local.hour
    return frame[(hour_of_week >= 7) & (hour_of_week < 5 * 24 + 7)].reset_index(drop=True)


def _joined(root: Path, rules: Rules, timeline: str, max_age: Any) -> Any:
    """Return a row per slice, with the columns SYMBOL_SIDE_FIELD.

    `UTC time` of a candle is its own.
    """
    parts = {
        f"{symbol}_{side}_": _candles(root, symbol, "M15", side)
        for symbol in (rules.first, rules.second)
        for side in ("BID", "ASK")
    }
    times = [set(part["UTC time"]) for part in parts.values()]
    kept = set.intersection(*times) if timeline == "intersection" else set.union(*times)
    frame = pd.DataFrame({"time": sorted(kept)})
    for prefix, part in parts.items():
        own = part.add_prefix(prefix)
        frame = pd.merge_asof(frame, own, left_on="time", right_on=f"{prefix}UTC time", tolerance=max_age)
    return frame


def _with_trend(frame: Any, root: Path, rules: Rules, max_age: Any) -> Any:
    """Add the latest hour that is over; its age counts from its beginning."""
    hour = pd.Timedelta("1h")
    hours = _candles(root, rules.first, "H1", "BID").add_prefix("trend_")
    hours["trend_known"] = hours["trend_UTC time"] + hour
    return pd.merge_asof(frame, hours, left_on="time", right_on="trend_known", tolerance=max_age - hour)


class _Oracle:
    def __init__(self, frame: Any, rules: Rules) -> None:
        self.frame = frame
        self.rules = rules
        self.symbols = (rules.first, rules.second)
        self.times: list[int] = frame["time"].astype("int64").tolist()
        self.obstacles = self._all_obstacles()
        mids = [((frame[f"{s}_BID_Close"] + frame[f"{s}_ASK_Close"]) / 2.0).tolist() for s in self.symbols]
        self.mids: list[tuple[float, float]] = list(zip(*mids, strict=True))
        self.z_scores = self._all_z_scores()
        self.refusals: list[Refusal] = []
        self.trades: list[Trade] = []
        self.equity: list[float] = []
        self.balance = START_BALANCE

    def book(self) -> Book:
        """Look for one trade after the other."""
        at = 0
        while (found := self._next_entry(at)) is not None:
            at = self._hold(*found)
        self._flat_until(len(self.times))
        return Book(self.trades, self.refusals, list(zip(self.times, self.equity, strict=True)))

    def _column(self, symbol: str, side: str, field: str) -> Any:
        return self.frame[f"{symbol}_{side}_{field}"]

    def _all_obstacles(self) -> list[str]:
        """Return why each slice cannot be traded at; empty where it can."""
        found = pd.Series("", index=self.frame.index)
        for symbol in self.symbols:
            stamps = [self._column(symbol, side, "UTC time") for side in ("BID", "ASK")]
            values = self.frame[[f"{symbol}_{side}_{field}" for side in ("BID", "ASK") for field in _FIELDS]]
            is_carried = (stamps[0] != self.frame["time"]) | (stamps[1] != self.frame["time"])
            text = pd.Series("", index=self.frame.index)
            text[values.isna().any(axis=1)] = f"{symbol} not valid"
            text[is_carried] = f"{symbol} carried"
            text[stamps[0].isna() | stamps[1].isna()] = f"{symbol} missing"
            found = found.where(found != "", text)
        texts: list[str] = found.tolist()
        return texts

    def _all_z_scores(self) -> list[float]:
        """Return z at each slice; NaN where there is none."""
        ratios: list[float] = []
        z_scores = []
        for first, second in self.mids:
            z_score = math.nan
            if not (math.isnan(first) or math.isnan(second)):
                ratios.append(math.log(first / second))
                window = ratios[-self.rules.window :]
                if len(window) == self.rules.window:
                    mean = math.fsum(window) / self.rules.window
                    variance = math.fsum((one - mean) * (one - mean) for one in window) / self.rules.window
                    z_score = (window[-1] - mean) / math.sqrt(variance)
            z_scores.append(z_score)
        return z_scores

    def _next_entry(self, at: int) -> tuple[int, int] | None:
        """Return the slice of the next decision that is carried out, and its direction."""
        for here in range(at, len(self.times)):
            z_score = self.z_scores[here]
            if not abs(z_score) >= self.rules.entry_z:
                continue
            direction = 1 if z_score < 0 else -1
            if objection := self._objection(here, direction):
                self.refusals.append(Refusal(self.times[here], "entry", objection))
            elif here + 1 < len(self.times):
                obstacle = self.obstacles[here + 1]
                if not obstacle:
                    return here, direction
                self.refusals.append(Refusal(self.times[here + 1], "entry", obstacle))
        return None

    def _objection(self, here: int, direction: int) -> str:
        row = self.frame.iloc[here]
        for symbol in self.symbols:
            if row[f"{symbol}_ASK_Close"] - row[f"{symbol}_BID_Close"] > self.rules.spread_max:
                return f"{symbol} spread"
        if self.rules.trend_timeframe is None:
            return ""
        if pd.isna(row["trend_known"]):
            return f"no {self.rules.trend_timeframe}"
        opened, closed = row["trend_Open"], row["trend_Close"]
        is_with = closed >= opened if direction > 0 else closed <= opened
        return "" if is_with else f"against {self.rules.trend_timeframe}"

    def _hold(self, decided: int, direction: int) -> int:
        """Enter one slice after the decision and hold to the exit.

        Return from where on to look for the next entry.
        """
        first, second = self.mids[decided]
        units = (direction * UNITS, -direction * LOT * round(UNITS * first / second / LOT))
        entered = decided + 1
        entries, entry_cost = self._fill(entered, units)
        # The side on which a leg would be closed, at its latest price since the entry.
        marks = [
            self._column(symbol, "BID" if held > 0 else "ASK", "Close").iloc[entered:].ffill().tolist()
            for symbol, held in zip(self.symbols, units, strict=True)
        ]
        profits = [
            units[0] * (one - entries[0]) + units[1] * (other - entries[1]) for one, other in zip(*marks, strict=True)
        ]
        wanted, reason = self._next_exit(entered, direction, profits)
        left = wanted + 1
        while left < len(self.times) and self.obstacles[left]:
            self.refusals.append(Refusal(self.times[left], "exit", self.obstacles[left]))
            left += 1
        self._flat_until(entered)
        self.equity += [self.balance + profit for profit in profits[: left - entered]]
        if left < len(self.times):
            exits, exit_cost = self._fill(left, (-units[0], -units[1]))
            cost = entry_cost + exit_cost
        else:
            reason, exits, cost = "end", [marks[0][-1], marks[1][-1]], entry_cost
        pnl = units[0] * (exits[0] - entries[0]) + units[1] * (exits[1] - entries[1])
        self.trades.append(
            Trade(
                direction=direction,
                entry_ns=self.times[entered],
                exit_ns=self.times[min(left, len(self.times) - 1)],
                reason=reason,
                mids=self.mids[decided],
                z_score=self.z_scores[decided],
                legs=tuple(map(Leg, self.symbols, units, entries, exits)),
                cost=cost,
                pnl=pnl,
            )
        )
        self.balance += pnl
        if reason == "stop":
            while left < len(self.times) and not abs(self.z_scores[left]) <= self.rules.exit_z:
                left += 1
            return left + 1
        return left

    def _next_exit(self, entered: int, direction: int, profits: list[float]) -> tuple[int, str]:
        """Return the slice at which to decide for the exit, and why.

        Behind the last one where no slice is one.
        """
        for here in range(entered, len(self.times)):
            if profits[here - entered] <= -self.rules.stop_loss:
                return here, "stop"
            z_score = self.z_scores[here]
            if z_score >= -self.rules.exit_z if direction > 0 else z_score <= self.rules.exit_z:
                return here, "back"
        return len(self.times), ""

    def _fill(self, here: int, units: tuple[int, int]) -> tuple[list[float], float]:
        prices = []
        cost = 0.0
        for symbol, wanted in zip(self.symbols, units, strict=True):
            bid, ask = (float(self._column(symbol, side, "Open").iloc[here]) for side in ("BID", "ASK"))
            prices.append(ask if wanted > 0 else bid)
            cost += abs(wanted) * (ask - bid) / 2.0
        return prices, cost

    def _flat_until(self, here: int) -> None:
        """Fill the equity up to a slice with the balance."""
        self.equity += [self.balance] * (here - len(self.equity))
