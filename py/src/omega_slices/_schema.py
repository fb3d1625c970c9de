"""The stream's schema: columns, types and metadata, written once for Python.

Owns the layout of slice streams as this package writes and expects them: N
consecutive rows per slice, one per symbol, in the order of the metadata's symbols; a batch
holds whole slices only.  Guarantees that what passes its checks can be read without
further ones.  Leaves reading and writing to others.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._buffers import values_view
from omega_slices._candle import PRICE_TYPES
from omega_slices._times import NS_MAX, parse_further, timeframe_ns
from omega_slices.errors import DeserializationError, OmegaSlicesError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omega_slices._request import Request

SCHEMA_NAME: Final = "multi_symbol_slice"
# The version of a stream that uses nothing newer, and of one that says `known_after_ns`.
SCHEMA_VERSION: Final = "1.0.0"
_SCHEMA_VERSION_KNOWN_AFTER: Final = "1.1.0"

# The five values of a candle, in the order of their columns.
CANDLE_FIELDS: Final = ("open", "high", "low", "close", "volume")

METADATA_KEYS: Final = ("schema_name", "schema_version", "symbols", "timeframe", "request", "producer")

# How long after a slice's timestamp its candles are complete, where that is not the timeframe.
KNOWN_AFTER_KEY: Final = "known_after_ns"
_KNOWN_AFTER: Final = re.compile(rb"[1-9][0-9]{0,18}")

_TIMESTAMP: Final = pa.timestamp("ns", tz="UTC")
_SYMBOL: Final = 1  # the place of the symbols among the columns


class CandleColumns(NamedTuple):
    """The columns of the candles of one timeframe and price type.

    Attributes
    ----------
    values : tuple of str
        Open, high, low, close and volume, float64; null where no candle is shown.
    valid : str
        Whether a candle is shown and finite, bool; never null.
    timestamp : str or None
        The candle's own timestamp; null where no candle is shown.  None where it is
        always that of the slice, and so has no column.
    """

    values: tuple[str, ...]
    valid: str
    timestamp: str | None


class StreamContent(NamedTuple):
    """What the slices of a stream hold, and so which columns it has.

    Attributes
    ----------
    timeframe : str
        The primary timeframe.
    price_types : tuple of str
        In canonical order.
    fills : bool
        Whether candles of the primary timeframe may be carried.
    further : tuple of str
        The further timeframes, in the requested order.
    indicators : tuple of str
        The names of the indicators, in the requested order.
    """

    timeframe: str
    price_types: tuple[str, ...]
    fills: bool = False
    further: tuple[str, ...] = ()
    indicators: tuple[str, ...] = ()

    @property
    def candles(self) -> dict[tuple[str, str], CandleColumns]:
        """The columns by timeframe and price type: the primary timeframe first, then in order.

        Examples
        --------
        >>> StreamContent("M1", ("bid",), further=("H1",)).candles["H1", "bid"].values[:2]
        ('H1_bid_open', 'H1_bid_high')
        """
        prefixes = {self.timeframe: ""} | {timeframe: f"{timeframe}_" for timeframe in self.further}
        return {
            (timeframe, side): CandleColumns(
                values=tuple(f"{prefix}{side}_{field}" for field in CANDLE_FIELDS),
                valid=f"{prefix}valid_{side}",
                timestamp=f"{prefix}{side}_timestamp" if prefix or self.fills else None,
            )
            for timeframe, prefix in prefixes.items()
            for side in self.price_types
        }


def content_of(request: Request) -> StreamContent:
    """Return what the slices that answer a request hold."""
    return StreamContent(
        timeframe=request.timeframe,
        price_types=request.price_types,
        fills=request.fill != "none",
        further=tuple(further.timeframe for further in request.further),
        indicators=request.indicators,
    )


def indicator_column(name: str) -> str:
    """Return the name of the float64 column of an indicator; null where it is absent."""
    return f"ind_{name}"


def stream_fields(content: StreamContent) -> list[pa.Field]:
    """Return the stream's fields, in order."""
    candles = content.candles
    primary, *further = (
        [candles[timeframe, side] for side in content.price_types]
        for timeframe in (content.timeframe, *content.further)
    )
    fields = [
        pa.field("timestamp", _TIMESTAMP, nullable=False),
        pa.field("symbol", pa.dictionary(pa.int16(), pa.string()), nullable=False),
        *(pa.field(name, pa.float64()) for columns in primary for name in columns.values),
        *(pa.field(columns.valid, pa.bool_(), nullable=False) for columns in primary),
        *(pa.field(columns.timestamp, _TIMESTAMP) for columns in primary if columns.timestamp is not None),
    ]
    for sides in further:
        for columns in sides:
            fields.append(pa.field(columns.timestamp, _TIMESTAMP))
            fields.extend(pa.field(name, pa.float64()) for name in columns.values)
        fields.extend(pa.field(columns.valid, pa.bool_(), nullable=False) for columns in sides)
    fields.extend(pa.field(indicator_column(name), pa.float64()) for name in content.indicators)
    return fields


