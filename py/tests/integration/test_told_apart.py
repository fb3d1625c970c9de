"""Names, columns and options that could mean two things: each is told apart, or refused by both implementations."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest
from helpers.executable import executable
from helpers.layout_trees import FIELDS, frame_of, fxcm, yfinance

from omega_slices import AmbiguousInputError, CorruptInputError, OmegaSlicesError, RequestError, open_slices

BACKENDS: Final = ("rust", "python")
FLAT: Final = "{root}/{symbol}_{timeframe}.parquet"
PRICES: Final = ("open", "high", "low", "close")


def write(path: Path, frame: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = frame.rename(columns=str.title) if "open" in frame else frame
    columns.rename_axis("UTC time").reset_index().to_parquet(path, index=False)


def closes(root: Path | None, backend: str, **options: Any) -> list[tuple[int, str, str, float]]:
    sides = options.get("price_types", ("bid", "ask"))
    with open_slices(root, timeline="union", backend=backend, **options) as slices:
        return [
            (one.timestamp_ns, symbol, side, candle.close)
            for one in slices
            for symbol in one
            for side in sides
            if (candle := one.get(symbol, side)) is not None
        ]


def check_refused(root: Path | None, error: type[OmegaSlicesError], **options: Any) -> None:
    for backend in BACKENDS:
        with pytest.raises(error), open_slices(root, timeline="union", backend=backend, **options) as slices:
            list(slices)


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        ({field: field.title() for field in PRICES}, {}),
        ({field: f"b|{field.title()}" for field in PRICES}, {field: f"a|{field.title()}" for field in PRICES}),
        ({field: f"b{field}|a{field}" for field in PRICES}, {field: f"a{field}|b{field}" for field in PRICES}),
        ({field: field.upper() for field in PRICES}, {}),
    ],
)
def test_two_price_types_never_read_one_column(tmp_path: Path, bid: dict[str, str], ask: dict[str, str]) -> None:
    write(tmp_path / "A_M1.parquet", frame_of(1))
    columns = {f"bid_{field}": name for field, name in bid.items()}
    columns |= {f"ask_{field}": name for field, name in ask.items()}
    check_refused(tmp_path, RequestError, symbols=["A"], path_template=FLAT, columns=columns)


def test_two_symbols_never_read_one_column(tmp_path: Path) -> None:
    frame = frame_of(1).rename(columns={field: f"AB_{field}" for field in PRICES})
    write(tmp_path / "M1.parquet", frame)
    options: dict[str, Any] = {
        "path_template": "{root}/{timeframe}.parquet",
        "columns": {field: f"{{symbol}}_{field}|A{{symbol}}_{field}" for field in PRICES},
        "price_types": ["trade"],
    }
    check_refused(tmp_path, RequestError, symbols=["AB", "B"], **options)
    for backend in BACKENDS:
        assert len(closes(tmp_path, backend, symbols=["B"], **options)) == len(frame)


@pytest.mark.parametrize("columns", [{}, {"close": "Close", "open": "o"}])
def test_a_list_gives_one_column_to_one_price_type(tmp_path: Path, columns: dict[str, str]) -> None:
    write(tmp_path / "f.parquet", frame_of(1))
    series: list[dict[str, Any]] = [
        {"symbol": symbol, "price_type": side, "timeframe": "M1", "files": [{"path": "f.parquet", "columns": its}]}
        for symbol, side, its in (("A", "bid", {}), ("A", "ask", columns), ("B", "bid", {}))
    ]
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"series": series}), encoding="utf-8")
    check_refused(None, CorruptInputError, inputs=listed, symbols=["A"])
    for backend in BACKENDS:
        # Of two symbols it may be meant.
        found = closes(None, backend, inputs=listed, symbols=["A", "B"], price_types=["bid"])
        assert len(found) == 2 * len(frame_of(1))


def test_a_list_gives_a_file_to_series_of_other_columns(tmp_path: Path) -> None:
    bid, ask = frame_of(1), frame_of(2)
    ask_columns = {field: f"ask {field}" for field in FIELDS}
    write(tmp_path / "f.parquet", pd.concat([bid.rename(columns=str.title), ask.rename(columns=ask_columns)], axis=1))
    series = [
        {"symbol": "A", "price_type": side, "timeframe": "M1", "files": [{"path": "f.parquet", "columns": columns}]}
        for side, columns in (("bid", {}), ("ask", ask_columns))
    ]
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"series": series}), encoding="utf-8")
    for backend in BACKENDS:
        found = closes(None, backend, inputs=listed, symbols=["A"])
        assert [value for *_, side, value in found if side == "ask"] == list(ask.close)
        assert [value for *_, side, value in found if side == "bid"] == list(bid.close)


def test_options_come_before_what_a_layout_says_of_parts(tmp_path: Path) -> None:
    """Of one price type, and of some symbols."""
    frames = fxcm(tmp_path)
    with pytest.raises(RequestError):
        # One column for both: the layout's own for each would be read otherwise.
        open_slices(tmp_path, layout="fxcm", columns={"close": "askclose"})
    for backend in BACKENDS:
        options: dict[str, Any] = {"symbols": ["EURUSD"], "layout": "fxcm", "price_types": ["bid"], "backend": backend}
        with open_slices(tmp_path, columns={"close": "askclose"}, **options) as slices:
            found = [one.get("EURUSD", "bid") for one in slices]
        assert [one.close for one in found if one] == list(frames["EURUSD", "ask"].close)
    layout = tmp_path / "own.toml"
    layout.write_text('price_types = ["trade"]\n[zones]\n"*" = "Europe/Paris"\n', encoding="utf-8")
    frame = frame_of(1, pd.date_range("2024-01-02 09:00", periods=3, freq="min"))
    write(tmp_path / "A" / "A_M1_TRADE.parquet", frame)
    for backend in BACKENDS:
        times = [
            closes(tmp_path, backend, symbols=["A"], layout=layout, price_types=["trade"], **zone)[0][0]
            for zone in ({}, {"zone": "America/New_York"})
        ]
        assert [pd.Timestamp(one).hour for one in times] == [8, 14]


@pytest.mark.parametrize(
    ("template", "symbol", "name"),
    [
        ("{root}/{symbol}/*{timeframe}.parquet", "A", "A/x_15m.parquet"),
        ("{root}/{symbol}{timeframe}.parquet", "A1", "A15m.parquet"),
        ("{root}/{symbol}{timeframe}*.parquet", "A", "A5m2.parquet"),
    ],
)
def test_a_file_of_a_longer_timeframe_is_not_taken(tmp_path: Path, template: str, symbol: str, name: str) -> None:
    write(tmp_path / name, frame_of(1, pd.date_range("2024-01-02", periods=6, freq="15min")))
    options: dict[str, Any] = {"price_types": ["trade"], "timeframe": "M5", "spell": {"M5": "5m"}}
    check_refused(tmp_path, AmbiguousInputError, symbols=[symbol], path_template=template, **options)


def test_a_digit_of_a_folder_is_no_timeframe(tmp_path: Path) -> None:
    frame = frame_of(1, pd.date_range("2024-01-02", periods=6, freq="5min"))
    write(tmp_path / "A1" / "A15m.parquet", frame)
    for backend in BACKENDS:
        found = closes(
            tmp_path,
            backend,
            symbols=["A1"],
            path_template="{root}/{symbol}/{symbol}{timeframe}.parquet",
            price_types=["trade"],
            timeframe="M5",
            spell={"M5": "5m"},
        )
        assert [value for *_, value in found] == list(frame.close)


def test_open_folders_around_the_symbol_are_refused(tmp_path: Path) -> None:
    template = "{root}/**/symbol={symbol}/**/part.parquet"
    check_refused(tmp_path, RequestError, symbols=["A"], path_template=template, price_types=["trade"])


def test_one_name_in_a_layout_is_one_column(tmp_path: Path) -> None:
    """Only a list holds alternatives."""
    frame = frame_of(1)
    columns = frame.assign(**{"a|b": frame.close + 1, "a": frame.close + 2})
    columns.rename_axis("UTC time").reset_index().to_parquet(tmp_path / "A.parquet", index=False)
    layout = tmp_path / "own.toml"
    for name, added in (('"a|b"', 1), ('["a|b"]', 1), ('["x", "a"]', 2)):
        layout.write_text(
            f'path = "{{root}}/{{symbol}}.parquet"\nprice_types = ["trade"]\n[columns]\nclose = {name}\n',
            encoding="utf-8",
        )
        for backend in BACKENDS:
            found = closes(tmp_path, backend, symbols=["A"], layout=layout, price_types=["trade"])
            assert [value for *_, value in found] == list(frame.close + added), (name, backend)


@pytest.mark.parametrize(
    "text", ['stamped = { M1 = "close", 1m = "open" }', 'stamped = { D1 = "close", 1d = "close" }']
)
def test_no_timeframe_is_stamped_twice(tmp_path: Path, text: str) -> None:
    layout = tmp_path / "own.toml"
    layout.write_text(f"[time]\n{text}\n", encoding="utf-8")
    command = [str(executable()), "layout", "show", str(layout)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
    check_refused(tmp_path, RequestError, symbols=["A"], layout=layout)


@pytest.mark.parametrize("option", ["--stamped=D1=close,1d=open", "--price-scale=8=1,8=2", "--volume-scale=16=1,16=1"])
def test_no_option_says_two_things(option: str) -> None:
    command = [str(executable()), "sync", "--symbols=A", option]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_an_indicator_is_called_as_it_is(tmp_path: Path) -> None:
    frame = frame_of(1)
    write(tmp_path / "A" / "A_M1_TRADE.parquet", frame)
    values = pd.DataFrame({"A": 1.0, "{symbol}": 9.0}, frame.index)
    values.rename_axis("UTC time").reset_index().to_parquet(tmp_path / "A" / "A_M1_IND.parquet", index=False)
    for backend in BACKENDS:
        options: dict[str, Any] = {"symbols": ["A"], "price_types": ["trade"], "indicators": ["{symbol}"]}
        with open_slices(tmp_path, backend=backend, **options) as slices:
            assert {(one["A"].indicators or {})["{symbol}"] for one in slices} == {9.0}


def test_a_list_of_a_layout_is_taken_by_it(tmp_path: Path) -> None:
    """Where names of columns hold the symbol."""
    frames = yfinance(tmp_path)
    options = ["--layout=yfinance", "--symbols=AAPL,MSFT", "--timeframe=D1"]
    command = [str(executable()), "inputs", f"--data={tmp_path}", *options]
    listed = tmp_path / "list.json"
    listed.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    for backend in BACKENDS:
        found = closes(
            None,
            backend,
            inputs=listed,
            symbols=["AAPL", "MSFT"],
            layout="yfinance",
            timeframe="D1",
            price_types=["trade"],
        )
        assert [value for _, symbol, _, value in found if symbol == "MSFT"] == list(frames["MSFT", "trade"].close)


def test_a_text_beyond_the_doubles_is_no_number(tmp_path: Path) -> None:
    frame = frame_of(1).astype(str)
    frame.loc[frame.index[2], "close"] = "1e400"
    write(tmp_path / "A_M1.parquet", frame)
    check_refused(tmp_path, OmegaSlicesError, symbols=["A"], path_template=FLAT, price_types=["trade"])


def test_patterns_and_widths_reach_the_executable(tmp_path: Path) -> None:
    frame = frame_of(1)
    write(tmp_path / "A=B_M1.parquet", frame)
    for backend in BACKENDS:
        found = closes(
            tmp_path,
            backend,
            symbols=["A=B"],
            path_template=FLAT,
            price_types=["trade"],
            zones={"A=B": "Europe/Paris"},
            price_scale={8: "1e-9"},
        )
        assert pd.Timestamp(found[0][0]).hour == 23


def test_an_empty_row_is_told_from_one_without_the_field_that_is_read(tmp_path: Path) -> None:
    frame = frame_of(1)
    frame.loc[frame.index[1], "close"] = None
    frame.loc[frame.index[3], list(PRICES)] = None
    write(tmp_path / "A_M1.parquet", frame)
    for backend in BACKENDS:
        options: dict[str, Any] = {"symbols": ["A"], "price_types": ["trade"], "fields": ["close"], "backend": backend}
        with open_slices(tmp_path, path_template=FLAT, empty_rows="drop", **options) as slices:
            shown = [one.timestamp_ns for one in slices]
        assert shown == [one.value for one in frame.index.delete(3)]
