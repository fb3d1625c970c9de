"""From measurements to figures, where matrices of closes and feeds of engines are compared.

Owns the ratios and limits of these parts.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench_results import Measurement, Results
from bench_table import Figure, Group, Limit, Ratio

LABELS = {
    "wide-ours": 'open_slices(fields=["close"]).to_wide()',
    "wide-pandas": "pandas, two columns, concat",
    "wide-polars-joins": "polars, scan and joins",
    "wide-polars-pivot": "polars, pivot",
    "wide-duckdb": "duckdb, PIVOT",
}
PEER_TO_OURS = 2.0
FIELD_BYTES, FIELD_SECONDS = 0.30, 0.45
BLOCKS_TO_BATCHES = 1.05
MATRIX_TO_COPY = 1.3
OWN_FEED_TO_OURS = 1.5


def groups_of(results: Results) -> list[Group]:
    """Return all figures of these parts that the measurements allow."""
    title = next((str(one.case) for one in results.of_part("matrices")), "")
    return [
        Group(f"A table of closes, {title}", tuple(wide_figures(results))),
        Group("Less, and in blocks", tuple(stream_figures(results))),
        Group("A column of a file as a matrix", tuple(copy_figures(results))),
        Group("backtrader: loading two symbols", tuple(feed_figures(results))),
    ]


def wide_figures(results: Results) -> Iterator[Figure]:
    """Give the ways to a table of closes beside ours."""
    ours = results.find("matrices", "wide-ours")
    peers = [one for one in results.of_part("matrices") if one.what in LABELS and one is not ours and one.values]
    fastest = min(peers, key=lambda one: one.median, default=None)
    for one in results.of_part("matrices"):
        if one.what not in LABELS:
            continue
        is_peer = ours is not None and one is not ours
        ratio = Ratio(one.median / ours.median, "ours") if ours is not None and is_peer else None
        limit = Limit(PEER_TO_OURS, at_least=True) if one is fastest else None
        yield Figure(LABELS[one.what], one.median, "s", one.peak, ratio, limit)


def stream_figures(results: Results) -> Iterator[Figure]:
    """Give one field beside all five, and blocks beside batches."""
    whole, field = results.find("matrices", "sync-all"), results.find("matrices", "sync-close")
    yield from compared("--fields close, sync to /dev/null", field, whole, "all five fields", FIELD_SECONDS)
    whole, field = results.find("matrices", "bytes-all"), results.find("matrices", "bytes-close")
    yield from compared("--fields close, bytes", field, whole, "all five fields", FIELD_BYTES, 1e-6, "MB")
    blocks, batches = results.find("matrices", "blocks"), results.find("matrices", "batches")
    yield from compared("blocks() over a stream", blocks, batches, "batches()", BLOCKS_TO_BATCHES)


def compared(
    name: str,
    one: Measurement | None,
    other: Measurement | None,
    against: str,
    most: float,
    scale: float = 1.0,
    unit: str = "s",
) -> Iterator[Figure]:
    """Give a measurement beside another one."""
    if one is not None and other is not None:
        ratio = Ratio(one.median / other.median, against)
        yield Figure(name, one.median * scale, unit, ratio=ratio, limit=Limit(most))


def copy_figures(results: Results) -> Iterator[Figure]:
    """Give how many plain copies of a matrix it takes to get it out of a file."""
    for part in ("matrices", "matrix-million"):
        one = results.find(part, "to-numpy")
        if one is not None:
            yield Figure(f"to_numpy(), {one.case}", one.median, "copies", limit=Limit(MATRIX_TO_COPY))


def feed_figures(results: Results) -> Iterator[Figure]:
    """Give the feed beside the engine's own."""
    ours, own = results.find("matrices", "feed"), results.find("matrices", "own-feed")
    if ours is not None and own is not None:
        yield Figure("our feed", ours.median, "s", ours.peak)
        ratio = Ratio(own.median / ours.median, "ours")
        yield Figure("PandasData", own.median, "s", own.peak, ratio, Limit(OWN_FEED_TO_OURS, at_least=True))
