"""Two languages, one contract.

What this package holds to be true is what the executable says and does.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import cli_harness
from helpers.oracle import all_zones
from helpers.reports import without_words
from helpers.requests import make_request
from helpers.stream_factory import MINUTE_NS, START_NS, write_indicators, write_series

from omega_slices import (
    ErrorCode,
    OmegaSlicesError,
    RequestError,
    TimestampUnit,
    UnsupportedInputError,
    open_slices,
    read_slices,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"price_types": ["bid"]},
    {"price_types": ["ask", "trade"]},
    {"price_types": ["trade", "ask", "bid"], "symbols": None},
    {"timeline": "union", "session": "fx", "normalize": True, "unsorted": "error", "duplicates": "first"},
    {"start": "2024-01-02", "end": "2024-01-02 00:00:00.000000001", "duplicates": "error"},
    {
        "path_template": "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.par*",
        "columns": {"volume": "Open", "close": "Low"},
    },
    {"start": -(2**63), "end": 2**63 - 1},
    {"timeline": "leader:EUR USD"},
    {"timeline": "quorum:2"},
    {"fill": "forward", "max_age": "2bars", "timeline": "union"},
    {"with_timeframe": ["M5", "H1:max-age=3h"]},
    {"with_timeframe": "M5:max-age=2bars", "known_at": "close"},
    {"indicators": ["rsi", "É 1"]},
    {"indicators": ["rsi"], "indicator_template": "{root}/{symbol}/{symbol}_{timeframe}_IN*"},
    {"known_at": "close"},
    {"timeframe": "1m", "with_timeframe": ["1h:max-age=3h", "5m"]},
    {"duplicates": "last"},
    {"duplicates": "identical", "one_instrument": True},
    {"symbol_pattern": "[^-]+|-", "timestamp_unit": "magnitude"},
    {"zone": "Europe/Paris"},
    {"zone": "America/New_York", "ambiguous": "infer", "stamped": "close", "with_timeframe": "H1"},
    {"stamped": "close", "timeline": "union"},
    {"with_timeframe": "D1", "days": "local"},
    {"with_timeframe": "D1", "days": "local", "zone": "Asia/Tokyo", "stamped": "close", "normalize": True},
    {"timeframe": "D1", "days": "utc"},
    {"timeframe": "D1", "days": "local"},
    {"timeframe": "D1", "days": "local", "zone": "America/New_York", "normalize": True, "known_at": "close"},
    {
        "symbols": None,
        "start": "2024-01-02 00:01",
        "timeline": "union",
        "normalize": True,
        "fill": "forward",
        "max_age": timedelta(hours=1),
        "with_timeframe": ["H1", "M5:max-age=1d"],
        "indicators": ["rsi"],
    },
]

# What the executable and this package refuse, each in its own way of writing it.
REFUSED: list[tuple[list[str], dict[str, Any]]] = [
    (["--timeline=leader:C"], {"timeline": "leader:C"}),
    (["--timeline=leader:"], {"timeline": "leader:"}),
    (["--timeline=quorum:0"], {"timeline": "quorum:0"}),
    (["--timeline=quorum:3"], {"timeline": "quorum:3"}),
    (["--timeline=quorum:x"], {"timeline": "quorum:x"}),
    (["--fill=forward"], {"fill": "forward"}),
    (["--max-age=1h"], {"max_age": "1h"}),
    (["--fill=forward", "--max-age=0h"], {"fill": "forward", "max_age": "0h"}),
    (["--fill=forward", "--max-age=200000000bars"], {"fill": "forward", "max_age": "200000000bars"}),
    (["--with-timeframe=Q1"], {"with_timeframe": "Q1"}),
    (["--with-timeframe=S30"], {"with_timeframe": "S30"}),
    (["--with-timeframe=M1"], {"with_timeframe": "M1"}),
    (["--with-timeframe=H1", "--with-timeframe=H1:max-age=1d"], {"with_timeframe": ["H1", "H1:max-age=1d"]}),
    (["--with-timeframe=H1:age=1d"], {"with_timeframe": "H1:age=1d"}),
    (["--with-timeframe=H1:max-age=1y"], {"with_timeframe": "H1:max-age=1y"}),
    (
        ["--with-timeframe=H1", "--path-template={root}/{symbol}_{side}"],
        {"with_timeframe": "H1", "path_template": "{root}/{symbol}_{side}"},
    ),
    (["--known-at=now"], {"known_at": "now"}),
    (["--session=fx", "--session-file=s.csv"], {"session": "fx", "session_file": "s.csv"}),
    (["--indicators=a,a"], {"indicators": ["a", "a"]}),
    (["--indicators=a,,b"], {"indicators": ["a", "", "b"]}),
    (["--indicator-template={symbol}"], {"indicator_template": "{symbol}"}),
    (["--indicators=a", "--indicator-template=x"], {"indicators": ["a"], "indicator_template": "x"}),
    (
        ["--indicators=a", "--indicator-template={symbol}{side}"],
        {"indicators": ["a"], "indicator_template": "{symbol}{side}"},
    ),
    (["--duplicates=mean"], {"duplicates": "mean"}),
    (["--with-timeframe=1M"], {"with_timeframe": "1M"}),
    (["--with-timeframe=0h"], {"with_timeframe": "0h"}),
    (["--with-timeframe=H1", "--with-timeframe=1h"], {"with_timeframe": ["H1", "1h"]}),
    (["--timestamp-unit=m"], {"timestamp_unit": "m"}),
    (["--zone=Europe/Atlantis"], {"zone": "Europe/Atlantis"}),
    (["--zone=europe/paris"], {"zone": "europe/paris"}),
    (["--zone=localtime"], {"zone": "localtime"}),
    (["--zone=/usr/share/zoneinfo/Europe/Paris"], {"zone": "/usr/share/zoneinfo/Europe/Paris"}),
    (["--zone=+01:00"], {"zone": "+01:00"}),
    (["--zone="], {"zone": ""}),
    (["--ambiguous=later"], {"ambiguous": "later"}),
    (["--zone=UTC", "--ambiguous=guess"], {"zone": "UTC", "ambiguous": "guess"}),
    (["--stamped=middle"], {"stamped": "middle"}),
    (["--days=local"], {"days": "local"}),
    (["--days=local", "--with-timeframe=H36"], {"days": "local", "with_timeframe": "H36"}),
    (["--days=here", "--with-timeframe=D1"], {"days": "here", "with_timeframe": "D1"}),
    (["--symbol-pattern=("], {"symbol_pattern": "("}),
    (["--symbol-pattern=(?=A)A|B"], {"symbol_pattern": "(?=A)A|B"}),
    (["--symbol-pattern=(?<!B)A|B"], {"symbol_pattern": "(?<!B)A|B"}),
    ([r"--symbol-pattern=(A|B)\1*"], {"symbol_pattern": r"(A|B)\1*"}),
    (["--symbol-pattern=A"], {"symbol_pattern": "A"}),
    (["--symbol-pattern=A|BC"], {"symbol_pattern": "A|BC"}),
]

# A place that neither reads, each in its own way of writing it.
URIS: list[tuple[list[str], dict[str, Any]]] = [
    (["--data=hdfs://bucket"], {"data": "hdfs://bucket"}),
    (["--data=abfs:///root"], {"data": "abfs:///root"}),
    (["--data=root", "--path-template=hdfs://b/{symbol}_{side}"], {"path_template": "hdfs://b/{symbol}_{side}"}),
    (
        ["--data=root", "--indicators=x", "--indicator-template=hdfs://b/{symbol}"],
        {"indicators": ["x"], "indicator_template": "hdfs://b/{symbol}"},
    ),
    (["--data=root", "--session-file=ftp://host/s.csv"], {"session_file": "ftp://host/s.csv"}),
    (["--inputs=hdfs://host/list.json"], {"data": None, "inputs": "hdfs://host/list.json"}),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two symbols whose names need care in JSON, with all price types."""
    for symbol in ("Ä'\"B", "EUR USD"):
        for side in ("BID", "ASK", "TRADE"):
            write_series(tmp_path, symbol, side, [(0, 1.0), (1, 2.0)])
            write_series(tmp_path, symbol, side, [(-5, 3.0), (-4, 4.0), (0, 5.0)], timeframe="M5")
            write_series(tmp_path, symbol, side, [(-120, 6.0), (-60, 7.0)], timeframe="H1")
            # Days that begin at midnight and at 17:00 of New York.
            write_series(tmp_path, symbol, side, [(-2_880, 8.0), (-1_440, 9.0), (22 * 60, 9.5)], timeframe="D1")
        write_indicators(tmp_path, symbol, [(0, 50.0), (1, None), (2, 70.0)], "rsi", "É 1")
    # A minute that one series alone has, for a timeline that takes it.
    write_series(tmp_path, "EUR USD", "BID", [(-1, 0.5), (0, 1.0), (1, 2.0), (2, 3.0)])
    return tmp_path


