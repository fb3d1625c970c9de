"""Producers that fail: none of them may look like the end of the data, none may leave anything behind."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import wire

from omega_slices import (
    BackendUnavailableError,
    DeserializationError,
    ErrorCode,
    IteratorExhaustedError,
    MultiSymbolSlice,
    SliceStream,
    SymbolNotFoundError,
    UnsortedInputError,
    open_slices,
)
from omega_slices._backends import process

SLICES = 40

# Options that bring columns, and the columns that they bring.
MORE: dict[str, Any] = {
    "fill": "forward",
    "max_age": "5bars",
    "with_timeframe": ["H1", "D1:max-age=3d"],
    "indicators": ["rsi", "ema"],
}
MORE_COLUMNS: dict[str, Any] = {"fills": True, "further": ("H1", "D1"), "indicators": ("rsi", "ema")}


def open_fake(**options: Any) -> SliceStream:
    return open_slices("unused", symbols=wire.SYMBOLS, backend="rust", **options)


def stream(*, seal: bool = True, batches: int = 4) -> list[bytes]:
    """Return the messages of a stream of 40 slices."""
    schema = wire.schema()
    per_batch = SLICES // batches
    return wire.encode(schema, [wire.batch(schema, n * per_batch, per_batch) for n in range(batches)], seal=seal)


def read_all(**options: Any) -> int:
    with open_fake(**options) as slices:
        return sum(1 for _ in slices)


def refused(fake: wire.Fake, match: str, **options: Any) -> DeserializationError:
    """Check that the fake's stream raises, and goes on raising, with nothing left behind."""
    opened: list[SliceStream] = []
    read: list[MultiSymbolSlice] = []

    def read_to_the_end() -> None:
        opened.append(open_fake(**options))
        read.extend(opened[0])

    with pytest.raises(DeserializationError, match=match) as caught:
        read_to_the_end()
    assert len(read) <= SLICES
    assert not fake.is_running()
    assert wire.threads_left() == []
    if opened:
        (slices,) = opened
        for again in (lambda: next(slices), slices.peek, lambda: slices.skip(0), lambda: list(slices.batches())):
            with pytest.raises(DeserializationError, match=match):
                again()
        assert not slices.report.complete
    return caught.value


def test_a_complete_stream_is_read_to_its_end(fake: wire.Fake) -> None:
    fake.out(b"".join(stream())).err(wire.report_line(SLICES))
    with open_fake() as slices:
        assert sum(1 for _ in slices) == SLICES
        assert next(slices, None) is None
        assert slices.report.complete
        assert not fake.is_running()
        assert wire.threads_left() == []
    assert next(slices, None) is None
    assert list(slices.batches()) == []
    assert slices.peek() == []


def test_an_empty_stream_is_complete(fake: wire.Fake) -> None:
    fake.out(b"".join(wire.encode(wire.schema(), []))).err(wire.report_line(0))
    with open_fake() as slices:
        assert slices.peek(3) == []
        assert list(slices) == []
        assert slices.report.complete


@pytest.mark.parametrize("message", range(8))
def test_a_cut_between_two_messages(fake: wire.Fake, message: int) -> None:
    messages = stream()
    assert len(messages) == 8  # schema, dictionary, four batches, seal, end of stream
    fake.out(b"".join(messages[:message]))
    refused(fake, "seal|marker|no stream came")


@pytest.mark.parametrize("nth", range(24))
def test_a_cut_anywhere(fake: wire.Fake, nth: int) -> None:
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
    refused(fake, "cannot be read|no stream came|cut off")


def test_a_stream_without_a_seal(fake: wire.Fake) -> None:
    fake.out(b"".join(stream(seal=False)))
    refused(fake, "ends without its seal.*exit status 0")


def test_a_stream_without_its_end(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:-1]))
    refused(fake, "no end-of-stream marker.*exit status 0")


