"""What the tests of the package share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import resource_checks, stream_factory, subprocess_worker, whole_runs
from helpers.buckets import Buckets, serving_buckets
from helpers.docs import docs_blocks
from helpers.executable import executable
from helpers.object_server import ObjectServer, serving
from helpers.page_runs import python, write_sample
from helpers.raw_minutes import write_raw
from helpers.storage_runs import write_root

from omega_slices import Request, precompute

# The engines whose tests run: those of the environment that `scripts/engines` has made.  One that is
# named and missing is an error; without the variable none is tested.
_ENGINES = os.environ.get("OMEGA_SLICES_ENGINES", "").split(",")
collect_ignore = [
    str(path)
    for path in (Path(__file__).parent / "engines").glob("test_*.py")
    if path.stem.removeprefix("test_") not in _ENGINES
]

_VARIABLES = ("OMEGA_USE_RUST_MULTI_SYMBOL", "OMEGA_DATA_PARQUET_ROOT")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No option comes from the developer's environment, and no test leaves a thread behind."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    assert stream_factory.threads_left() == []


@pytest.fixture(scope="session")
def binary() -> Path:
    """The real executable; a test that needs it fails where it is missing."""
    return executable()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stream_factory.Fake:
    """A program in the executable's place."""
    folder = tmp_path / "fake"
    folder.mkdir()
    made = stream_factory.make_fake(folder)
    monkeypatch.setenv("OMEGA_SLICES_BINARY", made.path)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A root with two minutes of two symbols, bid and ask."""
    root = tmp_path / "data"
    for offset, symbol in enumerate(("EURUSD", "GBPUSD")):
        for side, add in (("BID", 0.0), ("ASK", 0.25)):
            stream_factory.write_series(
                root,
                symbol,
                side,
                [(minute, 1.5 + offset + add + 0.125 * (minute + offset * minute)) for minute in range(2)],
            )
    return root


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose slices are several batches, and more bytes than lie between two processes.

    Not to be changed.
    """
    root = tmp_path_factory.mktemp("market")
    subprocess_worker.write_market(root)
    return root


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[resource_checks.Tally]:
    """Counts what a test tried; `scripts/faults` adds it up, from the report that pytest writes."""
    counts = resource_checks.Tally()
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


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of many series that share no timestamp: seconds of reading without a slice."""
    root = tmp_path_factory.mktemp("silent")
    rows = 500_000
    values = np.zeros(rows)
    for side, offset_s in (("BID", 0), ("ASK", 30)):
        stamps = stream_factory.START_NS + offset_s * 10**9 + np.arange(rows, dtype=np.int64) * stream_factory.MINUTE_NS
        columns = dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), values)
        first = root / "S0" / f"S0_M1_{side}.parquet"
        first.parent.mkdir(exist_ok=True)
        pq.write_table(
            pa.table({"UTC time": pa.array(stamps).cast(stream_factory.TIMESTAMP), **columns}),
            first,
            column_encoding={"UTC time": "DELTA_BINARY_PACKED"},
            use_dictionary=list(columns),
        )
        # The same file under many names: it is read as often, and written once.
        for number in range(1, 100):
            path = root / f"S{number}" / f"S{number}_M1_{side}.parquet"
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(first)
    return root


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No process is left behind by a test."""
    before = resource_checks.children()
    yield
    assert resource_checks.until(lambda: resource_checks.children() == before)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Minutes of two symbols, bid and ask, each series with gaps of its own, for engines."""
    root = tmp_path_factory.mktemp("raw")
    write_raw(root)
    return root


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Run the programs of a page, beside the sample data; return what they print."""
    write_sample(tmp_path)
    monkeypatch.setenv("OMEGA_SLICES_BINARY", str(executable()))
    return lambda name: "".join(python(program, tmp_path) for program in docs_blocks(name, "python"))


@pytest.fixture
def project(tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: with the sample data, and with the executable by its name."""
    write_sample(tmp_path)
    names = tmp_path / "bin"
    names.mkdir()
    (names / "omega-slices").symlink_to(binary)
    monkeypatch.setenv("PATH", os.pathsep.join([str(names), str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two symbols, bid and ask, four days of minutes, and the hours above them.

    Not to be changed.
    """
    root = tmp_path_factory.mktemp("minutes")
    write_root(root)
    return root


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """A request of four days, the second of which has no slices.

    Its inputs are not to be changed.
    """
    root = tmp_path_factory.mktemp("days")
    whole_runs.write_days(root)
    return whole_runs.request_of_days(root)


@pytest.fixture(scope="module")
def parts_of_days(days: Request, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The parts of `days` as requests and as files, for systems of parts.

    Processes make them, so they come before the threads of a cluster.
    """
    folder = tmp_path_factory.mktemp("parts")
    precompute(days, folder, by="day")
    return {"request": days.split("day"), "folder": [str(path) for path in whole_runs.files_of(folder)]}


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    """A server of S3, as real as one on this machine is."""
    with serving_buckets() as server:
        yield server


@pytest.fixture
def objects() -> Iterator[ObjectServer]:
    """A server of objects whose faults the test chooses."""
    with serving(ObjectServer()) as server:
        yield server
