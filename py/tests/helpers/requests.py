"""Requests from the forms that people write, without the parser of the package."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import timedelta
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
    renamed = (fields.get("columns") or {}).items()
    fields["columns"] = {field: column for field, column in sorted(renamed) if COLUMNS.get(field) != column}
    if isinstance(age := fields.get("max_age"), timedelta):
        fields["max_age"] = f"{int(age.total_seconds())}s"
    if "timeframe" in fields:
        fields["timeframe"] = _canonical(fields["timeframe"])
    higher = fields.get("with_timeframe", ())
    texts: Iterable[str] = [higher] if isinstance(higher, str) else higher
    fields["with_timeframe"] = tuple(map(_canonical, texts))
    return Request(**fields)


def _canonical(text: str) -> str:
    """Return ``4h`` as ``H4``, and what follows it unchanged."""
    return re.sub(r"^([1-9][0-9]*)([smhdw])(?=$|:)", lambda match: match[2].upper() + match[1], text)
