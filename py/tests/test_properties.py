"""What has to hold for every input and request, tried on random ones.

The executable is run across a real pipe and held against the reference, bit for bit. `OMEGA_PROPERTY_EXAMPLES=20`
tries twenty times as many examples as usual, other ones each time; the usual run tries the same ones every time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import plain_run
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zone_oracle
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from series_strategies import DAY_NS, UNITS_NS, Fault, FilePlan, World, faults, is_of_days, worlds

from omega_slices import open_slices
from omega_slices._model.candle import datetime_from_ns
from omega_slices._model.report import RunReport
from omega_slices._model.request import Request
from omega_slices._model.request_parser import make_request
from omega_slices._model.times import timeframe_ns
from omega_slices._reference.files import all_files
from omega_slices._reference.series import read_series
from omega_slices._reference.sessions import read_sessions
from omega_slices.errors import CorruptInputError, OmegaSlicesError, error_from_report
from omega_slices.reference import ReferenceRun, open_reference

FIRST_NS = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z

FACTOR = int(os.environ.get("OMEGA_PROPERTY_EXAMPLES", "1"))


def examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the settings of a property that is tried on `number` examples in the usual run."""
    return settings(
        max_examples=number * FACTOR,
        derandomize=FACTOR == 1,
        deadline=None,  # a process is started per example
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@contextmanager
def built(world: World) -> Iterator[Request]:
    """Write a world into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield world.build(Path(folder))


def chunks_of(rows: int | None) -> tuple[str, ...]:
    """Return the option that sets how many rows the executable decodes at a time."""
    return () if rows is None else (f"--chunk-rows={rows}",)


def executable_slices(request: Request, *options: str) -> tuple[plain_run.Slices, RunReport]:
    """Run the executable, which has to succeed, and check what holds for every stream on the way."""
    run = plain_run.sync(request, *options)
    assert run.status == 0, run.lines
    stream = plain_run.read_stream(run.stdout)
    plain_run.check_schema(stream, request)
    assert run.report.batches == len(stream.batches)
    return plain_run.slices_of(stream), run.report


def possible_errors(request: Request) -> set[tuple[object, ...]]:
    """Return the errors of every series alone, and of its steps: which one comes first is the executable's business."""
    assert request.symbols is not None
    sessions = None if request.session_file is None else read_sessions(request.session_file)
    milder = [{"unsorted": "sort"}, {"duplicates": "last"}, {"unsorted": "sort", "duplicates": "last"}, {}]
    found = set()
    for name, files in all_files(request, request.symbols).items():
        for options in milder:
            try:
                read_series(msgspec.structs.replace(request, **options), name, files, sessions)
            except OmegaSlicesError as error:
                found.add(plain_run.place(error))
    return found


def floored(timestamp_ns: int, timeframe: str) -> int:
    """Return where the candle begins that a timestamp lies in, counted from 1970; weeks begin on Monday."""
    origin_ns = -3 * 86_400 * 10**9 if timeframe.startswith("W") else 0
    return timestamp_ns - (timestamp_ns - origin_ns) % timeframe_ns(timeframe)


def without_messages(report: RunReport) -> tuple[object, ...]:
    """Return the parts of a report that two implementations share: all but words and batches."""
    warnings = [(one.name, one.file, one.symbol, one.price_type) for one in report.warnings]
    return (report.slices, report.first_timestamp_ns, report.last_timestamp_ns, report.series, warnings)


@given(worlds() | worlds(local=True), st.sampled_from((None, None, 1, 2, 7)))
@examples(300)
def test_executable_equals_reference(world: World, chunk_rows: int | None) -> None:
    options = chunks_of(chunk_rows)
    with built(world) as request:
        try:
            expected = open_reference(request)
        except OmegaSlicesError:
            run = plain_run.sync(request, *options)
            assert run.status == 3, run.lines
            assert plain_run.place(error_from_report(run.error)) in possible_errors(request)
            assert not plain_run.is_sealed(run.stdout)
            return
        slices, report = executable_slices(request, *options)
        assert plain_run.bits(slices) == plain_run.bits(plain_run.reference_slices(expected))
        assert without_messages(report) == without_messages(expected.report())


@given(worlds(errors=False), faults())
@examples(100)
def test_a_row_without_a_usable_time_is_found_wherever_it_is(world: World, fault: Fault) -> None:
    broken = fault.put_into(world)
    assume(broken is not None)
    assert broken is not None
    with built(broken) as request:
        expected: ReferenceRun | tuple[object, ...]
        try:
            expected = open_reference(request)
        except CorruptInputError as error:
            expected = plain_run.place(error)
        if isinstance(expected, ReferenceRun):
            # The window leaves it out.
            assert fault.stamp_ns is not None
            assert request.start is not None or request.end is not None
            slices, report = executable_slices(request)
            assert plain_run.bits(slices) == plain_run.bits(plain_run.reference_slices(expected))
            assert without_messages(report) == without_messages(expected.report())
            return
        run = plain_run.sync(request)
        assert run.status == 3, run.lines
        assert plain_run.place(error_from_report(run.error)) == expected
        assert not plain_run.is_sealed(run.stdout)


@given(worlds(errors=False))
@examples(50)
def test_output_is_the_same_at_any_thread_count_and_chunk_size(world: World) -> None:
    with built(world) as request:
        usual = plain_run.sync(request)
        assert usual.status == 0, usual.lines
        for threads, chunk_rows in ((1, None), (2, 1), (2, 7), (7, None), (7, 2)):
            run = plain_run.sync(request, f"--threads={threads}", *chunks_of(chunk_rows))
            assert run.stdout == usual.stdout, (threads, chunk_rows)
            assert run.lines == usual.lines, (threads, chunk_rows)


@given(worlds(), st.sampled_from(("sort", "error")), st.sampled_from((1, 7)), st.sampled_from((None, 1, 2, 7)))
@examples(60)
def test_errors_are_the_same_at_any_thread_count(
    world: World, unsorted: str, threads: int, chunk_rows: int | None
) -> None:
    world = world.with_options(duplicates="error", unsorted=unsorted)
    with built(world) as request:
        usual = plain_run.sync(request, "--threads=2", *chunks_of(chunk_rows))
        assume(usual.status != 0)
        run = plain_run.sync(request, f"--threads={threads}", *chunks_of(chunk_rows))
        assert (run.status, run.lines) == (usual.status, usual.lines)
        # Of several series in error, another one may come first with another chunk size; each names its own row.
        assert plain_run.place(error_from_report(run.error)) in possible_errors(request)


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 4])
def test_the_first_repeated_row_is_named_wherever_chunks_end(chunk_rows: int, tmp_path: Path) -> None:
    # Rows 1 to 4 are one minute: a chunk that ends between rows 1 and 2 hides the first repetition from both sides.
    minutes = np.array([0, 1, 1, 1, 1, 2])
    (tmp_path / "A").mkdir()
    pq.write_table(series_table(minutes, np.random.default_rng(0)), tmp_path / "A" / "A_M1_BID.parquet")
    request = make_request(tmp_path, symbols=["A"], price_types=["bid"], duplicates="error")
    run = plain_run.sync(request, *chunks_of(chunk_rows))
    assert (run.error["code"], run.error["row"]) == (3009, 2)


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("duplicates", ["first", "last"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("values", "conflicts"),
    [
        ([1, 1, 1, 1, 1], 0),
        ([1, 1, 1, 1, 2], 1),
        ([1, 2, 2, 2, 2], 1),
        ([1, 2, 1, 1, 1], 1),  # those that are kept, by either policy, are equal
        ([1, 2, 3, 4, 5], 1),
        ([float("nan"), None, float("nan"), None, None], 0),
        ([None, None, 0.0, None, None], 1),
    ],
)
def test_conflicts_are_counted_once_wherever_chunks_end(
    values: list[float | None], conflicts: int, normalize: bool, duplicates: str, chunk_rows: int, tmp_path: Path
) -> None:
    # Behind the minute that is cut there is another one whose rows differ.
    table = series_table(np.array([0, 1, 1, 1, 1, 1, 2, 2]), np.random.default_rng(0))
    for name in ("Open", "High", "Low", "Volume"):
        table = table.set_column(table.column_names.index(name), name, pa.array([1.0] * 8))
    closes = pa.array([1.0, *values, 1.0, 2.0], pa.float64())
    table = table.set_column(table.column_names.index("Close"), "Close", closes)
    (tmp_path / "A").mkdir()
    pq.write_table(table, tmp_path / "A" / "A_M1_BID.parquet")
    request = make_request(tmp_path, symbols=["A"], price_types=["bid"], duplicates=duplicates, normalize=normalize)
    expected = open_reference(request)
    assert expected.report().series[0].conflicting_duplicates == conflicts + 1
    slices, report = executable_slices(request, *chunks_of(chunk_rows))
    assert plain_run.bits(slices) == plain_run.bits(plain_run.reference_slices(expected))
    assert without_messages(report) == without_messages(expected.report())


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 7])
@pytest.mark.parametrize("timeframe", ["H12", "D1"])
def test_local_days_wherever_chunks_end(timeframe: str, chunk_rows: int, tmp_path: Path) -> None:
    """Candles, further candles and indicators of days, two rows for every date."""
    minutes = np.arange(40) * 720
    for name in (f"{timeframe}_BID", f"{timeframe}_IND", "W1_BID", "D2_BID"):
        path = tmp_path / "A" / f"A_{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(series_table(minutes, np.random.default_rng(len(name))), path)
    request = make_request(
        tmp_path,
        symbols=["A"],
        price_types=["bid"],
        timeframe=timeframe,
        with_timeframe=["D2", "W1"],
        indicators=["x", "y"],
        normalize=True,
        zone="America/New_York",
        days="local",
    )
    expected = open_reference(request)
    slices, report = executable_slices(request, *chunks_of(chunk_rows))
    assert plain_run.bits(slices) == plain_run.bits(plain_run.reference_slices(expected))
    assert without_messages(report) == without_messages(expected.report())


