"""Files that hold no slices of ours, are incomplete or damaged.

An error of ours, and no wrong slice.
"""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from helpers import stream_factory
from helpers.slice_files import BATCHES, FORMS, SCHEMA, STAMPS, refused, stream, write

from omega_slices import (
    DeserializationError,
    MultiSymbolSlice,
    OmegaSlicesError,
    read_slices,
)


def test_there_is_no_such_file(tmp_path: Path) -> None:
    error = refused(tmp_path / "missing.arrow", "the file does not exist")
    assert isinstance(error, FileNotFoundError)
    assert isinstance(pickle.loads(pickle.dumps(error)), FileNotFoundError)


def test_it_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path, "it is a folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "it is a pipe")
    refused(write(tmp_path, b""), "it is empty")
    with pytest.raises(DeserializationError, match="null"):
        read_slices("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is permitted to root")
def test_it_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, stream_factory.encode_file(SCHEMA, BATCHES))
    path.chmod(0)
    refused(path, "Permission denied")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"UTC time,Open\n", "neither an Arrow IPC file nor a stream"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "neither an Arrow IPC file nor a stream"),
        (stream(seal=False), "it has no seal"),
        (stream()[:-8], "it has no end-of-stream marker"),
        (stream() + b"\0", r"not a complete Arrow IPC file or stream|it is incomplete"),
        (stream_factory.encode_file(SCHEMA, BATCHES, seal=None), "its footer has no seal"),
        (stream_factory.encode_file(SCHEMA, BATCHES, seal={"slices": 7, "batches": 2}), "its seal does not match"),
        (stream_factory.encode_file(SCHEMA, BATCHES, seal={"slices": 8, "batches": 3}), "its seal does not match"),
        (stream_factory.encode_file(SCHEMA, BATCHES, seal=7), "its footer is malformed"),
        (stream_factory.encode_file(SCHEMA, BATCHES, report=None), "its footer is malformed"),
        (stream_factory.encode_file(SCHEMA, BATCHES, report={"slices": 7, "batches": 3}), "its report does not match"),
        (stream_factory.encode_file(SCHEMA, BATCHES, batch_index=None), "its footer is malformed"),
        (
            stream_factory.encode_file(
                SCHEMA, BATCHES, batch_index={"slices": [3, 4], "first_timestamps_ns": STAMPS[:2]}
            ),
            "its seal does not match",
        ),
        (
            stream_factory.encode_file(
                SCHEMA, BATCHES, batch_index={"slices": [3, 4, 0], "first_timestamps_ns": STAMPS[:3]}
            ),
            "its index of batches is malformed",
        ),
        (
            stream_factory.encode_file(
                SCHEMA, BATCHES, batch_index={"slices": [3, 4], "first_timestamps_ns": STAMPS[:3]}
            ),
            "its index of batches is malformed",
        ),
        (
            stream_factory.encode_file(
                SCHEMA, BATCHES, batch_index={"slices": [3, 2, 2], "first_timestamps_ns": [STAMPS[0]] * 3}
            ),
            "do not increase from batch to batch",
        ),
        # True of itself, but not of the batches.
        (
            stream_factory.encode_file(
                SCHEMA,
                BATCHES,
                batch_index={"slices": [2, 3, 2], "first_timestamps_ns": [STAMPS[0], STAMPS[3], STAMPS[5]]},
            ),
            "its batch 0 is damaged: it has 9 rows",
        ),
        (
            stream_factory.encode_file(
                SCHEMA,
                BATCHES,
                batch_index={"slices": [3, 2, 2], "first_timestamps_ns": [STAMPS[0], STAMPS[4], STAMPS[5]]},
            ),
            "its batch 1 is damaged: its timestamps",
        ),
        (
            stream_factory.encode_file(
                SCHEMA,
                BATCHES,
                batch_index={"slices": [3, 2, 2], "first_timestamps_ns": [STAMPS[0], STAMPS[1], STAMPS[5]]},
            ),
            "its batch 0 is damaged: its timestamps",
        ),
    ],
)
def test_it_is_not_ours_or_incomplete(data: bytes, match: str, tmp_path: Path) -> None:
    refused(write(tmp_path, data), match)


def test_the_last_timestamp_of_the_report_is_that_of_the_last_slice(tmp_path: Path) -> None:
    report = {"slices": 7, "batches": 3, "first_timestamp_ns": STAMPS[0], "last_timestamp_ns": STAMPS[-1] + 1}
    refused(write(tmp_path, stream_factory.encode_file(SCHEMA, BATCHES, report=report)), "its batch 2 is damaged")


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({"schema_version": "2.0.0"}, "version '2.0.0'"),
        ({"schema_name": "candles"}, "named 'candles'"),
        ({"symbols": "[]"}, "are missing"),
        ({"symbols": '["A","A","B"]'}, "not distinct"),
        ({"symbols": "{}"}, "incomplete or malformed"),
        ({"request": "{}"}, "the request in its metadata"),
        ({"timeframe": "M5"}, "its timeframe is 'M5'"),
    ],
)
def test_a_schema_that_is_not_ours(metadata: dict[str, str], match: str, tmp_path: Path) -> None:
    of = SCHEMA.with_metadata(SCHEMA.metadata | {key.encode(): value.encode() for key, value in metadata.items()})
    for name, data in (("x.arrow", file_as(of)), ("x.arrows", b"".join(stream_factory.encode(SCHEMA, BATCHES)))):
        if name == "x.arrow":
            refused(write(tmp_path, data, name), match)
        else:
            assert len(read_slices(write(tmp_path, data, name))) == 7


