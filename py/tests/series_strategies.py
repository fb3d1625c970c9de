"""Random inputs and requests for the property tests.

A `World` is a small set of Parquet files, described in full, and the options of one request for them. Sizes are
small and timestamps come from a few dozen, so that gaps, collisions, duplicates, disorder and edges are the rule;
layouts (units, zones, types, row groups, pages, encodings, several files) vary freely. Everything shrinks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from omega_slices._request import Request, make_request, parse_time_ns, timeframe_ns

SECOND_NS: Final = 10**9
DAY_NS: Final = 86_400 * SECOND_NS

TIMEFRAMES: Final = ("S1", "S10", "M1", "M15", "H1", "H4", "H24", "D1", "W1", "W2")
NS_PER_TICK: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1, "date32": DAY_NS, "int96": 1}

# Times around which something can go wrong.
ANCHORS_NS: Final = tuple(
    parse_time_ns(text, "anchor")
    for text in (
        "2024-01-02T00:00:00Z",
        "2024-01-05T20:00:00Z",  # Sydney's week closes, in daylight saving
        "2024-04-05T20:00:00Z",  # … in the week before the clocks go back
        "2024-04-07T21:00:00Z",  # … and opens in the week after it
        "2024-10-04T21:00:00Z",  # closes in the week before the clocks go forward
        "2024-10-06T20:00:00Z",  # … and opens in the week after it
        "1969-12-31T12:00:00Z",
        "1985-03-03T20:00:00Z",  # other daylight-saving rules
        "2051-10-06T20:00:00Z",  # beyond the tables that some time-zone libraries carry
        "2149-04-11T21:00:00Z",
        "1700-01-01T00:00:00Z",
    )
)

KINDS: Final = ("plain",) * 8 + ("placeholder", "null", "nan", "infinite", "negative zero")
INTEGERS: Final = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
FLOATS: Final = (pa.float64(), pa.float64(), pa.float32(), pa.float16())
DECIMALS: Final = (pa.decimal128(9, 3), pa.decimal128(18, 6), pa.decimal128(38, 20), pa.decimal256(60, 30))
CODECS: Final = ("snappy", "none", "zstd", "gzip", "lz4", "brotli")


@dataclass(frozen=True)
class FilePlan:
    """One Parquet file: rows and physical layout.

    Per row: `timestamps_ns` are whole ticks of `unit`, or None; `kinds` says what its values look like, `numbers` tells
    them from those of other rows.
    """

    unit: str
    zone: str | None
    timestamps_ns: tuple[int | None, ...]
    kinds: tuple[str, ...]
    numbers: tuple[int, ...]
    types: tuple[pa.DataType, ...]
    row_group_rows: int
    page_bytes: int
    codec: str
    dictionary: bool
    statistics: bool
    page_version: Literal["1.0", "2.0"]

    def write(self, path: Path, columns: Sequence[str]) -> None:
        """Write the file with the six columns under the given names, behind one that nobody asks for."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: list[pa.Array] = [pa.array(["extra"] * len(self.kinds))]
        ticks = [None if stamp is None else stamp // NS_PER_TICK[self.unit] for stamp in self.timestamps_ns]
        if self.unit == "date32":
            arrays.append(pa.array(ticks, pa.int32()).cast(pa.date32()))
        else:
            unit = "ns" if self.unit == "int96" else self.unit
            arrays.append(pa.array(ticks, pa.timestamp(unit, tz=self.zone)))
        rows = [row_values(kind, number) for kind, number in zip(self.kinds, self.numbers, strict=True)]
        for number, kind in enumerate(self.types):
            arrays.append(pa.array([as_type(row[number], kind) for row in rows], kind))
        table = pa.Table.from_arrays(arrays, names=["not asked for", *columns])
        pq.write_table(
            table,
            path,
            row_group_size=self.row_group_rows,
            data_page_size=self.page_bytes,
            write_batch_size=2,
            compression=self.codec,
            use_dictionary=self.dictionary,
            write_statistics=self.statistics,
            write_page_index=self.statistics,
            data_page_version=self.page_version,
            use_deprecated_int96_timestamps=self.unit == "int96",
        )

    def before(self, bound_ns: int) -> FilePlan:
        """Return the file without the rows stamped at or after `bound_ns`."""
        rows = zip(self.timestamps_ns, self.kinds, self.numbers, strict=True)
        kept = [row for row in rows if row[0] is not None and row[0] < bound_ns]
        return dataclasses.replace(
            self,
            timestamps_ns=tuple(row[0] for row in kept),
            kinds=tuple(row[1] for row in kept),
            numbers=tuple(row[2] for row in kept),
        )


@dataclass(frozen=True)
class World:
    """Input files by their path under the root, and the options of a request for them."""

    files: dict[str, FilePlan]
    options: dict[str, Any]

    def build(self, root: Path) -> Request:
        """Write the files and return the request."""
        request = make_request(root, **self.options)
        for path, file in self.files.items():
            file.write(root / path, list(request.input_columns.values()))
        return request

    def with_options(self, **options: Any) -> World:
        """Return the same files under a request that differs."""
        return World(self.files, {**self.options, **options})


def row_values(kind: str, number: int) -> tuple[Any, ...]:
    """Return the five values of a row; plain ones tell the rows of a world apart."""
    match kind:
        case "placeholder":
            return (number, number, number, number, 0)
        case "null":
            return (number, None, number, None, None)
        case "nan":
            return (float("nan"), number, number, number, 1)
        case "infinite":
            return (number, float("inf"), float("-inf"), number, 1)
        case "negative zero":
            return (-0.0, -0.0, -0.0, -0.0, -0.0)
    tick = Decimal(1) / 1000
    return (number, number + 3 * tick, number - 7 * tick, number + tick, number % 5)


def as_type(value: Any, kind: pa.DataType) -> Any:
    """Return a value as pyarrow wants it for a type; what the type cannot hold becomes null.

    Wide types get values with more digits than a double holds, so that rounding shows.
    """
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return float(value)
    if not math.isfinite(value):
        return None
    if pa.types.is_integer(kind):
        return int(value) * 10**14 + int(value) if kind.bit_width == 64 else int(value) % 100
    with localcontext(prec=76):
        digits = Decimal("9520665339.98765432109876543219") if kind.precision >= 38 else Decimal(1)
        return (Decimal(value) * digits).quantize(Decimal(1).scaleb(-kind.scale))


@dataclass(frozen=True)
class Fault:
    """One row more, whose timestamp no candle can have: null, or beyond 64 bits of nanoseconds."""

    file: int
    row: int
    stamp_ns: int | None

    def put_into(self, world: World) -> World | None:
        """Return the world with the row in one of its files, or None where the file cannot hold it."""
        path = sorted(world.files)[self.file % len(world.files)]
        plan = world.files[path]
        if self.stamp_ns is not None and plan.unit in ("ns", "int96"):
            return None

        row = self.row % (len(plan.kinds) + 1)
        changed = dataclasses.replace(
            plan,
            timestamps_ns=(*plan.timestamps_ns[:row], self.stamp_ns, *plan.timestamps_ns[row:]),
            kinds=(*plan.kinds[:row], "plain", *plan.kinds[row:]),
            numbers=(*plan.numbers[:row], 7, *plan.numbers[row:]),
        )
        return World({**world.files, path: changed}, world.options)


def faults() -> st.SearchStrategy[Fault]:
    """Draw a fault."""
    stamps_ns = st.sampled_from((None, None, DAY_NS * 2_932_896, DAY_NS * -719_162))  # 9999-12-31 and 0001-01-01
    return st.builds(Fault, file=st.integers(0, 20), row=st.integers(0, 12), stamp_ns=stamps_ns)


@st.composite
def stamps(draw: st.DrawFn, anchor_ns: int, step_ns: int, unit: str) -> tuple[int, ...]:
    """Draw timestamps on a coarse grid, some of them a little off it, in one of three kinds of order."""
    order = draw(st.sampled_from(("strict", "strict", "sorted", "any")))
    # Most series have most of the grid's first points, or intersections would all be empty.
    low, high = draw(st.sampled_from(((6, 10), (6, 10), (6, 10), (0, 3))))
    offsets = draw(st.lists(st.integers(0, 9), min_size=low, max_size=high, unique=order == "strict"))
    nudges = (0,) * len(offsets)
    if draw(st.sampled_from((False, False, True))):
        nudges = draw(st.tuples(*(st.sampled_from((0, 0, 1, -1, step_ns // 3)) for _ in offsets)))
    tick_ns = NS_PER_TICK[unit]
    found = [
        (anchor_ns + offset * step_ns + nudge) // tick_ns * tick_ns
        for offset, nudge in zip(offsets, nudges, strict=True)
    ]
    if order == "strict":
        return tuple(sorted(set(found)))
    return tuple(sorted(found) if order == "sorted" else found)


@st.composite
def file_plans(draw: st.DrawFn, anchor_ns: int, step_ns: int, first_number: int) -> FilePlan:
    """Draw one file."""
    units = ("s", "ms", "us", "ns", "ns", "ns", "int96") + (("date32",) if step_ns >= DAY_NS else ())
    unit = draw(st.sampled_from(units))
    zoned = unit in ("s", "ms", "us", "ns")
    timestamps_ns = draw(stamps(anchor_ns, step_ns, unit))
    size = len(timestamps_ns)
    return FilePlan(
        unit=unit,
        zone=draw(st.sampled_from((None, "UTC", "America/New_York", "+05:30"))) if zoned else None,
        timestamps_ns=timestamps_ns,
        kinds=tuple(draw(st.lists(st.sampled_from(KINDS), min_size=size, max_size=size))),
        numbers=tuple(range(first_number, first_number + size)),
        types=tuple(draw(st.lists(st.sampled_from(FLOATS + DECIMALS + INTEGERS), min_size=5, max_size=5)))
        if draw(st.booleans())
        else (pa.float64(),) * 5,
        row_group_rows=draw(st.sampled_from((1, 2, 3, 5, 100))),
        page_bytes=draw(st.sampled_from((1, 32, 1 << 20))),
        codec=draw(st.sampled_from(CODECS)),
        dictionary=draw(st.booleans()),
        statistics=draw(st.booleans()),
        page_version=draw(st.sampled_from(("1.0", "2.0"))),
    )


@st.composite
def worlds(draw: st.DrawFn, errors: bool = True) -> World:
    """Draw files and a request; without `errors`, a request that cannot fail."""
    timeframe = draw(st.sampled_from(TIMEFRAMES))
    step_ns = timeframe_ns(timeframe) // draw(st.sampled_from((1, 1, 1, 2)))
    anchor_ns = draw(st.sampled_from(ANCHORS_NS))
    symbols = draw(
        st.lists(st.sampled_from(("EURUSD", "GBP*USD", "BRK.B", "Ünï [x]")), min_size=1, max_size=3, unique=True)
    )
    price_types = draw(st.lists(st.sampled_from(("bid", "ask", "trade")), min_size=1, max_size=3, unique=True))
    layout = draw(st.sampled_from(("default", "default", "lower case", "template", "several files")))
    files: dict[str, FilePlan] = {}
    for symbol in symbols:
        for side in price_types:
            for path in paths(draw, layout, symbol, timeframe, side):
                files[path] = draw(file_plans(anchor_ns, step_ns, first_number=10 * len(files) + 1))
    options: dict[str, Any] = {
        "symbols": symbols,
        "timeframe": timeframe,
        "price_types": price_types,
        "timeline": draw(st.sampled_from(("intersection", "union"))),
        "session": draw(st.sampled_from(("none", "fx"))),
        "normalize": draw(st.booleans()),
        "unsorted": draw(st.sampled_from(("sort", "sort", "error"))) if errors else "sort",
        "duplicates": draw(st.sampled_from(("last", "first", "error")))
        if errors
        else draw(st.sampled_from(("last", "first"))),
        "columns": draw(st.sampled_from(({}, {"timestamp": "ts", "open": "Close", "close": "o", "volume": "v=1"}))),
    }
    if layout == "template":
        options["path_template"] = "{root}/{timeframe}/{SIDE}/{symbol}.{side}.parquet"
    if layout == "several files":
        options["path_template"] = "{root}/{symbol}/{side}-*.parquet"
    known = sorted({stamp for file in files.values() for stamp in file.timestamps_ns if stamp is not None})
    edges = (
        st.none() | st.none() | st.sampled_from([edge + nudge for edge in known or [anchor_ns] for nudge in (0, -1, 1)])
    )
    start, end = draw(edges), draw(edges)
    if start is not None and end is not None and start > end:
        start, end = end, start
    return World(files, options | {"start": start, "end": end})


def paths(draw: st.DrawFn, layout: str, symbol: str, timeframe: str, side: str) -> list[str]:
    """Return the path, or several, of one series in a layout."""
    match layout:
        case "lower case":
            return [f"{symbol}/{symbol}_{timeframe}_{side}.parquet"]
        case "template":
            return [f"{timeframe}/{side.upper()}/{symbol}.{side}.parquet"]
        case "several files":
            # Name order is not number order: 10 comes before 9.
            names = draw(st.lists(st.sampled_from(("1", "9", "10", "x y", "é")), min_size=1, max_size=3, unique=True))
            return [f"{symbol}/{side}-{name}.parquet" for name in names]
    return [f"{symbol}/{symbol}_{timeframe}_{side.upper()}.parquet"]