@given(worlds(errors=False) | worlds(errors=False, local=True), st.integers(0, 40))
@examples(80)
def test_a_range_split_in_two_gives_the_slices_of_the_whole(world: World, cut: int) -> None:
    start = world.options["start"]
    if start is not None and world.options["normalize"] and "fill" in world.options:
        # A window that begins inside a candle makes one of what it keeps, and carries that one. Only the whole candle
        # can be read again by a part that begins later: no part can know where another one began.
        world = world.with_options(start=floored(start, world.options["timeframe"]))
    with built(world) as request:
        whole, _ = executable_slices(request)
        assume(whole)
        # Between two slices: floored candles are made of rows up to their end.
        split_ns = whole[cut % len(whole)][0]
        halves = []
        if request.start is None or request.start < split_ns:
            halves.append(world.with_options(start=request.start, end=split_ns - 1))
        second_ns = split_ns if request.start is None else max(split_ns, request.start)
        halves.append(world.with_options(start=second_ns, end=request.end))
        joined: plain_run.Slices = ()
        for half in halves:
            slices, _ = executable_slices(make_request(request.data, **half.options_under(request.data)))
            joined += slices
        assert plain_run.bits(joined) == plain_run.bits(whole)


@given(worlds(errors=False) | worlds(errors=False, local=True), st.integers(0, 40), st.integers(0, 40))
@examples(60)
def test_a_part_of_the_reference_is_that_part_of_the_whole(world: World, first: int, last: int) -> None:
    with built(world) as request:
        whole = plain_run.reference_slices(open_reference(request))
        assume(whole)
        edges = sorted((whole[first % len(whole)][0], whole[last % len(whole)][0]))
        part = plain_run.reference_slices(open_reference(request, part=(edges[0], edges[1])))
    expected = tuple(one for one in whole if edges[0] <= one[0] <= edges[1])
    assert plain_run.bits(part) == plain_run.bits(expected)


