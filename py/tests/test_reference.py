"""The reference itself, and the rules about files and names that goldens do not show.

What is said here about input holds for both backends, and is tried on both.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omega_slices import (
    CorruptInputError,
    InvalidPriceTypeError,
    OmegaSlicesError,
    RequestError,
    SchemaMismatchError,
    SymbolNotFoundError,
    TimeframeNotFoundError,
    open_slices,
    reference,
)
from omega_slices._request import make_request
from omega_slices.reference import open_reference

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


def test_reference_shares_only_request_candles_and_errors() -> None:
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    ours = {"omega_slices._candle", "omega_slices._request", "omega_slices.errors"}
    assert {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names} == {
        "msgspec.structs",
        "pyarrow",
        "pyarrow.parquet",
        *ours,
    }
    assert "subprocess" not in imported


def test_a_run_can_be_iterated_again(tmp_path: Path) -> None:
    write(tmp_path / "A" / "A_M1_BID.parquet", [0, 1])
    run = open_reference(make_request(tmp_path, symbols=["A"], price_types=["bid"]))
    assert [timestamp_ns for timestamp_ns, _ in run] == [START_NS, START_NS + MINUTE_NS]
    assert list(run) == list(run)


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
def test_a_path_that_reads_as_several_symbols_is_refused(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A_B_C.parquet", [0], 1.0)
    template = "{root}/{symbol}_*.parquet"
    with pytest.raises(RequestError):
        volumes(tmp_path, backend, path_template=template)
    assert volumes(tmp_path, backend, symbols=["A"], path_template=template) == {"A": [1.0]}


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
def test_two_stars_are_one(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "x" / "A.parquet", [0], 1.0)
    write(tmp_path / "A.parquet", [1], 2.0)
    write(tmp_path / "x" / "y" / "A.parquet", [2], 3.0)
    assert volumes(tmp_path, backend, symbols=["A"], path_template="{root}/**/{symbol}**.parquet") == {"A": [1.0]}


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
@pytest.mark.parametrize("kind", [pa.bool_(), pa.date32(), pa.timestamp("ns"), pa.binary(), pa.list_(pa.float64())])
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
    # The executable does not hold all timestamps: it may name more series than the fewest that explain it.
    assert named == expected if backend == "python" else named >= expected
