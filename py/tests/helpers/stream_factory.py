"""Slice streams made by hand, and a program that writes them as it is told.

Shared by the tests of the reader.  The streams are made with pyarrow alone, from the
contract: nothing of what is tested here makes them.  The program stands in for the
executable, through `OMEGA_SLICES_BINARY`; it can do what the real one must never do.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FIELDS: Final = ("open", "high", "low", "close", "volume")
TIMESTAMP: Final = pa.timestamp("ns", "UTC")
MINUTE_NS: Final = 60 * 10**9
START_NS: Final = 1_704_153_600 * 10**9  # 2024-01-02T00:00Z
SYMBOLS: Final = ("EURUSD", "GBPUSD", "USDJPY")

END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"

REPORT: Final[dict[str, Any]] = {"kind": "report", "batches": 0, "series": []}


def schema(
    symbols: Sequence[str] = SYMBOLS,
    /,
    *,
    price_types: Sequence[str] = ("bid", "ask"),
    fills: bool = False,
    higher_timeframes: Sequence[str] = (),
    indicators: Sequence[str] = (),
    candle_fields: Sequence[str] = FIELDS,
    **metadata: str,
) -> pa.Schema:
    """Return the schema of the contract; metadata may be given other values."""
    fields = [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("symbol", pa.dictionary(pa.int16(), pa.utf8()), nullable=False),
    ]
    fields += [pa.field(f"{side}_{name}", pa.float64()) for side in price_types for name in candle_fields]
    fields += [pa.field(f"valid_{side}", pa.bool_(), nullable=False) for side in price_types]
    fields += [pa.field(f"{side}_timestamp", TIMESTAMP) for side in price_types if fills]
    for timeframe in higher_timeframes:
        for side in price_types:
            fields.append(pa.field(f"{timeframe}_{side}_timestamp", TIMESTAMP))
            fields += [pa.field(f"{timeframe}_{side}_{name}", pa.float64()) for name in candle_fields]
        fields += [pa.field(f"{timeframe}_valid_{side}", pa.bool_(), nullable=False) for side in price_types]
    fields += [pa.field(f"ind_{name}", pa.float64()) for name in indicators]
    told = {
        "schema_name": "multi_symbol_slice",
        "schema_version": "1.0.0",
        "symbols": json.dumps(list(symbols)),
        "timeframe": "M1",
        "request": json.dumps(
            {
                "timeframe": "M1",
                "price_types": list(price_types),
                "fill": "forward" if fills else "none",
                "with_timeframe": list(higher_timeframes),
                "indicators": list(indicators),
                **({} if candle_fields == FIELDS else {"fields": list(candle_fields)}),
            }
        ),
        "producer": "wire/1",
    }
    return pa.schema(fields, metadata=told | metadata)


def batch(
    of: pa.Schema,
    first: int,
    slices: int,
    *,
    seed: int = 0,
    missing: float = 0.0,
    nan: float = 0.0,
    carried: float = 0.0,
) -> pa.RecordBatch:
    """Return a batch of random candles from the given minute on.

    Each of these is a share. `missing` candles and indicators are null, with NaN below.
    `nan` values within candles and of indicators are NaN. `carried` candles are up to nine
    minutes older than their slice, those of higher timeframes one to nine hours; only
    candles with a column for it are carried.
    """
    symbols = json.loads(of.metadata[b"symbols"])
    rows = slices * len(symbols)
    random = np.random.default_rng([seed, first])
    minutes = START_NS + np.arange(first, first + slices, dtype="int64") * MINUTE_NS
    columns: dict[str, pa.Array] = {
        "timestamp": pa.array(np.repeat(minutes, len(symbols))).cast(pa.timestamp("ns", "UTC")),
        "symbol": pa.DictionaryArray.from_arrays(
            np.tile(np.arange(len(symbols), dtype="int16"), slices), pa.array(symbols, pa.utf8())
        ),
    }
    stamps = np.repeat(minutes, len(symbols))
    for valid in (name for name in of.names if "valid_" in name and not name.startswith("ind_")):
        prefix, _, side = valid.partition("valid_")
        absent = random.random(rows) < missing
        values = random.normal(1.0, 0.1, (len(FIELDS), rows))
        values[(random.random(values.shape) < nan) | absent] = np.nan
        for name, column in zip(FIELDS, values, strict=True):
            columns[f"{prefix}{side}_{name}"] = masked(pa.float64(), column, absent, bitmap=missing > 0)
        here = [f"{prefix}{side}_{name}" in of.names for name in FIELDS]
        columns[valid] = pa.array(np.isfinite(values[here]).all(axis=0))
        own = f"{prefix}{side}_timestamp"
        if own in of.names:
            ages = random.integers(1, 10, rows) * (60 if prefix else 1)
            ages[(random.random(rows) >= carried) & (not prefix)] = 0
            column = np.where(absent, 0, stamps - ages * MINUTE_NS)
            columns[own] = masked(TIMESTAMP, column, absent, bitmap=missing > 0)
    for name in (name for name in of.names if name.startswith("ind_")):
        absent = random.random(rows) < missing
        column = random.normal(50.0, 10.0, rows)
        column[(random.random(rows) < nan) | absent] = np.nan
        columns[name] = masked(pa.float64(), column, absent, bitmap=missing > 0)
    return pa.record_batch([columns[name] for name in of.names], schema=of)


def masked(kind: pa.DataType, values: np.ndarray[Any, Any], absent: np.ndarray[Any, Any], *, bitmap: bool) -> pa.Array:
    """Return a column of eight bytes per value.

    Whatever the values are, they lie under the nulls too.
    """
    bits = pa.py_buffer(np.packbits(~absent, bitorder="little")) if bitmap else None
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(values.tobytes())])


def encode(of: pa.Schema, batches: Sequence[pa.RecordBatch], *, seal: bool = True) -> list[bytes]:
    """Return a stream's messages: schema, dictionary, batches, seal, end-of-stream marker."""
    sink = pa.BufferOutputStream()
    empty = batch(of, 0, 1).slice(0, 0)
    with pa.ipc.new_stream(sink, of) as writer:
        for one in [*batches, empty] if seal else batches:
            writer.write_batch(one)
    whole = sink.getvalue()
    reader = pa.BufferReader(whole)
    edges = [0]
    while edges[-1] < whole.size - len(END_OF_STREAM):
        pa.ipc.read_message(reader)
        edges.append(reader.tell())
    return [whole.slice(start, stop - start).to_pybytes() for start, stop in pairwise([*edges, whole.size])]


