"""Our own loops over slices, each to be run as a process of its own that prints one JSON object.

The clock runs from `open_slices` to the end of the last slice, the package's import aside. A loop
takes what it is about from every slice and drops it: adding up would cost more than the step
itself. That every way of taking gives the same values is the matter of `sums`, a loop that is not
measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omega_slices import MultiSymbolSlice, SliceStream, SliceTable, open_slices, read_slices
from omega_slices._arrow.schema_check import read_schema
from omega_slices._slices.batch import SliceBatch
from omega_slices._slices.layout import SliceLayout
from omega_slices._slices.slice import slices_of

REPEATS = 3
LOOKUPS = 100_000  # how many timestamps are looked up at random
CHECKED_SLICES = 1_000  # how many slices `sums` looks at in all three ways
ROWS_AT_ONCE = 4_096
ALL = sys.maxsize


def bare(slices: Iterable[MultiSymbolSlice]) -> None:
    """Take every slice."""
    for _ in slices:
        pass


def column(slices: Iterable[MultiSymbolSlice]) -> None:
    """Take one field of all symbols as an array."""
    for one in slices:
        one.column("bid_close")


def prices(slices: SliceStream | SliceTable) -> None:
    """Take the close of every symbol and side."""
    symbols = slices.symbols
    for one in slices:
        for symbol in symbols:
            one.get_price(symbol, "bid")
            one.get_price(symbol, "ask")


def candles(slices: SliceStream | SliceTable) -> None:
    """Take every candle."""
    symbols = slices.symbols
    for one in slices:
        for symbol in symbols:
            one.get(symbol, "bid")
            one.get(symbol, "ask")


LOOPS: dict[str, Callable[[Any], None]] = {
    "bare": bare,
    "column": column,
    "prices": prices,
    "candles": candles,
}


def opened(options: argparse.Namespace, symbols: list[str] | None = None) -> SliceStream:
    """Open the stream that the options describe."""
    return open_slices(
        options.data,
        symbols=symbols,
        price_types=options.price_types,
        timeline=options.timeline,
        threads=options.threads,
        backend=options.backend,
    )


def whole(options: argparse.Namespace) -> dict[str, Any]:
    """Run a loop from the files to the last slice."""
    started = time.perf_counter()
    with opened(options) as slices:
        LOOPS[options.loop](slices)
    return {"value": time.perf_counter() - started, "slices": slices.report.slices}


def step(options: argparse.Namespace) -> dict[str, Any]:
    """Run a loop over slices whose batches are in memory already; return seconds per slice."""
    seconds = []
    for _ in range(REPEATS):
        with opened(options) as slices:
            kept = slices.peek(ALL)  # reads all batches; the slices keep them, so that none is given back meanwhile
            started = time.perf_counter()
            LOOPS[options.loop](slices)
            seconds.append((time.perf_counter() - started) / len(kept))
    return {"value": statistics.median(seconds), "slices": slices.report.slices}


def walk(options: argparse.Namespace) -> dict[str, Any]:
    """Run a loop over a precomputed file, of which nothing was touched before.

    Return seconds per slice.
    """
    table = read_slices(options.data)
    started = time.perf_counter()
    LOOPS[options.loop](table)
    return {"value": (time.perf_counter() - started) / len(table), "slices": len(table)}


def touched(options: argparse.Namespace) -> dict[str, Any]:
    """Run the loop of `walk` over the same record batches, already read and checked.

    Return seconds per slice.
    """
    table = read_slices(options.data)
    kept = list(table.batches())
    layout = SliceLayout(table.symbols, read_schema(table.schema)[1])
    slices = chain.from_iterable(slices_of(SliceBatch(batch, layout)) for batch in kept)
    started = time.perf_counter()
    LOOPS[options.loop](slices)
    return {"value": (time.perf_counter() - started) / len(table), "slices": len(table)}


def at(options: argparse.Namespace) -> dict[str, Any]:
    """Look up timestamps in random order.

    Return seconds per look-up, each batch having been touched.
    """
    table = read_slices(options.data)
    stamps = [one.timestamp_ns for one in table]
    random.Random(options.seed).shuffle(stamps)
    del stamps[LOOKUPS:]
    find = table.at
    started = time.perf_counter()
    for timestamp_ns in stamps:
        find(timestamp_ns)
    return {"value": (time.perf_counter() - started) / len(stamps), "slices": len(table)}


def opening(options: argparse.Namespace) -> dict[str, Any]:
    """Return the time that `read_slices` takes."""
    started = time.perf_counter()
    table = read_slices(options.data)
    return {"value": time.perf_counter() - started, "slices": len(table)}


def held(options: argparse.Namespace) -> dict[str, Any]:
    """Hold many slices.

    Return bytes per slice, without the batches and the list that they are held in.
    """
    with opened(options, symbols=sorted(path.name for path in options.data.iterdir())[:2]) as slices:
        slices.peek(ALL)
        kept: list[object] = [None] * min(options.slices, slices.report.slices)
        gc.collect()
        tracemalloc.start()
        for position in range(len(kept)):
            kept[position] = next(slices)
        traced_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return {"value": traced_bytes / len(kept)}


def first(options: argparse.Namespace) -> dict[str, Any]:
    """Return the time from `open_slices` to the first slice."""
    started = time.perf_counter()
    with opened(options) as slices:
        next(slices)
        return {"value": time.perf_counter() - started}


def sums(options: argparse.Namespace) -> dict[str, Any]:
    """Add up the closes slice by slice and all values batch by batch.

    Compare the ways to take them.
    """
    closes = 0.0
    rows: list[np.ndarray[Any, Any]] = []
    with opened(options) as slices:
        for number, one in enumerate(slices):
            rows.append(one.column("bid_close"))
            if len(rows) == ROWS_AT_ONCE:
                closes += float(np.nansum(rows))
                rows.clear()
            if number < CHECKED_SLICES:
                by_price = [one.get_price(symbol, "bid") for symbol in slices.symbols]
                by_candle = [candle and candle.close for candle in map(one.get, slices.symbols)]
                by_column = [None if math.isnan(close) else close for close in one.column("bid_close").tolist()]
                if not by_price == by_candle == by_column:
                    raise SystemExit(f"the ways to take a close differ at {one.timestamp}")
    closes += float(np.nansum(rows))
    values = 0.0
    with opened(options) as slices:
        for batch in slices.batches():
            fields = (field for field in batch.columns if pa.types.is_floating(field.type))
            values += sum(pc.sum(field, min_count=0).as_py() for field in fields)
    return {"value": 0.0, "slices": slices.report.slices, "closes": closes, "values": values}


KINDS = {
    "whole": whole,
    "step": step,
    "walk": walk,
    "touched": touched,
    "at": at,
    "opening": opening,
    "held": held,
    "first": first,
    "sums": sums,
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("data", type=Path, help="the root folder; of walk, touched, at, opening: a precomputed file")
    parser.add_argument("--seed", type=int, default=1, help="of the random order")
    parser.add_argument("--loop", choices=LOOPS, default="column")
    parser.add_argument("--price-types", type=lambda text: text.split(","), default=["bid", "ask"])
    parser.add_argument("--timeline", default="intersection")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", default="rust")
    parser.add_argument("--slices", type=int, default=100_000, help="how many are held by `held`")
    options = parser.parse_args(argv)
    print(json.dumps(KINDS[options.kind](options)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
