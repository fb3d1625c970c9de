"""Checks of single options, each by itself.

Owns what each option may hold and the error where it holds something else.  Checks that
need several options at once stay with the `Request`.  Opens nothing.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from operator import index
from typing import Final, SupportsIndex, get_args

from omega_slices._model.candle import PRICE_TYPES, unknown_price_type
from omega_slices._model.naming import is_name_part
from omega_slices._model.options import (
    CANDLE_FIELDS,
    INPUT_COLUMNS,
    OR,
    SESSIONS,
    SIDE_COLUMNS,
    SYMBOLS_MAX,
    Ambiguous,
    Fill,
    Freedom,
    Permissions,
    Stamped,
)
from omega_slices._model.storage import checked_storage
from omega_slices._model.times import NS_MAX, NS_MIN, age_ns, format_time_ns, timeframe_ns
from omega_slices.errors import RequestError, SymbolNotFoundError

INDICATOR_TEMPLATE_FIELDS: Final = ("root", "symbol", "timeframe")
TEMPLATE_FIELDS: Final = (*INDICATOR_TEMPLATE_FIELDS, "side", "SIDE")
_TEMPLATE_FIELD: Final = re.compile(r"\{([^{}]*)\}")

# The parts of a regular expression.  First those that Python and Rust do not both have or read
# alike: some escapes, possessive quantifiers, braces that count nothing, groups other than plain
# or named ones and flags.  Then other escapes and classes, within which these mean nothing.
_PATTERN_PART: Final = re.compile(
    r"(?P<unlike>\\[0-9ZzNpPkKGgQE]|[*+?}]\+|\{(?![0-9]+(?:,[0-9]*)?\})|\(\?(?!:|P<\w+>|[ims]+(?:-[ims]+)?[:)]))"
    r"|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]",
    re.DOTALL,
)

_SYMBOL_FAULTS: Final = {
    "names": "slash, backslash, comma, '..'",
    "slashes": "backslash, comma, '..'",
    "listed": "comma",
}

LEADER: Final = re.compile(r"leader:(.+)", re.DOTALL)
QUORUM: Final = re.compile(r"quorum:([1-9][0-9]*)")

# A factor: what the executable takes as one, and how much of it.
_SCALE: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_SCALE_DIGITS_MAX: Final = 18
_SCALE_EXPONENT_MAX: Final = 60

# What the executable can count.
_COUNT_MAX: Final = 2**64 - 1

# NYSE, CME Globex Crypto, 24/7: names that pandas_market_calendars gives.
_CALENDAR: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _/&.+-]*[A-Za-z0-9])?")


def check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise RequestError(f"invalid {what}={text!r}: expected text", hint=f"give {what} as a str")
    # Neither can be handed to another program.
    if "\0" in text or any(unicodedata.category(letter) == "Cs" for letter in text):
        raise RequestError(
            f"invalid {what}={text!r}: expected text without NUL and lone surrogates",
            hint="no other program can be given such a text; leave these characters out",
        )


def check_pattern(pattern: str | None, symbols: Sequence[str]) -> None:
    if pattern is None:
        return
    check_text("symbol_pattern", pattern)
    hint = "write a regular expression without look-around and references, such as [A-Z]{6}"
    for part in _PATTERN_PART.finditer(pattern):
        if part["unlike"]:
            raise RequestError(
                f"invalid symbol_pattern {pattern!r}: {part[0]!r} at {part.start()} is not supported", hint=hint
            )
    try:
        # What Python only warns of, such as [[:alpha:]] and &&, Rust reads in another way.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise RequestError(f"invalid symbol_pattern {pattern!r}: {error}", hint=hint) from None
    for symbol in symbols:
        if compiled.fullmatch(symbol) is None:
            raise RequestError(
                f"the symbol {symbol!r} does not match symbol_pattern={pattern!r}",
                hint="the pattern is for the whole name; correct it, or leave out the symbol",
                symbol=symbol,
            )


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return the names of all time zones: those of the package tzdata, whatever the system has."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def check_zone(zone: str | None, ambiguous: str, *, has_others: bool) -> None:
    check_choice("ambiguous", ambiguous, get_args(Ambiguous))
    if zone is None:
        # A list of inputs may name zones too, and those of symbols may be given.
        if ambiguous != "error" and not has_others:
            raise RequestError(
                f"ambiguous={ambiguous!r} is given without a zone",
                hint="give zone='Europe/Paris' or the like, or leave out ambiguous",
            )
        return
    check_text("zone", zone)
    if zone not in zone_names():
        by_lower_case = {name.lower(): name for name in zone_names()}
        near = [by_lower_case[name] for name in get_close_matches(zone.lower(), by_lower_case, n=3)]
        raise RequestError(
            f"invalid zone {zone!r}: expected an IANA name",
            hint=f"near names are {', '.join(near)}" if near else "write a name such as Europe/Paris",
        )


def check_choice(what: str, value: object, choices: tuple[object, ...], *, may_be_none: bool = False) -> None:
    if value is None and may_be_none:
        return
    # By type too: 1 == True, but it is not a bool in the JSON.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise RequestError(
            f"invalid {what}={value!r}: expected one of {', '.join(map(str, choices))}", hint="choose one of these"
        )


def check_symbols(symbols: tuple[str, ...], freedom: Freedom) -> None:
    if not symbols:
        raise RequestError("no symbol is asked for", hint="give symbols=[…], or symbols=None for all there are")
    if len(symbols) > SYMBOLS_MAX:
        raise RequestError(
            f"{len(symbols)} symbols are asked for, more than the {SYMBOLS_MAX} that a stream holds",
            hint="split the request",
        )
    seen: set[str] = set()
    for symbol in symbols:
        if not isinstance(symbol, str):
            raise RequestError(f"invalid symbol {symbol!r}: expected text", hint="symbols are texts such as 'EURUSD'")
        if not _SYMBOL_RULES[freedom](symbol):
            others = _SYMBOL_FAULTS[freedom]
            raise SymbolNotFoundError(
                f"invalid symbol {symbol!r}: expected the name of a symbol",
                hint=f"a name is not empty, has no blank at its ends, and holds no {others} or control character",
                symbol=symbol,
            )
        if symbol in seen:
            raise RequestError(f"the symbol {symbol!r} is asked for twice", hint="name each symbol once", symbol=symbol)
        seen.add(symbol)


def is_symbol_name(symbol: str) -> bool:
    """Return whether a text may be a symbol's name, which is a part of a path.

    Examples
    --------
    >>> [is_symbol_name(name) for name in ("EURUSD", "BRK.B", "../etc", "")]
    [True, True, False, False]
    """
    return is_listed_name(symbol) and symbol != "." and ".." not in symbol and set("/\\").isdisjoint(symbol)


def is_spelled_name(symbol: str) -> bool:
    """Return whether a text may be a symbol's name that names of files spell in another way.

    Examples
    --------
    >>> [is_spelled_name(name) for name in ("BTC/USDT", "../etc")]
    [True, False]
    """
    return is_listed_name(symbol) and symbol != "." and ".." not in symbol and "\\" not in symbol


def is_listed_name(symbol: str) -> bool:
    """Return whether a text may be the name of a symbol whose files are listed.

    Examples
    --------
    >>> [is_listed_name(name) for name in ("BTC/USDT", "a,b", " A")]
    [True, False, False]
    """
    if symbol == "" or symbol != symbol.strip():
        return False
    # Cc: control characters; Cs: halves of surrogate pairs, which UTF-8 cannot hold.
    return not any(letter == "," or unicodedata.category(letter) in ("Cc", "Cs") for letter in symbol)


def check_price_types(price_types: tuple[str, ...]) -> None:
    for price_type in price_types:
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
    if not price_types:
        raise RequestError("no price type is asked for", hint=f"choose from {', '.join(PRICE_TYPES)}")
    if len(set(price_types)) < len(price_types):
        raise RequestError("a price type is asked for twice", hint="name each price type once")
    if price_types != tuple(known for known in PRICE_TYPES if known in price_types):
        raise RequestError(
            f"price_types={price_types!r} are not in the order {', '.join(PRICE_TYPES)}",
            hint="make_request puts them in order",
        )


def check_window(start: int | None, end: int | None, before: int | None) -> None:
    for what, edge in (("start", start), ("end", end), ("before", before)):
        if edge is not None and (type(edge) is not int or not NS_MIN <= edge <= NS_MAX):
            raise RequestError(
                f"invalid {what}={edge!r}: expected nanoseconds that 64 bits hold",
                hint=f"give {what} as an int of nanoseconds since 1970, from {NS_MIN} to {NS_MAX}",
            )
    if start is not None and end is not None and start > end:
        raise RequestError(
            f"start {format_time_ns(start)} is after end {format_time_ns(end)}", hint="swap them; both are inclusive"
        )
    if before is None:
        return
    if end is not None:
        raise RequestError("the window has an inclusive and an exclusive end", hint="give end or before, not both")
    first = NS_MIN if start is None else start
    if before <= first:
        raise RequestError(
            f"the window starts at {format_time_ns(first)} and ends before {format_time_ns(before)}",
            hint="give a start earlier than before, which is exclusive",
        )


def check_timeline(timeline: str, symbols: tuple[str, ...] | None) -> None:
    check_text("timeline", timeline)
    if timeline in ("intersection", "union"):
        return
    if (match := LEADER.fullmatch(timeline)) is not None:
        _check_leader(match[1], symbols)
        return
    match = QUORUM.fullmatch(timeline)
    if match is None:
        raise RequestError(
            f"invalid timeline={timeline!r}: expected intersection, union, leader:SYMBOL or quorum:K",
            hint="choose one of intersection, union, leader:SYMBOL (one of the symbols), quorum:K (K from 1 to the "
            "number of symbols)",
        )
    symbols_max = SYMBOLS_MAX if symbols is None else len(symbols)
    # The length first: int() refuses thousands of digits.
    if len(match[1]) > len(str(symbols_max)) or int(match[1]) > symbols_max:
        raise RequestError(
            f"timeline={timeline!r} asks for more symbols than there are", hint=f"give a quorum from 1 to {symbols_max}"
        )


def _check_leader(leader: str, symbols: tuple[str, ...] | None) -> None:
    if symbols is not None and leader not in symbols:
        raise SymbolNotFoundError(
            f"the leader {leader!r} of the timeline is not among the symbols",
            hint="add it to the symbols, or choose one of them as the leader",
            symbol=leader,
        )


def check_session(session: str, session_file: str | None) -> None:
    check_text("session", session)
    if session not in SESSIONS and _CALENDAR.fullmatch(session) is None:
        raise RequestError(
            f"invalid session={session!r}: expected {', '.join(SESSIONS)}, or the name of a market calendar",
            hint=f"choose one of {', '.join(SESSIONS)}, or the name of a market calendar, such as NYSE",
        )
    if session_file is None:
        return
    check_text("session_file", session_file)
    if not session_file:
        raise RequestError("session_file is empty", hint="give a Parquet or CSV file with the columns open and close")
    if session != "none":
        raise RequestError(
            f"both session={session!r} and session_file={session_file!r} are given", hint="leave out one of them"
        )


def check_fill(fill: str, max_age: str | None, timeframe_ns: int) -> None:
    check_choice("fill", fill, get_args(Fill))
    if max_age is not None:
        age_ns(max_age, timeframe_ns)
    if fill == "forward" and max_age is None:
        raise RequestError(
            "fill='forward' has no limit", hint="say how old a candle may be: max_age='15m', '2h', '3d', '5bars'"
        )
    if fill == "none" and max_age is not None:
        raise RequestError(
            f"max_age={max_age!r} is given, but nothing is filled", hint="add fill='forward', or leave out max_age"
        )


def check_indicators(indicators: tuple[str, ...], template: str | None) -> None:
    seen: set[str] = set()
    for name in indicators:
        check_text("the name of an indicator", name)
        if not name or any(letter == "," or unicodedata.category(letter) == "Cc" for letter in name):
            raise RequestError(
                f"invalid indicator {name!r}: expected the name of a column",
                hint="a name is not empty and holds no comma or control character",
            )
        if name in seen:
            raise RequestError(f"the indicator {name!r} is asked for twice", hint="name each indicator once")
        seen.add(name)
    if template is not None and not indicators:
        raise RequestError(
            "indicator_template is given, but no indicator is asked for",
            hint="name the indicators, or leave out indicator_template",
        )


_SYMBOL_RULES: Final[Mapping[str, Callable[[str], bool]]] = {
    "names": is_symbol_name,
    "slashes": is_spelled_name,
    "listed": is_listed_name,
}


def template_fields(what: str, template: str, known: tuple[str, ...]) -> set[str]:
    check_text(what, template)
    hint = f"the fields are {', '.join(f'{{{field}}}' for field in known)}"
    if not template:
        raise RequestError(f"{what} is empty", hint=hint)
    fields = set(_TEMPLATE_FIELD.findall(template))
    if unknown := fields.difference(known):
        raise RequestError(f"{what}={template!r} has the unknown field {{{min(unknown)}}}", hint=hint)
    if not set("{}").isdisjoint(_TEMPLATE_FIELD.sub("", template)):
        raise RequestError(f"{what}={template!r} has a brace without its partner", hint=hint)
    before, symbol, after = template.partition("{symbol}")
    if symbol and "**" in before.split("/")[:-1] and "**" in after.split("/")[1:-1]:
        message = f"{what}={template!r} has ** on both sides of {{symbol}}: a file may be of several symbols"
        raise RequestError(message, hint="leave one of them out")
    return fields


def same_files_error(what: str, template: str, each: str, hint: str) -> RequestError:
    return RequestError(f"{what}={template!r} gives every {each} the same files", hint=hint)


def check_fields(fields: tuple[str, ...]) -> None:
    """Check that the fields are known, at least one, each once, in order."""
    choices = f"choose from {', '.join(CANDLE_FIELDS)}"
    if not isinstance(fields, tuple) or not fields:
        raise RequestError("the request names no field", hint=choices)
    for field in fields:
        if field not in CANDLE_FIELDS:
            raise RequestError(f"invalid field {field!r}: expected a field of candles", hint=choices)
        if fields.count(field) > 1:
            raise RequestError(f"the field {field!r} is requested twice", hint="name each field once")
    if fields != tuple(known for known in CANDLE_FIELDS if known in fields):
        raise RequestError(f"invalid fields={fields!r}: expected them in order", hint=choices)


def check_columns(columns: Mapping[str, str | tuple[str, ...]]) -> None:
    for field, name in columns.items():
        if field not in INPUT_COLUMNS and field not in SIDE_COLUMNS:
            raise RequestError(
                f"invalid field {field!r} in columns: expected one of {', '.join(INPUT_COLUMNS)}",
                hint="name one of these, or one of a price type, such as bid_open",
            )
        names = name.split(OR) if isinstance(name, str) else name
        is_none = names in ([""], ())
        for one in names if isinstance(names, (list, tuple)) else (names,):
            check_text(f"columns[{field!r}]", one)
        if is_none and field.rpartition("_")[2] == "volume":
            continue
        if is_none or not all(names):
            raise RequestError(
                f"invalid columns[{field!r}]={name!r}: expected the name of a column",
                hint="only a volume that is not there is empty",
            )


def scale_of(what: str, scale: object) -> str | dict[str, str] | None:
    """Return a factor, or those by width, as the executable spells them.

    Raises
    ------
    RequestError
        It is no number above zero, or there is no such width.
    """
    if scale is None:
        return None
    if not isinstance(scale, Mapping):
        return scale_text(what, scale)
    scale = {str(width): one for width, one in scale.items()}
    if unknown := sorted(scale.keys() - {"8", "16"}):
        raise RequestError(f"invalid width {unknown[0]!r} in {what}: expected '8' or '16'", hint="name one of these")
    return {width: scale_text(what, scale[width]) for width in ("8", "16") if width in scale}


def check_spell(spell: dict[str, str]) -> None:
    for timeframe, text in spell.items():
        timeframe_ns(timeframe)
        check_text(f"spell[{timeframe!r}]", text)
        if not is_name_part(text) or list(spell.values()).count(text) > 1:
            raise RequestError(
                f"invalid spell[{timeframe!r}]={text!r}: expected the text of this timeframe alone",
                hint="write spell={'M1': '1m', 'H1': '1h'}",
            )


def check_stamped(stamped: object) -> None:
    sides = stamped if isinstance(stamped, Mapping) else {"": stamped}
    for timeframe, side in sides.items():
        if timeframe:
            timeframe_ns(timeframe)
        check_choice("stamped", side, get_args(Stamped))


def check_zones(zones: tuple[tuple[str, str], ...]) -> None:
    patterns = [pattern for pattern, _ in zones]
    for pattern, zone in zones:
        check_text("zones", pattern)
        if not pattern or patterns.count(pattern) > 1:
            raise RequestError(
                f"invalid pattern of symbols {pattern!r} in zones: it is empty, or there twice",
                hint="write zones={'*.PA': 'Europe/Paris'}",
            )
        check_zone(zone, "error", has_others=False)


def scale_text(what: str, scale: object) -> str:
    """Return a factor as the executable spells it: digits without a zero at the end, and an exponent.

    Raises
    ------
    RequestError
        It is no number above zero, or has more than 18 digits.
    """
    text = scale if isinstance(scale, str) else str(scale)
    if _SCALE.fullmatch(text) is not None:
        _, digits, exponent = Decimal(text).as_tuple()
        zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
        kept = "".join(map(str, digits[: len(digits) - zeros])).lstrip("0")
        shift = int(exponent) + zeros
        if 0 < len(kept) <= _SCALE_DIGITS_MAX and abs(shift) <= _SCALE_EXPONENT_MAX:
            return f"{kept}e{shift}"
    raise RequestError(f"invalid {what}={scale!r}: expected a number above zero", hint="write it as '0.01' or '1e-9'")


def checked_count(what: str, value: SupportsIndex, least: int) -> int:
    """Return an integer of any kind as a plain one, if it is large enough and the executable can take it."""
    try:
        count = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        count = least - 1
    if not least <= count <= _COUNT_MAX:
        raise RequestError(
            f"invalid {what}={value!r}: expected an integer from {least} to {_COUNT_MAX}", hint="give an integer"
        )
    return count


def checked_permissions(
    *, follow_links: bool = False, strict: bool = False, storage_options: object = None
) -> Permissions:
    check_choice("follow_links", follow_links, (True, False))
    check_choice("strict", strict, (True, False))
    return Permissions(follow_links, strict, checked_storage(storage_options))