@given(worlds(errors=False))
@examples(60)
def test_both_backends_of_open_slices_agree_slice_by_slice(world: World) -> None:
    with (
        built(world) as request,
        open_slices(request.data, **world.options_under(request.data), backend="rust") as rust,
        open_slices(request.data, **world.options_under(request.data), backend="python") as python,
    ):
        assert rust.symbols == python.symbols
        for ours, theirs in zip(rust, python, strict=True):
            pair = [plain_run.public_slice(one, request) for one in (ours, theirs)]
            assert plain_run.bits((pair[0],)) == plain_run.bits((pair[1],))
            known_after_ns = int(rust.schema.metadata.get(b"known_after_ns", request.timeframe_ns))
            assert ours.known_at == theirs.known_at == datetime_from_ns(ours.timestamp_ns + known_after_ns)
        assert without_messages(rust.report) == without_messages(python.report)


# --- What a slice may depend on ----------------------------------------------------------


def stamp_and_end(request: Request, file: FilePlan, held_ns: int) -> tuple[int, int]:
    """Return how a row of a file is stamped before flooring, and when its candle is complete."""
    instant_ns = held_ns
    if request.zone is not None and (file.is_date(held_ns) or file.is_wall_clock(held_ns)):
        found = zone_oracle.instants(request.zone, held_ns)
        is_later = request.ambiguous == "later" and not file.is_date(held_ns)
        instant_ns = found[-1] if found and is_later else zone_oracle.nearest(request.zone, held_ns)
    length_ns = timeframe_ns(file.timeframe)
    own = file.zone if file.unit in UNITS_NS and file.zone != "UTC" else None
    zone, days = own or request.zone or "UTC", length_ns // DAY_NS
    if not is_of_days(file.timeframe):
        stamp_ns = instant_ns - (length_ns if request.stamped == "close" else 0)
    else:
        stamp_ns = zone_oracle.days_later(zone, instant_ns, -days) if request.stamped == "close" else instant_ns
        if request.days == "local":
            return zone_oracle.date_of_middle(zone, stamp_ns), zone_oracle.days_later(zone, stamp_ns, days)
    return stamp_ns, (floored(stamp_ns, file.timeframe) if request.normalize else stamp_ns) + length_ns


