"""Shadow runs as a user meets them, through `open_slices`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import stream_factory
from helpers.batches import changed
from helpers.docs import docs_page

from omega_slices import (
    BackendUnavailableError,
    DivergenceError,
    RequestError,
    SliceStream,
    open_slices,
)

# --- As a user meets it ---------------------------------------------------------------------


def tampered(fake: stream_factory.Fake, data: Path) -> None:
    """Let the stand-in give the slices of the reference, but for one value."""
    with open_slices(data, backend="python") as slices:
        (batch,) = slices.batches()
        schema = slices.schema
    spoilt = changed(batch, 3, "ask_high", 9.0)
    fake.out(b"".join(stream_factory.encode(schema, [spoilt])))


def test_a_difference_reaches_the_user(fake: stream_factory.Fake, data: Path) -> None:
    tampered(fake, data)
    slices = open_slices(data, backend="shadow")
    assert next(slices).timestamp.minute == 0
    with pytest.raises(DivergenceError) as caught:
        next(slices)
    error = caught.value
    assert (error.symbol, error.column, error.rust) == ("GBPUSD", "ask_high", 9.0)
    for expected in ("2024-01-02T00:01:00Z", "GBPUSD", "ask_high", "9.0", repr(error.python), "backend='python'"):
        assert expected in str(error)
    assert str(error) in docs_page("migration")
    with pytest.raises(DivergenceError):
        next(slices)
    assert slices.metrics.outcome == "failed"
    assert not fake.is_running()


def test_leaving_early(fake: stream_factory.Fake, data: Path) -> None:
    tampered(fake, data)
    with open_slices(data, backend="shadow") as slices:
        next(slices)
    assert not fake.is_running()
    assert slices.metrics.outcome == "closed"


def test_the_variable_switches_it_on(data: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_USE_RUST_MULTI_SYMBOL", "shadow")
    monkeypatch.setenv("OMEGA_SLICES_SHADOW_SAMPLE", "0.5")
    with open_slices(data) as slices:
        assert len(list(slices)) == 2
    assert (slices.metrics.backend, slices.metrics.slices) == ("shadow", 2)


def test_with_a_cache(data: Path, binary: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with open_slices(data, backend="shadow", cache=tmp_path / "cache") as slices:
            assert len(list(slices)) == 2
        assert slices.metrics.compared_slices == 2


@pytest.mark.parametrize("sample", [0, -0.5, 1.5, "half", float("nan"), True, None])
def test_what_is_no_sample(data: Path, sample: Any) -> None:
    if sample in (True, None):  # 1.0, and the default
        with open_slices(data, backend="shadow", shadow_sample=sample) as slices:
            assert len(list(slices)) == 2
        return
    with pytest.raises(RequestError, match="shadow_sample="):
        open_slices(data, backend="shadow", shadow_sample=sample)


def test_a_sample_is_for_shadow_runs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="without backend='shadow'"):
        open_slices(data, shadow_sample=0.5)
    monkeypatch.setenv("OMEGA_SLICES_SHADOW_SAMPLE", "2")
    with pytest.raises(RequestError, match="OMEGA_SLICES_SHADOW_SAMPLE=2"):
        open_slices(data, backend="shadow")


def test_it_never_falls_back(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_SLICES_BINARY", str(tmp_path / "nothing"))
    with pytest.raises(BackendUnavailableError):
        open_slices(data, backend="shadow")


def test_without_slices(tmp_path: Path, binary: Path) -> None:
    stream_factory.write_series(tmp_path, "A", "BID", [(0, 1.0)])
    stream_factory.write_series(tmp_path, "B", "BID", [(1, 1.0)])
    with open_slices(tmp_path, price_types=["bid"], backend="shadow") as slices:
        assert list(slices) == []
    assert slices.report.complete
    assert [warning.name for warning in slices.report.warnings] == ["EMPTY_TIMELINE"]


def test_times_at_the_edge(tmp_path: Path, binary: Path) -> None:
    stamps = pa.array([-(2**63), 0, 2**63 - 1], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    (tmp_path / "A").mkdir()
    values = pa.array([1.0, 2.0, 3.0])
    table = pa.table({"UTC time": stamps} | dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), values))
    pq.write_table(table, tmp_path / "A" / "A_M1_BID.parquet")
    with open_slices(tmp_path, price_types=["bid"], backend="shadow") as slices:
        assert len(list(slices)) == 3


def test_the_stream_says_what_it_is(data: Path, binary: Path) -> None:
    with open_slices(data, backend="shadow") as slices:
        assert isinstance(slices, SliceStream)
        assert slices.peek(2) == list(slices)
