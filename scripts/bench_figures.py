"""From measurements to the figures that people read, and what is promised of them.

Owns every ratio and limit but those of bench_shapes.py, and the tables in Markdown. A ratio is one
of medians; memory is the most of any run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import bench_matrix_figures
import bench_shapes
from bench_peers import PEERS
from bench_results import Case, Measurement, Results
from bench_table import Figure, Group, Limit, Ratio

SIZES = ("main", "million")
FILES = ("file", "file-million")
LABELS = {
    "decode": "decode alone",
    "sync-null": "sync to /dev/null",
    "sync-pipe": "sync to a drained pipe",
    "sync-file": "sync to a file",
    "column": "Python loop, column()",
    "prices": "Python loop, get_price() of everything",
    "candles": "Python loop, every CandleData",
    **{name: peer.label for name, peer in PEERS.items()},
}
BESIDES = {
    "union": "union",
    "fill": "and carried candles",
    "further": "and two higher timeframes",
    "indicators": "and four indicators",
    "everything": "and all of these",
}
TO_DECODE = {"sync-null": 1.35, "sync-pipe": None, "sync-file": None, "column": 2.2, "prices": None, "candles": None}
PEER_TO_COLUMN = {"main": 2.0, "million": 3.0}
STEPS_US = {"bare": 0.3, "column": 0.6, "prices": 15.0, "candles": 50.0}
WALK_TO_MEMORY = 1.2
AT_US = 3.0
OPENING_MS = 20.0
TREE_MB = 400.0


def groups_of(results: Results) -> list[Group]:
    """Return all figures that the measurements allow."""
    groups = [Group(title(results, part, part), tuple(size_figures(results, part))) for part in SIZES]
    groups += [
        Group("Python on its own, batches in memory", tuple(step_figures(results))),
        *(
            Group(f"Precomputed file, {title(results, part, part, 'touched')}", tuple(file_figures(results, part)))
            for part in FILES
        ),
        Group("From open_slices to the first slice", tuple(first_figures(results))),
        Group("Against the plain implementation in Python", tuple(reference_figures(results))),
        Group("Many symbols, with 1,024 open files allowed", tuple(wide_figures(results))),
        Group("A window of one day", tuple(window_figures(results))),
        Group("More in a slice, sync to /dev/null", tuple(besides_figures(results))),
    ]
    groups += bench_shapes.groups_of(results)
    groups += bench_matrix_figures.groups_of(results)
    groups += [
        Group(f"{column.case}, union: {column.slices:,} slices", tuple(union_figures(results, column)))
        for column in results.of_part("shapes")
        if column.what == "column"
    ]
    cases = dict.fromkeys(one.case for one in results.of_part("sizes"))
    groups += [Group(str(case), tuple(plain_figures(results, "sizes", case))) for case in cases]
    return [group for group in groups if group.figures]


def title(results: Results, part: str, otherwise: str, what: str = "column") -> str:
    """Return the shape of a part's data, and how many slices one of its measurements has seen."""
    found = results.find(part, what)
    return otherwise if found is None else f"{found.case}: {found.slices:,} slices"


def time_figure(one: Measurement) -> Figure:
    """Return time and memory of a measurement."""
    label = LABELS[one.what]
    if not one.values:
        return Figure(label, None, "s", note=one.failure)
    return Figure(label, one.median, "s", one.peak)


def plain_figures(results: Results, part: str, case: Case) -> Iterator[Figure]:
    """Give time and memory of everything on one data set."""
    for one in results.measurements:
        if (one.part, one.case) == (part, case) and one.what in LABELS:
            yield time_figure(one)


def size_figures(results: Results, part: str) -> Iterator[Figure]:
    """Give what one size of data has told.

    Ours, the peers, and what is promised of their ratios.
    """
    decode, column = results.find(part, "decode"), results.find(part, "column")
    if decode is None or column is None:
        return
    fastest = results.fastest_of(PEERS, part, column.case)
    for one in results.measurements:
        if one.part != part or one.what not in LABELS:
            continue
        figure = time_figure(one)
        if one.values and one.what in TO_DECODE:
            limit = TO_DECODE[one.what]
            ratio = Ratio(one.median / decode.median, LABELS["decode"])
            figure = replace(figure, ratio=ratio, limit=None if limit is None else Limit(limit))
        elif one.what in PEERS:
            figure = peer_figure(one, column, fastest)
            if one is fastest:
                figure = replace(figure, limit=Limit(PEER_TO_COLUMN[part], at_least=True))
        yield figure
    per_million = column.median / column.slices * 1e6
    yield Figure("1,000,000 slices, from Parquet to Python", per_million, "s", limit=Limit(10.0))
    yield from memory_figures(results, part, column)


def peer_figure(peer: Measurement, column: Measurement, fastest: Measurement | None) -> Figure:
    """Return time and memory of a peer beside ours."""
    figure = time_figure(peer)
    if not peer.values:
        return figure
    name = f"{figure.name} (the fastest)" if peer is fastest else figure.name
    return replace(figure, name=name, ratio=Ratio(peer.median / column.median, LABELS["column"]))


def union_figures(results: Results, column: Measurement) -> Iterator[Figure]:
    """Give our loop over a union, and the peers beside it."""
    yield time_figure(column)
    fastest = results.fastest_of(PEERS, "shapes", column.case)
    for one in results.measurements:
        if (one.part, one.case) == ("shapes", column.case) and one.what in PEERS:
            yield peer_figure(one, column, fastest)


def memory_figures(results: Results, part: str, column: Measurement) -> Iterator[Figure]:
    """Give what is promised of memory."""
    shorter = results.find("main", "column")
    if part == "main":
        yield Figure("memory of Python and the executable", column.peak / 1e6, "MB", limit=Limit(TREE_MB))
    elif shorter is not None:
        name = f"memory more than at {shorter.case.rows:,} minutes"
        yield Figure(name, (column.peak / shorter.peak - 1) * 100, "%", limit=Limit(10.0))


