"""The choice of the backend, the search for the executable, and what it is told."""

from __future__ import annotations

import json
import sys
import sysconfig
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import stream_factory
from helpers.stream_factory import write_series

from omega_slices import BackendUnavailableError, ErrorCode, OmegaSlicesError, RequestError, SliceStream, open_slices
from omega_slices._backends import binary as binary_module
from omega_slices._backends.arguments import sync_arguments
from omega_slices._model.options import ExecutionOptions, Permissions
from omega_slices._model.request_parser import make_request

PYTHON = "omega-slices-python/"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """An environment without an executable; the folders that are searched."""
    scripts, user, package = (tmp_path / name for name in ("scripts", "user", "site/omega_slices/_backends"))
    monkeypatch.delenv("OMEGA_SLICES_BINARY", raising=False)

    def get_path(name: str, scheme: str = "") -> str:
        assert name == "scripts"
        return str(user if scheme else scripts)

    monkeypatch.setattr(sysconfig, "get_path", get_path)
    monkeypatch.setattr(binary_module, "__file__", str(package / "binary.py"))
    folders = [package.parents[1] / "bin", scripts, user]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


def producer(slices: SliceStream) -> str:
    told: bytes = slices.schema.metadata[b"producer"]
    return told.decode()


def two(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema(["EURUSD", "GBPUSD"])
    fake.out(b"".join(stream_factory.encode(schema, [stream_factory.batch(schema, 0, 2)])))


@pytest.mark.parametrize(
    ("argument", "variable", "chosen"),
    [
        (None, None, "rust"),
        ("auto", None, "rust"),
        ("rust", None, "rust"),
        ("python", None, "python"),
        (None, "auto", "rust"),
        (None, "", "rust"),
        (None, "true", "rust"),
        (None, "1", "rust"),
        (None, "false", "python"),
        (None, "0", "python"),
        ("python", "1", "python"),
        ("rust", "0", "rust"),
        ("rust", "nonsense", "rust"),
    ],
)
def test_the_choice(
    fake: stream_factory.Fake,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    argument: str | None,
    variable: str | None,
    chosen: str,
) -> None:
    two(fake)
    if variable is not None:
        monkeypatch.setenv("OMEGA_USE_RUST_MULTI_SYMBOL", variable)
    with open_slices(data, backend=argument) as slices:
        assert producer(slices).startswith(PYTHON) == (chosen == "python")
        assert len(list(slices)) == 2


@pytest.mark.parametrize("variable", ["yes", "True", "2", " 1", "rust", "python", "Shadow"])
def test_what_the_variable_may_not_say(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("OMEGA_USE_RUST_MULTI_SYMBOL", variable)
    with pytest.raises(RequestError, match="OMEGA_USE_RUST_MULTI_SYMBOL"):
        open_slices(symbols=["A"])


@pytest.mark.parametrize("backend", ["Shadow", "Rust", "", True])
def test_what_is_no_backend(backend: Any) -> None:
    with pytest.raises(RequestError, match="backend="):
        open_slices(symbols=["A"], backend=backend)


def test_the_order_of_the_places(nowhere: list[Path]) -> None:
    for folder in reversed(nowhere):
        program = folder / "omega-slices"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o644)
        if folder is not nowhere[-1]:
            assert binary_module.find_binary().parent != folder, "a file that cannot be run is not taken"
        program.chmod(0o755)
        assert binary_module.find_binary() == program


def test_a_folder_is_no_executable(nowhere: list[Path]) -> None:
    (nowhere[0] / "omega-slices").mkdir()
    with pytest.raises(BackendUnavailableError):
        binary_module.find_binary()


def test_the_search_path_of_the_shell_is_not_searched(
    nowhere: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "omega-slices"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendUnavailableError):
        binary_module.find_binary()


def test_not_found_lists_every_place(nowhere: list[Path]) -> None:
    with pytest.raises(BackendUnavailableError) as caught:
        open_slices(symbols=["A"], backend="rust")
    assert caught.value.code is ErrorCode.BACKEND_UNAVAILABLE
    for folder in nowhere:
        assert str(folder / "omega-slices") in str(caught.value)
    assert "OMEGA_SLICES_BINARY" in str(caught.value)


def test_auto_falls_back_with_a_warning(nowhere: list[Path], data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(UserWarning, match="plain Python implementation, which is slow") as warned:
        slices = open_slices(data)
    with slices:
        assert producer(slices).startswith(PYTHON)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("omega_slices", "WARNING")
    assert str(nowhere[0]) in record.message
    (warning,) = warned
    assert (str(warning.message), warning.filename) == (record.message, __file__)
    assert "pip install" in record.message
    assert "OMEGA_SLICES_BINARY" in record.message


def test_asking_for_the_plain_implementation_warns_of_nothing(nowhere: list[Path], data: Path) -> None:
    # Warnings are errors here.
    with open_slices(data, backend="python") as slices:
        assert producer(slices).startswith(PYTHON)


@pytest.mark.parametrize("backend", ["auto", "rust"])
@pytest.mark.parametrize("kind", ["missing", "folder", "plain"])
def test_a_named_executable_is_the_only_one(
    nowhere: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, kind: str
) -> None:
    shipped = nowhere[0] / "omega-slices"
    shipped.write_text("#!/bin/sh\n")
    shipped.chmod(0o755)
    named = tmp_path / "named"
    if kind == "folder":
        named.mkdir()
    elif kind == "plain":
        named.write_text("text")
    monkeypatch.setenv("OMEGA_SLICES_BINARY", str(named))
    with pytest.raises(BackendUnavailableError, match="OMEGA_SLICES_BINARY names") as caught:
        open_slices(symbols=["A"], backend=backend)
    assert caught.value.file == str(named)


def test_a_named_executable_may_be_relative(
    fake: stream_factory.Fake, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(fake)
    monkeypatch.chdir(fake.folder)
    monkeypatch.setenv("OMEGA_SLICES_BINARY", "omega-slices")
    with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
        assert len(list(slices)) == 2
    assert fake.stdin == ""


def test_a_failure_in_mid_run_is_not_papered_over(fake: stream_factory.Fake, data: Path) -> None:
    fake.exit(7)
    with pytest.raises(OmegaSlicesError, match="exit status 7"):
        open_slices(data, symbols=["EURUSD"])


def test_an_executable_of_another_release(fake: stream_factory.Fake, data: Path) -> None:
    """It knows other options."""
    told = {
        "kind": "error",
        "code": 2,
        "name": "USAGE",
        "message": "unexpected argument '--heartbeat' found",
        "hint": None,
    }
    fake.err(json.dumps(told)).exit(2)
    with pytest.raises(BackendUnavailableError, match="same release") as caught:
        open_slices(data, symbols=["EURUSD"])
    assert caught.value.file == fake.path
    assert "--heartbeat" in caught.value.message


def test_hints_of_the_executable_name_arguments(fake: stream_factory.Fake, data: Path) -> None:
    told = {
        "kind": "error",
        "code": 3001,
        "message": "a link leads out",
        "hint": "allow links with --follow-links, or set --max-age",
        "hint_parts": [
            "allow links with ",
            {"setting": "follow_links", "value": None, "switch": True},
            ", or set ",
            {"setting": "max_age", "value": None, "switch": False},
        ],
    }
    fake.err(json.dumps(told)).exit(3)
    with pytest.raises(OmegaSlicesError) as caught:
        open_slices(data, symbols=["EURUSD"])
    assert caught.value.hint == "allow links with follow_links=True, or set max_age="


def test_the_default_root(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_DATA_PARQUET_ROOT", str(data))
    with open_slices(backend="python") as slices:
        assert len(list(slices)) == 2
    monkeypatch.delenv("OMEGA_DATA_PARQUET_ROOT")
    (tmp_path / "data").rename(tmp_path / "parquet")
    (tmp_path / "data").mkdir()
    (tmp_path / "parquet").rename(tmp_path / "data" / "parquet")
    monkeypatch.chdir(tmp_path)
    with open_slices(backend="python") as slices:
        assert len(list(slices)) == 2


def test_what_the_executable_is_told(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema(["-A", "B"], price_types=["bid", "trade"], timeframe="H1")
    fake.out(b"".join(stream_factory.encode(schema, [])))
    with open_slices(
        "-root",
        symbols=["-A", "B"],
        timeframe="H1",
        price_types=["trade", "bid"],
        start=1,
        end="2024-01-02",
        timeline="union",
        session="fx",
        normalize=True,
        unsorted="error",
        duplicates="first",
        path_template="{root}/{symbol}/{SIDE}*",
        columns={"timestamp": "ts", "open": "o=p"},
        session_file=None,
        known_at="close",
        threads=3,
    ) as slices:
        assert list(slices) == []
    assert sorted(fake.arguments) == sorted(
        [
            "sync",
            "--data=-root",
            "--symbols=-A,B",
            "--timeframe=H1",
            "--price-types=bid,trade",
            "--start=1970-01-01T00:00:00.000000001Z",
            "--end=2024-01-02T00:00:00.000000000Z",
            "--timeline=union",
            "--session=fx",
            "--normalize",
            "--unsorted=error",
            "--duplicates=first",
            "--path-template={root}/{symbol}/{SIDE}*",
            "--columns=open=o=p,timestamp=ts",
            "--known-at=close",
            "--threads=3",
            "--error-format=json",
            "--heartbeat=5",
            "--progress=never",
        ]
    )


def told(**options: Any) -> list[str]:
    """Return what the executable is told beyond the defaults."""
    plain = sync_arguments(make_request("root"))
    return [one for one in sync_arguments(make_request("root", **options)) if one not in plain]


def test_each_option_is_told() -> None:
    assert told(fill="forward", max_age="5bars") == ["--fill=forward", "--max-age=5bars"]
    assert told(fill="forward", max_age=timedelta(hours=1)) == ["--fill=forward", "--max-age=3600s"]
    assert told(with_timeframe="H1") == ["--with-timeframe=H1"]
    assert told(with_timeframe=["D1:max-age=3d", "H1"]) == ["--with-timeframe=D1:max-age=3d", "--with-timeframe=H1"]
    assert told(known_at="close") == ["--known-at=close"]
    assert told(session_file="-s.csv") == ["--session-file=-s.csv"]
    assert told(indicators=["rsi 14", "-x"]) == ["--indicators=rsi 14,-x"]
    assert told(indicators=["x"], indicator_template="{symbol}*") == [
        "--indicators=x",
        "--indicator-template={symbol}*",
    ]
    assert told(timeline="leader:A") == ["--timeline=leader:A"]
    assert told(timeline="quorum:2") == ["--timeline=quorum:2"]
    assert told(session="NYSE") == ["--session-file=/dev/stdin", "--session-name=NYSE"]
    for duplicates in ("last", "first", "identical", "error"):
        assert told(duplicates=duplicates) == [f"--duplicates={duplicates}"]
    assert told(timeframe="4h", with_timeframe="1d:max-age=2d") == ["--timeframe=H4", "--with-timeframe=D1:max-age=2d"]
    assert told(symbol_pattern="-[A-Z]+", one_instrument=True) == ["--one-instrument", "--symbol-pattern=-[A-Z]+"]
    assert told(timestamp_unit="magnitude", stamped="close") == ["--timestamp-unit=magnitude", "--stamped=close"]
    assert told(zone="Europe/Paris", ambiguous="infer") == ["--zone=Europe/Paris", "--ambiguous=infer"]
    assert told(timeframe="D1", days="local") == ["--timeframe=D1", "--days=local"]


def test_a_list_of_inputs_stands_for_the_root() -> None:
    arguments = sync_arguments(make_request(None, inputs="-list.json", symbols=["BTC/USDT"]))
    assert arguments[1:3] == ["--inputs=-list.json", "--symbols=BTC/USDT"]
    assert not [one for one in arguments if one.startswith("--data")]


def test_permissions_are_told() -> None:
    plain = sync_arguments(make_request("root"))
    allowed = sync_arguments(
        make_request("root"), ExecutionOptions(permissions=Permissions(follow_links=True, strict=True))
    )
    assert [one for one in allowed if one not in plain] == ["--follow-links", "--strict"]


def test_defaults_are_told_too() -> None:
    arguments = sync_arguments(make_request("root"))
    assert arguments == [
        "sync",
        "--data=root",
        "--all-symbols",
        "--timeframe=M1",
        "--price-types=bid,ask",
        "--timeline=intersection",
        "--session=none",
        "--unsorted=sort",
        "--error-format=json",
        "--heartbeat=5",
        "--progress=never",
    ]


def test_many_symbols_go_into_several_arguments(fake: stream_factory.Fake) -> None:
    symbols = [f"SYMBOL_WITH_A_RATHER_LONG_NAME_{number:05}" for number in range(20_000)]
    given = [one for one in sync_arguments(make_request("root", symbols=symbols)) if one.startswith("--symbols=")]
    assert len(given) > 1
    assert ",".join(one.removeprefix("--symbols=") for one in given).split(",") == symbols
    schema = stream_factory.schema(symbols)
    fake.out(b"".join(stream_factory.encode(schema, [])))
    with open_slices("root", symbols=symbols) as slices:
        assert slices.symbols == tuple(symbols)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_what_is_no_number_of_threads(threads: Any) -> None:
    with pytest.raises(RequestError, match="threads="):
        open_slices(symbols=["A"], threads=threads)


def test_nothing_is_opened_for_a_bad_request(fake: stream_factory.Fake) -> None:
    with pytest.raises(RequestError):
        open_slices("root", symbols=["A"], timeline="both")
    assert not (fake.folder / "pid").exists()


def test_errors_of_the_reference_come_from_opening(tmp_path: Path) -> None:
    write_series(tmp_path, "A", "BID", [(0, 1.0)])
    with pytest.raises(OmegaSlicesError) as caught:
        open_slices(tmp_path, symbols=["A"], backend="python")
    assert caught.value.code is ErrorCode.INVALID_PRICE_TYPE
    with pytest.raises(KeyError):
        open_slices(tmp_path, symbols=["B"], backend="python")


def test_the_interpreters_own_scripts_folder_is_searched() -> None:
    """Where the package is not part of an environment, that of the interpreter."""
    folders = [path.parent for path in binary_module._candidates()]
    assert Path(sysconfig.get_path("scripts")) in folders
    assert any(sys.prefix in str(folder) for folder in folders)
