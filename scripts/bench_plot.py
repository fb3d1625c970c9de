"""Draw the measurements.

Time against the number of rows, and against the number of symbols. Time and memory of our loop and
of the fastest peer, by shape.

The same measurements give the same bytes: no date, no random names. White ground, so that it is
readable on any page.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from bench_figures import LABELS
from bench_peers import PEERS
from bench_results import SYMBOLS, Measurement, Results
from bench_shapes import Pair
from bench_table import digits
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator

PARTS = ("sizes", "main", "million")
SYMBOL_ROWS = 20_000
INK = "#24292f"
LABEL_SHARE = 0.042  # the height of a name, of the whole height


@dataclass(frozen=True)
class Style:
    """How one line looks, and what stands at its end."""

    label: str
    color: str
    width: float = 1.4
    dashes: tuple[int, ...] = ()


STYLES = {
    "arcticdb": Style(LABELS["arcticdb"], "#bf3989"),
    "pandas": Style(LABELS["pandas"], "#8250df"),
    "duckdb": Style(LABELS["duckdb"], "#9a6700"),
    "polars-joins": Style(LABELS["polars-joins"], "#0969da"),
    "polars-timeline": Style("polars, timeline", "#54aeff"),
    "pyarrow": Style(LABELS["pyarrow"], "#1a7f37"),
    "column": Style("omega-slices", "#cf222e", 2.6),
    "decode": Style("decoding alone", "#6e7781", 1.4, (4, 2)),
}
assert STYLES.keys() == {*(name for name, peer in PEERS.items() if "intersection" in peer.kinds), "column", "decode"}
BAR = 0.36  # the height of a bar, of the height of a shape


def draw(results: Results, target: Path) -> None:
    """Write the picture as SVG."""
    found = [one for part in PARTS for one in results.of_part(part) if one.what in STYLES]
    usual = [one for one in found if one.case.symbols == SYMBOLS]
    short = [one for one in found if one.case.rows == SYMBOL_ROWS]
    figure = sheet(4.8)
    left, right = figure.subplots(1, 2, sharey=True)
    ends = [
        panel(left, usual, "rows", f"{SYMBOLS} symbols × bid and ask", "minutes per file"),
        panel(right, short, "symbols", f"{SYMBOL_ROWS:,} minutes per file", "symbols, × bid and ask"),
    ]
    left.set_ylabel("seconds, from Parquet to the last slice or row")
    for axes, names in zip((left, right), ends, strict=True):
        name_ends(axes, names)
    save(figure, target)


def draw_shapes(pairs: Sequence[Pair], target: Path) -> None:
    """Write the picture of our loop and the fastest peer as SVG."""
    figure = sheet(1.2 + 0.8 * len(pairs))
    left, right = figure.subplots(1, 2, sharey=True)
    bars(left, pairs, lambda one: one.median, "s", "seconds to the last slice or row")
    bars(right, pairs, lambda one: one.peak / 1e6, "MB", "peak memory, MB")
    left.set_yticks(range(len(pairs)), [pair.shape.replace(", ", ",\n", 1) for pair in pairs])
    left.invert_yaxis()
    save(figure, target)


def bars(axes: Axes, pairs: Sequence[Pair], value: Callable[[Measurement], float], unit: str, title: str) -> None:
    """Draw two bars per shape, with their names and values."""
    for place, pair in enumerate(pairs):
        for shift, one in ((-BAR / 2, pair.ours), (BAR / 2, pair.peer)):
            if one is not None:
                style = STYLES[one.what]
                axes.barh(place + shift, value(one), BAR, color=style.color)
                text = f" {style.label} {digits(value(one))} {unit}"
                axes.text(value(one), place + shift, text, color=style.color, fontsize=8.5, verticalalignment="center")
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=INK)
    axes.margins(x=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def sheet(height: float) -> Figure:
    """Return an empty picture."""
    mpl.rc("svg", hashsalt="omega-slices")
    mpl.rc("font", family="DejaVu Sans", size=9.5)
    return Figure(figsize=(10.0, height), facecolor="white", layout="constrained")


def save(figure: Figure, target: Path) -> None:
    """Write a picture as SVG."""
    figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})


def panel(
    axes: Axes, measurements: Sequence[Measurement], across: str, title: str, unit: str
) -> list[tuple[float, Style]]:
    """Draw one line per thing; return where the lines end."""
    ends: list[tuple[float, Style]] = []
    for what, style in STYLES.items():
        points = sorted((getattr(one.case, across), one.median) for one in measurements if one.what == what)
        if points:
            x, y = zip(*points, strict=True)
            line = axes.plot(x, y, color=style.color, linewidth=style.width, marker="o", markersize=style.width + 2.5)
            if style.dashes:
                line[0].set_dashes(style.dashes)
            ends.append((points[-1][1], style))
    axes.set(xscale="log", yscale="log", xlabel=unit)
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=INK)
    axes.xaxis.set_major_locator(FixedLocator(sorted({getattr(one.case, across) for one in measurements})))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.yaxis.set_tick_params(labelleft=True)
    axes.grid(visible=True, color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return ends


def name_ends(axes: Axes, ends: Sequence[tuple[float, Style]]) -> None:
    """Write the names of the lines at their ends."""
    ordered = sorted(ends, key=lambda end: end[0])
    lowest, highest = map(math.log, axes.get_ylim())
    places = spread([math.log(value) for value, _ in ordered], LABEL_SHARE * (highest - lowest))
    for place, (_, style) in zip(places, ordered, strict=True):
        axes.annotate(
            style.label,
            (1.0, math.exp(place)),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=style.color,
            fontsize=8.5,
            fontweight="bold" if style.width > 2 else "normal",
            verticalalignment="center",
            annotation_clip=False,
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move ascending places as little as possible, until neighbours are a gap apart."""
    # Less its share of the gaps, each place may stand where the one before stands. Groups that
    # would cross share the mean of what their members want.
    groups: list[list[float]] = []
    for number, place in enumerate(places):
        groups.append([place - number * gap])
        while len(groups) > 1 and statistics.fmean(groups[-2]) > statistics.fmean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    wanted = [statistics.fmean(group) for group in groups for _ in group]
    return [place + number * gap for number, place in enumerate(wanted)]