def test_rows_after_the_seal(fake: wire.Fake) -> None:
    schema = wire.schema()
    rows = wire.batch(schema, 0, 1)
    fake.out(b"".join(wire.encode(schema, [rows, rows.slice(0, 0), wire.batch(schema, 1, 1)])))
    refused(fake, "goes on after its seal")


def test_a_second_seal(fake: wire.Fake) -> None:
    schema = wire.schema()
    rows = wire.batch(schema, 0, 1)
    fake.out(b"".join(wire.encode(schema, [rows, rows.slice(0, 0)])))
    refused(fake, "goes on after its seal")


def test_bytes_after_the_end(fake: wire.Fake) -> None:
    fake.out(b"".join(stream())).out(b"\0")
    refused(fake, "bytes after the end")


@pytest.mark.parametrize("status", [1, 2, 3, 101])
@pytest.mark.parametrize("whole", [True, False])
def test_an_exit_status(fake: wire.Fake, status: int, *, whole: bool) -> None:
    messages = stream()
    fake.out(b"".join(messages if whole else messages[:4])).err("panicked at the end").exit(status)
    error = refused(fake, f"ended with exit status {status}")
    assert "panicked at the end" in str(error)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
@pytest.mark.parametrize("messages", [0, 1, 4, 8])
def test_a_signal(fake: wire.Fake, number: signal.Signals, messages: int) -> None:
    fake.out(b"".join(stream()[:messages])).die(number)
    error = refused(fake, f"signal {int(number)} .{number.name}")
    assert error.code is ErrorCode.DESERIALIZATION_ERROR
    if number == signal.SIGKILL:
        assert error.hint == "memory may have run out"


def test_a_producer_killed_while_it_is_read(fake: wire.Fake) -> None:
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
def test_the_producers_own_word_comes_first(fake: wire.Fake, messages: int) -> None:
    fake.out(b"".join(stream()[:messages])).err(json.dumps(ERROR)).err("more words").exit(3)
    with pytest.raises(UnsortedInputError) as caught:
        read_all()
    error = caught.value
    assert (error.message, error.hint, error.file, error.row) == (ERROR["message"], "sort it", "a.parquet", 7)
    assert (error.symbol, error.price_type, error.column) == ("EURUSD", "bid", None)
    assert not fake.is_running()


def test_an_error_known_at_the_start_is_raised_by_opening(fake: wire.Fake) -> None:
    fake.err(json.dumps(ERROR | {"code": 3001, "symbol": "XYZ"})).exit(3)
    with pytest.raises(SymbolNotFoundError) as caught:
        open_fake()
    assert caught.value.symbol == "XYZ"
    assert not fake.is_running()


def test_an_error_with_exit_status_0_is_an_error(fake: wire.Fake) -> None:
    fake.out(b"".join(stream())).err(json.dumps(ERROR))
    with pytest.raises(UnsortedInputError):
        read_all()


def test_something_else_than_a_stream(fake: wire.Fake) -> None:
    fake.out(b"Usage: something else entirely\n" * 100)
    refused(fake, "no stream came")


def test_something_else_than_a_stream_without_end(fake: wire.Fake) -> None:
    fake.out(b"Usage: something else entirely\n" * 100).hang()
    refused(fake, "no stream came.*still running")


@pytest.mark.parametrize(
    ("schema", "match"),
    [
        (wire.schema(schema_name="other"), "named 'other'"),
        (wire.schema(schema_version="2.0.0"), "version '2.0.0'"),
        (wire.schema(timeframe="M5"), "timeframe is 'M5'"),
        (wire.schema(symbols="[1]"), "metadata"),
        (wire.schema(symbols="nonsense"), "metadata"),
        (wire.schema().remove_metadata(), "metadata"),
        (wire.schema(tuple(reversed(wire.SYMBOLS))), "symbols are"),
        (wire.schema(price_types=["bid"]), "columns are"),
        (wire.schema(price_types=["ask", "bid"]), "columns are"),
        (wire.schema(price_types=["bid", "ask", "trade"]), "columns are"),
        (wire.schema().remove(3), "columns are"),
    ],
)
def test_a_schema_of_another_kind(fake: wire.Fake, schema: pa.Schema, match: str) -> None:
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, schema).close()
    fake.out(sink.getvalue().to_pybytes()).hang()
    error = refused(fake, match)
    assert "same release" in str(error)


