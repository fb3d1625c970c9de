"""What goes wrong with objects: a bad day of a bucket, odd names and settings, and secrets.

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

import pytest
from helpers.buckets import SECRET, Buckets
from helpers.object_server import Answer, ObjectServer
from helpers.storage_runs import (
    CHANGED,
    LISTED,
    SHORT,
    batches,
    error,
    report,
    run,
    status_of_signalled,
    sync,
)

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
    minutes: Path, binary: Path, objects: ObjectServer, change: Callable[[ObjectServer], None], tags: str, after: int
) -> None:
    objects.add_folder(minutes, "lake")
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
def test_objects_without_a_version_are_counted(minutes: Path, binary: Path, objects: ObjectServer, tags: str) -> None:
    objects.add_folder(minutes, "lake")
    objects.tags = tags
    done = run(binary, "sync", f"--data={objects.url}/lake", *LISTED)
    assert done.returncode == 0, done.stderr
    assert report(done)["storage"]["unversioned_objects"] == 4


@pytest.mark.parametrize(
    "answer",
    [Answer(status=503, code="SlowDown"), Answer(status=429, code="TooMany"), Answer(status=500), Answer(cut=True)],
)
def test_what_passes_is_tried_again(minutes: Path, binary: Path, objects: ObjectServer, answer: Answer) -> None:
    objects.add_folder(minutes, "lake")
    objects.fault = lambda _method, _path, before: answer if before < 2 else None
    done = run(binary, "sync", f"--data={objects.url}/lake", *LISTED)
    assert done.returncode == 0, done.stderr
    assert batches(done.stdout) == sync(binary, minutes, *LISTED)
    assert report(done)["storage"]["retries"] >= 8


@pytest.mark.parametrize(
    "answer",
    [Answer(status=503, code="SlowDown"), Answer(status=429), Answer(cut=True), Answer(stall_s=30)],
)
def test_what_does_not_pass_ends_in_time(minutes: Path, binary: Path, objects: ObjectServer, answer: Answer) -> None:
    objects.add_folder(minutes, "lake")
    objects.fault = lambda _method, _path, _before: answer
    begun = time.monotonic()
    told = error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, *SHORT), 4)
    assert time.monotonic() - begun < 40
    assert "storage" in told["message"]
    assert told["hint"]


@pytest.mark.parametrize("answer", [Answer(whole=True), Answer(shifted=True)])
@pytest.mark.parametrize("first", [True, False])
def test_another_range_than_the_one_asked_for(
    minutes: Path, binary: Path, objects: ObjectServer, answer: Answer, first: bool
) -> None:
    objects.add_folder(minutes, "lake")
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
    minutes: Path, binary: Path, objects: ObjectServer, status: int, code: str, words: str
) -> None:
    objects.fault = lambda _method, _path, _before: Answer(status=status, code=code)
    env = Buckets(objects.url).environment
    begun = time.monotonic()
    told = error(run(binary, "sync", "--data=s3://b/lake", *LISTED, env=env), 4)
    assert time.monotonic() - begun < 10
    assert words in told["message"]
    # A reader without the right to list may still read.
    objects.add_folder(minutes, "b/lake")
    objects.fault = lambda _method, path, _before: Answer(status=403, code="AccessDenied") if path == "/b" else None
    assert sync(binary, "s3://b/lake", *LISTED, env=env) == sync(binary, minutes, *LISTED)


def test_without_credentials(minutes: Path, binary: Path, objects: ObjectServer) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    options = [f"--storage-option=aws_endpoint_url={objects.url}", "--storage-option=allow_http=true"]
    begun = time.monotonic()
    told = error(run(binary, "sync", "--data=s3://b/lake", *LISTED, *options, env=env), 4)
    assert time.monotonic() - begun < 10
    assert "no credentials" in told["message"]
    objects.add_folder(minutes, "b/lake")
    options.append("--storage-option=skip_signature=true")
    assert sync(binary, "s3://b/lake", *LISTED, *options, env=env) == sync(binary, minutes, *LISTED)


def test_what_is_not_there(binary: Path, buckets: Buckets, minutes: Path) -> None:
    uri, env = buckets.make("absent", minutes, "lake/"), buckets.environment
    told = error(run(binary, "sync", f"--data={uri}/lake", "--symbols=A,BB", env=env), 3)
    assert told["code"] == 3001
    told = error(run(binary, "sync", f"--data={uri}/lake", *LISTED, "--timeframe=M5", env=env), 3)
    assert told["code"] == 3002
    told = error(run(binary, "sync", f"--data={uri}/nowhere", "--all-symbols", env=env), 3)
    assert told["code"] == 3001
    told = error(run(binary, "sync", "--data=s3://no-such-bucket/x", "--all-symbols", env=env), 4)
    assert "bucket does not exist" in told["message"]
    assert error(run(binary, "inspect", f"{uri}/x.arrow", env=env), 3)["code"] == 3006


def test_secrets_are_not_spelled(binary: Path, buckets: Buckets, minutes: Path, tmp_path: Path) -> None:
    uri = buckets.make("secrets", minutes, "lake/")
    env = {name: value for name, value in buckets.environment.items() if name != "AWS_SECRET_ACCESS_KEY"}
    sync_options = ["sync", f"--data={uri}/lake", *LISTED]
    spelled = run(binary, *sync_options, f"--storage-option=aws_secret_access_key={SECRET}", env=env)
    assert "a command line is public" in error(spelled, 2)["message"]
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    expected = sync(binary, minutes, *LISTED)
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


def test_temporary_disk_is_bounded(binary: Path, minutes: Path, objects: ObjectServer) -> None:
    objects.add_folder(minutes, "lake")
    told = error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, "--temp-limit=100kB"), 4)
    assert "temporary disk" in told["message"]


# --- What an attacker found.


def test_a_table_is_noticed_though_a_listing_fails_in_passing(
    minutes: Path, binary: Path, buckets: Buckets, objects: ObjectServer
) -> None:
    uri, env = buckets.make("tables", minutes, "lake/"), buckets.environment
    buckets.client().put_object(Bucket="tables", Key="lake/A/_delta_log/0.json", Body=b"{}")
    told = error(run(binary, "sync", f"--data={uri}/lake", *LISTED, env=env), 3)
    assert told["code"] == 3014
    # A listing that keeps failing is no sign that there is no table.
    objects.add_folder(minutes, "b/lake")
    objects.fault = lambda _method, path, _before: Answer(status=503) if path == "/b" else None
    failing = Buckets(objects.url).environment
    error(run(binary, "sync", "--data=s3://b/lake", *LISTED, *SHORT, env=failing), 4)


def test_a_weak_tag_that_changes_is_a_change(minutes: Path, binary: Path, objects: ObjectServer) -> None:
    objects.add_folder(minutes, "lake")
    objects.tags = "weak"

    def fault(_method: str, path: str, before: int) -> None:
        if path == CHANGED and before == 1:
            # The same size, and the same time.
            replaced(objects)

    objects.fault = fault
    assert error(run(binary, "sync", f"--data={objects.url}/lake", *LISTED, *SHORT), 3)["code"] == 3008


def test_a_mark_of_a_folder_is_no_second_file(minutes: Path, binary: Path, buckets: Buckets) -> None:
    uri, env = buckets.make("marks", minutes, "lake/"), buckets.environment
    buckets.client().put_object(Bucket="marks", Key="lake/A/A_M1_BID.parquet/", Body=b"")
    options = [*LISTED, "--path-template={root}/{symbol}/*_{timeframe}_{SIDE}.parquet", "--duplicates=error"]
    assert sync(binary, f"{uri}/lake", *options, env=env) == sync(binary, minutes, *options)


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
def test_a_password_in_a_target_is_not_repeated(binary: Path, minutes: Path, uri: str) -> None:
    told = error(run(binary, "sync", f"--data={minutes}", *LISTED, f"--output={uri}"), 2)
    assert "hunter2" not in told["message"] + told["hint"]


def test_runs_at_once_into_a_bucket(minutes: Path, binary: Path, buckets: Buckets) -> None:
    into, env = f"{buckets.make('at-once')}/parts", buckets.environment
    command = [str(binary), "precompute", f"--data={minutes}", *LISTED, f"--into={into}", "--by=day"]
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
    assert status_of_signalled([*command, f"--into={uri}/p"], buckets, "ended", signal.SIGINT) != 0