def encode_file(
    of: pa.Schema, batches: Sequence[pa.RecordBatch], *, compression: str | None = None, **footer: Any
) -> bytes:
    """Return an Arrow IPC file with the contract's footer; entries may be replaced, or None."""
    width = len(json.loads(of.metadata[b"symbols"]))
    counts = [one.num_rows // width for one in batches]
    stamps = [stamp for one in batches for stamp in one.column("timestamp").cast(pa.int64()).to_pylist()[::width]]
    edges = {"first_timestamp_ns": stamps[0] if stamps else None, "last_timestamp_ns": stamps[-1] if stamps else None}
    firsts = [one.column("timestamp")[0].value for one in batches]
    told: dict[str, Any] = {
        "batch_index": {"slices": counts, "first_timestamps_ns": firsts},
        "report": {"slices": sum(counts), "batches": len(counts), **edges, "series": [], "warnings": []},
        "seal": {"slices": sum(counts), "batches": len(counts)},
    }
    told |= footer
    sink = pa.BufferOutputStream()
    metadata = {name: json.dumps(value) for name, value in told.items() if value is not None}
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, of, options=options, metadata=metadata) as writer:
        for one in [*batches, batch(of, 0, 1).slice(0, 0)]:
            writer.write_batch(one)
    return bytes(sink.getvalue())


def report_line(count: int, first: int = 0, **more: object) -> str:
    """Return the report of a stream of consecutive minutes."""
    edges = {
        "slices": count,
        "first_timestamp_ns": START_NS + first * MINUTE_NS if count else None,
        "last_timestamp_ns": START_NS + (first + count - 1) * MINUTE_NS if count else None,
    }
    return json.dumps(REPORT | edges | more)


