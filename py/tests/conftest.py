"""What the tests of the package share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import leaks
import other_process
import pytest
import wire

from omega_slices._backends import binary as binary_module

_VARIABLES = ("OMEGA_USE_RUST_MULTI_SYMBOL", "OMEGA_DATA_PARQUET_ROOT")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No option comes from the developer's environment, and no test leaves a thread behind."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    assert wire.threads_left() == []


@pytest.fixture(scope="session")
def binary() -> Path:
    """The real executable; a test that needs it fails where it is missing."""
    return binary_module.find_binary()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wire.Fake:
    """A program in the executable's place."""
    folder = tmp_path / "fake"
    folder.mkdir()
    made = wire.make_fake(folder)
    monkeypatch.setenv("OMEGA_SLICES_BINARY", made.path)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A root with two minutes of two symbols, bid and ask."""
    root = tmp_path / "data"
    for offset, symbol in enumerate(("EURUSD", "GBPUSD")):
        for side, add in (("BID", 0.0), ("ASK", 0.25)):
            wire.write_series(
                root,
                symbol,
                side,
                [(minute, 1.5 + offset + add + 0.125 * (minute + offset * minute)) for minute in range(2)],
            )
    return root


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose slices are several batches, and more bytes than lie between two processes; not to be changed."""
    root = tmp_path_factory.mktemp("market")
    other_process.write_market(root)
    return root


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[leaks.Tally]:
    """Counts what a test tried; `scripts/faults` adds it up, from the report that pytest writes."""
    counts = leaks.Tally()
    yield counts
    for name, count in vars(counts).items():
        record_property(name, count)


@pytest.fixture
def slice_file(data: Path, binary: Path, tmp_path: Path) -> Path:
    """A file of the slices of `data`, written by the real executable."""
    path = tmp_path / "slices.arrow"
    command = [str(binary), "sync", f"--data={data}", "--all-symbols", "--timeframe=M1", f"--output={path}"]
    subprocess.run(command, check=True, capture_output=True)
    return path
