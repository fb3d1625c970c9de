"""Market calendars: which sessions a name becomes, and what they keep of the data."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import stream_factory

from omega_slices import (
    ErrorCode,
    InputFile,
    InputList,
    InputSeries,
    OmegaSlicesError,
    Request,
    RequestError,
    open_slices,
)
from omega_slices import _calendars as calendars
from omega_slices._model.request_parser import make_request
from omega_slices._model.times import parse_time_ns

DAY_NS = 86_400 * 10**9


def ns(text: str) -> int:
    return parse_time_ns(text, "text")


def minute(text: str) -> int:
    """Return minutes since 2024-01-02, as `stream_factory.write_series` takes them."""
    return (ns(text) - stream_factory.START_NS) // stream_factory.MINUTE_NS


def write(root: Path, times: list[str], timeframe: str = "M1") -> None:
    stream_factory.write_series(root, "A", "BID", [(minute(time), 1.0) for time in times], timeframe=timeframe)


def request(root: Path, session: str, **options: Any) -> Request:
    return make_request(root, symbols=["A"], price_types=["bid"], session=session, **options)


def sessions(asked: Request) -> list[tuple[int, int]]:
    """Return the sessions of a request, for the range of the files under its root."""
    assert asked.data is not None
    stamps = [
        stamp.value for path in Path(asked.data).rglob("*.parquet") for stamp in pq.read_table(path).column("UTC time")
    ]
    return calendars.calendar_sessions(asked, (min(stamps), max(stamps)) if stamps else None)


def sessions_of(root: Path, session: str, day: str, **options: Any) -> list[str]:
    """Return the sessions that overlap a UTC day, as texts."""
    found = sessions(request(root, session, **options))
    assert found == sorted(found)
    assert all(start < stop for start, stop in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    start = ns(day)
    return [
        "-".join(f"{pd.Timestamp(edge):%dT%H:%M}" for edge in one)
        for one in found
        if one[0] < start + DAY_NS and start < one[1]
    ]


def kept(root: Path, session: str, **options: Any) -> list[str]:
    """Return the times of the slices."""
    asked: dict[str, Any] = {"symbols": ["A"], "price_types": ["bid"], "backend": "python"}
    with open_slices(root, session=session, **(asked | options)) as slices:
        return [f"{one.timestamp:%Y-%m-%d %H:%M}" for one in slices]


def test_early_closes_holidays_and_weekends(tmp_path: Path) -> None:
    times = [
        *("2024-11-27 14:29", "2024-11-27 14:30", "2024-11-27 20:59", "2024-11-27 21:00"),
        *("2024-11-28 15:00", "2024-11-28 18:00"),  # Thanksgiving
        *("2024-11-29 14:30", "2024-11-29 17:59", "2024-11-29 18:00", "2024-11-29 20:00"),  # closes at 13:00
        *("2024-11-30 15:00", "2024-12-01 15:00", "2024-12-02 15:00"),
    ]
    write(tmp_path, times)
    assert sessions_of(tmp_path, "NYSE", "2024-11-27") == ["27T14:30-27T21:00"]
    assert sessions_of(tmp_path, "NYSE", "2024-11-28") == []
    assert sessions_of(tmp_path, "NYSE", "2024-11-29") == ["29T14:30-29T18:00"]
    assert kept(tmp_path, "NYSE") == [
        "2024-11-27 14:30",
        "2024-11-27 20:59",
        "2024-11-29 14:30",
        "2024-11-29 17:59",
        "2024-12-02 15:00",
    ]
    with open_slices(tmp_path, symbols=["A"], price_types=["bid"], session="NYSE", backend="python") as slices:
        list(slices)
        assert [(one.rows, one.outside_session, one.candles) for one in slices.report.series] == [(13, 8, 5)]
        assert '"session":"NYSE"' in slices.schema.metadata[b"request"].decode()


def test_daylight_saving_time_moves_the_hours(tmp_path: Path) -> None:
    days = ("2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04")
    write(tmp_path, [f"{day} {clock}" for day in days for clock in ("13:30", "14:29", "14:30", "20:00", "20:59")])
    assert kept(tmp_path, "NYSE") == [
        *("2024-03-08 14:30", "2024-03-08 20:00", "2024-03-08 20:59"),
        *("2024-03-11 13:30", "2024-03-11 14:29", "2024-03-11 14:30"),
        *("2024-11-01 13:30", "2024-11-01 14:29", "2024-11-01 14:30"),
        *("2024-11-04 14:30", "2024-11-04 20:00", "2024-11-04 20:59"),
    ]


def test_a_lunch_break_makes_two_sessions(tmp_path: Path) -> None:
    clocks = ("00:00", "02:29", "02:30", "03:29", "03:30", "05:59", "06:00")
    write(tmp_path, [f"2024-07-01 {clock}" for clock in clocks])
    assert sessions_of(tmp_path, "JPX", "2024-07-01") == ["01T00:00-01T02:30", "01T03:30-01T06:00"]
    assert [time[-5:] for time in kept(tmp_path, "JPX")] == ["00:00", "02:29", "03:30", "05:59"]


def test_a_break_behind_an_early_close(tmp_path: Path) -> None:
    # Hong Kong closed at noon on the eve of the lunar new year, where the break begins.
    write(tmp_path, ["2024-02-08 02:00", "2024-02-09 02:00"])
    assert sessions_of(tmp_path, "XHKG", "2024-02-08") == ["08T01:30-08T04:00", "08T05:00-08T08:00"]
    assert sessions_of(tmp_path, "XHKG", "2024-02-09") == ["09T01:30-09T04:00"]


def test_sessions_that_open_on_the_day_before(tmp_path: Path) -> None:
    write(tmp_path, ["2024-06-30 22:30", "2024-06-30 21:30"])
    assert sessions_of(tmp_path, "CME_Equity", "2024-06-30") == ["30T22:00-01T21:00"]
    assert kept(tmp_path, "CME_Equity") == ["2024-06-30 22:30"]


def test_touching_sessions_are_one(tmp_path: Path) -> None:
    write(tmp_path, ["2024-06-29 00:00", "2024-06-30 00:00"])
    (whole,) = sessions(request(tmp_path, "24/7"))
    assert whole[0] < ns("2024-06-29") < ns("2024-07-01") < whole[1]
    assert len(kept(tmp_path, "24/7")) == 2


def test_candles_of_days_count_by_the_date(tmp_path: Path) -> None:
    days = ["2024-11-27", "2024-11-28", "2024-11-29", "2024-11-30", "2024-12-01", "2024-12-02"]
    write(tmp_path, [*(f"{day} 00:00" for day in days), "2024-11-29 23:59"], "D1")
    open_days = ["2024-11-27 00:00", "2024-11-29 00:00", "2024-11-29 23:59", "2024-12-02 00:00"]
    assert kept(tmp_path, "NYSE", timeframe="D1") == open_days
    # Futures of a Monday open on Sunday; they are dated Monday.
    assert "2024-12-01 00:00" not in kept(tmp_path, "CME_Equity", timeframe="D1")
    write(tmp_path, ["2024-11-25", "2024-11-29"], "W1")
    assert len(kept(tmp_path, "NYSE", timeframe="D1", with_timeframe="W1")) == 4


def test_further_timeframes_are_filtered_and_widen_the_range(tmp_path: Path) -> None:
    write(tmp_path, ["2024-11-29 15:30", "2024-11-29 19:30"])
    write(tmp_path, ["2023-11-24 15:00", "2023-11-24 18:00", "2024-11-29 19:00"], "H1")
    asked: dict[str, Any] = {"symbols": ["A"], "price_types": ["bid"], "session": "NYSE", "backend": "python"}
    with open_slices(tmp_path, **asked, with_timeframe="H1") as slices:
        (one,) = slices
    candle = one.get_candle("A", "H1")
    assert candle is not None
    assert candle.timestamp == datetime(2023, 11, 24, 15, tzinfo=UTC)
    assert [(series.timeframe, series.outside_session) for series in slices.report.series] == [("M1", 1), ("H1", 2)]


def test_a_further_timeframe_of_days_is_refused_beside_hours(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"NYSE.*D1.*midnight") as caught:
        request(tmp_path, "NYSE", with_timeframe=["H1", "D1"])
    assert "a stream of its own" in str(caught.value.hint)


def test_no_row_is_dropped_since_the_range_is_short(tmp_path: Path) -> None:
    write(tmp_path, ["1998-06-01 14:00", "2024-11-29 15:00", "2035-06-01 14:00"])
    expected = ["1998-06-01 14:00", "2024-11-29 15:00", "2035-06-01 14:00"]
    assert kept(tmp_path, "NYSE") == expected
    assert kept(tmp_path, "NYSE", end="2024-11-29 15:00") == expected[:2]
    ends = sessions(request(tmp_path, "NYSE", end="2024-11-29"))[-1]
    assert ns("2024-11-29") < ends[1] < ns("2025-01-01")
    assert sessions(request(tmp_path, "NYSE", end="2200-01-01"))[-1][1] < ns("2035-07-01")
    assert sessions(request(tmp_path, "NYSE", end="1998-05-31")) == []
    assert kept(tmp_path, "NYSE", end="1998-05-31") == []


@pytest.mark.parametrize("backend", ["rust", "python"])
def test_local_days_count_by_their_date(tmp_path: Path, binary: Path, backend: str) -> None:
    """Days of Paris, stamped when they begin there, which is the evening before in UTC."""
    days = pd.date_range("2024-12-23", "2024-12-27", tz="Europe/Paris").tz_convert("UTC")
    rows = [((day.value - stream_factory.START_NS) // stream_factory.MINUTE_NS, 1.0) for day in days]
    stream_factory.write_series(tmp_path, "A", "BID", rows, timeframe="D1")
    dates = ["2024-12-23 00:00", "2024-12-24 00:00", "2024-12-27 00:00"]
    asked: dict[str, Any] = {"timeframe": "1d", "zone": "Europe/Paris", "backend": backend}
    assert kept(tmp_path, "XPAR", days="local", **asked) == dates
    # The exchange is closed on the 25th and 26th; by the UTC day, other candles are dropped.
    assert kept(tmp_path, "XPAR", days="utc", **asked) == ["2024-12-23 23:00", "2024-12-24 23:00"]


def test_both_backends_ask_for_the_same_sessions(tmp_path: Path, binary: Path) -> None:
    write(tmp_path, ["2024-11-27 15:00", "2024-11-29 15:00", "2024-11-29 18:30"])
    assert kept(tmp_path, "NYSE", backend="rust") == kept(tmp_path, "NYSE") == ["2024-11-27 15:00", "2024-11-29 15:00"]


def test_no_rows_are_no_sessions(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert sessions(request(tmp_path, "NYSE")) == []
    assert kept(tmp_path, "NYSE") == []


@pytest.mark.parametrize("backend", ["rust", "python"])
@pytest.mark.parametrize("spoil", ["bytes", "column", "twice", "type"])
def test_a_broken_file_is_told_as_ever(tmp_path: Path, binary: Path, spoil: str, backend: str) -> None:
    write(tmp_path, ["2024-11-29 15:00"])
    path = tmp_path / "A" / "A_M1_BID.parquet"
    table = pq.read_table(path)
    match spoil:
        case "bytes":
            path.write_bytes(b"PAR1 nothing")
        case "column":
            pq.write_table(table.rename_columns(["ts", *table.column_names[1:]]), path)
        case "twice":
            pq.write_table(table.append_column("UTC time", table.column(0)), path)
        case "type":
            pq.write_table(table.set_column(0, "UTC time", pa.array([True])), path)
    with pytest.raises(OmegaSlicesError) as caught:
        kept(tmp_path, "NYSE", backend=backend)
    wrong = ErrorCode.CORRUPT_INPUT if spoil == "bytes" else ErrorCode.SCHEMA_MISMATCH
    assert (caught.value.code, caught.value.file) == (wrong, str(path))
    assert (caught.value.symbol, caught.value.price_type) == ("A", "bid")


def test_missing_files_are_told_as_ever(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    with pytest.raises(OmegaSlicesError) as caught:
        kept(tmp_path, "NYSE")
    assert caught.value.code is ErrorCode.SYMBOL_NOT_FOUND


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("nyse", "NYSE"),
        ("NYS", "NYSE"),
        ("CME Equity", "CME_Equity"),
        ("Fx", "fx"),
        ("NONE", "none"),
        ("xlonn", "XLON"),
    ],
)
def test_an_unknown_name_is_told_near_ones(data: Path, name: str, near: str) -> None:
    # Before anything is opened: the folder does not exist.
    with pytest.raises(RequestError, match=f"session={name!r}") as caught:
        open_slices("nowhere", symbols=["A"], session=name)
    assert caught.value.code is ErrorCode.USAGE
    assert near in str(caught.value.hint)


def test_a_name_like_no_other(data: Path) -> None:
    with pytest.raises(RequestError) as caught:
        open_slices(data, session="qqqqqqqqqqqq")
    assert "get_calendar_names" in str(caught.value.hint)


def test_a_calendar_that_cannot_say_its_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ["2024-11-29 15:00"])

    class Broken:
        def __init__(self, name: str) -> None:
            self.name = name

        def schedule(self, first: str, last: str) -> None:
            raise NotImplementedError(f"later: {self.name} {first} {last}")

    monkeypatch.setattr("pandas_market_calendars.get_calendar", Broken)
    with pytest.raises(RequestError, match="the calendar NYSE cannot say its sessions from 2024-11-22") as caught:
        kept(tmp_path, "NYSE")
    assert "later: NYSE 2024-11-22 2024-12-06" in str(caught.value)
    assert caught.value.hint


def test_overlaps_and_empty_sessions_of_a_calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ["2024-11-29 15:00"])
    times = {
        "market_open": ["2024-11-28 10:00", "2024-11-29 11:00", "2024-11-29 09:00", "2024-12-01 09:00", None],
        # A break may lie behind an early close.
        "break_start": ["2024-11-28 13:00", "2024-11-29 12:00", None, None, None],
        "break_end": ["2024-11-28 14:00", "2024-11-29 13:00", None, None, None],
        "market_close": ["2024-11-28 12:00", "2024-11-29 15:00", "2024-11-29 12:00", "2024-12-01 09:00", None],
    }
    frame = pd.DataFrame({name: pd.to_datetime(column, utc=True) for name, column in times.items()})

    class Odd:
        def __init__(self, name: str) -> None:
            assert name == "NYSE"

        def schedule(self, first: str, last: str) -> pd.DataFrame:
            assert first < last
            return frame

    monkeypatch.setattr("pandas_market_calendars.get_calendar", Odd)
    found = sessions(request(tmp_path, "NYSE"))
    assert found == [
        (ns("2024-11-28 10:00"), ns("2024-11-28 12:00")),
        (ns("2024-11-29 09:00"), ns("2024-11-29 12:00")),
        (ns("2024-11-29 13:00"), ns("2024-11-29 15:00")),
    ]


def test_without_the_library(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas_market_calendars", None)
    with pytest.raises(RequestError, match="not installed") as caught:
        open_slices(data, session="NYSE")
    assert caught.value.code is ErrorCode.USAGE
    assert caught.value.hint == 'pip install "omega-slices[calendars]"'
    # Nothing else needs it.
    with open_slices(data, session="fx", backend="python") as slices:
        assert len(list(slices)) == 2


def test_the_library_is_imported_for_calendars_only(data: Path) -> None:
    program = (
        "import sys; from omega_slices import open_slices\n"
        f"with open_slices({str(data)!r}, session='fx', backend='python') as slices: next(slices)\n"
        "sys.exit('pandas_market_calendars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def listed(first: str, last: str) -> str:
    """Return what the executable says of the inputs, for files from one time to another."""
    file = InputFile(
        path="/a", size=1, modified_ns=1, rows=2, first_timestamp_ns=ns(first), last_timestamp_ns=ns(last), columns={}
    )
    return InputList((InputSeries(symbol="A", price_type="bid", timeframe="M1", files=(file,)),)).to_json()


def test_the_executable_is_given_the_sessions(tmp_path: Path, fake: stream_factory.Fake) -> None:
    write(tmp_path, ["2024-11-27 15:00", "2024-11-29 15:00"])
    fake.lists(listed("2024-11-27 15:00", "2024-11-29 15:00"))
    schema = stream_factory.schema(["A"], price_types=["bid"])
    fake.out(b"".join(stream_factory.encode(schema, [stream_factory.batch(schema, 0, 3)])))
    with open_slices(tmp_path, symbols=["A"], price_types=["bid"], session="NYSE") as slices:
        assert len(list(slices)) == 3
    assert {"--session=none", "--session-file=/dev/stdin", "--session-name=NYSE"} < {*fake.arguments}
    header, *lines = fake.stdin.splitlines()
    assert header == "open,close"
    assert "2024-11-27T14:30:00.000000000Z,2024-11-27T21:00:00.000000000Z" in lines
    assert "2024-11-29T14:30:00.000000000Z,2024-11-29T18:00:00.000000000Z" in lines
    assert [tuple(map(ns, line.split(","))) for line in lines] == sessions(request(tmp_path, "NYSE"))


def test_long_calendars_lock_nobody(tmp_path: Path, fake: stream_factory.Fake) -> None:
    # Megabytes, and a program that reads none of them.
    write(tmp_path, ["1900-01-04 15:00", "2100-01-04 15:00"])
    fake.lists(listed("1900-01-04 15:00", "2100-01-04 15:00"))
    Path(fake.path).write_text(f"#!/bin/sh\n[ $1 = inputs ] && exec cat {fake.folder}/inputs.json\nexit 3\n")
    with pytest.raises(OmegaSlicesError, match="exit status 3"):
        open_slices(tmp_path, symbols=["A"], price_types=["bid"], session="NYSE")


def test_no_room_for_the_sessions(tmp_path: Path, fake: stream_factory.Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ["2024-11-27 15:00"])

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OmegaSlicesError, match="No space left") as caught:
        open_slices(tmp_path, symbols=["A"], price_types=["bid"], session="NYSE")
    assert caught.value.code is ErrorCode.SYSTEM_FAILURE
    assert not (fake.folder / "pid").exists()


@pytest.mark.parametrize("name", ["NYSE", "XHKG", "24/7"])
def test_every_64_bit_time_has_its_calendar(name: str) -> None:
    schedule = calendars._schedule(name, -(2**63) // DAY_NS - 7, (2**63 - 1) // DAY_NS + 7)
    found = calendars._apart(calendars._hours(schedule))
    assert np.array(found).shape[1] == 2
    assert found[0][0] < ns("1677-09-30")
    assert found[-1][1] > ns("2262-04-01")
