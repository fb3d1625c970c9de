"""The stream's schema: columns, types and metadata, written once for Python.

Owns the layout of slice streams as this package writes and expects them: N
consecutive rows per slice, one per symbol, in the order of the metadata's symbols; a batch
holds whole slices only.  Guarantees that what passes its checks can be read without
further ones.  Leaves reading and writing to others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._buffers import values_view
from omega_slices._candle import PRICE_TYPES
from omega_slices._times import timeframe_ns
from omega_slices.errors import DeserializationError, TimeframeNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omega_slices._request import Request

SCHEMA_NAME: Final = "multi_symbol_slice"
SCHEMA_VERSION: Final = "1.0.0"

# The five values of a candle, in the order of their columns.
CANDLE_FIELDS: Final = ("open", "high", "low", "close", "volume")

METADATA_KEYS: Final = ("schema_name", "schema_version", "symbols", "timeframe", "request", "producer")

_TIMESTAMP: Final = pa.timestamp("ns", tz="UTC")

_VALID_COLUMN: Final = re.compile(rf"(?:([SMHDW][1-9][0-9]*)_)?valid_({'|'.join(PRICE_TYPES)})")


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


def stream_schema(request: Request, symbols: tuple[str, ...], producer: str) -> pa.Schema:
    """Return the schema, with metadata, of the stream that answers a request.

    Parameters
    ----------
    request : Request
        What was asked for.
    symbols : tuple of str
        The symbols of every slice; those of the request where it names any.
    producer : str
        Name and version of the program that writes the stream.
    """
    resolved = msgspec.structs.replace(request, symbols=symbols)
    return pa.schema(
        stream_fields(content_of(request)),
        metadata={
            "schema_name": SCHEMA_NAME,
            "schema_version": SCHEMA_VERSION,
            "symbols": msgspec.json.encode(symbols).decode(),
            "timeframe": request.timeframe,
            "request": resolved.to_json(),
            "producer": producer,
        },
    )


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
    symbols, timeframe = _read_metadata(schema, _mismatch)
    if timeframe != request.timeframe:
        raise _mismatch(f"its timeframe is {timeframe!r}, asked for was {request.timeframe!r}")
    if request.symbols is not None and symbols != request.symbols:
        raise _mismatch(f"its symbols are {symbols}, asked for were {request.symbols}")
    _check_columns(schema, content_of(request), _mismatch)
    return symbols


def content_of_schema(
    schema: pa.Schema, wrong: Callable[[str], DeserializationError]
) -> tuple[tuple[str, ...], StreamContent]:
    """Tell from a schema alone which symbols its slices have and what they hold.

    Parameters
    ----------
    schema : pyarrow.Schema
        As read from a file, whatever was asked for when it was made.
    wrong : callable
        Makes the error from what is wrong.

    Returns
    -------
    tuple of str
        The symbols, in the order of the rows of every slice.
    StreamContent

    Raises
    ------
    DeserializationError
        The schema is not ours, or of another major version.
    """
    symbols, timeframe = _read_metadata(schema, wrong)
    try:
        timeframe_ns(timeframe)
    except TimeframeNotFoundError as error:
        raise wrong(f"its metadata is malformed: {error.message}") from None
    # What the columns say is checked by making them anew from it.
    valid = [match.groups() for match in map(_VALID_COLUMN.fullmatch, schema.names) if match is not None]
    content = StreamContent(
        timeframe=timeframe,
        price_types=tuple(side for further, side in valid if further is None),
        fills=any(f"{side}_timestamp" in schema.names for side in PRICE_TYPES),
        further=tuple(dict.fromkeys(further for further, _ in valid if further is not None)),
        indicators=tuple(name.removeprefix("ind_") for name in schema.names if name.startswith("ind_")),
    )
    if not content.price_types:
        raise wrong("it has no column of candles")
    _check_columns(schema, content, wrong)
    return symbols, content


def _read_metadata(schema: pa.Schema, wrong: Callable[[str], DeserializationError]) -> tuple[tuple[str, ...], str]:
    """Return the symbols and the primary timeframe that a schema of ours tells."""
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
    return symbols, metadata["timeframe"]


def _check_columns(schema: pa.Schema, content: StreamContent, wrong: Callable[[str], DeserializationError]) -> None:
    expected = pa.schema(stream_fields(content))
    if not schema.equals(expected, check_metadata=False):
        raise wrong(f"its columns are\n{schema.to_string(show_schema_metadata=False)}\nexpected are\n{expected}")


def check_batch(batch: pa.RecordBatch, symbols: pa.Array, content: StreamContent, after_ns: int | None) -> int:
    """Check that a batch holds whole slices, in order, after those before it.

    Costs microseconds per batch, and makes the rest of the package's assumptions true.

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
    width = len(symbols)
    _check_shape(batch, width)
    groups = content.candles.items()
    for name in ("symbol", *(columns.valid for _, columns in groups)):
        if batch.column(name).null_count:
            raise _malformed(f"the column {name} holds nulls")
    for (timeframe, side), columns in groups:
        names = columns.values if columns.timestamp is None else (*columns.values, columns.timestamp)
        check_presence([batch.column(name) for name in names], f"{timeframe} {side}")
    symbol = batch.column(1)
    positions = values_view(symbol.indices, "int16").reshape(-1, width)
    if not symbol.dictionary.equals(symbols) or not (positions == np.arange(width, dtype="int16")).all():
        raise _malformed("its rows are not in the order of its symbols")

    timestamps = values_view(batch.column(0), "int64").reshape(-1, width)
    opening = timestamps[:, 0]
    if not (timestamps == opening[:, np.newaxis]).all():
        raise _malformed("the rows of a slice differ in their timestamps")
    if not (opening[:-1] < opening[1:]).all() or (after_ns is not None and opening[0] <= after_ns):
        raise _malformed("its timestamps do not increase from slice to slice")
    return int(opening[-1])