def stream_schema(
    request: Request, symbols: tuple[str, ...], producer: str, known_after_ns: int | None = None
) -> pa.Schema:
    """Return the schema, with metadata, of the stream that answers a request.

    Parameters
    ----------
    request : Request
        What was asked for.
    symbols : tuple of str
        The symbols of every slice; those of the request where it names any.
    producer : str
        Name and version of the program that writes the stream.
    known_after_ns : int, optional
        How long after a slice's timestamp its candles are complete, in nanoseconds;
        where it is given, the schema says so.
    """
    resolved = msgspec.structs.replace(request, symbols=symbols)
    metadata = {
        "schema_name": SCHEMA_NAME,
        "schema_version": SCHEMA_VERSION if known_after_ns is None else _SCHEMA_VERSION_KNOWN_AFTER,
        "symbols": msgspec.json.encode(symbols).decode(),
        "timeframe": request.timeframe,
        "request": resolved.to_json(),
        "producer": producer,
    }
    if known_after_ns is not None:
        metadata[KNOWN_AFTER_KEY] = str(known_after_ns)
    return pa.schema(stream_fields(content_of(request)), metadata=metadata)


def known_after_ns(schema: pa.Schema) -> int | None:
    """Return what a checked schema says of when candles are complete; None where it says nothing.

    Parameters
    ----------
    schema : pyarrow.Schema
        One that `check_schema` or `read_schema` let through.

    Returns
    -------
    int or None
        Nanoseconds from a slice's timestamp on.
    """
    text = (schema.metadata or {}).get(KNOWN_AFTER_KEY.encode())
    return None if text is None else int(text)


def check_schema(schema: pa.Schema, request: Request) -> tuple[str, ...]:
    """Check that a stream's schema is one that answers the request.

    A newer minor version is accepted: it may bring columns, but only to requests that
    this version cannot make.

    Parameters
    ----------
    schema : pyarrow.Schema
        As read from the stream.
    request : Request
        What was asked for.

    Returns
    -------
    tuple of str
        The stream's symbols, in the order of the rows of every slice.

    Raises
    ------
    DeserializationError
        The schema is not ours, of another major version, or of other columns, symbols
        or timeframe than asked for.
    """
    metadata, symbols = _read_metadata(schema, _mismatch)
    if metadata["timeframe"] != request.timeframe:
        raise _mismatch(f"its timeframe is {metadata['timeframe']!r}, asked for was {request.timeframe!r}")
    if request.symbols is not None and symbols != request.symbols:
        raise _mismatch(f"its symbols are {symbols}, asked for were {request.symbols}")
    _check_fields(schema, content_of(request), _mismatch)
    return symbols


