"""Wall clocks, days and texts of times against `zoneinfo`, over all zones from 1970 to 2098.

Expected values come from `zone_oracle`, which knows neither the reference nor the executable.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.oracle import DAY_NS, END_NS, SECOND_NS, all_zones, changes, date_of_middle, days_later, instants, shown
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from omega_slices import CorruptInputError, open_slices
from omega_slices._model.times import format_time_ns
from omega_slices._reference.time import smallest_offset_ns, zone_of

both_backends = pytest.mark.parametrize("backend", ["python", "rust"])

FACTOR = int(os.environ.get("OMEGA_PROPERTY_EXAMPLES", "1"))

UNTIL_2040_NS = 70 * 365 * DAY_NS

# Their clocks do what others do not: change by half an hour, at midnight, by a whole day, in the
# wrong direction, for a month, by seconds, or never.
ODD_ZONES = (
    *("America/New_York", "Europe/London", "Europe/Paris", "Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo"),
    *("America/Havana", "Pacific/Apia", "Europe/Dublin", "Africa/Casablanca", "Africa/Monrovia", "Asia/Kathmandu"),
    *("Antarctica/Troll", "Asia/Gaza", "America/St_Johns", "Pacific/Chatham", "Etc/GMT-14", "UTC"),
)


def examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the settings of a property that is tried on `number` examples in the usual run."""
    return settings(
        max_examples=number * FACTOR,
        derandomize=FACTOR == 1,
        deadline=None,  # a process is started per example
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def write(path: Path, times: pa.Array) -> None:
    """Write candles with the given times; the volume is the row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {name: [1.0] * len(times) for name in ("Open", "High", "Low", "Close")}
    volume = [float(row) for row in range(len(times))]
    pq.write_table(pa.table({"UTC time": times, **values, "Volume": volume}), path)


def naive(walls: Sequence[int]) -> pa.Array:
    return pa.array(walls, pa.int64()).cast(pa.timestamp("ns"))


def stamps_of(data: Path, backend: str, timeframe: str = "S1", **options: Any) -> dict[int, int]:
    """Return the timestamp of each row of the one series A; all have to be different."""
    asked: dict[str, Any] = {"symbols": ["A"], "price_types": ["trade"], "timeframe": timeframe}
    with open_slices(data, **asked, duplicates="error", backend=backend, **options) as slices:
        candles = [one.get("A", "trade") for one in slices]
        return {int(candle.volume): candle.timestamp_ns for candle in candles if candle is not None}


def times_near_changes(name: str) -> list[int]:
    """Return instants a little before and after the changes of a zone's clocks, 1970 to 2098."""
    found = []
    for change_ns in changes(name, 0, END_NS, 14 * DAY_NS):
        found += [change_ns + offset * SECOND_NS for offset in (-7_200, -1_801, -1, 0, 1_800, 3_599, 7_200)]
    return found or list(range(0, END_NS, 2_000 * DAY_NS))


@st.composite
def zones_and_times(draw: st.DrawFn) -> tuple[str, list[int]]:
    """Draw a zone and instants from 1970 to 2098, most of them near a change of its clocks."""
    name = draw(st.sampled_from(ODD_ZONES) | st.sampled_from(all_zones()))
    near = times_near_changes(name)
    drawn = draw(st.lists(st.sampled_from(near) | st.integers(0, END_NS - 1), min_size=1, max_size=40, unique=True))
    nudges = draw(st.lists(st.sampled_from((0, 0, 0, 1)), min_size=len(drawn), max_size=len(drawn)))
    return name, sorted({time_ns + nudge for time_ns, nudge in zip(drawn, nudges, strict=True)})


# --- Wall clocks -------------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize("ambiguous", ["earlier", "later"])
@given(drawn=zones_and_times())
@examples(40)
def test_wall_clocks_are_the_instants_of_zoneinfo(backend: str, ambiguous: str, drawn: tuple[str, list[int]]) -> None:
    name, times = drawn
    walls = sorted({shown(name, time_ns) for time_ns in times})
    found = [instants(name, wall_ns) for wall_ns in walls]
    assert all(found), "what a clock shows is an instant"
    chosen = {row: one[0 if ambiguous == "earlier" else -1] for row, one in enumerate(found)}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "A" / "A_S1_TRADE.parquet", naive(walls))
        assert stamps_of(Path(folder), backend, zone=name, ambiguous=ambiguous) == chosen


