"""What was measured: the shapes of data, the measurements on them, and how both are kept as JSON.

Owns the records that the parts of the benchmark hand to each other. Knows neither how they come
about nor what is promised of them. Like all that the measuring process imports, it needs the
standard library alone: see bench_run.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

SYMBOLS = 50
PRICE_TYPES = ("bid", "ask")
SEED = 1
WRITER = "pyarrow"
MISSING_OF_ALL = 0.1
DAY_MINUTES = 24 * 60
VALUES = 5  # of a candle

# Sums over the same values in another order differ by rounding, far less than by one value that is
# wrong.
SUM_TOLERANCE = 1e-9


class BenchError(Exception):
    """The benchmark cannot go on, or what it measured contradicts itself."""


@dataclass(frozen=True)
class Case:
    """The shape of a data set; see bench_data.py."""

    rows: int
    symbols: int = SYMBOLS
    price_types: tuple[str, ...] = PRICE_TYPES
    seed: int = SEED
    # Further timeframes and the number of indicators that lie beside the minutes.
    further: tuple[str, ...] = ()
    indicators: int = 0
    # One of bench_writers.py.
    writer: str = WRITER
    # The least and the most share of its rows that a file misses; None for a share that depends on
    # the number of series: see `missing`.
    gaps: tuple[float, float] | None = None
    # Whether each series has one file per day.
    days: bool = False

    @property
    def series(self) -> int:
        """The number of series."""
        return self.symbols * len(self.price_types)

    @property
    def files(self) -> int:
        """The number of files."""
        return self.series * (math.ceil(self.rows / DAY_MINUTES) if self.days else 1)

    @property
    def values(self) -> int:
        """The number of prices and volumes in all files, missing ones included."""
        return VALUES * self.rows * self.series

    @property
    def missing(self) -> tuple[float, float]:
        """The least and the most share of its rows that a series misses.

        Without `gaps` 0.1 % of 50 symbols x bid and ask, fewer of more series. So 90 % of all
        timestamps are common to all series of these shapes.
        """
        return self.gaps or (MISSING_OF_ALL / self.series,) * 2

    @property
    def folder(self) -> str:
        """The name of the folder that holds the data."""
        words = [f"rows-{self.rows}-seed-{self.seed}"]
        if (self.symbols, self.price_types) != (SYMBOLS, PRICE_TYPES):
            words.insert(0, f"symbols-{self.symbols}-{'-'.join(self.price_types)}")
        if self.further or self.indicators:
            words.append(f"{'-'.join(self.further)}-indicators-{self.indicators}")
        if self.gaps is not None:
            words.append(f"gaps-{self.gaps[0]:g}-{self.gaps[1]:g}")
        if self.days:
            words.append("days")
        if self.writer != WRITER:
            words.append(self.writer)
        return "-".join(words)

    def __str__(self) -> str:
        """Return the shape for people."""
        words = [f"{self.symbols:,} symbols x {' and '.join(self.price_types)} x {self.rows:,} minutes"]
        if self.gaps is not None:
            words.append(f"{' to '.join(f'{100 * share:g}' for share in dict.fromkeys(self.gaps))} % missing")
        if self.days:
            words.append("a file per day")
        if self.writer != WRITER:
            words.append(f"by {self.writer}")
        return ", ".join(words)


@dataclass(frozen=True)
class Sums:
    """What a loop over all slices has seen.

    Their number, the sum of all bid closes, the sum of all values.

    NaN where a loop does not tell: a loop that is to be measured cannot stop at every value.
    """

    slices: int
    closes: float = math.nan
    values: float = math.nan

    def agrees(self, other: Sums) -> bool:
        """Return whether both are sums over the same slices, where both say it."""
        pairs = ((self.closes, other.closes), (self.values, other.values))
        return self.slices == other.slices and all(
            math.isnan(mine) or math.isnan(theirs) or math.isclose(mine, theirs, rel_tol=SUM_TOLERANCE)
            for mine, theirs in pairs
        )


@dataclass(frozen=True)
class Measurement:
    """All runs of one thing on one data set.

    Attributes
    ----------
    part, what : str
        The part of the benchmark, and the thing that was run. Things of one part were run in turns.
    values : tuple of float
        One for each run: seconds, of which memory held per slice is the one exception (bytes).
    peak_bytes : tuple of int
        One for each run: memory of its processes.
    sums : Sums or None
        What the runs saw; None where that is not told.
    failure : str
        Why there is no value; empty where there is one.
    cpu_seconds : tuple of float
        One for each run of the executable: processor time of all of its threads. Empty for other
        things.
    temporary_bytes : int
        The most that the executable put into a temporary file in any run.
    """

    part: str
    what: str
    case: Case
    values: tuple[float, ...]
    peak_bytes: tuple[int, ...]
    sums: Sums | None = None
    failure: str = ""
    cpu_seconds: tuple[float, ...] = ()
    temporary_bytes: int = 0

    @property
    def median(self) -> float:
        """The median of all runs."""
        return statistics.median(self.values)

    @property
    def cpu_median(self) -> float:
        """The median of the processor time of all runs."""
        return statistics.median(self.cpu_seconds)

    @property
    def peak(self) -> int:
        """The most memory of any run, in bytes."""
        return max(self.peak_bytes)

    @property
    def slices(self) -> int:
        """The number of slices that every run has seen."""
        if self.sums is None:
            raise BenchError(f"{self.what} does not tell its slices")
        return self.sums.slices

    def as_json(self) -> dict[str, Any]:
        """Return the measurement as `from_json` takes it."""
        sums = None
        if self.sums is not None:
            sums = {name: None if math.isnan(number) else number for name, number in asdict(self.sums).items()}
        return {**asdict(self), "case": {**asdict(self.case), "missing": self.case.missing}, "sums": sums}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Measurement:
        """Return the measurement that `as_json` wrote."""
        case: dict[str, Any] = {name: value for name, value in told["case"].items() if name != "missing"}
        case |= {name: tuple(value) for name, value in case.items() if isinstance(value, list)}
        sums = told["sums"] and {name: number for name, number in told["sums"].items() if number is not None}
        return cls(
            told["part"],
            told["what"],
            Case(**case),
            tuple(told["values"]),
            tuple(told["peak_bytes"]),
            None if sums is None else Sums(**sums),
            told["failure"],
            tuple(told.get("cpu_seconds", ())),
            told.get("temporary_bytes", 0),
        )


class Results:
    """Measurements, found by part, thing and, where that is not enough, shape of data."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self.measurements = tuple(measurements)

    def of_part(self, part: str) -> list[Measurement]:
        """Return the measurements of a part that have a value."""
        return [one for one in self.measurements if one.part == part and one.values]

    def find(self, part: str, what: str, case: Case | None = None) -> Measurement | None:
        """Return a measurement; None where there is none with a value."""
        found = [one for one in self.of_part(part) if one.what == what and case in (None, one.case)]
        return found[0] if found else None

    def fastest_of(self, things: Container[str], part: str, case: Case) -> Measurement | None:
        """Return the fastest of some things on one data set; None where none has a value."""
        found = [one for one in self.of_part(part) if one.what in things and one.case == case]
        return min(found, key=lambda one: one.median, default=None)


def check_agreement(measurements: Iterable[Measurement]) -> None:
    """Raise where two loops over the same data, whatever its writer, have seen different slices."""
    told: dict[Case, list[Measurement]] = {}
    for one in measurements:
        if one.sums is not None:
            told.setdefault(replace(one.case, writer=WRITER), []).append(one)
    for case, group in told.items():
        for position, one in enumerate(group):
            for other in group[:position]:
                if one.sums is not None and other.sums is not None and not one.sums.agrees(other.sums):
                    raise BenchError(f"{case}: {one.what} saw {one.sums}, but {other.what} saw {other.sums}")
