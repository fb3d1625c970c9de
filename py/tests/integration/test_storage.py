"""Objects in buckets and on web servers: the same slices as from the disk, and what goes wrong.

The bucket is one of moto, a real server; faults come from a server of our own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.buckets import SECRET, Buckets
from helpers.object_server import Answer, ObjectServer

DAY_NS = 86_400 * 10**9
START_NS = 1_704_153_600 * 10**9
ALL = ["--all-symbols", "--timeline=union"]
LISTED = ["--symbols=A,B", "--timeline=union"]
CHANGED = "/lake/A/A_M1_BID.parquet"
# Faults are tried again a few times, not for a minute.
SHORT = ["--storage-option=max_retries=3", "--storage-option=read_timeout=1s"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two symbols, bid and ask, four days of minutes; and the hours above them."""
    root = tmp_path_factory.mktemp("root")
    random = np.random.default_rng(18)
    for place, symbol in enumerate(("A", "B")):
        for side in ("BID", "ASK"):
            stamps = START_NS + np.arange(0, 4 * DAY_NS, 60 * 10**9)
            kept = stamps[random.random(len(stamps)) > 0.1 + 0.1 * place]
            write(root / symbol / f"{symbol}_M1_{side}.parquet", kept, random)
            write(root / symbol / f"{symbol}_H1_{side}.parquet", stamps[::60], random)
    return root


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
    root: Path, binary: Path, buckets: Buckets, options: list[str], request: pytest.FixtureRequest
) -> None:
    uri = buckets.make(f"same{abs(hash(request.node.name))}", root, "deep/lake/")
    assert sync(binary, f"{uri}/deep/lake", *options, env=buckets.environment) == sync(binary, root, *options)


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


def test_lists_and_sessions_may_be_objects(tmp_path: Path, root: Path, binary: Path, buckets: Buckets) -> None:
    uri = buckets.make("lists", root, "lake/")
    client = buckets.client()
    hours = b"open,close\n2024-01-03T09:00:00Z,2024-01-03T17:00:00Z\n"
    client.put_object(Bucket="lists", Key="hours.csv", Body=hours)
    (tmp_path / "hours.csv").write_bytes(hours)
    env = buckets.environment
    local = sync(binary, root, *LISTED, f"--session-file={tmp_path / 'hours.csv'}")
    assert sync(binary, f"{uri}/lake", *LISTED, f"--session-file={uri}/hours.csv", env=env) == local
    listed = run(binary, "inputs", f"--data={uri}/lake", *LISTED[:1], env=env)
    assert listed.returncode == 0, listed.stderr
    client.put_object(Bucket="lists", Key="lake/list.json", Body=listed.stdout)
    done = run(binary, "sync", f"--inputs={uri}/lake/list.json", *LISTED, env=env)
    assert batches(done.stdout) == sync(binary, root, *LISTED)
    # A list from elsewhere must not choose what is read on this machine.
    for path in ("/etc/passwd", "../secret.parquet", "s3://other/x.parquet", f"{root}/A/A_M1_BID.parquet"):
        document = json.loads(listed.stdout)
        document["series"][0]["files"] = [path]
        client.put_object(Bucket="lists", Key="lake/list.json", Body=json.dumps(document).encode())
        told = error(run(binary, "sync", f"--inputs={uri}/lake/list.json", *LISTED, env=env), 3)
        assert told["code"] == 3008, told
        assert "below its own folder" in told["message"]


def test_file_uris_are_paths(tmp_path: Path, root: Path, binary: Path) -> None:
    assert sync(binary, f"file://{root}", *LISTED) == sync(binary, root, *LISTED)
    target = tmp_path / "a b.arrow"
    done = run(binary, "sync", f"--data=file://{root}", *LISTED, f"--output=file://{target}")
    assert done.returncode == 0, done.stderr
    assert run(binary, "diff", f"file://{target}", target).returncode == 0


# --- Outputs.


