"""The executable run as a user runs it, and what it writes read by plain pyarrow.

Shared by the goldens and the property tests. Uses the package's request and value types, and finds the executable as
the package does, but knows nothing of its command line and its reader. What a stream has to look like is written here
from the contract.
"""

from __future__ import annotations

import json
import math
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omega_slices._binary import find_binary
from omega_slices._candle import CandleData, RunReport, RunWarning, SeriesReport
from omega_slices._request import Request, format_time_ns

if TYPE_CHECKING:
    from omega_slices import MultiSymbolSlice, OmegaSlicesError
    from omega_slices.reference import ReferenceRun

END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
FIELDS: Final = ("open", "high", "low", "close", "volume")

# One symbol of one slice: from each price type to its candle and whether it counts as valid, or to None.
Cell = dict[str, tuple[CandleData, bool] | None]
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
            series=tuple(
                SeriesReport(**{key: series[key] for key in SeriesReport.__struct_fields__})
                for series in report["series"]
            ),
            warnings=tuple(RunWarning(**warning) for warning in warnings),
            complete=True,
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


def executable() -> str:
    """Return the executable under test, the very one that the package runs."""
    return str(find_binary())


def command(request: Request, *options: str) -> list[str]:
    """Return the command line of a request, written from the contract and not from the package's own."""
    words = [executable(), "sync", f"--data={request.data}", f"--timeframe={request.timeframe}"]
    words += ["--all-symbols"] if request.symbols is None else [f"--symbols={name}" for name in request.symbols]
    words.append(f"--price-types={','.join(request.price_types)}")
    for edge, timestamp_ns in (("start", request.start), ("end", request.end)):
        words += [] if timestamp_ns is None else [f"--{edge}={format_time_ns(timestamp_ns)}"]
    for name in ("timeline", "session", "unsorted", "duplicates"):
        words.append(f"--{name}={getattr(request, name)}")
    words += ["--normalize"] if request.normalize else []
    words += [] if request.path_template is None else [f"--path-template={request.path_template}"]
    if request.columns:
        words.append(f"--columns={','.join(f'{field}={name}' for field, name in request.columns.items())}")
    return [*words, "--error-format=json", "--progress=never", *options]


def sync(request: Request, *options: str) -> Run:
    """Run the executable to its end."""
    done = subprocess.run(command(request, *options), capture_output=True, check=False, timeout=60)
    lines = done.stderr.decode().splitlines()
    try:
        return Run(done.returncode, done.stdout, tuple(map(json.loads, lines)))
    except json.JSONDecodeError as error:
        raise AssertionError(f"stderr is not one JSON object per line:\n{done.stderr.decode()}") from error


def read_stream(data: bytes) -> Stream:
    """Read a complete stream; fail where the seal or the end is missing, or something follows it."""
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
    expected = [("timestamp", pa.timestamp("ns", tz="UTC"), False)]
    expected.append(("symbol", pa.dictionary(pa.int16(), pa.utf8()), False))
    expected += [(f"{side}_{field}", pa.float64(), True) for side in request.price_types for field in FIELDS]
    expected += [(f"valid_{side}", pa.bool_(), False) for side in request.price_types]
    assert [(field.name, field.type, field.nullable) for field in stream.schema] == expected
    metadata = {key.decode(): value.decode() for key, value in stream.schema.metadata.items()}
    assert metadata.keys() == {"schema_name", "schema_version", "symbols", "timeframe", "request", "producer"}
    assert metadata["schema_name"] == "multi_symbol_slice"
    assert metadata["schema_version"] == "1.0.0"
    assert metadata["timeframe"] == request.timeframe
    told = {name: getattr(request, name) for name in Request.__struct_fields__}
    told |= {"symbols": list(stream.symbols), "price_types": list(request.price_types)}
    for edge in ("start", "end"):
        told[edge] = None if told[edge] is None else format_time_ns(told[edge])
    assert list(json.loads(metadata["request"]).items()) == list(told.items())
    if request.symbols is not None:
        assert stream.symbols == request.symbols


