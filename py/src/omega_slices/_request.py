"""The request: what is asked for, checked as a whole before anything is opened.

Owns the names, defaults and limits of every option that shapes the slices, the
reading of times and timeframes, and the request's JSON.  Guarantees that a `Request`
that exists is one that makes sense, whichever way it was made.  Leaves to others
whether the files that it names are there.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from operator import index
from typing import Final, Literal, get_args

import msgspec
from msgspec import Struct

from omega_slices._candle import PRICE_TYPES, PriceType, unknown_price_type
from omega_slices.errors import RequestError, SymbolNotFoundError, TimeframeNotFoundError

Timeline = Literal["intersection", "union"]
Session = Literal["none", "fx"]
Unsorted = Literal["sort", "error"]
Duplicates = Literal["last", "first", "error"]

TimeLike = str | datetime | date | int
"""What may stand for a point in time: text, datetime, date, or nanoseconds since 1970 (UTC)."""

INPUT_COLUMNS: Final[Mapping[str, str]] = {
    "timestamp": "UTC time",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
}
"""The input's columns under their default names."""

DEFAULT_PATH_TEMPLATE: Final = "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet"

# The stream's symbol column is a dictionary with int16 keys.
SYMBOLS_MAX: Final = 2**15 - 1

_TEMPLATE_FIELDS: Final = ("root", "symbol", "timeframe", "side", "SIDE")

_TEMPLATE_FIELD: Final = re.compile(r"\{([^{}]*)\}")

