"""What has to hold for every input and request, tried on random ones.

The executable is run across a real pipe and compared with the reference, bit for bit.
`OMEGA_PROPERTY_EXAMPLES=20` tries twenty times as many examples as usual, other ones each time;
the usual run tries the same ones every time.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import cli_harness
from helpers.oracle import EPOCH, floored
from helpers.property_runs import FIRST_NS, built, examples
from helpers.requests import make_request
from helpers.series_strategies import faults, periods, worlds
from helpers.worlds import Fault, World
from hypothesis import assume, given
from hypothesis import strategies as st

from omega_slices import Request, RunReport, open_slices
from omega_slices.errors import CorruptInputError, OmegaSlicesError, error_from_report
from omega_slices.reference import ReferenceRun, open_reference, series_errors


def chunks_of(rows: int | None) -> tuple[str, ...]:
    """Return the option that sets how many rows the executable decodes at a time."""
    return () if rows is None else (f"--chunk-rows={rows}",)


def executable_slices(request: Request, *options: str) -> tuple[cli_harness.Slices, RunReport]:
    """Run the executable, which has to succeed, and check what holds for every stream."""
    run = cli_harness.sync(request, *options)
    assert run.status == 0, run.lines
    stream = cli_harness.read_stream(run.stdout)
    cli_harness.check_schema(stream, request)
    assert run.report.batches == len(stream.batches)
    return cli_harness.slices_of(stream), run.report


def possible_errors(request: Request) -> set[tuple[object, ...]]:
    """Return the errors of every series alone, and of its steps.

    Which one comes first is the executable's business.
    """
    milder = [{"unsorted": "sort"}, {"duplicates": "last"}, {"unsorted": "sort", "duplicates": "last"}, {}]
    requests = [msgspec.structs.replace(request, **options) for options in milder]
    return {cli_harness.place(error) for one in requests for error in series_errors(one)}


def without_messages(report: RunReport) -> tuple[object, ...]:
    """Return the parts of a report that two implementations share: all but words and batches."""
    warnings = [(one.name, one.file, one.symbol, one.price_type) for one in report.warnings]
    return (report.slices, report.first_timestamp_ns, report.last_timestamp_ns, report.series, warnings)


@given(worlds(may_leave_out=True) | worlds(local=True, may_leave_out=True), st.sampled_from((None, None, 1, 2, 7)))
@examples(300)
def test_executable_equals_reference(world: World, chunk_rows: int | None) -> None:
    options = chunks_of(chunk_rows)
    with built(world) as request:
        try:
            expected = open_reference(request)
        except OmegaSlicesError:
            run = cli_harness.sync(request, *options)
            assert run.status == 3, run.lines
            assert cli_harness.place(error_from_report(run.error)) in possible_errors(request)
            assert not cli_harness.is_sealed(run.stdout)
            return
        slices, report = executable_slices(request, *options)
        assert cli_harness.bits(slices) == cli_harness.bits(cli_harness.reference_slices(expected))
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
            expected = cli_harness.place(error)
        if isinstance(expected, ReferenceRun):
            # The window leaves it out.
            assert fault.stamp_ns is not None
            assert request.start is not None or request.end is not None
            slices, report = executable_slices(request)
            assert cli_harness.bits(slices) == cli_harness.bits(cli_harness.reference_slices(expected))
            assert without_messages(report) == without_messages(expected.report())
            return
        run = cli_harness.sync(request)
        assert run.status == 3, run.lines
        assert cli_harness.place(error_from_report(run.error)) == expected
        assert not cli_harness.is_sealed(run.stdout)


@given(worlds(errors=False))
@examples(50)
def test_output_is_the_same_at_any_thread_count_and_chunk_size(world: World) -> None:
    with built(world) as request:
        usual = cli_harness.sync(request)
        assert usual.status == 0, usual.lines
        for threads, chunk_rows, spilled in ((1, None, 0), (2, 1, 1), (2, 7, 3), (7, None, 1), (7, 2, 0)):
            spilling = (f"--spill-every={spilled}",) if spilled else ()
            run = cli_harness.sync(request, f"--threads={threads}", *chunks_of(chunk_rows), *spilling)
            assert run.stdout == usual.stdout, (threads, chunk_rows, spilled)
            lines = [{key: line[key] for key in line if key != "temporary_bytes"} for line in run.lines]
            assert tuple(lines) == usual.lines, (threads, chunk_rows, spilled)


@given(worlds(), st.sampled_from(("sort", "error")), st.sampled_from((1, 7)), st.sampled_from((None, 1, 2, 7)))
@examples(60)
def test_errors_are_the_same_at_any_thread_count(
    world: World, unsorted: str, threads: int, chunk_rows: int | None
) -> None:
    world = world.with_options(duplicates="error", unsorted=unsorted)
    with built(world) as request:
        usual = cli_harness.sync(request, "--threads=2", *chunks_of(chunk_rows))
        assume(usual.status != 0)
        run = cli_harness.sync(request, f"--threads={threads}", *chunks_of(chunk_rows))
        assert (run.status, run.lines) == (usual.status, usual.lines)
        # Of several series in error, another one may come first with another chunk size; each
        # names its own row.
        assert cli_harness.place(error_from_report(run.error)) in possible_errors(request)


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 4])
def test_the_first_repeated_row_is_named_wherever_chunks_end(chunk_rows: int, tmp_path: Path) -> None:
    # Rows 1 to 4 are one minute: a chunk that ends between rows 1 and 2 hides the first repetition
    # from both sides.
    minutes = np.array([0, 1, 1, 1, 1, 2])
    (tmp_path / "A").mkdir()
    pq.write_table(series_table(minutes, np.random.default_rng(0)), tmp_path / "A" / "A_M1_BID.parquet")
    request = make_request(tmp_path, symbols=["A"], price_types=["bid"], duplicates="error")
    run = cli_harness.sync(request, *chunks_of(chunk_rows))
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
    assert cli_harness.bits(slices) == cli_harness.bits(cli_harness.reference_slices(expected))
    assert without_messages(report) == without_messages(expected.report())


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 7])
@pytest.mark.parametrize("timeframe", ["H12", "D1"])
def test_local_days_wherever_chunks_end(timeframe: str, chunk_rows: int, tmp_path: Path) -> None:
    """Candles, those of higher timeframes and indicators of days, two rows for every date."""
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
    assert cli_harness.bits(slices) == cli_harness.bits(cli_harness.reference_slices(expected))
    assert without_messages(report) == without_messages(expected.report())


@given(worlds(errors=False) | worlds(errors=False, local=True), st.integers(0, 40))
@examples(80)
def test_a_range_split_in_two_gives_the_slices_of_the_whole(world: World, cut: int) -> None:
    start = world.options["start"]
    if start is not None and world.options["normalize"] and "fill" in world.options:
        # A window that begins inside a candle makes one of what it keeps, and carries that one.
        # Only the whole candle can be read again by a part that begins later: no part can know
        # where another one began.
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
        joined: cli_harness.Slices = ()
        for half in halves:
            slices, _ = executable_slices(make_request(request.data, **half.options_under(request.data)))
            joined += slices
        assert cli_harness.bits(joined) == cli_harness.bits(whole)


@given(worlds(errors=False) | worlds(errors=False, local=True), st.integers(0, 40), st.integers(0, 40))
@examples(60)
def test_a_part_of_the_reference_is_that_part_of_the_whole(world: World, first: int, last: int) -> None:
    with built(world) as request:
        whole = cli_harness.reference_slices(open_reference(request))
        assume(whole)
        edges = sorted((whole[first % len(whole)][0], whole[last % len(whole)][0]))
        part = cli_harness.reference_slices(open_reference(request, part=(edges[0], edges[1])))
    expected = tuple(one for one in whole if edges[0] <= one[0] <= edges[1])
    assert cli_harness.bits(part) == cli_harness.bits(expected)


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
            pair = [cli_harness.public_slice(one, request) for one in (ours, theirs)]
            assert cli_harness.bits((pair[0],)) == cli_harness.bits((pair[1],))
            known_after_ns = int(rust.schema.metadata.get(b"known_after_ns", request.timeframe_ns))
            assert (
                ours.known_at
                == theirs.known_at
                == EPOCH + timedelta(microseconds=(ours.timestamp_ns + known_after_ns) // 1_000)
            )
        assert without_messages(rust.report) == without_messages(python.report)


def long_series(rng: np.random.Generator, rows: int, every_minutes: int = 1) -> pa.Table:
    """Return candles with holes.

    One series in three has rows out of order, one in three has some twice.
    """
    minutes = every_minutes * np.sort(rng.choice(rows * 5 // 4, rows, replace=False))
    if rng.random() < 1 / 3:
        minutes = np.sort(np.concatenate([minutes, rng.choice(minutes, rows // 100)]))
    if rng.random() < 1 / 3:
        late = rng.choice(minutes.size - 1, rows // 1000 + 1, replace=False)
        minutes[late], minutes[late + 1] = minutes[late + 1], minutes[late].copy()
    return series_table(minutes, rng)


def series_table(minutes: npt.NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
    """Return the table of a series with rows at the given minutes and random values.

    Prices, and two indicators.
    """
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
    """Longer than usual chunks, batches and row groups, so that these end in mid-series."""
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
    for more in (
        (),
        ("--threads=1", "--chunk-rows=97"),
        ("--threads=7", "--chunk-rows=1000"),
        ("--spill-every=1", "--chunk-rows=97"),
        ("--spill-every=2",),
    ):
        slices, report = executable_slices(request, *more)
        assert cli_harness.bits(slices) == cli_harness.bits(cli_harness.reference_slices(expected))
        assert without_messages(report) == without_messages(expected.report())


def random_rows(rng: np.random.Generator, rows_max: int) -> int:
    """Return a number of rows."""
    return int(rng.integers(rows_max // 3, rows_max))


def write_long(path: Path, table: pa.Table, rng: np.random.Generator) -> None:
    """Write a series in a physical layout of its own."""
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=int(rng.integers(100, 10_000)), data_page_size=4_000)


@given(worlds(errors=False, may_leave_out=True) | worlds(errors=False, local=True), periods())
@examples(100)
def test_parts_joined_are_the_whole(world: World, by: str | int) -> None:
    with built(world) as request:
        # That is refused: `test_a_filled_and_floored_window_starts_where_a_candle_does`.
        starts_inside = request.start is not None and request.start != floored(request.start, request.timeframe)
        assume(not (starts_inside and request.normalize and request.fill == "forward"))
        whole, _ = executable_slices(request)
        parts = request.split(by)
        assert not isinstance(by, int) or len(parts) <= by
        edges = [(part.start, part.before) for part in parts]
        assert all(one[1] == other[0] for one, other in pairwise(edges))
        joined = [one for part in parts for one in executable_slices(part)[0]]
        assert cli_harness.bits(tuple(joined)) == cli_harness.bits(whole)
        # The reference agrees on what an exclusive end is.
        expected = cli_harness.reference_slices(open_reference(parts[0]))
        assert cli_harness.bits(executable_slices(parts[0])[0]) == cli_harness.bits(expected)
