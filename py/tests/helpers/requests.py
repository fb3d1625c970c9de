"""Requests from the forms that people write, without the parser of the package."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib.resources import files
from typing import Any, Final

from helpers.oracle import parse_time_ns
from omega_slices import Request

PRICE_TYPES: Final = ("bid", "ask", "trade")
FIELDS: Final = ("open", "high", "low", "close", "volume")
COLUMNS: Final = {
    "timestamp": "UTC time",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
}


def make_request(data: str | os.PathLike[str] | None, **options: Any) -> Request:
    """Return the request that `open_slices` makes of the same options."""
    fields: dict[str, Any] = {"symbols": None} | options
    if "layout" in fields:
        fields = _with_layout(fields)
    fields["data"] = None if data is None else os.fspath(data)
    for name in ("session_file", "inputs"):
        if fields.get(name) is not None:
            fields[name] = os.fspath(fields[name])
    for name in ("symbols", "indicators"):
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    if "fields" in fields:
        fields["fields"] = tuple(name for name in FIELDS if name in fields["fields"])
    if "price_types" in fields:
        fields["price_types"] = tuple(sorted(fields["price_types"], key=PRICE_TYPES.index))
    for name in ("start", "end", "before"):
        if isinstance(fields.get(name), str):
            fields[name] = parse_time_ns(fields[name])
    fields["columns"] = _columns(fields.get("columns") or {})
    for name in {"rewrite", "zones"} & fields.keys():
        fields[name] = tuple(tuple(one) if isinstance(one, list) else one for one in fields[name])
    if isinstance(age := fields.get("max_age"), timedelta):
        fields["max_age"] = f"{int(age.total_seconds())}s"
    if "timeframe" in fields:
        fields["timeframe"] = _canonical(fields["timeframe"])
    higher = fields.get("with_timeframe", ())
    texts: Iterable[str] = [higher] if isinstance(higher, str) else higher
    fields["with_timeframe"] = tuple(map(_canonical, texts))
    return Request(**fields)


def _columns(columns: Mapping[str, Any]) -> dict[str, str]:
    texts = {field: column if isinstance(column, str) else "|".join(column) for field, column in columns.items()}
    return {field: texts[field] for field in sorted(texts) if COLUMNS.get(field) != texts[field]}


def _with_layout(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with those of a built-in layout that the goldens use: what they do not say themselves."""
    text = (files("omega_slices") / "layouts" / f"{options['layout']}.toml").read_text(encoding="utf-8")
    layout = tomllib.loads(text)
    columns = {field: names for field, names in layout["columns"].items() if not isinstance(names, dict)}
    said: dict[str, Any] = {
        "path_template": layout["path"],
        "price_types": layout["price_types"],
        "rewrite": layout.get("rewrite", []),
        "spell": dict(sorted(layout.get("timeframes", {}).items())),
    }
    merged = {**said, **options, "columns": {**columns, **options.get("columns", {})}}
    del merged["layout"]
    return merged


def _canonical(text: str) -> str:
    """Return ``4h`` as ``H4``, and what follows it unchanged."""
    return re.sub(r"^([1-9][0-9]*)([smhdw])(?=$|:)", lambda match: match[2].upper() + match[1], text)