def read_schema(schema: pa.Schema) -> tuple[tuple[str, ...], StreamContent]:
    """Return what a schema says of itself, where nobody asked for anything in particular.

    Parameters
    ----------
    schema : pyarrow.Schema
        As read from a file.

    Returns
    -------
    symbols : tuple of str
        In the order of the rows of every slice.
    content : StreamContent
        What the slices hold, from the request in the metadata.

    Raises
    ------
    DeserializationError
        The schema is not ours, of another major version, or its columns are not those
        of its request.
    """
    metadata, symbols = _read_metadata(schema, _not_ours)
    try:
        asked = msgspec.json.decode(metadata["request"], type=_Asked)
        further = tuple(parse_further(text).timeframe for text in asked.with_timeframe)
        timeframe_ns(asked.timeframe)
    except (msgspec.DecodeError, OmegaSlicesError) as error:
        raise _not_ours(f"the request in its metadata is malformed: {error}") from None
    content = StreamContent(asked.timeframe, asked.price_types, asked.fill != "none", further, asked.indicators)
    if content.timeframe != metadata["timeframe"]:
        raise _not_ours(f"its timeframe is {metadata['timeframe']!r}, that of its request {content.timeframe!r}")
    if not content.price_types or content.price_types != tuple(s for s in PRICE_TYPES if s in content.price_types):
        raise _not_ours(f"its price types are {content.price_types}")
    _check_fields(schema, content, _not_ours)
    if len(set(schema.names)) < len(schema.names):
        raise _not_ours("two of its columns have one name")
    return symbols, content


class _Asked(msgspec.Struct):
    """What of a request decides the columns."""

    timeframe: str
    price_types: tuple[str, ...]
    fill: str
    with_timeframe: tuple[str, ...]
    indicators: tuple[str, ...]


