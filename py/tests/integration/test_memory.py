"""The budget of memory, for every writer and shape: the executable stays within it, or says why not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers.docs import REPOSITORY
from helpers.executable import executable

from omega_slices import open_slices
from omega_slices.errors import RequestError, SystemFailureError

SCRIPTS = REPOSITORY / "scripts"
TARGET = REPOSITORY / "rust" / "target"
SHAPES = {"dense": "0.001", "gappy": "0:0.4", "half": "0.5"}
WRITERS = ("pyarrow", "pyarrow-zstd", "pyarrow-index", "polars", "duckdb", "arrow-rs", "spark")
SYMBOLS = 200
ROWS = 16_000


# A process starts with the peak of the one that started it, so that a small one has to.
LAUNCHER = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


class Ended(NamedTuple):
    """A run of the executable that has ended."""

    status: int
    peak_bytes: int
    digest: str
    report: dict[str, Any]


def sync(root: Path, *options: str) -> Ended:
    """Run the executable, and read all that it writes."""
    command = [str(executable()), "sync", f"--data={root}", "--all-symbols", "--price-types=bid"]
    command += [] if any(option.startswith("--timeline") for option in options) else ["--timeline=union"]
    command += ["--progress=never", "--error-format=json", "--threads=2", *options]
    with tempfile.NamedTemporaryFile("r") as peak:
        command = [sys.executable, "-S", "-c", LAUNCHER, peak.name, *command]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            digest = hashlib.sha256()
            stdout, stderr = process.stdout, process.stderr
            assert stdout is not None
            assert stderr is not None

            def take() -> None:
                while block := stdout.read(1 << 20):
                    digest.update(block)

            reader = threading.Thread(target=take)
            reader.start()
            lines = stderr.read().splitlines()
            reader.join()
        return Ended(process.returncode, 1_024 * int(peak.read()), digest.hexdigest(), json.loads(lines[-1]))


def make(root: Path, writer: str, missing: str) -> None:
    """Write the files of one writer and shape as the benchmark does."""
    if writer in ("arrow-rs", "spark"):
        make(plain := root.with_name(f"{root.name}-plain"), "pyarrow", missing)
        places = [TARGET / profile / "examples" / "rewrite_parquet" for profile in ("release", "debug")]
        built = [place for place in places if os.access(place, os.X_OK)]
        assert built, "rewrite_parquet is not built: run cargo build --example rewrite_parquet in rust/"
        options = ["--snappy"] if writer == "spark" else []
        newest = max(built, key=lambda place: place.stat().st_mtime)
        subprocess.run([newest, *options, plain, root], check=True)
        return
    shape = [f"--symbols={SYMBOLS}", f"--rows={ROWS}", "--price-types=bid", f"--missing={missing}", "--seed=1"]
    command = [sys.executable, str(SCRIPTS / "bench_data.py"), str(root), *shape, f"--writer={writer}"]
    subprocess.run(command, check=True, capture_output=True)


def test_a_sparse_timeline_takes_no_more(tmp_path: Path) -> None:
    """Slices far apart: a plan must not hold all that lies between them."""
    root = tmp_path / "data"
    make(root, "pyarrow", SHAPES["half"])
    # At half of the minutes 100 symbols have a candle; at few of them 120.
    quorum = ("--timeline=quorum:118", "--fill=forward", "--max-age=1d")
    free = sync(root, *quorum)
    assert 0 < free.report["slices"] < ROWS // 100
    run = sync(root, *quorum, "--memory=110MB", f"--temp-dir={tmp_path}")
    assert run.status == 0, run.report
    assert run.digest == free.digest
    assert run.peak_bytes <= 1.1 * 110 * 10**6


@pytest.mark.parametrize("missing", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("writer", WRITERS)
def test_the_budget_holds(writer: str, missing: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    make(root, writer, missing)
    free = sync(root)
    assert free.status == 0, free.report
    assert "temporary_bytes" not in free.report
    spilled = 0
    for megabytes in (110, 140):
        run = sync(root, f"--memory={megabytes}MB", f"--temp-dir={tmp_path}")
        assert run.status == 0, run.report
        assert run.digest == free.digest, megabytes
        assert run.peak_bytes <= 1.1 * megabytes * 10**6, (megabytes, run.peak_bytes)
        spilled += run.report.get("temporary_bytes", 0)
    assert spilled > 0, "both budgets are too large to say anything"


def test_python_hands_the_budget_on(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make(root, "polars", SHAPES["gappy"])
    options: dict[str, Any] = {"price_types": ["bid"], "timeline": "union"}
    with open_slices(root, **options) as slices:
        usual = [one.column("bid_close").tobytes() for one in islice(slices, 2_000)]
    with open_slices(root, **options, memory="120MB", temp_dir=tmp_path) as slices:
        assert [one.column("bid_close").tobytes() for one in islice(slices, 2_000)] == usual
        for _ in slices:
            pass
    assert slices.report.temporary_bytes > 10**6
    assert slices.metrics.temporary_bytes == slices.report.temporary_bytes
    with pytest.raises(SystemFailureError, match="are needed") as refused:
        open_slices(root, **options, memory=10**6)
    assert refused.value.hint == "allow more with memory=, or request fewer symbols, price types or fields"
    with pytest.raises(SystemFailureError, match="temporary disk") as refused:
        open_slices(root, **options, memory="120MB", temp_dir=tmp_path, temp_limit=10**6)
    assert refused.value.hint is not None
    assert "temp_limit=" in refused.value.hint


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"memory": 0}, "memory=0"),
        ({"memory": 1.5}, r"memory=1\.5"),
        ({"memory": "much"}, "memory='much'"),
        ({"memory": "2GBs"}, "memory='2GBs'"),
        ({"temp_dir": ""}, "invalid temp_dir=''"),
        ({"temp_limit": -1}, "temp_limit=-1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=match):
        open_slices(tmp_path, symbols=["A"], **options)
