"""The reference itself, and the rules about files and names that goldens do not show.

What is said here about input holds for both backends, and is tried on both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.oracle import parse_time_ns
from helpers.requests import make_request

from omega_slices import (
    AmbiguousInputError,
    CorruptInputError,
    InvalidPriceTypeError,
    OmegaSlicesError,
    RequestError,
    SchemaMismatchError,
    SymbolNotFoundError,
    TimeframeNotFoundError,
    open_slices,
)
from omega_slices.reference import open_reference, timestamp_range

both_backends = pytest.mark.parametrize("backend", ["python", "rust"])

START_NS = 1_704_153_600 * 10**9  # 2024-01-02T00:00Z
MINUTE_NS = 60 * 10**9


def write(path: Path, minutes: list[int], volume: float = 1.0) -> None:
    """Write candles of the given minutes; the volume tells one file from another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps = pa.array([START_NS + minute * MINUTE_NS for minute in minutes], pa.int64())
    values = {name: [1.0] * len(minutes) for name in ("Open", "High", "Low", "Close")} | {
        "Volume": [volume] * len(minutes)
    }
    columns = {"UTC time": stamps.cast(pa.timestamp("ns", tz="UTC"))}
    columns |= {name: pa.array(column, pa.float64()) for name, column in values.items()}
    pq.write_table(pa.table(columns), path)


def write_indicator(path: Path, values: dict[int, float]) -> None:
    """Write an indicator `x` by the minutes of its rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps = pa.array([START_NS + minute * MINUTE_NS for minute in values], pa.int64())
    pq.write_table(pa.table({"UTC time": stamps.cast(pa.timestamp("ns", tz="UTC")), "x": list(values.values())}), path)


def volumes(data: Path, backend: str, **options: Any) -> dict[str, list[float]]:
    """Return the volumes of each symbol's bid candles in the union of the timelines."""
    with open_slices(data, price_types=["bid"], timeline="union", backend=backend, **options) as slices:
        found: dict[str, list[float]] = {symbol: [] for symbol in slices.symbols}
        for one in slices:
            for symbol in slices.symbols:
                candle = one.get(symbol, "bid")
                if candle is not None:
                    found[symbol].append(candle.volume)
    return found


def test_a_run_can_be_iterated_again(tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0, 1])
    run = open_reference(make_request(tmp_path, symbols=["A"], price_types=["bid"]))
    assert [timestamp_ns for timestamp_ns, _ in run] == [START_NS, START_NS + MINUTE_NS]
    assert list(run) == list(run)


def test_the_range_of_a_request_is_that_of_all_its_rows(tmp_path: Path) -> None:
    """Of rows as they are stamped, in all series, whether the window keeps them or not."""
    write(tmp_path / "A" / "A_M1_BID.parquet", [0, 10])
    write(tmp_path / "B" / "B_M1_BID.parquet", [])
    write(tmp_path / "C" / "C_M1_BID.parquet", [])
    write(tmp_path / "A" / "A_H1_BID.parquet", [-90])
    write(tmp_path / "B" / "B_H1_BID.parquet", [])
    write_indicator(tmp_path / "A" / "A_M1_IND.parquet", {15: 1.0})
    write_indicator(tmp_path / "B" / "B_M1_IND.parquet", {})

    def minutes(*symbols: str, **options: Any) -> tuple[float, ...] | None:
        request = make_request(tmp_path, symbols=symbols, price_types=["bid"], **options)
        found = timestamp_range(request)
        return None if found is None else tuple((edge - START_NS) / MINUTE_NS for edge in found)

    assert minutes("A") == minutes("A", "B") == minutes("A", end="2024-01-02T00:05:00Z") == (0, 10)
    assert minutes("B", "C") is None
    more: dict[str, Any] = {"with_timeframe": "H1", "indicators": ["x"]}
    assert minutes("A", "B", **more) == (-90, 15)
    assert minutes("A", "B", **more, stamped="close") == (-150, 14)
    with pytest.raises(TimeframeNotFoundError):
        minutes("A", with_timeframe="H4")

    # Both passes of an hour that happens twice, and what does not fit, cut to 64 bits.
    stamps = pa.array(["2024-11-03 01:00:00", "9999-01-01 00:00:00"])
    values = {name: [1.0, 1.0] for name in ("Open", "High", "Low", "Close", "Volume")}
    pq.write_table(pa.table({"UTC time": stamps, **values}), tmp_path / "C" / "C_M1_BID.parquet")
    request = make_request(tmp_path, symbols=["C"], price_types=["bid"], zone="America/New_York")
    first_ns = parse_time_ns("2024-11-03T05:00:00Z")
    assert timestamp_range(request) == (first_ns, 2**63 - 1)