Keeps = Callable[[FilePlan, int], bool]
Change = Callable[[World, Keeps], World]


def may_matter(world: World, request: Request, slice_ns: int, known_after_ns: int | None) -> Keeps:
    """Return whether the contract lets a slice depend on a row, by its file and what it holds as its timestamp."""
    known_ns = slice_ns + ((known_after_ns or request.timeframe_ns) if request.known_at == "close" else 0)

    def stamped(file: FilePlan, held_ns: int) -> int:
        stamp_ns, _ = stamp_and_end(request, file, held_ns)
        return floored(stamp_ns, file.timeframe) if request.normalize else stamp_ns

    # Rows of one local day may end at different times. Which of them is the candle depends on all of them.
    complete = {
        (file.timeframe, stamped(file, held_ns))
        for file in world.files.values()
        for held_ns in file.timestamps_ns
        if held_ns is not None and stamp_and_end(request, file, held_ns)[1] <= known_ns
    }

    def matters(file: FilePlan, held_ns: int) -> bool:
        stamp_ns = stamped(file, held_ns)
        if file.timeframe == request.timeframe:
            return stamp_ns <= slice_ns
        return (file.timeframe, stamp_ns) in complete

    return matters


def without_the_later(world: World, keeps: Keeps) -> World:
    """Return the world without every row that a slice may not depend on."""
    return world.with_files(lambda file: file.where(partial(keeps, file)))


def with_others_later(world: World, keeps: Keeps) -> World:
    """Return the world with other values in every row that a slice may not depend on."""
    return world.with_files(lambda file: file.other_values_unless(partial(keeps, file)))


def tell_of(world: World, request: Request, changed: World, slices: plain_run.Slices) -> None:
    """Count what an example of no look-ahead shows: `--hypothesis-show-statistics` prints it."""
    event(f"rows changed: {'some' if changed != world else 'none'}")
    event(f"days {request.days}, stamped {request.stamped}, zone {'given' if request.zone else 'not given'}")
    cells = [cell for _, cells in slices for cell in cells]
    carried = any(
        shown is not None and shown[0].timestamp_ns < slice_ns
        for slice_ns, cells in slices
        for cell in cells
        for shown in cell.candles.values()
    )
    further = any(shown for cell in cells for candles in cell.further.values() for shown in candles.values())
    indicators = any(value is not None for cell in cells for value in cell.indicators.values())
    for what, is_there in (("carried", carried), ("further", further), ("indicators", indicators)):
        event(f"{what}: {'shown' if is_there else 'not shown'}")


