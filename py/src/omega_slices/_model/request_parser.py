"""From the options that people write to a checked request.

Owns the many forms in which an option may be given.  The result holds plain values only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Unpack

from omega_slices._model.candle import PRICE_TYPES, unknown_price_type
from omega_slices._model.checks import check_columns, check_stamped, scale_of
from omega_slices._model.layout import layout_options, layout_text
from omega_slices._model.options import CANDLE_FIELDS, DATA_VARIABLE, DEFAULT_DATA, INPUT_COLUMNS, OR, RequestOptions
from omega_slices._model.request import Request
from omega_slices._model.times import (
    DAY_NS,
    age_text,
    canonical_higher_timeframe,
    canonical_timeframe,
    parse_time_ns,
    timeframe_ns,
)
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
    given: dict[str, Any] = {name: value for name, value in options.items() if name != "layout"}
    layout = options.get("layout")
    if layout is not None:
        given = _with_layout(given, layout)
    fields: dict[str, Any] = {"symbols": None}
    for name, value in given.items():
        if value is None and name in _UNSAID:
            continue
        parse = _PARSERS.get(name)
        fields[name] = _plain(value if parse is None else parse(value))
    if data is not None or options.get("inputs") is None:
        fields["data"] = _plain(_path_text("data", data, "give the root folder as text or as a pathlib.Path"))
    return Request(**{"data": None, **fields})


def _with_layout(given: dict[str, Any], layout: str | os.PathLike[str]) -> dict[str, Any]:
    """Return options with those of a layout, which they come before."""
    name = os.fspath(layout)

    def check(option: dict[str, Any]) -> None:
        ((what, value),) = option.items()
        make_request(
            "data", **{"symbols": ["A"], "price_types": ["bid"], "zone": "UTC", "timeframe": "D1", what: value}
        )

    of_layout = layout_options(name, layout_text(layout), check)
    if given.get("inputs") is not None:
        # A list names the files in the place of a path.
        of_layout.pop("path_template", None)
    timeframes = [given.get("timeframe", "M1"), *_higher_timeframes(given.get("with_timeframe", ()))]
    lengths = [timeframe_ns(canonical_timeframe(one.partition(":")[0])) for one in timeframes]
    if all(length % DAY_NS for length in lengths):
        of_layout.pop("days", None)
    renamed = given.get("columns") or {}
    # A name for all price types comes before those of one that the layout has.
    usual = {field: names for field, names in of_layout.pop("columns", {}).items() if field[4:] not in renamed}
    columns = {**usual, **renamed}
    if given.get("zone") is not None:
        of_layout.pop("zones", None)
    is_one = bool(of_layout.pop("one_instrument", False)) or given.get("one_instrument", False)
    said = {name: value for name, value in given.items() if value is not None and value != ()}
    return {**given, **of_layout, **said, "columns": columns, "one_instrument": is_one}


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


def _columns(columns: Mapping[str, str | Iterable[str]] | None) -> dict[str, str | tuple[str, ...]]:
    """Return the columns that have not their default names, in order."""
    if columns is not None and not isinstance(columns, Mapping):
        raise RequestError(
            f"invalid columns={columns!r}: expected a mapping", hint="write columns={'timestamp': 'ts', 'open': 'o'}"
        )
    renamed = {field: _column(names) for field, names in (columns or {}).items()}
    check_columns(renamed)
    return {field: name for field, name in sorted(renamed.items()) if name != INPUT_COLUMNS.get(field)}


def _column(names: str | Iterable[str]) -> str | tuple[str, ...]:
    """Return the names of a column as one text, where none of them holds what separates them."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        return names
    given = tuple(names)
    return OR.join(given) if all(isinstance(name, str) and name and OR not in name for name in given) else given


def _stamped(stamped: str | Mapping[str, str]) -> str | dict[str, str]:
    if not isinstance(stamped, Mapping):
        return stamped
    sides = {canonical_timeframe(timeframe): side for timeframe, side in stamped.items()}
    check_stamped(sides)
    if len(sides) < len(stamped):
        raise RequestError(f"stamped={stamped!r} names a timeframe twice", hint="name each once")
    return {timeframe: side for timeframe, side in sorted(sides.items()) if side != "open"} or "open"


def _pairs(what: str, pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    given = pairs.items() if isinstance(pairs, Mapping) else pairs
    try:
        return tuple((pattern, zone) for pattern, zone in given)
    except (TypeError, ValueError):
        raise RequestError(
            f"invalid {what}={pairs!r}: expected pairs of texts", hint="write zones={'*.PA': 'Europe/Paris'}"
        ) from None


def _spell(spell: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(spell, Mapping):
        raise RequestError(f"invalid spell={spell!r}: expected a mapping", hint="write spell={'M1': '1m', 'H1': '1h'}")
    found = {canonical_timeframe(timeframe): text for timeframe, text in spell.items()}
    if len(found) < len(spell):
        raise RequestError(f"invalid spell={spell!r}: it names a timeframe twice", hint="name each timeframe once")
    return dict(sorted(found.items()))


def _higher_timeframes(given: str | Iterable[str]) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) else _tuple_of_names("with_timeframe", given)
    return tuple(map(canonical_higher_timeframe, texts))


def _optional(parse: Callable[[Any], object]) -> Callable[[Any], object]:
    """Let None stay None."""
    return lambda value: None if value is None else parse(value)


def _file_path(what: str) -> Callable[[Any], object]:
    return _optional(lambda path: _path_text(what, path, "give the file as text or as a pathlib.Path"))


# Options that a layout may set where nothing is said, and their defaults do otherwise.
_UNSAID: Final = ("price_types", "ambiguous", "stamped", "empty_rows", "spell")

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
    "price_scale": lambda scale: scale_of("price_scale", scale),
    "volume_scale": lambda scale: scale_of("volume_scale", scale),
    "stamped": _stamped,
    "spell": _spell,
    "zones": lambda zones: _pairs("zones", zones),
    "rewrite": lambda rules: _tuple_of_names("rewrite", rules),
    "max_age": lambda age: age_text(age) if isinstance(age, timedelta) else age,
    "with_timeframe": _higher_timeframes,
    "session_file": _file_path("session_file"),
    "indicators": lambda names: _tuple_of_names("indicators", names),
    "inputs": _file_path("inputs"),
}