def run(binary: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([binary, *arguments], capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("options", OPTIONS)
def test_schema_and_metadata_are_the_same(root: Path, options: dict[str, Any]) -> None:
    symbols = ("EUR USD", "Ä'\"B")
    request = make_request(root, **({"symbols": symbols} | options))
    done = cli_harness.sync(request)
    assert done.status == 0, done.lines
    schema = pa.ipc.open_stream(done.stdout).schema
    with open_slices(root, **({"symbols": symbols} | options), backend="python") as slices:
        expected = slices.schema
        assert slices.symbols == symbols
    # Names, types, nullability, and every byte of the metadata but who wrote it.
    metadata = {key: value for key, value in expected.metadata.items() if key != b"producer"}
    producer = schema.metadata[b"producer"]
    expected = expected.with_metadata(metadata | {b"producer": producer})
    assert schema.equals(expected, check_metadata=True), f"{schema.metadata}\n{expected.metadata}"
    assert json.loads(metadata[b"symbols"]) == list(symbols)
    assert metadata[b"request"] == request.to_json().encode() or request.symbols is None
    is_known_later = request.days == "local" and request.timeframe == "D1"
    keys = {"schema_name", "schema_version", "symbols", "timeframe", "request", "producer"}
    assert {key.decode() for key in schema.metadata} == keys | ({"known_after_ns"} if is_known_later else set())
    assert producer.startswith(b"omega-slices/")
    # The reader takes it for the answer to the request.
    with open_slices(root, **({"symbols": symbols} | options), backend="rust") as slices:
        assert slices.schema.equals(schema, check_metadata=True)


@pytest.mark.parametrize("options", OPTIONS)
def test_both_backends_give_the_same_slices_and_report(binary: Path, root: Path, options: dict[str, Any]) -> None:
    results = []
    for backend in ("rust", "python"):
        with open_slices(root, **options, backend=backend) as slices:
            found = list(slices)
            known = [one.known_at_ns for one in found]
            results.append((slices.symbols, known, found, without_words(slices.report)))
    # By text too, in which a carried candle is told.
    assert results[0] == results[1]
    assert repr(results[0]) == repr(results[1])


SESSIONS: list[dict[str, Any]] = [
    {"session": "24/7"},
    {"session": "NYSE", "with_timeframe": "H1", "known_at": "close"},
    {"session": "XHKG", "timeline": "union", "fill": "forward", "max_age": "1d"},
    {"session": "CME_Equity", "end": "2024-01-02 00:00:30"},
    {"session": "NYSE", "timeframe": "D1"},
]


@pytest.mark.parametrize("options", SESSIONS)
def test_both_backends_keep_the_same_sessions(binary: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    days = [(day * 1_440, 1.0) for day in range(-14, 14)]
    for timeframe, step in (("M1", 17), ("H1", 60)):
        rows = [(minute, 1.0) for minute in range(-3 * 1_440, 3 * 1_440, step)]
        write_series(tmp_path, "A", "BID", rows, timeframe=timeframe)
        write_series(tmp_path, "A", "ASK", rows[::2], timeframe=timeframe)
    for side in ("BID", "ASK"):
        write_series(tmp_path, "A", side, days, timeframe="D1")
    results = []
    for backend in ("rust", "python"):
        with open_slices(tmp_path, **options, backend=backend) as slices:
            told = {key: value for key, value in slices.schema.metadata.items() if key != b"producer"}
            results.append((told, list(slices), without_words(slices.report)))
    assert results[0] == results[1]
    _, found, report = results[0]
    assert found
    assert any(one.outside_session for one in report.series) == (options["session"] != "24/7")


def test_both_backends_read_the_same_session_file(binary: Path, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text("name,close,open\nb,2024-01-02T00:02:00Z,2024-01-02T00:01:00Z\na,2024-01-01,2023-12-31\n")
    results = []
    for backend in ("rust", "python"):
        with open_slices(root, session_file=path, backend=backend) as slices:
            results.append((list(slices), without_words(slices.report)))
    assert results[0] == results[1]
    assert [one.timestamp.minute for one in results[0][0]] == [1]


@pytest.mark.parametrize(("arguments", "options"), URIS)
def test_uris_are_refused_alike(binary: Path, arguments: list[str], options: dict[str, Any]) -> None:
    # Coverage is of candles, and knows no indicators.
    for command in ("sync", "inputs", *(["coverage"] if "indicators" not in options else [])):
        done = run(binary, command, "--symbols=A,B", "--timeframe=M1", *arguments, "--error-format=json")
        (error,) = map(json.loads, done.stderr.splitlines())
        assert (done.returncode, done.stdout, error["code"]) == (3, b"", ErrorCode.UNSUPPORTED_INPUT)
    with pytest.raises(OmegaSlicesError) as caught:
        open_slices(**({"data": "root", "symbols": ["A", "B"]} | options), backend="python")
    assert caught.value.code is ErrorCode.UNSUPPORTED_INPUT
    assert error["hint"]
    assert caught.value.hint


def test_uris_of_slices_are_refused_alike(binary: Path) -> None:
    uri = "hdfs://bucket/slices.arrow"
    for arguments in (["inspect", uri], ["diff", uri, "other.arrow"], ["diff", "other.arrow", uri]):
        done = run(binary, *arguments, "--error-format=json")
        (error,) = map(json.loads, done.stderr.splitlines())
        assert (done.returncode, error["code"]) == (3, ErrorCode.UNSUPPORTED_INPUT)
    with pytest.raises(UnsupportedInputError):
        read_slices(uri)


def test_zones_have_the_same_names(binary: Path, tmp_path: Path) -> None:
    def code(zone: str) -> int:
        done = run(binary, "sync", f"--data={tmp_path}", "--symbols=A", f"--zone={zone}", "--error-format=json")
        *_, error = map(json.loads, done.stderr.splitlines())
        return int(error["code"])

    strange = ["Europe/Paris ", "posixrules", "posix/Europe/Paris", "right/UTC", "Etc", "GMT+1", "utc", "Europe/paris"]
    with ThreadPoolExecutor(2) as pool:
        known = dict(zip(names := all_zones(), pool.map(code, names), strict=True))
        unknown = dict(zip(strange, pool.map(code, strange), strict=True))
    assert {zone for zone, one in known.items() if one != ErrorCode.SYMBOL_NOT_FOUND} == set()
    assert {zone for zone, one in unknown.items() if one != ErrorCode.USAGE} == set()
    assert set(all_zones()).isdisjoint(strange)


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("[A-Z]{3}", {"ABC", "XYZ"}),
        ("abc|[A-Z]{3}", {"ABC", "XYZ", "abc"}),
        ("(?i)abc", {"ABC", "abc"}),
        (r"\w+", {"ABC", "XYZ", "abc", "ÄÖ", "A1"}),
        (r"[^\W\d]+", {"ABC", "XYZ", "abc", "ÄÖ"}),
        (r"A.C|A\.C", {"ABC", "A.C"}),
        (r"A\.C$", {"A.C"}),
        ("(?P<one>[A-Z])(?:[0-9])", {"A1"}),
    ],
)
def test_symbol_patterns_match_alike(binary: Path, tmp_path: Path, pattern: str, matching: set[str]) -> None:
    for symbol in ("ABC", "XYZ", "abc", "ÄÖ", "A1", "A.C"):
        write_series(tmp_path, symbol, "BID", [(0, 1.0)])
    asked: dict[str, Any] = {"price_types": ["bid"], "symbol_pattern": pattern}
    for backend in ("rust", "python"):
        with open_slices(tmp_path, **asked, backend=backend) as slices:
            assert set(slices.symbols) == matching
    for symbol in ("ABC", "XYZ", "abc", "ÄÖ", "A1", "A.C"):
        if symbol in matching:
            make_request(tmp_path, symbols=[symbol], **asked)
        else:
            with pytest.raises(RequestError):
                make_request(tmp_path, symbols=[symbol], **asked)


@pytest.mark.parametrize(("arguments", "options"), REFUSED)
def test_options_are_refused_alike(binary: Path, arguments: list[str], options: dict[str, Any]) -> None:
    done = run(binary, "sync", "--data=root", "--symbols=A,B", *arguments, "--error-format=json")
    (error,) = map(json.loads, done.stderr.splitlines())
    assert done.stdout == b""
    assert done.returncode == ErrorCode.USAGE
    with pytest.raises(OmegaSlicesError) as caught:
        open_slices("root", symbols=["A", "B"], **options, backend="python")
    assert (error["code"], error["symbol"]) == (caught.value.code, caught.value.symbol)
    assert error["hint"]
    assert caught.value.hint


def test_reports_are_read_whole(binary: Path, root: Path) -> None:
    *_, last = cli_harness.sync(make_request(root)).lines
    with open_slices(root, backend="rust") as slices:
        list(slices)
        report = slices.report
    assert last["kind"] == "report"
    assert (report.slices, report.batches) == (last["slices"], last["batches"])
    assert len(report.series) == len(last["series"]) == 4
    for ours, theirs in zip(report.series, last["series"], strict=True):
        told = {key: value for key, value in msgspec.to_builtins(ours).items() if value is not None or key in theirs}
        assert told.items() <= theirs.items()
        assert "conflicting_duplicates" in theirs


def test_units_are_told(binary: Path, tmp_path: Path) -> None:
    stamps = [START_NS // 10**6, START_NS // 10**6 + 60_000]
    values = dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), pa.array([1.0, 2.0]))
    (tmp_path / "A").mkdir()
    path = tmp_path / "A" / "A_M1_BID.parquet"
    pq.write_table(pa.table({"UTC time": pa.array(stamps, pa.int64())} | values), path)
    for backend in ("rust", "python"):
        for unit in ("ms", "magnitude"):
            with open_slices(tmp_path, price_types=["bid"], timestamp_unit=unit, backend=backend) as slices:
                assert [one.timestamp_ns for one in slices] == [START_NS, START_NS + MINUTE_NS]
            (series,) = slices.report.series
            assert series.timestamp_units == (TimestampUnit(str(path), "ms"),)
        with pytest.raises(OmegaSlicesError) as caught:
            open_slices(tmp_path, price_types=["bid"], backend=backend)
        assert caught.value.code is ErrorCode.SCHEMA_MISMATCH
        assert "ms" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("code", "options"),
    [
        (ErrorCode.SYMBOL_NOT_FOUND, {"symbols": ["EUR USD", "XYZ"]}),
        (ErrorCode.TIMEFRAME_NOT_FOUND, {"timeframe": "H4"}),
        (ErrorCode.TIMEFRAME_NOT_FOUND, {"with_timeframe": "H4"}),
        (ErrorCode.TIMEFRAME_NOT_FOUND, {"indicators": ["rsi"], "_remove": "EUR USD_M1_IND.parquet"}),
        (ErrorCode.SCHEMA_MISMATCH, {"indicators": ["rsi", "ema"]}),
        (ErrorCode.CORRUPT_INPUT, {"with_timeframe": "M5", "_spoil": "EUR USD_M5_ASK.parquet"}),
        (ErrorCode.UNSUPPORTED_INPUT, {"_spoil": "EUR USD_M1_ASK.parquet", "_content": b"time,open\n1,2\n"}),
        (ErrorCode.UNSUPPORTED_INPUT, {"_spoil": "EUR USD_M1_BID.parquet", "_content": b"ARROW1\0\0more"}),
        (ErrorCode.AMBIGUOUS_INPUT, {"path_template": "{root}/*/{symbol}*_{timeframe}_{SIDE}.parquet"}),
        (ErrorCode.DUPLICATE_TIMESTAMP, {"duplicates": "identical", "_rows": [(0, 1.0), (0, 2.0)]}),
        (ErrorCode.CORRUPT_INPUT, {"session_file": "nowhere.csv"}),
        (ErrorCode.INVALID_PRICE_TYPE, {"price_types": ["bid"], "columns": {}, "_remove": "EUR USD_M1_BID.parquet"}),
        (ErrorCode.SCHEMA_MISMATCH, {"columns": {"open": "Nothing"}}),
        (ErrorCode.CORRUPT_INPUT, {"_spoil": "EUR USD_M1_ASK.parquet"}),
        (ErrorCode.DUPLICATE_TIMESTAMP, {"duplicates": "error", "_rows": [(0, 1.0), (0, 2.0)]}),
        (ErrorCode.UNSORTED_INPUT, {"unsorted": "error", "_rows": [(1, 1.0), (0, 2.0)]}),
    ],
)
def test_the_executables_codes_are_ours(binary: Path, root: Path, code: ErrorCode, options: dict[str, Any]) -> None:
    asked = {"symbols": ["EUR USD"]} | {key: value for key, value in options.items() if not key.startswith("_")}
    if name := options.get("_remove"):
        (root / "EUR USD" / name).unlink()
    if name := options.get("_spoil"):
        (root / "EUR USD" / name).write_bytes(options.get("_content", b"PAR1 broken"))
    if rows := options.get("_rows"):
        write_series(root, "EUR USD", "BID", rows)
    done = cli_harness.sync(make_request(root, **asked))
    *_, error = done.lines
    assert (error["kind"], error["code"], error["name"]) == ("error", code.value, code.name)
    assert error["exit"] == done.status == 3
    raised = []
    for backend in ("rust", "python"):
        with pytest.raises(OmegaSlicesError) as caught, open_slices(root, **asked, backend=backend) as slices:
            list(slices)
        raised.append(caught.value)
    for one in raised:
        assert type(one) is type(raised[0])
        assert one.code is code
        assert (one.file, one.symbol, one.price_type, one.row) == (
            error["file"],
            error["symbol"],
            error["price_type"],
            error["row"],
        )
        assert one.hint