def test_the_range_of_local_days_is_that_of_their_dates(tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_D1_BID.parquet", [-60, 60 * 24 * 3 - 60])
    request = make_request(
        tmp_path, symbols=["A"], price_types=["bid"], timeframe="D1", zone="Europe/Paris", days="local"
    )
    assert timestamp_range(request) == (START_NS, START_NS + 3 * 24 * 60 * MINUTE_NS)


def test_sessions_that_a_calendar_gave(tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0, 1, 2, 3])
    request = make_request(tmp_path, symbols=["A"], price_types=["bid"])
    sessions = [(START_NS + 3 * MINUTE_NS, START_NS + 4 * MINUTE_NS), (START_NS, START_NS + MINUTE_NS)]
    assert [stamp for stamp, _ in open_reference(request, sessions)] == [START_NS, START_NS + 3 * MINUTE_NS]
    assert list(open_reference(request, [])) == []
    named = msgspec.structs.replace(request, session="Some Exchange")
    assert len(list(open_reference(named, sessions))) == 2
    with pytest.raises(RequestError):
        open_reference(named)


@both_backends
@pytest.mark.parametrize("template", [None, "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}*.parquet"])
def test_what_is_missing_decides_the_error(template: str | None, backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0])
    asked: list[tuple[type[OmegaSlicesError], dict[str, Any]]] = [
        (SymbolNotFoundError, {"symbols": ["B"]}),
        (TimeframeNotFoundError, {"symbols": ["A"], "timeframe": "H1"}),
        (InvalidPriceTypeError, {"symbols": ["A"], "price_types": ["ask"]}),
    ]
    for error, options in asked:
        with pytest.raises(error) as caught:
            open_slices(tmp_path, **{"price_types": ["bid"], **options}, path_template=template, backend=backend)
        assert caught.value.symbol == options["symbols"][0]


@both_backends
def test_a_file_of_indicators_is_no_candle(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_IND.parquet", [0])
    with pytest.raises(SymbolNotFoundError):
        open_slices(tmp_path, symbols=["A"], price_types=["bid"], backend=backend)


@both_backends
def test_no_root_and_no_symbol_under_it(backend: str, tmp_path: Path) -> None:
    with pytest.raises(SymbolNotFoundError):
        open_slices(tmp_path / "nowhere", symbols=["A"], backend=backend)
    with pytest.raises(SymbolNotFoundError):
        open_slices(tmp_path / "nowhere", backend=backend)
    with pytest.raises(SymbolNotFoundError):
        open_slices(tmp_path, backend=backend)


@both_backends
def test_all_symbols_of_a_template(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "M1" / "B_A.bid.1.parquet", [0], 1.0)
    write(tmp_path / "M1" / "B_A.bid.2.parquet", [1], 2.0)
    write(tmp_path / "M1" / "B.bid.1.parquet", [0], 3.0)
    write(tmp_path / "M1" / "C.ask.1.parquet", [0], 4.0)
    write(tmp_path / "H1" / "D.bid.1.parquet", [0], 5.0)
    found = volumes(tmp_path, backend, path_template="{root}/{timeframe}/{symbol}.{side}.*.parquet")
    assert found == {"B": [3.0], "B_A": [1.0, 2.0]}
    assert list(found) == ["B", "B_A"]


@both_backends
def test_all_symbols_are_those_of_the_primary_timeframe(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [120], 1.0)
    write(tmp_path / "A" / "A_H1_BID.parquet", [0], 2.0)
    write(tmp_path / "B" / "B_H1_BID.parquet", [0], 3.0)
    assert volumes(tmp_path, backend, with_timeframe="H1") == {"A": [1.0]}
    write(tmp_path / "C" / "C_M1_BID.parquet", [0], 4.0)
    with pytest.raises(TimeframeNotFoundError) as caught:
        volumes(tmp_path, backend, with_timeframe="H1")
    assert (caught.value.symbol, caught.value.price_type) == ("C", "bid")
    assert caught.value.file == str(tmp_path / "C" / "C_H1_BID.parquet")


@both_backends
def test_each_series_may_have_its_side_in_lower_case(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [60], 1.0)
    write(tmp_path / "A" / "A_H1_bid.parquet", [0], 2.0)
    with open_slices(tmp_path, symbols=["A"], price_types=["bid"], with_timeframe="H1", backend=backend) as slices:
        candle = next(slices).get_candle("A", "H1")
    assert candle is not None
    assert (candle.volume, candle.timestamp_ns) == (2.0, START_NS)


@both_backends
def test_a_template_with_further_timeframes(backend: str, tmp_path: Path) -> None:
    template = "{root}/{timeframe}/{symbol}-*.parquet"
    write(tmp_path / "M1" / "A-1.parquet", [60], 1.0)
    write(tmp_path / "H1" / "A-1.parquet", [0], 2.0)
    write(tmp_path / "H1" / "A-2.parquet", [0], 3.0)
    options: dict[str, Any] = {"price_types": ["bid"], "with_timeframe": ["H1"], "backend": backend}
    with open_slices(tmp_path, **options, path_template=template) as slices:
        (one,) = slices
        candle = one.get_candle("A", "H1")
        assert [(series.timeframe, series.files) for series in slices.report.series] == [("M1", 1), ("H1", 2)]
    assert candle is not None
    assert candle.volume == 3.0
    with pytest.raises(RequestError):
        open_slices(tmp_path, symbols=["A"], **options, path_template="{root}/M1/{symbol}-*.parquet")


@both_backends
def test_files_of_indicators(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0, 1, 2])
    options: dict[str, Any] = {"symbols": ["A"], "price_types": ["bid"], "indicators": ["x"], "backend": backend}
    with pytest.raises(TimeframeNotFoundError) as caught:
        open_slices(tmp_path, **options)
    assert (caught.value.symbol, caught.value.price_type) == ("A", None)
    assert caught.value.file == str(tmp_path / "A" / "A_M1_IND.parquet")

    # As everywhere, files are taken in name order, and the last row of a timestamp wins.
    write_indicator(tmp_path / "ind" / "A.10.parquet", {0: 1.0, 1: 2.0})
    write_indicator(tmp_path / "ind" / "A.9.parquet", {1: 3.0})
    write_indicator(tmp_path / "ind" / "AB.1.parquet", {2: 4.0})
    with open_slices(tmp_path, **options, indicator_template="{root}/ind/{symbol}.*.parquet") as slices:
        assert [one["A"].indicators for one in slices] == [{"x": 1.0}, {"x": 3.0}, {"x": None}]
    with pytest.raises(TimeframeNotFoundError) as caught:
        open_slices(tmp_path, **options, indicator_template="{root}/ind/{symbol}_*.parquet")
    assert caught.value.file == str(tmp_path / "ind" / "A_*.parquet")


