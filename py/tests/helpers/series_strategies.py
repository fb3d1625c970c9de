"""Random inputs and requests for the property tests.

A `World` is a small set of Parquet files, described in full, and the options of one request for
them. Sizes are small, and timestamps come from a few dozen. So gaps, collisions, duplicates,
disorder and edges are the rule. Layouts vary freely: units, zones, types, row groups, pages,
encodings, several files. Every option of a request is drawn, each beside each other one.
Everything shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa
from hypothesis import strategies as st

from helpers import oracle
from helpers.oracle import parse_time_ns, timeframe_ns
from helpers.worlds import DAY_NS, NS_PER_TICK, SECOND_NS, UNITS_NS, Fault, FilePlan, SessionPlan, World

# Those that have days beside them, or are days.
LOCAL_TIMEFRAMES: Final = ("H8", "H12", "H24", "D1", "W1")


TIMEFRAMES: Final = ("S1", "S10", "M1", "M15", "H1", "H4", "H24", "D1", "W1", "W2")


COLUMN_ZONES: Final = (None, "UTC", "America/New_York", "+05:30")

# Less than half a day apart: no day of one zone is over before it begins in another.
DAY_ZONES: Final = ("America/New_York", "Europe/Paris", "Europe/London", "UTC")


ZONES: Final = (*DAY_ZONES, "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Tokyo")


# Times around which something can go wrong.
ANCHORS_NS: Final = tuple(
    parse_time_ns(text)
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
        "2024-03-10T01:30:00Z",  # the clocks of New York go forward, and back
        "2024-11-03T00:00:00Z",
        "2024-03-30T23:00:00Z",  # likewise those of Paris and London
        "2024-10-27T00:00:00Z",
        "2024-04-07T01:00:00Z",  # those of Lord Howe go back by half an hour
    )
)


KINDS: Final = ("plain",) * 8 + ("placeholder", "null", "nan", "empty", "infinite", "negative zero")


INTEGERS: Final = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())

TEXTS: Final = (pa.string(),)
BYTES: Final = (pa.binary(8), pa.binary(16))

RENAMINGS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"timestamp": "ts", "open": "Close", "close": "o", "volume": "v=1"},
    {"timestamp": "not there|ts", "volume": ""},
)


FLOATS: Final = (pa.float64(), pa.float64(), pa.float32(), pa.float16())


DECIMALS: Final = (pa.decimal128(9, 3), pa.decimal128(18, 6), pa.decimal128(38, 20), pa.decimal256(60, 30))


CODECS: Final = ("snappy", "none", "zstd", "gzip", "lz4", "brotli")


def faults() -> st.SearchStrategy[Fault]:
    """Draw a fault."""
    stamps_ns = st.sampled_from((None, None, DAY_NS * 2_932_896, DAY_NS * -719_162))  # 9999-12-31 and 0001-01-01
    return st.builds(Fault, file=st.integers(0, 20), row=st.integers(0, 12), stamp_ns=stamps_ns)


@st.composite
def stamps(draw: st.DrawFn, anchor_ns: int, step_ns: int, unit: str) -> tuple[int, ...]:
    """Draw timestamps on a coarse grid, some a little off it, in one of three kinds of order."""
    order = draw(st.sampled_from(("strict", "strict", "sorted", "any")))
    # Most series have most of the grid's first points, or intersections would all be empty.
    low, high = draw(st.sampled_from(((6, 10), (6, 10), (6, 10), (6, 10), (0, 3))))
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
def file_plans(
    draw: st.DrawFn,
    timeframe: str,
    anchor_ns: int,
    step_ns: int,
    first_number: int,
    indicators: int = 0,
    timestamp_unit: str | None = None,
) -> FilePlan:
    """Draw one file, of candles or of a number of indicators."""
    units: tuple[str, ...] = ("s", "ms", "us", "ns", "ns", "ns", "int96", "text")
    units += ("date32",) if step_ns >= DAY_NS else ()
    if timestamp_unit is not None:
        fitting = UNITS_NS if timestamp_unit == "magnitude" else (timestamp_unit,)
        units += tuple(f"{sign}int {unit}" for sign in ("", "u") for unit in fitting) * 3
    unit = draw(st.sampled_from(units))
    zones = COLUMN_ZONES if unit in UNITS_NS else (None, "UTC", "+05:30") if unit == "text" else (None,)
    timestamps_ns = draw(stamps(anchor_ns, step_ns, unit))
    size = len(timestamps_ns)
    columns = indicators or 5
    types = FLOATS + DECIMALS + INTEGERS + (() if indicators else (*TEXTS, *BYTES))
    return FilePlan(
        timeframe=timeframe,
        is_candles=not indicators,
        unit=unit,
        zone=draw(st.sampled_from(zones)),
        timestamps_ns=timestamps_ns,
        kinds=tuple(draw(st.lists(st.sampled_from(KINDS), min_size=size, max_size=size))),
        numbers=tuple(range(first_number, first_number + size)),
        types=tuple(draw(st.lists(st.sampled_from(types), min_size=columns, max_size=columns)))
        if draw(st.booleans())
        else (pa.float64(),) * columns,
        row_group_rows=draw(st.sampled_from((1, 2, 3, 5, 100))),
        page_bytes=draw(st.sampled_from((1, 32, 1 << 20))),
        codec=draw(st.sampled_from(CODECS)),
        dictionary=draw(st.booleans()),
        statistics=draw(st.booleans()),
        page_version=draw(st.sampled_from(("1.0", "2.0"))),
    )


@st.composite
def ages(draw: st.DrawFn, timeframe: str) -> str:
    """Draw an age, most often the exact distance of two timestamps of the timeframe's grid."""
    bars = draw(st.integers(1, 5))
    seconds = bars * timeframe_ns(timeframe) // SECOND_NS
    fitting = [f"{bars}bars", f"{seconds}s"]
    fitting += [
        f"{seconds // size}{unit}" for unit, size in (("m", 60), ("h", 3_600), ("d", 86_400)) if seconds >= size
    ]
    return draw(st.sampled_from((*fitting, "1bar", "1s", "15000w")))


