"""A list of inputs in the reference: a JSON file that names the files of every series.

Owns reading and checking the list.  Opens none of the files that it names.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from omega_slices._model.candle import PRICE_TYPES
from omega_slices._model.checks_together import may_be_one_column
from omega_slices._model.options import INPUT_COLUMNS, PRICE_FIELDS
from omega_slices._model.request import Request
from omega_slices._model.times import timeframe_ns
from omega_slices._reference.options import SeriesName, contradiction, wrong
from omega_slices._reference.rows import InputFile
from omega_slices._reference.time import NS_PER_TICK, zone_of
from omega_slices.errors import (
    CorruptInputError,
    InvalidPriceTypeError,
    OmegaSlicesError,
    RequestError,
    SymbolNotFoundError,
    TimeframeNotFoundError,
    UnsupportedInputError,
)

_SERIES_KEYS: Final = ("symbol", "price_type", "timeframe", "files")

_FILE_KEYS: Final = (
    *("path", "size", "modified_ns", "rows", "first_timestamp_ns", "last_timestamp_ns"),
    *("columns", "unit", "zone"),
)

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HINT: Final = "write the list as the command `omega-slices inputs` prints it"


class _Listed(NamedTuple):
    """A file as the list has it."""

    file: InputFile
    size: int | None
    modified_ns: int | None


def listed_symbols(request: Request) -> list[str]:
    """Return the list's symbols with the primary timeframe and a requested price type."""
    found = {
        name.symbol
        for name in _read_list(request)
        if name.timeframe == request.timeframe and name.side in request.price_types
    }
    if request.symbol_pattern is not None:
        found = {symbol for symbol in found if re.fullmatch(request.symbol_pattern, symbol)}
    if not found:
        missing = f"no symbol has {request.timeframe} candles of {' or '.join(request.price_types)}"
        raise wrong(SymbolNotFoundError, missing, "check the list of inputs", None, request.inputs)
    return sorted(found)


def listed_files(request: Request, names: list[SeriesName]) -> dict[SeriesName, list[InputFile]]:
    """Return the files of each series, in the order of the list.

    Raises
    ------
    OmegaSlicesError
        The list cannot be read, does not hold one of the series, or contradicts the
        request; or a file is missing, or is not the one that the list describes.
    """
    listed = _read_list(request)
    for name in names:
        if name not in listed:
            raise _missing(request, name, listed)
    _check_shared(request, {name: listed[name] for name in names if name.side is not None})
    return {name: [_checked(request, name, one) for one in listed[name]] for name in names}


def _check_shared(request: Request, listed: Mapping[SeriesName, list[_Listed]]) -> None:
    """Raise where price types of a symbol share a file and a column of prices."""
    users: dict[tuple[Path, str, str], list[tuple[SeriesName, InputFile]]] = {}
    for name, file in ((name, one.file) for name, all_ in listed.items() for one in all_):
        before = users.setdefault((Path(file.path), name.symbol, name.timeframe), [])
        for other, its in before:
            if other != name and any(
                may_be_one_column(_choice(request, name, file, field), _choice(request, other, its, field), field)
                for field in PRICE_FIELDS
            ):
                message = f"cannot read the list of inputs: {other} and {name} would have the same prices"
                hint = "name other columns of the file for each, or other files"
                raise wrong(CorruptInputError, message, hint, name, file.path)
        before.append((name, file))


def _choice(request: Request, name: SeriesName, file: InputFile, field: str) -> tuple[str, ...] | None:
    if field in file.columns:
        return (file.columns[field],)
    given = request.column(name.side, field)
    return None if given is None else tuple(one.replace("{symbol}", name.symbol) for one in given)


def _missing(request: Request, name: SeriesName, listed: Mapping[SeriesName, object]) -> OmegaSlicesError:
    error: type[OmegaSlicesError] = SymbolNotFoundError
    missing = f"the list holds no file of the symbol {name.symbol}"
    candles = {(one.timeframe, one.side) for one in listed if one.symbol == name.symbol and one.side is not None}
    if name.side is None:
        error, missing = TimeframeNotFoundError, f"{name.symbol} has no {name.timeframe} indicators"
    elif any(timeframe == name.timeframe for timeframe, _ in candles):
        error, missing = InvalidPriceTypeError, f"{name.symbol} has {name.timeframe} candles, but no {name.side} ones"
    elif candles:
        error, missing = TimeframeNotFoundError, f"{name.symbol} has no {name.timeframe} candles"
    return wrong(error, missing, "add the series to the list of inputs", name, request.inputs)


