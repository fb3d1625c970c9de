"""From measurements to figures, where writers and shapes of data are compared.

Owns the ratios and limits of these parts, and what the README shows of them. Ratios and memory are
those of bench_figures.py. A cell is one value of one series in one slice, whether it is there or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench_peers import PEERS
from bench_results import VALUES, WRITER, Measurement, Results
from bench_table import Figure, Group, Limit, Ratio, digits

# The most of wall time and of memory, against those of pyarrow.
USUAL_WRITER = (1.3, 1.5)
WRITERS = {"polars": (1.6, 2.5), "duckdb": (1.3, 2.0)}
SHAPES = {"union": "union", "fill": "union with carried candles", "union-700MB": "union, --memory 700MB"}
GAPPY_TO_BASE = 1.3
WIDE_TO_BASE = 2.0
WIDE_MB = 700.0
DAY_SHARE = 0.05
COARSE_DAY_SHARE = 0.12  # of polars and duckdb
FILE_US = 45.0
SCAN_TO_SYNC = 1.0
UNIVERSE_TO_BASE = 2.0
UNIVERSE_MB = 1_000.0
FIRST_OUTPUT_S = {"pyarrow": 2.0, "polars": 5.0}
LONG_TO_SHORT = 1.1


def groups_of(results: Results) -> list[Group]:
    """Return all figures of these parts that the measurements allow."""
    return [
        Group("Writers, sync to /dev/null", tuple(writer_figures(results))),
        Group("Shapes, sync to /dev/null, per cell", tuple(shape_figures(results))),
        Group("Many small files", tuple(file_figures(results))),
        Group("A window of one day, by writer", tuple(day_figures(results))),
        Group("Many symbols in 1 GB of memory", tuple(universe_figures(results))),
        Group("Memory of long series, by writer", tuple(growth_figures(results))),
    ]


def writer_figures(results: Results) -> Iterator[Figure]:
    """Give wall time, processor time and memory of every writer beside those of pyarrow."""
    measured = results.of_part("writers")
    usual = next((one for one in measured if (one.what, one.case.writer) == ("sync-null", WRITER)), None)
    for one in measured:
        wall, memory = WRITERS.get(one.case.writer, USUAL_WRITER)
        plain = one.what == "sync-null"
        name = one.case.writer if plain else f"{one.case.writer}, --memory 500MB"
        limits = (Limit(wall), None, Limit(memory)) if plain else (None, None, None)
        rows = zip(amounts(one), amounts(usual or one), limits, strict=True)
        for (what, value, unit), (_, usual_value, _), limit in rows:
            compared = usual is not None and one is not usual
            ratio = Ratio(value / usual_value, WRITER) if compared else None
            yield Figure(f"{name}: {what}", value, unit, ratio=ratio, limit=limit if compared else None)


def amounts(one: Measurement) -> list[tuple[str, float, str]]:
    """Return wall time, processor time and memory of a run of the executable."""
    return [("wall", one.median, "s"), ("processor", one.cpu_median, "s"), ("memory", one.peak / 1e6, "MB")]


def per_cell(one: Measurement) -> float:
    """Return the seconds per cell of what was written."""
    return one.median / (one.slices * one.case.series * VALUES)


def cell_figure(name: str, one: Measurement, base: Measurement, limit: float | None) -> Figure:
    """Return the time per cell beside that of the main shape."""
    ratio = Ratio(per_cell(one) / per_cell(base), "the main shape")
    return Figure(name, per_cell(one) * 1e9, "ns", one.peak, ratio, None if limit is None else Limit(limit))


def shape_figures(results: Results) -> Iterator[Figure]:
    """Give the time per cell of series with gaps, and of many symbols."""
    base = results.find("shapes", "base")
    if base is None:
        return
    yield Figure(f"{base.case}: intersection", per_cell(base) * 1e9, "ns", base.peak)
    for one in results.of_part("shapes"):
        if one.what in SHAPES:
            name = f"{one.case}: {SHAPES[one.what]}"
            limit = GAPPY_TO_BASE if one.case.symbols == base.case.symbols else WIDE_TO_BASE
            yield cell_figure(name, one, base, None if one.what == "union-700MB" else limit)
            if one.what == "union-700MB":
                yield Figure(f"{name}: memory", one.peak / 1e6, "MB", limit=Limit(WIDE_MB))


def file_figures(results: Results) -> Iterator[Figure]:
    """Give the processor time of a file beyond that of its values, and the time of a scan."""
    base = results.find("small-files", "base")
    for one in results.of_part("small-files"):
        if base is None or one.what != "sync-null":
            continue
        of_values = base.cpu_median / base.case.values * one.case.values
        beyond = (one.cpu_median - of_values) / one.case.files * 1e6
        yield Figure(f"{one.case}: processor time per file", beyond, "us", limit=Limit(FILE_US))
        scan = results.find("small-files", "polars-scan", one.case)
        if scan is not None:
            yield Figure(f"{one.case}: {PEERS[scan.what].label}", scan.median, "s", scan.peak)
            ratio = Ratio(one.median / scan.median, "the scan")
            yield Figure(f"{one.case}: sync to /dev/null", one.median, "s", one.peak, ratio, Limit(SCAN_TO_SYNC))


def day_figures(results: Results) -> Iterator[Figure]:
    """Give one day beside the whole range of the same files."""
    for day in results.of_part("window-million"):
        whole = results.find("window-million", "range", day.case)
        if day.what == "day" and whole is not None:
            share = COARSE_DAY_SHARE if day.case.writer in WRITERS else DAY_SHARE
            ratio = Ratio(day.median / whole.median, "the whole range")
            yield Figure(str(day.case), day.median, "s", day.peak, ratio, Limit(share))


def universe_figures(results: Results) -> Iterator[Figure]:
    """Give time, memory, first output and temporary file of a union of many symbols."""
    base = results.find("universe", "base")
    for one in results.of_part("universe"):
        if one.what == "union" and base is not None:
            yield cell_figure(f"{one.case}: per cell", one, base, UNIVERSE_TO_BASE)
            yield Figure(f"{one.case}: memory", one.peak / 1e6, "MB", limit=Limit(UNIVERSE_MB))
            yield Figure(f"{one.case}: temporary file", one.temporary_bytes / 1e6, "MB")
        elif one.what == "output":
            limit = Limit(FIRST_OUTPUT_S[one.case.writer])
            yield Figure(f"{one.case}: first 64 KiB of output", one.median, "s", limit=limit)


def growth_figures(results: Results) -> Iterator[Figure]:
    """Give the memory of long series beside that of short ones."""
    measured = results.of_part("memory-million")
    for writer in dict.fromkeys(one.case.writer for one in measured):
        short, *longer = sorted((one for one in measured if one.case.writer == writer), key=lambda one: one.case.rows)
        yield Figure(str(short.case), short.peak / 1e6, "MB")
        for one in longer:
            ratio = Ratio(one.peak / short.peak, f"{short.case.rows:,} minutes")
            yield Figure(str(one.case), one.peak / 1e6, "MB", ratio=ratio, limit=Limit(LONG_TO_SHORT))


@dataclass(frozen=True)
class Pair:
    """Our Python loop on one shape, and the fastest peer; None where no peer has a value."""

    shape: str
    ours: Measurement
    peer: Measurement | None


def pairs_of(results: Results) -> list[Pair]:
    """Return what the README shows: the main shape, series with gaps, and many symbols."""
    parts = {"main": "", "shapes": ", union"}
    found = [one for part in parts for one in results.of_part(part) if one.what == "column"]
    return [
        Pair(f"{one.case}{parts[one.part]}".replace(" x ", " × "), one, results.fastest_of(PEERS, one.part, one.case))
        for one in found
    ]


def readme(results: Results) -> str:
    """Return the table of the README."""
    lines = ["| data | omega-slices in Python | memory | fastest peer | | memory |", "|---|---:|---:|---|---:|---:|"]
    for pair in pairs_of(results):
        peer = ["", "", ""] if pair.peer is None else [PEERS[pair.peer.what].label, *time_and_memory(pair.peer)]
        lines.append(f"| {' | '.join([pair.shape, *time_and_memory(pair.ours), *peer])} |")
    return "\n".join(lines)


def time_and_memory(one: Measurement) -> list[str]:
    """Return both for people."""
    return [f"{digits(one.median)} s", f"{one.peak / 1e6:,.0f} MB"]
