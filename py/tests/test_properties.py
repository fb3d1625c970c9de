"""What has to hold for every input and request, tried on random ones.

The executable is run across a real pipe and held against the reference, bit for bit. `OMEGA_PROPERTY_EXAMPLES=20`
tries twenty times as many examples as usual, other ones each time; the usual run tries the same ones every time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import plain_run
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from series_strategies import Fault, World, faults, worlds

from omega_slices import open_slices
from omega_slices._candle import RunReport, datetime_from_ns
from omega_slices._request import Request, make_request
from omega_slices.errors import CorruptInputError, OmegaSlicesError, error_from_report
from omega_slices.reference import open_reference

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


def possible_errors(request: Request, world: World) -> set[tuple[object, ...]]:
    """Return the errors of every series alone: which one comes first is the executable's business."""
    assert request.symbols is not None
    found = set()
    for symbol in request.symbols:
        for side in request.price_types:
            options = {**world.options, "symbols": [symbol], "price_types": [side]}
            try:
                open_reference(make_request(request.data, **options))
            except OmegaSlicesError as error:
                found.add(plain_run.place(error))
    return found


def without_messages(report: RunReport) -> tuple[object, ...]:
    """Return the parts of a report that two implementations share: all but words and batches."""
    warnings = [(one.name, one.file, one.symbol, one.price_type) for one in report.warnings]
    return (report.slices, report.first_timestamp_ns, report.last_timestamp_ns, report.series, warnings)


@given(worlds(), st.sampled_from((None, None, 1, 2, 7)))
@examples(200)
def test_executable_equals_reference(world: World, chunk_rows: int | None) -> None:
    options = chunks_of(chunk_rows)
    with built(world) as request:
        try:
            expected = open_reference(request)
        except OmegaSlicesError:
            run = plain_run.sync(request, *options)
            assert run.status == 3, run.lines
            assert plain_run.place(error_from_report(run.error)) in possible_errors(request, world)
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
        with pytest.raises(CorruptInputError) as caught:
            open_reference(request)
        run = plain_run.sync(request)
        assert run.status == 3, run.lines
        assert plain_run.place(error_from_report(run.error)) == plain_run.place(caught.value)
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
        assert plain_run.place(error_from_report(run.error)) in possible_errors(request, world)


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 4])
def test_the_first_repeated_row_is_named_wherever_chunks_end(chunk_rows: int, tmp_path: Path) -> None:
    # Rows 1 to 4 are one minute: a chunk that ends between rows 1 and 2 hides the first repetition from both sides.
    minutes = np.array([0, 1, 1, 1, 1, 2])
    (tmp_path / "A").mkdir()
    pq.write_table(series_table(minutes, np.random.default_rng(0)), tmp_path / "A" / "A_M1_BID.parquet")
    request = make_request(tmp_path, symbols=["A"], price_types=["bid"], duplicates="error")
    run = plain_run.sync(request, *chunks_of(chunk_rows))
    assert (run.error["code"], run.error["row"]) == (3009, 2)


@given(worlds(errors=False), st.integers(0, 40))
@examples(60)
def test_a_range_split_in_two_gives_the_slices_of_the_whole(world: World, cut: int) -> None:
    with built(world) as request:
        whole, _ = executable_slices(request)
        assume(whole)
        # Between two slices: floored candles are made of rows up to their end.
        split_ns = whole[cut % len(whole)][0]
        halves = []
        if request.start is None or request.start < split_ns:
            halves.append(world.with_options(start=request.start, end=split_ns - 1))
        halves.append(world.with_options(start=max(split_ns, request.start or split_ns), end=request.end))
        joined: plain_run.Slices = ()
        for half in halves:
            slices, _ = executable_slices(make_request(request.data, **half.options))
            joined += slices
        assert plain_run.bits(joined) == plain_run.bits(whole)


@given(worlds(errors=False), st.integers(0, 40))
@examples(60)
def test_a_slice_depends_on_nothing_after_it(world: World, cut: int) -> None:
    with built(world) as request:
        whole, _ = executable_slices(request)
    assume(whole)
    number = cut % len(whole)
    last_ns = whole[number][0]
    bound_ns = last_ns + (request.timeframe_ns if request.normalize else 1)
    past = World({path: file.before(bound_ns) for path, file in world.files.items()}, world.options)
    with built(past) as request:
        known, _ = executable_slices(request)
    assert plain_run.bits(known) == plain_run.bits(whole[: number + 1])


@given(worlds(errors=False))
@examples(60)
def test_both_backends_of_open_slices_agree_slice_by_slice(world: World) -> None:
    with (
        built(world) as request,
        open_slices(request.data, **world.options, backend="rust") as rust,
        open_slices(request.data, **world.options, backend="python") as python,
    ):
        assert rust.symbols == python.symbols
        for ours, theirs in zip(rust, python, strict=True):
            pair = [plain_run.public_slice(one, request.price_types) for one in (ours, theirs)]
            assert plain_run.bits((pair[0],)) == plain_run.bits((pair[1],))
            assert ours.known_at == theirs.known_at == datetime_from_ns(ours.timestamp_ns + request.timeframe_ns)
        assert without_messages(rust.report) == without_messages(python.report)


def long_series(rng: np.random.Generator, rows: int) -> pa.Table:
    """Return minutes with holes; one series in three has rows out of order, one in three has some twice."""
    minutes = np.sort(rng.choice(rows * 5 // 4, rows, replace=False))
    if rng.random() < 1 / 3:
        minutes = np.sort(np.concatenate([minutes, rng.choice(minutes, rows // 100)]))
    if rng.random() < 1 / 3:
        late = rng.choice(minutes.size - 1, rows // 1000, replace=False)
        minutes[late], minutes[late + 1] = minutes[late + 1], minutes[late].copy()
    return series_table(minutes, rng)


def series_table(minutes: npt.NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
    """Return the table of a series with candles at the given minutes and random values."""
    stamps = pa.array(FIRST_NS + 60 * 10**9 * minutes, pa.timestamp("ns", tz="UTC"))
    values = {name: rng.normal(size=minutes.size) for name in ("Open", "High", "Low", "Close", "Volume")}
    return pa.table({"UTC time": stamps, **values})


@pytest.mark.parametrize("timeline", ["intersection", "union"])
@pytest.mark.parametrize("seed", range(2))
def test_long_series(seed: int, timeline: str, tmp_path: Path) -> None:
    """Longer than chunks, batches and row groups of usual sizes, so that those end in the middle of things."""
    rng = np.random.default_rng(seed)
    symbols = ["A", "B", "C"]
    for symbol in symbols:
        for side in ("BID", "ASK"):
            path = tmp_path / symbol / f"{symbol}_M1_{side}.parquet"
            path.parent.mkdir(exist_ok=True)
            table = long_series(rng, int(rng.integers(3_000, 8_000)))
            pq.write_table(table, path, row_group_size=int(rng.integers(100, 10_000)), data_page_size=4_000)
    start_ns = FIRST_NS + 60 * 10**9 * int(rng.integers(0, 1_000))
    request = make_request(tmp_path, symbols=symbols, start=start_ns, timeline=timeline)
    expected = open_reference(request)
    for options in ((), ("--threads=1", "--chunk-rows=97"), ("--threads=7", "--chunk-rows=1000")):
        slices, report = executable_slices(request, *options)
        assert plain_run.bits(slices) == plain_run.bits(plain_run.reference_slices(expected))
        assert without_messages(report) == without_messages(expected.report())
