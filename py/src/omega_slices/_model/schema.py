"""The stream's schema: columns, types and metadata, written once for Python.

Owns the name of every column and every metadata key.  A stream holds N consecutive rows per
slice, one per symbol, in the order of the metadata's symbols.  A batch holds whole slices.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import pyarrow as pa

from omega_slices._model.options import CANDLE_FIELDS
from omega_slices._model.times import NS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omega_slices._model.request import Request


SCHEMA_NAME: Final = "multi_symbol_slice"

# The version of a stream that uses nothing newer, and of one that says `known_after_ns` or has
# other columns.
SCHEMA_VERSION: Final = "1.0.0"
_SCHEMA_VERSION_CHANGED: Final = "1.1.0"

# The columns that every stream has: the one distinguishes slices, the other their rows.
TIMESTAMP_COLUMN: Final = "timestamp"
SYMBOL_COLUMN: Final = "symbol"
_INDICATOR_PREFIX: Final = "ind_"

# In the footer of a file, as JSON: how many slices there are, what the run said of itself, and
# where the batches begin.
SEAL_KEY: Final = b"seal"
REPORT_KEY: Final = b"report"
BATCH_INDEX_KEY: Final = b"batch_index"

TIMESTAMP_TYPE: Final = pa.timestamp("ns", tz="UTC")
SYMBOL_TYPE: Final = pa.dictionary(pa.int16(), pa.string())
# The places of both among the columns.
TIMESTAMP_PLACE: Final = 0
SYMBOL_PLACE: Final = 1


class CandleColumns(NamedTuple):
    """The columns of the candles of one timeframe and price type.

    Attributes
    ----------
    values : tuple of str
        The requested ones of open, high, low, close and volume, float64; null where no
        candle is shown.
    valid : str
        Whether a candle is shown and finite, bool; never null.
    timestamp : str or None
        The candle's own timestamp; null where no candle is shown.  None where it is
        always that of the slice, and so has no column.
    close : str or None
        Which of the values is the close; None where it was not requested.
    absent : str or None
        Which of the values is a volume that no file holds, null throughout.
    """

    values: tuple[str, ...]
    valid: str
    timestamp: str | None
    close: str | None
    absent: str | None = None

    @property
    def together(self) -> tuple[str, ...]:
        """The columns that are null in the same rows."""
        values = [name for name in self.values if name != self.absent]
        return (*values, *(() if self.timestamp is None else (self.timestamp,)))


class StreamMetadata(NamedTuple):
    """What a schema says beside its columns; each field is a key of the schema's metadata.

    Attributes
    ----------
    schema_name, schema_version : str
        Which schema it is.
    symbols : tuple of str
        The symbols of every slice, in order.
    timeframe : str
        The primary timeframe.
    request : str
        The request's JSON.
    producer : str
        Name and version of the program that wrote the stream.
    known_after_ns : int or None
        How long after a slice's timestamp its candles are complete, in nanoseconds; None
        where that is the timeframe, and so is not said.
    no_volume : tuple of str, or None
        The price types without a volume, whose column is null throughout; None where each has
        one.
    """

    schema_name: str
    schema_version: str
    symbols: tuple[str, ...]
    timeframe: str
    request: str
    producer: str
    known_after_ns: int | None = None
    no_volume: tuple[str, ...] | None = None

    def encode(self) -> dict[str, str]:
        """Return the metadata as texts."""
        lists = {
            key: msgspec.json.encode(value).decode()
            for key, value in self._asdict().items()
            if isinstance(value, tuple)
        }
        texts = self._asdict() | lists
        return {key: str(value) for key, value in texts.items() if value is not None}

    @classmethod
    def decode(cls, raw: Mapping[bytes, bytes]) -> StreamMetadata:
        """Read the metadata of a schema; keys of later versions are left out.

        Raises
        ------
        ValueError
            A key is missing, or its value malformed.
        """
        texts = {key: raw[key.encode()].decode() for key in cls._fields if key.encode() in raw}
        if missing := [key for key in METADATA_KEYS if key not in texts]:
            raise ValueError(f"{', '.join(missing)} missing")
        known_after = texts.pop(KNOWN_AFTER_KEY, None)
        if known_after is not None and (_KNOWN_AFTER.fullmatch(known_after) is None or int(known_after) > NS_MAX):
            raise ValueError(f"{KNOWN_AFTER_KEY} is {known_after!r}")
        symbols = msgspec.json.decode(texts.pop("symbols"), type=tuple[str, ...])
        no_volume = texts.pop(NO_VOLUME_KEY, None)
        return cls(
            **texts,
            symbols=symbols,
            known_after_ns=None if known_after is None else int(known_after),
            no_volume=None if no_volume is None else msgspec.json.decode(no_volume, type=tuple[str, ...]),
        )


*_METADATA_KEYS, KNOWN_AFTER_KEY, NO_VOLUME_KEY = StreamMetadata._fields
# Those that every stream has.
METADATA_KEYS: Final = tuple(_METADATA_KEYS)
_KNOWN_AFTER: Final = re.compile(r"[1-9][0-9]{0,18}")


class StreamSpec(NamedTuple):
    """What the slices of a stream hold, and so which columns it has.

    Attributes
    ----------
    timeframe : str
        The primary timeframe.
    price_types : tuple of str
        In canonical order.
    fills : bool
        Whether candles of the primary timeframe may be carried.
    higher_timeframes : tuple of str
        The higher timeframes, in the requested order.
    indicators : tuple of str
        The names of the indicators, in the requested order.
    fields : tuple of str
        The fields of the candles, in the order of `CANDLE_FIELDS`.
    no_volume : tuple of str
        The price types without a volume.
    """

    timeframe: str
    price_types: tuple[str, ...]
    fills: bool = False
    higher_timeframes: tuple[str, ...] = ()
    indicators: tuple[str, ...] = ()
    fields: tuple[str, ...] = CANDLE_FIELDS
    no_volume: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether candles have all five fields."""
        return self.fields == CANDLE_FIELDS

    @property
    def candles(self) -> dict[tuple[str, str], CandleColumns]:
        """The columns by timeframe and price type: the primary timeframe first, then in order.

        Examples
        --------
        >>> StreamSpec("M1", ("bid",), higher_timeframes=("H1",)).candles["H1", "bid"].values[:2]
        ('H1_bid_open', 'H1_bid_high')
        """
        prefixes = {self.timeframe: ""} | {timeframe: f"{timeframe}_" for timeframe in self.higher_timeframes}
        return {
            (timeframe, side): CandleColumns(
                values=tuple(f"{prefix}{side}_{field}" for field in self.fields),
                valid=f"{prefix}valid_{side}",
                timestamp=f"{prefix}{side}_timestamp" if prefix or self.fills else None,
                close=f"{prefix}{side}_close" if "close" in self.fields else None,
                absent=f"{prefix}{side}_volume" if "volume" in self.fields and side in self.no_volume else None,
            )
            for timeframe, prefix in prefixes.items()
            for side in self.price_types
        }


