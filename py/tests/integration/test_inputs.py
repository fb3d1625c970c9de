"""Which files a request reads.

What the executable lists, what a list is taken for, and what is wrong with one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import stream_factory
from helpers.reports import without_words

from omega_slices import (
    BackendUnavailableError,
    DeserializationError,
    ErrorCode,
    InputFile,
    InputList,
    InputSeries,
    OmegaSlicesError,
    RequestError,
    SymbolNotFoundError,
    UnsupportedInputError,
    list_inputs,
    open_slices,
    read_slices,
)

COLUMNS = {
    "timestamp": "UTC time",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
}


# --- What the executable lists ---------------------------------------------------------------


def test_every_series_and_file_is_listed(data: Path, binary: Path) -> None:
    stream_factory.write_series(data, "EURUSD", "BID", [(-60, 1.0), (0, 2.0)], timeframe="H1")
    stream_factory.write_indicators(data, "EURUSD", [(0, 1.0)], "rsi")
    found = list_inputs(data, symbols=["EURUSD"], price_types=["bid"], with_timeframe="1h", indicators=["rsi"])
    assert [(one.symbol, one.price_type, one.timeframe) for one in found.series] == [
        ("EURUSD", "bid", "M1"),
        ("EURUSD", "bid", "H1"),
        ("EURUSD", None, "M1"),
    ]
    path = data / "EURUSD" / "EURUSD_M1_BID.parquet"
    state = path.stat()
    assert found.series[0].files == (
        InputFile(
            path=str(path),
            size=state.st_size,
            modified_ns=state.st_mtime_ns,
            rows=2,
            first_timestamp_ns=stream_factory.START_NS,
            last_timestamp_ns=stream_factory.START_NS + stream_factory.MINUTE_NS,
            columns=COLUMNS,
            unit=None,
            zone="UTC",
        ),
    )
    assert found.series[2].files[0].columns == {"timestamp": "UTC time", "rsi": "rsi"}
    assert found.paths == tuple(str(path.with_name(f"EURUSD_{end}.parquet")) for end in ("M1_BID", "H1_BID", "M1_IND"))
    assert found.range_ns == (
        stream_factory.START_NS - 60 * stream_factory.MINUTE_NS,
        stream_factory.START_NS + stream_factory.MINUTE_NS,
    )


def test_the_window_changes_nothing(data: Path, binary: Path) -> None:
    assert list_inputs(data, start="2030-01-01") == list_inputs(data) == list_inputs(data, session="NYSE")


def test_every_symbol_is_listed_in_order(data: Path, binary: Path) -> None:
    asked = [(one.symbol, one.price_type) for one in list_inputs(data).series]
    assert asked == [("EURUSD", "bid"), ("EURUSD", "ask"), ("GBPUSD", "bid"), ("GBPUSD", "ask")]
    turned = list_inputs(data, symbols=["GBPUSD", "EURUSD"], price_types=["ask"])
    assert [one.symbol for one in turned.series] == ["GBPUSD", "EURUSD"]


def test_the_root_is_that_of_the_environment(data: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_DATA_PARQUET_ROOT", str(data))
    assert list_inputs() == list_inputs(data)


def test_a_missing_series_is_told_as_in_a_run(data: Path, binary: Path) -> None:
    for options, code in (
        ({"symbols": ["XYZ"]}, ErrorCode.SYMBOL_NOT_FOUND),
        ({"symbols": ["EURUSD"], "timeframe": "H1"}, ErrorCode.TIMEFRAME_NOT_FOUND),
        ({"symbols": ["EURUSD"], "price_types": ["trade"]}, ErrorCode.INVALID_PRICE_TYPE),
    ):
        with pytest.raises(OmegaSlicesError) as caught:
            list_inputs(data, **options)
        assert caught.value.code is code


def test_links_stay_inside_of_the_root(data: Path, binary: Path, tmp_path: Path) -> None:
    path = data / "EURUSD" / "EURUSD_M1_BID.parquet"
    moved = path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(moved)
    with pytest.raises(OmegaSlicesError) as caught:
        list_inputs(data)
    assert "follow_links=True" in str(caught.value.hint)
    assert str(path) in list_inputs(data, follow_links=True).paths


# --- A list in the place of the root -----------------------------------------------------------


def both(**options: Any) -> list[Any]:
    """Return what both backends give, which has to be the same."""
    results = []
    for backend in ("rust", "python"):
        with open_slices(**options, backend=backend) as slices:
            told = {key: value for key, value in slices.schema.metadata.items() if key != b"producer"}
            results.append([told, list(slices), without_words(slices.report)])
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize("options", [{}, {"symbols": ["GBPUSD"]}, {"price_types": ["ask"], "timeline": "union"}])
def test_what_is_listed_is_what_is_read(data: Path, binary: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "list.json"
    path.write_text(list_inputs(data, **options).to_json())
    with open_slices(data, **options) as slices:
        expected = list(slices)
    told, found, report = both(inputs=path, **options)
    assert found == expected
    assert report.complete
    request = json.loads(told[b"request"])
    assert (request["data"], request["inputs"]) == (None, str(path))
    assert list_inputs(inputs=path, **options) == list_inputs(data, **options)


def test_a_list_by_hand(data: Path, binary: Path, tmp_path: Path) -> None:
    """Paths alone, relative to the list, and a name that no file could have."""
    path = data / "list.json"
    files = ["EURUSD/EURUSD_M1_BID.parquet", {"path": "GBPUSD/GBPUSD_M1_BID.parquet"}]
    series = [{"symbol": "EUR/USD", "price_type": "trade", "timeframe": "M1", "files": files}]
    path.write_text(json.dumps({"series": series}))
    _, found, _ = both(inputs=path, price_types=["trade"], duplicates="first")
    assert [one.get_price("EUR/USD", "trade") for one in found] == [1.5, 1.625]
    # The order of the list decides which duplicate counts.
    series[0]["files"] = files[::-1]
    path.write_text(json.dumps({"series": series}))
    _, found, _ = both(inputs=path, price_types=["trade"], duplicates="first")
    assert [one.get_price("EUR/USD", "trade") for one in found] == [2.5, 2.75]


Change = Callable[[dict[str, Any]], None]


def changed(key: str, value: Any) -> Change:
    """Return what gives the first file of a list another value."""

    def change(listed: dict[str, Any]) -> None:
        listed["series"][0]["files"][0][key] = value

    return change


def twice(listed: dict[str, Any]) -> None:
    listed["series"].append(listed["series"][0])


def unknown_key(listed: dict[str, Any]) -> None:
    listed["series"][0]["simbol"] = "A"


def no_series(listed: dict[str, Any]) -> None:
    del listed["series"]


def lacking(listed: dict[str, Any]) -> None:
    listed["series"] = listed["series"][1:]


@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        (changed("path", "nowhere.parquet"), {}, ErrorCode.CORRUPT_INPUT),
        (changed("size", 7), {}, ErrorCode.CORRUPT_INPUT),
        (changed("modified_ns", 7), {}, ErrorCode.CORRUPT_INPUT),
        (changed("sise", 7), {}, ErrorCode.CORRUPT_INPUT),
        (changed("path", None), {}, ErrorCode.CORRUPT_INPUT),
        (twice, {}, ErrorCode.CORRUPT_INPUT),
        (unknown_key, {}, ErrorCode.CORRUPT_INPUT),
        (no_series, {}, ErrorCode.CORRUPT_INPUT),
        (lacking, {"symbols": ["EURUSD"]}, ErrorCode.INVALID_PRICE_TYPE),
        (None, {"symbols": ["XYZ"]}, ErrorCode.SYMBOL_NOT_FOUND),
        (None, {"timeframe": "H1", "symbols": ["EURUSD"]}, ErrorCode.TIMEFRAME_NOT_FOUND),
        (None, {"columns": {"open": "Close"}}, ErrorCode.USAGE),
    ],
)
@pytest.mark.parametrize("backend", ["rust", "python"])
def test_what_is_wrong_with_a_list(
    data: Path,
    binary: Path,
    tmp_path: Path,
    change: Change | None,
    options: dict[str, Any],
    code: ErrorCode,
    backend: str,
) -> None:
    listed = json.loads(list_inputs(data).to_json())
    if change is not None:
        change(listed)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(listed))
    with pytest.raises(OmegaSlicesError) as caught, open_slices(inputs=path, **options, backend=backend) as slices:
        list(slices)
    assert caught.value.code is code, caught.value
    assert caught.value.hint


@pytest.mark.parametrize("backend", ["rust", "python"])
@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"series": {}}', '{"series": []} {}', "\0"])
def test_what_is_no_list(binary: Path, tmp_path: Path, content: str | None, backend: str) -> None:
    path = tmp_path / "list.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OmegaSlicesError) as caught:
        open_slices(inputs=path, symbols=["A"], backend=backend)
    assert (caught.value.code, caught.value.file) == (ErrorCode.CORRUPT_INPUT, str(path))


def test_an_empty_list_has_no_symbols(binary: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('{"series": []}')
    for backend in ("rust", "python"):
        with pytest.raises(SymbolNotFoundError):
            open_slices(inputs=path, symbols=["A"], backend=backend)


def test_units_and_zones_of_a_list_are_applied(binary: Path, tmp_path: Path) -> None:
    """A column of milliseconds, of which only the list says what they are.

    The request must not say otherwise.
    """
    path = tmp_path / "a.parquet"
    values = dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), pa.array([1.0, 2.0]))
    stamps = pa.array([stream_factory.START_NS // 10**6, stream_factory.START_NS // 10**6 + 60_000], pa.int64())
    pq.write_table(pa.table({"ts": stamps} | values), path)
    file = {"path": "a.parquet", "unit": "ms", "columns": {"timestamp": "ts"}}
    series = {"symbol": "A", "price_type": "bid", "timeframe": "M1", "files": [file]}
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"series": [series]}))
    _, found, _ = both(inputs=listed, price_types=["bid"])
    assert [one.timestamp_ns for one in found] == [
        stream_factory.START_NS,
        stream_factory.START_NS + stream_factory.MINUTE_NS,
    ]
    for backend in ("rust", "python"):
        with pytest.raises(RequestError):
            open_slices(inputs=listed, price_types=["bid"], timestamp_unit="s", backend=backend)


def test_a_run_by_both_implementations(data: Path, binary: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(list_inputs(data).to_json())
    with open_slices(inputs=path, backend="shadow") as slices:
        assert len(list(slices)) == slices.metrics.compared_slices == 2


# --- Between the package and the executable ------------------------------------------------------


def test_the_executable_is_asked_for_the_request(fake: stream_factory.Fake, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    Path(fake.path).write_text(
        f'#!/bin/sh\nfor one in "$@"; do echo "$one" >> {asked}; done\necho \'{{"series":[]}}\'\n'
    )
    assert list_inputs("root", symbols=["A"], session="NYSE", duplicates="first", follow_links=True) == InputList(())
    assert asked.read_text().splitlines() == [
        "inputs",
        "--data=root",
        "--symbols=A",
        "--timeframe=M1",
        "--price-types=bid,ask",
        "--timeline=intersection",
        "--session=none",
        "--unsorted=sort",
        "--error-format=json",
        "--follow-links",
        "--duplicates=first",
    ]


def test_fields_of_a_later_version_are_passed_over(fake: stream_factory.Fake) -> None:
    fake.lists('{"series":[{"symbol":"A","price_type":null,"timeframe":"M1","files":[],"new":1}],"new":2}')
    assert list_inputs("root") == InputList((InputSeries(symbol="A", price_type=None, timeframe="M1", files=()),))


@pytest.mark.parametrize("text", ["", "no list", "{}", '{"series": 7}'])
def test_what_is_no_answer(fake: stream_factory.Fake, text: str) -> None:
    fake.lists(text)
    with pytest.raises(DeserializationError, match="cannot read the list of inputs"):
        list_inputs("root")


def test_an_executable_of_an_earlier_release(fake: stream_factory.Fake) -> None:
    error = {"kind": "error", "code": 2, "message": "unrecognized subcommand"}
    Path(fake.path).write_text(f"#!/bin/sh\necho '{json.dumps(error)}' >&2\nexit 2\n")
    with pytest.raises(BackendUnavailableError) as caught:
        list_inputs("root")
    assert "same release" in str(caught.value.hint)


def test_it_needs_the_executable(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMEGA_SLICES_BINARY", str(tmp_path / "nothing"))
    with pytest.raises(BackendUnavailableError):
        list_inputs(data)


def test_a_list_survives_its_json() -> None:
    file = InputFile(
        path="/ä", size=1, modified_ns=2, rows=0, first_timestamp_ns=None, last_timestamp_ns=None, columns={}
    )
    found = InputList((InputSeries(symbol='"', price_type="bid", timeframe="M1", files=(file, file)),))
    assert msgspec.json.decode(found.to_json(), type=InputList) == found
    assert (found.paths, found.range_ns) == (("/ä",), None)
    assert list(json.loads(found.to_json())["series"][0]["files"][0]) == list(InputFile.__struct_fields__)


# --- URIs ----------------------------------------------------------------------------------------


def test_no_uri_of_another_scheme_is_read(fake: stream_factory.Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMEGA_DATA_PARQUET_ROOT", "hdfs://bucket")
    asks: list[Callable[[], object]] = [
        open_slices,
        lambda: open_slices("ftp://bucket"),
        lambda: open_slices("data", path_template="abfs://host/{symbol}_{side}.parquet"),
        lambda: open_slices(inputs="hdfs:///list.json"),
        lambda: list_inputs("hdfs://bucket"),
        lambda: read_slices("hdfs://bucket/slices.arrow"),
    ]
    for ask in asks:
        with pytest.raises(UnsupportedInputError, match="the scheme"):
            ask()
    assert not (fake.folder / "pid").exists()
