"""Producers that fail.

None of them may look like the end of the data, none may leave anything behind.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from helpers import stream_factory
from helpers.fake_streams import SLICES, open_fake, read_all, refused, stream

from omega_slices import (
    DeserializationError,
    ErrorCode,
    SymbolNotFoundError,
    UnsortedInputError,
)

pytestmark = pytest.mark.usefixtures("nothing_is_left")

# Options that bring columns, and the columns that they bring.
MORE: dict[str, Any] = {
    "fill": "forward",
    "max_age": "5bars",
    "with_timeframe": ["H1", "D1:max-age=3d"],
    "indicators": ["rsi", "ema"],
}


MORE_COLUMNS: dict[str, Any] = {"fills": True, "higher_timeframes": ("H1", "D1"), "indicators": ("rsi", "ema")}


def test_a_complete_stream_is_read_to_its_end(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream())).err(stream_factory.report_line(SLICES))
    with open_fake() as slices:
        assert sum(1 for _ in slices) == SLICES
        assert next(slices, None) is None
        assert slices.report.complete
        assert not fake.is_running()
        assert stream_factory.threads_left() == []
    assert next(slices, None) is None
    assert list(slices.batches()) == []
    assert slices.peek() == []


def test_an_empty_stream_is_complete(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream_factory.encode(stream_factory.schema(), []))).err(stream_factory.report_line(0))
    with open_fake() as slices:
        assert slices.peek(3) == []
        assert list(slices) == []
        assert slices.report.complete


@pytest.mark.parametrize("message", range(8))
def test_a_cut_between_two_messages(fake: stream_factory.Fake, message: int) -> None:
    messages = stream()
    assert len(messages) == 8  # schema, dictionary, four batches, seal, end of stream
    fake.out(b"".join(messages[:message]))
    refused(fake, "seal|marker|no stream came")


@pytest.mark.parametrize("nth", range(24))
def test_a_cut_anywhere(fake: stream_factory.Fake, nth: int) -> None:
    whole = b"".join(stream())
    # Everywhere, and densely at both ends.
    cut = [
        *range(1, len(whole), len(whole) // 11),
        4,
        8,
        len(whole) - 1,
        len(whole) - 4,
        len(whole) - 7,
        *range(9, 99, 9),
    ]
    fake.out(whole[: cut[nth]])
    refused(fake, "cannot read the stream|no stream came|cut off")


def test_a_stream_without_a_seal(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream(seal=False)))
    refused(fake, "ends without its seal.*exit status 0")


def test_a_stream_without_its_end(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream()[:-1]))
    refused(fake, "no end-of-stream marker.*exit status 0")


def test_rows_after_the_seal(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema()
    rows = stream_factory.batch(schema, 0, 1)
    fake.out(b"".join(stream_factory.encode(schema, [rows, rows.slice(0, 0), stream_factory.batch(schema, 1, 1)])))
    refused(fake, "goes on after its seal")


def test_a_second_seal(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema()
    rows = stream_factory.batch(schema, 0, 1)
    fake.out(b"".join(stream_factory.encode(schema, [rows, rows.slice(0, 0)])))
    refused(fake, "goes on after its seal")


def test_bytes_after_the_end(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream())).out(b"\0")
    refused(fake, "bytes after the end")


@pytest.mark.parametrize("status", [1, 2, 3, 101])
@pytest.mark.parametrize("whole", [True, False])
def test_an_exit_status(fake: stream_factory.Fake, status: int, *, whole: bool) -> None:
    messages = stream()
    fake.out(b"".join(messages if whole else messages[:4])).err("panicked at the end").exit(status)
    error = refused(fake, f"ended with exit status {status}")
    assert "panicked at the end" in str(error)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
@pytest.mark.parametrize("messages", [0, 1, 4, 8])
def test_a_signal(fake: stream_factory.Fake, number: signal.Signals, messages: int) -> None:
    fake.out(b"".join(stream()[:messages])).die(number)
    error = refused(fake, f"signal {int(number)} .{number.name}")
    assert error.code is ErrorCode.DESERIALIZATION_ERROR
    if number == signal.SIGKILL:
        assert error.hint == "memory may have run out"


def test_a_producer_killed_while_it_is_read(fake: stream_factory.Fake) -> None:
    messages = stream()
    fake.out(b"".join(messages[:4])).hang()
    slices = open_fake()
    assert len(slices.peek(20)) == 20
    os.kill(int((fake.folder / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(DeserializationError, match="SIGKILL"):
        list(slices)
    assert not fake.is_running()


ERROR = {
    "kind": "error",
    "code": 3010,
    "name": "UNSORTED_INPUT",
    "message": "row 7 of a.parquet is out of order",
    "hint": "sort it",
    "file": "a.parquet",
    "symbol": "EURUSD",
    "price_type": "bid",
    "row": 7,
    "column": None,
    "exit": 3,
}


@pytest.mark.parametrize("messages", [0, 1, 4, 7, 8])
def test_the_producers_own_word_comes_first(fake: stream_factory.Fake, messages: int) -> None:
    fake.out(b"".join(stream()[:messages])).err(json.dumps(ERROR)).err("more words").exit(3)
    with pytest.raises(UnsortedInputError) as caught:
        read_all()
    error = caught.value
    assert (error.message, error.hint, error.file, error.row) == (ERROR["message"], "sort it", "a.parquet", 7)
    assert (error.symbol, error.price_type, error.column) == ("EURUSD", "bid", None)
    assert not fake.is_running()


def test_an_error_known_at_the_start_is_raised_by_opening(fake: stream_factory.Fake) -> None:
    fake.err(json.dumps(ERROR | {"code": 3001, "symbol": "XYZ"})).exit(3)
    with pytest.raises(SymbolNotFoundError) as caught:
        open_fake()
    assert caught.value.symbol == "XYZ"
    assert not fake.is_running()


def test_an_error_with_exit_status_0_is_an_error(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream())).err(json.dumps(ERROR))
    with pytest.raises(UnsortedInputError):
        read_all()


def test_something_else_than_a_stream(fake: stream_factory.Fake) -> None:
    fake.out(b"Usage: something else entirely\n" * 100)
    refused(fake, "no stream came")


def test_something_else_than_a_stream_without_end(fake: stream_factory.Fake) -> None:
    fake.out(b"Usage: something else entirely\n" * 100).hang()
    refused(fake, "no stream came.*still running")


@pytest.mark.parametrize(
    ("schema", "match"),
    [
        (stream_factory.schema(schema_name="other"), "named 'other'"),
        (stream_factory.schema(schema_version="2.0.0"), "version '2.0.0'"),
        (stream_factory.schema(timeframe="M5"), "timeframe is 'M5'"),
        (stream_factory.schema(symbols="[1]"), "metadata"),
        (stream_factory.schema(symbols="nonsense"), "metadata"),
        (stream_factory.schema().remove_metadata(), "metadata"),
        (stream_factory.schema(tuple(reversed(stream_factory.SYMBOLS))), "symbols are"),
        (stream_factory.schema(price_types=["bid"]), "columns are"),
        (stream_factory.schema(price_types=["ask", "bid"]), "columns are"),
        (stream_factory.schema(price_types=["bid", "ask", "trade"]), "columns are"),
        (stream_factory.schema().remove(3), "columns are"),
    ],
)
def test_a_schema_of_another_kind(fake: stream_factory.Fake, schema: pa.Schema, match: str) -> None:
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, schema).close()
    fake.out(sink.getvalue().to_pybytes()).hang()
    error = refused(fake, match)
    assert "same release" in str(error)


def test_a_later_minor_version_is_read(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema(schema_version="1.7.0")
    fake.out(b"".join(stream_factory.encode(schema, [stream_factory.batch(schema, 0, 5)])))
    assert read_all() == 5


def test_all_columns_that_were_asked_for(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema(**MORE_COLUMNS)
    batches = [stream_factory.batch(schema, first, 5, missing=0.3, nan=0.1, carried=0.3) for first in (0, 5)]
    fake.out(b"".join(stream_factory.encode(schema, batches)))
    with open_fake(**MORE) as slices:
        assert slices.timeframes == ("H1", "D1")
        assert slices.indicators == ("rsi", "ema")
        assert slices.schema == schema
        read = list(slices)
    assert [one.timestamp_ns for one in read] == [
        stream_factory.START_NS + minute * stream_factory.MINUTE_NS for minute in range(10)
    ]
    assert {tuple(one["EURUSD"].candles) for one in read} == {("H1", "D1")}


@pytest.mark.parametrize(
    "columns",
    [
        {},
        MORE_COLUMNS | {"fills": False},
        MORE_COLUMNS | {"higher_timeframes": ("H1",)},
        MORE_COLUMNS | {"higher_timeframes": ("D1", "H1")},
        MORE_COLUMNS | {"indicators": ()},
        MORE_COLUMNS | {"indicators": ("ema", "rsi")},
        MORE_COLUMNS | {"price_types": ("bid",)},
    ],
)
def test_other_columns_than_asked_for(fake: stream_factory.Fake, columns: dict[str, Any]) -> None:
    schema = stream_factory.schema(**columns)
    fake.out(b"".join(stream_factory.encode(schema, [stream_factory.batch(schema, 0, 5)])))
    refused(fake, "not the one asked for: its columns are", **MORE)


@pytest.mark.parametrize("name", ["bid_timestamp", "H1_ask_timestamp", "ind_rsi", "D1_valid_bid"])
def test_a_column_of_another_type(fake: stream_factory.Fake, name: str) -> None:
    schema = stream_factory.schema(**MORE_COLUMNS)
    other = schema.set(schema.get_field_index(name), pa.field(name, pa.int64()))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, other):
        pass
    fake.out(sink.getvalue().to_pybytes())
    refused(fake, "not the one asked for: its columns are", **MORE)


def _half(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(0, batch.num_rows - 1)


def _replaced(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    columns = [column if field == name else batch.column(field) for field in batch.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _disordered(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.take(pa.array([1, 0, *range(2, batch.num_rows)]))


def _backwards(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(
        pa.concat_arrays([batch.slice(3, 3).to_struct_array(), batch.slice(0, 3).to_struct_array()])
    ).replace_schema_metadata(batch.schema.metadata)


def _torn(batch: pa.RecordBatch) -> pa.RecordBatch:
    stamps = batch.column("timestamp").cast(pa.int64()).to_pylist()
    stamps[1] += 1
    return _replaced(batch, "timestamp", pa.array(stamps).cast(batch.schema.field("timestamp").type))


def _holed(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _replaced(batch, "bid_high", pa.array([None] + [1.0] * (batch.num_rows - 1)))


def _holed_higher_timeframe(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _replaced(batch, "H1_ask_low", pa.array([None] + [1.0] * (batch.num_rows - 1)))


def _unstamped(batch: pa.RecordBatch, name: str = "bid_timestamp") -> pa.RecordBatch:
    stamps = [None, *batch.column(name).to_pylist()[1:]]
    return _replaced(batch, name, pa.array(stamps, batch.schema.field(name).type))


def _unstamped_higher_timeframe(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _unstamped(batch, "H1_bid_timestamp")


def _unknown_if_valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _replaced(batch, "H1_valid_ask", pa.array([None] + [True] * (batch.num_rows - 1)))


def _undated(batch: pa.RecordBatch) -> pa.RecordBatch:
    stamps = [None, *batch.column("timestamp").to_pylist()[1:]]
    return _replaced(batch, "timestamp", pa.array(stamps, batch.schema.field("timestamp").type))


def _renamed(batch: pa.RecordBatch) -> pa.RecordBatch:
    other = pa.DictionaryArray.from_arrays(batch.column("symbol").indices, pa.array(["A", "B", "C"]))
    return _replaced(batch, "symbol", other)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_half, "no multiple of its 3 symbols"),
        (_disordered, "order of its symbols"),
        (_renamed, "order of its symbols"),
        (_backwards, "do not increase"),
        (_torn, "differ in their timestamps"),
        (_holed, "M1 bid columns disagree"),
        (_holed_higher_timeframe, "H1 ask columns disagree"),
        (_unstamped, "M1 bid columns disagree"),
        (_unstamped_higher_timeframe, "H1 bid columns disagree"),
        (_unknown_if_valid, "H1_valid_ask holds nulls"),
        (_undated, "holds nulls"),
    ],
)
def test_rows_of_another_kind(
    fake: stream_factory.Fake, spoil: Callable[[pa.RecordBatch], pa.RecordBatch], match: str
) -> None:
    schema = stream_factory.schema(**MORE_COLUMNS)
    # Without the promise of no nulls, so that it can be broken.
    loose = pa.schema([field.with_nullable(True) for field in schema], schema.metadata)
    good, bad = stream_factory.batch(schema, 0, 2), spoil(stream_factory.batch(schema, 2, 2).cast(loose))
    messages = stream_factory.encode(schema, [good, pa.RecordBatch.from_arrays(bad.columns, schema=schema)])
    fake.out(b"".join(messages))
    refused(fake, match, **MORE)


def test_a_batch_that_steps_back(fake: stream_factory.Fake) -> None:
    schema = stream_factory.schema()
    fake.out(
        b"".join(
            stream_factory.encode(schema, [stream_factory.batch(schema, 0, 2), stream_factory.batch(schema, 1, 2)])
        )
    )
    refused(fake, "do not increase")


@pytest.mark.parametrize("told", [{"slices": SLICES + 1}, {"first_timestamp_ns": 0}, {"last_timestamp_ns": None}])
def test_a_report_that_does_not_agree(fake: stream_factory.Fake, told: dict[str, Any]) -> None:
    fake.out(b"".join(stream())).err(stream_factory.report_line(SLICES, **told))
    refused(fake, "the producer reports")
