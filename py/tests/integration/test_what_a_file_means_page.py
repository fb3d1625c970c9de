"""The page on what a file means.

Its tables and its list of inputs are tried on both implementations.
"""

from __future__ import annotations

import json
import re
from inspect import signature
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import stream_factory
from helpers.docs import docs_blocks, docs_page

from omega_slices import AmbiguousInputError, ErrorCode, InputFile, OmegaSlicesError, open_slices

PAGE: Final = docs_page("what-a-file-means")
OWNERS: Final = re.findall(r"^\| `(\{symbol\}\S+)` \| `(\S+\.parquet)` \| `(\S+)` \|$", PAGE, re.MULTILINE)
VALUES: Final = ("Open", "High", "Low", "Close", "Volume")

both_backends = pytest.mark.parametrize("backend", ["rust", "python"])


def write(path: Path, stamps: pa.Array, column: str = "UTC time") -> None:
    values = pa.array([float(number) for number in range(len(stamps))])
    pq.write_table(pa.table({column: stamps} | dict.fromkeys(VALUES, values)), path)


def test_options_are_those_of_the_package() -> None:
    named = {name.replace("-", "_") for name in re.findall(r"--([a-z]+(?:-[a-z]+)*)", PAGE)} - {
        "version",
        "all_symbols",
    }
    assert named <= set(signature(open_slices).parameters)
    later = [*signature(open_slices).parameters]
    # What names of files mean stands where layouts say it.
    of_layouts = {
        "layout": "`--layout NAME`",
        "spell": "`[timeframes]`",
        "rewrite": "`rewrite`",
        "symbol_separator": "`symbol_separator`",
        "zones": "`[zones]`",
    }
    layouts = docs_page("layouts")
    assert [name for name, word in of_layouts.items() if word not in layouts] == []
    assert set(later[later.index("inputs") : later.index("strict") + 1]) - of_layouts.keys() <= named


def test_codes_are_those_of_the_package() -> None:
    strict = dict(re.findall(r"^\| (30[0-9]{2}) \| ([A-Z_]+) \|", PAGE, re.MULTILINE))
    assert strict == {str(code.value): code.name for code in ErrorCode if code >= 3021 or code == 3010}
    assert {int(code) for code in re.findall(r"\b3[0-9]{3}\b", PAGE)} <= set(ErrorCode)


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for page, anchor in re.findall(r"\]\(([\w-]*(?:\.md)?)#([\w-]+)\)", PAGE):
        if page:
            text = docs_page(Path(page).stem)
            assert anchor in {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
                for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            }
        else:
            assert anchor in anchors


@both_backends
def test_owners_of_files(binary: Path, tmp_path: Path, backend: str) -> None:
    stamps = pa.array([stream_factory.START_NS], pa.timestamp("ns", "UTC"))
    assert len(OWNERS) == 4
    for template in {template for template, _, _ in OWNERS}:
        rows = [row for row in OWNERS if row[0] == template]
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for _, file, _ in rows:
            write(folder / file, stamps)
        asked: dict[str, Any] = {"path_template": f"{{root}}/{template}", "price_types": ["bid"], "backend": backend}
        with open_slices(folder, **asked) as slices:
            assert slices.symbols == tuple(sorted(owner for _, _, owner in rows))
        for _, _, owner in rows:
            with open_slices(folder, **asked, symbols=[owner], symbol_pattern=re.escape(owner)) as slices:
                assert len(list(slices)) == 1
    # Without a pattern, ES would get a file of ES_MICRO.
    folder = next(path.parent for path in tmp_path.rglob("ES_MICRO_2023.parquet"))
    with pytest.raises(AmbiguousInputError) as caught:
        open_slices(
            folder, path_template="{root}/{symbol}_*.parquet", price_types=["bid"], symbols=["ES"], backend=backend
        )
    assert "ES_MICRO" in caught.value.message
    assert "symbol_pattern" in str(caught.value.hint)


@both_backends
def test_the_list_of_inputs(binary: Path, tmp_path: Path, backend: str) -> None:
    (text,) = docs_blocks("what-a-file-means", "json")
    day_ms = 86_400_000
    write(tmp_path / "2023.parquet", pa.array([19_700 * day_ms], pa.timestamp("ms")))
    write(tmp_path / "2024.parquet", pa.array([19_800 * day_ms], pa.int64()), "time")
    (tmp_path / "list.json").write_text(text)
    asked: dict[str, Any] = {"timeframe": "1d", "price_types": ["trade"], "backend": backend}
    with open_slices(inputs=tmp_path / "list.json", **asked) as slices:
        assert slices.symbols == ("BTC/USDT",)
        assert [one.timestamp_ns // 10**6 // day_ms for one in slices] == [19_700, 19_800]
    keys = {
        key for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE) for key in re.findall(r"\w+", row)
    }
    assert set(InputFile.__struct_fields__) <= keys
    assert json.loads(text).keys() == {"series"}


@both_backends
@pytest.mark.parametrize(
    ("text", "is_time"),
    [
        *(("2024-01-02", True), ("20240102", True), ("2024-01-02T09:30:00", True), ("2024-01-02 09:30:00", True)),
        *(("2024-01-02T09:30:00.123456789Z", True), ("2024-01-02 09:30:00+01:00", True)),
        *((" 2024-01-02", False), ("2024-01-02T23:59:60", False), ("02.01.2024", False), ("2024-01-02T09:30", False)),
    ],
)
def test_text(binary: Path, tmp_path: Path, text: str, is_time: bool, backend: str) -> None:
    write(tmp_path / "A.parquet", pa.array([text]))
    asked: dict[str, Any] = {"timeframe": "D1", "price_types": ["bid"], "backend": backend, "symbols": ["A"]}
    asked["path_template"] = "{root}/{symbol}.parquet"
    if is_time:
        with open_slices(tmp_path, **asked) as slices:
            assert len(list(slices)) == 1
        return
    with pytest.raises(OmegaSlicesError) as caught, open_slices(tmp_path, **asked) as slices:
        list(slices)
    assert (caught.value.code, caught.value.row) == (ErrorCode.CORRUPT_INPUT, 0)
