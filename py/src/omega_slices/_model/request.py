"""The request: what is asked for, checked as a whole before anything is opened.

Owns the fields of the request, their defaults and its JSON.  Guarantees that a `Request`
that exists is valid, whichever way it was made.  Whether its files exist is not its part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

import msgspec
from msgspec import Struct

from omega_slices._model.candle import PriceType
from omega_slices._model.checks import (
    LEADER,
    QUORUM,
    check_choice,
    check_columns,
    check_fields,
    check_fill,
    check_indicators,
    check_pattern,
    check_price_types,
    check_session,
    check_spell,
    check_stamped,
    check_symbols,
    check_timeline,
    check_window,
    check_zone,
    check_zones,
    scale_of,
)
from omega_slices._model.checks_together import (
    check_days,
    check_higher_timeframes,
    check_source,
    check_templates,
    check_volume,
)
from omega_slices._model.naming import Naming, encodes_symbol, zone_of_symbol
from omega_slices._model.options import (
    CANDLE_FIELDS,
    INPUT_COLUMNS,
    OR,
    SESSIONS,
    Ambiguous,
    Days,
    Duplicates,
    EmptyRows,
    Fill,
    Freedom,
    KnownAt,
    Stamped,
    TimestampUnits,
    Unsorted,
)
from omega_slices._model.split import RangeFinder, check_by, range_of, window_of, windows
from omega_slices._model.storage import checked_storage
from omega_slices._model.times import (
    NS_MAX,
    NS_MIN,
    HigherTimeframe,
    age_ns,
    candle_begin_ns,
    format_time_ns,
    parse_higher_timeframe,
    timeframe_ns,
)
from omega_slices.errors import RequestError


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
        Which timestamps get a slice.  ``"intersection"``: those of all series.
        ``"union"``: those of any.  ``"leader:SYMBOL"``: those at which that symbol has
        every price type.  ``"quorum:K"``: those at which at least K symbols have.
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
        Names of those input columns that have not the default one, by field; ``"bid_open"``
        and the like for those of one price type.  ``|`` separates alternatives.  An empty text
        says that there is no volume, and
        ``{symbol}`` stands for the symbol.
    fill : {"none", "forward"}
        Whether a series without a candle at a slice shows its latest earlier one.
    max_age : str or None
        How old such a candle may be: a positive integer and a unit of ``s m h d w
        bars``, such as ``"15m"``, ``"5bars"``.  None only where nothing is filled.
    with_timeframe : tuple of str
        Higher timeframes, each ``"H1"`` or ``"H1:max-age=1d"``.
    known_at : {"open", "close"}
        Whether a candle of a higher timeframe must be complete when the primary
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
        A regular expression for the whole name of a symbol: other names are not symbols.
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
    stamped : {"open", "close"}, or dict
        Whether the input stamps its candles when they open, or when they close; a dict says it
        for some timeframes.
    days : {"utc", "local"}, or None
        Whether candles of whole days belong to UTC days, or to the dates of their zone.
    fields : tuple of str
        Some of ``"open"``, ``"high"``, ``"low"``, ``"close"``, ``"volume"``, in this order:
        what the slices hold of a candle, in every timeframe.
    before : int or None
        The exclusive end of the window in nanoseconds since 1970, in the place of `end`.
    symbol_separator : str or None
        The text that stands for the slash of a symbol in names.
    rewrite : tuple of str
        Rules such as ``"{a}_{b} = {a}/{b}"``: what names spell, and the symbol that it means.
    spell : dict of str to str
        How names spell timeframes.
    price_scale, volume_scale : str or dict of str to str, or None
        The factor of prices, or volumes, that are integers, such as ``"1e-9"``; None for 1.  A
        dict has those of binary numbers, by ``"8"`` and ``"16"`` bytes.
    empty_rows : {"keep", "drop"}
        Whether rows whose prices are all null or NaN are candles.
    zones : tuple of (str, str)
        Patterns of symbols and their zones, in the place of `zone`; ``*`` stands for any text.

    Raises
    ------
    UnsupportedInputError
        A path is a URI.
    SymbolNotFoundError
        A symbol's name could leave the root, or the leader is not among the symbols.
    TimeframeNotFoundError
        A timeframe is not valid.
    InvalidPriceTypeError
        A price type is not valid.
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
    columns: dict[str, str | tuple[str, ...]] = {}
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
    stamped: Stamped | dict[str, Stamped] = "open"
    days: Days | None = None
    fields: tuple[str, ...] = CANDLE_FIELDS
    before: int | None = None
    symbol_separator: str | None = None
    rewrite: tuple[str, ...] = ()
    spell: dict[str, str] = {}
    price_scale: str | dict[str, str] | None = None
    volume_scale: str | dict[str, str] | None = None
    empty_rows: EmptyRows = "keep"
    zones: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Check the request as a whole."""
        check_source(self)
        naming = self.naming
        if self.symbols is not None:
            check_symbols(self.symbols, self.freedom)
        texts = [text for symbol in self.symbols or () for text in naming.texts(symbol)[:1]]
        check_pattern(self.symbol_pattern, texts)
        check_spell(self.spell)
        timeframe_ns(self.timeframe)
        check_price_types(self.price_types)
        check_window(self.start, self.end, self.before)
        check_timeline(self.timeline, self.symbols)
        check_session(self.session, self.session_file)
        check_choice("normalize", self.normalize, (False, True))
        check_choice("unsorted", self.unsorted, get_args(Unsorted))
        check_choice("duplicates", self.duplicates, get_args(Duplicates), may_be_none=True)
        check_columns(self.columns)
        check_fill(self.fill, self.max_age, self.timeframe_ns)
        check_higher_timeframes(self)
        check_choice("known_at", self.known_at, get_args(KnownAt))
        check_indicators(self.indicators, self.indicator_template)
        check_templates(self)
        check_choice("one_instrument", self.one_instrument, (False, True))
        check_choice("timestamp_unit", self.timestamp_unit, get_args(TimestampUnits), may_be_none=True)
        check_zone(self.zone, self.ambiguous, has_others=self.inputs is not None or bool(self.zones))
        check_stamped(self.stamped)
        check_zones(self.zones)
        check_days(self)
        check_fields(self.fields)
        check_volume(self)
        check_choice("empty_rows", self.empty_rows, get_args(EmptyRows))
        for what in ("price_scale", "volume_scale"):
            scale = getattr(self, what)
            if scale != (spelled := scale_of(what, scale)):
                msgspec.structs.force_setattr(self, what, spelled)

    @property
    def timeframe_ns(self) -> int:
        """The timeframe's length in nanoseconds."""
        return timeframe_ns(self.timeframe)

    @property
    def last_ns(self) -> int | None:
        """The last timestamp of the window, inclusive, by `end` or `before`; None without a limit."""
        return self.end if self.before is None else self.before - 1

    @property
    def input_columns(self) -> dict[str, str | tuple[str, ...]]:
        """The names of all six input columns, renamed ones included."""
        return {**INPUT_COLUMNS, **self.columns}

    @property
    def naming(self) -> Naming:
        """How names of files spell symbols."""
        return Naming(self.symbol_separator, self.rewrite)

    @property
    def freedom(self) -> Freedom:
        """What symbols may hold."""
        if self.inputs is not None:
            return "listed"
        spells = self.symbol_separator is not None or self.rewrite or encodes_symbol(self.path_template)
        return "slashes" if spells else "names"

    def column(self, side: str | None, field: str) -> tuple[str, ...] | None:
        """Return the names that the request gives the column of a field, in order of preference.

        Parameters
        ----------
        side : str or None
            The price type; None where the field is ``"timestamp"``.
        field : str
            ``"timestamp"``, or a field of a candle.

        Returns
        -------
        tuple of str, or None
            Empty where the files have no such column; None where the request says nothing.

        Examples
        --------
        >>> request = Request(data="d", symbols=("A",), columns={"open": "o|Open", "volume": ""})
        >>> [request.column("bid", field) for field in ("open", "volume", "close")]
        [('o', 'Open'), (), None]
        """
        given = self.columns.get(f"{side}_{field}", self.columns.get(field))
        if isinstance(given, str):
            return tuple(given.split(OR)) if given else ()
        return given

    @property
    def no_volume(self) -> tuple[str, ...]:
        """The requested price types whose files hold no volume."""
        return tuple(side for side in self.price_types if self.column(side, "volume") == ())

    def stamped_of(self, timeframe: str) -> str:
        """Return which side of a candle of a timeframe is stamped.

        Examples
        --------
        >>> Request(data="d", symbols=("A",), stamped={"D1": "close"}).stamped_of("M1")
        'open'
        """
        return self.stamped if isinstance(self.stamped, str) else self.stamped.get(timeframe, "open")

    def zone_of(self, symbol: str) -> str | None:
        """Return the zone of the wall clocks and days of a symbol; None where none is given.

        Examples
        --------
        >>> Request(data="d", symbols=("A",), zones=(("*", "Europe/Paris"),)).zone_of("A")
        'Europe/Paris'
        """
        return zone_of_symbol(self.zones, symbol) or self.zone

    @property
    def max_age_ns(self) -> int | None:
        """`max_age` in nanoseconds, its bars being those of the primary timeframe.

        None where nothing is filled.
        """
        return None if self.max_age is None else age_ns(self.max_age, self.timeframe_ns)

    @property
    def further(self) -> tuple[HigherTimeframe, ...]:
        """The higher timeframes: the texts of `with_timeframe`, parsed."""
        return tuple(map(parse_higher_timeframe, self.with_timeframe))

    @property
    def leader(self) -> str | None:
        """The symbol of a timeline ``"leader:SYMBOL"``; None for another timeline."""
        match = LEADER.fullmatch(self.timeline)
        return None if match is None else match[1]

    @property
    def quorum(self) -> int | None:
        """The number of a timeline ``"quorum:K"``; None for another timeline."""
        match = QUORUM.fullmatch(self.timeline)
        return None if match is None else int(match[1])

    @property
    def calendar(self) -> str | None:
        """The market calendar that `session` names; None where it names none."""
        return None if self.session in SESSIONS else self.session

    def split(self, by: str | int = "month", storage_options: Mapping[str, str] | None = None) -> list[Request]:
        """Cut the request into parts that follow each other without a gap or an overlap.

        Joined, their slices are those of the whole.  Cut are beginnings of periods, UTC, moved on
        to where the next candle of the primary timeframe begins.

        Parameters
        ----------
        by : {"day", "week", "month", "year"} or int
            The length of a part (weeks begin on Monday), or the number of parts, of which there
            are fewer where the window has too few candles.
        storage_options : mapping of str to str, optional
            How storage is reached, as in `open_slices`; of a request without dates.

        Returns
        -------
        list of Request
            In order, each with `start` and `before`.  A request without dates is split over what
            its files hold, which the executable says; without any row it is its own only part.

        Raises
        ------
        RequestError
            `by` is something else.  Or candles are filled, timestamps are floored, and `start`
            lies inside a candle: parts would show rows of it that the whole leaves out.
        OmegaSlicesError
            Any other class of this package: without dates, the files cannot be listed.

        Examples
        --------
        >>> request = Request(data="d", symbols=("A",), start=0, before=3 * 86_400 * 10**9)
        >>> [part.before // 86_400 // 10**9 for part in request.split("day")]
        [1, 2, 3]
        """
        storage = checked_storage(storage_options)
        return split_request(self, by, lambda whole: range_of(whole, storage))

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
        for edge in ("start", "end", "before"):
            fields[edge] = None if fields[edge] is None else format_time_ns(fields[edge])
        fields["duplicates"] = self.duplicates or "last"
        for name, default in _OPTIONAL_FIELDS.items():
            if fields[name] == default:
                del fields[name]
        return msgspec.json.encode(fields).decode()