def test_a_later_minor_version_is_read(fake: wire.Fake) -> None:
    schema = wire.schema(schema_version="1.7.0")
    fake.out(b"".join(wire.encode(schema, [wire.batch(schema, 0, 5)])))
    assert read_all() == 5


def test_all_columns_that_were_asked_for(fake: wire.Fake) -> None:
    schema = wire.schema(**MORE_COLUMNS)
    batches = [wire.batch(schema, first, 5, missing=0.3, nan=0.1, carried=0.3) for first in (0, 5)]
    fake.out(b"".join(wire.encode(schema, batches)))
    with open_fake(**MORE) as slices:
        assert slices.timeframes == ("H1", "D1")
        assert slices.indicators == ("rsi", "ema")
        assert slices.schema == schema
        read = list(slices)
    assert [one.timestamp_ns for one in read] == [wire.START_NS + minute * wire.MINUTE_NS for minute in range(10)]
    assert {tuple(one["EURUSD"].candles) for one in read} == {("H1", "D1")}


@pytest.mark.parametrize(
    "columns",
    [
        {},
        MORE_COLUMNS | {"fills": False},
        MORE_COLUMNS | {"further": ("H1",)},
        MORE_COLUMNS | {"further": ("D1", "H1")},
        MORE_COLUMNS | {"indicators": ()},
        MORE_COLUMNS | {"indicators": ("ema", "rsi")},
        MORE_COLUMNS | {"price_types": ("bid",)},
    ],
)
def test_other_columns_than_asked_for(fake: wire.Fake, columns: dict[str, Any]) -> None:
    schema = wire.schema(**columns)
    fake.out(b"".join(wire.encode(schema, [wire.batch(schema, 0, 5)])))
    refused(fake, "not the one asked for: its columns are", **MORE)


@pytest.mark.parametrize("name", ["bid_timestamp", "H1_ask_timestamp", "ind_rsi", "D1_valid_bid"])
def test_a_column_of_another_type(fake: wire.Fake, name: str) -> None:
    schema = wire.schema(**MORE_COLUMNS)
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


def _holed_further(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _replaced(batch, "H1_ask_low", pa.array([None] + [1.0] * (batch.num_rows - 1)))


def _unstamped(batch: pa.RecordBatch, name: str = "bid_timestamp") -> pa.RecordBatch:
    stamps = [None, *batch.column(name).to_pylist()[1:]]
    return _replaced(batch, name, pa.array(stamps, batch.schema.field(name).type))


def _unstamped_further(batch: pa.RecordBatch) -> pa.RecordBatch:
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
        (_holed_further, "H1 ask columns disagree"),
        (_unstamped, "M1 bid columns disagree"),
        (_unstamped_further, "H1 bid columns disagree"),
        (_unknown_if_valid, "H1_valid_ask holds nulls"),
        (_undated, "holds nulls"),
    ],
)
def test_rows_of_another_kind(fake: wire.Fake, spoil: Callable[[pa.RecordBatch], pa.RecordBatch], match: str) -> None:
    schema = wire.schema(**MORE_COLUMNS)
    # Without the promise of no nulls, so that it can be broken.
    loose = pa.schema([field.with_nullable(True) for field in schema], schema.metadata)
    good, bad = wire.batch(schema, 0, 2), spoil(wire.batch(schema, 2, 2).cast(loose))
    messages = wire.encode(schema, [good, pa.RecordBatch.from_arrays(bad.columns, schema=schema)])
    fake.out(b"".join(messages))
    refused(fake, match, **MORE)