@pytest.mark.parametrize(
    "arguments",
    [
        ["sync", "--symbols=A", "--timeline=both"],
        ["sync", "--symbols=A,A"],
        ["sync", "--symbols=A", "--path-template={symbol}{x}"],
        ["sync", "--symbols=A", "--start=2024-01-02", "--end=2024-01-01"],
        ["sync", "--symbols=A", "--threads=0"],
        ["sync", "--symbols=A", "--no-such-option"],
    ],
)
def test_a_refused_request_has_the_code_of_usage(binary: Path, arguments: list[str]) -> None:
    done = run(binary, *arguments, "--error-format=json")
    assert done.returncode == ErrorCode.USAGE
    assert done.stdout == b""
    (error,) = map(json.loads, done.stderr.splitlines())
    assert (error["code"], error["name"]) == (ErrorCode.USAGE.value, ErrorCode.USAGE.name)


@pytest.mark.parametrize(
    ("symbol", "code"),
    [("..", 3001), ("a/b", 3001), ("a\\b", 3001), ("a\x1bb", 3001), ("a..b", 3001)],
)
def test_names_are_refused_alike(binary: Path, symbol: str, code: int) -> None:
    done = run(binary, "sync", f"--symbols={symbol}", "--error-format=json")
    (error,) = map(json.loads, done.stderr.splitlines())
    assert error["code"] == code
    assert done.stdout == b""