def split_request(request: Request, by: str | int, find_range: RangeFinder) -> list[Request]:
    """Cut a request as `Request.split` does, by the range that a function tells where it has no dates."""
    check_by(by)
    _check_start(request)
    window = window_of(request, find_range)
    if window is None:
        return [request]
    edges = windows(*window, request.timeframe, by)
    parts = [
        msgspec.structs.replace(request, start=start, end=None, before=before)
        for start, before in edges
        if before <= NS_MAX
    ]
    if len(parts) < len(edges):
        # There is no exclusive end behind the last instant.
        parts.append(msgspec.structs.replace(request, start=edges[-1][0], end=NS_MAX, before=None))
    return parts


def _check_start(request: Request) -> None:
    """Check that the window does not start inside a candle whose earlier rows later parts would see."""
    if request.start is None or request.fill == "none" or not request.normalize:
        return
    begin_ns = candle_begin_ns(request.start, request.timeframe)
    if begin_ns == request.start:
        return
    named_ns = begin_ns if begin_ns >= NS_MIN else begin_ns + request.timeframe_ns
    raise RequestError(
        f"cannot split a request with normalize and fill whose start {format_time_ns(request.start)} lies inside a "
        f"candle of {request.timeframe}: parts would carry rows of that candle that the whole leaves out",
        hint=f"start where a candle opens, such as {format_time_ns(named_ns)}",
    )


# What stands in the JSON only where it says something, by name, with what it is by default.
_OPTIONAL_FIELDS: Final[Mapping[str, object]] = {
    field.name: {} if field.default is msgspec.NODEFAULT else field.default
    for field in msgspec.structs.fields(Request)[Request.__struct_fields__.index("inputs") :]
}
