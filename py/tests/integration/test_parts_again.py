"""Precomputing in a folder that is not empty, beside another run, or while inputs change."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import whole_runs
from helpers.whole_runs import files_of, list_of

from omega_slices import (
    CorruptInputError,
    DeserializationError,
    Request,
    RequestError,
    SystemFailureError,
    list_inputs,
    precompute,
    read_slices,
)


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    """Four days; the second one has no slices."""
    whole_runs.write_days(tmp_path / "root")
    return whole_runs.request_of_days(tmp_path / "root")


class Steps(Executor):
    """Makes one part after another, and does something before each of them, and in the end."""

    def __init__(self, step: Callable[[int], object] = lambda _: None) -> None:
        self.step = step
        self.runs = 0

    def map(self, function: Any, *iterables: Any, **_: Any) -> Iterator[Any]:  # type: ignore[override]  # as it is called
        self.runs += 1
        place = 0
        for place, task in enumerate(iterables[0], start=1):
            self.step(place - 1)
            yield function(task)
        self.step(place)


def made(request: Request, folder: Path, step: Callable[[int], object] = lambda _: None, **options: Any) -> Any:
    return precompute(request, folder, executor=Steps(step), **{"by": "day"} | options)


def assert_whole(request: Request, folder: Path) -> None:
    """Check slices, and that no other file is there."""
    found = read_slices(folder).to_arrow().replace_schema_metadata()
    whole_runs.assert_same_table(found, whole_runs.whole_run(request))
    assert sorted(folder.iterdir()) == sorted([folder / "_slices.json", *files_of(folder)])


def change(request: Request, value: float, symbol: str = "A") -> None:
    """Set all closes of a file to a value."""
    path = Path(request.data or "") / symbol / f"{symbol}_M30_BID.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("Close")
    pq.write_table(table.set_column(place, "Close", pa.array([value] * len(table))), path)


# --- Begun again -----------------------------------------------------------------------------


def flipped(folder: Path, _other: Path) -> None:
    path = files_of(folder)[2]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = b"\x55" * 8
    path.write_bytes(content)


def cut(folder: Path, _other: Path) -> None:
    os.truncate(files_of(folder)[2], 1_000)


def exchanged(folder: Path, _other: Path) -> None:
    files = files_of(folder)
    shutil.copy(files[2], files[0])


def emptied(folder: Path, _other: Path) -> None:
    files = files_of(folder)
    shutil.copy(files[1], files[2])


def of_another(folder: Path, other: Path) -> None:
    """Put the same window of another request there, and of other columns."""
    for place in (0, 2):
        shutil.copy(files_of(other)[place], files_of(folder)[place])


@pytest.mark.parametrize(
    ("damage", "has_list"),
    [
        *((damage, True) for damage in (flipped, cut, exchanged, emptied, of_another)),
        # Without its list, a changed value cannot be told.
        *((damage, False) for damage in (cut, exchanged, emptied, of_another)),
    ],
)
def test_a_part_that_is_another_by_now_is_made_anew(
    request_: Request, tmp_path: Path, damage: Callable[[Path, Path], None], *, has_list: bool
) -> None:
    folder, other = tmp_path / "parts", tmp_path / "other"
    made(request_, folder)
    made(msgspec.structs.replace(request_, fields=("close",)), other)
    before = list_of(folder)
    damage(folder, other)
    if not has_list:
        (folder / "_slices.json").unlink()
    made(request_, folder)
    assert_whole(request_, folder)
    assert list_of(folder) == before


@pytest.mark.parametrize("text", ["garbage", "", "{}", None])
def test_what_is_no_list_needs_leave(request_: Request, tmp_path: Path, text: str | None) -> None:
    folder = tmp_path / "parts"
    made(request_, folder)
    if text is None:  # a list whose checksum is wrong
        text = json.dumps(list_of(folder) | {"checksum": "0" * 64})
    (folder / "_slices.json").write_text(text)
    with pytest.raises(DeserializationError, match="the list of parts is wrong") as caught:
        made(request_, folder)
    assert caught.value.hint == "remove it, or pass overwrite=True, and run precompute again"
    made(request_, folder, overwrite=True)
    assert_whole(request_, folder)


def test_only_parts_are_ever_removed(request_: Request, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    made(request_, folder)
    told = list_of(folder)
    del told["checksum"]
    names = ["important.txt", "A" * 64 + ".arrow", "b" * 63 + ".arrow", "c" * 64 + ".arrow", "d" * 64]
    for name in names:
        (folder / name).write_text("x")
        stamps = {"first_timestamp_ns": None, "last_timestamp_ns": None, "slices": 0, "batches": 0}
        start = told["parts"][-1]["before"]
        told["parts"].append(told["parts"][1] | stamps | {"file": name, "start": start, "before": start})
    (folder / "_slices.json").write_text(json.dumps(told))
    made(request_, folder)
    assert [name for name in names if (folder / name).exists()] == [*names[:3], names[4]]


# --- Inputs that change ----------------------------------------------------------------------


@pytest.mark.parametrize("by_list", [False, True])
@pytest.mark.parametrize("place", [1, 4])
def test_an_input_that_changes_meanwhile_is_an_error(
    request_: Request, tmp_path: Path, place: int, *, by_list: bool
) -> None:
    folder = tmp_path / "parts"
    data, asked = request_.data, request_
    if by_list:
        options: dict[str, Any] = {"timeframe": "M30", "with_timeframe": "H4"}
        (tmp_path / "inputs.json").write_text(list_inputs(data, symbols=request_.symbols, **options).to_json())
        asked = msgspec.structs.replace(request_, data=None, inputs=str(tmp_path / "inputs.json"))
    # Of a list of inputs, the executable says it, whose list holds sizes.
    match = "differs from the list of inputs" if by_list else "changed while they were made"
    with pytest.raises(CorruptInputError, match=match) as caught:
        made(asked, folder, lambda now: change(request_, 7.0) if now == place else None)
    assert caught.value.code == 3008
    assert caught.value.file == str(Path(data or "") / "A" / "A_M30_BID.parquet")
    assert not (folder / "_slices.json").exists()
    if not by_list:
        made(asked, folder)
        assert (read_slices(folder).to_numpy("bid_close")[-1] == 7.0).any()


def test_a_symbol_that_comes_meanwhile_is_an_error(request_: Request, tmp_path: Path) -> None:
    asked = msgspec.structs.replace(request_, symbols=None)

    def add(now: int) -> None:
        if now == 3:
            for path in (tmp_path / "root" / "B").iterdir():
                target = tmp_path / "root" / "C" / path.name.replace("B_", "C_", 1)
                target.parent.mkdir(exist_ok=True)
                shutil.copy(path, target)

    with pytest.raises(CorruptInputError, match="changed while they were made"):
        made(asked, tmp_path / "parts", add)


def test_a_file_of_sessions_that_changes_meanwhile_is_an_error(request_: Request, tmp_path: Path) -> None:
    sessions = tmp_path / "sessions.csv"
    sessions.write_text("open,close\n2024-01-01T00:00:00Z,2025-01-01T00:00:00Z\n")
    asked = msgspec.structs.replace(request_, session_file=str(sessions))

    def shorten(now: int) -> None:
        if now == 2:
            sessions.write_text("open,close\n2024-01-01T00:00:00Z,2024-01-05T00:00:00Z\n")

    with pytest.raises(CorruptInputError, match=r"sessions\.csv"):
        made(asked, tmp_path / "parts", shorten)


# --- Two runs at once ------------------------------------------------------------------------


def test_another_request_that_was_quicker_needs_leave(request_: Request, tmp_path: Path) -> None:
    folder, other = tmp_path / "parts", msgspec.structs.replace(request_, timeline="intersection")
    with pytest.raises(RequestError, match="parts of another request"):
        made(request_, folder, lambda now: made(other, folder) if now == 1 else None)
    found = read_slices(folder).to_arrow().replace_schema_metadata()
    whole_runs.assert_same_table(found, whole_runs.whole_run(other))
    made(request_, folder, overwrite=True)
    assert list_of(folder)["request"]["timeline"] == "union"


def test_parts_that_another_run_removes_are_made_again(request_: Request, tmp_path: Path) -> None:
    """It cuts in another way, so that these are of the former list to it."""
    folder = tmp_path / "parts"
    made(request_, folder, by="week")
    made(request_, folder, lambda now: made(request_, folder) if now == 1 else None, by="week")
    assert len(files_of(folder)) == 1
    assert_whole(request_, folder)


def test_a_run_whose_inputs_are_those_of_before_is_an_error(request_: Request, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    made(request_, folder)

    def newer(now: int) -> None:
        if now == 4:
            change(request_, 3.0)
            made(request_, folder)

    with pytest.raises(CorruptInputError):
        made(request_, folder, newer)
    assert_whole(request_, folder)


def test_parts_that_go_each_time_are_an_error(request_: Request, tmp_path: Path) -> None:
    folder = tmp_path / "parts"

    def remove(_now: int) -> None:
        for path in folder.glob("*.arrow"):
            path.unlink()

    with pytest.raises(SystemFailureError, match="another process removes them"):
        made(request_, folder, remove)
    assert not (folder / "_slices.json").exists()


# --- Arguments -------------------------------------------------------------------------------


def test_links_may_lead_out_where_they_may(request_: Request, tmp_path: Path) -> None:
    """Also of a request without dates, whose range is asked for first."""
    linked = tmp_path / "linked"
    for symbol in ("A", "B"):
        (linked / symbol).mkdir(parents=True)
        for path in (tmp_path / "root" / symbol).iterdir():
            (linked / symbol / path.name).symlink_to(path)
    asked = msgspec.structs.replace(request_, data=str(linked))
    with pytest.raises(Exception, match="link"):
        made(asked, tmp_path / "parts")
    table = made(asked, tmp_path / "parts", follow_links=True)
    found = table.to_arrow().replace_schema_metadata()
    whole_runs.assert_same_table(found, whole_runs.whole_run(request_))


@pytest.mark.parametrize("into", ["", b"", "a\0b", None, 7])
def test_what_is_no_folder(request_: Request, into: Any) -> None:
    with pytest.raises(RequestError, match="invalid into"):
        made(request_, into)
