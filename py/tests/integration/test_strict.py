"""Strict runs: what else is a warning ends them as an error, before they are complete."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import stream_factory

from omega_slices import (
    ConflictingDuplicatesError,
    EmptySeriesError,
    EmptyTimelineError,
    ErrorCode,
    LocalDaysError,
    MultiSymbolSlice,
    OmegaSlicesError,
    TimeframeMismatchError,
    UnsortedInputError,
    open_slices,
)

DAY = 1_440


def unsorted(root: Path) -> dict[str, Any]:
    stream_factory.write_series(root, "A", "BID", [(1, 1.0), (0, 2.0)])
    return {}


def empty_series(root: Path) -> dict[str, Any]:
    stream_factory.write_series(root, "A", "BID", [(0, 1.0), (1, 1.0)])
    stream_factory.write_series(root, "A", "BID", [], timeframe="H1")
    return {"with_timeframe": "H1"}


def empty_timeline(root: Path) -> dict[str, Any]:
    stream_factory.write_series(root, "A", "BID", [(0, 1.0)])
    stream_factory.write_series(root, "B", "BID", [(1, 1.0)])
    return {"symbols": ["A", "B"]}


def conflicting_duplicates(root: Path) -> dict[str, Any]:
    stream_factory.write_series(root, "A", "BID", [(0, 1.0), (0, 2.0), (1, 3.0)])
    return {}


def timeframe_mismatch(root: Path) -> dict[str, Any]:
    stream_factory.write_series(root, "A", "BID", [(5 * number, 1.0) for number in range(40)])
    return {}


def local_days(root: Path) -> dict[str, Any]:
    stream_factory.write_series(root, "A", "BID", [(day * DAY - 60, 1.0) for day in range(5)], timeframe="D1")
    return {"timeframe": "D1", "normalize": True}


CASES = [
    (unsorted, "UNSORTED_INPUT", UnsortedInputError),
    (empty_series, "EMPTY_SERIES", EmptySeriesError),
    (empty_timeline, "EMPTY_TIMELINE", EmptyTimelineError),
    (conflicting_duplicates, "CONFLICTING_DUPLICATES", ConflictingDuplicatesError),
    (timeframe_mismatch, "TIMEFRAME_MISMATCH", TimeframeMismatchError),
    (local_days, "LOCAL_DAYS", LocalDaysError),
]
ASKED: dict[str, Any] = {"symbols": ["A"], "price_types": ["bid"]}


@pytest.mark.parametrize("backend", ["rust", "python", "shadow"])
@pytest.mark.parametrize(("write", "name", "kind"), CASES, ids=[name for _, name, _ in CASES])
def test_a_warning_is_an_error(
    tmp_path: Path, binary: Path, write: Any, name: str, kind: type[OmegaSlicesError], backend: str
) -> None:
    asked = ASKED | write(tmp_path) | {"backend": backend}
    with open_slices(tmp_path, **asked) as slices:
        found = list(slices)
    (warning,) = slices.report.warnings
    assert warning.name == name
    seen: list[MultiSymbolSlice] = []
    with pytest.raises(kind) as caught, open_slices(tmp_path, **asked, strict=True) as slices:
        seen.extend(slices)
    assert seen == found[: len(seen)]
    error = caught.value
    assert error.code is ErrorCode[name]
    assert (error.file, error.symbol, error.price_type) == (warning.file, warning.symbol, warning.price_type)
    assert warning.message in str(error)


@pytest.mark.parametrize(("write", "name", "kind"), CASES, ids=[name for _, name, _ in CASES])
def test_what_a_cached_run_warned_of_is_an_error_too(
    tmp_path: Path, binary: Path, write: Any, name: str, kind: type[OmegaSlicesError]
) -> None:
    asked = ASKED | write(tmp_path) | {"backend": "rust", "cache": tmp_path / "cache"}
    with open_slices(tmp_path, **asked) as slices:
        list(slices)
    assert [warning.name for warning in slices.report.warnings] == [name]
    for _ in range(2):
        with pytest.raises(kind), open_slices(tmp_path, **asked, strict=True) as slices:
            list(slices)
    # It is not part of the key, and the kept run stays.
    with open_slices(tmp_path, **asked) as slices:
        list(slices)
    assert [warning.name for warning in slices.report.warnings] == [name]
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == 1


@pytest.mark.parametrize(("write", "name", "kind"), CASES, ids=[name for _, name, _ in CASES])
def test_the_command_leaves_no_file(
    tmp_path: Path, binary: Path, write: Any, name: str, kind: type[OmegaSlicesError]
) -> None:
    options = ASKED | write(tmp_path)
    path = tmp_path / "x.arrow"
    arguments = [
        *("sync", f"--data={tmp_path}", f"--symbols={','.join(options['symbols'])}", "--price-types=bid", "--strict"),
        *(f"--timeframe={options.get('timeframe', 'M1')}", f"--output={path}", "--error-format=json"),
        *(["--normalize"] if "normalize" in options else []),
        *([f"--with-timeframe={options['with_timeframe']}"] if "with_timeframe" in options else []),
    ]
    done = subprocess.run([binary, *arguments], capture_output=True, check=False)
    *_, error = map(json.loads, done.stderr.splitlines())
    assert (error["kind"], error["name"], error["code"]) == ("error", name, kind.code.value)
    assert done.returncode == error["exit"] == 3
    assert not path.exists()


@pytest.mark.parametrize("backend", ["rust", "python", "shadow"])
def test_a_run_without_a_warning_is_as_ever(data: Path, binary: Path, backend: str) -> None:
    with open_slices(data, backend=backend) as slices:
        expected = list(slices)
    with open_slices(data, backend=backend, strict=True) as slices:
        assert list(slices) == expected
        assert b"strict" not in slices.schema.metadata[b"request"]


@pytest.mark.parametrize("backend", ["rust", "python"])
@pytest.mark.parametrize("chosen", ["first", "last"])
def test_who_has_chosen_a_duplicate_is_not_warned(tmp_path: Path, binary: Path, backend: str, chosen: str) -> None:
    conflicting_duplicates(tmp_path)
    with open_slices(tmp_path, **ASKED, duplicates=chosen, backend=backend, strict=True) as slices:
        assert [one.get_price("A", "bid") for one in slices] == [1.0 if chosen == "first" else 2.0, 3.0]
    (series,) = slices.report.series
    assert (series.duplicates, series.conflicting_duplicates) == (1, 1)


@pytest.mark.parametrize("backend", ["rust", "python"])
def test_equal_rows_are_no_conflict(tmp_path: Path, binary: Path, backend: str) -> None:
    nan = float("nan")
    stream_factory.write_series(tmp_path, "A", "BID", [(0, 1.0), (0, 1.0), (1, nan), (1, nan)])
    for duplicates in (None, "identical"):
        with open_slices(tmp_path, **ASKED, duplicates=duplicates, backend=backend, strict=True) as slices:
            assert len(list(slices)) == 2
        (series,) = slices.report.series
        assert (series.duplicates, series.conflicting_duplicates) == (2, 0)
    stream_factory.write_series(tmp_path, "A", "BID", [(0, 1.0), (0, 1.5)])
    with (
        pytest.raises(OmegaSlicesError) as caught,
        open_slices(tmp_path, **ASKED, duplicates="identical", backend=backend) as slices,
    ):
        list(slices)
    assert (caught.value.code, caught.value.row) == (ErrorCode.DUPLICATE_TIMESTAMP, 1)
