"""Runs of the executable over objects, and what they say."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from helpers.buckets import SECRET, Buckets
from helpers.candle_files import COLUMNS, DAY_NS, START_NS, write_candles

ALL = ["--all-symbols", "--timeline=union"]
LISTED = ["--symbols=A,B", "--timeline=union"]
CHANGED = "/lake/A/A_M1_BID.parquet"
# Faults are tried again a few times, not for a minute.
SHORT = ["--storage-option=max_retries=3", "--storage-option=read_timeout=1s"]


def write(path: Path, stamps: Any, random: np.random.Generator, **options: Any) -> None:
    columns = {name: random.normal(size=len(stamps)).round(2) for name in COLUMNS}
    write_candles(path, stamps, columns, **options)


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


def status_of_signalled(command: list[str], buckets: Buckets, bucket: str, number: signal.Signals) -> int:
    """Send a signal to a command once it uploads to a bucket, and return its exit status.

    No part of an upload is left then.
    """
    client = buckets.client()
    with subprocess.Popen(command, env=buckets.environment, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not client.list_multipart_uploads(Bucket=bucket).get("Uploads"):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        status = process.wait(60)
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    return status


def write_root(root: Path) -> None:
    """Write two symbols, bid and ask, four days of minutes; and the hours above them."""
    random = np.random.default_rng(18)
    for place, symbol in enumerate(("A", "B")):
        for side in ("BID", "ASK"):
            stamps = START_NS + np.arange(0, 4 * DAY_NS, 60 * 10**9)
            kept = stamps[random.random(len(stamps)) > 0.1 + 0.1 * place]
            write(root / symbol / f"{symbol}_M1_{side}.parquet", kept, random)
            write(root / symbol / f"{symbol}_H1_{side}.parquet", stamps[::60], random)