def slice_timestamps(batch: pa.RecordBatch, width: int) -> np.ndarray[Any, Any]:
    """Return the timestamps of a batch's slices, checked as far as slices read them.

    For batches of which most are never handed over.  Takes a sixth of the time that
    `check_batch` takes, since it looks at the first and the last row of each slice and at
    no other column: a slice is found by the place of its rows, and never reads a symbol or
    a timestamp between these two.  Whoever reads candles holds their columns against each
    other, and whoever hands the batch over has to call `check_batch` before.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        At least one row, of the checked schema.
    width : int
        The number of symbols.

    Returns
    -------
    numpy.ndarray
        int64, nanoseconds since 1970, strictly increasing, one per slice; a copy.

    Raises
    ------
    DeserializationError
        Anything else than whole slices of strictly increasing timestamps.
    """
    _check_shape(batch, width)
    # In one go through memory: most of the time is spent waiting for it.
    edges = values_view(batch.column(0), "int64").reshape(-1, width)[:, :: max(1, width - 1)].copy()
    opening = edges[:, 0].copy()
    if not (opening == edges[:, -1]).all():
        raise _malformed("the rows of a slice differ in their timestamps")
    if not (opening[:-1] < opening[1:]).all():
        raise _malformed("its timestamps do not increase from slice to slice")
    return opening


def check_presence(columns: Sequence[pa.Array], what: str) -> None:
    """Check that the columns of a candle are null in the same rows, as far as counts tell.

    Raises
    ------
    DeserializationError
        They are not; `what` names them.
    """
    if len({column.null_count for column in columns}) > 1:
        raise _malformed(f"the {what} columns disagree on which candles are there")


def _check_shape(batch: pa.RecordBatch, width: int) -> None:
    """Check what makes it safe to look at the rows."""
    try:
        batch.validate()
    except pa.ArrowInvalid as error:
        raise _malformed(str(error)) from None
    if batch.num_rows % width:
        raise _malformed(f"a batch has {batch.num_rows} rows, no multiple of its {width} symbols")
    if batch.column(0).null_count:
        raise _malformed("the column timestamp holds nulls")


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