@pytest.mark.parametrize("timeframe", ["10s", "1m", "5m", "1h", "4h", "1d", "1w", "60m"])
def test_timeframes_are_spelled_alike(binary: Path, root: Path, timeframe: str) -> None:
    request = make_request(root, timeframe=timeframe)
    done = run(binary, "sync", f"--data={root}", "--all-symbols", f"--timeframe={timeframe}", "--error-format=json")
    if done.returncode:
        (error,) = map(json.loads, done.stderr.splitlines())
        assert request.timeframe in error["message"]
    else:
        assert pa.ipc.open_stream(done.stdout).schema.metadata[b"timeframe"].decode() == request.timeframe


@pytest.mark.parametrize("timeframe", ["Q1", "M0", "M01", "m1", "W100000", "M", "1M", "0m", "01m", "1 m", "1min"])
def test_timeframes_are_refused_alike(binary: Path, timeframe: str) -> None:
    done = run(binary, "sync", "--symbols=A", f"--timeframe={timeframe}", "--error-format=json")
    (error,) = map(json.loads, done.stderr.splitlines())
    assert error["code"] == ErrorCode.TIMEFRAME_NOT_FOUND
    with pytest.raises(OmegaSlicesError) as caught:
        open_slices("root", symbols=["A"], timeframe=timeframe, backend="python")
    assert caught.value.code is ErrorCode.TIMEFRAME_NOT_FOUND


def test_the_real_executable_leaves_nothing_behind(binary: Path, root: Path) -> None:
    for _ in range(3):
        with open_slices(root, backend="rust") as slices:
            next(slices)
    forgotten = open_slices(root, backend="rust")
    assert len(next(forgotten)) == 2
    del forgotten
