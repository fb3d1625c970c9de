"""Checks of what was read: its schema is ours, and each batch holds whole slices.

Owns the rules that the rest of the package relies on.  Guarantees that what passes can be
read without further checks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._arrow.buffers import values_view
from omega_slices._model.candle import PRICE_TYPES
from omega_slices._model.options import CANDLE_FIELDS
from omega_slices._model.schema import (
    SCHEMA_NAME,
    SCHEMA_VERSION,
    SYMBOL_COLUMN,
    SYMBOL_PLACE,
    TIMESTAMP_COLUMN,
    StreamMetadata,
    StreamSpec,
    stream_fields,
    stream_spec,
)
from omega_slices._model.times import parse_higher_timeframe, timeframe_ns
from omega_slices.errors import DeserializationError, OmegaSlicesError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omega_slices._model.request import Request


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
    metadata = _read_metadata(schema, _mismatch)
    if metadata.timeframe != request.timeframe:
        raise _mismatch(f"its timeframe is {metadata.timeframe!r}, asked for was {request.timeframe!r}")
    if request.symbols is not None and metadata.symbols != request.symbols:
        raise _mismatch(f"its symbols are {metadata.symbols}, asked for were {request.symbols}")
    _check_fields(schema, stream_spec(request), _mismatch)
    return metadata.symbols


def read_schema(schema: pa.Schema) -> tuple[tuple[str, ...], StreamSpec]:
    """Return what a schema says of itself, where there is no request to compare it with.

    Parameters
    ----------
    schema : pyarrow.Schema
        As read from a file.

    Returns
    -------
    symbols : tuple of str
        In the order of the rows of every slice.
    spec : StreamSpec
        What the slices hold, from the request in the metadata.

    Raises
    ------
    DeserializationError
        The schema is not ours, of another major version, or its columns are not those
        of its request.
    """
    metadata = _read_metadata(schema, _not_ours)
    try:
        asked = msgspec.json.decode(metadata.request, type=_Asked)
        higher = tuple(parse_higher_timeframe(text).timeframe for text in asked.with_timeframe)
        timeframe_ns(asked.timeframe)
    except (msgspec.DecodeError, OmegaSlicesError) as error:
        raise _not_ours(f"the request in its metadata is malformed: {error}") from None
    filled = asked.fill != "none"
    no_volume = metadata.no_volume or ()
    spec = StreamSpec(asked.timeframe, asked.price_types, filled, higher, asked.indicators, asked.fields, no_volume)
    if spec.timeframe != metadata.timeframe:
        raise _not_ours(f"its timeframe is {metadata.timeframe!r}, that of its request {spec.timeframe!r}")
    if not spec.fields or spec.fields != tuple(field for field in CANDLE_FIELDS if field in spec.fields):
        raise _not_ours(f"its fields are {spec.fields}")
    if not spec.price_types or spec.price_types != tuple(s for s in PRICE_TYPES if s in spec.price_types):
        raise _not_ours(f"its price types are {spec.price_types}")
    _check_fields(schema, spec, _not_ours)
    if len(set(schema.names)) < len(schema.names):
        raise _not_ours("two of its columns have one name")
    return metadata.symbols, spec


class _Asked(msgspec.Struct):
    """What of a request decides the columns."""

    timeframe: str
    price_types: tuple[str, ...]
    fill: str
    with_timeframe: tuple[str, ...]
    indicators: tuple[str, ...]
    fields: tuple[str, ...] = CANDLE_FIELDS


def _read_metadata(schema: pa.Schema, wrong: Callable[[str], DeserializationError]) -> StreamMetadata:
    """Return metadata that this version understands."""
    try:
        metadata = StreamMetadata.decode(schema.metadata or {})
    except (ValueError, msgspec.DecodeError) as error:
        raise wrong(f"its metadata is incomplete or malformed: {error}") from None
    if metadata.schema_name != SCHEMA_NAME:
        raise wrong(f"its schema is named {metadata.schema_name!r}, not {SCHEMA_NAME!r}")
    if metadata.schema_version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise wrong(
            f"its schema has version {metadata.schema_version!r}; this package reads {SCHEMA_VERSION!r} "
            "and later ones of the same major version"
        )
    if not metadata.symbols or len(set(metadata.symbols)) < len(metadata.symbols):
        raise wrong(f"its symbols {metadata.symbols} are missing, or not distinct")
    return metadata


def _check_fields(schema: pa.Schema, spec: StreamSpec, wrong: Callable[[str], DeserializationError]) -> None:
    expected = pa.schema(stream_fields(spec))
    if not schema.equals(expected, check_metadata=False):
        raise wrong(f"its columns are\n{schema.to_string(show_schema_metadata=False)}\nexpected are\n{expected}")


def check_batch(batch: pa.RecordBatch, symbols: pa.Array, spec: StreamSpec, after_ns: int | None) -> int:
    """Check that a batch holds whole slices, in order, after those before it.

    Makes the rest of the package's assumptions true, and takes as long as it takes to read
    the symbols and the timestamps.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        At least one row, of the checked schema.
    symbols : pyarrow.Array
        The stream's symbols, as strings.
    spec : StreamSpec
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
    _check_columns(batch, symbols, spec)
    return _check_rows(batch, len(symbols), after_ns)


