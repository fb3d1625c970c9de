"""What a slice may depend on: nothing that is known only later, in either implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import cli_harness, oracle
from helpers.oracle import floored, timeframe_ns
from helpers.property_runs import FIRST_NS, MINUTE_NS, built, examples
from helpers.series_strategies import is_of_days, worlds
from helpers.worlds import DAY_NS, UNITS_NS, FilePlan, World
from hypothesis import assume, event, given
from hypothesis import strategies as st

from omega_slices import Request, open_slices
from omega_slices.reference import open_reference

# --- What a slice may depend on ----------------------------------------------------------


def stamp_and_end(request: Request, file: FilePlan, held_ns: int) -> tuple[int, int]:
    """Return how a row of a file is stamped before flooring, and when its candle is complete."""
    instant_ns = held_ns
    if request.zone is not None and (file.is_date(held_ns) or file.is_wall_clock(held_ns)):
        found = oracle.instants(request.zone, held_ns)
        is_later = request.ambiguous == "later" and not file.is_date(held_ns)
        instant_ns = found[-1] if found and is_later else oracle.nearest(request.zone, held_ns)
    length_ns = timeframe_ns(file.timeframe)
    own = file.zone if file.unit in UNITS_NS and file.zone != "UTC" else None
    zone, days = own or request.zone or "UTC", length_ns // DAY_NS
    if not is_of_days(file.timeframe):
        stamp_ns = instant_ns - (length_ns if request.stamped == "close" else 0)
    else:
        stamp_ns = oracle.days_later(zone, instant_ns, -days) if request.stamped == "close" else instant_ns
        if request.days == "local":
            return oracle.date_of_middle(zone, stamp_ns), oracle.days_later(zone, stamp_ns, days)
    return stamp_ns, (floored(stamp_ns, file.timeframe) if request.normalize else stamp_ns) + length_ns


Keeps = Callable[[FilePlan, int], bool]


Change = Callable[[World, Keeps], World]


def may_matter(world: World, request: Request, slice_ns: int, known_after_ns: int | None) -> Keeps:
    """Return whether the contract lets a slice depend on a row, by its file and timestamp."""
    known_ns = slice_ns + ((known_after_ns or request.timeframe_ns) if request.known_at == "close" else 0)

    def stamped(file: FilePlan, held_ns: int) -> int:
        stamp_ns, _ = stamp_and_end(request, file, held_ns)
        return floored(stamp_ns, file.timeframe) if request.normalize else stamp_ns

    # Rows of one local day may end at different times. Which of them is the candle depends on all
    # of them.
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


def tell_of(world: World, request: Request, changed: World, slices: cli_harness.Slices) -> None:
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
    higher_timeframes = any(shown for cell in cells for candles in cell.further.values() for shown in candles.values())
    indicators = any(value is not None for cell in cells for value in cell.indicators.values())
    for what, is_there in (("carried", carried), ("higher_timeframes", higher_timeframes), ("indicators", indicators)):
        event(f"{what}: {'shown' if is_there else 'not shown'}")


@pytest.mark.parametrize("change", [without_the_later, with_others_later])
@given(world=worlds(errors=False) | worlds(errors=False, local=True), cut=st.integers(0, 40))
@examples(150)
def test_a_slice_depends_on_nothing_later(change: Change, world: World, cut: int) -> None:
    """Slices up to one keep every byte, whatever happens to rows that they may not depend on."""
    with built(world) as request:
        run = cli_harness.sync(request)
    assert run.status == 0, run.lines
    whole = cli_harness.read_stream(run.stdout)
    slices = cli_harness.slices_of(whole)
    event(f"slices: {'some' if slices else 'none'}")
    assume(slices)
    slice_ns = slices[cut % len(slices)][0]
    changed = change(world, may_matter(world, request, slice_ns, whole.known_after_ns))
    tell_of(world, request, changed, slices)
    with built(changed) as request:
        run = cli_harness.sync(request)
    assert run.status == 0, run.lines
    known = cli_harness.read_stream(run.stdout)
    # The zones are those of files with rows; without the last row of one, days may be known
    # earlier.
    assume(known.known_after_ns == whole.known_after_ns)
    assert cli_harness.raw_columns(known, slice_ns) == cli_harness.raw_columns(whole, slice_ns)


@pytest.mark.parametrize("change", [without_the_later, with_others_later])
@given(world=worlds(errors=False) | worlds(errors=False, local=True), cut=st.integers(0, 40))
@examples(150)
def test_a_slice_of_the_reference_depends_on_nothing_later(change: Change, world: World, cut: int) -> None:
    with built(world) as request:
        run = open_reference(request)
    whole = cli_harness.reference_slices(run)
    event(f"slices: {'some' if whole else 'none'}")
    assume(whole)
    number = cut % len(whole)
    slice_ns = whole[number][0]
    changed = change(world, may_matter(world, request, slice_ns, run.known_after_ns))
    tell_of(world, request, changed, whole)
    with built(changed) as request:
        changed_run = open_reference(request)
    assume(changed_run.known_after_ns == run.known_after_ns)
    known = cli_harness.reference_slices(changed_run)
    assert cli_harness.bits(known[: number + 1]) == cli_harness.bits(whole[: number + 1])


def closes(data: Path, backend: str, **options: Any) -> dict[int, list[float | None]]:
    """Return by minute the closes of M1 and M5 candles of A, and the value of its indicator."""
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
    """Write a file of A.

    Rows by their nanoseconds after the first, with one value in all columns.
    """
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