@dataclass
class Fake:
    """A program that does what it is told, step by step, then exits with status 0."""

    folder: Path
    steps: list[list[object]] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The program's path."""
        return str(self.folder / "omega-slices")

    @property
    def arguments(self) -> list[str]:
        """The arguments that it was last started with."""
        told = json.loads((self.folder / "arguments.json").read_text())
        assert isinstance(told, list)
        return told

    @property
    def stdin(self) -> str:
        """What it was last given as its standard input, read by its name under /dev."""
        return (self.folder / "stdin").read_text()

    def lists(self, text: str) -> Fake:
        """Answer the command `inputs` with this text, and not with an empty list."""
        (self.folder / "inputs.json").write_text(text)
        return self

    def out(self, data: bytes) -> Fake:
        """Write bytes to stdout."""
        name = self.folder / f"out-{len(self.steps)}"
        name.write_bytes(data)
        return self._then("out", str(name))

    def err(self, text: str, times: int = 1) -> Fake:
        """Write lines to stderr."""
        return self._then("err", text, times)

    def noise(self, data: bytes, times: int = 1) -> Fake:
        """Write bytes to stderr, as they are."""
        name = self.folder / f"noise-{len(self.steps)}"
        name.write_bytes(data)
        return self._then("noise", str(name), times)

    def wait(self) -> Fake:
        """Wait for `go`, but no longer than five minutes."""
        return self._then("wait", str(self.folder / "go"))

    def go(self) -> None:
        """End a `wait`, now or when it comes."""
        (self.folder / "go").touch()

    @property
    def pid(self) -> int:
        """The process last started."""
        return int((self.folder / "pid").read_text())

    def die(self, signal: int) -> Fake:
        """Die of a signal."""
        return self._then("die", signal)

    def exit(self, status: int) -> Fake:
        """Exit with a status."""
        return self._then("exit", status)

    def hang(self, *, stubborn: bool = False) -> Fake:
        """Sleep for ever; if stubborn, through requests to end as well."""
        return self._then("hang", stubborn)

    def sleep(self, seconds: float) -> Fake:
        """Do nothing for a while."""
        return self._then("sleep", seconds)

    def close_out(self) -> Fake:
        """Close stdout."""
        return self._then("close_out")

    def is_running(self) -> bool:
        """Return whether the process last started is there, dead but not reaped included."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _then(self, *step: object) -> Fake:
        self.steps.append(list(step))
        (self.folder / "steps.json").write_text(json.dumps(self.steps))
        return self


_PROGRAM: Final = """
import json, os, signal, sys, time
folder, *arguments = sys.argv[1:]
if arguments[:1] == ["inputs"]:
    # Asked beside the run that is told its steps.
    try:
        with open(folder + "/inputs.json") as file:
            print(file.read())
    except FileNotFoundError:
        print('{"series": []}')
    sys.exit()
with open(folder + "/pid", "w") as file:
    file.write(str(os.getpid()))
with open(folder + "/arguments.json", "w") as file:
    json.dump(arguments, file)
with open("/dev/stdin", "rb") as given, open(folder + "/stdin", "wb") as file:
    file.write(given.read())
with open(folder + "/steps.json") as file:
    steps = json.load(file)
for kind, *values in steps:
    if kind == "out":
        with open(values[0], "rb") as file:
            data = memoryview(file.read())
        while data:
            data = data[os.write(1, data):]
    elif kind == "err":
        line = (values[0] + "\\n").encode()
        for _ in range(values[1]):
            os.write(2, line)
    elif kind == "noise":
        with open(values[0], "rb") as file:
            noise = file.read()
        for _ in range(values[1]):
            data = memoryview(noise)
            while data:
                data = data[os.write(2, data):]
    elif kind == "wait":
        patience = 30_000
        while patience and not os.path.exists(values[0]):
            time.sleep(0.01)
            patience -= 1
    elif kind == "die":
        os.kill(os.getpid(), values[0])
        time.sleep(60)
    elif kind == "exit":
        os._exit(values[0])
    elif kind == "sleep":
        time.sleep(values[0])
    elif kind == "close_out":
        os.close(1)
    elif kind == "hang":
        if values[0]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
os._exit(0)
"""


def make_fake(folder: Path) -> Fake:
    """Put the program into a folder, with nothing to do."""
    program = folder / "program.py"
    program.write_text(_PROGRAM)
    fake = Fake(folder)
    # -I -S: half the start-up time.
    words = [sys.executable, "-I", "-S", str(program), str(folder)]
    Path(fake.path).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    Path(fake.path).chmod(0o755)
    (folder / "steps.json").write_text("[]")
    return fake


def write_indicators(root: Path, symbol: str, rows: list[tuple[int, float | None]], *names: str) -> None:
    """Write one file of indicators.

    Minutes since 2024-01-02 and values, the same ones under each name.
    """
    stamps = pa.array([START_NS + minute * MINUTE_NS for minute, _ in rows], pa.int64())
    values = pa.array([value for _, value in rows], pa.float64())
    table = pa.table({"UTC time": stamps.cast(TIMESTAMP), **dict.fromkeys(names, values)})
    pq.write_table(table, root / symbol / f"{symbol}_M1_IND.parquet")


def threads_left() -> list[str]:
    """Return the names of the package's threads that are running."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("omega-slices")]


def write_series(root: Path, symbol: str, side: str, closes: list[tuple[int, float]], *, timeframe: str = "M1") -> None:
    """Write one series: minutes since 2024-01-02 and closes.

    The other values follow from the close.
    """
    (root / symbol).mkdir(parents=True, exist_ok=True)
    close = np.array([value for _, value in closes], "float64")
    stamps = pa.array([START_NS + minute * MINUTE_NS for minute, _ in closes], pa.int64())
    columns = {
        "UTC time": stamps.cast(TIMESTAMP),
        "Open": close,
        "High": close + 1.0,
        "Low": close - 1.0,
        "Close": close,
        "Volume": np.full(len(close), 10.0),
    }
    pq.write_table(pa.table(columns), root / symbol / f"{symbol}_{timeframe}_{side}.parquet")
