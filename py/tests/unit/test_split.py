"""Where requests are cut: against a walk over every candle, and against calendars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

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
        request_of(0, DAY).split(by)  # type: ignore[arg-type]


def test_a_request_without_dates_is_split_over_its_files(tmp_path: object) -> None:
    root = tmp_path
    for symbol, minutes in (("A", (0, 1_500)), ("B", (3, 2_900))):
        for side in ("BID", "ASK"):
            stream_factory.write_series(root, symbol, side, [(minute, 1.0) for minute in minutes])  # type: ignore[arg-type]
    request = Request(data=str(root), symbols=("A", "B"))
    first = stream_factory.START_NS
    minute = stream_factory.MINUTE_NS
    assert [(part.start, part.before) for part in request.split("day")] == [
        (first, first + DAY),
        (first + DAY, first + 2 * DAY),
        (first + 2 * DAY, first + 2_900 * minute + 1),
    ]


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
