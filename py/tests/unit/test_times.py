"""Times, timeframes and ages: every form in which people write them, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from internals import refused

from omega_slices import (
    ErrorCode,
    OmegaSlicesError,
    Request,
    RequestError,
    TimeframeNotFoundError,
)
from omega_slices._model.request_parser import make_request
from omega_slices._model.times import age_ns, format_time_ns, parse_time_ns, timeframe_ns

MIN_NS, MAX_NS = -(2**63), 2**63 - 1


NINE_THIRTY = 1_704_187_800 * 10**9


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
        np.datetime64("2024-01-02T09:30"),
        np.datetime64(NINE_THIRTY, "ns"),
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
        *(np.datetime64("NaT"), np.datetime64("9999-01-01"), np.datetime64(2**62, "us"), np.timedelta64(1, "s")),
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
    ("text", "name"),
    [("10s", "S10"), ("1m", "M1"), ("5m", "M5"), ("1h", "H1"), ("4h", "H4"), ("1d", "D1"), ("1w", "W1"), ("M1", "M1")],
)
def test_timeframes_are_spelled_in_two_ways(text: str, name: str) -> None:
    request = make_request("root", symbols=["A"], timeframe=text, with_timeframe=["9w", "8w:max-age=1d"])
    assert request.timeframe == name
    assert request.with_timeframe == ("W9", "W8:max-age=1d")
    assert request == make_request("root", symbols=["A"], timeframe=name, with_timeframe=["W9", "W8:max-age=1d"])
    # The plain values have one spelling.
    if text != name:
        with pytest.raises(TimeframeNotFoundError):
            Request(data="root", symbols=("A",), timeframe=text)


@pytest.mark.parametrize(
    "text", ["0m", "01m", "1M", "1H", "m", "1 m", "1m ", "1min", "+1m", "١m", "1.5h", "9" * 30 + "s"]
)
def test_what_is_no_spelling_of_a_timeframe(text: str) -> None:
    refused(ErrorCode.TIMEFRAME_NOT_FOUND, timeframe=text)
    refused(ErrorCode.TIMEFRAME_NOT_FOUND, with_timeframe=[text])


def test_spellings_of_one_timeframe_are_that_timeframe() -> None:
    refused(ErrorCode.USAGE, with_timeframe=["H1", "1h"])
    refused(ErrorCode.USAGE, timeframe="1m", with_timeframe="M1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1s", 1), ("120s", 120), ("15m", 900), ("2h", 7_200), ("3d", 259_200), ("1w", 604_800)),
        *(("5bars", 25), ("1bar", 5), ("1bars", 5), ("2bar", 10)),
    ],
)
def test_ages(text: str, seconds: int) -> None:
    assert age_ns(text, 5 * 10**9) == seconds * 10**9
    request = make_request("root", symbols=["A"], timeframe="S5", fill="forward", max_age=text)
    assert (request.max_age, request.max_age_ns) == (text, seconds * 10**9)
    (higher,) = make_request("root", symbols=["A"], timeframe="S1", with_timeframe=f"S5:max-age={text}").further
    assert higher == ("S5", 5 * 10**9, seconds * 10**9)


@pytest.mark.parametrize(
    "text",
    [
        *("", "m", "0m", "05m", "-1m", "+1m", "1.5h", "5", "5 m", " 5m", "5m ", "5m\n", "5M", "5bar s", "5Bars", "5y"),
        *("1m30s", "٥m", "9999999999999d", "300y", "9" * 9_999 + "s", "9223372037s", "1845bars", 5, 1.5, b"5m"),
    ],
)
def test_what_is_no_age(text: Any) -> None:
    # Bars of 5,000,000 seconds: 1,844 are 292 years.
    with pytest.raises(RequestError, match="max_age="):
        age_ns(text, 5_000_000 * 10**9)
    with pytest.raises(RequestError):
        make_request("root", symbols=["A"], timeframe="S5000000", fill="forward", max_age=text)


def test_the_longest_age() -> None:
    assert age_ns("9223372036s", 1) == 9_223_372_036 * 10**9
    assert age_ns(f"{2**63 - 1}bars", 1) == 2**63 - 1
    with pytest.raises(RequestError, match="too long"):
        age_ns(f"{2**63}bars", 1)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(minutes=15), "900s"),
        (timedelta(days=3, seconds=1), "259201s"),
        (pd.Timedelta("2h"), "7200s"),
    ],
)
def test_an_age_may_be_a_timedelta(age: timedelta, text: str) -> None:
    assert make_request("root", symbols=["A"], fill="forward", max_age=age).max_age == text


def test_further_timeframes() -> None:
    request = make_request("root", symbols=["A"], with_timeframe="H1")
    assert request.with_timeframe == ("H1",)
    request = make_request("root", symbols=["A"], with_timeframe=iter(["D1:max-age=2bars", "H1"]))
    assert request.with_timeframe == ("D1:max-age=2bars", "H1")
    hour = 3_600 * 10**9
    assert request.further == (("D1", 24 * hour, 48 * hour), ("H1", hour, None))
    assert '"with_timeframe":["D1:max-age=2bars","H1"]' in request.to_json()


@pytest.mark.parametrize("text", ["", "x", "h1", "H1 ", ":max-age=1d", "max-age=1d", None, 1])
def test_what_is_no_further_timeframe(text: Any) -> None:
    refused(ErrorCode.TIMEFRAME_NOT_FOUND, with_timeframe=["D1", text])


def test_several_further_timeframes_in_one_text_are_told_how_to_be_listed() -> None:
    error = refused(ErrorCode.USAGE, with_timeframe="H1, D1")
    assert error.hint == "write with_timeframe=['H1', 'D1']"