@both_backends
@given(name=st.sampled_from(ODD_ZONES), seed=st.integers(0, 10**6))
@examples(40)
def test_times_that_a_clock_skips_or_shows_twice_are_errors(backend: str, name: str, seed: int) -> None:
    near = times_near_changes(name)
    change_ns = random.Random(seed).choice(near)
    walls = [change_ns + offset * SECOND_NS for offset in range(-90_000, 90_001, 900)]
    counts = [len(instants(name, wall_ns)) for wall_ns in walls]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "A" / "A_S1_TRADE.parquet", naive(walls))
        if all(count == 1 for count in counts):
            assert len(stamps_of(Path(folder), backend, zone=name)) == len(walls)
            return
        with pytest.raises(CorruptInputError) as caught:
            stamps_of(Path(folder), backend, zone=name)
    assert caught.value.row == next(row for row, count in enumerate(counts) if count != 1)


@both_backends
@given(
    name=st.sampled_from(
        [name for name in ODD_ZONES if name not in ("Asia/Tokyo", "Asia/Kathmandu", "Etc/GMT-14", "UTC")]
    ),
    seed=st.integers(0, 10**6),
    files_max=st.integers(1, 3),
)
@examples(40)
def test_the_order_of_rows_tells_the_passes_of_a_doubled_hour(
    backend: str, name: str, seed: int, files_max: int
) -> None:
    rng = random.Random(seed)
    folds = [
        change_ns
        for change_ns in changes(name, 0, END_NS, 14 * DAY_NS)
        if shown(name, change_ns) < shown(name, change_ns - SECOND_NS)
    ]
    assume(folds)
    change_ns = rng.choice(folds)
    length_ns = shown(name, change_ns - SECOND_NS) + SECOND_NS - shown(name, change_ns)
    # Both passes have rows, and the second one begins with a step back.
    first = sorted(rng.sample(range(-length_ns // SECOND_NS // 2, 0), 5))
    second = sorted(rng.sample(range(length_ns // SECOND_NS // 2), 5))
    around = [-2 * length_ns // SECOND_NS, 2 * length_ns // SECOND_NS]
    times = sorted(change_ns + offset * SECOND_NS for offset in (*first, *second, *around))
    walls = [shown(name, time_ns) for time_ns in times]
    cuts = sorted({0, len(walls), *rng.choices(range(len(walls)), k=files_max - 1)})
    parts = [walls[start:stop] for start, stop in pairwise(cuts)]
    # In another order of the files it would be another input.
    assume([min(part) for part in parts] == sorted(min(part) for part in parts))
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(parts):
            write(Path(folder) / f"A-{number}.parquet", naive(part))
        with open_slices(
            folder,
            symbols=["A"],
            price_types=["trade"],
            timeframe="S1",
            path_template="{root}/{symbol}-*.parquet",
            zone=name,
            ambiguous="infer",
            duplicates="error",
            unsorted="error",
            backend=backend,
        ) as slices:
            assert [one.timestamp_ns for one in slices] == times


@pytest.mark.slow
def test_all_zones_on_the_executable(tmp_path: Path) -> None:
    """Every zone of tzdata, at each change of its clocks up to 2040, and near the last year."""
    tables: dict[bytes, str] = {}
    for name in all_zones():
        with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
            tables.setdefault(file.read(), name)  # the others are the same zone under another name
    for name in tables.values():
        expected: dict[int, list[int]] = {}
        for first_ns, end_ns in ((0, UNTIL_2040_NS), (END_NS - 3 * 365 * DAY_NS, END_NS)):
            for change_ns in changes(name, first_ns, end_ns, 14 * DAY_NS):
                distances = {shown(name, time_ns) - time_ns for time_ns in (change_ns - SECOND_NS, change_ns)}
                for offset_s in (-7_200, -1_801, -1, 0, 1_800, 3_599, 7_200):
                    wall_ns = shown(name, change_ns + offset_s * SECOND_NS)
                    times = [wall_ns - distance for distance in distances]
                    expected[wall_ns] = sorted(time_ns for time_ns in times if shown(name, time_ns) == wall_ns)
        for time_ns in range(0, END_NS, 3_000 * DAY_NS):
            expected.setdefault(shown(name, time_ns), [time_ns])
        walls = sorted(expected)
        write(tmp_path / "A" / "A_S1_TRADE.parquet", naive(walls))
        for ambiguous, place in (("earlier", 0), ("later", -1)):
            found = stamps_of(tmp_path, "rust", zone=name, ambiguous=ambiguous)
            assert [found[row] for row in range(len(walls))] == [expected[wall_ns][place] for wall_ns in walls], name


# --- Days --------------------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize("stamped", ["open", "close"])
@given(drawn=zones_and_times(), days=st.sampled_from((1, 1, 2, 7)), own=st.booleans())
@examples(40)
def test_local_days_are_the_dates_of_datetime(
    backend: str, stamped: str, drawn: tuple[str, list[int]], days: int, own: bool
) -> None:
    """A row is stamped with the date of its middle, by the zone of the column or the request."""
    name, times = drawn
    if name in ("UTC", "Etc/UTC", "Zulu", "GMT"):
        own = False
    timeframe = "W1" if days == 7 else f"D{days}"
    opened = [days_later(name, time_ns, -days) if stamped == "close" else time_ns for time_ns in times]
    dates = [date_of_middle(name, time_ns) for time_ns in opened]
    # One row a date, and one a candle: what becomes of others is tried elsewhere.
    origin_ns = -3 * DAY_NS if days == 7 else 0
    floored = [date_ns - (date_ns - origin_ns) % (days * DAY_NS) for date_ns in dates]
    rows = [row for row, one in enumerate(floored) if one not in floored[:row]]
    kind = pa.timestamp("ns", tz=name if own else "UTC")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "A" / f"A_{timeframe}_TRADE.parquet", pa.array([times[row] for row in rows], kind))
        options: dict[str, Any] = {} if own else {"zone": name}
        options |= {"days": "local", "normalize": True, "stamped": stamped}
        found = stamps_of(Path(folder), backend, timeframe, **options)
    assert found == {number: floored[row] for number, row in enumerate(rows)}


@both_backends
@given(drawn=zones_and_times(), days=st.sampled_from((1, 1, 2, 7)))
@examples(40)
def test_a_local_day_is_shown_from_its_end(backend: str, drawn: tuple[str, list[int]], days: int) -> None:
    """A day beside seconds is there one calendar day after it began, not a nanosecond earlier."""
    name, times = drawn
    timeframe = "W1" if days == 7 else f"D{days}"
    begins_ns = times[0]
    end_ns = days_later(name, begins_ns, days)
    with tempfile.TemporaryDirectory() as folder:
        moments = pa.array([end_ns - 1, end_ns], pa.timestamp("ns", tz="UTC"))
        write(Path(folder) / "A" / "A_S1_TRADE.parquet", moments)
        write(Path(folder) / "A" / f"A_{timeframe}_TRADE.parquet", pa.array([begins_ns], pa.timestamp("ns", tz="UTC")))
        asked: dict[str, Any] = {"symbols": ["A"], "price_types": ["trade"], "timeframe": "S1", "duplicates": "last"}
        asked |= {"with_timeframe": timeframe, "zone": name, "days": "local", "backend": backend}
        with open_slices(folder, **asked) as slices:
            candles = [one.get_candle("A", timeframe, "trade") for one in slices]
    assert candles[0] is None
    assert candles[1] is not None
    assert candles[1].timestamp_ns == date_of_middle(name, begins_ns)


@both_backends
@given(name=st.sampled_from(ODD_ZONES) | st.sampled_from(all_zones()), seed=st.integers(0, 10**6))
@examples(30)
def test_a_day_at_midnight_is_over_when_it_is_said_to_be_known(backend: str, name: str, seed: int) -> None:
    """Whatever the day, its end lies no later than `known_at` says."""
    near = times_near_changes(name)
    rng = random.Random(seed)
    walls = {shown(name, time_ns) // DAY_NS * DAY_NS for time_ns in rng.choices(near, k=10)}
    begins = sorted(instants(name, wall_ns)[0] for wall_ns in walls if instants(name, wall_ns))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "A" / "A_D1_TRADE.parquet", pa.array(begins, pa.timestamp("ns", tz="UTC")))
        asked: dict[str, Any] = {"symbols": ["A"], "price_types": ["trade"], "timeframe": "D1"}
        with open_slices(folder, **asked, zone=name, days="local", duplicates="error", backend=backend) as slices:
            known_after_ns = int(slices.schema.metadata[b"known_after_ns"])
            stamps = [one.timestamp_ns for one in slices]
    assert stamps == [date_of_middle(name, begins_ns) for begins_ns in begins]
    for stamp_ns, begins_ns in zip(stamps, begins, strict=True):
        assert days_later(name, begins_ns, 1) <= stamp_ns + known_after_ns


def test_smallest_distances_from_utc_are_those_of_the_tables() -> None:
    """The reference samples midnights.

    Here all distances in force since 1970 are read from the tables.
    """
    for name in {*ODD_ZONES, *all_zones()[::20]}:
        found = zone_of(name)
        assert found is not None
        with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
            # Written in Python, and so with tables that can be looked at.
            tables: Any = import_module("zoneinfo._zoneinfo").ZoneInfo.from_file(file, key=name)
        changes_s = list(tables._trans_utc)
        first = max((number for number, change_s in enumerate(changes_s) if change_s <= 0), default=None)
        distances = [tables._ttinfos[number].utcoff for number in range(first or 0, len(changes_s))]
        if first is None:
            distances.append(tables._tti_before.utcoff)
        after = tables._tz_after
        distances += [after.std.utcoff, after.dst.utcoff] if hasattr(after, "dst") else [after.utcoff]
        assert smallest_offset_ns(found) == int(min(distances).total_seconds()) * SECOND_NS, name


# --- Text and units ----------------------------------------------------------------------


@st.composite
def texts(draw: st.DrawFn, time_ns: int) -> str:
    """Draw a way to write an instant."""
    distance = draw(st.sampled_from((None, "Z", "z", "+00:00", "-00:00", "+05:30", "-23:59", "+14:00")))
    shift_ns = 0
    if distance is not None and ":" in distance:
        minutes = int(distance[1:3]) * 60 + int(distance[4:])
        shift_ns = (-minutes if distance[0] == "-" else minutes) * 60 * SECOND_NS
    written = format_time_ns(time_ns + shift_ns).removesuffix("Z")
    if draw(st.booleans()):
        written = written.replace("T", " ")
    fraction = written[-9:]
    fewest = len(fraction.rstrip("0"))
    digits = draw(st.integers(fewest, 9))
    return written[:-9] + fraction[:digits] + (distance or "") if digits else written[:-10] + (distance or "")


@both_backends
@given(data=st.data(), times=st.lists(st.integers(0, END_NS - 1), min_size=1, max_size=20, unique=True))
@examples(40)
def test_times_as_text(backend: str, data: st.DataObject, times: list[int]) -> None:
    coarse = [time_ns // 10**digits * 10**digits for time_ns, digits in zip(times, range(len(times)), strict=True)]
    times = sorted(set(coarse))
    written = [data.draw(texts(time_ns)) for time_ns in times]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "A" / "A_S1_TRADE.parquet", pa.array(written))
        assert stamps_of(Path(folder), backend) == dict(enumerate(times))


TEXT = st.text(st.sampled_from("0123456789-: TZz.+"), max_size=30)
NEARLY = st.builds(
    lambda text, at, letter, cut: text[:at] + letter + text[at + cut :],
    st.sampled_from(("2024-01-02", "20240102", "2024-01-02T03:04:05", "2024-01-02 03:04:05.678+09:00")),
    st.integers(0, 30),
    st.sampled_from([*"0129-: TZz.+", ""]),
    st.integers(0, 1),
)


@given(text=NEARLY | TEXT)
@examples(150)
def test_both_backends_take_the_same_texts(text: str) -> None:
    found: list[dict[int, int] | int | None] = []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "A" / "A_D1_TRADE.parquet", pa.array([text]))
        for backend in ("python", "rust"):
            try:
                found.append(stamps_of(Path(folder), backend, "D1"))
            except CorruptInputError as error:
                found.append(error.row)
    assert found[0] == found[1]


@both_backends
@given(
    unit=st.sampled_from(("s", "ms", "us", "ns")),
    is_signed=st.booleans(),
    by_magnitude=st.booleans(),
    times=st.lists(st.integers(631_152_000, 4_133_980_799), min_size=1, max_size=20, unique=True),
)
@examples(40)
def test_integers_of_every_unit(backend: str, unit: str, is_signed: bool, by_magnitude: bool, times: list[int]) -> None:
    ticks = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    kind = pa.int64() if is_signed else pa.uint64()
    times.sort()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "A" / "A_S1_TRADE.parquet", pa.array([time_s * ticks for time_s in times], kind))
        found = stamps_of(Path(folder), backend, timestamp_unit="magnitude" if by_magnitude else unit)
    assert found == {row: time_s * SECOND_NS for row, time_s in enumerate(times)}
