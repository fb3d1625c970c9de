"""The page on table formats.

Its recipes are run as they stand there, on tables that the real libraries wrote.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from helpers.docs import docs_blocks, docs_page
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import StaticTable, Table

from omega_slices import ErrorCode, OmegaSlicesError, UnsupportedInputError, open_slices

PAGE: Final = docs_page("table-formats")
COMMANDS: Final = docs_blocks("table-formats", "sh")
DELTA, RUN_DELTA, ICEBERG, RUN_ICEBERG = docs_blocks("table-formats", "python")

VALUES: Final = ("open", "high", "low", "close", "volume")
FIRST: Final = datetime(2024, 1, 2, tzinfo=UTC)


def rows(symbol: str, closes: list[float]) -> pa.Table:
    """Return days of a symbol, each of whose values is its close."""
    stamps = pa.array([FIRST + timedelta(days=day) for day in range(len(closes))], pa.timestamp("us", "UTC"))
    return pa.table({"symbol": [symbol] * len(closes), "time": stamps} | dict.fromkeys(VALUES, closes))


WHOLE: Final = pa.concat_tables([rows("AAA", [1.0, 2.0, 3.0]), rows("BRK/B", [4.0, 5.0, 6.0])])
# What the table says after AAA was written anew, and a row of it deleted.
EXPECTED: Final = [
    "2024-01-02 {'AAA': 7.0, 'BRK/B': 4.0}",
    "2024-01-03 {'AAA': None, 'BRK/B': 5.0}",
    "2024-01-04 {'AAA': 9.0, 'BRK/B': 6.0}",
]


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """A Delta table of which much is no longer live."""
    path = tmp_path / "delta" / "days"
    write_deltalake(path, WHOLE, partition_by=["symbol"])
    write_deltalake(path, rows("AAA", [7.0, 8.0, 9.0]), mode="overwrite", predicate="symbol = 'AAA'")
    DeltaTable(path).delete("symbol = 'AAA' AND close = 8.0")
    assert len(list(path.rglob("*.parquet"))) == 4
    return path


@pytest.fixture
def iceberg(tmp_path: Path) -> Iterator[Table]:
    """An Iceberg table of which much is no longer live."""
    folder = tmp_path / "iceberg"
    folder.mkdir()
    with closing(SqlCatalog("test", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")) as catalog:
        catalog.create_namespace("market")
        table = catalog.create_table("market.days", schema=WHOLE.schema, location=f"file://{folder}/days")
        with table.update_spec() as spec:
            spec.add_identity("symbol")
        table.append(WHOLE)
        table.overwrite(rows("AAA", [7.0, 8.0, 9.0]), overwrite_filter="symbol == 'AAA'")
        table.delete("symbol == 'AAA' and close == 8.0")
        assert len(list(folder.rglob("*.parquet"))) == 4
        yield table


def recipe(block: str, name: str) -> Callable[..., str]:
    """Return the function that a block of the page defines."""
    defined: dict[str, Any] = {}
    exec(block, defined)
    made = defined[name]
    assert callable(made)
    return made  # type: ignore[no-any-return]  # the page gives its type, mypy cannot read it


def run(folder: Path, *blocks: str) -> list[str]:
    """Run blocks of the page in a process and a folder of their own; return what they print."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_delta_table_gives_what_it_says(delta: Path, binary: Path, tmp_path: Path) -> None:
    assert run(tmp_path, DELTA, RUN_DELTA) == EXPECTED
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "omega-slices").symlink_to(binary)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    (command,) = (one for one in COMMANDS if "omega-slices sync" in one)
    subprocess.run(["sh", "-e", "-c", command], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True)
    assert (tmp_path / "delta.arrow").is_file()
    live = DeltaTable(delta).to_pyarrow_table().sort_by([("time", "ascending"), ("symbol", "ascending")])
    assert live.column("close").to_pylist() == [7.0, 4.0, 5.0, 9.0, 6.0]


def test_an_iceberg_table_gives_what_it_says(iceberg: Table, binary: Path, tmp_path: Path) -> None:
    assert run(tmp_path, ICEBERG, RUN_ICEBERG) == EXPECTED
    live = iceberg.scan().to_arrow().sort_by([("time", "ascending"), ("symbol", "ascending")])
    assert live.column("close").to_pylist() == [7.0, 4.0, 5.0, 9.0, 6.0]


@pytest.mark.parametrize("backend", ["rust", "python"])
def test_the_folders_themselves_are_refused(
    delta: Path, iceberg: Table, binary: Path, tmp_path: Path, backend: str
) -> None:
    asked: dict[str, Any] = {"timeframe": "D1", "price_types": ["trade"], "symbols": ["AAA"], "backend": backend}
    for template in ("{root}/symbol={symbol}/*.parquet", "{root}/data/symbol={symbol}/*.parquet"):
        root = iceberg.location().removeprefix("file://") if "data" in template else delta
        with pytest.raises(UnsupportedInputError) as caught:
            open_slices(root, path_template=template, **asked)
        assert "inputs" in str(caught.value.hint)
        assert ("Iceberg" if "data" in template else "Delta") in caught.value.message


def test_deletion_vectors_are_refused(delta: Path) -> None:
    """By hand, in the form of the protocol: the library does not write them."""
    log = delta / "_delta_log"
    actions = [json.loads(line) for path in sorted(log.glob("*.json")) for line in path.read_text().splitlines()]
    add = next(action["add"] for action in actions if "BRK" in action.get("add", {}).get("path", ""))
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    vector = {"storageType": "u", "pathOrInlineDv": "vBn[lx{q8@P<9BNH/isA", "offset": 1, "sizeInBytes": 36}
    commit = [
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7} | features},
        {"remove": {key: add[key] for key in ("path", "partitionValues", "size")} | {"dataChange": True}},
        {"add": add | {"deletionVector": vector | {"cardinality": 1}}},
    ]
    (log / f"{len(list(log.glob('*.json'))):020}.json").write_text("\n".join(map(json.dumps, commit)))
    with pytest.raises(ValueError, match="deletionVectors"):
        recipe(DELTA, "delta_inputs")(str(delta), "D1", "trade")