@st.composite
def higher_timeframe(draw: st.DrawFn, primary: str) -> str:
    """Draw a timeframe from the primary one up, short enough for a candle to be complete."""
    letter, count = primary[0], int(primary[1:])
    longer = [f"{letter}{count * factor}" for factor in (2, 3, 5)]
    if primary in ("H8", "H12"):
        longer = ["D1", "H24", "D2", "W1"]
    # The same length in another word has columns, files and a grid of its own.
    same = {"M1": ["S60"], "H1": ["M60"], "H24": ["D1"], "D1": ["H24", "W1"], "W1": ["D7"]}
    return draw(st.sampled_from(longer + same.get(primary, [])))


@st.composite
def session_plans(draw: st.DrawFn, known: list[int]) -> SessionPlan:
    """Draw sessions whose edges are timestamps of rows or beside them; most rows are in one."""
    form = draw(st.sampled_from(("csv", "csv", "ns", "s", "date32")))
    middle = draw(st.lists(st.sampled_from(known), max_size=5))
    nudges = draw(st.lists(st.sampled_from((0, 0, 1, -1)), min_size=len(middle), max_size=len(middle)))
    edges = [edge + nudge for edge, nudge in zip(middle, nudges, strict=True)]
    edges += [known[0] - draw(st.sampled_from((0, 400 * DAY_NS))), known[-1] + draw(st.sampled_from((0, 400 * DAY_NS)))]
    tick_ns = NS_PER_TICK.get(form, 1)
    ordered = sorted({edge // tick_ns * tick_ns for edge in edges})
    # Those that follow each other touch, unless one between them is left out.
    sessions = [pair for pair in pairwise(ordered) if draw(st.sampled_from((True, True, True, False)))]
    return SessionPlan(tuple(draw(st.permutations(sessions))), form)


@dataclass(frozen=True)
class Grid:
    """What the files of a world have in common.

    Their series, and where the timestamps of the primary ones lie.
    """

    symbols: list[str]
    timeframe: str
    price_types: list[str]
    higher_timeframes: list[str]
    indicators: list[str]
    layout: str
    anchor_ns: int
    step_ns: int
    timestamp_unit: str | None

    @property
    def has_days(self) -> bool:
        """Whether one of the timeframes is a whole number of days."""
        return any(is_of_days(timeframe) for timeframe in (self.timeframe, *self.higher_timeframes))


def is_of_days(timeframe: str) -> bool:
    """Return whether a timeframe is a whole number of days."""
    return timeframe_ns(timeframe) % DAY_NS == 0


@st.composite
def grids(draw: st.DrawFn, local: bool) -> Grid:
    """Draw the series of a world."""
    timeframe = draw(st.sampled_from(LOCAL_TIMEFRAMES if local else TIMEFRAMES))
    symbols = st.sampled_from(("EURUSD", "GBP*USD", "BRK.B", "Ünï [x]"))
    higher_timeframes = st.lists(higher_timeframe(timeframe), min_size=1, max_size=2, unique=True)
    anchor_ns = draw(st.sampled_from(ANCHORS_NS))
    # Small numbers are dates under other units too.
    is_recent = 0 < anchor_ns - parse_time_ns("2000-01-01") < 80 * 365 * DAY_NS
    integers = st.sampled_from((None, None, None, *UNITS_NS, "magnitude")) if is_recent else st.none()
    indicators = st.lists(
        st.sampled_from(("sma", "x y", "Ünï=1", "Close", "M1_valid_bid")), min_size=1, max_size=3, unique=True
    )
    return Grid(
        symbols=draw(st.lists(symbols, min_size=1, max_size=3, unique=True)),
        timeframe=timeframe,
        price_types=draw(st.lists(st.sampled_from(("bid", "ask", "trade")), min_size=1, max_size=3, unique=True)),
        higher_timeframes=draw(higher_timeframes)
        if draw(st.booleans()) or (local and not is_of_days(timeframe))
        else [],
        indicators=draw(indicators) if draw(st.sampled_from((False, False, True))) else [],
        layout=draw(st.sampled_from(("default", "default", "lower case", "template", "several files"))),
        anchor_ns=anchor_ns,
        step_ns=timeframe_ns(timeframe) // draw(st.sampled_from((1, 1, 1, 2))),
        timestamp_unit=draw(integers),
    )


@st.composite
def files_of(draw: st.DrawFn, grid: Grid) -> dict[str, FilePlan]:
    """Draw all files, those of the primary timeframe first."""
    files: dict[str, FilePlan] = {}

    def draw_files(timeframe: str, sides: list[str], first_ns: int, step_ns: int, indicators: int = 0) -> None:
        for symbol in grid.symbols:
            for side in sides:
                for path in paths(draw, grid.layout, symbol, timeframe, side):
                    first_number = 10 * len(files) + 1
                    files[path] = draw(
                        file_plans(timeframe, first_ns, step_ns, first_number, indicators, grid.timestamp_unit)
                    )

    draw_files(grid.timeframe, grid.price_types, grid.anchor_ns, grid.step_ns)
    for longer in grid.higher_timeframes:
        step_ns = draw(st.sampled_from((timeframe_ns(longer), timeframe_ns(longer), grid.step_ns)))
        # Its grid begins before the primary one, so that there are complete candles from the start.
        draw_files(longer, grid.price_types, grid.anchor_ns - 4 * step_ns, step_ns)
    if grid.indicators:
        draw_files(grid.timeframe, ["ind"], grid.anchor_ns, grid.step_ns, len(grid.indicators))
    return files


@st.composite
def worlds(draw: st.DrawFn, errors: bool = True, local: bool = False, may_leave_out: bool = False) -> World:
    """Draw files and a request.

    Without `errors`, a request that cannot fail; with `local`, one for local days; with
    `may_leave_out`, one that may ask for some fields of a candle only.
    """
    grid = draw(grids(local))
    files = draw(files_of(grid))
    times = draw(time_options(grid, errors, local))
    if not errors and times["zone"] is not None:
        files = {path: file.where(shown_by(file, times["zone"])) for path, file in files.items()}
    primary = [file for file in files.values() if file.is_candles and file.timeframe == grid.timeframe]
    known = sorted({stamp_ns for file in primary for stamp_ns in file.timestamps_ns if stamp_ns is not None})
    timelines = ["intersection", f"leader:{draw(st.sampled_from(grid.symbols))}", "union", "union"]
    timelines.append(f"quorum:{draw(st.integers(1, len(grid.symbols)))}")
    session = draw(st.sampled_from(("none", "fx", "file")))
    third = len(known) // 3
    window = [draw(edges(known[: len(known) - third])), draw(edges(known[third:]))]
    if None not in window:
        window.sort()
    options: dict[str, Any] = {
        "symbols": grid.symbols,
        "timeframe": grid.timeframe,
        "price_types": grid.price_types,
        "start": window[0],
        "end": window[1],
        "timeline": draw(st.sampled_from(timelines)),
        "session": "fx" if session == "fx" else "none",
        "normalize": draw(st.booleans()) or (not errors and times["days"] == "local" and is_of_days(grid.timeframe)),
        "unsorted": draw(st.sampled_from(("sort", "sort", "error"))) if errors else "sort",
        "duplicates": draw(
            st.sampled_from((None, "last", "first", "identical", "error") if errors else (None, "last", "first"))
        ),
        "columns": draw(st.sampled_from(RENAMINGS)),
        # Whether files hold bytes is not known here, and these need a scale.
        "price_scale": draw(st.sampled_from(("1e-9", "25e-2"))),
        "volume_scale": draw(st.sampled_from(("1e0", "3e-3"))),
        "empty_rows": draw(st.sampled_from(("keep", "drop"))),
        "with_timeframe": [
            f"{longer}:max-age={draw(ages(longer))}" if draw(st.booleans()) else longer
            for longer in grid.higher_timeframes
        ],
        "known_at": draw(st.sampled_from(("open", "close"))),
        "indicators": grid.indicators,
        **({"fields": draw(some_fields())} if may_leave_out and draw(st.booleans()) else {}),
        **({"fill": "forward", "max_age": draw(ages(grid.timeframe))} if draw(st.booleans()) else {}),
        **times,
        **templates(grid),
    }
    if options.get("fields") == ["volume"] and options["columns"].get("volume") == "":
        # Slices have to show something.
        options["fields"] = ["close", "volume"]
    if not errors and options["normalize"] and options["days"] is None and grid.has_days:
        # Floored days of a zone have to say which ones they are.
        options["days"] = draw(st.sampled_from(("utc", "local")))
    return World(files, options, draw(session_plans(known or [grid.anchor_ns])) if session == "file" else None)


def periods() -> st.SearchStrategy[str | int]:
    """Draw how a request is cut into parts: not into thousands."""
    return st.sampled_from(("year", 1, 2, 3, 7))


def some_fields() -> st.SearchStrategy[list[str]]:
    """Draw fields of a candle, each once, in any order."""
    return st.lists(st.sampled_from(("open", "high", "low", "close", "volume")), min_size=1, unique=True)


@st.composite
def time_options(draw: st.DrawFn, grid: Grid, errors: bool, local: bool) -> dict[str, Any]:
    """Draw what a request says of its times.

    Half of all requests that need not have local days say nothing.
    """
    options: dict[str, Any] = {"zone": None, "stamped": "open", "days": None, "timestamp_unit": grid.timestamp_unit}
    if not local and draw(st.booleans()):
        return options
    options["zone"] = draw(st.none() | st.sampled_from(DAY_ZONES if grid.has_days else ZONES))
    if options["zone"] is not None:
        options["ambiguous"] = draw(st.sampled_from(("earlier", "later", *(("error", "infer") if errors else ()))))
    options["stamped"] = draw(st.sampled_from(("open", "close")))
    if grid.has_days:
        options["days"] = "local" if local else draw(st.sampled_from((None, "utc", "local")))
    return options


def shown_by(file: FilePlan, zone: str) -> Callable[[int], bool]:
    """Return whether the clocks of a zone show the local time of a row, if it has one."""
    return lambda held_ns: not file.is_wall_clock(held_ns) or bool(oracle.instants(zone, held_ns))


def templates(grid: Grid) -> dict[str, str]:
    """Return the options that say where the files of a layout are."""
    template = {
        "template": "{root}/{timeframe}/{SIDE}/{symbol}.{side}.parquet",
        "several files": "{root}/{symbol}/{timeframe}-{side}-*.parquet",
    }.get(grid.layout)
    if template is None:
        return {}
    indicators = template.replace("{SIDE}", "IND").replace("{side}", "ind")
    return {"path_template": template} | ({"indicator_template": indicators} if grid.indicators else {})


def edges(known: list[int]) -> st.SearchStrategy[int | None]:
    """Draw an edge of the window: none, or a timestamp of a row, or one beside it."""
    beside = [edge + nudge for edge in known for nudge in (0, -1, 1)]
    return st.none() | st.sampled_from(beside) if beside else st.none()


def paths(draw: st.DrawFn, layout: str, symbol: str, timeframe: str, side: str) -> list[str]:
    """Return the path, or several, of one series in a layout."""
    match layout:
        case "lower case":
            return [f"{symbol}/{symbol}_{timeframe}_{'IND' if side == 'ind' else side}.parquet"]
        case "template":
            return [f"{timeframe}/{side.upper()}/{symbol}.{side}.parquet"]
        case "several files":
            # Name order is not number order: 10 comes before 9.
            names = draw(st.lists(st.sampled_from(("1", "9", "10", "x y", "é")), min_size=1, max_size=3, unique=True))
            return [f"{symbol}/{timeframe}-{side}-{name}.parquet" for name in names]
    return [f"{symbol}/{symbol}_{timeframe}_{side.upper()}.parquet"]
