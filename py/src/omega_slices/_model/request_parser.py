"""From the options that people write to a checked request.

Owns the many forms in which an option may be given.  The result holds plain values only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Unpack

from omega_slices._model.candle import PRICE_TYPES, unknown_price_type
from omega_slices._model.checks import check_columns
from omega_slices._model.options import CANDLE_FIELDS, DATA_VARIABLE, DEFAULT_DATA, INPUT_COLUMNS, RequestOptions
from omega_slices._model.request import Request
from omega_slices._model.times import age_text, canonical_higher_timeframe, canonical_timeframe, parse_time_ns
from omega_slices.errors import RequestError


def make_request(data: str | os.PathLike[str] | None, **options: Unpack[RequestOptions]) -> Request:
    """Turn what people write into a checked `Request`.

    Parameters
    ----------
    data : str or path, or None
        The root folder of the input; None with `inputs`.
    **options
        As `open_slices` takes and explains them, with the same defaults.

    Returns
    -------
    Request

    Raises
    ------
    SymbolNotFoundError, TimeframeNotFoundError, InvalidPriceTypeError, UnsupportedInputError, RequestError
        As in `Request`.
    TypeError
        There is no option of a given name.

    Examples
    --------
    >>> request = make_request("data", symbols=["A"], price_types=["ask", "bid"], start="1970-01-02")
    >>> request.price_types, request.start
    (('bid', 'ask'), 86400000000000)
    """
    fields: dict[str, Any] = {"symbols": None}
    for name, value in options.items():
        parse = _PARSERS.get(name)
        fields[name] = _plain(value if parse is None else parse(value))
    if data is not None or options.get("inputs") is None:
        fields["data"] = _plain(_path_text("data", data, "give the root folder as text or as a pathlib.Path"))
    return Request(**{"data": None, **fields})


def default_root() -> str:
    """Return the root folder of the input where none is given."""
    return os.environ.get(DATA_VARIABLE) or DEFAULT_DATA


def _plain(value: object) -> object:
    """Return a text of any class, such as ``numpy.str_``, as a `str`; also within a tuple or dict."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    return value


def _path_text(what: str, path: str | os.PathLike[str] | None, hint: str) -> str:
    try:
        name = None if path is None else os.fspath(path)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise RequestError(f"invalid {what}={path!r}: expected a path", hint=hint)
    return name


def _list_hint(what: str, names: object) -> str:
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else [str(names)]
    return f"write {what}={listed!r}"


def _tuple_of_names(what: str, names: Iterable[str]) -> tuple[str, ...]:
    # A text is an iterable of its letters: never what was meant.
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise RequestError(f"invalid {what}={names!r}: expected a list of names", hint=_list_hint(what, names))
    return tuple(names)


def _price_types(price_types: Iterable[str]) -> tuple[str, ...]:
    given = _tuple_of_names("price_types", price_types)
    for price_type in given:
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
    # Sorted, not a set: an option given twice stays visible to the check.
    return tuple(known for known in PRICE_TYPES for one in given if one == known)


def _fields(fields: Iterable[str] | None) -> tuple[str, ...]:
    if fields is None:
        return CANDLE_FIELDS
    given = _tuple_of_names("fields", fields)
    known = tuple(known for known in CANDLE_FIELDS for one in given if one == known)
    # The check names what is unknown.
    return known if len(known) == len(given) else given


def _columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Return the columns that have not their default names, in order."""
    if columns is not None and not isinstance(columns, Mapping):
        raise RequestError(
            f"invalid columns={columns!r}: expected a mapping", hint="write columns={'timestamp': 'ts', 'open': 'o'}"
        )
    renamed = dict(columns or {})
    check_columns(renamed)
    return {field: name for field, name in sorted(renamed.items()) if name != INPUT_COLUMNS[field]}


def _higher_timeframes(given: str | Iterable[str]) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) else _tuple_of_names("with_timeframe", given)
    return tuple(map(canonical_higher_timeframe, texts))


def _optional(parse: Callable[[Any], object]) -> Callable[[Any], object]:
    """Let None stay None."""
    return lambda value: None if value is None else parse(value)


def _file_path(what: str) -> Callable[[Any], object]:
    return _optional(lambda path: _path_text(what, path, "give the file as text or as a pathlib.Path"))


# Options that people may write in several forms.  All others are checked as they are.
_PARSERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "symbols": _optional(lambda symbols: _tuple_of_names("symbols", symbols)),
    "timeframe": canonical_timeframe,
    "price_types": _price_types,
    "fields": _fields,
    "start": _optional(lambda moment: parse_time_ns(moment, "start")),
    "end": _optional(lambda moment: parse_time_ns(moment, "end")),
    "before": _optional(lambda moment: parse_time_ns(moment, "before")),
    "columns": _columns,
    "max_age": lambda age: age_text(age) if isinstance(age, timedelta) else age,
    "with_timeframe": _higher_timeframes,
    "session_file": _file_path("session_file"),
    "indicators": lambda names: _tuple_of_names("indicators", names),
    "inputs": _file_path("inputs"),
}