def _read_metadata(
    schema: pa.Schema, wrong: Callable[[str], DeserializationError]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return metadata that this version understands, and the symbols in it."""
    raw: dict[bytes, bytes] = schema.metadata or {}
    try:
        metadata = {key: raw[key.encode()].decode() for key in METADATA_KEYS}
        symbols = msgspec.json.decode(metadata["symbols"], type=tuple[str, ...])
    except (KeyError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise wrong(f"its metadata is incomplete or malformed: {error!r}") from None
    if metadata["schema_name"] != SCHEMA_NAME:
        raise wrong(f"its schema is named {metadata['schema_name']!r}, not {SCHEMA_NAME!r}")
    if metadata["schema_version"].split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise wrong(
            f"its schema has version {metadata['schema_version']!r}; this package reads {SCHEMA_VERSION!r} "
            "and later ones of the same major version"
        )
    if not symbols or len(set(symbols)) < len(symbols):
        raise wrong(f"its symbols {symbols} are none, or not distinct")
    text = raw.get(KNOWN_AFTER_KEY.encode())
    if text is not None and (_KNOWN_AFTER.fullmatch(text) is None or int(text) > NS_MAX):
        raise wrong(f"its metadata is malformed: {KNOWN_AFTER_KEY} is {text!r}")
    return metadata, symbols


def _check_fields(schema: pa.Schema, content: StreamContent, wrong: Callable[[str], DeserializationError]) -> None:
    expected = pa.schema(stream_fields(content))
    if not schema.equals(expected, check_metadata=False):
        raise wrong(f"its columns are\n{schema.to_string(show_schema_metadata=False)}\nexpected are\n{expected}")


def check_batch(batch: pa.RecordBatch, symbols: pa.Array, content: StreamContent, after_ns: int | None) -> int:
    """Check that a batch holds whole slices, in order, after those before it.

    Makes the rest of the package's assumptions true, and takes as long as it takes to read
    the symbols and the timestamps.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        At least one row, of the checked schema.
    symbols : pyarrow.Array
        The stream's symbols, as strings.
    content : StreamContent
        What its slices hold.
    after_ns : int or None
        The timestamp of the slice before, nanoseconds since 1970; None at the start.

    Returns
    -------
    int
        The timestamp of the batch's last slice.

    Raises
    ------
    DeserializationError
        Anything else than whole slices of strictly increasing timestamps.
    """
    _check_columns(batch, symbols, content)
    return _check_rows(batch, len(symbols), after_ns)


def _check_columns(batch: pa.RecordBatch, symbols: pa.Array, content: StreamContent) -> None:
    width = len(symbols)
    try:
        batch.validate()
    except pa.ArrowInvalid as error:
        raise _malformed(str(error)) from None
    if batch.num_rows % width:
        raise _malformed(f"a batch has {batch.num_rows} rows, no multiple of its {width} symbols")
    columns = batch.columns
    nulls = [column.null_count for column in columns]
    rules = _null_rules(content)
    for place in rules.never:
        if nulls[place]:
            raise _malformed(f"the column {batch.schema.names[place]} holds nulls")
    for (timeframe, side), places in rules.together.items():
        if len({nulls[place] for place in places}) > 1:
            raise _malformed(f"the {timeframe} {side} columns disagree on which candles are there")
    texts = columns[_SYMBOL].dictionary
    # Offsets within the texts are what a comparison follows without looking.
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _malformed(str(error)) from None
    if not texts.equals(symbols):
        raise _malformed("its rows are not in the order of its symbols")


class _NullRules(NamedTuple):
    """Which columns, by place, have no nulls; and, by candle, which have theirs in the same rows."""

    never: list[int]
    together: dict[tuple[str, str], list[int]]


@lru_cache(maxsize=64)
def _null_rules(content: StreamContent) -> _NullRules:
    # Once for all batches of a stream: it takes as long as the check itself.
    places = {field.name: place for place, field in enumerate(stream_fields(content))}
    candles = content.candles
    return _NullRules(
        [places[name] for name in ("timestamp", "symbol", *(columns.valid for columns in candles.values()))],
        {
            candle: [places[name] for name in (*columns.values, columns.timestamp) if name is not None]
            for candle, columns in candles.items()
        },
    )


def _check_rows(batch: pa.RecordBatch, width: int, after_ns: int | None) -> int:
    positions = values_view(batch.column("symbol").indices, "int16")
    is_in_order = (positions[:width] == np.arange(width, dtype="int16")).all()
    if not is_in_order or not (positions[width:] == positions[:-width]).all():
        raise _malformed("its rows are not in the order of its symbols")

    # Over the rows in one go: row by row of a matrix takes several times as long.
    timestamps = values_view(batch.column("timestamp"), "int64")
    opening, closing = timestamps[::width], timestamps[width - 1 :: width]
    if not (opening == closing).all():
        raise _malformed("the rows of a slice differ in their timestamps")
    if not (opening[:-1] < opening[1:]).all() or (after_ns is not None and opening[0] <= after_ns):
        raise _malformed("its timestamps do not increase from slice to slice")
    # Each slice ends as it begins, and each step to the next one is a change: where there
    # are no other changes, there is none within a slice.
    if np.count_nonzero(timestamps[1:] != timestamps[:-1]) != len(opening) - 1:
        raise _malformed("the rows of a slice differ in their timestamps")
    return int(opening[-1])


def _malformed(what: str) -> DeserializationError:
    return DeserializationError(
        f"the stream is malformed: {what}",
        hint="this is a defect of the program that wrote it; please report it",
    )


def _mismatch(what: str) -> DeserializationError:
    return DeserializationError(
        f"the stream is not the one asked for: {what}",
        hint="use the omega-slices executable of the same release as this package",
    )


def _not_ours(what: str) -> DeserializationError:
    return DeserializationError(
        f"it holds no slices that this package reads: {what}",
        hint="make the file anew with omega-slices sync, or read it with the release that wrote it",
    )
