"""Figures, limits on them, and the table of text that people read.

Knows neither what is measured nor what is promised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """How many times the value of something else a value is."""

    value: float
    against: str


@dataclass(frozen=True)
class Limit:
    """What is promised: the most or the least that a ratio, or else a value, may be."""

    value: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a value keeps the promise."""
        return value >= self.value if self.at_least else value <= self.value

    def __str__(self) -> str:
        """Return the limit for people."""
        return f"at {'least' if self.at_least else 'most'} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    `value` is None, and `note` says why, where something could not be measured.
    """

    name: str
    value: float | None
    unit: str
    peak_bytes: int | None = None
    ratio: Ratio | None = None
    limit: Limit | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the limit holds; None where there is none."""
        judged = self.value if self.ratio is None else self.ratio.value
        return None if self.limit is None or judged is None else self.limit.holds(judged)

    @property
    def verdict(self) -> str:
        """The same in words."""
        return {None: "", True: "holds", False: "DOES NOT HOLD"}[self.holds]

    @property
    def promise(self) -> str:
        """The limit with its unit."""
        if self.limit is None:
            return ""
        return f"{self.limit} {self.unit if self.ratio is None else 'x'}"

    @property
    def value_text(self) -> str:
        """The value with its unit, or why there is none."""
        return self.note if self.value is None else f"{digits(self.value)} {self.unit}"

    @property
    def peak_text(self) -> str:
        """The memory, if it was measured."""
        return "" if self.peak_bytes is None else f"{self.peak_bytes / 1e6:,.0f} MB"

    @property
    def ratio_text(self) -> str:
        """The ratio, and to what."""
        return "" if self.ratio is None else f"{digits(self.ratio.value)} x {self.ratio.against}"

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return {**asdict(self), "holds": self.holds}


@dataclass(frozen=True)
class Group:
    """Figures under a heading."""

    title: str
    figures: tuple[Figure, ...]


def digits(value: float) -> str:
    """Return a number with three digits that count, or all of its whole ones."""
    places = next((places for places, least in ((0, 100), (1, 10), (2, 1)) if abs(value) >= least), 3)
    return f"{value:,.{places}f}"


def table(groups: Sequence[Group]) -> str:
    """Return the figures as text."""
    rows = [
        (group, figure, (figure.peak_text, figure.ratio_text, figure.promise, figure.verdict))
        for group in groups
        for figure in group.figures
    ]
    widths = [max((len(cells[column]) for _, _, cells in rows), default=0) for column in range(4)]
    name_width = max((len(figure.name) for _, figure, _ in rows), default=0)
    lines: list[str] = []
    last = None
    for group, figure, (peak, ratio, promise, verdict) in rows:
        if group is not last:
            lines += ["", group.title]
            last = group
        value = f"{figure.note:12}" if figure.value is None else f"{digits(figure.value):>9} {figure.unit:5}"
        cells = [f"  {figure.name:{name_width}}", value, f"{peak:>{widths[0]}}"]
        cells += [f"{ratio:{widths[1]}}", f"{promise:{widths[2]}}", verdict]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
