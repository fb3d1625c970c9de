"""The request: what is asked for, checked as a whole before anything is opened.

Owns the names, defaults and limits of every option that shapes the slices, and the
request's JSON.  Guarantees that a `Request` that exists is one that makes sense,
whichever way it was made.  Leaves to others whether the files that it names are there.
"""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from operator import index
from typing import Final, Literal, SupportsIndex, get_args

import msgspec
from msgspec import Struct

from omega_slices._candle import PRICE_TYPES, PriceType, unknown_price_type
from omega_slices._paths import check_local
from omega_slices._times import (
    DAY_NS,
    NS_MAX,
    NS_MIN,
    FurtherTimeframe,
    TimeLike,
    age_ns,
    age_text,
    canonical_further,
    canonical_timeframe,
    format_time_ns,
    parse_further,
    parse_time_ns,
    timeframe_ns,
)
from omega_slices.errors import RequestError, SymbolNotFoundError

Unsorted = Literal["sort", "error"]
Duplicates = Literal["last", "first", "identical", "error"]
Fill = Literal["none", "forward"]
KnownAt = Literal["open", "close"]
TimestampUnits = Literal["s", "ms", "us", "ns", "magnitude"]
Ambiguous = Literal["error", "infer", "earlier", "later"]
Stamped = Literal["open", "close"]
Days = Literal["utc", "local"]

SESSIONS: Final = ("none", "fx")
"""The sessions that have a name of ours; any other name is that of a market calendar."""


INPUT_COLUMNS: Final[Mapping[str, str]] = {
    "timestamp": "UTC time",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
}
"""The input's columns under their default names."""

DATA_VARIABLE: Final = "OMEGA_DATA_PARQUET_ROOT"
DEFAULT_DATA: Final = "data/parquet"

DEFAULT_PATH_TEMPLATE: Final = "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet"
DEFAULT_INDICATOR_TEMPLATE: Final = "{root}/{symbol}/{symbol}_{timeframe}_IND.parquet"

# The stream's symbol column is a dictionary with int16 keys.
SYMBOLS_MAX: Final = 2**15 - 1

_INDICATOR_TEMPLATE_FIELDS: Final = ("root", "symbol", "timeframe")
_TEMPLATE_FIELDS: Final = (*_INDICATOR_TEMPLATE_FIELDS, "side", "SIDE")

_TEMPLATE_FIELD: Final = re.compile(r"\{([^{}]*)\}")


# The parts of a regular expression: first those that Python and Rust do not both have, or read
# alike (some escapes, possessive quantifiers, braces that count nothing, groups other than plain
# or named ones and flags), then other escapes and classes, within which all that means nothing.
_PATTERN_PART: Final = re.compile(
    r"(?P<unlike>\\[0-9ZzNpPkKGgQE]|[*+?}]\+|\{(?![0-9]+(?:,[0-9]*)?\})|\(\?(?!:|P<\w+>|[ims]+(?:-[ims]+)?[:)]))"
    r"|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]",
    re.DOTALL,
)

_LEADER: Final = re.compile(r"leader:(.+)", re.DOTALL)
_QUORUM: Final = re.compile(r"quorum:([1-9][0-9]*)")
# NYSE, CME Globex Crypto, 24/7: names that pandas_market_calendars gives.
_CALENDAR: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _/&.+-]*[A-Za-z0-9])?")