@pytest.mark.parametrize("name", ["x.arrow", "deep/x.arrows"])
def test_an_output_is_an_object(
    tmp_path: Path, root: Path, binary: Path, buckets: Buckets, name: str, request: pytest.FixtureRequest
) -> None:
    bucket = f"out{abs(hash(request.node.name))}"
    uri, env = f"{buckets.make(bucket)}/{name}", buckets.environment
    target = tmp_path / Path(name).name
    assert run(binary, "sync", f"--data={root}", *LISTED, f"--output={target}").returncode == 0
    done = run(binary, "sync", f"--data={root}", *LISTED, f"--output={uri}", env=env)
    assert done.returncode == 0, done.stderr
    assert report(done)["storage"]["bytes_written"] == target.stat().st_size
    body = buckets.client().get_object(Bucket=bucket, Key=name)["Body"].read()
    assert body == target.read_bytes()
    assert run(binary, "diff", uri, target, env=env).returncode == 0
    found = json.loads(run(binary, "inspect", "--json", uri, env=env).stdout)
    assert found == json.loads(run(binary, "inspect", "--json", target).stdout)
    again = run(binary, "sync", f"--data={root}", *LISTED, f"--output={uri}", env=env)
    assert "already exists" in error(again, 4)["message"]
    assert run(binary, "sync", f"--data={root}", *LISTED, f"--output={uri}", "--force", env=env).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_parts_of_an_upload(
    silent: Path, root: Path, binary: Path, buckets: Buckets, number: signal.Signals
) -> None:
    bucket = f"aborted{number}"
    uri = buckets.make(bucket)
    # More than a part of an upload.
    command = [str(binary), "sync", f"--data={silent}", "--all-symbols", "--timeline=union", f"--output={uri}/x.arrow"]
    with subprocess.Popen(command, env=buckets.environment, stderr=subprocess.DEVNULL) as process:
        client = buckets.client()
        end = time.monotonic() + 60
        while not client.list_multipart_uploads(Bucket=bucket).get("Uploads"):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == -number
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert buckets.names(bucket) == []


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (507, "InsufficientStorage")])
def test_a_target_that_cannot_be_written(
    root: Path, binary: Path, objects: ObjectServer, status: int, code: str
) -> None:
    objects.fault = lambda method, _path, _before: Answer(status=status, code=code) if method == "PUT" else None
    done = run(
        binary,
        "sync",
        f"--data={root}",
        *LISTED,
        "--output=s3://b/x.arrow",
        *SHORT,
        env=Buckets(objects.url).environment,
    )
    told = error(done, 4)
    assert code in told["message"]
    assert objects.objects == {}


# --- Parts.


def test_parts_in_a_bucket(tmp_path: Path, root: Path, binary: Path, buckets: Buckets) -> None:
    bucket = "parts"
    uri, env = buckets.make(bucket, root, "lake/"), buckets.environment
    precompute = ["precompute", *LISTED, "--by=day", f"--into={uri}/parts/"]
    done = run(binary, *precompute, f"--data={uri}/lake", "--jobs=2", env=env)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole.arrow"
    assert run(binary, "sync", f"--data={root}", *LISTED, f"--output={whole}").returncode == 0
    for place in (f"{uri}/parts", f"{uri}/parts/_slices.json"):
        assert run(binary, "diff", whole, place, env=env).returncode == 0
    assert json.loads(run(binary, "inspect", "--json", f"{uri}/parts", env=env).stdout)["parts"] == 4
    client = buckets.client()
    told = json.loads(client.get_object(Bucket=bucket, Key="parts/_slices.json")["Body"].read())
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


# --- Faults of reading.


def replaced(server: ObjectServer) -> None:
    path = CHANGED
    server.objects[path] = server.objects[path][::-1]


def removed(server: ObjectServer) -> None:
    server.objects.pop(CHANGED)


def longer(server: ObjectServer) -> None:
    path = CHANGED
    server.objects[path] += b"more"


