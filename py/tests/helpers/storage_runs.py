"""Runs of the executable over objects, and what they say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.buckets import SECRET

DAY_NS = 86_400 * 10**9
START_NS = 1_704_153_600 * 10**9
ALL = ["--all-symbols", "--timeline=union"]
LISTED = ["--symbols=A,B", "--timeline=union"]
CHANGED = "/lake/A/A_M1_BID.parquet"
# Faults are tried again a few times, not for a minute.
SHORT = ["--storage-option=max_retries=3", "--storage-option=read_timeout=1s"]


def write(path: Path, stamps: Any, random: np.random.Generator, **options: Any) -> None:
    columns = {name: random.normal(size=len(stamps)).round(2) for name in ("Open", "High", "Low", "Close", "Volume")}
    times = pa.array(stamps).cast(pa.timestamp("ns", "UTC"))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"UTC time": times, **columns}), path, **options)


def run(binary: Path, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [str(binary), *map(str, arguments), "--error-format=json"]
    return subprocess.run(command, capture_output=True, check=False, timeout=120, env=env)


def sync(binary: Path, data: object, *options: str, env: dict[str, str] | None = None) -> bytes:
    """Return the batches, without the metadata, which name the root."""
    done = run(binary, "sync", f"--data={data}", *options, env=env)
    assert done.returncode == 0, done.stderr.decode()
    return batches(done.stdout)


def batches(stream: bytes) -> bytes:
    read = pa.ipc.open_stream(stream)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, read.schema.remove_metadata()) as out:
        for batch in read:
            out.write_batch(batch.replace_schema_metadata(None))
    return bytes(sink.getvalue().to_pybytes())


def report(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    told = [json.loads(line) for line in done.stderr.splitlines()]
    return next(one for one in told if one["kind"] == "report")


def error(done: subprocess.CompletedProcess[bytes], status: int) -> dict[str, Any]:
    assert done.returncode == status, done.stderr.decode()
    assert SECRET.encode() not in done.stderr + done.stdout
    return next(one for one in map(json.loads, done.stderr.splitlines()) if one["kind"] == "error")


def write_root(root: Path) -> None:
    """Write two symbols, bid and ask, four days of minutes; and the hours above them."""
    random = np.random.default_rng(18)
    for place, symbol in enumerate(("A", "B")):
        for side in ("BID", "ASK"):
            stamps = START_NS + np.arange(0, 4 * DAY_NS, 60 * 10**9)
            kept = stamps[random.random(len(stamps)) > 0.1 + 0.1 * place]
            write(root / symbol / f"{symbol}_M1_{side}.parquet", kept, random)
            write(root / symbol / f"{symbol}_H1_{side}.parquet", stamps[::60], random)