def test_other_delta_tables_are_refused(tmp_path: Path) -> None:
    make = recipe(DELTA, "delta_inputs")
    write_deltalake(tmp_path / "plain", WHOLE)
    with pytest.raises(ValueError, match="not partitioned by symbol"):
        make(str(tmp_path / "plain"), "D1", "trade")
    write_deltalake(tmp_path / "mapped", rows("A", [1.0]), partition_by=["symbol"])
    log = tmp_path / "mapped" / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "protocol" in line:
            line["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
        if "metaData" in line:
            schema = json.loads(line["metaData"]["schemaString"])
            for number, field in enumerate(schema["fields"]):
                name = {"delta.columnMapping.physicalName": field["name"], "delta.columnMapping.id": number}
                field["metadata"] = name
            line["metaData"]["schemaString"] = json.dumps(schema)
            line["metaData"]["configuration"] = {"delta.columnMapping.mode": "name"}
    log.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ValueError, match="column mapping"):
        make(str(tmp_path / "mapped"), "D1", "trade")


def test_naive_timestamps_of_a_delta_table_are_taken(tmp_path: Path) -> None:
    naive = WHOLE.set_column(1, "time", WHOLE.column("time").cast(pa.timestamp("us")))
    write_deltalake(tmp_path / "naive", naive, partition_by=["symbol"])
    listed = json.loads(recipe(DELTA, "delta_inputs")(str(tmp_path / "naive"), "D1", "trade"))
    assert [one["symbol"] for one in listed["series"]] == ["AAA", "BRK/B"]
    assert all(Path(file["path"]).stat().st_size == file["size"] for one in listed["series"] for file in one["files"])


class Deletes(ManifestWriterV2):
    """Writes a list of delete files, which the library only reads."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES


def test_delete_files_are_refused(iceberg: Table) -> None:
    io, spec = iceberg.io, iceberg.spec()
    before = iceberg.current_snapshot()
    assert before is not None
    file = next(iter(iceberg.scan().plan_files())).file
    location = iceberg.location()
    number = before.snapshot_id + 1
    path = f"{location}/data/deletes.parquet".removeprefix("file://")
    pq.write_table(pa.table({"file_path": [file.file_path], "pos": pa.array([0], pa.int64())}), path)
    deletes = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=f"file://{path}",
        file_format=FileFormat.PARQUET,
        partition=file.partition,
        record_count=1,
        file_size_in_bytes=os.path.getsize(path),
    )
    deletes.spec_id = file.spec_id
    manifest = io.new_output(f"{location}/metadata/deletes.avro")
    with Deletes(spec, iceberg.schema(), manifest, number, "deflate") as writer:
        entry = ManifestEntry.from_args(
            status=ManifestEntryStatus.ADDED,
            snapshot_id=number,
            sequence_number=None,
            file_sequence_number=None,
            data_file=deletes,
        )
        writer.add_entry(entry)
    listing = f"{location}/metadata/list.avro"
    sequence = (before.sequence_number or 0) + 1
    with write_manifest_list(2, io.new_output(listing), number, before.snapshot_id, sequence, "deflate") as manifests:
        manifests.add_manifests([*before.manifests(io), writer.to_manifest_file()])
    told = json.loads(Path(iceberg.metadata_location.removeprefix("file://")).read_text())
    snapshot = {"snapshot-id": number, "sequence-number": sequence, "manifest-list": listing}
    told["snapshots"].append(told["snapshots"][-1] | snapshot)
    told |= {"current-snapshot-id": number, "last-sequence-number": sequence}
    told["refs"]["main"]["snapshot-id"] = number
    latest = Path(f"{location}/metadata/99999-x.metadata.json".removeprefix("file://"))
    latest.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="a delete file takes away"):
        recipe(ICEBERG, "iceberg_inputs")(StaticTable.from_metadata(str(latest)), "D1", "trade")


def test_other_iceberg_tables_are_refused(iceberg: Table, tmp_path: Path) -> None:
    make = recipe(ICEBERG, "iceberg_inputs")
    make(iceberg, "D1", "trade")
    with iceberg.update_schema() as change:
        change.rename_column("close", "last")
    with pytest.raises(ValueError, match="has changed its columns"):
        make(iceberg, "D1", "trade")
    with closing(SqlCatalog("other", uri="sqlite:///:memory:", warehouse=f"file://{tmp_path}/other")) as catalog:
        catalog.create_namespace("market")
        plain = catalog.create_table("market.plain", schema=WHOLE.schema)
        plain.append(WHOLE)
        with pytest.raises(ValueError, match="not partitioned by symbol"):
            make(plain, "D1", "trade")


@pytest.mark.parametrize("backend", ["rust", "python"])
def test_a_list_of_a_table_that_has_changed(delta: Path, binary: Path, tmp_path: Path, backend: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(recipe(DELTA, "delta_inputs")(str(delta), "D1", "trade"))
    DeltaTable(delta).delete("symbol = 'AAA' AND close = 9.0")
    DeltaTable(delta).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    columns = {name: name for name in VALUES} | {"timestamp": "time"}
    with pytest.raises(OmegaSlicesError) as caught:
        open_slices(inputs=path, timeframe="D1", price_types=["trade"], columns=columns, backend=backend)
    assert caught.value.code is ErrorCode.CORRUPT_INPUT