@pytest.mark.parametrize("change", [without_the_later, with_others_later])
@given(world=worlds(errors=False) | worlds(errors=False, local=True), cut=st.integers(0, 40))
@examples(150)
def test_a_slice_depends_on_nothing_later(change: Change, world: World, cut: int) -> None:
    """Every slice up to one keeps every byte whatever happens to the rows that it may not depend on."""
    with built(world) as request:
        run = plain_run.sync(request)
    assert run.status == 0, run.lines
    whole = plain_run.read_stream(run.stdout)
    slices = plain_run.slices_of(whole)
    event(f"slices: {'some' if slices else 'none'}")
    assume(slices)
    slice_ns = slices[cut % len(slices)][0]
    changed = change(world, may_matter(world, request, slice_ns, whole.known_after_ns))
    tell_of(world, request, changed, slices)
    with built(changed) as request:
        run = plain_run.sync(request)
    assert run.status == 0, run.lines
    known = plain_run.read_stream(run.stdout)
    # The zones are those of files with rows; without the last row of one, days may be known earlier.
    assume(known.known_after_ns == whole.known_after_ns)
    assert plain_run.raw_columns(known, slice_ns) == plain_run.raw_columns(whole, slice_ns)


@pytest.mark.parametrize("change", [without_the_later, with_others_later])
@given(world=worlds(errors=False) | worlds(errors=False, local=True), cut=st.integers(0, 40))
@examples(150)
def test_a_slice_of_the_reference_depends_on_nothing_later(change: Change, world: World, cut: int) -> None:
    with built(world) as request:
        run = open_reference(request)
    whole = plain_run.reference_slices(run)
    event(f"slices: {'some' if whole else 'none'}")
    assume(whole)
    number = cut % len(whole)
    slice_ns = whole[number][0]
    changed = change(world, may_matter(world, request, slice_ns, run.known_after_ns))
    tell_of(world, request, changed, whole)
    with built(changed) as request:
        changed_run = open_reference(request)
    assume(changed_run.known_after_ns == run.known_after_ns)
    known = plain_run.reference_slices(changed_run)
    assert plain_run.bits(known[: number + 1]) == plain_run.bits(whole[: number + 1])


MINUTE_NS = 60 * 10**9


def closes(data: Path, backend: str, **options: Any) -> dict[int, list[float | None]]:
    """Return, by the minute of a slice, the closes of its M1 and M5 candles of A and the value of its indicator."""
    found: dict[int, list[float | None]] = {}
    asked: dict[str, Any] = {"symbols": ["A"], "price_types": ["bid"], "with_timeframe": "M5", "indicators": ["x"]}
    with open_slices(data, **asked, backend=backend, **options) as slices:
        for one in slices:
            candles = [one.get("A"), one.get_candle("A", "M5")]
            values: list[float | None] = [None if candle is None else candle.close for candle in candles]
            minute = (one.timestamp_ns - FIRST_NS) // MINUTE_NS
            found[minute] = [*values, (one["A"].indicators or {})["x"]]
    return found


def write_minutes(data: Path, name: str, nanoseconds: dict[int, float], columns: Sequence[str]) -> None:
    """Write a file of A: rows by their nanoseconds after the first, with one value in all columns."""
    (data / "A").mkdir(exist_ok=True)
    stamps = pa.array([FIRST_NS + at for at in nanoseconds], pa.timestamp("ns", tz="UTC"))
    table = {"UTC time": stamps, **{column: list(nanoseconds.values()) for column in columns}}
    pq.write_table(pa.table(table), data / "A" / f"A_{name}.parquet")


@pytest.mark.parametrize("backend", ["python", "rust"])
@pytest.mark.parametrize(("known_at", "shown_from"), [("open", 5), ("close", 4)])
def test_what_a_slice_may_depend_on_is_there_at_the_very_moment(
    backend: str, known_at: str, shown_from: int, tmp_path: Path
) -> None:
    prices = ("Open", "High", "Low", "Close", "Volume")
    minutes = {minute * MINUTE_NS: float(minute) for minute in range(8)}
    write_minutes(tmp_path, "M1_BID", minutes, prices)
    write_minutes(tmp_path, "M1_IND", minutes, ["x"])
    write_minutes(tmp_path, "M5_BID", {0: 100.0}, prices)
    found = closes(tmp_path, backend, known_at=known_at)
    assert found == {
        minute: [float(minute), 100.0 if minute >= shown_from else None, float(minute)] for minute in range(8)
    }
    # One nanosecond later, it is a slice later.
    write_minutes(tmp_path, "M5_BID", {1: 100.0}, prices)
    later = closes(tmp_path, backend, known_at=known_at)
    assert {minute: values[1] for minute, values in later.items()} == {
        minute: 100.0 if minute > shown_from else None for minute in range(8)
    }
    # What has its own timestamp is there at that one alone.
    write_minutes(tmp_path, "M1_IND", {at + 1: value for at, value in minutes.items()}, ["x"])
    assert {values[2] for values in closes(tmp_path, backend, known_at=known_at).values()} == {None}


