"""The executable run as a user runs it, and what it writes read by plain pyarrow.

Shared by the goldens and the property tests. Uses the package's request and value types, and finds
the executable as the package does, but knows nothing of its command line and its reader. What a
stream has to look like is written here from the contract.
"""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from helpers.executable import executable
from helpers.oracle import format_time_ns
from omega_slices import CandleData, Request, RunReport, RunWarning, SeriesReport, TimestampUnit

if TYPE_CHECKING:
    from omega_slices import MultiSymbolSlice, OmegaSlicesError
    from omega_slices.reference import ReferenceCell, ReferenceRun

END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
FIELDS: Final = ("open", "high", "low", "close", "volume")
DAY_NS: Final = 86_400 * 10**9

# Options that stand in the request's JSON only where they are not the default, which is given here.
LATER: Final[dict[str, object]] = {
    "inputs": None,
    "symbol_pattern": None,
    "one_instrument": False,
    "timestamp_unit": None,
    "zone": None,
    "ambiguous": "error",
    "stamped": "open",
    "days": None,
    "fields": FIELDS,
    "before": None,
    "symbol_separator": None,
    "rewrite": (),
    "spell": {},
    "price_scale": None,
    "volume_scale": None,
    "empty_rows": "keep",
    "zones": (),
}

_VALID_FURTHER: Final = re.compile("([SMHDW][1-9][0-9]*)_valid_(bid|ask|trade)")

# A candle, stamped with its own time, and whether it counts as valid.
Shown = tuple[CandleData, bool] | None


class Cell(NamedTuple):
    """One symbol of one slice.

    Candles by price type, those of higher timeframes, indicators by name.
    """

    candles: dict[str, Shown]
    further: dict[str, dict[str, Shown]]
    indicators: dict[str, float | None]