def _checked(request: Request, name: SeriesName, listed: _Listed) -> InputFile:
    """Return a file that is there, is the one that the list describes, and suits the request."""
    file = listed.file
    if match := _SCHEME.match(file.path):
        message = f"cannot read {file.path!r}: the scheme {match[1]!r} is not supported"
        raise wrong(UnsupportedInputError, message, "list files of this machine", name, file.path)
    try:
        found = os.stat(file.path)
    except OSError as error:
        message = f"cannot read the file: {error.strerror}"
        raise wrong(CorruptInputError, message, "correct the list of inputs", name, file.path) from error
    if not stat.S_ISREG(found.st_mode):
        raise wrong(CorruptInputError, "cannot read the file: it is not a regular file", _HINT, name, file.path)
    for what, expected, there in (
        ("size", listed.size, found.st_size),
        ("modified_ns", listed.modified_ns, found.st_mtime_ns),
    ):
        if expected not in (None, there):
            message = f"the file has changed since it was listed: {what} is {there}, expected {expected}"
            raise wrong(CorruptInputError, message, "list the inputs again", name, file.path)
    for what, listed_word, asked in (
        ("timestamp_unit", file.unit, None if request.timestamp_unit == "magnitude" else request.timestamp_unit),
    ):
        if listed_word is not None and asked not in (None, listed_word):
            raise contradiction(name, file.path, what, listed_word, asked)
    for field, column in file.columns.items():
        given = request.column(name.side, field)
        given = None if given is None else tuple(one.replace("{symbol}", name.symbol) for one in given)
        if given is not None and column not in (given or ("",)):
            raise contradiction(name, file.path, f"columns[{field!r}]", column, given)
        if not column and given is None:
            message = "the list of inputs says that there is no volume, the request does not"
            raise wrong(RequestError, message, "ask with columns={'volume': ''}", name, file.path)
    return file


# --- Reading the list --------------------------------------------------------------------


def _read_list(request: Request) -> dict[SeriesName, list[_Listed]]:
    path = request.inputs
    assert path is not None, "only called where there is a list"

    def fails(message: str) -> OmegaSlicesError:
        return wrong(CorruptInputError, f"cannot read the list of inputs: {message}", _HINT, None, path)

    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise fails(str(error)) from error
    entries = _only(document, ("series",), "the list", fails)["series"]
    if not isinstance(entries, list):
        raise fails("series is not an array")
    found: dict[SeriesName, list[_Listed]] = {}
    for number, entry in enumerate(entries):
        name, files = _series(_only(entry, _SERIES_KEYS, f"series {number}", fails), fails)
        if name in found:
            message = f"cannot read the list of inputs: the series {name} stands in it twice"
            raise wrong(CorruptInputError, message, _HINT, name, path)
        found[name] = [_file(file, name, os.path.dirname(path), fails) for file in files]
    return found


def _only(value: Any, keys: tuple[str, ...], what: str, fails: Any, needed: int | None = None) -> dict[str, Any]:
    """Return an object that has no other keys, and the first `needed` ones, or all."""
    if not isinstance(value, dict):
        raise fails(f"{what} is not an object")
    if unknown := sorted(value.keys() - set(keys)):
        raise fails(f"{what} has the unknown key {unknown[0]!r}")
    for key in keys[:needed]:
        if key not in value:
            raise fails(f"{what} has no {key!r}")
    return value


def _series(entry: dict[str, Any], fails: Any) -> tuple[SeriesName, list[Any]]:
    symbol, side, timeframe, files = (entry[key] for key in _SERIES_KEYS)
    if not isinstance(symbol, str) or not symbol:
        raise fails(f"invalid symbol {symbol!r}: expected text")
    if side not in (None, *PRICE_TYPES):
        raise fails(f"invalid price_type {side!r}: expected one of {', '.join(PRICE_TYPES)}, or null")
    try:
        timeframe_ns(timeframe)
    except TimeframeNotFoundError as error:
        raise fails(f"invalid timeframe {timeframe!r}: expected one such as M1") from error
    if not isinstance(files, list) or not files:
        raise fails(f"the series {symbol} {timeframe} has no files")
    return SeriesName(symbol, timeframe, side), files


def _file(value: Any, name: SeriesName, folder: str, fails: Any) -> _Listed:
    given: dict[str, Any] = (
        {"path": value} if isinstance(value, str) else _only(value, _FILE_KEYS, f"a file of {name}", fails, 1)
    )
    path = given["path"]
    if not isinstance(path, str) or not path or "\0" in path:
        raise fails(f"invalid path {path!r}: expected text")
    size, modified_ns = given.get("size"), given.get("modified_ns")
    if any(number is not None and type(number) is not int for number in (size, modified_ns)):
        raise fails(f"size and modified_ns of {path!r} are not integers")
    unit, zone, columns = given.get("unit"), given.get("zone"), given.get("columns")
    if unit not in (None, *NS_PER_TICK, "magnitude"):
        raise fails(f"invalid unit {unit!r}: expected one of {', '.join(NS_PER_TICK)}, magnitude")
    if zone is not None and (not isinstance(zone, str) or zone_of(zone) is None):
        raise fails(f"invalid zone {zone!r}: expected an IANA name")
    if columns is None:
        columns = {}
    # Those of indicators are named by the indicators themselves.
    known = columns if name.side is None else INPUT_COLUMNS
    if not isinstance(columns, dict) or not all(
        isinstance(column, str) and (column or field == "volume") for field, column in columns.items()
    ):
        raise fails(f"the columns of {path!r} are not an object of texts")
    if unknown := sorted(columns.keys() - set(known)):
        raise fails(f"the columns of {path!r} have the unknown key {unknown[0]!r}")
    place = path if _SCHEME.match(path) else os.path.join(folder, path)
    return _Listed(InputFile(place, columns, unit, zone), size, modified_ns)