@pytest.mark.parametrize("change", [replaced, removed, longer])
@pytest.mark.parametrize("tags", ["strong", "weak", "none"])
@pytest.mark.parametrize("after", [1, 2])
def test_an_object_that_changes_is_noticed(
    root: Path, binary: Path, objects: ObjectServer, change: Callable[[ObjectServer], None], tags: str, after: int
) -> None:
    objects.add_folder(root, "lake")
    objects.tags = tags

    def fault(_method: str, path: str, before: int) -> None:
        if path == CHANGED and before == after:
            change(objects)
            objects.modified = "Tue, 02 Jan 2024 00:00:00 GMT"

    objects.fault = fault
    told = error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, *SHORT), 3)
    assert told["code"] == 3008
    assert told["file"].endswith(CHANGED)
    assert "changed while it was being read" in told["message"]


@pytest.mark.parametrize("tags", ["weak", "none"])
def test_objects_without_a_version_are_counted(root: Path, binary: Path, objects: ObjectServer, tags: str) -> None:
    objects.add_folder(root, "lake")
    objects.tags = tags
    done = run(binary, "sync", f"--data={objects.url}/lake", *LISTED)
    assert done.returncode == 0, done.stderr
    assert report(done)["storage"]["unversioned_objects"] == 4


@pytest.mark.parametrize(
    "answer",
    [Answer(status=503, code="SlowDown"), Answer(status=429, code="TooMany"), Answer(status=500), Answer(cut=True)],
)
def test_what_passes_is_tried_again(root: Path, binary: Path, objects: ObjectServer, answer: Answer) -> None:
    objects.add_folder(root, "lake")
    objects.fault = lambda _method, _path, before: answer if before < 2 else None
    done = run(binary, "sync", f"--data={objects.url}/lake", *LISTED)
    assert done.returncode == 0, done.stderr
    assert batches(done.stdout) == sync(binary, root, *LISTED)
    assert report(done)["storage"]["retries"] >= 8


@pytest.mark.parametrize(
    "answer",
    [Answer(status=503, code="SlowDown"), Answer(status=429), Answer(cut=True), Answer(stall_s=30)],
)
def test_what_does_not_pass_ends_in_time(root: Path, binary: Path, objects: ObjectServer, answer: Answer) -> None:
    objects.add_folder(root, "lake")
    objects.fault = lambda _method, _path, _before: answer
    begun = time.monotonic()
    told = error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, *SHORT), 4)
    assert time.monotonic() - begun < 40
    assert "storage" in told["message"]
    assert told["hint"]


@pytest.mark.parametrize("answer", [Answer(whole=True), Answer(shifted=True)])
@pytest.mark.parametrize("first", [True, False])
def test_another_range_than_the_one_asked_for(
    root: Path, binary: Path, objects: ObjectServer, answer: Answer, first: bool
) -> None:
    objects.add_folder(root, "lake")
    objects.fault = lambda method, _path, before: answer if method == "GET" and (first or before > 0) else None
    told = error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, *SHORT), 3)
    assert told["code"] == 3008
    assert "not the range" in told["message"]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "denies access"),
        (403, "SignatureDoesNotMatch", "does not accept the credentials"),
        (403, "InvalidAccessKeyId", "does not accept the credentials"),
        (400, "ExpiredToken", "have expired"),
        (404, "NoSuchBucket", "bucket does not exist"),
    ],
)
def test_refusals_are_in_words(
    root: Path, binary: Path, objects: ObjectServer, status: int, code: str, words: str
) -> None:
    objects.fault = lambda _method, _path, _before: Answer(status=status, code=code)
    env = Buckets(objects.url).environment
    begun = time.monotonic()
    told = error(run(binary, "sync", "--data=s3://b/lake", *LISTED, env=env), 4)
    assert time.monotonic() - begun < 10
    assert words in told["message"]
    # A reader without the right to list may still read.
    objects.add_folder(root, "b/lake")
    objects.fault = lambda _method, path, _before: Answer(status=403, code="AccessDenied") if path == "/b" else None
    assert sync(binary, "s3://b/lake", *LISTED, env=env) == sync(binary, root, *LISTED)


