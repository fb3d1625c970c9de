"""The request: what is accepted, what it becomes, and what is refused before anything is opened."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_slices import ErrorCode, OmegaSlicesError, Request, RequestError, SymbolNotFoundError
from omega_slices._request import SYMBOLS_MAX, format_time_ns, make_request, parse_time_ns, timeframe_ns

MIN_NS, MAX_NS = -(2**63), 2**63 - 1
NINE_THIRTY = 1_704_187_800 * 10**9


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
    }
    assert list(json.loads(request.to_json())) == list(Request.__struct_fields__)


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


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-02T09:30:00Z",
        "2024-01-02t09:30:00z",
        "2024-01-02T09:30:00.000000000Z",
        "2024-01-02T10:30:00+01:00",
        "2024-01-02T04:00-05:30",
        "2024-01-02 10:30:00+0100",
        "2024-01-02T09:30:00",
        "2024-01-02 09:30:00.0",
        " 2024-01-02 09:30 ",
        datetime(2024, 1, 2, 9, 30),  # noqa: DTZ001  # without a zone is what is tested
        datetime(2024, 1, 2, 9, 30, tzinfo=UTC),
        datetime(2024, 1, 2, 4, 30, tzinfo=timezone(timedelta(hours=-5))),
        NINE_THIRTY,
        np.int64(NINE_THIRTY),
        pd.Timestamp("2024-01-02T09:30", tz="UTC"),
    ],
)
def test_every_form_of_a_time(value: Any) -> None:
    assert parse_time_ns(value, "start") == NINE_THIRTY


def test_nanoseconds_survive() -> None:
    assert parse_time_ns("1969-12-31T23:59:59.999999999", "start") == -1
    assert parse_time_ns("1970-01-01T00:00:00.000000001", "start") == 1
    assert parse_time_ns(pd.Timestamp(1_000_000_001, unit="ns", tz="UTC"), "start") == 1_000_000_001
    assert parse_time_ns(pd.Timestamp(-1, unit="ns"), "start") == -1


@given(st.integers(MIN_NS, MAX_NS))
def test_times_go_to_text_and_back(timestamp_ns: int) -> None:
    text = format_time_ns(timestamp_ns)
    assert len(text) == len("2024-01-02T00:00:00.000000000Z")
    assert parse_time_ns(text, "start") == timestamp_ns
    assert parse_time_ns(timestamp_ns, "start") == timestamp_ns


@pytest.mark.parametrize(
    "value",
    [
        *("", "today", "2024-13-01", "2024-02-30", "2024-01-02T25:00", "2024-01-02T09:60", "2024-01-02T09:30:60"),
        *("2024-1-2", "2024-01-02T", "2024-01-02T09", "2024-01-02Z", "2024-01-02T09:30:00.", "2024-01-02T09:30.5"),
        *("2024-01-02T09:30:00.0000000001", "2024-01-02T09:30+01:60", "2024-01-02T09:30+24:00", "٢٠٢٤-01-02"),
        *("2300-01-01", "1600-01-01", MAX_NS + 1, MIN_NS - 1, True, 1.5, None, b"2024-01-02", pd.NaT),
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(OmegaSlicesError, match="end=") as caught:
        parse_time_ns(value, "end")
    assert caught.value.code is ErrorCode.USAGE


@pytest.mark.parametrize(
    ("text", "seconds"), [("S10", 10), ("M1", 60), ("M15", 900), ("H4", 14_400), ("D1", 86_400), ("W1", 604_800)]
)
def test_timeframes(text: str, seconds: int) -> None:
    assert timeframe_ns(text) == seconds * 10**9


@pytest.mark.parametrize(
    "text",
    ["", "M", "M0", "M01", "1M", "m1", "X1", "M-1", "M1 ", "M1\n", "M1.5", "M١", "W100000", "S" + "9" * 9999, None, 1],
)
def test_what_is_no_timeframe(text: Any) -> None:
    refused(ErrorCode.TIMEFRAME_NOT_FOUND, timeframe=text)


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
        {"timeline": "leader:A"},
        {"timeline": "both"},
        {"timeline": None},
        {"session": "nyse"},
        {"normalize": 1},
        {"normalize": "yes"},
        {"unsorted": "ignore"},
        {"duplicates": "mean"},
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
        {"columns": {"open": "a,b"}},
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


@pytest.mark.parametrize(
    "fields",
    [
        {"timeline": "both"},
        {"price_types": ("ask", "bid")},
        {"symbols": ("..",)},
        {"start": 1, "end": 0},
        {"start": 2**63},
        {"timeframe": "Q1"},
        {"columns": {"x": "y"}},
    ],
)
def test_the_constructor_checks_too(fields: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"data": "root", "symbols": ("A",)}
    with pytest.raises(OmegaSlicesError):
        Request(**(plain | fields))
    with pytest.raises((OmegaSlicesError, msgspec.ValidationError)):
        msgspec.convert(plain | fields, Request)


def refused(code: ErrorCode, **options: Any) -> OmegaSlicesError:
    """Check that a request is refused with a code and words on what to do, and return the error."""
    given: dict[str, Any] = {"data": "root", "symbols": ["A", "B"]} | options
    with pytest.raises(OmegaSlicesError) as caught:
        make_request(**given)
    assert caught.value.code is code
    assert caught.value.message
    return caught.value


@pytest.mark.parametrize("columns", ["open=o", 5, [("open", "o")]])
def test_columns_are_a_mapping(columns: Any) -> None:
    with pytest.raises(RequestError, match="no mapping"):
        make_request("data", symbols=["A"], columns=columns)


@pytest.mark.parametrize("symbol", [" A", "A ", "\u00a0A"])
def test_a_symbol_has_no_blanks_at_its_ends(symbol: str) -> None:
    with pytest.raises(SymbolNotFoundError):
        make_request("data", symbols=[symbol])


def test_several_symbols_in_one_text_are_told_how_to_be_listed() -> None:
    with pytest.raises(RequestError) as caught:
        make_request("data", symbols="EURUSD, GBPUSD")
    assert caught.value.hint == "write symbols=['EURUSD', 'GBPUSD']"
