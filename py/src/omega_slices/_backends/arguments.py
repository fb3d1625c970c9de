"""A request as arguments of the executable.

Owns the flags' names and the limit on an argument's length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from omega_slices._backends.process import HEARTBEAT_S
from omega_slices._model.options import CANDLE_FIELDS, DEFAULT_EXECUTION, NO_PERMISSIONS, OR
from omega_slices._model.times import format_time_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from omega_slices._model.options import ExecutionOptions, Permissions
    from omega_slices._model.request import Request


# Linux takes 128 KiB as one argument of a program.
_ARGUMENT_BYTES_MAX: Final = 64 << 10


def sync_arguments(request: Request, options: ExecutionOptions = DEFAULT_EXECUTION) -> list[str]:
    """Return the arguments that make the executable answer a request.

    The sessions of a market calendar are expected on its standard input.
    """
    arguments = [
        "sync",
        *request_arguments(request, options.permissions),
        f"--heartbeat={HEARTBEAT_S}",
        "--progress=never",
    ]
    optional = {"threads": options.threads, **options.memory._asdict()}
    return [*arguments, *_given(optional)]


def request_arguments(request: Request, permissions: Permissions = NO_PERMISSIONS) -> list[str]:
    """Return what tells the executable a request, for every command that takes one.

    Every value is bound to its option with ``=``, so that it may start with a dash.
    """
    arguments = [f"--data={request.data}" if request.inputs is None else f"--inputs={request.inputs}"]
    if request.symbols is None:
        arguments.append("--all-symbols")
    else:
        arguments.extend(f"--symbols={part}" for part in _joined(request.symbols))
    arguments += [
        f"--timeframe={request.timeframe}",
        f"--price-types={','.join(request.price_types)}",
        f"--timeline={request.timeline}",
        f"--session={request.session if request.calendar is None else 'none'}",
        f"--unsorted={request.unsorted}",
        "--error-format=json",
    ]
    flags = {
        "normalize": request.normalize,
        "one-instrument": request.one_instrument,
        "follow-links": permissions.follow_links,
        "strict": permissions.strict,
    }
    arguments += [f"--{flag}" for flag, is_set in flags.items() if is_set]
    arguments += [f"--with-timeframe={timeframe}" for timeframe in request.with_timeframe]
    arguments += _column_arguments(request)
    arguments += [f"--rewrite={rule}" for rule in request.rewrite]
    arguments += [f"--symbol-zone={pattern}={zone}" for pattern, zone in request.zones]
    optional = {
        "duplicates": request.duplicates,
        "start": None if request.start is None else format_time_ns(request.start),
        "end": None if request.end is None else format_time_ns(request.end),
        "before": None if request.before is None else format_time_ns(request.before),
        "path-template": request.path_template,
        "fill": None if request.fill == "none" else request.fill,
        "max-age": request.max_age,
        "known-at": None if request.known_at == "open" else request.known_at,
        "session-file": request.session_file if request.calendar is None else "/dev/stdin",
        "session-name": request.calendar,
        "indicators": ",".join(request.indicators) or None,
        "indicator-template": request.indicator_template,
        "symbol-pattern": request.symbol_pattern,
        "timestamp-unit": request.timestamp_unit,
        "zone": request.zone,
        "ambiguous": None if request.ambiguous == "error" else request.ambiguous,
        "stamped": None if request.stamped == "open" else _listed(request.stamped),
        "days": request.days,
        "symbol-separator": request.symbol_separator,
        "spell": _listed(request.spell) or None,
        "price-scale": None if request.price_scale is None else _listed(request.price_scale),
        "volume-scale": None if request.volume_scale is None else _listed(request.volume_scale),
        "empty-rows": None if request.empty_rows == "keep" else request.empty_rows,
        "fields": None if request.fields == CANDLE_FIELDS else ",".join(request.fields),
    }
    return [*arguments, *_given(optional)]


def _column_arguments(request: Request) -> Iterator[str]:
    """Yield what names the columns: those that a list of names can hold, and the others one by one."""
    listed = {field: name for field, name in request.columns.items() if isinstance(name, str) and "," not in name}
    if listed:
        yield f"--columns={_listed(listed)}"
    for field, names in request.columns.items():
        if field not in listed:
            for name in names.split(OR) if isinstance(names, str) else names:
                yield f"--column={field}={name}"


def _listed(values: str | Mapping[str, object]) -> str:
    return values if isinstance(values, str) else ",".join(f"{key}={value}" for key, value in values.items())


def _given(options: Mapping[str, object]) -> Iterator[str]:
    """Yield the arguments of options that have a value."""
    for option, value in options.items():
        if value is not None:
            yield f"--{option.replace('_', '-')}={value}"


def _joined(symbols: tuple[str, ...]) -> Iterator[str]:
    """Join symbols by commas, into as many texts as the length of an argument demands."""
    part: list[str] = []
    part_bytes = 0
    for symbol in symbols:
        symbol_bytes = len(symbol.encode()) + 1
        if part and part_bytes + symbol_bytes > _ARGUMENT_BYTES_MAX:
            yield ",".join(part)
            part, part_bytes = [], 0
        part.append(symbol)
        part_bytes += symbol_bytes
    yield ",".join(part)