def test_without_credentials(root: Path, binary: Path, objects: ObjectServer) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    options = [f"--storage-option=aws_endpoint_url={objects.url}", "--storage-option=allow_http=true"]
    begun = time.monotonic()
    told = error(run(binary, "sync", "--data=s3://b/lake", *LISTED, *options, env=env), 4)
    assert time.monotonic() - begun < 10
    assert "no credentials" in told["message"]
    objects.add_folder(root, "b/lake")
    options.append("--storage-option=skip_signature=true")
    assert sync(binary, "s3://b/lake", *LISTED, *options, env=env) == sync(binary, root, *LISTED)


def test_what_is_not_there(binary: Path, buckets: Buckets, root: Path) -> None:
    uri, env = buckets.make("absent", root, "lake/"), buckets.environment
    told = error(run(binary, "sync", f"--data={uri}/lake", "--symbols=A,BB", env=env), 3)
    assert told["code"] == 3001
    told = error(run(binary, "sync", f"--data={uri}/lake", *LISTED, "--timeframe=M5", env=env), 3)
    assert told["code"] == 3002
    told = error(run(binary, "sync", f"--data={uri}/nowhere", "--all-symbols", env=env), 3)
    assert told["code"] == 3001
    told = error(run(binary, "sync", "--data=s3://no-such-bucket/x", "--all-symbols", env=env), 4)
    assert "bucket does not exist" in told["message"]
    assert error(run(binary, "inspect", f"{uri}/x.arrow", env=env), 3)["code"] == 3006


def test_secrets_are_not_spelled(binary: Path, buckets: Buckets, root: Path, tmp_path: Path) -> None:
    uri = buckets.make("secrets", root, "lake/")
    env = {name: value for name, value in buckets.environment.items() if name != "AWS_SECRET_ACCESS_KEY"}
    sync_options = ["sync", f"--data={uri}/lake", *LISTED]
    spelled = run(binary, *sync_options, f"--storage-option=aws_secret_access_key={SECRET}", env=env)
    assert "a command line is public" in error(spelled, 2)["message"]
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    expected = sync(binary, root, *LISTED)
    by_file = f"--storage-option=aws_secret_access_key=@{tmp_path / 'secret'}"
    by_name = "--storage-option=aws_secret_access_key=env:MINE"
    assert sync(binary, f"{uri}/lake", *LISTED, by_file, env=env) == expected
    assert sync(binary, f"{uri}/lake", *LISTED, by_name, env=env | {"MINE": SECRET}) == expected
    # Neither the stream nor its footer holds any of it.
    target = tmp_path / "x.arrow"
    assert run(binary, *sync_options, by_file, f"--output={target}", env=env).returncode == 0
    assert SECRET.encode() not in target.read_bytes()
    assert b"an-id" not in target.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data=https://user:pass@host/x", "--symbols=A"], "user name or password"),
        (["--data=http://host/x?sig=1", "--symbols=A"], "query"),
        (["--data=http://host/x", "--all-symbols"], "web server"),
        (["--data=s3://", "--symbols=A"], "no bucket"),
        (["--data=s3://b/x", "--symbols=A", "--storage-option=no_such=1"], "unknown storage option"),
        (["--data=s3://b/x", "--symbols=A", "--storage-option=hunter2"], "KEY=VALUE"),
        (["--data=x", "--symbols=A", "--output=https://host/x.arrow"], "only be read"),
        (["--data=x", "--symbols=A", "--output=s3://b/x.csv"], "extension"),
    ],
)
def test_odd_places_are_refused(binary: Path, buckets: Buckets, arguments: list[str], words: str) -> None:
    told = error(run(binary, "sync", *arguments, env=buckets.environment), 2)
    assert words in told["message"]
    assert "pass@" not in json.dumps(told)


def test_temporary_disk_is_bounded(binary: Path, root: Path, objects: ObjectServer) -> None:
    objects.add_folder(root, "lake")
    told = error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, "--temp-limit=100kB"), 4)
    assert "temporary disk" in told["message"]


# --- What an attacker found.