def _check_columns(batch: pa.RecordBatch, symbols: pa.Array, spec: StreamSpec) -> None:
    width = len(symbols)
    try:
        batch.validate()
    except pa.ArrowInvalid as error:
        raise _malformed(str(error)) from None
    if batch.num_rows % width:
        raise _malformed(f"a batch has {batch.num_rows} rows, no multiple of its {width} symbols")
    columns = batch.columns
    nulls = [column.null_count for column in columns]
    rules = _null_rules(spec)
    for place in rules.never:
        if nulls[place]:
            raise _malformed(f"the column {batch.schema.names[place]} holds nulls")
    for (timeframe, side), places in rules.together.items():
        if len({nulls[place] for place in places}) > 1:
            raise _malformed(f"the {timeframe} {side} columns disagree on which candles are there")
    texts = columns[SYMBOL_PLACE].dictionary
    # Offsets within the texts are what a comparison follows without looking.
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _malformed(str(error)) from None
    if not texts.equals(symbols):
        raise _malformed("its rows are not in the order of its symbols")


class _NullRules(NamedTuple):
    """Which columns, by place, have no nulls.

    And, by candle, which have theirs in the same rows.
    """

    never: list[int]
    together: dict[tuple[str, str], list[int]]


@lru_cache(maxsize=64)
def _null_rules(spec: StreamSpec) -> _NullRules:
    # Once for all batches of a stream: it takes as long as the check itself.
    places = {field.name: place for place, field in enumerate(stream_fields(spec))}
    candles = spec.candles
    return _NullRules(
        [places[name] for name in (TIMESTAMP_COLUMN, SYMBOL_COLUMN, *(columns.valid for columns in candles.values()))],
        {candle: [places[name] for name in columns.together] for candle, columns in candles.items()},
    )


def _check_rows(batch: pa.RecordBatch, width: int, after_ns: int | None) -> int:
    positions = values_view(batch.column(SYMBOL_COLUMN).indices, "int16")
    is_in_order = (positions[:width] == np.arange(width, dtype="int16")).all()
    if not is_in_order or not (positions[width:] == positions[:-width]).all():
        raise _malformed("its rows are not in the order of its symbols")

    # Over the rows in one go: row by row of a matrix takes several times as long.
    timestamps = values_view(batch.column(TIMESTAMP_COLUMN), "int64")
    opening, closing = timestamps[::width], timestamps[width - 1 :: width]
    if not (opening == closing).all():
        raise _malformed("the rows of a slice differ in their timestamps")
    if not (opening[:-1] < opening[1:]).all() or (after_ns is not None and opening[0] <= after_ns):
        raise _malformed("its timestamps do not increase from slice to slice")
    # Each slice ends as it begins, and each step to the next one is a change.  So a further
    # change lies within a slice.
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
        hint="write the file again with omega-slices sync, or read it with the release that wrote it",
    )