def stream_spec(request: Request) -> StreamSpec:
    """Return what the slices that answer a request hold."""
    return StreamSpec(
        timeframe=request.timeframe,
        price_types=request.price_types,
        fills=request.fill != "none",
        higher_timeframes=tuple(higher.timeframe for higher in request.further),
        indicators=request.indicators,
        fields=request.fields,
        no_volume=request.no_volume,
    )


def indicator_column(name: str) -> str:
    """Return the name of the float64 column of an indicator; null where it is absent."""
    return f"{_INDICATOR_PREFIX}{name}"


def is_indicator_column(name: str) -> bool:
    """Return whether a column is that of an indicator."""
    return name.startswith(_INDICATOR_PREFIX)


def stream_fields(spec: StreamSpec) -> list[pa.Field]:
    """Return the stream's fields, in order."""
    candles = spec.candles
    primary, *higher = (
        [candles[timeframe, side] for side in spec.price_types]
        for timeframe in (spec.timeframe, *spec.higher_timeframes)
    )
    fields = [
        pa.field(TIMESTAMP_COLUMN, TIMESTAMP_TYPE, nullable=False),
        pa.field(SYMBOL_COLUMN, SYMBOL_TYPE, nullable=False),
        *(pa.field(name, pa.float64()) for columns in primary for name in columns.values),
        *(pa.field(columns.valid, pa.bool_(), nullable=False) for columns in primary),
        *(pa.field(columns.timestamp, TIMESTAMP_TYPE) for columns in primary if columns.timestamp is not None),
    ]
    for sides in higher:
        for columns in sides:
            fields.append(pa.field(columns.timestamp, TIMESTAMP_TYPE))
            fields.extend(pa.field(name, pa.float64()) for name in columns.values)
        fields.extend(pa.field(columns.valid, pa.bool_(), nullable=False) for columns in sides)
    fields.extend(pa.field(indicator_column(name), pa.float64()) for name in spec.indicators)
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
    is_plain = known_after_ns is None and request.fields == CANDLE_FIELDS and not request.no_volume
    metadata = StreamMetadata(
        schema_name=SCHEMA_NAME,
        schema_version=SCHEMA_VERSION if is_plain else _SCHEMA_VERSION_CHANGED,
        symbols=symbols,
        timeframe=request.timeframe,
        request=resolved.to_json(),
        producer=producer,
        known_after_ns=known_after_ns,
        no_volume=request.no_volume or None,
    )
    return pa.schema(stream_fields(stream_spec(request)), metadata=metadata.encode())


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
    return StreamMetadata.decode(schema.metadata).known_after_ns


def timeframe_of(schema: pa.Schema) -> str:
    """Return the primary timeframe that a checked schema says."""
    return StreamMetadata.decode(schema.metadata).timeframe
