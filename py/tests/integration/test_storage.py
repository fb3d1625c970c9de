"""Objects in buckets and on web servers: the same slices as from the disk, and what goes wrong.

The bucket is one of moto, a real server; faults come from a server of our own.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.buckets import Buckets
from helpers.candle_files import DAY_NS, START_NS
from helpers.object_server import Answer, ObjectServer
from helpers.storage_runs import (
    ALL,
    LISTED,
    SHORT,
    batches,
    error,
    report,
    run,
    status_of_signalled,
    sync,
    write,
)

# --- The same slices.


@pytest.mark.parametrize(
    "options",
    [
        LISTED,
        ALL,
        [*ALL, "--with-timeframe=H1", "--fill=forward", "--max-age=5bars"],
        [*LISTED, "--start=2024-01-03T12:00:00Z", "--end=2024-01-04T00:00:00Z"],
        [*LISTED, "--path-template={root}/{symbol}/*_{timeframe}_{SIDE}.parquet"],
        [*LISTED, "--fields=close", "--duplicates=identical"],
    ],
)
def test_a_bucket_gives_the_slices_of_the_disk(
    minutes: Path, binary: Path, buckets: Buckets, options: list[str], request: pytest.FixtureRequest
) -> None:
    uri = buckets.make(f"same{abs(hash(request.node.name))}", minutes, "deep/lake/")
    assert sync(binary, f"{uri}/deep/lake", *options, env=buckets.environment) == sync(binary, minutes, *options)


@pytest.mark.parametrize("writer", [{"write_page_index": True}, {"row_group_size": 1_500}, {"compression": "zstd"}])
def test_a_window_of_any_layout(tmp_path: Path, binary: Path, objects: ObjectServer, writer: dict[str, Any]) -> None:
    random = np.random.default_rng(3)
    stamps = START_NS + np.arange(0, 180 * DAY_NS, 60 * 10**9)
    for symbol in ("A", "B"):
        for side in ("BID", "ASK"):
            write(
                tmp_path / symbol / f"{symbol}_M1_{side}.parquet",
                stamps,
                random,
                data_page_size=32 << 10,
                use_dictionary=["Open", "Close"] if symbol == "B" else False,
                **writer,
            )
    objects.add_folder(tmp_path, "lake")
    window = ["--start=2024-02-14T00:00:00Z", "--end=2024-02-14T23:59:00Z"]
    done = run(binary, "sync", f"--data={objects.url}/lake", *LISTED, *window)
    assert done.returncode == 0, done.stderr
    assert batches(done.stdout) == sync(binary, tmp_path, *LISTED, *window)
    size = sum(map(len, objects.objects.values()))
    if "compression" not in writer:
        assert report(done)["storage"]["bytes_read"] < size / 10


def test_many_small_files_and_few_large_requests(tmp_path: Path, binary: Path, objects: ObjectServer) -> None:
    random = np.random.default_rng(4)
    for day in range(40):
        stamps = START_NS + day * DAY_NS + np.arange(0, DAY_NS, 60 * 10**9)
        write(tmp_path / f"A_{day:02}.parquet", stamps, random)
    objects.add_folder(tmp_path, "lake")
    listed = {
        "series": [
            {
                "symbol": "A",
                "price_type": "trade",
                "timeframe": "M1",
                "files": [f"{objects.url}/lake/A_{day:02}.parquet" for day in range(40)],
            }
        ]
    }
    (tmp_path / "list.json").write_text(json.dumps(listed))
    options = ["--all-symbols", "--price-types=trade"]
    from_web = run(binary, "sync", f"--inputs={tmp_path / 'list.json'}", *options)
    assert from_web.returncode == 0, from_web.stderr
    template = ["--path-template={root}/{symbol}_*.parquet", "--symbols=A", "--price-types=trade"]
    assert batches(from_web.stdout) == sync(binary, tmp_path, *template)
    # The end of a file, the rest of it, and whether it is still there.
    assert len(objects.asked) <= 3 * 40
    assert all(
        "if-match" in headers
        for method, _, headers in objects.asked
        if method == "GET" and "=-" not in headers["range"]
    )


def test_lists_and_sessions_may_be_objects(tmp_path: Path, minutes: Path, binary: Path, buckets: Buckets) -> None:
    uri = buckets.make("lists", minutes, "lake/")
    client = buckets.client()
    hours = b"open,close\n2024-01-03T09:00:00Z,2024-01-03T17:00:00Z\n"
    client.put_object(Bucket="lists", Key="hours.csv", Body=hours)
    (tmp_path / "hours.csv").write_bytes(hours)
    env = buckets.environment
    local = sync(binary, minutes, *LISTED, f"--session-file={tmp_path / 'hours.csv'}")
    assert sync(binary, f"{uri}/lake", *LISTED, f"--session-file={uri}/hours.csv", env=env) == local
    listed = run(binary, "inputs", f"--data={uri}/lake", *LISTED[:1], env=env)
    assert listed.returncode == 0, listed.stderr
    client.put_object(Bucket="lists", Key="lake/list.json", Body=listed.stdout)
    done = run(binary, "sync", f"--inputs={uri}/lake/list.json", *LISTED, env=env)
    assert batches(done.stdout) == sync(binary, minutes, *LISTED)
    # A list from elsewhere must not choose what is read on this machine.
    for path in ("/etc/passwd", "../secret.parquet", "s3://other/x.parquet", f"{minutes}/A/A_M1_BID.parquet"):
        document = json.loads(listed.stdout)
        document["series"][0]["files"] = [path]
        client.put_object(Bucket="lists", Key="lake/list.json", Body=json.dumps(document).encode())
        told = error(run(binary, "sync", f"--inputs={uri}/lake/list.json", *LISTED, env=env), 3)
        assert told["code"] == 3008, told
        assert "below its own folder" in told["message"]


def test_file_uris_are_paths(tmp_path: Path, minutes: Path, binary: Path) -> None:
    assert sync(binary, f"file://{minutes}", *LISTED) == sync(binary, minutes, *LISTED)
    target = tmp_path / "a b.arrow"
    done = run(binary, "sync", f"--data=file://{minutes}", *LISTED, f"--output=file://{target}")
    assert done.returncode == 0, done.stderr
    assert run(binary, "diff", f"file://{target}", target).returncode == 0


# --- Outputs.


@pytest.mark.parametrize("name", ["x.arrow", "deep/x.arrows"])
def test_an_output_is_an_object(
    tmp_path: Path, minutes: Path, binary: Path, buckets: Buckets, name: str, request: pytest.FixtureRequest
) -> None:
    bucket = f"out{abs(hash(request.node.name))}"
    uri, env = f"{buckets.make(bucket)}/{name}", buckets.environment
    target = tmp_path / Path(name).name
    assert run(binary, "sync", f"--data={minutes}", *LISTED, f"--output={target}").returncode == 0
    done = run(binary, "sync", f"--data={minutes}", *LISTED, f"--output={uri}", env=env)
    assert done.returncode == 0, done.stderr
    assert report(done)["storage"]["bytes_written"] == target.stat().st_size
    assert buckets.read(bucket, name) == target.read_bytes()
    assert run(binary, "diff", uri, target, env=env).returncode == 0
    found = json.loads(run(binary, "inspect", "--json", uri, env=env).stdout)
    assert found == json.loads(run(binary, "inspect", "--json", target).stdout)
    again = run(binary, "sync", f"--data={minutes}", *LISTED, f"--output={uri}", env=env)
    assert "already exists" in error(again, 4)["message"]
    assert run(binary, "sync", f"--data={minutes}", *LISTED, f"--output={uri}", "--force", env=env).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_parts_of_an_upload(
    silent: Path, minutes: Path, binary: Path, buckets: Buckets, number: signal.Signals
) -> None:
    bucket = f"aborted{number}"
    uri = buckets.make(bucket)
    # More than a part of an upload.
    command = [str(binary), "sync", f"--data={silent}", "--all-symbols", "--timeline=union", f"--output={uri}/x.arrow"]
    assert status_of_signalled(command, buckets, bucket, number) == -number
    assert buckets.names(bucket) == []


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (507, "InsufficientStorage")])
def test_a_target_that_cannot_be_written(
    minutes: Path, binary: Path, objects: ObjectServer, status: int, code: str
) -> None:
    objects.fault = lambda method, _path, _before: Answer(status=status, code=code) if method == "PUT" else None
    done = run(
        binary,
        "sync",
        f"--data={minutes}",
        *LISTED,
        "--output=s3://b/x.arrow",
        *SHORT,
        env=Buckets(objects.url).environment,
    )
    told = error(done, 4)
    assert code in told["message"]
    assert objects.objects == {}


# --- Parts.


def test_parts_in_a_bucket(tmp_path: Path, minutes: Path, binary: Path, buckets: Buckets) -> None:
    bucket = "parts"
    uri, env = buckets.make(bucket, minutes, "lake/"), buckets.environment
    precompute = ["precompute", *LISTED, "--by=day", f"--into={uri}/parts/"]
    done = run(binary, *precompute, f"--data={uri}/lake", "--jobs=2", env=env)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole.arrow"
    assert run(binary, "sync", f"--data={minutes}", *LISTED, f"--output={whole}").returncode == 0
    for place in (f"{uri}/parts", f"{uri}/parts/_slices.json"):
        assert run(binary, "diff", whole, place, env=env).returncode == 0
    assert json.loads(run(binary, "inspect", "--json", f"{uri}/parts", env=env).stdout)["parts"] == 4
    client = buckets.client()
    told = json.loads(buckets.read(bucket, "parts/_slices.json"))
    times = {one["Key"]: one["LastModified"] for one in client.list_objects_v2(Bucket=bucket)["Contents"]}
    # What is lost is made again, and nothing else.
    client.delete_object(Bucket=bucket, Key=f"parts/{told['parts'][1]['file']}")
    time.sleep(1.1)
    assert run(binary, *precompute, f"--data={uri}/lake", env=env).returncode == 0
    after = {one["Key"]: one["LastModified"] for one in client.list_objects_v2(Bucket=bucket)["Contents"]}
    changed = {key for key in times if after[key] != times[key]}
    assert changed == {f"parts/{told['parts'][1]['file']}", "parts/_slices.json"}
    # Another part in its place is noticed, and mended.
    first, second = (f"parts/{told['parts'][place]['file']}" for place in (0, 1))
    client.copy_object(Bucket=bucket, Key=second, CopySource={"Bucket": bucket, "Key": first})
    assert error(run(binary, "diff", whole, f"{uri}/parts", env=env), 3)["code"] == 3006
    assert run(binary, *precompute, f"--data={uri}/lake", env=env).returncode == 0
    assert run(binary, "diff", whole, f"{uri}/parts", env=env).returncode == 0