_NS_MIN: Final = -(2**63)
_NS_MAX: Final = 2**63 - 1
_NS_PER_SECOND: Final = 1_000_000_000
_NS_PER_UNIT: Final = {
    "S": _NS_PER_SECOND,
    "M": 60 * _NS_PER_SECOND,
    "H": 3_600 * _NS_PER_SECOND,
    "D": 86_400 * _NS_PER_SECOND,
    "W": 7 * 86_400 * _NS_PER_SECOND,
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_TIMEFRAME: Final = re.compile(r"([SMHDW])([1-9][0-9]*)")
_TIME: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<clock>[0-9]{2}:[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


class Request(Struct, frozen=True, kw_only=True):
    """What is asked for: everything that shapes the slices, and nothing else.

    Made by `make_request`, which takes the many forms that people write and turns
    them into these plain values.  The constructor takes the plain values only and
    makes the same checks.  The order of the fields is that of the JSON.

    Attributes
    ----------
    data : str
        The root folder of the input.
    symbols : tuple of str, or None
        In the order of the output; None means every symbol under the root that has a
        file of the timeframe, in name order.
    timeframe : str
        A letter of ``SMHDW`` and a positive integer, such as ``"M1"``.
    price_types : tuple of str
        Some of ``"bid"``, ``"ask"``, ``"trade"``, in this order.
    start, end : int or None
        The window in nanoseconds since 1970-01-01T00:00Z, both ends inclusive.
    timeline : {"intersection", "union"}
        Which timestamps get a slice: those of all series, or of any.
    session : {"none", "fx"}
        Which rows count as trading time.
    normalize : bool
        Whether timestamps are floored to the timeframe.
    unsorted : {"sort", "error"}
        What happens to rows out of order.
    duplicates : {"last", "first", "error"}
        Which row of a timestamp counts.
    path_template : str or None
        Where the files are, where they are not in the default layout.
    columns : dict of str to str
        Names of those input columns that have not the default one.

    Raises
    ------
    SymbolNotFoundError
        A symbol's name could leave the root.
    TimeframeNotFoundError
        The timeframe is none.
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

    data: str
    symbols: tuple[str, ...] | None
    timeframe: str = "M1"
    price_types: tuple[PriceType, ...] = ("bid", "ask")
    start: int | None = None
    end: int | None = None
    timeline: Timeline = "intersection"
    session: Session = "none"
    normalize: bool = False
    unsorted: Unsorted = "sort"
    duplicates: Duplicates = "last"
    path_template: str | None = None
    columns: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Check the request as a whole."""
        _check_text("data", self.data)
        if not self.data:
            raise RequestError("the data folder's name is empty", hint="give the root folder of the input")
        if self.symbols is not None:
            _check_symbols(self.symbols)
        timeframe_ns(self.timeframe)
        _check_price_types(self.price_types)
        _check_window(self.start, self.end)
        _check_choice("timeline", self.timeline, get_args(Timeline))
        _check_choice("session", self.session, get_args(Session))
        _check_choice("normalize", self.normalize, (False, True))
        _check_choice("unsorted", self.unsorted, get_args(Unsorted))
        _check_choice("duplicates", self.duplicates, get_args(Duplicates))
        if self.path_template is not None:
            _check_template(
                self.path_template,
                many_symbols=self.symbols is None or len(self.symbols) > 1,
                many_price_types=len(self.price_types) > 1,
            )
        _check_columns(self.columns)

    @property
    def timeframe_ns(self) -> int:
        """The timeframe's length in nanoseconds."""
        return timeframe_ns(self.timeframe)

    @property
    def input_columns(self) -> dict[str, str]:
        """The names of all six input columns, renamed ones included."""
        return {**INPUT_COLUMNS, **self.columns}

    def to_json(self) -> str:
        """Return the request as compact JSON, as it stands in the stream's metadata.

        Returns
        -------
        str
            One object, keys in the order of the fields; `start` and `end` as RFC 3339
            texts with nine digits after the second.

        Examples
        --------
        >>> Request(data="d", symbols=("A",), start=0).to_json()[:60]
        '{"data":"d","symbols":["A"],"timeframe":"M1","price_types":['
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        for edge in ("start", "end"):
            fields[edge] = None if fields[edge] is None else format_time_ns(fields[edge])
        return msgspec.json.encode(fields).decode()


def make_request(
    data: str | os.PathLike[str],
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
    duplicates: str = "last",
    path_template: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Request:
    """Turn what people write into a checked `Request`.

    Parameters
    ----------
    data : str or path
        The root folder of the input.
    symbols : iterable of str, optional
        In the order wanted; None for every symbol there is.
    timeframe, timeline, session, normalize, unsorted, duplicates, path_template
        As in `Request`.
    price_types : iterable of str
        In any order.
    start, end : str, datetime, date or int, optional
        See `parse_time_ns`.
    columns : mapping of str to str, optional
        New names by ``timestamp``, ``open``, ``high``, ``low``, ``close``, ``volume``.

    Returns
    -------
    Request

    Raises
    ------
    SymbolNotFoundError, TimeframeNotFoundError, InvalidPriceTypeError, RequestError
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
    return Request(
        data=_folder_name(data),
        symbols=None if symbols is None else _tuple_of_names("symbols", symbols),
        timeframe=timeframe,
        price_types=ordered,
        start=None if start is None else parse_time_ns(start, "start"),
        end=None if end is None else parse_time_ns(end, "end"),
        # The constructor checks these texts against the very literals.
        timeline=timeline,  # type: ignore[arg-type]
        session=session,  # type: ignore[arg-type]
        normalize=normalize,
        unsorted=unsorted,  # type: ignore[arg-type]
        duplicates=duplicates,  # type: ignore[arg-type]
        path_template=path_template,
        columns={field: name for field, name in sorted(renamed.items()) if name != INPUT_COLUMNS[field]},
    )


def timeframe_ns(timeframe: str) -> int:
    """Return a timeframe's length in nanoseconds.

    Parameters
    ----------
    timeframe : str
        A letter of ``SMHDW`` and a positive integer.

    Returns
    -------
    int

    Raises
    ------
    TimeframeNotFoundError
        It is no timeframe, or longer than 64 bits of nanoseconds hold.

    Examples
    --------
    >>> timeframe_ns("H4") // timeframe_ns("S10")
    1440
    """
    match = _TIMEFRAME.fullmatch(timeframe) if isinstance(timeframe, str) else None
    if match is None:
        raise TimeframeNotFoundError(
            f"unknown timeframe {timeframe!r}",
            hint="a timeframe is S, M, H, D or W and a positive integer, such as S10, M1, H4, D1",
        )
    unit, count = match.groups()
    # Nineteen digits already exceed 64 bits of nanoseconds; int() refuses thousands of them.
    length_ns = int(count) * _NS_PER_UNIT[unit] if len(count) < 19 else _NS_MAX + 1
    if length_ns > _NS_MAX:
        raise TimeframeNotFoundError(
            f"the timeframe {timeframe!r} is too long", hint="the longest one is below 292 years"
        )
    return length_ns


def parse_time_ns(value: TimeLike, what: str) -> int:
    """Return a point in time as nanoseconds since 1970-01-01T00:00Z.

    Parameters
    ----------
    value : str, datetime, date or int
        A text is a date, or a date and a time of day with `T` or a blank between them;
        seconds, a fraction of up to nine digits, and a zone (``Z``, ``+05:30``) may
        follow.  Text and datetimes without a zone are UTC, a date is its midnight, an
        integer is taken as it is.  The nanoseconds of a pandas timestamp are kept.
    what : str
        The option's name, for the error.

    Returns
    -------
    int

    Raises
    ------
    RequestError
        No point in time, or one that 64 bits of nanoseconds do not hold.

    Examples
    --------
    >>> parse_time_ns("1970-01-01 01:00:00.000000001+01:00", "start")
    1
    """
    match value:
        case str():
            timestamp_ns = _text_to_ns(value, what)
        case datetime():
            try:
                timestamp_ns = _datetime_to_ns(value)
            except ValueError:  # pandas.NaT is a datetime, but no time
                raise _no_time(what, value) from None
        case date():
            timestamp_ns = _datetime_to_ns(datetime(value.year, value.month, value.day, tzinfo=UTC))
        case bool():
            raise _no_time(what, value)
        case _:
            try:
                timestamp_ns = index(value)
            except TypeError:
                raise _no_time(what, value) from None
    if not _NS_MIN <= timestamp_ns <= _NS_MAX:
        raise RequestError(
            f"{what}={value!r} is out of range", hint="64 bits of nanoseconds reach from 1677-09-21 to 2262-04-11"
        )
    return timestamp_ns


def format_time_ns(timestamp_ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 text with nine digits, UTC.

    Examples
    --------
    >>> format_time_ns(1)
    '1970-01-01T00:00:00.000000001Z'
    """
    seconds, nanoseconds = divmod(timestamp_ns, _NS_PER_SECOND)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"


def _text_to_ns(text: str, what: str) -> int:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise _no_time(what, text)
    zone = match["zone"]
    offset = UTC
    try:
        if zone is not None and zone not in "Zz":
            minutes = int(zone[1:3]) * 60 + int(zone[-2:])
            if int(zone[-2:]) > 59:
                raise _no_time(what, text)
            offset = timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))
        moment = datetime.strptime(
            f"{match['day']} {match['clock'] or '00:00'}:{match['second'] or '00'}", "%Y-%m-%d %H:%M:%S"
        ).replace(tzinfo=offset)
    except ValueError:
        raise _no_time(what, text) from None
    return _datetime_to_ns(moment) + int((match["fraction"] or "0").ljust(9, "0"))


def _datetime_to_ns(moment: datetime) -> int:
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - _EPOCH
    whole_ns = (since.days * 86_400 + since.seconds) * _NS_PER_SECOND + since.microseconds * 1_000
    # pandas.Timestamp is a datetime; its differences carry nanoseconds of their own.
    return whole_ns + int(getattr(since, "nanoseconds", 0))


def _no_time(what: str, value: object) -> RequestError:
    return RequestError(
        f"{what}={value!r} is no point in time",
        hint="give an RFC 3339 text such as 2024-01-02T00:00:00Z, a date, a datetime, or nanoseconds since 1970",
    )


def _folder_name(data: str | os.PathLike[str]) -> str:
    try:
        name = os.fspath(data)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise RequestError(f"data={data!r} is no path", hint="give the root folder as text or as a pathlib.Path")
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


def _check_choice(what: str, value: object, choices: tuple[object, ...]) -> None:
    # By type too: 1 == True, but it is no bool in the JSON.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise RequestError(f"{what}={value!r} is unknown", hint=f"choose one of {', '.join(map(str, choices))}")


def _check_symbols(symbols: tuple[str, ...]) -> None:
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
        if not is_symbol_name(symbol):
            raise SymbolNotFoundError(
                f"{symbol!r} cannot be a symbol's name",
                hint="a name is not empty, has no blank at its ends, and holds no slash, backslash, comma, '..' or "
                "control character",
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
    if symbol in ("", ".") or ".." in symbol or symbol != symbol.strip():
        return False
    # Cc: control characters; Cs: halves of surrogate pairs, which UTF-8 cannot hold.
    return not any(letter in "/\\," or unicodedata.category(letter) in ("Cc", "Cs") for letter in symbol)


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
        if edge is not None and (type(edge) is not int or not _NS_MIN <= edge <= _NS_MAX):
            raise RequestError(f"{what}={edge!r} is no number of nanoseconds in 64 bits")
    if start is not None and end is not None and start > end:
        raise RequestError(
            f"start {format_time_ns(start)} is after end {format_time_ns(end)}", hint="swap them; both are inclusive"
        )


def _check_template(template: str, *, many_symbols: bool, many_price_types: bool) -> None:
    _check_text("path_template", template)
    hint = f"the fields are {', '.join(f'{{{field}}}' for field in _TEMPLATE_FIELDS)}"
    if not template:
        raise RequestError("path_template is empty", hint=hint)
    fields = set(_TEMPLATE_FIELD.findall(template))
    if unknown := fields.difference(_TEMPLATE_FIELDS):
        raise RequestError(f"path_template={template!r} has the unknown field {{{min(unknown)}}}", hint=hint)
    if not set("{}").isdisjoint(_TEMPLATE_FIELD.sub("", template)):
        raise RequestError(f"path_template={template!r} has a brace without its partner", hint=hint)
    if many_symbols and "symbol" not in fields:
        raise RequestError(f"path_template={template!r} gives every symbol the same files", hint="put {symbol} into it")
    if many_price_types and fields.isdisjoint({"side", "SIDE"}):
        raise RequestError(
            f"path_template={template!r} gives every price type the same files",
            hint="put {side} or {SIDE} into it, or ask for one price type",
        )


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
