"""Layouts: files that say what a lake looks like, as options of a request.

Owns the keys of a layout and the built-in ones.  What the values mean, the checks of the options
say; their errors get the key and its line here.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Final

from omega_slices._model.options import CANDLE_FIELDS, DEFAULT_PATH_TEMPLATE
from omega_slices.errors import OmegaSlicesError, RequestError

LAYOUTS: Final = (
    *("default", "freqtrade", "binance", "databento", "massive", "nautilus"),
    *("yfinance", "alpaca", "hive", "fxcm", "dukascopy"),
)
"""The names of the built-in layouts."""

_SIDES: Final = ("bid", "ask", "trade")
_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "columns": ("timestamp", *CANDLE_FIELDS, "symbol", *_SIDES),
    "time": ("unit", "zone", "ambiguous", "days", "stamped"),
    "price": ("scale",),
    "volume": ("scale",),
    "rows": ("empty", "one_instrument"),
}
_FREE_TABLES: Final = ("zones", "timeframes")
_TEXTS: Final = ("description", "path", "symbol_separator", "symbol_pattern")
_LISTS: Final = ("price_types", "rewrite")
_BYTES_MAX: Final = 1 << 20


def layout_text(name: str | os.PathLike[str]) -> str:
    """Return the TOML of a built-in layout, or of a file.

    Raises
    ------
    RequestError
        There is none, or it cannot be read.
    """
    place = os.fspath(name)
    if place in LAYOUTS:
        return (files("omega_slices") / "layouts" / f"{place}.toml").read_text(encoding="utf-8")
    near = get_close_matches(place, LAYOUTS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    hint += f"give a file, or one of {', '.join(LAYOUTS)}"
    try:
        if os.stat(place).st_size > _BYTES_MAX:
            raise RequestError(f"cannot read the layout {place!r}: it is too large", hint=hint, file=place)
        with open(place, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read the layout {place!r}: {error}", hint=hint, file=place) from error


def layout_options(name: str, text: str, check: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return what a layout says, in the keywords of `open_slices`.

    Parameters
    ----------
    name : str
        What it is called in errors.
    text : str
        TOML.
    check : callable
        Raises where an option alone, given as a dict, has no meaning.

    Raises
    ------
    RequestError
        A key is unknown, or its value has no meaning; both are named, with the line.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # At the end of a document there is no line.
        why = str(error).replace("at end of document", f"at line {len(text.splitlines())}")
        raise RequestError(
            f"invalid layout {name!r}: {why}",
            hint="write it as `omega-slices layout show hive` prints one",
            file=name,
        ) from error
    found: dict[str, Any] = {}
    for key, option, value in _options_of(name, text, document):
        try:
            check({option: value})
        except OmegaSlicesError as error:
            raise _wrong(name, text, key, str(error)) from error
        if option in ("columns", "spell", "stamped"):
            found[option] = {**found.get(option, {}), **value} if isinstance(value, dict) else value
        elif option == "zones":
            found[option] = (*found.get(option, ()), *value)
        else:
            found[option] = value
    if found.get("path_template") == DEFAULT_PATH_TEMPLATE:
        # Without a template, the other spelling of price types is found too.
        del found["path_template"]
    return found


def _options_of(name: str, text: str, document: dict[str, Any]) -> list[tuple[tuple[str, ...], str, Any]]:
    """Return the keys of a layout, each with the option that it sets, and its value there."""

    def wrong(key: tuple[str, ...], why: str) -> RequestError:
        return _wrong(name, text, key, why)

    for key, value in document.items():
        known = _TABLES.get(key)
        if known is None and key not in (*_TEXTS, *_LISTS, *_FREE_TABLES):
            raise wrong((key,), "there is no such key")
        is_right = isinstance(value, list if key in _LISTS else str if key in _TEXTS else dict)
        if not is_right or (key in _LISTS and not all(isinstance(one, str) for one in value)):
            raise wrong((key,), f"it holds {value!r}")
        for unknown in () if known is None else sorted(value.keys() - set(known)):
            raise wrong((key, unknown), "there is no such key")
    columns = document.get("columns", {})
    found: list[tuple[tuple[str, ...], str, Any]] = [
        (("path",), "path_template", document.get("path")),
        (("price_types",), "price_types", document.get("price_types")),
        (("symbol_separator",), "symbol_separator", document.get("symbol_separator")),
        (("rewrite",), "rewrite", tuple(document["rewrite"]) if "rewrite" in document else None),
        (("symbol_pattern",), "symbol_pattern", document.get("symbol_pattern")),
    ]
    fields = ("timestamp", *CANDLE_FIELDS)
    found += [(("columns", field), "columns", _column(field, columns.get(field))) for field in fields]
    for side in _SIDES:
        of_side = columns.get(side, {})
        if not isinstance(of_side, dict):
            raise wrong(("columns", side), "it is no table")
        for field in sorted(of_side.keys() - set(CANDLE_FIELDS)):
            raise wrong(("columns", side, field), "there is no such key")
        found += [
            (("columns", side, field), "columns", _column(f"{side}_{field}", of_side.get(field)))
            for field in CANDLE_FIELDS
        ]
    if "symbol" in columns:
        raise wrong(("columns", "symbol"), "files of several symbols are not read yet")
    time, rows = document.get("time", {}), document.get("rows", {})
    found += [
        (("time", "unit"), "timestamp_unit", time.get("unit")),
        (("time", "zone"), "zone", time.get("zone")),
        (("time", "ambiguous"), "ambiguous", time.get("ambiguous")),
        (("time", "days"), "days", time.get("days")),
        (("time", "stamped"), "stamped", time.get("stamped")),
        (("price", "scale"), "price_scale", _scale(document.get("price", {}).get("scale"))),
        (("volume", "scale"), "volume_scale", _scale(document.get("volume", {}).get("scale"))),
        (("rows", "empty"), "empty_rows", rows.get("empty")),
        (("rows", "one_instrument"), "one_instrument", rows.get("one_instrument")),
    ]
    found += [(("timeframes", one), "spell", {one: text_}) for one, text_ in document.get("timeframes", {}).items()]
    found += [(("zones", one), "zones", ((one, zone),)) for one, zone in document.get("zones", {}).items()]
    return [(key, option, value) for key, option, value in found if value is not None]


def _column(field: str, names: Any) -> dict[str, Any] | None:
    if isinstance(names, str) and names:
        # Only a list holds alternatives.
        names = [names]
    return None if names is None else {field: tuple(names) if isinstance(names, list) else names}


def _scale(scale: Any) -> Any:
    if isinstance(scale, dict):
        return {width: _scale(one) for width, one in scale.items()}
    # The shortest decimal that is this double: what the file spells.
    return Decimal(repr(scale)) if isinstance(scale, float) else scale


def _wrong(name: str, text: str, key: tuple[str, ...], why: str) -> RequestError:
    line = _line_of(text, key)
    return RequestError(
        f"invalid layout {name!r}, {'.'.join(key)} in line {line}: {why}",
        hint="write it as `omega-slices layout show hive` prints one",
        file=name,
    )


def _line_of(text: str, key: tuple[str, ...]) -> int:
    """Return the line of a key; that of its table where it stands elsewhere in it."""
    table: tuple[str, ...] = ()
    best = 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.fullmatch(r"\s*\[([^\[\]]+)\]\s*(#.*)?", line):
            table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
        elif match := re.match(r"\s*(\"[^\"]*\"|'[^']*'|[\w-]+)\s*[.=]", line):
            whole = (*table, match[1].strip("\"'"))
            if key[: len(whole)] == whole:
                return number
        if table and key[: len(table)] == table:
            best = number
    return best
