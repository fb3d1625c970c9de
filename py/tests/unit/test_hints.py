"""Hints name the arguments of `open_slices`, whatever the command line calls them."""

from __future__ import annotations

import ast
import re
from inspect import signature
from typing import Final

import pytest
from helpers.docs import REPOSITORY

from omega_slices import open_slices, precompute
from omega_slices._hints import hint_in_python
from omega_slices.errors import error_from_report

# The settings that a hint may name, each with its argument.
SWITCHES: Final = {
    "all_symbols": "symbols=None",
    "follow_links": "follow_links=True",
    "normalize": "normalize=True",
    "one_instrument": "one_instrument=True",
    "overwrite": "overwrite=True",
    "strict": "strict=True",
}
SETTINGS: Final = {
    "ambiguous": ("earlier", "ambiguous='earlier'"),
    "before": ("2024-01-02", "before='2024-01-02'"),
    "cache": ("folder", "cache='folder'"),
    "columns": ("timestamp=t,open=o", "columns={'timestamp': 't', 'open': 'o'}"),
    "data": ("root", "data='root'"),
    "days": ("local", "days='local'"),
    "duplicates": ("last", "duplicates='last'"),
    "empty_rows": ("drop", "empty_rows='drop'"),
    "end": ("2024-01-02", "end='2024-01-02'"),
    "fields": ("close,volume", "fields=['close', 'volume']"),
    "fill": ("forward", "fill='forward'"),
    "indicator_template": ("{root}/*", "indicator_template='{root}/*'"),
    "indicators": ("sma,rsi", "indicators=['sma', 'rsi']"),
    "inputs": ("list.json", "inputs='list.json'"),
    "layout": ("hive", "layout='hive'"),
    "max_age": ("15m", "max_age='15m'"),
    "memory": ("2GB", "memory='2GB'"),
    "price_scale": ("1e-9", "price_scale='1e-9'"),
    "session": ("fx", "session='fx'"),
    "session_file": ("hours.csv", "session_file='hours.csv'"),
    "start": ("2024-01-02", "start='2024-01-02'"),
    "symbol_pattern": ("[A-Z]+", "symbol_pattern='[A-Z]+'"),
    "symbols": ("A,B", "symbols=['A', 'B']"),
    "temp_dir": ("/scratch", "temp_dir='/scratch'"),
    "temp_limit": ("20GB", "temp_limit='20GB'"),
    "threads": ("4", "threads=4"),
    "timeframe": ("M5", "timeframe='M5'"),
    "timeline": ("quorum:2", "timeline='quorum:2'"),
    "timestamp_unit": ("ms", "timestamp_unit='ms'"),
    "unsorted": ("sort", "unsorted='sort'"),
    "volume_scale": ("1e-9", "volume_scale='1e-9'"),
    "with_timeframe": ("H1", "with_timeframe='H1'"),
    "zone": ("Europe/Paris", "zone='Europe/Paris'"),
}


def spelled(setting: str, value: str | None, *, switch: bool) -> str:
    """Return a setting of a hint in the words of Python."""
    words = hint_in_python("", [{"setting": setting, "value": value, "switch": switch}])
    assert words is not None
    return words


@pytest.mark.parametrize(("name", "words"), SWITCHES.items())
def test_a_switch(name: str, words: str) -> None:
    assert spelled(name, None, switch=True) == words


@pytest.mark.parametrize(("name", "value", "words"), [(name, *both) for name, both in SETTINGS.items()])
def test_a_setting_with_a_value(name: str, value: str, words: str) -> None:
    assert spelled(name, value, switch=False) == words
    assert spelled(name, None, switch=False) == f"{name}="


def test_values_are_literals() -> None:
    assert spelled("symbols", "A", switch=False) == "symbols=['A']"
    assert spelled("price_types", "bid,ask", switch=False) == "price_types=['bid', 'ask']"
    assert spelled("columns", "open=o=p", switch=False) == "columns={'open': 'o=p'}"
    assert spelled("zone", "it's", switch=False) == 'zone="it\'s"'


@pytest.mark.parametrize(
    "parts",
    [None, "text", {}, [1], ["text", None], [{"value": "sort"}], [["text"]], [{"setting": 1, "value": None}]],
)
def test_a_hint_without_parts_stays_as_it_is(parts: object) -> None:
    assert hint_in_python("look at --zone", parts) == "look at --zone"
    assert hint_in_python(None, parts) is None


def test_the_exception_has_the_hint_in_python() -> None:
    report = {
        "code": 3010,
        "message": "row 7 is out of order",
        "hint": "sort the file, or choose --unsorted sort",
        "hint_parts": ["sort the file, or choose ", {"setting": "unsorted", "value": "sort", "switch": False}],
    }
    assert error_from_report(report).hint == "sort the file, or choose unsorted='sort'"
    assert error_from_report(report | {"hint_parts": None}).hint == report["hint"]
    assert error_from_report(report | {"hint": None, "hint_parts": None}).hint is None


def test_every_setting_is_an_argument() -> None:
    arguments = signature(open_slices).parameters | signature(precompute).parameters
    for words in [*SWITCHES.values(), *(words for _, words in SETTINGS.values())]:
        call = ast.parse(f"f({words})", mode="eval").body
        assert isinstance(call, ast.Call)
        assert [keyword.arg for keyword in call.keywords if keyword.arg in arguments], words
    # The one setting that has another name in Python.
    assert {*SWITCHES, *SETTINGS} - {*arguments} == {"all_symbols"}


def test_the_settings_are_those_of_the_executable() -> None:
    """They are declared once, in Rust."""
    (source,) = [*REPOSITORY.glob("rust/src/**/hint.rs"), *REPOSITORY.glob("rust/crates/*/src/**/hint.rs")]
    declared = re.search(r"^settings! \{$(.*?)^\}$", source.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert declared
    # The types of what the command line writes, which methods of stream and table choose in Python; and
    # options of storage one by one.
    of_the_command_line = {"timestamp_out", "storage_option"}
    found = {*re.findall(r'= "(\w+)",$', declared[1], re.MULTILINE)}
    assert found == {*SWITCHES, *SETTINGS, *of_the_command_line}
