"""Checks of options together: whether a request as a whole has a meaning.

Owns the errors of options that contradict each other.  Opens nothing.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, Protocol, get_args

import msgspec

from omega_slices._model.checks import (
    INDICATOR_TEMPLATE_FIELDS,
    TEMPLATE_FIELDS,
    check_choice,
    check_text,
    same_files_error,
    template_fields,
)
from omega_slices._model.options import PRICE_FIELDS, Days
from omega_slices._model.paths import check_readable, local_form
from omega_slices._model.times import DAY_NS
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from omega_slices._model.times import HigherTimeframe


class Request(Protocol):
    """What these checks look at of a request, which imports them."""

    @property
    def data(self) -> str | None: ...
    @property
    def inputs(self) -> str | None: ...
    @property
    def symbols(self) -> tuple[str, ...] | None: ...
    @property
    def timeframe(self) -> str: ...
    @property
    def timeframe_ns(self) -> int: ...
    @property
    def with_timeframe(self) -> tuple[str, ...]: ...
    @property
    def further(self) -> tuple[HigherTimeframe, ...]: ...
    @property
    def calendar(self) -> str | None: ...
    @property
    def price_types(self) -> tuple[str, ...]: ...
    @property
    def path_template(self) -> str | None: ...
    @property
    def indicator_template(self) -> str | None: ...
    @property
    def days(self) -> str | None: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def no_volume(self) -> tuple[str, ...]: ...
    def column(self, side: str | None, field: str) -> tuple[str, ...] | None: ...


def check_source(request: Request) -> None:
    """Check where the files are, by root and templates or by a list."""
    for what in ("data", "path_template", "indicator_template", "session_file", "inputs"):
        path = getattr(request, what)
        if isinstance(path, str):
            if (local := local_form(path)) != path:
                # A frozen struct may be completed by itself.
                msgspec.structs.force_setattr(request, what, local)  # type: ignore[arg-type]  # it is a struct
            check_readable(local)
    if request.inputs is None:
        check_text("data", request.data)
        if not request.data:
            raise RequestError("the data folder's name is empty", hint="give the root folder of the input")
        return
    check_text("inputs", request.inputs)
    if not request.inputs:
        raise RequestError("inputs is empty", hint="give the JSON file that lists the files of every series")
    for what in ("data", "path_template", "indicator_template"):
        if getattr(request, what) is not None:
            raise RequestError(
                f"both inputs={request.inputs!r} and {what}={getattr(request, what)!r} are given",
                hint=f"leave out {what}: the list names all files",
            )


def check_volume(request: Request) -> None:
    if request.fields == ("volume",) and request.no_volume:
        raise RequestError(
            f"the volume alone is asked for, and there is none of {', '.join(request.no_volume)}",
            hint="add prices to fields",
        )


def _price_types_differ(request: Request) -> bool:
    """Return whether one file can hold all price types: their prices have other columns."""
    return not any(
        may_be_one_column(request.column(one, field), request.column(other, field), field)
        for one, other in combinations(request.price_types, 2)
        for field in PRICE_FIELDS
    )


def _symbols_differ(request: Request) -> bool:
    """Return whether one file can hold all symbols: their prices have other columns."""
    for names in (request.column(side, field) for side in request.price_types for field in PRICE_FIELDS):
        if not names or not all("{symbol}" in name for name in names):
            return False
        owners: dict[str, str] = {}
        for symbol, name in product(request.symbols or (), names):
            if owners.setdefault(name.replace("{symbol}", symbol), symbol) != symbol:
                return False
    return request.symbols is not None


def may_be_one_column(one: tuple[str, ...] | None, other: tuple[str, ...] | None, field: str) -> bool:
    """Return whether two choices of a price's column may mean the same one; None is the usual one.

    Parameters
    ----------
    one, other : tuple of str, or None
        The alternatives, as `Request.column` returns them.
    field : str
        The field of a candle.

    Returns
    -------
    bool

    Examples
    --------
    >>> may_be_one_column(("b", "Open"), None, "open")
    True
    >>> may_be_one_column(("b",), ("a",), "open")
    False
    """
    if one is None:
        one, other = other, None
    if one is None:
        return True
    if other is None:
        return any(name.lower() == field for name in one)
    return not set(one).isdisjoint(other)


def check_days(request: Request) -> None:
    check_choice("days", request.days, get_args(Days), may_be_none=True)
    if request.days is None:
        return
    lengths = [request.timeframe_ns, *(higher.timeframe_ns for higher in request.further)]
    if all(length % DAY_NS for length in lengths):
        raise RequestError(
            f"days={request.days!r} is given, but no timeframe is one of whole days",
            hint="ask for D1 or the like as timeframe or with_timeframe, or leave out days",
        )


def check_higher_timeframes(request: Request) -> None:
    seen: set[str] = set()
    for higher in request.further:
        name = higher.timeframe
        if name == request.timeframe:
            raise RequestError(
                f"the higher timeframe {name} is the primary one",
                hint="leave it out: its candles are in every slice",
            )
        if higher.timeframe_ns < request.timeframe_ns:
            raise RequestError(
                f"the higher timeframe {name} is shorter than the primary one, {request.timeframe}",
                hint="ask for the shortest one as timeframe, for the others as with_timeframe",
            )
        if name in seen:
            raise RequestError(f"the higher timeframe {name} is asked for twice", hint="name each timeframe once")
        seen.add(name)
        if request.calendar is not None and request.timeframe_ns < DAY_NS <= higher.timeframe_ns:
            raise RequestError(
                f"the calendar {request.calendar} would drop all candles of the higher timeframe {name}: they are "
                "stamped at midnight, outside of the trading hours",
                hint="open a stream of its own for the higher timeframe, or leave the session out",
            )


def check_templates(request: Request) -> None:
    if request.inputs is not None:
        return
    many_symbols = request.symbols is None or len(request.symbols) > 1
    if (template := request.path_template) is not None:
        fields = template_fields("path_template", template, TEMPLATE_FIELDS)
        if many_symbols and "symbol" not in fields and not _symbols_differ(request):
            hint = "put {symbol} into it, or into the names of the columns"
            raise same_files_error("path_template", template, "symbol", hint)
        if fields.isdisjoint({"side", "SIDE"}) and not _price_types_differ(request):
            hint = "put {side} or {SIDE} into it, ask for one price type, or name the columns of each, as bid_open"
            raise same_files_error("path_template", template, "price type", hint)
        if request.with_timeframe and "timeframe" not in fields:
            raise same_files_error("path_template", template, "timeframe", "put {timeframe} into it")
    if (template := request.indicator_template) is not None:
        fields = template_fields("indicator_template", template, INDICATOR_TEMPLATE_FIELDS)
        if many_symbols and "symbol" not in fields:
            raise same_files_error("indicator_template", template, "symbol", "put {symbol} into it")