def long_series(rng: np.random.Generator, rows: int, every_minutes: int = 1) -> pa.Table:
    """Return candles with holes; one series in three has rows out of order, one in three has some twice."""
    minutes = every_minutes * np.sort(rng.choice(rows * 5 // 4, rows, replace=False))
    if rng.random() < 1 / 3:
        minutes = np.sort(np.concatenate([minutes, rng.choice(minutes, rows // 100)]))
    if rng.random() < 1 / 3:
        late = rng.choice(minutes.size - 1, rows // 1000 + 1, replace=False)
        minutes[late], minutes[late + 1] = minutes[late + 1], minutes[late].copy()
    return series_table(minutes, rng)


def series_table(minutes: npt.NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
    """Return the table of a series with rows at the given minutes and random values: prices, and two indicators."""
    stamps = pa.array(FIRST_NS + 60 * 10**9 * minutes, pa.timestamp("ns", tz="UTC"))
    names = ("Open", "High", "Low", "Close", "Volume", "x", "y")
    return pa.table({"UTC time": stamps, **{name: rng.normal(size=minutes.size) for name in names}})


LONG_RUNS: dict[str, dict[str, Any]] = {
    "intersection": {},
    "union": {"timeline": "union"},
    "leader": {"timeline": "leader:B", "fill": "forward", "max_age": "3bars"},
    "quorum": {"timeline": "quorum:2", "with_timeframe": ["M5:max-age=10m", "H1"], "known_at": "close"},
    "everything": {
        "timeline": "union",
        "fill": "forward",
        "max_age": "10m",
        "with_timeframe": ["H1"],
        "indicators": ["x", "y"],
        "normalize": True,
    },
}


@pytest.mark.parametrize("options", LONG_RUNS.values(), ids=LONG_RUNS)
@pytest.mark.parametrize("seed", range(2))
def test_long_series(seed: int, options: dict[str, Any], tmp_path: Path) -> None:
    """Longer than chunks, batches and row groups of usual sizes, so that those end in the middle of things."""
    rng = np.random.default_rng(seed)
    symbols = ["A", "B", "C"]
    for symbol in symbols:
        for name, rows in (("M1_BID", 8_000), ("M1_ASK", 8_000), ("M1_IND", 8_000)):
            write_long(tmp_path / symbol / f"{symbol}_{name}.parquet", long_series(rng, random_rows(rng, rows)), rng)
        for name, minutes in (("M5", 5), ("H1", 60)):
            for side in ("BID", "ASK"):
                table = long_series(rng, random_rows(rng, 8_000 // minutes), minutes)
                write_long(tmp_path / symbol / f"{symbol}_{name}_{side}.parquet", table, rng)
    start_ns = FIRST_NS + 60 * 10**9 * int(rng.integers(0, 1_000))
    request = make_request(tmp_path, symbols=symbols, start=start_ns, **options)
    expected = open_reference(request)
    for more in ((), ("--threads=1", "--chunk-rows=97"), ("--threads=7", "--chunk-rows=1000")):
        slices, report = executable_slices(request, *more)
        assert plain_run.bits(slices) == plain_run.bits(plain_run.reference_slices(expected))
        assert without_messages(report) == without_messages(expected.report())


def random_rows(rng: np.random.Generator, rows_max: int) -> int:
    """Return a number of rows."""
    return int(rng.integers(rows_max // 3, rows_max))


def write_long(path: Path, table: pa.Table, rng: np.random.Generator) -> None:
    """Write a series in a physical layout of its own."""
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=int(rng.integers(100, 10_000)), data_page_size=4_000)
