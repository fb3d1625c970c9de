"""Where requests are cut: against a walk over every candle, and against calendars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers import stream_factory
from helpers.oracle import floored
from hypothesis import given
from hypothesis import strategies as st

from omega_slices import Request, RequestError
from omega_slices._model.request_parser import make_request

DAY = 86_400 * 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NS_MAX = 2**63 - 1
NS_MIN = -(2**63)


def request_of(start: int | None, before: int | None, timeframe: str = "M1") -> Request:
    return Request(data="d", symbols=("A",), start=start, before=before, timeframe=timeframe)


def date_of(timestamp_ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=timestamp_ns // 1_000)


@given(
    st.integers(-3_000 * DAY, 30_000 * DAY),
    st.integers(1, 900 * DAY),
    st.sampled_from(("S10", "M1", "M7", "H4", "H5", "D1", "D3", "W1", "W2")),
    st.sampled_from(("day", "week", "month", "year", 1, 2, 5, 50)),
)
def test_parts_follow_each_other_and_begin_where_candles_do(
    start: int, length: int, timeframe: str, by: str | int
) -> None:
    whole = request_of(start, start + length, timeframe)
    parts = whole.split(by)
    assert (parts[0].start, parts[-1].before) == (start, start + length)
    for one, other in pairwise(parts):
        assert one.before == other.start
        assert other.start is not None
        assert floored(other.start, timeframe) == other.start
    for part in parts:
        assert part.start is not None
        assert part.before is not None
        assert part.start < part.before
        assert (part.end, part.timeframe, part.symbols) == (None, timeframe, ("A",))
    if isinstance(by, int):
        assert len(parts) <= by
        return
    # Whatever begins in one period lies in one part.
    for part in parts[1:]:
        begin = date_of(part.start or 0)
        before = date_of((part.start or 0) - whole.timeframe_ns)
        assert period_of(begin, by) != period_of(before, by)


def period_of(at: datetime, by: str) -> tuple[int, ...]:
    """Return the day, week, month or year of a time."""
    if by == "week":
        return tuple(at.isocalendar()[:2])
    return (at.year, at.month, at.day)[: {"day": 3, "month": 2, "year": 1}[by]]


def test_months_and_weeks_are_those_of_the_calendar() -> None:
    def starts(by: str, timeframe: str = "M1") -> list[str]:
        first, last = (int(datetime(2024, month, 20, tzinfo=UTC).timestamp()) * 10**9 for month in (1, 4))
        return [f"{date_of(part.start or 0):%m-%d}" for part in request_of(first, last, timeframe).split(by)]

    assert starts("month") == ["01-20", "02-01", "03-01", "04-01"]
    assert starts("week")[:3] == ["01-20", "01-22", "01-29"]
    assert starts("year") == ["01-20"]
    # The first week that begins in each month.
    assert starts("month", "W1") == ["01-20", "02-05", "03-04", "04-01"]


@given(
    st.integers(-3_000 * DAY, 30_000 * DAY) | st.integers(NS_MIN, NS_MIN + 30 * DAY),
    st.integers(1, 900 * DAY),
    st.sampled_from(("M1", "H5", "D1", "D3", "W1", "W2")),
    st.sampled_from(("day", "week", "month", "year")),
)
def test_a_period_that_began_before_the_window_makes_no_cut(start: int, length: int, timeframe: str, by: str) -> None:
    """Else a candle of several days is cut off that begins inside the first period."""
    expected = {start}
    for day in range(start // DAY + 1, (start + length) // DAY + 1):
        if day * DAY < start + length and period_of(date_of(day * DAY), by) != period_of(date_of(day * DAY - 1), by):
            begin = floored(day * DAY, timeframe)
            begin += 0 if begin == day * DAY else request_of(0, 1, timeframe).timeframe_ns
            if start < begin < start + length:
                expected.add(begin)
    assert [part.start for part in request_of(start, start + length, timeframe).split(by)] == sorted(expected)


@pytest.mark.parametrize("timeframe", ["M7", "D1", "W1"])
@pytest.mark.parametrize("by", [1, 2, 5, 1_000, "day", "year"])
def test_cuts_at_the_ends_of_time_are_where_candles_begin(timeframe: str, by: str | int) -> None:
    for first, last in ((NS_MIN, NS_MIN + 9 * DAY), (NS_MIN, NS_MIN + 1), (NS_MAX - 9 * DAY, NS_MAX)):
        parts = Request(data="d", symbols=("A",), timeframe=timeframe, start=first, end=last).split(by)
        assert (parts[0].start, parts[-1].last_ns) == (first, last)
        for one, other in pairwise(parts):
            assert one.before == other.start
            assert floored(other.start or 0, timeframe) == other.start


def test_a_filled_and_floored_window_starts_where_a_candle_does() -> None:
    options: dict[str, Any] = {"data": "d", "symbols": ("A",), "timeframe": "M5", "normalize": True, "before": DAY}
    with pytest.raises(RequestError, match="cannot split a request with normalize and fill") as caught:
        Request(**options, fill="forward", max_age="2bars", start=420 * 10**9).split(3)
    assert caught.value.hint == "start where a candle opens, such as 1970-01-01T00:05:00.000000000Z"
    more: list[dict[str, Any]] = [{"start": 420 * 10**9}, {"fill": "forward", "max_age": "2bars", "start": 300 * 10**9}]
    for some in more:
        assert len(Request(**options, **some).split(3)) == 3
    first = Request(**options | {"before": None}, fill="forward", max_age="2bars", start=NS_MIN, end=0)
    with pytest.raises(RequestError) as caught:
        first.split(3)
    assert caught.value.hint == "start where a candle opens, such as 1677-09-21T00:15:00.000000000Z"


def test_an_inclusive_end_is_in_the_last_part() -> None:
    request = Request(data="d", symbols=("A",), start=0, end=2 * DAY)
    assert [(part.start, part.end, part.before) for part in request.split("day")] == [
        (0, None, DAY),
        (DAY, None, 2 * DAY),
        (2 * DAY, None, 2 * DAY + 1),
    ]
    last = Request(data="d", symbols=("A",), start=NS_MAX - DAY, end=NS_MAX).split("day")[-1]
    assert (last.end, last.before) == (NS_MAX, None)


@pytest.mark.parametrize("by", ["hour", 0, -1, True, 1.5, None])
def test_what_is_no_way_to_cut(by: object) -> None:
    with pytest.raises(RequestError, match="invalid by="):
        request_of(0, DAY).split(by)  # type: ignore[arg-type]  # is what is tested


def test_a_request_without_dates_is_split_over_its_files(tmp_path: Path) -> None:
    root = tmp_path
    for symbol, minutes in (("A", (0, 1_500)), ("B", (3, 2_900))):
        for side in ("BID", "ASK"):
            stream_factory.write_series(root, symbol, side, [(minute, 1.0) for minute in minutes])
    request = Request(data=str(root), symbols=("A", "B"))
    first = stream_factory.START_NS
    minute = stream_factory.MINUTE_NS
    assert [(part.start, part.before) for part in request.split("day")] == [
        (first, first + DAY),
        (first + DAY, first + 2 * DAY),
        (first + 2 * DAY, first + 2_900 * minute + 1),
    ]


def test_floored_candles_at_the_ends_of_the_files_are_whole(tmp_path: Path) -> None:
    """So rows of other series in the first and the last candle are in the window."""
    stream_factory.write_series(tmp_path, "A", "BID", [(2, 1.0), (11, 1.0)])
    first = stream_factory.START_NS
    minute = stream_factory.MINUTE_NS
    options: dict[str, Any] = {"data": str(tmp_path), "symbols": ("A",), "price_types": ("bid",)}
    (part,) = Request(**options).split("day")
    assert (part.start, part.before) == (first + 2 * minute, first + 11 * minute + 1)
    (tmp_path / "A" / "A_M1_BID.parquet").rename(tmp_path / "A" / "A_M5_BID.parquet")
    (part,) = Request(**options, timeframe="M5", normalize=True).split("day")
    assert (part.start, part.before) == (first, first + 15 * minute)
    (part,) = Request(**options, timeframe="M5", normalize=True, start=first + minute).split("day")
    assert (part.start, part.before) == (first + minute, first + 15 * minute)


def test_the_window_has_one_end() -> None:
    with pytest.raises(RequestError, match="inclusive and an exclusive end"):
        Request(data="d", symbols=("A",), end=1, before=2)
    with pytest.raises(RequestError, match=r"starts at .* and ends before"):
        Request(data="d", symbols=("A",), start=5, before=5)
    assert Request(data="d", symbols=("A",), before=5).last_ns == 4


def test_a_part_is_made_again_of_its_values() -> None:
    """So recipes may pass all of them to `open_slices`."""
    shaped = Request(
        data="d",
        symbols=("B", "A"),
        timeframe="D1",
        price_types=("ask", "trade"),
        start=0,
        end=9 * DAY,
        timeline="leader:A",
        normalize=True,
        unsorted="error",
        duplicates="first",
        columns={"close": "Last"},
        fill="forward",
        max_age="5bars",
        with_timeframe=("W1:max-age=9d",),
        known_at="close",
        indicators=("rsi",),
        one_instrument=True,
        timestamp_unit="ms",
        zone="Europe/Paris",
        ambiguous="infer",
        stamped="close",
        days="local",
        fields=("open", "close"),
    )
    everything = Request(data=None, inputs="list.json", symbols=None, symbol_pattern="A.*", session="fx", before=5)
    for request in (shaped, everything, *shaped.split("week")):
        values = msgspec.structs.asdict(request)
        assert make_request(values.pop("data"), **values) == request
