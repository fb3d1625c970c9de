"""The backtest's golden cases: their input, their requests, and a book in text.

Owns the candles, which are made from a seed, and the scenarios: what is asked of `open_slices`,
and the rules to go with it. Owns the text form of the golden files too. The text changes with one
bit of a price, a cost or the equity. Leaves the strategy to `pairs_strategy`, and running it over
backends to the test.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pairs_strategy import Book, Rules, Trade, backtest

from omega_slices import open_slices

FOLDER: Final = Path(__file__).parent / "pairs"
SYMBOLS: Final = ("EURUSD", "GBPUSD")
SIDES: Final = ("BID", "ASK")

STEP_NS: Final = 900 * 10**9
HOUR_NS: Final = 3_600 * 10**9

_SEED: Final = 110
_START_NS: Final = 1_709_503_200 * 10**9  # Sunday 2024-03-03T22:00Z, when the week opens
_STEPS_PER_DAY: Final = 96
_STEPS: Final = 12 * _STEPS_PER_DAY  # to Friday 2024-03-15T22:00Z
_TICKS_PER_UNIT: Final = 100_000  # prices have five digits

# Steps without a candle: first, behind the last, symbols, sides.
_OUTAGES: Final = (
    (250, 254, ("GBPUSD",), SIDES),  # within an hour: carried throughout
    (330, 345, ("GBPUSD",), SIDES),  # longer than any candle is carried
    (820, 826, ("EURUSD",), ("ASK",)),  # one side alone
    (930, 933, SYMBOLS, SIDES),  # without any candle
)

# The bid's open, high, low and close, and the spread, in ticks.
_Step = tuple[int, int, int, int, int]

# Open, high, low, close, volume; None is a null.
_Values = tuple[float | None, float, float, float | None, float | None]


@dataclass(frozen=True)
class Scenario:
    """One request, and the rules of the strategy that goes through its slices."""

    name: str
    request: dict[str, Any]
    rules: Rules

    @property
    def golden(self) -> Path:
        """The file that holds what has to come out."""
        return FOLDER / f"{self.name}.txt"

    def run(self, root: Path, backend: str) -> Book:
        """Run the strategy over the input under `root`, slice by slice as they come."""
        with open_slices(root, **self.request, backend=backend) as slices:
            return backtest(slices, self.rules)


_COMMON: Final = {"symbols": SYMBOLS, "timeframe": "M15", "session": "fx"}
_CARRIED: Final = {**_COMMON, "timeline": "union", "fill": "forward", "max_age": "1h"}

SCENARIOS: Final = (
    Scenario("intersection", {**_COMMON, "timeline": "intersection"}, Rules()),
    Scenario("union_fill", _CARRIED, Rules()),
    Scenario(
        "union_fill_hour",
        {**_CARRIED, "with_timeframe": "H1:max-age=2h", "known_at": "open"},
        Rules(trend_timeframe="H1"),
    ),
)


def write_input(root: Path) -> None:
    """Write the candles of both symbols, M15 and H1, bid and ask.

    The two share most of their way; what is left between them comes back, and wanders off now and
    then. Spreads move, and are wide around 22:00Z. Each file lacks candles of its own, and some
    hold a NaN or a null. On Saturday from 12:00Z to 14:00Z (Sydney's midnight is 13:00Z) quotes are
    nonsense, which the session filter has to drop. Uses plain arithmetic and
    `random.Random.random` alone, whose numbers are the same in every Python.
    """
    draw = random.Random(_SEED)
    steps: dict[str, list[_Step]] = {symbol: [] for symbol in SYMBOLS}
    middle, apart, last = 108_400, 0.0, {"EURUSD": 108_400, "GBPUSD": 126_800}
    for step in range(_STEPS):
        middle += _around(draw, 45)
        # Now and then what is apart goes on instead of coming back.
        wanders = step % 230 in range(150, 180)
        apart = apart * (1.0 if wanders else 0.92) + _around(draw, 55) + (18 if wanders else 0)
        for symbol, close in (("EURUSD", middle + round(apart)), ("GBPUSD", round(middle * 1.17))):
            opened = last[symbol] + _around(draw, 4)
            top, bottom = (edge + _around(draw, 12) for edge in (max(opened, close) + 12, min(opened, close) - 12))
            steps[symbol].append((opened, top, bottom, close, 6 + int(draw.random() * 9)))
            last[symbol] = close
    for symbol in SYMBOLS:
        for side in SIDES:
            kept = random.Random(f"{_SEED} {symbol} {side}")
            rows = dict(_rows(steps[symbol], symbol, side, kept))
            _write(root, symbol, "M15", side, rows)
            hours = _hours(rows)
            _write(root, symbol, "H1", side, {stamp: row for stamp, row in hours.items() if kept.random() > 0.03})


def _around(draw: random.Random, width: int) -> int:
    """Return a whole number within `width` of zero."""
    return int(draw.random() * (2 * width + 1)) - width


def _rows(steps: list[_Step], symbol: str, side: str, kept: random.Random) -> Iterator[tuple[int, _Values]]:
    """Yield the candles of one file by their timestamps."""
    for step, (opened, top, bottom, close, spread) in enumerate(steps):
        luck, fault = kept.random(), kept.random()
        day, of_day = divmod(step, _STEPS_PER_DAY)
        on_saturday = day == 5 and of_day in range(56, 64)
        if day in (5, 6) and not on_saturday:
            continue
        is_out = any(
            first <= step < end and symbol in symbols and side in sides for first, end, symbols, sides in _OUTAGES
        )
        if is_out or luck < 0.02:
            continue
        wide = 20 if of_day in range(3) else 0
        above = spread + wide + (4 if symbol == "GBPUSD" else 0) if side == "ASK" else 0
        if on_saturday:
            above += 2_000
        first, high, low, last = ((ticks + above) / _TICKS_PER_UNIT for ticks in (opened, top, bottom, close))
        volume = float(100 + step % 7)
        yield (
            _START_NS + step * STEP_NS,
            (
                None if 0.010 <= fault < 0.025 else first,
                high,
                low,
                math.nan if fault < 0.010 else last,
                None if 0.025 <= fault < 0.030 else volume,
            ),
        )


def _hours(rows: dict[int, _Values]) -> dict[int, _Values]:
    """Return the candles of an hour that the quarters of an hour that are there make up."""
    parts: dict[int, list[_Values]] = {}
    for stamp, row in rows.items():
        parts.setdefault(stamp // HOUR_NS * HOUR_NS, []).append(row)
    return {
        stamp: (
            of_hour[0][0],
            max(row[1] for row in of_hour),
            min(row[2] for row in of_hour),
            of_hour[-1][3],
            math.fsum(row[4] or 0.0 for row in of_hour),
        )
        for stamp, of_hour in parts.items()
    }


def _write(root: Path, symbol: str, timeframe: str, side: str, rows: dict[int, _Values]) -> None:
    columns = zip(*rows.values(), strict=True)
    table = pa.table(
        {
            "UTC time": pa.array(rows.keys()).cast(pa.timestamp("ns", "UTC")),
            **{
                name: pa.array(column, pa.float64())
                for name, column in zip(("Open", "High", "Low", "Close", "Volume"), columns, strict=True)
            },
        }
    )
    target = root / symbol / f"{symbol}_{timeframe}_{side}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, target, row_group_size=300)


def golden_text(scenario: Scenario, root: Path) -> str:
    """Return the text that the golden file has to hold, by the reference."""
    write_input(root)
    return book_text(scenario.run(root, "python"))


def book_text(book: Book) -> str:
    """Return a book in the text form of the golden files."""
    return "\n".join(_book_lines(book)) + "\n"


def time_text(timestamp_ns: int) -> str:
    """Return a time of whole minutes."""
    return f"{datetime.fromtimestamp(timestamp_ns // 10**9, UTC):%Y-%m-%dT%H:%MZ}"


def side_text(trade: Trade) -> str:
    """Return in words which way a trade went."""
    return "long" if trade.direction > 0 else "short"


def _book_lines(book: Book) -> Iterator[str]:
    points = "".join(f"{stamp} {value.hex()}\n" for stamp, value in book.equity)
    digest = hashlib.sha256(points.encode()).hexdigest()
    yield f"slices   {len(book.equity)}"
    yield f"trades   {len(book.trades)}"
    yield f"refused  {len(book.refusals)}"
    yield f"equity   {book.equity[-1][1]!r} at the end; of all slices sha256 {digest}"
    for number, trade in enumerate(book.trades, 1):
        times = f"{time_text(trade.entry_ns)} to {time_text(trade.exit_ns)}"
        yield ""
        yield f"trade {number}  {side_text(trade)}  {times}  {trade.reason}"
        # z is rounded here: the last bit of a logarithm is the C library's.
        yield f"  decided on mids {' '.join(map(repr, trade.mids))}, z {trade.z_score:.3f}"
        for leg in trade.legs:
            yield f"  {leg.symbol} {leg.units:+} at {leg.entry!r}, out at {leg.exit!r}"
        yield f"  cost {trade.cost!r}  pnl {trade.pnl!r}"
    yield ""
    for refusal in book.refusals:
        yield f"refused  {time_text(refusal.timestamp_ns)}  {refusal.what}: {refusal.why}"
    yield ""
    before = None
    for stamp, value in book.equity:
        if value != before:
            yield f"equity  {time_text(stamp)}  {value!r}"
        before = value
