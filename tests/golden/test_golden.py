"""Every golden case, compared with every backend and every kind of output."""

from __future__ import annotations

from pathlib import Path

import golden_case
import pytest
from golden_case import Answer, Case
from helpers import cli_harness

from omega_slices import Request, open_slices
from omega_slices.errors import ErrorCode, OmegaSlicesError, error_from_report

CASES = golden_case.load_cases()
ANSWERED = [case for case in CASES if not case.expected.startswith("error")]
REFUSED = [case for case in CASES if case.expected.startswith("error")]


def by_name(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def open_slices_text(case: Case, root: Path, backend: str) -> str:
    """Return what `open_slices` answers, in the text form, slice by slice."""
    request = case.build(root)
    try:
        with open_slices(**case.options(root), backend=backend) as stream:
            slices = tuple(cli_harness.public_slice(one, request) for one in stream)
            text = stream.schema.metadata.get(b"known_after_ns")
            known_after_ns = None if text is None else int(text)
            answer = Answer(
                stream.symbols, request.timeframe, request.price_types, slices, stream.report, known_after_ns
            )
    except OmegaSlicesError as error:
        return golden_case.error_text(error, str(root))
    return golden_case.answer_text(answer, str(root))


def stream_text(stream: cli_harness.Stream, run: cli_harness.Run, request: Request, root: Path) -> str:
    """Return what a stream or file of the executable holds, in the text form."""
    cli_harness.check_schema(stream, request)
    slices = cli_harness.slices_of(stream)
    known_after_ns = stream.known_after_ns
    answer = Answer(stream.symbols, request.timeframe, request.price_types, slices, run.report, known_after_ns)
    return golden_case.answer_text(answer, str(root))


@by_name(CASES)
def test_reference(case: Case, tmp_path: Path) -> None:
    assert golden_case.reference_text(case, tmp_path / "data") == case.expected


@pytest.mark.parametrize("backend", ["python", "rust", "shadow"])
@by_name(CASES)
def test_open_slices(case: Case, backend: str, tmp_path: Path) -> None:
    assert open_slices_text(case, tmp_path / "data", backend) == case.expected


@by_name(ANSWERED)
def test_executable_to_stdout(case: Case, tmp_path: Path) -> None:
    request = case.build(tmp_path / "data")
    run = cli_harness.sync(request)
    assert run.status == 0, run.lines
    assert stream_text(cli_harness.read_stream(run.stdout), run, request, tmp_path / "data") == case.expected


@pytest.mark.parametrize("suffix", [".arrow", ".arrows"])
@by_name(ANSWERED)
def test_executable_to_file(case: Case, suffix: str, tmp_path: Path) -> None:
    request = case.build(tmp_path / "data")
    target = tmp_path / f"slices{suffix}"
    run = cli_harness.sync(request, f"-o{target}")
    assert (run.status, run.stdout) == (0, b""), run.lines
    assert stream_text(cli_harness.read_file(target), run, request, tmp_path / "data") == case.expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", target.name]


@by_name(REFUSED)
def test_executable_refuses(case: Case, tmp_path: Path) -> None:
    request = case.build(tmp_path / "data")
    run = cli_harness.sync(request)
    assert run.status == run.error["exit"] == case.exit, run.lines
    assert run.error["name"] == ErrorCode(run.error["code"]).name
    assert golden_case.error_text(error_from_report(run.error), str(tmp_path / "data")) == case.expected
    assert not cli_harness.is_sealed(run.stdout)


@by_name(REFUSED)
def test_executable_leaves_no_file_behind_an_error(case: Case, tmp_path: Path) -> None:
    request = case.build(tmp_path / "data")
    assert cli_harness.sync(request, f"-o{tmp_path / 'slices.arrow'}").status == case.exit
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("backend", ["python", "rust"])
@by_name(REFUSED)
def test_errors_name_what_they_are_about(case: Case, backend: str, tmp_path: Path) -> None:
    case.build(tmp_path / "data")
    with (
        pytest.raises(OmegaSlicesError) as caught,
        open_slices(**case.options(tmp_path / "data"), backend=backend) as stream,
    ):
        list(stream)
    for attribute in ("file", "symbol", "price_type", "row", "column"):
        value = getattr(caught.value, attribute)
        assert value is None or str(value) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("backend", ["python", "rust"])
def test_empty_series_warning_names_the_series(backend: str, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == "session_file_empties_further"]
    root = tmp_path / "data"
    case.build(root)
    with open_slices(**case.options(root), backend=backend) as stream:
        list(stream)
        (warning,) = stream.report.warnings
    assert warning.name == "EMPTY_SERIES"
    assert (warning.file, warning.symbol, warning.price_type) == (None, None, None)
    assert all(text in warning.message for text in ("EURUSD", "D1", "bid"))
    assert "H4" not in warning.message


@pytest.mark.parametrize("backend", ["python", "rust"])
def test_empty_timeline_warning_names_the_series(backend: str, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case.name == "empty_timeline"]
    case.build(tmp_path / "data")
    with open_slices(tmp_path / "data", **case.request, backend=backend) as stream:
        assert list(stream) == []
        (warning,) = stream.report.warnings
    assert "EURUSD" in warning.message
    assert "GBPUSD" in warning.message