def slices_of(stream: Stream) -> Slices:
    """Return the slices of a stream, checking on the way what holds for every stream."""
    symbols = stream.symbols
    sides = [field.name.removeprefix("valid_") for field in stream.schema if field.name.startswith("valid_")]
    slices: list[tuple[int, tuple[Cell, ...]]] = []
    for batch in stream.batches:
        batch.validate(full=True)
        assert batch.num_rows % len(symbols) == 0, "a batch holds whole slices only"
        count = batch.num_rows // len(symbols)
        assert batch.column("symbol").null_count == 0
        assert batch.column("symbol").to_pylist() == list(symbols) * count
        assert batch.column("timestamp").null_count == 0
        timestamps = batch.column("timestamp").cast(pa.int64()).to_pylist()
        cells = {side: _cells(batch, side, timestamps) for side in sides}
        for first in range(0, batch.num_rows, len(symbols)):
            rows = range(first, first + len(symbols))
            assert {timestamps[row] for row in rows} == {timestamps[first]}, "a slice has one timestamp"
            assert not slices or slices[-1][0] < timestamps[first], "timestamps strictly increase"
            slices.append((timestamps[first], tuple({side: cells[side][row] for side in sides} for row in rows)))
    return tuple(slices)


def _cells(batch: pa.RecordBatch, side: str, timestamps: list[int]) -> list[tuple[CandleData, bool] | None]:
    columns = [batch.column(f"{side}_{field}") for field in FIELDS]
    absent = [pc.is_null(column).to_pylist() for column in columns]
    assert all(mask == absent[0] for mask in absent), "a candle is there with all five values, or not at all"
    # The values buffer itself: readers may take it without looking at the bitmap.
    plain = [np.frombuffer(column.buffers()[1], np.float64)[column.offset :][: len(column)] for column in columns]
    valid = batch.column(f"valid_{side}")
    assert valid.null_count == 0
    cells: list[tuple[CandleData, bool] | None] = []
    for row, (is_absent, is_valid) in enumerate(zip(absent[0], valid.to_pylist(), strict=True)):
        values = [float(column[row]) for column in plain]
        if is_absent:
            assert all(map(math.isnan, values)), "under a null lies NaN"
            assert not is_valid
            cells.append(None)
        else:
            assert is_valid == all(map(math.isfinite, values))
            cells.append((CandleData(timestamps[row], *values), is_valid))
    return cells


def reference_slices(run: ReferenceRun) -> Slices:
    """Return the slices of the reference in the same form."""
    return tuple(
        (
            timestamp_ns,
            tuple({side: _with_validity(candle) for side, candle in cell.items()} for cell in cells),
        )
        for timestamp_ns, cells in run
    )


def public_slice(one: MultiSymbolSlice, price_types: tuple[str, ...]) -> tuple[int, tuple[Cell, ...]]:
    """Return a slice of the package in the same form, taken as users take it."""
    valid = {side: one.column(f"valid_{side}").tolist() for side in price_types}
    cells = []
    for row, symbol in enumerate(one.keys()):
        candles = {side: one.get(symbol, side) for side in price_types}
        cells.append({side: _with_validity(candle) for side, candle in candles.items()})
        for side, candle in candles.items():
            assert valid[side][row] == (candle is not None and candle.is_valid)
    return one.timestamp_ns, tuple(cells)


def _with_validity(candle: CandleData | None) -> tuple[CandleData, bool] | None:
    return None if candle is None else (candle, candle.is_valid)


def bits(slices: Slices) -> list[object]:
    """Return slices in a form in which equality means equality of every bit, but for one NaN from another."""

    def pattern(value: float) -> bytes:
        return b"NaN" if math.isnan(value) else struct.pack(">d", value)

    def one(cell: tuple[CandleData, bool] | None) -> object:
        if cell is None:
            return None
        candle, is_valid = cell
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        return (candle.timestamp_ns, *map(pattern, values), is_valid)

    return [
        (timestamp_ns, [[(side, one(cell[side])) for side in cell] for cell in cells]) for timestamp_ns, cells in slices
    ]


def place(error: OmegaSlicesError) -> tuple[object, ...]:
    """Return what two errors have to share to be the same one."""
    return (error.code.value, error.file, error.symbol, error.price_type, error.row, error.column)
