"""The list of parts: what is wrong with it, or is not what it lists, is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers import whole_runs
from helpers.candle_files import DAY_NS, START_NS
from helpers.whole_runs import list_of

from omega_slices import DeserializationError, Request, assert_slices_equal, precompute, read_slices
from omega_slices.dask import read_slices as read_frame


@pytest.fixture
def parts(days: Request, tmp_path: Path) -> Path:
    precompute(days, tmp_path / "parts", by="day")
    return tmp_path / "parts"


def checksum_of(told: Any) -> str:
    times = ["first_timestamp_ns", "last_timestamp_ns"]
    keys = ["file", "start", "before", "slices", "batches", *times, "bytes", "sha256", "key"]
    lines = [part[key] for part in told["parts"] for key in keys]
    return hashlib.sha256("".join(f"{'' if line is None else line}\n" for line in lines).encode()).hexdigest()


def rewritten(folder: Path, told: Any) -> None:
    """Write another list, with the checksum that it then has."""
    told = told | {"checksum": checksum_of(told)}
    (folder / "_slices.json").write_text(json.dumps(told))


def test_the_checksum_is_over_all_that_it_says_of_the_parts(parts: Path) -> None:
    told = list_of(parts)
    assert [part["first_timestamp_ns"] is None for part in told["parts"]] == [False, True, False, False]
    assert told["checksum"] == checksum_of(told)
    before = read_slices(parts)
    del told["checksum"]
    (parts / "_slices.json").write_text(json.dumps(told))
    assert_slices_equal(read_slices(parts), before)
    for key, value in (("sha256", "0" * 64), ("key", "x"), ("start", "2024-01-01"), ("bytes", 7)):
        changed = list_of(parts) | {"checksum": checksum_of(told)}
        changed["parts"][2][key] = value
        (parts / "_slices.json").write_text(json.dumps(changed))
        with pytest.raises(DeserializationError, match="the list of parts is wrong: "):
            read_slices(parts)


def in_part(number: int, **values: Any) -> Callable[[Any], None]:
    return lambda told: told["parts"][number].update(values)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (in_part(0, file="../root/x.arrow"), "is no plain name"),
        (in_part(0, file=".."), "is no plain name"),
        (in_part(0, file=""), "is no plain name"),
        (in_part(0, file="a\0b"), "holds a NUL"),
        (in_part(2, key="a\0b"), "holds a NUL"),
        (in_part(2, file="\ud800"), "not UTF-8"),
        (in_part(2, slices=-1), "malformed"),
        (in_part(2, slices=10**30), "malformed"),
        (in_part(2, slices=True), "malformed"),
        (in_part(2, bytes=2**63), "malformed"),
        (in_part(2, batches=10**14), "contradicts itself"),
        (in_part(2, slices=0), "contradicts itself"),
        (in_part(1, slices=1, batches=1), "contradicts itself"),
        (in_part(3, slices=2**63 - 1), "more slices"),
        (in_part(2, start="x"), "does not start where"),
        (in_part(2, before="x"), "does not start where"),
        (lambda told: told["parts"].pop(2), "does not start where"),
        (lambda told: told["parts"].append(told["parts"][-1]), "names a file twice"),
        (in_part(3, first_timestamp_ns=0), "not after those before"),
        (in_part(0, first_timestamp_ns=2**62), "not after those before"),
        (lambda told: told.update(parts=[]), "lists no parts"),
        (lambda told: told.update(parts={}), "malformed"),
        (lambda told: told.update(schema_version="2.0.0"), "has version '2.0.0'"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused(parts: Path, change: Callable[[Any], None], match: str) -> None:
    told = list_of(parts)
    change(told)
    try:
        rewritten(parts, told)
    except (TypeError, UnicodeEncodeError):
        (parts / "_slices.json").write_text(json.dumps(told | {"checksum": None}))
    with pytest.raises(DeserializationError, match=match) as caught:
        read_slices(parts)
    assert "the list of parts is wrong" in str(caught.value)
    assert caught.value.code == 3006


@pytest.mark.parametrize("text", [b"", b"nope", b"[]", b"1", b"\xff\xfe{", b"[" * 100_000, b'{"parts":[],"parts":[]}'])
def test_what_is_no_list_is_refused(parts: Path, text: bytes) -> None:
    (parts / "_slices.json").write_bytes(text)
    with pytest.raises(DeserializationError, match="the list of parts is wrong: it is malformed"):
        read_slices(parts)


def test_a_key_that_is_there_twice_is_refused(parts: Path) -> None:
    path = parts / "_slices.json"
    path.write_text(path.read_text().replace('"request"', '"parts":[],"request"', 1))
    with pytest.raises(DeserializationError, match="has a key twice"):
        read_slices(parts)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", ["_slices.json", "part"])
def test_what_is_no_file_is_refused(parts: Path, name: str, make: Callable[[Path], None]) -> None:
    """Without waiting for the writer of a pipe."""
    told = list_of(parts)
    path = parts / (name if name != "part" else told["parts"][1]["file"])
    path.unlink()
    make(path)
    if name == "part":
        told["parts"][1]["bytes"] = path.stat().st_size
        rewritten(parts, told)
    with pytest.raises(DeserializationError, match=r"regular file|pipe or device|folder|directory"):
        read_slices(parts)


@pytest.mark.parametrize("form", ["table", "frame"])
def test_a_part_of_another_request_is_refused(days: Request, parts: Path, tmp_path: Path, form: str) -> None:
    """Of the same shape: other prices, the same times."""
    whole_runs.write_days(tmp_path / "b" / "root")
    other = tmp_path / "other"
    precompute(msgspec.structs.replace(days, data=str(tmp_path / "b" / "root")), other, by="day")
    one, another = (list_of(folder)["parts"][2] for folder in (parts, other))
    table, frame = read_slices(parts), read_frame(parts)
    longer = another["bytes"] - one["bytes"]
    shutil.copy(other / another["file"], parts / one["file"])
    told = list_of(parts)
    told["parts"][2]["bytes"] += longer
    rewritten(parts, told)
    with pytest.raises(DeserializationError, match="another file than there was"):
        read_slices(parts).to_numpy("bid_close") if form == "table" else read_frame(parts).compute(scheduler="sync")
    if not longer:
        with pytest.raises(DeserializationError, match="another file than there was"):
            table.to_numpy("bid_close") if form == "table" else frame.compute(scheduler="sync")


def test_a_part_of_another_window_is_refused(parts: Path) -> None:
    told = list_of(parts)
    told["parts"][1]["before"] = told["parts"][2]["start"] = "2024-01-04T01:00:00.000000000Z"
    rewritten(parts, told)
    with pytest.raises(DeserializationError, match="another file than there was"):
        read_slices(parts).to_numpy("bid_close")


def test_a_list_of_another_request_is_refused(parts: Path) -> None:
    rewritten(parts, list_of(parts) | {"request": {}})
    with pytest.raises(DeserializationError, match="another file than there was"):
        read_slices(parts)


@pytest.mark.parametrize(
    "options",
    [
        {"symbols": None},
        {"end": 2**63 - 1, "start": START_NS + 2 * DAY_NS},
        {"start": 0, "before": 5},
        {"start": 2 * 10**18},
        {"duplicates": "first", "columns": {"close": "Open"}, "zone": "UTC", "symbol_pattern": "[AB]", "symbols": None},
        {"session": "fx", "known_at": "close", "max_age": "2bars", "with_timeframe": ("H4:max-age=1d",)},
        {"session": "NYSE", "fields": ("high", "close"), "with_timeframe": ()},
    ],
)
def test_parts_of_whatever_request_are_those_of_their_list(
    days: Request, tmp_path: Path, options: dict[str, Any]
) -> None:
    request = msgspec.structs.replace(days, **options)
    table = precompute(request, tmp_path / "parts", by=3)
    assert_slices_equal(read_slices(tmp_path / "parts"), table)
    found = table.to_arrow().replace_schema_metadata()
    whole_runs.assert_same_table(found, whole_runs.whole_run(request))