def test_a_table_is_noticed_though_a_listing_fails_in_passing(
    root: Path, binary: Path, buckets: Buckets, objects: ObjectServer
) -> None:
    uri, env = buckets.make("tables", root, "lake/"), buckets.environment
    buckets.client().put_object(Bucket="tables", Key="lake/A/_delta_log/0.json", Body=b"{}")
    told = error(run(binary, "sync", f"--data={uri}/lake", *LISTED, env=env), 3)
    assert told["code"] == 3014
    # A listing that keeps failing is no sign that there is no table.
    objects.add_folder(root, "b/lake")
    objects.fault = lambda _method, path, _before: Answer(status=503) if path == "/b" else None
    failing = Buckets(objects.url).environment
    error(run(binary, "sync", "--data=s3://b/lake", *LISTED, *SHORT, env=failing), 4)


def test_a_weak_tag_that_changes_is_a_change(root: Path, binary: Path, objects: ObjectServer) -> None:
    objects.add_folder(root, "lake")
    objects.tags = "weak"

    def fault(_method: str, path: str, before: int) -> None:
        if path == CHANGED and before == 1:
            # The same size, and the same time.
            replaced(objects)

    objects.fault = fault
    assert error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, *SHORT), 3)["code"] == 3008


def test_a_mark_of_a_folder_is_no_second_file(root: Path, binary: Path, buckets: Buckets) -> None:
    uri, env = buckets.make("marks", root, "lake/"), buckets.environment
    buckets.client().put_object(Bucket="marks", Key="lake/A/A_M1_BID.parquet/", Body=b"")
    options = [*LISTED, "--path-template={root}/{symbol}/*_{timeframe}_{SIDE}.parquet", "--duplicates=error"]
    assert sync(binary, f"{uri}/lake", *options, env=env) == sync(binary, root, *options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
        ("AWS_ENDPOINT_URL", "minio"),
        ("AWS_ACCESS_KEY_ID", "abc\n"),
        ("AWS_SESSION_TOKEN", "\u00e4"),
    ],
)
def test_settings_that_cannot_be_are_named(binary: Path, buckets: Buckets, name: str, value: str) -> None:
    env = buckets.environment | {name: value}
    told = error(run(binary, "sync", "--data=s3://b/x", "--symbols=A", env=env), 4)
    assert name.lower() in told["message"]


@pytest.mark.parametrize("uri", ["s3://b b/lake", "http://{symbol}/x"])
def test_names_of_servers_that_cannot_be(binary: Path, buckets: Buckets, uri: str) -> None:
    done = run(binary, "sync", f"--data={uri}", "--symbols=A", "--price-types=bid", env=buckets.environment)
    assert done.returncode in (2, 4)
    assert b"panicked" not in done.stderr


@pytest.mark.parametrize("uri", ["https://u:hunter2@h/x.arrow", "https://h/x.arrow?sig=hunter2"])
def test_a_password_in_a_target_is_not_repeated(binary: Path, root: Path, uri: str) -> None:
    told = error(run(binary, "sync", f"--data={root}", *LISTED, f"--output={uri}"), 2)
    assert "hunter2" not in told["message"] + told["hint"]


def test_runs_at_once_into_a_bucket(root: Path, binary: Path, buckets: Buckets) -> None:
    into, env = f"{buckets.make('at-once')}/parts", buckets.environment
    command = [str(binary), "precompute", f"--data={root}", *LISTED, f"--into={into}", "--by=day"]
    runs = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE) for _ in range(3)]
    for process in runs:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert len(buckets.names("at-once")) == 5
    compared = run(binary, "inspect", "--json", into, env=env)
    assert json.loads(compared.stdout)["parts"] == 4


def test_a_signal_ends_precompute_without_parts_of_uploads(silent: Path, binary: Path, buckets: Buckets) -> None:
    uri = buckets.make("ended")
    command = [str(binary), "precompute", f"--data={silent}", "--all-symbols", "--timeline=union", "--by=1"]
    with subprocess.Popen([*command, f"--into={uri}/p"], env=buckets.environment, stderr=subprocess.DEVNULL) as process:
        client = buckets.client()
        end = time.monotonic() + 60
        while not client.list_multipart_uploads(Bucket="ended").get("Uploads"):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    assert not client.list_multipart_uploads(Bucket="ended").get("Uploads")
