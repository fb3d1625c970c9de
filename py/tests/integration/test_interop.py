"""The stream in the hands of others: they take it as it is, values, nulls and all."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import stream_factory

from omega_slices import SliceStream, open_slices

COUNT = 12


@pytest.fixture
def stream(fake: stream_factory.Fake) -> Iterator[SliceStream]:
    """A stream of 12 slices in three batches, with missing candles."""
    schema = stream_factory.schema()
    batches = [stream_factory.batch(schema, first, 4, missing=0.3) for first in (0, 4, 8)]
    fake.out(b"".join(stream_factory.encode(schema, batches))).err(stream_factory.report_line(COUNT))
    with open_slices("unused", symbols=stream_factory.SYMBOLS, backend="rust") as slices:
        yield slices


def expected(first: int = 0) -> pa.Table:
    schema = stream_factory.schema()
    batches = [stream_factory.batch(schema, start, 4, missing=0.3) for start in (0, 4, 8)]
    return pa.Table.from_batches(batches).slice(first * len(stream_factory.SYMBOLS))


def test_pyarrow(stream: SliceStream) -> None:
    table = pa.table(stream)
    assert table.equals(expected())
    assert table.schema.equals(stream.schema, check_metadata=True)
    assert stream.report.complete


def test_a_reader_takes_batch_by_batch(stream: SliceStream) -> None:
    reader = pa.RecordBatchReader.from_stream(stream)
    assert reader.read_next_batch().num_rows == 4 * len(stream_factory.SYMBOLS)
    assert stream.report.slices == 4
    assert reader.read_all().num_rows == 8 * len(stream_factory.SYMBOLS)
    reader.close()


def test_a_stream_that_was_iterated_gives_the_rest(stream: SliceStream) -> None:
    stream.skip(3)
    next(stream)
    stream.peek(6)
    assert pa.table(stream).equals(expected(4))


def test_a_schema_may_be_asked_for(stream: SliceStream) -> None:
    plain = pa.schema(
        [field.with_type(pa.utf8()) if field.name == "symbol" else field for field in stream.schema],
        metadata=stream.schema.metadata,
    )
    reader = pa.RecordBatchReader.from_stream(stream, schema=plain)
    assert reader.schema.field("symbol").type == pa.utf8()
    assert reader.read_all().num_rows == COUNT * len(stream_factory.SYMBOLS)
    reader.close()


def test_polars(stream: SliceStream) -> None:
    frame = pl.DataFrame(stream)
    assert frame.shape == (COUNT * len(stream_factory.SYMBOLS), len(stream_factory.schema()))
    table = expected()
    for name in ("bid_close", "ask_volume", "valid_bid"):
        assert frame[name].to_list() == table[name].to_pylist()
    assert frame["symbol"].cast(pl.String).to_list() == list(stream_factory.SYMBOLS) * COUNT
    assert frame["timestamp"].dtype == pl.Datetime("ns", "UTC")
    assert frame["bid_close"].null_count() == table["bid_close"].null_count > 0


def test_pandas(stream: SliceStream) -> None:
    frame = pd.DataFrame.from_arrow(stream)
    assert len(frame) == COUNT * len(stream_factory.SYMBOLS)
    told = [math.nan if value is None else value for value in expected()["bid_close"].to_pylist()]
    np.testing.assert_array_equal(frame["bid_close"].to_numpy(), told)
    assert str(frame["timestamp"].dt.tz) == "UTC"