Slices = tuple[tuple[int, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Run:
    """A finished run: exit status, what it wrote, and the JSON lines of its stderr."""

    status: int
    stdout: bytes
    lines: tuple[dict[str, Any], ...]

    @property
    def error(self) -> dict[str, Any]:
        """The one error of a failed run."""
        (error,) = [line for line in self.lines if line["kind"] == "error"]
        return error

    @property
    def report(self) -> RunReport:
        """The report of a successful run, which is its last line."""
        *others, report = self.lines
        assert [line["kind"] for line in others] == ["warning"] * len(others), self.lines
        assert report["kind"] == "report", self.lines
        warnings = ({key: line[key] for key in RunWarning.__struct_fields__} for line in others)
        return RunReport(
            slices=report["slices"],
            batches=report["batches"],
            first_timestamp_ns=report["first_timestamp_ns"],
            last_timestamp_ns=report["last_timestamp_ns"],
            series=tuple(map(_series_report, report["series"])),
            warnings=tuple(RunWarning(**warning) for warning in warnings),
            complete=True,
        )


def _series_report(series: dict[str, Any]) -> SeriesReport:
    optional = ("timestamp_units", "empty", "columns")
    plain = {key: series[key] for key in SeriesReport.__struct_fields__ if key not in optional}
    units, columns = series.get("timestamp_units"), series.get("columns")
    assert units != [], "it is there only where a file has one"
    assert columns != {}, "it is there only where a field has a choice"
    return SeriesReport(
        **plain,
        timestamp_units=units and tuple(TimestampUnit(**unit) for unit in units),
        empty=series.get("empty"),
        columns=columns and {field: tuple(names) for field, names in columns.items()},
    )


@dataclass(frozen=True)
class Stream:
    """A complete stream or file of slices, without the seal."""

    schema: pa.Schema
    batches: tuple[pa.RecordBatch, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of every slice."""
        return tuple(json.loads(self.schema.metadata[b"symbols"]))

    @property
    def known_after_ns(self) -> int | None:
        """How long after a slice its candles are complete, where the stream says it."""
        text = self.schema.metadata.get(b"known_after_ns")
        return None if text is None else int(text)


def command(request: Request, *options: str) -> list[str]:
    """Return the command line of a request, by the contract and without code of the package."""
    words = [str(executable()), "sync", f"--timeframe={request.timeframe}"]
    words += ["--all-symbols"] if request.symbols is None else [f"--symbols={name}" for name in request.symbols]
    words.append(f"--price-types={','.join(request.price_types)}")
    for edge, timestamp_ns in (("start", request.start), ("end", request.end), ("before", request.before)):
        words += [] if timestamp_ns is None else [f"--{edge}={format_time_ns(timestamp_ns)}"]
    for name in ("timeline", "session", "unsorted", "fill", "known-at", "stamped", "empty-rows"):
        words.append(f"--{name}={_pairs(getattr(request, name.replace('-', '_')))}")
    words += [f"--{name}" for name in ("normalize", "one-instrument") if getattr(request, name.replace("-", "_"))]
    words += [] if request.zone is None else [f"--zone={request.zone}"]
    words += [] if request.ambiguous == "error" else [f"--ambiguous={request.ambiguous}"]
    for name in (
        *("data", "inputs", "duplicates", "path-template", "max-age", "session-file", "indicator-template"),
        *("symbol-pattern", "timestamp-unit", "days", "symbol-separator", "spell", "price-scale", "volume-scale"),
    ):
        value = getattr(request, name.replace("-", "_"))
        words += [] if value in (None, {}) else [f"--{name}={_pairs(value)}"]
    words += [f"--rewrite={rule}" for rule in request.rewrite]
    words += [f"--symbol-zone={pattern}={zone}" for pattern, zone in request.zones]
    words += [f"--with-timeframe={further}" for further in request.with_timeframe]
    words += [f"--indicators={','.join(request.indicators)}"] if request.indicators else []
    words += [] if request.fields == FIELDS else [f"--fields={','.join(request.fields)}"]
    for field, names in request.columns.items():
        # A name with a comma stands alone.
        assert isinstance(names, str), "no test has a name with what separates names"
        has_comma = "," in names
        words += (
            [f"--column={field}={one}" for one in names.split("|")] if has_comma else [f"--columns={field}={names}"]
        )
    return [*words, "--error-format=json", "--progress=never", *options]


def _pairs(value: object) -> object:
    return ",".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, dict) else value


def sync(request: Request, *options: str) -> Run:
    """Run the executable to its end."""
    done = subprocess.run(command(request, *options), capture_output=True, check=False, timeout=60)
    lines = done.stderr.decode().splitlines()
    try:
        return Run(done.returncode, done.stdout, tuple(map(json.loads, lines)))
    except json.JSONDecodeError as error:
        raise AssertionError(f"stderr is not one JSON object per line:\n{done.stderr.decode()}") from error


def read_stream(data: bytes) -> Stream:
    """Read a complete stream.

    Fail where the seal or the end is missing, or something follows it.
    """
    source = pa.BufferReader(data)
    with pa.ipc.open_stream(source) as reader:
        batches = list(reader)
        schema = reader.schema
    assert data.endswith(END_OF_STREAM)
    assert source.closed or source.tell() == len(data), "something follows the end of the stream"
    return Stream(schema, _without_seal(batches))


def read_file(path: Path) -> Stream:
    """Read a slice file: `.arrow` is an Arrow file, `.arrows` a stream."""
    if path.suffix == ".arrows":
        return read_stream(path.read_bytes())
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        return Stream(reader.schema, _without_seal(batches))


def _without_seal(batches: list[pa.RecordBatch]) -> tuple[pa.RecordBatch, ...]:
    assert batches, "not even the seal is there"
    assert [batch.num_rows == 0 for batch in batches] == [False] * (len(batches) - 1) + [True], (
        "the seal is the only empty batch, and the last one"
    )
    return tuple(batches[:-1])


def is_sealed(data: bytes) -> bool:
    """Return whether bytes hold a complete stream, seal included; they may hold anything."""
    try:
        read_stream(data)
    except (pa.ArrowException, OSError, AssertionError):
        return False
    return True


def check_schema(stream: Stream, request: Request) -> None:
    """Check fields and metadata against the contract."""
    instant = pa.timestamp("ns", tz="UTC")
    sides = request.price_types
    expected = [("timestamp", instant, False), ("symbol", pa.dictionary(pa.int16(), pa.utf8()), False)]
    expected += [(f"{side}_{field}", pa.float64(), True) for side in sides for field in request.fields]
    expected += [(f"valid_{side}", pa.bool_(), False) for side in sides]
    expected += [(f"{side}_timestamp", instant, True) for side in sides if request.fill == "forward"]
    for timeframe in (further.split(":")[0] for further in request.with_timeframe):
        for side in sides:
            expected.append((f"{timeframe}_{side}_timestamp", instant, True))
            expected += [(f"{timeframe}_{side}_{field}", pa.float64(), True) for field in request.fields]
        expected += [(f"{timeframe}_valid_{side}", pa.bool_(), False) for side in sides]
    expected += [(f"ind_{name}", pa.float64(), True) for name in request.indicators]
    assert [(field.name, field.type, field.nullable) for field in stream.schema] == expected
    metadata = {key.decode(): value.decode() for key, value in stream.schema.metadata.items()}
    known_after = metadata.pop("known_after_ns", None)
    assert (known_after is not None) == (request.days == "local" and request.timeframe_ns % DAY_NS == 0)
    no_volume = metadata.pop("no_volume", None)
    assert json.loads(no_volume or "[]") == [side for side in sides if _has_no_volume(request, side)]
    assert metadata.keys() == {"schema_name", "schema_version", "symbols", "timeframe", "request", "producer"}
    assert metadata["schema_name"] == "multi_symbol_slice"
    is_plain = known_after is None and request.fields == FIELDS and no_volume is None
    assert metadata["schema_version"] == ("1.0.0" if is_plain else "1.1.0")
    assert metadata["timeframe"] == request.timeframe
    told = {name: getattr(request, name) for name in Request.__struct_fields__}
    told |= {"symbols": list(stream.symbols)}
    told |= {name: list(getattr(request, name)) for name in ("price_types", "with_timeframe", "indicators")}
    for edge in ("start", "end", "before"):
        told[edge] = None if told[edge] is None else format_time_ns(told[edge])
    told["duplicates"] = told["duplicates"] or "last"
    told = {name: value for name, value in told.items() if name not in LATER or value != LATER[name]}
    told |= {name: list(told[name]) for name in {"fields", "rewrite"} & told.keys()}
    if "zones" in told:
        told["zones"] = [list(pair) for pair in request.zones]
    assert list(json.loads(metadata["request"]).items()) == list(told.items())
    if request.symbols is not None:
        assert stream.symbols == request.symbols


def slices_of(stream: Stream) -> Slices:
    """Return the slices of a stream, checking on the way what holds for every stream."""
    symbols = stream.symbols
    names = stream.schema.names
    sides = [name.removeprefix("valid_") for name in names if name.startswith("valid_")]
    timeframes = list(dict.fromkeys(match[1] for match in map(_VALID_FURTHER.fullmatch, names) if match))
    indicators = [name.removeprefix("ind_") for name in names if name.startswith("ind_")]
    slices: list[tuple[int, tuple[Cell, ...]]] = []
    for batch in stream.batches:
        batch.validate(full=True)
        assert batch.num_rows % len(symbols) == 0, "a batch holds whole slices only"
        count = batch.num_rows // len(symbols)
        assert batch.column("symbol").null_count == 0
        assert batch.column("symbol").to_pylist() == list(symbols) * count
        assert batch.column("timestamp").null_count == 0
        timestamps = batch.column("timestamp").cast(pa.int64()).to_pylist()
        candles = {side: _candles(batch, "", side, timestamps) for side in sides}
        further = {
            timeframe: {side: _candles(batch, f"{timeframe}_", side, timestamps) for side in sides}
            for timeframe in timeframes
        }
        values = {name: _values(batch, f"ind_{name}") for name in indicators}
        for first in range(0, batch.num_rows, len(symbols)):
            rows = range(first, first + len(symbols))
            assert {timestamps[row] for row in rows} == {timestamps[first]}, "a slice has one timestamp"
            assert not slices or slices[-1][0] < timestamps[first], "timestamps strictly increase"
            cells = tuple(
                Cell(
                    {side: candles[side][row] for side in sides},
                    {timeframe: {side: further[timeframe][side][row] for side in sides} for timeframe in timeframes},
                    {name: values[name][row] for name in indicators},
                )
                for row in rows
            )
            slices.append((timestamps[first], cells))
    return tuple(slices)


def raw_columns(stream: Stream, until_ns: int) -> dict[str, tuple[bytes, bytes]]:
    """Return the very bytes of the rows stamped up to a time.

    Of each column its values, under nulls too, and nulls.
    """
    columns: dict[str, tuple[bytes, bytes]] = dict.fromkeys(stream.schema.names, (b"", b""))
    for batch in stream.batches:
        rows = int(np.searchsorted(_buffer(batch.column("timestamp"), np.int64), until_ns, "right"))
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_boolean(column.type):
                values = _bits(column.buffers()[1], column)
            elif pa.types.is_dictionary(column.type):
                values = _buffer(column.indices, np.int16)
            else:
                values = _buffer(column, np.int64)
            presence = column.buffers()[0]
            present = np.ones(len(column), np.uint8) if presence is None else _bits(presence, column)
            before = columns[name]
            columns[name] = (before[0] + values[:rows].tobytes(), before[1] + present[:rows].tobytes())
    return columns


def _has_no_volume(request: Request, side: str) -> bool:
    return request.columns.get(f"{side}_volume", request.columns.get("volume")) == ""


def _buffer(column: pa.Array, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.frombuffer(column.buffers()[1], kind)[column.offset :][: len(column)]


def _bits(buffer: pa.Buffer, column: pa.Array) -> np.ndarray[Any, Any]:
    return np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")[column.offset :][: len(column)]


def _candles(batch: pa.RecordBatch, prefix: str, side: str, timestamps: list[int]) -> list[Shown]:
    fields = [field for field in FIELDS if f"{prefix}{side}_{field}" in batch.schema.names]
    has_no_volume = side in json.loads((batch.schema.metadata or {}).get(b"no_volume", b"[]"))
    if has_no_volume and "volume" in fields:
        fields.remove("volume")
        volume = batch.column(f"{prefix}{side}_volume")
        assert volume.null_count == len(volume), "a volume that no file holds is null throughout"
        assert all(map(math.isnan, _buffer(volume, np.float64))), "under a null lies NaN"
    columns = [batch.column(f"{prefix}{side}_{field}") for field in fields]
    stamps = timestamps
    absent = [pc.is_null(column).to_pylist() for column in columns]
    if f"{prefix}{side}_timestamp" in batch.schema.names:
        stamp_column = batch.column(f"{prefix}{side}_timestamp")
        absent.append(pc.is_null(stamp_column).to_pylist())
        stamps = _buffer(stamp_column, np.int64).tolist()
        assert not any(stamp for stamp, is_absent in zip(stamps, absent[0], strict=True) if is_absent), (
            "under a null timestamp lies 0"
        )
    assert all(mask == absent[0] for mask in absent), "a candle is there with all that it has, or not at all"
    # The values buffer itself: readers may take it without looking at the bitmap.
    plain = [_buffer(column, np.float64) for column in columns]
    valid = batch.column(f"{prefix}valid_{side}")
    assert valid.null_count == 0
    candles: list[Shown] = []
    for row, (is_absent, is_valid) in enumerate(zip(absent[0], valid.to_pylist(), strict=True)):
        values = [float(column[row]) for column in plain]
        if is_absent:
            assert all(map(math.isnan, values)), "under a null lies NaN"
            assert not is_valid
            candles.append(None)
        else:
            assert is_valid == all(map(math.isfinite, values))
            of_field = dict(zip(fields, values, strict=True))
            candles.append((CandleData(stamps[row], *(of_field.get(field, math.nan) for field in FIELDS)), is_valid))
    return candles


def _values(batch: pa.RecordBatch, name: str) -> list[float | None]:
    column = batch.column(name)
    plain = _buffer(column, np.float64).tolist()
    absent = pc.is_null(column).to_pylist()
    assert all(math.isnan(value) for value, is_absent in zip(plain, absent, strict=True) if is_absent), (
        "under a null lies NaN"
    )
    return [None if is_absent else value for value, is_absent in zip(plain, absent, strict=True)]


def reference_slices(run: ReferenceRun) -> Slices:
    """Return the slices of the reference in the same form."""
    fields = run._request.fields
    return tuple((timestamp_ns, tuple(_reference_cell(cell, fields) for cell in cells)) for timestamp_ns, cells in run)


def _reference_cell(cell: ReferenceCell, fields: tuple[str, ...]) -> Cell:
    further = {timeframe: _with_validity(candles, fields) for timeframe, candles in cell.further.items()}
    return Cell(_with_validity(cell.candles, fields), further, cell.indicators)


def public_slice(one: MultiSymbolSlice, request: Request) -> tuple[int, tuple[Cell, ...]]:
    """Return a slice of the package in the same form; check that all ways to read it agree."""
    cells = []
    timeframes = tuple(further.split(":")[0] for further in request.with_timeframe)
    assert one.timeframes == timeframes
    for row, symbol in enumerate(one.keys()):
        snapshot = one[symbol]
        candles = {side: one.get(symbol, side) for side in request.price_types}
        further = {
            timeframe: {side: one.get_candle(symbol, timeframe, side) for side in request.price_types}
            for timeframe in timeframes
        }
        for prefix, timeframe, shown in [
            ("", request.timeframe, candles),
            *((f"{timeframe}_", timeframe, further[timeframe]) for timeframe in timeframes),
        ]:
            for side, candle in shown.items():
                assert _same(snapshot.candle(timeframe, side), candle)
                assert _same(one.get_candle(symbol, timeframe, side), candle)
                valid = bool(one.column(f"{prefix}valid_{side}")[row])
                assert valid == (candle is not None and candle.is_valid)
                if prefix or request.fill == "forward":
                    stamp = one.column(f"{prefix}{side}_timestamp")[row]
                    assert np.isnat(stamp) if candle is None else stamp == np.datetime64(candle.timestamp_ns, "ns")
        shown_ns = [candle.timestamp_ns for candle in candles.values() if candle is not None]
        assert snapshot.age_ns == (one.timestamp_ns - min(shown_ns) if shown_ns else None)
        assert snapshot.is_carried == any(stamp_ns < one.timestamp_ns for stamp_ns in shown_ns)
        assert (snapshot.indicators is None) == (not request.indicators)
        indicators = dict(snapshot.indicators or {})
        assert tuple(indicators) == request.indicators
        for name, value in indicators.items():
            plain = float(one.column(f"ind_{name}")[row])
            assert math.isnan(plain) if value is None else pattern(plain) == pattern(value)
        cells.append(
            Cell(
                _with_validity(candles),
                {timeframe: _with_validity(shown) for timeframe, shown in further.items()},
                indicators,
            )
        )
    return one.timestamp_ns, tuple(cells)


def _same(one: CandleData | None, other: CandleData | None) -> bool:
    return _shown_bits(_shown(one)) == _shown_bits(_shown(other))


def _with_validity(candles: Mapping[Any, CandleData | None], fields: tuple[str, ...] = FIELDS) -> dict[str, Shown]:
    return {side: _shown(candle, fields) for side, candle in candles.items()}


def _shown(candle: CandleData | None, fields: tuple[str, ...] = FIELDS) -> Shown:
    if candle is None:
        return None
    assert all(math.isnan(getattr(candle, field)) for field in FIELDS if field not in fields)
    looked_at = [field for field in fields if field != "volume" or type(candle) is CandleData]
    return candle, all(math.isfinite(getattr(candle, field)) for field in looked_at)


def pattern(value: float) -> bytes:
    """Return the bits of a number; those of all NaNs are taken as the same."""
    return b"NaN" if math.isnan(value) else struct.pack(">d", value)


def _shown_bits(shown: Shown) -> object:
    if shown is None:
        return None
    candle, is_valid = shown
    values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return (candle.timestamp_ns, *map(pattern, values), is_valid)


def bits(slices: Slices) -> list[object]:
    """Return slices in a form that is equal where every bit is, all NaN being one."""

    def of_candles(candles: dict[str, Shown]) -> list[object]:
        return [(side, _shown_bits(shown)) for side, shown in candles.items()]

    def of_cell(cell: Cell) -> object:
        further = [(timeframe, of_candles(candles)) for timeframe, candles in cell.further.items()]
        indicators = [(name, None if value is None else pattern(value)) for name, value in cell.indicators.items()]
        return (of_candles(cell.candles), further, indicators)

    return [(timestamp_ns, [of_cell(cell) for cell in cells]) for timestamp_ns, cells in slices]


def place(error: OmegaSlicesError) -> tuple[object, ...]:
    """Return what two errors have to share to be the same one."""
    return (error.code.value, error.file, error.symbol, error.price_type, error.row, error.column)
