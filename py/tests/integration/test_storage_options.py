"""Objects from Python: streams, tables, parts and dataframes of a bucket, and options that never show."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers.buckets import SECRET, Buckets
from helpers.candle_files import COLUMNS, DAY_NS, START_NS, write_candles
from helpers.executable import executable
from helpers.object_server import Answer, ObjectServer

from omega_slices import (
    DeserializationError,
    Request,
    RequestError,
    SystemFailureError,
    UnsupportedInputError,
    assert_slices_equal,
    dask,
    list_inputs,
    open_slices,
    precompute,
    read_slices,
)

OPTIONS: dict[str, Any] = {"symbols": ("A", "B"), "timeframe": "M10", "timeline": "union"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two symbols, bid and ask, four days of ten minutes, one of them empty."""
    root = tmp_path_factory.mktemp("root")
    random = np.random.default_rng(8)
    for place, symbol in enumerate(("A", "B")):
        for side in ("BID", "ASK"):
            stamps = START_NS + np.arange(0, 4 * DAY_NS, 600 * 10**9)
            kept = stamps[(random.random(len(stamps)) > 0.2 * place) & (stamps // DAY_NS != START_NS // DAY_NS + 2)]
            columns = {name: random.normal(size=len(kept)) for name in COLUMNS}
            write_candles(root / symbol / f"{symbol}_M10_{side}.parquet", kept, columns)
    return root


@pytest.fixture(scope="module")
def lake(root: Path, buckets: Buckets) -> str:
    """The same in a bucket."""
    return f"{buckets.make('options', root, 'lake/')}/lake"


def request_of(data: str) -> Request:
    return Request(data=data, **OPTIONS)


def table_of(data: object, **options: Any) -> pa.Table:
    with open_slices(str(data), **OPTIONS | options) as slices:
        return slices.to_arrow()


def test_a_stream_of_a_bucket(root: Path, lake: str, buckets: Buckets) -> None:
    ours = table_of(lake, storage_options=buckets.options)
    assert ours.equals(table_of(root))
    found = list_inputs(lake, storage_options=buckets.options, symbols=["A"], timeframe="M10")
    assert [file.path for one in found.series for file in one.files] == [
        f"{lake}/A/A_M10_{side}.parquet" for side in ("BID", "ASK")
    ]


def test_a_table_of_an_object(tmp_path: Path, root: Path, buckets: Buckets) -> None:
    uri = f"{buckets.make('table')}/x.arrow"
    command = ["sync", f"--data={root}", "--symbols=A,B", "--timeframe=M10", "--timeline=union"]
    for target, env in ((tmp_path / "y.arrow", None), (uri, buckets.environment)):
        subprocess.run([executable(), *command, f"--output={target}"], check=True, capture_output=True, env=env)
    table = read_slices(uri, storage_options=buckets.options)
    assert_slices_equal(table, read_slices(tmp_path / "y.arrow"))
    assert table.path == uri
    again = pickle.loads(pickle.dumps(table))
    assert_slices_equal(again, table)
    with pytest.raises(DeserializationError, match="does not exist"):
        read_slices(f"{uri.removesuffix('x.arrow')}z.arrow", storage_options=buckets.options)


def test_parts_from_a_bucket_into_a_bucket(root: Path, lake: str, buckets: Buckets) -> None:
    into = f"{buckets.make('into')}/deep/parts"
    request = request_of(lake)
    whole = table_of(root)
    made = precompute(request, f"{into}/", by="day", storage_options=buckets.options)
    assert made.to_arrow().equals(whole)
    names = buckets.names("into")
    assert len(names) == 5
    with ThreadPoolExecutor(2) as pool:
        again = precompute(request, into, by="day", executor=pool, storage_options=buckets.options)
    assert again.to_arrow().equals(whole)
    assert buckets.names("into") == names
    for place in (into, f"{into}/_slices.json"):
        table = read_slices(place, storage_options=buckets.options)
        assert table.to_arrow().equals(whole)
        assert_slices_equal(pickle.loads(pickle.dumps(table)), made)
    frame = dask.read_slices(into, columns=["bid_close"], storage_options=buckets.options)
    # Parts without slices are no partitions.
    assert frame.npartitions == 3
    closes = frame.compute(scheduler="threads")["bid_close"].to_numpy()
    np.testing.assert_array_equal(closes, whole["bid_close"].to_numpy())
    frame = dask.read_slices(request, by="day", columns=["bid_close"], storage_options=buckets.options)
    closes = frame.compute(scheduler="threads")["bid_close"].to_numpy()
    np.testing.assert_array_equal(closes, whole["bid_close"].to_numpy())
    assert SECRET not in repr(frame.dask) + str(dict(frame.dask))
    other = Request(data=lake, symbols=("A",), timeframe="M10")
    with pytest.raises(RequestError, match="another request"):
        precompute(other, into, by="day", storage_options=buckets.options)
    precompute(other, into, by=1, overwrite=True, storage_options=buckets.options)
    assert len(buckets.names("into")) == 2


def test_a_part_that_was_exchanged_is_noticed(lake: str, buckets: Buckets) -> None:
    into = f"{buckets.make('exchanged')}/parts"
    request = request_of(lake)
    precompute(request, into, by="day", storage_options=buckets.options)
    client = buckets.client()
    listed = json.loads(buckets.read("exchanged", "parts/_slices.json"))
    first, second = (f"parts/{part['file']}" for part in listed["parts"][:2])
    client.copy_object(Bucket="exchanged", Key=second, CopySource={"Bucket": "exchanged", "Key": first})
    table = read_slices(into, storage_options=buckets.options)
    with pytest.raises(DeserializationError, match="another file"):
        table.to_arrow()
    client.delete_object(Bucket="exchanged", Key=second)
    with pytest.raises(DeserializationError, match="does not exist"):
        read_slices(into, storage_options=buckets.options).to_arrow()
    # Run again, it is whole.
    made = precompute(request, into, by="day", storage_options=buckets.options)
    assert made.to_arrow().equals(table_of(lake, storage_options=buckets.options))
    with pytest.raises(DeserializationError, match="without _slices"):
        read_slices(f"{into}/none", storage_options=buckets.options)


@pytest.mark.parametrize("backend", ["python", "shadow"])
def test_the_plain_implementation_reads_no_uri(root: Path, backend: str) -> None:
    with pytest.raises(UnsupportedInputError, match="reads no URI"):
        open_slices("s3://bucket/x", symbols=["A"], backend=backend)
    assert table_of(f"file://{root}", backend=backend).equals(table_of(root))


@pytest.mark.parametrize("options", [{"a": 1}, {1: "a"}, ["a"], "a=b", {"a": "\0"}])
def test_options_are_texts(options: Any) -> None:
    with pytest.raises(RequestError, match="storage_options"):
        open_slices("s3://bucket/x", symbols=["A"], storage_options=options)


def test_unknown_options_are_refused(lake: str) -> None:
    with pytest.raises(RequestError, match="unknown storage option"):
        open_slices(lake, symbols=["A"], storage_options={"no_such": SECRET})


def test_a_secret_shows_nowhere(root: Path, objects: ObjectServer) -> None:
    # Neither in an error, nor in a process list while a run is under way.
    objects.add_folder(root, "b/lake")
    options = {**Buckets(objects.url).options, "max_retries": "0"}
    objects.fault = lambda _method, _path, _before: Answer(status=403, code="AccessDenied")
    with pytest.raises(SystemFailureError, match="denies access") as caught:
        open_slices("s3://b/lake", **OPTIONS, storage_options=options)
    assert SECRET not in repr(caught.value) + str(caught.value.__dict__)
    seen: list[str] = []

    def look(_method: str, _path: str, _before: int) -> None:
        seen.extend(
            path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
        )

    objects.fault = look
    assert table_of("s3://b/lake", storage_options=options).equals(table_of(root))
    assert any("s3://b/lake" in line for line in seen)
    assert not any(SECRET in line for line in seen)


def test_a_killed_reader_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, root: Path, objects: ObjectServer
) -> None:
    objects.add_folder(root, "b/lake")
    objects.fault = lambda _method, _path, _before: Answer(stall_s=5)
    script = (
        "import sys; from omega_slices import open_slices; "
        f"print(len(open_slices('{objects.url}/b/lake', symbols=['A'], timeframe='M10', "
        f"temp_dir={str(tmp_path)!r}).to_arrow()))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 30
        while objects.requests() < 1:
            assert time.monotonic() < end
            time.sleep(0.05)
        process.kill()
    assert list(tmp_path.iterdir()) == []
