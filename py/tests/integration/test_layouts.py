"""Built-in layouts on files of their documented forms, and layouts of one's own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest
from helpers.docs import docs_blocks
from helpers.executable import executable
from helpers.layout_trees import FIELDS, WRITERS, freqtrade
from helpers.page_runs import shell

from omega_slices import MultiSymbolSlice, OmegaSlicesError, RequestError, open_slices, read_slices


def expected(frames: Mapping[tuple[str, str], pd.DataFrame]) -> dict[tuple[int, str, str], tuple[float, ...]]:
    return {
        (stamp.value, symbol, side): tuple(row[list(FIELDS)])
        for (symbol, side), frame in frames.items()
        for stamp, row in frame.iterrows()
    }


def shown(root: Path, backend: str, **options: Any) -> dict[tuple[int, str, str], tuple[float, ...]]:
    with open_slices(root, timeline="union", backend=backend, strict=True, **options) as slices:
        return candles_of(slices)


def candles_of(slices: Iterable[MultiSymbolSlice]) -> dict[tuple[int, str, str], tuple[float, ...]]:
    found = {}
    for one in slices:
        for symbol in one:
            for side in ("bid", "ask", "trade"):
                candle = one.get(symbol, side)
                if candle is not None:
                    values = tuple(getattr(candle, field) for field in FIELDS)
                    found[candle.timestamp_ns, symbol, side] = values
    return found


@pytest.mark.parametrize("backend", ["rust", "python"])
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_built_in_layout_reads_files_of_its_form(tmp_path: Path, name: str, backend: str) -> None:
    writer, options = WRITERS[name]
    frames = writer(tmp_path)
    assert shown(tmp_path, backend, layout=name, **options) == expected(frames)
    # By name, too.
    symbols = sorted({symbol for symbol, _ in frames}, reverse=True)
    assert shown(tmp_path, backend, layout=name, symbols=symbols, **options) == expected(frames)


def test_the_commands_of_the_page_read_each_lake_as_it_lies(project: Path) -> None:
    commands = docs_blocks("lake-as-it-lies", "sh")
    shown_layouts = []
    for command in commands:
        name, data, target = (
            re.findall(pattern, command)[0] for pattern in (r"--layout (\S+)", r"--data (\S+)", r"-o (\S+)")
        )
        (project / data).mkdir(parents=True)
        frames = WRITERS[name][0](project / data)
        shell(command)
        assert candles_of(read_slices(project / target)) == expected(frames), name
        (project / target).unlink()
        shown_layouts.append(name)
    assert sorted(shown_layouts) == sorted(WRITERS)


def layout(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(executable()), "layout", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_built_in_layouts_are_listed_and_shown() -> None:
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in layout("list").stdout.splitlines()}
    names = "default freqtrade binance databento massive nautilus yfinance alpaca hive fxcm dukascopy"
    assert list(listed) == names.split()
    for name, description in listed.items():
        text = layout("show", name).stdout
        assert f'description = "{description}"' in text


def test_a_layout_that_was_shown_reads_the_same(tmp_path: Path) -> None:
    frames = freqtrade(tmp_path)
    own = tmp_path / "own.toml"
    own.write_text(layout("show", "freqtrade").stdout, encoding="utf-8")
    for backend in ("rust", "python"):
        assert shown(tmp_path, backend, layout=own) == expected(frames)


FAULTS: Final = {
    "path = 1": ("path", 1),
    'pat = "x"': ("pat", 1),
    'path = "{root}/{nothing}"': ("path", 1),
    '\n[time]\nunit = "hours"': ("time.unit", 3),
    '[time]\nzone = "Europe/Nowhere"': ("time.zone", 2),
    '[time]\nstamped = { D1 = "shut" }': ("time.stamped", 2),
    '[columns]\nopen = ""': ("columns.open", 2),
    "[columns.bid]\nclose = []": ("columns.bid.close", 2),
    '[columns]\ntime = "x"': ("time", 2),
    "[price]\nscale = 0": ("price.scale", 2),
    "[price]\nscale = { 4 = 1e-9 }": ("price.scale", 2),
    '[timeframes]\nM1 = "a/b"': ("timeframes.M1", 2),
    '[timeframes]\n1M = "x"': ("timeframes.1M", 2),
    '[zones]\n"*.PA" = "x"': ("zones.*.PA", 2),
    'rewrite = ["{a}{b} = {a}"]': ("rewrite", 1),
    'symbol_separator = "/"': ("symbol_separator", 1),
    'symbol_pattern = "("': ("symbol_pattern", 1),
    'price_types = ["mid"]': ("price_types", 1),
    '[rows]\nempty = "maybe"': ("rows.empty", 2),
    'path = "': ("", 1),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_named_by_its_key_and_line(tmp_path: Path, text: str) -> None:
    key, line = FAULTS[text]
    own = tmp_path / "own.toml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError) as raised:
        open_slices(tmp_path, symbols=["A"], layout=own, backend="python")
    command = [str(executable()), "sync", "--symbols=A", f"--layout={own}", "--error-format=json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    error = json.loads(run.stderr.splitlines()[-1])
    assert (run.returncode, error["file"]) == (2, str(own))
    for message in (str(raised.value), error["message"]):
        assert f"line {line}" in message, message
        assert key in message, message


@pytest.mark.parametrize("name", ["freqtrad", "no/such.toml"])
def test_a_layout_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(OmegaSlicesError, match="freqtrade"):
        open_slices(tmp_path, symbols=["A"], layout=name)
    shown_one = layout("show", name)
    assert shown_one.returncode == 2
    assert "freqtrade" in shown_one.stderr