def file_as(of: pa.Schema) -> bytes:
    """Return a file whose batches are right and whose schema says something else."""
    whole = stream_factory.encode_file(SCHEMA, BATCHES)
    reader = pa.ipc.open_file(pa.BufferReader(whole))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, of, metadata=reader.metadata) as writer:
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=of))
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    "asked", [{"price_types": ["ask", "bid"]}, {"price_types": []}, {"timeframe": "X1"}, {"fill": "forward"}]
)
def test_columns_that_are_not_those_of_the_request(asked: dict[str, Any], tmp_path: Path) -> None:
    told = json.loads(SCHEMA.metadata[b"request"]) | asked
    of = SCHEMA.with_metadata(SCHEMA.metadata | {b"request": json.dumps(told).encode()})
    refused(write(tmp_path, file_as(of)), "it holds no slices that this package reads")


def test_rows_out_of_place_are_not_handed_over(tmp_path: Path) -> None:
    """No slice reads the symbol of a row; a record batch shows it."""
    (batch,) = [stream_factory.batch(SCHEMA, 0, 3)]
    indices = pa.array([0, 1, 2, 0, 2, 1, 0, 1, 2], pa.int16())
    symbol = pa.DictionaryArray.from_arrays(indices, batch.column("symbol").dictionary)
    wrong = batch.set_column(1, SCHEMA.field("symbol"), symbol)
    table = read_slices(write(tmp_path, stream_factory.encode_file(SCHEMA, [wrong])))
    with pytest.raises(DeserializationError, match=r"its batch 0 is damaged: .* not in the order of its symbols"):
        list(table.batches())
    with pytest.raises(Exception, match="not in the order of its symbols"):
        pa.table(table)


def test_columns_that_disagree_show_no_candle(tmp_path: Path) -> None:
    batch = stream_factory.batch(SCHEMA, 0, 3, missing=0.4)
    position = SCHEMA.get_field_index("bid_high")
    wrong = batch.set_column(position, SCHEMA.field(position), pa.array([1.0] * 9))
    path = write(tmp_path, stream_factory.encode_file(SCHEMA, [wrong]))
    reads: list[Callable[[MultiSymbolSlice], object]] = [
        lambda one: one.get("EURUSD"),
        lambda one: one.get_price("EURUSD"),
        lambda one: one.values(),
    ]
    for read in reads:
        with pytest.raises(DeserializationError, match="disagree on which candles are there") as caught:
            read(read_slices(path)[0])
        assert caught.value.file == str(path)
    with pytest.raises(DeserializationError, match="M1 bid columns disagree"):
        list(read_slices(path).batches())


def touch(path: Path) -> None:
    """Open a file and read all of it in every way."""
    table = read_slices(path)
    for one in table:
        one.values()
        one.column("bid_close").sum()
        one.get_price(table.symbols[0])
    for batch in table.batches():
        batch.to_pydict()


@pytest.mark.parametrize("form", FORMS)
def test_a_cut_at_any_byte_is_incomplete(form: str, tmp_path: Path) -> None:
    whole = FORMS[form]()
    path = write(tmp_path, whole)
    touch(path)
    for length in range(len(whole) - 1, -1, -1):
        os.truncate(path, length)
        with pytest.raises(DeserializationError):
            read_slices(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_byte_is_an_error_of_ours_or_none(form: str, tmp_path: Path) -> None:
    whole = FORMS[form]()
    chosen = random.Random(form)
    path = tmp_path / "flipped"
    outcomes = {"refused": 0, "read": 0}
    for _ in range(600):
        flipped = bytearray(whole)
        for _ in range(chosen.choice((1, 1, 1, 3))):
            flipped[chosen.randrange(len(flipped))] ^= 1 << chosen.randrange(8)
        path.write_bytes(flipped)
        try:
            touch(path)
        except OmegaSlicesError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    # Bytes of prices and padding are not checked; those of lengths and offsets are.
    assert outcomes["refused"] > 50
    assert outcomes["read"] > 50


def test_timestamps_within_a_batch_are_in_order(tmp_path: Path) -> None:
    batch = stream_factory.batch(SCHEMA, 0, 4)
    order = [0, 2, 1, 3]
    rows = [position * 3 + symbol for position in order for symbol in range(3)]
    refused(write(tmp_path, stream_factory.encode_file(SCHEMA, [batch.take(pa.array(rows))])), "not in order")
    assert all(before < after for before, after in pairwise(STAMPS))
