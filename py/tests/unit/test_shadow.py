"""The backend that runs both implementations and compares them."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from helpers import stream_factory
from helpers.batches import changed
from helpers.series_strategies import worlds
from helpers.worlds import World
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from omega_slices import (
    CorruptInputError,
    DivergenceError,
    ErrorCode,
    OmegaSlicesError,
    Request,
    RunReport,
    RunWarning,
    UnsortedInputError,
    assert_slices_equal,
    open_slices,
)
from omega_slices._backends import shadow
from omega_slices._backends.plain import ReferenceSource
from omega_slices._backends.shadow import ShadowSource
from omega_slices._model.request_parser import make_request

MINUTES = 400


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two symbols with holes in different places, an hourly series, indicators, odd seconds."""
    root = tmp_path_factory.mktemp("shadow")
    for offset, symbol in enumerate(("EURUSD", "GBPUSD")):
        for side in ("BID", "ASK"):
            kept = [minute for minute in range(MINUTES) if minute % (7 + offset)]
            stream_factory.write_series(root, symbol, side, [(minute, 1.0 + offset + minute / 64) for minute in kept])
            stream_factory.write_series(
                root, symbol, side, [(hour * 60, 2.0 + hour) for hour in range(7)], timeframe="H1"
            )
        stream_factory.write_indicators(root, symbol, [(minute, minute / 8) for minute in range(0, MINUTES, 3)], "rsi")
    return root


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many stretches: up to 16 slices of two symbols."""
    monkeypatch.setattr(shadow, "_STRETCH_CANDLES_MAX", 64)


class Batches:
    """A source that gives slices of the reference, spoilt by what is done to each batch."""

    def __init__(
        self, request: Request, size: int, spoil: Callable[[pa.RecordBatch], pa.RecordBatch | None] = lambda one: one
    ) -> None:
        reference = ReferenceSource(request)
        self.schema, self.symbols = reference.schema, reference.symbols
        whole = pa.Table.from_batches(iter(reference.read, None), self.schema)
        self._batches = iter(whole.combine_chunks().to_batches(size * len(self.symbols)))
        self._spoil = spoil
        self.closed = 0

    def read(self) -> pa.RecordBatch | None:
        for batch in self._batches:
            if (spoilt := self._spoil(batch)) is not None and spoilt.num_rows:
                return spoilt
        return None

    def take_warnings(self) -> list[RunWarning]:
        return []

    def report(self) -> RunReport | None:
        return None

    def close(self) -> None:
        self.closed += 1


def request(root: Path, **options: Any) -> Request:
    return make_request(root, **({"symbols": ["EURUSD", "GBPUSD"]} | options))


def of(asked: Request) -> Callable[[tuple[int, int]], ReferenceSource]:
    """Return what opens the reference for a part of a request."""
    return lambda part: ReferenceSource(asked, part=part)


def compare(
    source: Batches,
    reference: Callable[[tuple[int, int]], ReferenceSource],
    asked: Request,
    sample: float,
    compared: Callable[[int], None],
) -> ShadowSource:
    """Compare a source with the reference; the inputs are all files under the root."""
    assert asked.data is not None
    root = Path(asked.data)
    return ShadowSource(source, reference, asked, sample, compared, lambda: map(str, root.rglob("*.parquet")))


def walk(source: ShadowSource) -> tuple[list[int], OmegaSlicesError | None]:
    """Return the timestamps of the slices that come, and the error that ends them."""
    stamps: list[int] = []
    while True:
        try:
            batch = source.read()
        except OmegaSlicesError as error:
            with pytest.raises(type(error)):
                source.read()
            return stamps, error
        if batch is None:
            assert source.read() is None
            return stamps, None
        stamps += batch.column("timestamp").cast(pa.int64()).to_pylist()[:: len(source.symbols)]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"timeline": "union"},
    {"timeline": "union", "fill": "forward", "max_age": "5bars"},
    {"with_timeframe": ["H1"], "indicators": ["rsi"]},
    {"with_timeframe": ["H1:max-age=2h"], "known_at": "close", "timeline": "quorum:1"},
    {"timeline": "union", "normalize": True, "start": "2024-01-02T00:10:30Z", "end": "2024-01-02T03:00:20Z"},
    {"start": "2024-01-02T01:00Z", "end": "2024-01-02T02:00Z", "session": "fx"},
    {"start": "2024-02-01"},
    {"symbols": None},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_real_executable_agrees(root: Path, binary: Path, options: dict[str, Any]) -> None:
    options = {"symbols": ["EURUSD", "GBPUSD"]} | options
    with open_slices(root, **options, backend="shadow") as both, open_slices(root, **options) as alone:
        assert_slices_equal(both, alone)
        assert both.metrics.compared_slices == both.report.slices == alone.report.slices
        assert both.metrics.backend == "shadow"
        assert both.report.series == alone.report.series
        assert both.report.warnings == alone.report.warnings
        assert b"python" not in both.schema.metadata[b"producer"]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_stretches_leave_nothing_out_and_add_nothing(root: Path, options: dict[str, Any], size: int) -> None:
    asked = request(root, **options)
    compared: list[int] = []
    stamps, error = walk(compare(Batches(asked, size), of(asked), asked, 1.0, compared.append))
    assert error is None
    told = ReferenceSource(asked).report()
    assert told is not None
    assert sum(compared) == len(stamps) == told.slices


@given(world=worlds(errors=False), size=st.integers(1, 4))
@settings(
    max_examples=80,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
def test_stretches_of_any_request_join_to_the_whole(world: World, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked = world.build(Path(folder))
        try:
            source = Batches(asked, size)
        except OmegaSlicesError:
            assume(False)
        stamps, error = walk(compare(source, of(asked), asked, 1.0, lambda _: None))
        assert error is None, error
        event(f"{min(len(stamps), 5)} slices")


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    size=st.integers(1, 30),
    column=st.sampled_from(["bid_open", "ask_close", "valid_bid", "bid_timestamp"]),
)
def test_the_first_difference_is_named_and_what_is_before_it_comes(
    root: Path, data: st.DataObject, size: int, column: str
) -> None:
    asked = request(root, timeline="union", fill="forward", max_age="5bars")
    reference = list(iter(ReferenceSource(asked).read, None))
    rows = sum(batch.num_rows for batch in reference)
    at = data.draw(st.integers(0, rows - 1))
    old = pa.Table.from_batches(reference).column(column)[at]
    new: Any
    match column:
        case "valid_bid":
            new = not old.as_py()
        case "bid_timestamp":
            new = old.value - stream_factory.MINUTE_NS
        case _:
            new = float(np.nextafter(old.as_py(), 9.0))
    seen = 0

    def spoil(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal seen
        first, seen = seen, seen + batch.num_rows
        return changed(batch, at - first, column, new) if first <= at < seen else batch

    stamps, error = walk(compare(Batches(asked, size, spoil), of(asked), asked, 1.0, lambda _: None))
    assert isinstance(error, DivergenceError)
    position, symbol = divmod(at, 2)
    assert len(stamps) == position
    assert error.code is ErrorCode.DIVERGENCE
    assert error.symbol == asked.symbols[symbol]  # type: ignore[index]  # given above
    assert error.column == column
    assert (error.rust, error.python) == (new, old.value if column == "bid_timestamp" else old.as_py())
    assert f"slice       {position} " in str(error)
    assert stamps == [] or stamps[-1] < error.timestamp_ns  # type: ignore[operator]  # it is there
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (again.timestamp_ns, again.rust, again.python) == (error.timestamp_ns, error.rust, error.python)


def test_a_candle_that_the_window_cuts_is_cut_in_every_stretch(tmp_path: Path) -> None:
    """If the window moved along with the stretches, later ones would carry its rest."""
    stream_factory.write_series(tmp_path, "A", "BID", [(0, 1.0), (30, 2.0)])
    stream_factory.write_series(tmp_path, "B", "BID", [(minute, 1.0 + minute) for minute in range(1, 31)])
    options: dict[str, Any] = {"normalize": True, "start": "2024-01-02T00:00:30Z", "timeline": "union"}
    asked = request(tmp_path, symbols=["A", "B"], price_types=["bid"], fill="forward", max_age="40bars", **options)
    stamps, error = walk(compare(Batches(asked, 1), of(asked), asked, 1.0, lambda _: None))
    assert error is None, error
    assert len(stamps) == 30


@pytest.mark.parametrize("lacking", [0, 1, 57, -1])
def test_a_slice_that_only_python_has(root: Path, lacking: int) -> None:
    asked = request(root)
    stamps = walk(compare(Batches(asked, 1), of(asked), asked, 1.0, lambda _: None))[0]
    gone = stamps[lacking]

    def spoil(batch: pa.RecordBatch) -> pa.RecordBatch | None:
        return None if batch.column("timestamp")[0].value == gone else batch

    left, error = walk(compare(Batches(asked, 1, spoil), of(asked), asked, 1.0, lambda _: None))
    assert isinstance(error, DivergenceError)
    assert (error.timestamp_ns, error.symbol, error.column) == (gone, None, None)
    assert left == stamps[:lacking]
    assert "rust        no slice" in str(error)


def test_a_slice_that_only_rust_has(root: Path) -> None:
    asked, less = request(root, timeline="union"), request(root)
    _, error = walk(compare(Batches(asked, 7), of(less), less, 1.0, lambda _: None))
    assert isinstance(error, DivergenceError)
    assert "python      no slice" in str(error)


def test_bits_are_compared(tmp_path: Path) -> None:
    stream_factory.write_series(tmp_path, "A", "BID", [(0, 0.0), (1, float("nan"))])
    asked = request(tmp_path, symbols=["A"], price_types=["bid"])
    assert walk(compare(Batches(asked, 1), of(asked), asked, 1.0, lambda _: None))[1] is None

    def spoil(batch: pa.RecordBatch) -> pa.RecordBatch:
        return changed(batch, 0, "bid_close", -batch.column("bid_close")[0].as_py())

    stamps, error = walk(compare(Batches(asked, 1, spoil), of(asked), asked, 1.0, lambda _: None))
    assert isinstance(error, DivergenceError)
    assert (stamps, str(error.rust), str(error.python)) == ([], "-0.0", "0.0")


@pytest.mark.parametrize(("sample", "least", "most"), [(1.0, 1.0, 1.0), (0.5, 0.4, 0.6), (0.1, 0.02, 0.2)])
def test_a_sample_is_spread_evenly(root: Path, sample: float, least: float, most: float) -> None:
    asked = request(root, timeline="union")
    compared: list[int] = []
    stamps, error = walk(compare(Batches(asked, 1), of(asked), asked, sample, compared.append))
    assert error is None
    assert least <= sum(compared) / len(stamps) <= most


@pytest.mark.parametrize("sample", [0.3, 1.0])
def test_a_difference_outside_of_the_sample_passes(root: Path, sample: float) -> None:
    asked = request(root, timeline="union")

    def spoil(batch: pa.RecordBatch) -> pa.RecordBatch:
        return changed(batch, 0, "bid_open", -1.0)

    number = 0

    def second_stretch(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal number
        number += 1
        return spoil(batch) if number == 2 else batch

    stamps, error = walk(compare(Batches(asked, 1, second_stretch), of(asked), asked, sample, lambda _: None))
    assert (error is None) == (sample < 1.0)
    assert len(stamps) == 1 or error is None


def test_an_error_of_rust_is_raised_as_it_is(root: Path) -> None:
    asked = request(root)
    broken = UnsortedInputError("out of order")

    class Failing(Batches):
        left = 20

        def read(self) -> pa.RecordBatch | None:
            self.left -= 1
            if self.left < 0:
                raise broken
            return super().read()

    stamps, error = walk(compare(Failing(asked, 1), of(asked), asked, 1.0, lambda _: None))
    assert error is broken
    assert len(stamps) == 20


def test_an_error_of_python_alone_is_a_difference(root: Path, tmp_path: Path) -> None:
    stream_factory.write_series(tmp_path, "EURUSD", "BID", [(1, 1.0), (0, 1.0)])
    other = request(tmp_path, symbols=["EURUSD"], price_types=["bid"], unsorted="error")
    source = Batches(request(root, symbols=["EURUSD"], price_types=["bid"]), 10)
    stamps, error = walk(compare(source, of(other), other, 1.0, lambda _: None))
    assert isinstance(error, DivergenceError)
    assert "only python fails, with UNSORTED_INPUT" in str(error)
    assert stamps == []


def test_other_symbols_are_a_difference(root: Path, tmp_path: Path) -> None:
    for symbol in ("EURUSD", "GBPUSD", "USDJPY"):
        stream_factory.write_series(tmp_path, symbol, "BID", [(0, 1.0)])
    source = Batches(request(root, symbols=None, price_types=["bid"]), 10)
    other = request(tmp_path, symbols=None, price_types=["bid"])
    _, error = walk(compare(source, of(other), other, 1.0, lambda _: None))
    assert isinstance(error, DivergenceError)
    assert "USDJPY" in str(error)


def test_memory_is_that_of_one_stretch(root: Path) -> None:
    held: list[int] = []

    class Counted(ReferenceSource):
        def __init__(self, request: Request, *, part: tuple[int, int]) -> None:
            super().__init__(request, part=part)
            told = self.report()
            assert told is not None
            held.append(sum(series.candles for series in told.series))

    asked = request(root, timeline="union")
    walk(compare(Batches(asked, 1), lambda part: Counted(asked, part=part), asked, 1.0, lambda _: None))
    assert len(held) > 20
    assert max(held) <= 64


@pytest.mark.parametrize("what", ["session_file", "inputs"])
def test_a_list_or_sessions_that_change_are_no_difference(tmp_path: Path, what: str) -> None:
    stream_factory.write_series(tmp_path, "A", "BID", [(minute, 1.0 + minute) for minute in range(4)])
    watched = tmp_path / "watched"
    watched.write_text("before")
    asked = request(tmp_path, symbols=["A"], price_types=["bid"])
    told = msgspec.structs.replace(
        asked, **({"inputs": str(watched), "data": None} if what == "inputs" else {what: str(watched)})
    )
    other = request(tmp_path, symbols=["A"], price_types=["bid"], start="2024-01-02T00:01")
    source = ShadowSource(Batches(asked, 1), of(other), told, 1.0, lambda _: None, lambda: ())
    watched.write_text("after it was opened")
    _, error = walk(source)
    assert isinstance(error, CorruptInputError)
    assert error.file == str(watched)


def test_another_time_of_knowing_is_a_difference(root: Path) -> None:
    asked = request(root)

    class Later(Batches):
        def __init__(self) -> None:
            super().__init__(asked, 10)
            self.schema = self.schema.with_metadata(self.schema.metadata | {b"known_after_ns": b"86400000000000"})

    stamps, error = walk(compare(Later(), of(asked), asked, 1.0, lambda _: None))
    assert isinstance(error, DivergenceError)
    assert (stamps, error.rust, error.python) == ([], 86_400 * 10**9, None)
    assert "known_after_ns" in str(error)


@pytest.mark.parametrize("change", ["rewritten", "removed", "added"])
def test_an_input_that_changes_is_no_difference(tmp_path: Path, change: str) -> None:
    minutes = [(minute, 1.0 + minute) for minute in range(40)]
    stream_factory.write_series(tmp_path, "A", "BID", minutes)
    path = tmp_path / "A" / "A_M1_BID.parquet"
    template = "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}*.parquet"
    asked = request(tmp_path, symbols=["A"], price_types=["bid"], path_template=template)
    source = compare(Batches(asked, 1), of(asked), asked, 1.0, lambda _: None)
    assert source.read() is not None
    if change == "removed":
        path.unlink()
    elif change == "added":
        added = tmp_path / "new"
        stream_factory.write_series(added, "A", "BID", [(30, 5.0)])
        path = path.with_name("A_M1_BID_2.parquet")
        (added / "A" / "A_M1_BID.parquet").rename(path)
    else:
        stream_factory.write_series(tmp_path, "A", "BID", minutes[::2])
    _, error = walk(source)
    assert isinstance(error, CorruptInputError)
    assert error.file == str(path)