def test_a_batch_that_steps_back(fake: wire.Fake) -> None:
    schema = wire.schema()
    fake.out(b"".join(wire.encode(schema, [wire.batch(schema, 0, 2), wire.batch(schema, 1, 2)])))
    refused(fake, "do not increase")


@pytest.mark.parametrize("told", [{"slices": SLICES + 1}, {"first_timestamp_ns": 0}, {"last_timestamp_ns": None}])
def test_a_report_that_does_not_agree(fake: wire.Fake, told: dict[str, Any]) -> None:
    fake.out(b"".join(stream())).err(wire.report_line(SLICES, **told))
    refused(fake, "the producer reports")


def test_floods_of_messages_do_not_block(fake: wire.Fake, caplog: pytest.LogCaptureFixture) -> None:
    warning = json.dumps({"kind": "warning", "name": "UNSORTED_INPUT", "message": "sorted", "file": "f"})
    messages = stream()
    fake.err("x" * 1000, 3000).out(messages[0]).err(warning, 3).err("{" * 100, 3000).err(warning).out(
        b"".join(messages[1:])
    )
    fake.err('{"kind": "warning"}').err('{"kind": "report", "slices": "many"}').err("\udcff"[:0]).err(
        wire.report_line(SLICES)
    )
    with open_fake() as slices:
        assert sum(1 for _ in slices) == SLICES
    assert slices.report.complete
    assert [warning.name for warning in slices.report.warnings] == ["UNSORTED_INPUT"] * 4
    assert slices.report.warnings[0].file == "f"
    assert caplog.messages == ["UNSORTED_INPUT: sorted"] * 4
    assert {record.name for record in caplog.records} == {"omega_slices"}


def test_what_is_kept_of_messages_is_bounded(fake: wire.Fake) -> None:
    fake.err("y" * 100_000, 200).exit(9)
    assert len(str(refused(fake, "exit status 9"))) < 200_000


