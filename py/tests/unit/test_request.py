"""The request: what is accepted, what it becomes, and what is refused before anything is opened."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from internals import refused

from omega_slices import (
    ErrorCode,
    OmegaSlicesError,
    Request,
    RequestError,
    SymbolNotFoundError,
)
from omega_slices._model.options import SYMBOLS_MAX
from omega_slices._model.request_parser import make_request


def test_defaults() -> None:
    request = make_request("root", symbols=["A"])
    assert json.loads(request.to_json()) == {
        "data": "root",
        "symbols": ["A"],
        "timeframe": "M1",
        "price_types": ["bid", "ask"],
        "start": None,
        "end": None,
        "timeline": "intersection",
        "session": "none",
        "normalize": False,
        "unsorted": "sort",
        "duplicates": "last",
        "path_template": None,
        "columns": {},
        "fill": "none",
        "max_age": None,
        "with_timeframe": [],
        "known_at": "open",
        "session_file": None,
        "indicators": [],
        "indicator_template": None,
    }
    assert list(json.loads(request.to_json())) == list(Request.__struct_fields__)[:20]


# What came later, in the order of the JSON, each with a value that is not the default.
LATER: dict[str, Any] = {
    "symbol_pattern": "[A-Z]+",
    "one_instrument": True,
    "timestamp_unit": "ms",
    "zone": "Europe/Paris",
    "ambiguous": "infer",
    "stamped": "close",
    "days": "local",
    "fields": ["close"],
    "before": "1970-01-02T00:00:00.000000000Z",
    "symbol_separator": "_",
    "rewrite": ["{a}_{b} = {a}/{b}"],
    "spell": {"D1": "1d"},
    "price_scale": "1e-9",
    "volume_scale": {"8": "1e-9"},
    "empty_rows": "drop",
    "zones": [["*.PA", "Europe/Paris"]],
}


def test_later_options_are_told_only_where_they_are_given() -> None:
    plain: dict[str, Any] = {"symbols": ["A"], "timeframe": "D1"}
    text = make_request("root", **plain).to_json()
    for name, value in LATER.items():
        given = {name: value} | ({"zone": "UTC"} if name == "ambiguous" else {})
        assert json.loads(make_request("root", **plain, **given).to_json()) == json.loads(text) | given
    everything = make_request("root", **plain, **LATER).to_json()
    assert everything.startswith(text[:-1])
    assert list(json.loads(everything))[20:] == list(LATER)
    assert list(Request.__struct_fields__)[20:] == ["inputs", *LATER]


def test_how_duplicates_are_dropped_is_told_alike_whether_it_was_given_or_not() -> None:
    default, given = (make_request("root", symbols=["A"], duplicates=one) for one in (None, "last"))
    assert (default.duplicates, given.duplicates) == (None, "last")
    assert default != given
    assert default.to_json() == given.to_json()
    identical = make_request("root", symbols=["A"], duplicates="identical")
    assert json.loads(identical.to_json())["duplicates"] == "identical"


def test_a_list_of_inputs_takes_the_place_of_root_and_templates() -> None:
    request = make_request(None, inputs=Path("list.json"), symbols=["BTC/USDT", "a\\b", ".."], indicators=["x"])
    assert (request.data, request.inputs) == (None, "list.json")
    told = json.loads(request.to_json())
    assert (told["data"], told["inputs"]) == (None, "list.json")
    # No template has to tell them apart.
    make_request(None, inputs="list.json", with_timeframe="H1", indicators=["x"])


@pytest.mark.parametrize(
    "options",
    [
        {"data": "root"},
        {"path_template": "{root}/{symbol}_{side}.parquet"},
        {"indicators": ["x"], "indicator_template": "{root}/{symbol}.parquet"},
        {"inputs": ""},
        {"inputs": "a\0b"},
        {"inputs": 7},
    ],
)
def test_what_a_list_of_inputs_does_not_go_with(options: dict[str, Any]) -> None:
    refused(ErrorCode.USAGE, **({"data": None, "inputs": "list.json"} | options))


@pytest.mark.parametrize("symbol", ["", " A", "a,b", "a\n", "\ud800"])
def test_listed_symbols_have_names_too(symbol: str) -> None:
    error = refused(ErrorCode.SYMBOL_NOT_FOUND, data=None, inputs="list.json", symbols=["A", symbol])
    assert error.symbol == symbol
    assert "slash" not in str(error.hint)


@pytest.mark.parametrize("path", ["s3:/bucket", "1s://bucket", "://bucket", "a/s3://bucket", "ä://b", "C:\\data"])
def test_paths_that_only_look_like_a_uri(path: str) -> None:
    assert make_request(path, symbols=["A"]).data == path


def test_forms_become_plain_values() -> None:
    request = make_request(
        Path("root"),
        symbols=iter(["B", "A"]),
        price_types=["trade", "ask", "bid"],
        start=date(1970, 1, 2),
        end=datetime(1970, 1, 3, tzinfo=UTC),
        columns={"timestamp": "ts", "close": "c", "open": "Open"},
    )
    assert request.data == "root"
    assert request.symbols == ("B", "A")
    assert request.price_types == ("bid", "ask", "trade")
    assert (request.start, request.end) == (86_400 * 10**9, 2 * 86_400 * 10**9)
    assert request.columns == {"close": "c", "timestamp": "ts"}
    assert request.input_columns == {
        "timestamp": "ts",
        "open": "Open",
        "high": "High",
        "low": "Low",
        "close": "c",
        "volume": "Volume",
    }
    assert '"start":"1970-01-02T00:00:00.000000000Z"' in request.to_json()


def test_zones() -> None:
    for zone in ("Europe/Paris", "UTC", "America/Argentina/Buenos_Aires", "EST5EDT"):
        assert make_request("root", symbols=["A"], zone=zone, ambiguous="later").zone == zone
    assert "Europe/Paris" in str(refused(ErrorCode.USAGE, zone="europe/paris").hint)


def test_days_need_a_timeframe_of_days() -> None:
    for options in ({"timeframe": "D1"}, {"timeframe": "W2"}, {"timeframe": "H48"}, {"with_timeframe": ["H1", "1d"]}):
        assert make_request("root", symbols=["A"], days="utc", **options).days == "utc"
    refused(ErrorCode.USAGE, days="local", timeframe="H36")


def test_symbol_patterns_are_for_whole_names() -> None:
    make_request("root", symbols=["EURUSD", "GBPUSD"], symbol_pattern="[A-Z]{6}")
    make_request("root", symbol_pattern="[{]A{1}B{2,}C{3,4}}")
    make_request("root", symbol_pattern="(?i)(?:eur|gbp)(?P<quote>usd)|[^]*+]+|a\\.b\\+")
    error = refused(ErrorCode.USAGE, symbols=["EURUSD", "EURUSDT"], symbol_pattern="EUR...")
    assert error.symbol == "EURUSDT"


@pytest.mark.parametrize(
    "pattern",
    [
        *("(", "[", "a{2,1}", "*", "(?=A)A", "(?!B)A", "(?<=A)B", "(?<!A)B", "(A)\\1", "(?P<x>A)(?P=x)", "(?#c)A"),
        *(
            "A{",
            "A{,3}",
            "A{x}",
            "(?>A)",
            "A++",
            "A*+",
            "A{1}+",
            "(A)(?(1)B|C)",
            "[[:alpha:]]",
            "[A&&B]",
            "\\Z",
            "\\p{L}",
            "A\0",
            7,
        ),
    ],
)
def test_what_is_no_symbol_pattern(pattern: Any) -> None:
    assert "symbol_pattern" in refused(ErrorCode.USAGE, symbol_pattern=pattern).message


@pytest.mark.parametrize(
    "symbol", ["", ".", "..", "a/b", "a\\b", "../a", "a..b", "a\0", "a\n", "a,b", "\x1b", "\x85", "\ud800"]
)
def test_names_that_could_leave_the_root(symbol: str) -> None:
    assert refused(ErrorCode.SYMBOL_NOT_FOUND, symbols=["A", symbol]).symbol == symbol


@pytest.mark.parametrize("symbol", ["EURUSD", "BRK.B", "^GSPC", "EUR USD", "ÄÖ", "-X", "A*[b]", ".hidden", "a'b\"c"])
def test_names_that_are_only_strange(symbol: str) -> None:
    assert make_request("root", symbols=[symbol]).symbols == (symbol,)


@pytest.mark.parametrize("price_type", ["mid", "BID", "", "last", None, 1])
def test_what_is_no_price_type(price_type: Any) -> None:
    refused(ErrorCode.INVALID_PRICE_TYPE, price_types=["bid", price_type])


@pytest.mark.parametrize(
    "options",
    [
        {"data": ""},
        {"data": "a\0b"},
        {"data": None},
        {"data": b"root"},
        {"symbols": []},
        {"symbols": ["A", "A"]},
        {"symbols": "EURUSD"},
        {"symbols": 7},
        {"symbols": [7]},
        {"symbols": [str(number) for number in range(SYMBOLS_MAX + 1)]},
        {"price_types": []},
        {"price_types": ["bid", "bid"]},
        {"price_types": "bid"},
        {"start": 1, "end": 0},
        {"start": "2024-01-02", "end": "2024-01-01"},
        {"timeline": "leader:"},
        {"timeline": "leader"},
        {"timeline": "leader:A\0"},
        {"timeline": "quorum:0"},
        {"timeline": "quorum:-1"},
        {"timeline": "quorum:+1"},
        {"timeline": "quorum:01"},
        {"timeline": "quorum:1.5"},
        {"timeline": "quorum:x"},
        {"timeline": "quorum:"},
        {"timeline": "quorum"},
        {"timeline": "quorum:٢"},
        {"timeline": "quorum:3"},
        {"timeline": f"quorum:{'9' * 9999}"},
        {"timeline": f"quorum:{SYMBOLS_MAX + 1}", "symbols": None},
        {"timeline": "both"},
        {"timeline": "Union"},
        {"timeline": "union:"},
        {"timeline": None},
        {"session": ""},
        {"session": " NYSE"},
        {"session": "NYSE\n"},
        {"session": "NYSE,fx"},
        {"session": None},
        {"session": "nyse"},
        {"session_file": ""},
        {"session_file": 7},
        {"session_file": b"sessions.csv"},
        {"session_file": "a\0b"},
        {"session_file": "sessions.csv", "session": "fx"},
        {"session_file": "sessions.csv", "session": "NYSE"},
        {"fill": "backward"},
        {"fill": None},
        {"fill": "forward"},
        {"max_age": "1h"},
        {"fill": "forward", "max_age": "200000000bars"},
        {"fill": "forward", "max_age": timedelta(0)},
        {"fill": "forward", "max_age": timedelta(hours=-1)},
        {"fill": "forward", "max_age": timedelta(microseconds=1)},
        {"fill": "forward", "max_age": timedelta(days=999_999)},
        {"fill": "forward", "max_age": pd.Timedelta(nanoseconds=1_000_000_001)},
        {"with_timeframe": 7},
        {"with_timeframe": "S30"},
        {"with_timeframe": "M1"},
        {"with_timeframe": "M1:max-age=1d"},
        {"with_timeframe": ["H1", "D1", "H1"]},
        {"with_timeframe": ["H1", "H1:max-age=1d"]},
        {"with_timeframe": "H1:"},
        {"with_timeframe": "H1:max-age"},
        {"with_timeframe": "H1:max-age="},
        {"with_timeframe": "H1:max-age=0h"},
        {"with_timeframe": "H1:max-age=1d:max-age=1d"},
        {"with_timeframe": "H1:age=1d"},
        {"with_timeframe": "H1: max-age=1d"},
        {"with_timeframe": "D1:max-age=200000bars"},
        {"with_timeframe": "H1", "path_template": "{root}/{symbol}_{side}.parquet"},
        {"with_timeframe": ["H1", "D1"], "session": "NYSE"},
        {"with_timeframe": "W1", "session": "NYSE", "timeframe": "H1"},
        {"known_at": "now"},
        {"known_at": None},
        {"indicators": "rsi"},
        {"indicators": [""]},
        {"indicators": ["a,b"]},
        {"indicators": ["a\n"]},
        {"indicators": ["\ud800"]},
        {"indicators": [7]},
        {"indicators": ["rsi", "ema", "rsi"]},
        {"indicator_template": "{root}/{symbol}.parquet"},
        {"indicators": ["rsi"], "indicator_template": ""},
        {"indicators": ["rsi"], "indicator_template": "{root}/ind.parquet"},
        {"indicators": ["rsi"], "indicator_template": "{root}/ind.parquet", "symbols": None},
        {"indicators": ["rsi"], "indicator_template": "{root}/{symbol}_{side}.parquet"},
        {"indicators": ["rsi"], "indicator_template": "{root}/{symbol}_{SIDE}.parquet"},
        {"indicators": ["rsi"], "indicator_template": "{root}/{symbol}_{name}.parquet"},
        {"indicators": ["rsi"], "indicator_template": "{root}/{symbol"},
        {"normalize": 1},
        {"normalize": "yes"},
        {"unsorted": "ignore"},
        {"duplicates": "mean"},
        {"duplicates": False},
        {"one_instrument": 1},
        {"one_instrument": None},
        {"timestamp_unit": "m"},
        {"timestamp_unit": ""},
        {"zone": "Europe/Atlantis"},
        {"zone": ""},
        {"zone": "localtime"},
        {"zone": "posixrules"},
        {"zone": "+01:00"},
        {"zone": "../etc/passwd"},
        {"zone": "/usr/share/zoneinfo/Europe/Paris"},
        {"zone": "Europe"},
        {"zone": 7},
        {"zone": "a\0b"},
        {"ambiguous": "earlier"},
        {"ambiguous": "guess", "zone": "UTC"},
        {"stamped": "middle"},
        {"days": "local"},
        {"days": "utc"},
        {"days": "Local", "timeframe": "D1"},
        {"days": "local", "with_timeframe": "H23"},
        {"path_template": ""},
        {"path_template": 7},
        {"path_template": "{root}/{symbol}_{side}_{sym}"},
        {"path_template": "{root}/{symbol}_{side}{}"},
        {"path_template": "{root}/{symbol}_{side"},
        {"path_template": "{root}/{symbol}_{side}}"},
        {"path_template": "{root}/{{symbol}}_{side}"},
        {"path_template": "{root}/{symbol!r}_{side}"},
        {"path_template": "{root}/{symbol:>9}_{side}"},
        {"path_template": "{root}/{symbol}_{side}\0"},
        {"path_template": "{root}/{symbol}"},
        {"path_template": "{root}/{side}"},
        {"path_template": "{root}/{side}", "symbols": None},
        {"columns": {"price": "p"}},
        {"columns": {"open": ""}},
        {"columns": {"open": "a\0b"}},
        {"columns": {"open": None}},
    ],
)
def test_contradictions(options: dict[str, Any]) -> None:
    refused(ErrorCode.USAGE, **options)


def test_what_is_at_the_limit() -> None:
    make_request("root", symbols=[str(number) for number in range(SYMBOLS_MAX)])
    make_request("root", symbols=["A"], start=1, end=1)
    make_request("root", symbols=["A"], price_types=["bid"], path_template="one.parquet")
    make_request("root", symbols=["A"], path_template="{root}/{SIDE}.parquet")
    make_request("root", symbols=["A", "B"], timeline="quorum:2")
    make_request("root", timeline=f"quorum:{SYMBOLS_MAX}")
    make_request("root", symbols=["A"], timeframe="D1", with_timeframe="W1", session="NYSE")
    make_request("root", symbols=["A"], timeframe="M1", with_timeframe="H23", session="NYSE")
    make_request("root", symbols=["A"], indicators=["x"], indicator_template="one.parquet")
    # Of the same length, but of another name, and so of other files and columns.
    make_request("root", symbols=["A"], timeframe="M60", with_timeframe=["H1", "M600"])


def test_every_refusal_says_what_to_do() -> None:
    bad: list[dict[str, Any]] = [
        {"fill": "forward"},
        {"max_age": "1h"},
        {"fill": "forward", "max_age": "5"},
        {"with_timeframe": "S30"},
        {"with_timeframe": "M1"},
        {"with_timeframe": ["H1", "H1"]},
        {"with_timeframe": "H1:x"},
        {"timeline": "quorum:3"},
        {"session_file": "f", "session": "fx"},
        {"indicators": ["a", "a"]},
        {"indicator_template": "{symbol}"},
    ]
    for options in bad:
        assert refused(ErrorCode.USAGE, **options).hint, options


def test_timelines() -> None:
    request = make_request("root", symbols=["A", "a:b"], timeline="leader:a:b")
    assert (request.timeline, request.leader, request.quorum) == ("leader:a:b", "a:b", None)
    request = make_request("root", symbols=["A", "B"], timeline="quorum:1")
    assert (request.leader, request.quorum) == (None, 1)
    union = make_request("root", timeline="union")
    assert (union.leader, union.quorum) == (None, None)


def test_a_leader_is_one_of_the_symbols() -> None:
    error = refused(ErrorCode.SYMBOL_NOT_FOUND, timeline="leader:C")
    assert error.symbol == "C"
    assert error.hint
    # Which symbols there are is not known yet; it is looked at again once they are.
    request = make_request("root", timeline="leader:C")
    assert request.leader == "C"
    with pytest.raises(SymbolNotFoundError):
        msgspec.structs.replace(request, symbols=("A", "B"))
    with pytest.raises(RequestError):
        msgspec.structs.replace(make_request("root", timeline="quorum:3"), symbols=("A", "B"))


def test_sessions_and_paths() -> None:
    assert make_request("root", symbols=["A"], session="fx").calendar is None
    assert make_request("root", symbols=["A"], session_file=Path("s.csv")).session_file == "s.csv"
    for name in ("NYSE", "24/7", "CME Globex Crypto", "C-GEO", "us_futures"):
        request = make_request("root", symbols=["A"], session=name)
        assert (request.session, request.calendar) == (name, name)
        assert f'"session":"{name}"' in request.to_json()
        assert '"session_file":null' in request.to_json()
    # The constructor takes any text that may be a name: the library alone knows which there are.
    assert Request(data="root", symbols=("A",), session="Nowhere").calendar == "Nowhere"


def test_indicators() -> None:
    request = make_request("root", symbols=["A"], indicators=iter(["rsi 14", "É", "{x}"]))
    assert request.indicators == ("rsi 14", "É", "{x}")


@pytest.mark.parametrize(
    "fields",
    [
        {"timeline": "both"},
        {"timeline": "quorum:2"},
        {"timeline": "leader:B"},
        {"session": ""},
        {"session": "fx", "session_file": "f"},
        {"fill": "forward"},
        {"fill": "forward", "max_age": "0m"},
        {"max_age": "1m"},
        {"with_timeframe": ("M1",)},
        {"with_timeframe": ("H1", "H1")},
        {"known_at": "x"},
        {"indicators": ("a", "a")},
        {"indicator_template": "{symbol}"},
        {"price_types": ("ask", "bid")},
        {"symbols": ("..",)},
        {"start": 1, "end": 0},
        {"start": 2**63},
        {"timeframe": "Q1"},
        {"columns": {"x": "y"}},
        {"data": None},
        {"inputs": "list.json"},
        {"days": "local"},
        {"zone": "Nowhere"},
        {"ambiguous": "later"},
        {"symbol_pattern": "B"},
        {"data": "hdfs://bucket"},
        {"data": "s3://"},
        {"data": "https://user:pass@host/x"},
        {"data": "http://host/x?sig=1"},
        {"data": "file://host/x"},
    ],
)
def test_the_constructor_checks_too(fields: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"data": "root", "symbols": ("A",)}
    with pytest.raises(OmegaSlicesError):
        Request(**(plain | fields))
    with pytest.raises((OmegaSlicesError, msgspec.ValidationError)):
        msgspec.convert(plain | fields, Request)


@pytest.mark.parametrize("columns", ["open=o", 5, [("open", "o")]])
def test_columns_are_a_mapping(columns: Any) -> None:
    with pytest.raises(RequestError, match="expected a mapping"):
        make_request("data", symbols=["A"], columns=columns)


@pytest.mark.parametrize("symbol", [" A", "A ", "\u00a0A"])
def test_a_symbol_has_no_blanks_at_its_ends(symbol: str) -> None:
    with pytest.raises(SymbolNotFoundError):
        make_request("data", symbols=[symbol])


def test_several_symbols_in_one_text_are_told_how_to_be_listed() -> None:
    with pytest.raises(RequestError) as caught:
        make_request("data", symbols="EURUSD, GBPUSD")
    assert caught.value.hint == "write symbols=['EURUSD', 'GBPUSD']"