class Request(Struct, frozen=True, kw_only=True):
    """What is asked for: everything that shapes the slices, and nothing else.

    Made by `make_request`, which takes the many forms that people write and turns
    them into these plain values.  The constructor takes the plain values only and
    makes the same checks.  The order of the fields is that of the JSON.

    Attributes
    ----------
    data : str or None
        The root folder of the input; None where `inputs` is given.
    symbols : tuple of str, or None
        In the order of the output; None means every symbol under the root, or in
        `inputs`, that has a file of the timeframe, in name order.
    timeframe : str
        A letter of ``SMHDW`` and a positive integer, such as ``"M1"``.
    price_types : tuple of str
        Some of ``"bid"``, ``"ask"``, ``"trade"``, in this order.
    start, end : int or None
        The window in nanoseconds since 1970-01-01T00:00Z, both ends inclusive.
    timeline : str
        Which timestamps get a slice: ``"intersection"`` (those of all series),
        ``"union"`` (of any), ``"leader:SYMBOL"`` (at which that symbol has every price
        type) or ``"quorum:K"`` (at which at least K symbols have every price type).
    session : str
        Which rows count as trading time: ``"none"`` (all), ``"fx"``, or the name of a
        market calendar.  Whether there is a calendar of that name is not checked here;
        `make_request` does.
    normalize : bool
        Whether timestamps are floored to the timeframe.
    unsorted : {"sort", "error"}
        What happens to rows out of order.
    duplicates : {"last", "first", "identical", "error"}, or None
        Which row of a timestamp counts.  None is ``"last"``, with a warning where such
        rows differ.
    path_template : str or None
        Where the files are, where they are not in the default layout.
    columns : dict of str to str
        Names of those input columns that have not the default one.
    fill : {"none", "forward"}
        Whether a series without a candle at a slice shows its latest earlier one.
    max_age : str or None
        How old such a candle may be: a positive integer and a unit of ``s m h d w
        bars``, such as ``"15m"``, ``"5bars"``.  None only where nothing is filled.
    with_timeframe : tuple of str
        Further timeframes, each ``"H1"`` or ``"H1:max-age=1d"``.
    known_at : {"open", "close"}
        Whether a candle of a further timeframe must be complete when the primary
        candle opens, or when it closes.
    session_file : str or None
        A Parquet or CSV file of sessions; only with session ``"none"``.
    indicators : tuple of str
        Names of the indicators, which are columns of files of their own.
    indicator_template : str or None
        Where these files are, where they are not in the default layout.
    inputs : str or None
        A JSON file that lists the files of every series, in the place of `data`,
        `path_template` and `indicator_template`.
    symbol_pattern : str or None
        A regular expression for the whole name of a symbol: other names are no symbols.
        Its syntax is what Python and Rust have in common.
    one_instrument : bool
        Whether the files of a series are sound although a column names several
        instruments.
    timestamp_unit : {"s", "ms", "us", "ns", "magnitude"}, or None
        The unit of timestamps that are integers; ``"magnitude"`` finds it for each file.
        None where there are none.
    zone : str or None
        The IANA time zone of wall-clock times, and of the days of UTC ones.
    ambiguous : {"error", "infer", "earlier", "later"}
        What a wall-clock time means that happens twice.
    stamped : {"open", "close"}
        Whether the input stamps its candles when they open, or when they close.
    days : {"utc", "local"}, or None
        Whether candles of whole days belong to UTC days, or to the dates of their zone.

    Raises
    ------
    UnsupportedInputError
        A path is a URI.
    SymbolNotFoundError
        A symbol's name could leave the root, or the leader is none of the symbols.
    TimeframeNotFoundError
        A timeframe is none.
    InvalidPriceTypeError
        A price type is none.
    RequestError
        Anything else that has no meaning.

    Examples
    --------
    >>> request = Request(data="data/parquet", symbols=("EURUSD", "GBPUSD"))
    >>> request.timeframe_ns
    60000000000
    """

    data: str | None
    symbols: tuple[str, ...] | None
    timeframe: str = "M1"
    price_types: tuple[PriceType, ...] = ("bid", "ask")
    start: int | None = None
    end: int | None = None
    timeline: str = "intersection"
    session: str = "none"
    normalize: bool = False
    unsorted: Unsorted = "sort"
    duplicates: Duplicates | None = None
    path_template: str | None = None
    columns: dict[str, str] = {}
    fill: Fill = "none"
    max_age: str | None = None
    with_timeframe: tuple[str, ...] = ()
    known_at: KnownAt = "open"
    session_file: str | None = None
    indicators: tuple[str, ...] = ()
    indicator_template: str | None = None
    inputs: str | None = None
    symbol_pattern: str | None = None
    one_instrument: bool = False
    timestamp_unit: TimestampUnits | None = None
    zone: str | None = None
    ambiguous: Ambiguous = "error"
    stamped: Stamped = "open"
    days: Days | None = None

    def __post_init__(self) -> None:
        """Check the request as a whole."""
        _check_source(self)
        if self.symbols is not None:
            _check_symbols(self.symbols, may_be_any=self.inputs is not None)
        _check_pattern(self.symbol_pattern, self.symbols)
        timeframe_ns(self.timeframe)
        _check_price_types(self.price_types)
        _check_window(self.start, self.end)
        _check_timeline(self.timeline, self.symbols)
        _check_session(self.session, self.session_file)
        _check_choice("normalize", self.normalize, (False, True))
        _check_choice("unsorted", self.unsorted, get_args(Unsorted))
        _check_choice("duplicates", self.duplicates, get_args(Duplicates), may_be_none=True)
        _check_columns(self.columns)
        _check_fill(self.fill, self.max_age, self.timeframe_ns)
        _check_further(self)
        _check_choice("known_at", self.known_at, get_args(KnownAt))
        _check_indicators(self.indicators, self.indicator_template)
        _check_templates(self)
        _check_choice("one_instrument", self.one_instrument, (False, True))
        _check_choice("timestamp_unit", self.timestamp_unit, get_args(TimestampUnits), may_be_none=True)
        _check_zone(self.zone, self.ambiguous, self.inputs)
        _check_choice("stamped", self.stamped, get_args(Stamped))
        _check_days(self)

    @property
    def timeframe_ns(self) -> int:
        """The timeframe's length in nanoseconds."""
        return timeframe_ns(self.timeframe)

    @property
    def input_columns(self) -> dict[str, str]:
        """The names of all six input columns, renamed ones included."""
        return {**INPUT_COLUMNS, **self.columns}

    @property
    def max_age_ns(self) -> int | None:
        """`max_age` in nanoseconds, its bars being those of the primary timeframe; None where nothing is filled."""
        return None if self.max_age is None else age_ns(self.max_age, self.timeframe_ns)

    @property
    def further(self) -> tuple[FurtherTimeframe, ...]:
        """The texts of `with_timeframe`, read."""
        return tuple(map(parse_further, self.with_timeframe))

    @property
    def leader(self) -> str | None:
        """The symbol of a timeline ``"leader:SYMBOL"``; None for another timeline."""
        match = _LEADER.fullmatch(self.timeline)
        return None if match is None else match[1]

    @property
    def quorum(self) -> int | None:
        """The number of a timeline ``"quorum:K"``; None for another timeline."""
        match = _QUORUM.fullmatch(self.timeline)
        return None if match is None else int(match[1])

    @property
    def calendar(self) -> str | None:
        """The market calendar that `session` names; None where it names none."""
        return None if self.session in SESSIONS else self.session

    def to_json(self) -> str:
        """Return the request as compact JSON, as it stands in the stream's metadata.

        Returns
        -------
        str
            One object, keys in the order of the fields; `start` and `end` as RFC 3339
            texts with nine digits after the second.  Those from `inputs` on are there
            only where they are not the default; `duplicates` is ``"last"`` for None.

        Examples
        --------
        >>> Request(data="d", symbols=("A",), start=0).to_json()[:60]
        '{"data":"d","symbols":["A"],"timeframe":"M1","price_types":['
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        for edge in ("start", "end"):
            fields[edge] = None if fields[edge] is None else format_time_ns(fields[edge])
        fields["duplicates"] = self.duplicates or "last"
        for name, default in _OPTIONAL_FIELDS.items():
            if fields[name] == default:
                del fields[name]
        return msgspec.json.encode(fields).decode()


# What stands in the JSON only where it says something, by name, with what it is by default.
_OPTIONAL_FIELDS: Final[Mapping[str, object]] = {
    field.name: field.default for field in msgspec.structs.fields(Request)[Request.__struct_fields__.index("inputs") :]
}


def make_request(
    data: str | os.PathLike[str] | None,
    *,
    symbols: Iterable[str] | None = None,
    timeframe: str = "M1",
    price_types: Iterable[str] = ("bid", "ask"),
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    timeline: str = "intersection",
    session: str = "none",
    normalize: bool = False,
    unsorted: str = "sort",
    duplicates: str | None = None,
    path_template: str | None = None,
    columns: Mapping[str, str] | None = None,
    fill: str = "none",
    max_age: str | timedelta | None = None,
    with_timeframe: str | Iterable[str] = (),
    known_at: str = "open",
    session_file: str | os.PathLike[str] | None = None,
    indicators: Iterable[str] = (),
    indicator_template: str | None = None,
    inputs: str | os.PathLike[str] | None = None,
    symbol_pattern: str | None = None,
    one_instrument: bool = False,
    timestamp_unit: str | None = None,
    zone: str | None = None,
    ambiguous: str = "error",
    stamped: str = "open",
    days: str | None = None,
) -> Request:
    """Turn what people write into a checked `Request`.

    Parameters
    ----------
    data : str or path, or None
        The root folder of the input; None with `inputs`.
    symbols : iterable of str, optional
        In the order wanted; None for every symbol there is.
    timeline, normalize, unsorted, duplicates, path_template, fill, known_at, indicator_template
        As in `Request`.
    timeframe : str
        As in `Request`, or as ``"1m"``, ``"4h"``, ``"1d"``.
    session : str
        As in `Request`; where it names a market calendar, there must be one of that name.
    price_types : iterable of str
        In any order.
    start, end : str, datetime, date or int, optional
        See `parse_time_ns`.
    columns : mapping of str to str, optional
        New names by ``timestamp``, ``open``, ``high``, ``low``, ``close``, ``volume``.
    max_age : str or timedelta, optional
        As in `Request`, or a positive timedelta of whole seconds.
    with_timeframe : str or iterable of str
        One further timeframe, or several; each may be written as ``"1h"``.
    session_file, inputs : str or path, optional
        As in `Request`.
    indicators : iterable of str
        As in `Request`.
    symbol_pattern, one_instrument, timestamp_unit, zone, ambiguous, stamped, days
        As in `Request`.

    Returns
    -------
    Request

    Raises
    ------
    SymbolNotFoundError, TimeframeNotFoundError, InvalidPriceTypeError, UnsupportedInputError, RequestError
        As in `Request`.

    Examples
    --------
    >>> request = make_request("data", symbols=["A"], price_types=["ask", "bid"], start="1970-01-02")
    >>> request.price_types, request.start
    (('bid', 'ask'), 86400000000000)
    """
    asked = _tuple_of_names("price_types", price_types)
    for price_type in asked:
        if price_type not in PRICE_TYPES:
            raise unknown_price_type(price_type)
    # Sorted, not a set: an option given twice stays visible to the check.
    ordered = tuple(known for known in PRICE_TYPES for given in asked if given == known)
    if columns is not None and not isinstance(columns, Mapping):
        raise RequestError(f"columns={columns!r} is no mapping", hint="write columns={'timestamp': 'ts', 'open': 'o'}")
    renamed = dict(columns or {})
    _check_columns(renamed)
    request = Request(
        data=None
        if data is None and inputs is not None
        else _path_text("data", data, "give the root folder as text or as a pathlib.Path"),
        symbols=None if symbols is None else _tuple_of_names("symbols", symbols),
        timeframe=canonical_timeframe(timeframe),
        price_types=ordered,
        start=None if start is None else parse_time_ns(start, "start"),
        end=None if end is None else parse_time_ns(end, "end"),
        timeline=timeline,
        session=session,
        normalize=normalize,
        # The constructor checks such texts against the very literals.
        unsorted=unsorted,  # type: ignore[arg-type]
        duplicates=duplicates,  # type: ignore[arg-type]
        path_template=path_template,
        columns={field: name for field, name in sorted(renamed.items()) if name != INPUT_COLUMNS[field]},
        fill=fill,  # type: ignore[arg-type]  # as above
        max_age=age_text(max_age) if isinstance(max_age, timedelta) else max_age,
        with_timeframe=tuple(
            map(
                canonical_further,
                (with_timeframe,)
                if isinstance(with_timeframe, str)
                else _tuple_of_names("with_timeframe", with_timeframe),
            )
        ),
        known_at=known_at,  # type: ignore[arg-type]  # as above
        session_file=None
        if session_file is None
        else _path_text("session_file", session_file, "give the file as text or as a pathlib.Path"),
        indicators=_tuple_of_names("indicators", indicators),
        indicator_template=indicator_template,
        inputs=None if inputs is None else _path_text("inputs", inputs, "give the file as text or as a pathlib.Path"),
        symbol_pattern=symbol_pattern,
        one_instrument=one_instrument,
        timestamp_unit=timestamp_unit,  # type: ignore[arg-type]  # as above
        zone=zone,
        ambiguous=ambiguous,  # type: ignore[arg-type]  # as above
        stamped=stamped,  # type: ignore[arg-type]  # as above
        days=days,  # type: ignore[arg-type]  # as above
    )
    if request.calendar is not None:
        # Imports pandas, which takes longer than many a run.
        from omega_slices._calendars import check_calendar  # noqa: PLC0415  # it needs this module

        check_calendar(request.calendar)
    return request


def default_data() -> str:
    """Return the root folder of the input where none is given."""
    return os.environ.get(DATA_VARIABLE) or DEFAULT_DATA


def _path_text(what: str, path: str | os.PathLike[str] | None, hint: str) -> str:
    try:
        name = None if path is None else os.fspath(path)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise RequestError(f"{what}={path!r} is no path", hint=hint)
    return name


def _list_hint(what: str, names: object) -> str:
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else [str(names)]
    return f"write {what}={listed!r}"


def _tuple_of_names(what: str, names: Iterable[str]) -> tuple[str, ...]:
    # A text is an iterable of its letters: never what was meant.
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise RequestError(f"{what}={names!r} is no list of names", hint=_list_hint(what, names))
    return tuple(names)


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise RequestError(f"{what}={text!r} is no text")
    # Neither can be handed to another program.
    if "\0" in text or any(unicodedata.category(letter) == "Cs" for letter in text):
        raise RequestError(f"{what}={text!r} holds a character that no name can hold")


def _check_source(request: Request) -> None:
    """Check where the files are, by root and templates or by a list."""
    for what in ("data", "path_template", "indicator_template", "session_file", "inputs"):
        path = getattr(request, what)
        if isinstance(path, str):
            check_local(path)
    if request.inputs is None:
        _check_text("data", request.data)
        if not request.data:
            raise RequestError("the data folder's name is empty", hint="give the root folder of the input")
        return
    _check_text("inputs", request.inputs)
    if not request.inputs:
        raise RequestError("inputs is empty", hint="give the JSON file that lists the files of every series")
    for what in ("data", "path_template", "indicator_template"):
        if getattr(request, what) is not None:
            raise RequestError(
                f"both inputs={request.inputs!r} and {what}={getattr(request, what)!r} are given",
                hint=f"leave out {what}: the list names all files",
            )


def _check_pattern(pattern: str | None, symbols: tuple[str, ...] | None) -> None:
    if pattern is None:
        return
    _check_text("symbol_pattern", pattern)
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
    for symbol in symbols or ():
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


def _check_zone(zone: str | None, ambiguous: str, inputs: str | None) -> None:
    _check_choice("ambiguous", ambiguous, get_args(Ambiguous))
    if zone is None:
        # A list of inputs may name zones too.
        if ambiguous != "error" and inputs is None:
            raise RequestError(
                f"ambiguous={ambiguous!r} is given without a zone",
                hint="give zone='Europe/Paris' or the like, or leave out ambiguous",
            )
        return
    _check_text("zone", zone)
    if zone not in zone_names():
        by_lower_case = {name.lower(): name for name in zone_names()}
        near = [by_lower_case[name] for name in get_close_matches(zone.lower(), by_lower_case, n=3)]
        raise RequestError(
            f"invalid zone {zone!r}: expected an IANA name",
            hint=f"near names are {', '.join(near)}" if near else "write a name such as Europe/Paris",
        )


def _check_days(request: Request) -> None:
    _check_choice("days", request.days, get_args(Days), may_be_none=True)
    if request.days is None:
        return
    lengths = [request.timeframe_ns, *(further.timeframe_ns for further in request.further)]
    if all(length % DAY_NS for length in lengths):
        raise RequestError(
            f"days={request.days!r} is given, but no timeframe is one of whole days",
            hint="ask for D1 or the like as timeframe or with_timeframe, or leave out days",
        )


def _check_choice(what: str, value: object, choices: tuple[object, ...], *, may_be_none: bool = False) -> None:
    if value is None and may_be_none:
        return
    # By type too: 1 == True, but it is no bool in the JSON.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise RequestError(f"{what}={value!r} is unknown", hint=f"choose one of {', '.join(map(str, choices))}")


def _check_symbols(symbols: tuple[str, ...], *, may_be_any: bool) -> None:
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
            raise RequestError(f"{symbol!r} in symbols is no text", hint="symbols are texts such as 'EURUSD'")
        if not (is_listed_name(symbol) if may_be_any else is_symbol_name(symbol)):
            others = "comma" if may_be_any else "slash, backslash, comma, '..'"
            raise SymbolNotFoundError(
                f"{symbol!r} cannot be a symbol's name",
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


def is_listed_name(symbol: str) -> bool:
    """Return whether a text may be the name of a symbol whose files are listed, and so part of no path.

    Examples
    --------
    >>> [is_listed_name(name) for name in ("BTC/USDT", "a,b", " A")]
    [True, False, False]
    """
    if symbol == "" or symbol != symbol.strip():
        return False
    # Cc: control characters; Cs: halves of surrogate pairs, which UTF-8 cannot hold.
    return not any(letter == "," or unicodedata.category(letter) in ("Cc", "Cs") for letter in symbol)


def _check_price_types(price_types: tuple[str, ...]) -> None:
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


def _check_window(start: int | None, end: int | None) -> None:
    for what, edge in (("start", start), ("end", end)):
        if edge is not None and (type(edge) is not int or not NS_MIN <= edge <= NS_MAX):
            raise RequestError(f"{what}={edge!r} is no number of nanoseconds in 64 bits")
    if start is not None and end is not None and start > end:
        raise RequestError(
            f"start {format_time_ns(start)} is after end {format_time_ns(end)}", hint="swap them; both are inclusive"
        )


def _check_timeline(timeline: str, symbols: tuple[str, ...] | None) -> None:
    _check_text("timeline", timeline)
    if timeline in ("intersection", "union"):
        return
    if (match := _LEADER.fullmatch(timeline)) is not None:
        _check_leader(match[1], symbols)
        return
    match = _QUORUM.fullmatch(timeline)
    if match is None:
        raise RequestError(
            f"timeline={timeline!r} is unknown",
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
            f"the leader {leader!r} of the timeline is none of the symbols",
            hint="add it to the symbols, or choose one of them as the leader",
            symbol=leader,
        )


def _check_session(session: str, session_file: str | None) -> None:
    _check_text("session", session)
    if session not in SESSIONS and _CALENDAR.fullmatch(session) is None:
        raise RequestError(
            f"session={session!r} is unknown",
            hint=f"choose one of {', '.join(SESSIONS)}, or the name of a market calendar, such as NYSE",
        )
    if session_file is None:
        return
    _check_text("session_file", session_file)
    if not session_file:
        raise RequestError("session_file is empty", hint="give a Parquet or CSV file with the columns open and close")
    if session != "none":
        raise RequestError(
            f"both session={session!r} and session_file={session_file!r} are given", hint="leave out one of them"
        )


def _check_fill(fill: str, max_age: str | None, timeframe_ns: int) -> None:
    _check_choice("fill", fill, get_args(Fill))
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


def _check_further(request: Request) -> None:
    seen: set[str] = set()
    for further in request.further:
        name = further.timeframe
        if name == request.timeframe:
            raise RequestError(
                f"the further timeframe {name} is the primary one",
                hint="leave it out: its candles are in every slice",
            )
        if further.timeframe_ns < request.timeframe_ns:
            raise RequestError(
                f"the further timeframe {name} is shorter than the primary one, {request.timeframe}",
                hint="ask for the shortest one as timeframe, for the others as with_timeframe",
            )
        if name in seen:
            raise RequestError(f"the further timeframe {name} is asked for twice", hint="name each timeframe once")
        seen.add(name)
        if request.calendar is not None and request.timeframe_ns < DAY_NS <= further.timeframe_ns:
            raise RequestError(
                f"the calendar {request.calendar} would drop all candles of the further timeframe {name}: they are "
                "stamped at midnight, outside of the trading hours",
                hint="open a stream of its own for the further timeframe, or leave the session out",
            )


def _check_indicators(indicators: tuple[str, ...], template: str | None) -> None:
    seen: set[str] = set()
    for name in indicators:
        _check_text("the name of an indicator", name)
        if not name or any(letter == "," or unicodedata.category(letter) == "Cc" for letter in name):
            raise RequestError(
                f"{name!r} cannot be the name of an indicator",
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


def _check_templates(request: Request) -> None:
    if request.inputs is not None:
        return
    many_symbols = request.symbols is None or len(request.symbols) > 1
    if (template := request.path_template) is not None:
        fields = _template_fields("path_template", template, _TEMPLATE_FIELDS)
        if many_symbols and "symbol" not in fields:
            raise _same_files("path_template", template, "symbol", "put {symbol} into it")
        if len(request.price_types) > 1 and fields.isdisjoint({"side", "SIDE"}):
            hint = "put {side} or {SIDE} into it, or ask for one price type"
            raise _same_files("path_template", template, "price type", hint)
        if request.with_timeframe and "timeframe" not in fields:
            raise _same_files("path_template", template, "timeframe", "put {timeframe} into it")
    if (template := request.indicator_template) is not None:
        fields = _template_fields("indicator_template", template, _INDICATOR_TEMPLATE_FIELDS)
        if many_symbols and "symbol" not in fields:
            raise _same_files("indicator_template", template, "symbol", "put {symbol} into it")


def _template_fields(what: str, template: str, known: tuple[str, ...]) -> set[str]:
    _check_text(what, template)
    hint = f"the fields are {', '.join(f'{{{field}}}' for field in known)}"
    if not template:
        raise RequestError(f"{what} is empty", hint=hint)
    fields = set(_TEMPLATE_FIELD.findall(template))
    if unknown := fields.difference(known):
        raise RequestError(f"{what}={template!r} has the unknown field {{{min(unknown)}}}", hint=hint)
    if not set("{}").isdisjoint(_TEMPLATE_FIELD.sub("", template)):
        raise RequestError(f"{what}={template!r} has a brace without its partner", hint=hint)
    return fields


def _same_files(what: str, template: str, each: str, hint: str) -> RequestError:
    return RequestError(f"{what}={template!r} gives every {each} the same files", hint=hint)


def _check_columns(columns: dict[str, str]) -> None:
    for field, name in columns.items():
        if field not in INPUT_COLUMNS:
            raise RequestError(
                f"columns names the unknown field {field!r}", hint=f"the fields are {', '.join(INPUT_COLUMNS)}"
            )
        _check_text(f"columns[{field!r}]", name)
        if not name or "," in name:
            raise RequestError(
                f"columns[{field!r}]={name!r} cannot be a column's name",
                hint="a name is not empty and holds no comma",
            )


def checked_count(what: str, value: SupportsIndex, least: int) -> int:
    """Return an integer of any kind as a plain one, if it is large enough."""
    try:
        count = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        count = least - 1
    if count < least:
        raise RequestError(f"{what}={value!r} is no number of its kind", hint=f"give an integer from {least} on")
    return count