def step_figures(results: Results) -> Iterator[Figure]:
    """Give the step in Python, and what a slice holds."""
    for what, limit in STEPS_US.items():
        step = results.find("step", f"step-{what}")
        if step is not None:
            everything = f"{step.case.symbols} symbols x bid and ask"
            label = {
                "bare": "step",
                "column": "step and column()",
                "prices": f"step and get_price(), {everything}",
                "candles": f"step and every CandleData, {everything}",
            }[what]
            yield Figure(label, step.median * 1e6, "us", limit=Limit(limit))
    held = results.find("step", "held")
    if held is not None:
        yield Figure("memory of a slice, its batch aside", held.median, "bytes", limit=Limit(120.0))


def file_figures(results: Results, part: str) -> Iterator[Figure]:
    """Give the walk through a file beside that over batches in memory, look-up and opening."""
    touched, walk = results.find(part, "touched"), results.find(part, "walk")
    if touched is not None and walk is not None:
        yield Figure("step and column(), batches in memory", touched.median * 1e6, "us", touched.peak)
        ratio = Ratio(walk.median / touched.median, "batches in memory")
        yield Figure(
            "step and column(), the mapped file", walk.median * 1e6, "us", walk.peak, ratio, Limit(WALK_TO_MEMORY)
        )
    at, opening = results.find(part, "at"), results.find(part, "opening")
    if at is not None:
        yield Figure("at(), timestamps in random order", at.median * 1e6, "us", at.peak, limit=Limit(AT_US))
    if opening is not None:
        yield Figure("read_slices()", opening.median * 1e3, "ms", limit=Limit(OPENING_MS))


def first_figures(results: Results) -> Iterator[Figure]:
    """Give the first slice."""
    first = results.find("first", "first")
    if first is not None:
        yield Figure(str(first.case), first.median * 1e3, "ms", limit=Limit(150.0))


def reference_figures(results: Results) -> Iterator[Figure]:
    """Give the time per slice of the reference beside ours."""
    reference, column = results.find("reference", "reference"), results.find("reference", "column")
    if reference is None or column is None:
        return
    ours = column.median / column.slices * 1e6
    plain = reference.median / reference.slices * 1e6
    yield Figure(f"executable, per slice of {column.case.rows:,} minutes", ours, "us")
    ratio = Ratio(plain / ours, "the executable")
    name = f"reference, per slice of {reference.case.rows:,} minutes"
    yield Figure(name, plain, "us", ratio=ratio, limit=Limit(300.0, at_least=True))


def wide_figures(results: Results) -> Iterator[Figure]:
    """Give the time per value of many symbols beside that of the usual number."""
    measured = results.of_part("wide")
    for one in measured:
        figure = Figure(f"{one.case}, per value", one.median / one.case.values * 1e9, "ns", one.peak)
        usual = measured[0]
        if one is not usual:
            times = one.median / one.case.values / (usual.median / usual.case.values)
            figure = replace(figure, ratio=Ratio(times, f"{usual.case.symbols:,} symbols"), limit=Limit(1.5))
        yield figure


def window_figures(results: Results) -> Iterator[Figure]:
    """Give a small window beside the whole range."""
    whole, day = results.find("window", "range"), results.find("window", "day")
    if whole is not None and day is not None:
        yield Figure(f"{whole.case}, sync to /dev/null", whole.median, "s", whole.peak)
        ratio = Ratio(day.median / whole.median, "the whole range")
        yield Figure("one day of them", day.median, "s", day.peak, ratio, Limit(0.05))


def besides_figures(results: Results) -> Iterator[Figure]:
    """Give what is shown besides next to the plain union."""
    plain = results.find("besides", "union")
    for one in results.of_part("besides"):
        figure = Figure(BESIDES[one.what], one.median, "s", one.peak)
        if plain is not None and one is not plain:
            limit = Limit(2.2) if one.what == "everything" else None
            figure = replace(figure, ratio=Ratio(one.median / plain.median, "the plain union"), limit=limit)
        yield figure


def markdown(groups: Sequence[Group], results: Results) -> str:
    """Return the figures as the tables of docs/explanation/performance.md.

    Time and memory by size, then every promise.
    """
    measured = [part for part in SIZES if results.find(part, "column") is not None]
    lines: list[str] = []
    if measured:
        cases = {part: found.case for part in measured if (found := results.find(part, "column")) is not None}
        heads = [f"{case.rows:,} minutes | memory" for case in cases.values()]
        lines += [f"| what | {' | '.join(heads)} |", "|---|" + "---:|---:|" * len(cases)]
        named = {one.what: None for part in measured for one in results.measurements if one.part == part}
        for what in (what for what in LABELS if what in named):
            cells = [size_cells(results, part, what) for part in measured]
            lines.append(f"| {LABELS[what]} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["| promise | measured | limit | |", "|---|---:|---:|---|"]
    for group in groups:
        for figure in group.figures:
            if figure.limit is not None:
                shown = figure.value_text if figure.ratio is None else figure.ratio_text
                name = f"{group.title}: {figure.name}".replace(" x ", " × ")
                cells = [name, shown.replace(" x ", " × "), figure.promise.replace(" x", " ×"), figure.verdict.lower()]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def size_cells(results: Results, part: str, what: str) -> str:
    """Return the two cells of a thing and a size."""
    found = next((one for one in results.measurements if (one.part, one.what) == (part, what)), None)
    if found is None:
        return " | "
    figure = time_figure(found)
    return f"{figure.value_text} | {figure.peak_text}"