@both_backends
def test_a_time_is_no_indicator(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0])
    write_indicator(tmp_path / "A" / "A_M1_IND.parquet", {0: 1.0})
    with (
        pytest.raises(SchemaMismatchError) as caught,
        open_slices(tmp_path, symbols=["A"], price_types=["bid"], indicators=["UTC time"], backend=backend) as slices,
    ):
        list(slices)
    assert (caught.value.symbol, caught.value.price_type, caught.value.column) == ("A", None, "UTC time")


@both_backends
def test_a_candle_file_may_hold_indicators(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0, 1], 5.0)
    options: dict[str, Any] = {"indicators": ["Close", "Volume"], "backend": backend}
    template = "{root}/{symbol}/{symbol}_{timeframe}_BID.parquet"
    with open_slices(tmp_path, symbols=["A"], price_types=["bid"], **options, indicator_template=template) as slices:
        assert [one["A"].indicators for one in slices] == [{"Close": 1.0, "Volume": 5.0}] * 2


@both_backends
def test_a_leader_with_a_colon_in_its_name(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A:B" / "A:B_M1_BID.parquet", [1])
    write(tmp_path / "C" / "C_M1_BID.parquet", [0, 1])
    options: dict[str, Any] = {"symbols": ["C", "A:B"], "price_types": ["bid"], "backend": backend}
    with open_slices(tmp_path, **options, timeline="leader:A:B") as slices:
        assert [one.timestamp_ns for one in slices] == [START_NS + MINUTE_NS]


@both_backends
def test_a_lead_in_reaches_back_to_the_first_nanosecond_there_is(backend: str, tmp_path: Path) -> None:
    first_ns = -(2**63)
    values = {name: [1.0, 2.0] for name in ("Open", "High", "Low", "Close", "Volume")}
    for symbol, offsets in (("A", [0, 5]), ("B", [5, 6])):
        stamps = pa.array([first_ns + offset for offset in offsets], pa.int64()).cast(pa.timestamp("ns"))
        (tmp_path / symbol).mkdir()
        pq.write_table(pa.table({"UTC time": stamps, **values}), tmp_path / symbol / f"{symbol}_M1_BID.parquet")
    options: dict[str, Any] = {"symbols": ["A", "B"], "price_types": ["bid"], "backend": backend}
    # One second before the start, and fifteen thousand weeks, would both be before the first
    # nanosecond.
    for max_age in ("1s", "15000w"):
        carried: dict[str, Any] = {"fill": "forward", "max_age": max_age, "timeline": "leader:B"}
        with open_slices(tmp_path, **options, **carried, start=first_ns + 6) as slices:
            (one,) = slices
            candle = one.get("A")
            assert candle is not None
            assert candle.timestamp_ns == first_ns + 5
        with open_slices(tmp_path, **options, **carried, end=first_ns + 5, start=first_ns + 1) as slices:
            (one,) = slices
            assert one.timestamp_ns == first_ns + 5


SESSIONS = "open,close\n2024-01-02T00:01:00Z,2024-01-02T00:03:00Z\n"


@both_backends
@pytest.mark.parametrize(
    "content",
    [
        SESSIONS.encode(),
        SESSIONS.encode("utf-8-sig"),
        SESSIONS.rstrip().encode(),
        SESSIONS.replace("\n", "\r\n").encode(),
        SESSIONS.replace("\n", "\n\n").encode(),
        SESSIONS.replace(",", " , ").encode(),
        b'"open","close"\n"2024-01-02T00:01:00Z","2024-01-02T00:03:00Z"\n',
        b"open,close\n2024-01-02 01:01+01:00,2024-01-02 00:03\n",
    ],
)
def test_texts_of_sessions(content: bytes, backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0, 1, 2, 3])
    (tmp_path / "sessions").write_bytes(content)
    options: dict[str, Any] = {"symbols": ["A"], "price_types": ["bid"], "backend": backend}
    with open_slices(tmp_path, **options, session_file=tmp_path / "sessions") as slices:
        assert [(one.timestamp_ns - START_NS) // MINUTE_NS for one in slices] == [1, 2]


@both_backends
@pytest.mark.parametrize(
    ("content", "error", "row", "column"),
    [
        (b"", SchemaMismatchError, None, "open"),
        (b"close\n", SchemaMismatchError, None, "open"),
        (b"open;close\n2024-01-02;2024-01-03\n", SchemaMismatchError, None, "open"),
        (SESSIONS.encode("utf-16"), OmegaSlicesError, None, None),
        (b"PAR1", CorruptInputError, None, None),
        (SESSIONS.encode() + b"2024-01-04\n", CorruptInputError, 1, None),
        (SESSIONS.encode() + b"2024-01-04,2024-01-05,2024-01-06\n", CorruptInputError, 1, None),
        (SESSIONS.encode() + b"2024-01-04,\n", CorruptInputError, 1, "close"),
        (SESSIONS.encode() + b"1704153600000000000,2024-01-05\n", CorruptInputError, 1, "open"),
        (SESSIONS.encode() + SESSIONS.encode().split(b"\n")[1], CorruptInputError, 1, "open"),
        (None, CorruptInputError, None, None),
    ],
)
def test_faults_of_sessions(
    content: bytes | None,
    error: type[OmegaSlicesError],
    row: int | None,
    column: str | None,
    backend: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "sessions"
    if content is not None:
        path.write_bytes(content)
    with (
        pytest.raises(error) as caught,
        open_slices(tmp_path, symbols=["no such one"], session_file=path, backend=backend) as slices,
    ):
        list(slices)
    assert caught.value.file == str(path)
    assert caught.value.symbol is None
    if error is not OmegaSlicesError:
        assert (caught.value.row, caught.value.column) == (row, column)


@both_backends
def test_a_path_that_reads_as_several_symbols_is_that_of_the_shortest(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A_B_C.parquet", [0], 1.0)
    template = "{root}/{symbol}_*.parquet"
    assert volumes(tmp_path, backend, path_template=template) == {"A": [1.0]}
    assert volumes(tmp_path, backend, symbols=["A"], path_template=template) == {"A": [1.0]}
    with pytest.raises(AmbiguousInputError) as caught:
        volumes(tmp_path, backend, symbols=["A_B"], path_template=template)
    assert caught.value.file == str(tmp_path / "A_B_C.parquet")


@both_backends
def test_a_name_from_the_disk_obeys_the_rules_for_names(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A,B" / "A,B_M1_BID.parquet", [0])
    with pytest.raises(SymbolNotFoundError):
        volumes(tmp_path, backend)


@both_backends
def test_only_the_star_is_a_wildcard(backend: str, tmp_path: Path) -> None:
    root = tmp_path / "r*t [1]"
    write(root / "A?" / "x[y]1.parquet", [0], 1.0)
    write(root / "A?" / "xy1.parquet", [1], 2.0)
    write(root / "AB" / "x[y]1.parquet", [2], 3.0)
    write(tmp_path / "root [1]" / "A?" / "x[y]1.parquet", [3], 4.0)
    found = volumes(root, backend, symbols=["A?"], path_template="{root}/{symbol}/x[y]*.parquet")
    assert found == {"A?": [1.0]}


@both_backends
def test_two_stars_in_a_name_are_one(backend: str, tmp_path: Path) -> None:
    """A whole name of them is any number of folders."""
    write(tmp_path / "x" / "A.parquet", [0], 1.0)
    write(tmp_path / "A.parquet", [1], 2.0)
    write(tmp_path / "x" / "y" / "A.parquet", [2], 3.0)
    assert volumes(tmp_path, backend, symbols=["A"], path_template="{root}/*/{symbol}.**") == {"A": [1.0]}
    found = volumes(tmp_path, backend, symbols=["A"], path_template="{root}/**/{symbol}.**")
    assert found == {"A": [1.0, 2.0, 3.0]}


@both_backends
def test_files_are_in_the_order_of_their_whole_names(backend: str, tmp_path: Path) -> None:
    # "-" comes before "/", and "1" before "2", whatever the numbers.
    write(tmp_path / "2024-b" / "1.parquet", [0], 1.0)
    write(tmp_path / "2024" / "10.parquet", [0], 2.0)
    write(tmp_path / "2024" / "2.parquet", [0], 3.0)
    options: dict[str, Any] = {"symbols": ["A"], "path_template": "{root}/*/*.parquet"}
    assert volumes(tmp_path, backend, **options, duplicates="last") == {"A": [3.0]}
    assert volumes(tmp_path, backend, **options, duplicates="first") == {"A": [1.0]}


@both_backends
def test_a_floored_timestamp_that_does_not_fit_is_refused(backend: str, tmp_path: Path) -> None:
    stamps = pa.array([-(2**63), 0], pa.int64()).cast(pa.timestamp("ns"))
    values = {name: [1.0, 1.0] for name in ("Open", "High", "Low", "Close", "Volume")}
    (tmp_path / "A").mkdir()
    pq.write_table(pa.table({"UTC time": stamps, **values}), tmp_path / "A" / "A_D1_BID.parquet")
    options: dict[str, Any] = {"symbols": ["A"], "timeframe": "D1", "backend": backend}
    assert volumes(tmp_path, **options) == {"A": [1.0, 1.0]}
    with pytest.raises(CorruptInputError) as caught:
        volumes(tmp_path, **options, normalize=True)
    assert caught.value.row == 0
    # The window comes first.
    assert volumes(tmp_path, **options, normalize=True, start="1970-01-01") == {"A": [1.0]}


@both_backends
@pytest.mark.parametrize("kind", [pa.bool_(), pa.date32(), pa.timestamp("ns"), pa.binary(4), pa.list_(pa.float64())])
def test_what_is_no_number_is_no_price(kind: pa.DataType, backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0])
    path = tmp_path / "A" / "A_M1_BID.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(3, "Low", pa.array([None], kind)), path)
    with pytest.raises(SchemaMismatchError) as caught:
        volumes(tmp_path, backend, symbols=["A"])
    assert caught.value.column == "Low"


@both_backends
def test_a_column_that_is_there_twice_is_refused(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0])
    path = tmp_path / "A" / "A_M1_BID.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("Close", table.column("Open")), path)
    with pytest.raises(SchemaMismatchError) as caught:
        volumes(tmp_path, backend, symbols=["A"])
    assert caught.value.column == "Close"


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        (["AAA", "BBB", "EEE"], {"EEE"}),  # one has no candles
        (["AAA", "BBB", "DDD"], {"AAA", "DDD"}),  # the first two of which share none
        (["AAA", "BBB", "CCC"], {"AAA", "BBB", "CCC"}),  # each two share one, all three none
    ],
)
@both_backends
def test_the_empty_timeline_warning_tells_why(
    symbols: list[str], expected: set[str], backend: str, tmp_path: Path
) -> None:
    for symbol, minutes in (("AAA", [0, 1]), ("BBB", [1, 2]), ("CCC", [0, 2]), ("DDD", [3]), ("EEE", [])):
        write(tmp_path / symbol / f"{symbol}_M1_BID.parquet", minutes)
    with open_slices(tmp_path, symbols=symbols, price_types=["bid"], backend=backend) as slices:
        assert list(slices) == []
        (warning,) = slices.report.warnings
    assert warning.name == "EMPTY_TIMELINE"
    named = {symbol for symbol in symbols if symbol in warning.message}
    # The executable does not hold all timestamps: it may name more series than the fewest that
    # explain it.
    assert named == expected if backend == "python" else named >= expected