def test_closing_early_ends_the_process(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    slices = open_fake()
    first = next(slices)
    slices.close()
    slices.close()
    assert not fake.is_running()
    assert wire.threads_left() == []
    # What was taken stays valid.
    assert first.get_price("EURUSD", "bid") == first.column("bid_close")[0]
    for way in (lambda: next(slices), slices.peek, lambda: slices.skip(1), lambda: list(slices.batches())):
        with pytest.raises(IteratorExhaustedError) as caught:
            way()
        assert caught.value.code is ErrorCode.ITERATOR_EXHAUSTED
    assert slices.symbols == wire.SYMBOLS
    assert not slices.report.complete


def test_a_stubborn_process_is_killed(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang(stubborn=True)
    with open_fake() as slices:
        next(slices)
        time.sleep(0.1)  # so that it has come to ignore SIGTERM
        started = time.monotonic()
    assert time.monotonic() - started < 4 * process._GRACE_S + 2
    assert not fake.is_running()


def test_a_writing_process_sees_that_nobody_reads(fake: wire.Fake) -> None:
    schema = wire.schema()
    many = wire.encode(schema, [wire.batch(schema, n * 2000, 2000) for n in range(20)])
    assert sum(map(len, many)) > 4 * process._CHANNEL_BYTES
    fake.out(b"".join(many))
    with open_fake() as slices:
        next(slices)
        started = time.monotonic()
    # By itself, long before anybody loses patience.
    assert time.monotonic() - started < process._GRACE_S
    assert not fake.is_running()


def test_leaving_the_loop_leaves_nothing(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()

    def strategy() -> None:
        with open_fake() as slices:
            for current in slices:
                raise ZeroDivisionError(current)

    with pytest.raises(ZeroDivisionError):
        strategy()
    assert not fake.is_running()


def test_a_forgotten_stream_is_collected(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    # filterwarnings = error: a leaked process or pipe would fail the test.
    kept = next(open_fake())
    gc.collect()
    assert not fake.is_running()
    assert wire.threads_left() == []
    assert kept.get("EURUSD") is not None


def test_an_interpreter_that_ends_takes_the_process_along(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    program = (
        "from omega_slices import open_slices\n"
        f"slices = open_slices('unused', symbols={wire.SYMBOLS!r}, backend='rust')\n"
        "print(next(slices).symbols)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ended.stdout.strip() == str(wire.SYMBOLS)
    assert ended.stderr == ""
    assert not fake.is_running()


def test_an_interrupt_closes_the_stream(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:4])).hang()
    slices = open_fake()
    slices.skip(20)
    interrupts = []

    def interrupt(_number: int, _frame: object) -> None:
        interrupts.append(1)
        if len(interrupts) == 1:
            raise KeyboardInterrupt

    # A handler of our own: polars, where it has been imported, asks for reads to go on after a signal.
    before = signal.signal(signal.SIGINT, interrupt)
    done = threading.Event()

    def send(thread: int) -> None:
        # Again and again: a signal that comes just before the read begins does not end it.  To the
        # thread that waits: another one would take note of it, but not end the waiting.
        while not done.wait(0.3):
            signal.pthread_kill(thread, signal.SIGINT)

    sender = threading.Thread(target=send, args=(threading.get_ident(),))
    sender.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(slices)
    finally:
        done.set()
        sender.join()
        signal.signal(signal.SIGINT, before)
    assert not fake.is_running()
    with pytest.raises(IteratorExhaustedError, match="given up"):
        next(slices)


def test_a_process_that_does_not_exit(fake: wire.Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_EXIT_TIMEOUT_S", 0.3)
    fake.out(b"".join(stream())).err("waiting").close_out().hang()
    error = refused(fake, "was still running and has been ended")
    assert "waiting" in str(error)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a sign of life no longer than half a second."""
    monkeypatch.setattr(process, "_SILENCE_MAX_S", 0.5)
    monkeypatch.setattr(process, "_WAIT_S", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("messages", [0, 1, 4])
def test_a_process_that_gives_no_sign_of_life(fake: wire.Fake, messages: int) -> None:
    fake.out(b"".join(stream()[:messages])).hang()
    refused(fake, "not even a sign of life.*still running and has been ended")


@pytest.mark.usefixtures("impatient")
def test_a_process_that_stops_within_a_message(fake: wire.Fake) -> None:
    fake.out(b"".join(stream())[:-100]).hang()
    refused(fake, "not even a sign of life")


@pytest.mark.usefixtures("impatient")
def test_a_slow_process_that_gives_signs_of_life(fake: wire.Fake) -> None:
    messages = stream()
    fake.out(b"".join(messages[:4]))
    for _ in range(15):
        fake.err('{"kind": "alive"}').sleep(0.1)
    fake.out(b"".join(messages[4:]))
    assert read_all() == SLICES


def test_many_streams_at_once(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()))
    streams = [open_fake() for _ in range(12)]
    assert {len([next(one) for one in streams]) for _ in range(SLICES)} == {12}
    assert [next(one, None) for one in streams] == [None] * 12


def test_a_file_that_is_no_program(fake: wire.Fake) -> None:
    (fake.folder / "omega-slices").write_bytes(b"\0\1\2\3")
    with pytest.raises(BackendUnavailableError, match="cannot run"):
        open_fake()


def test_the_consumer_of_an_arrow_stream_sees_the_failure(fake: wire.Fake) -> None:
    fake.out(b"".join(stream()[:4])).err(json.dumps(ERROR)).exit(3)
    slices = open_fake()
    with pytest.raises(pa.ArrowException, match=r"row 7 of a\.parquet is out of order"):
        pa.table(slices)
    with pytest.raises(UnsortedInputError):
        next(slices)
