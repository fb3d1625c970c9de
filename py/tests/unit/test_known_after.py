"""When candles are known.

What the metadata say of it, and what streams, tables and cursors make of that.
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import stream_factory

from omega_slices import DeserializationError, assert_slices_equal, open_slices, read_slices
from omega_slices._arrow.schema_check import check_schema
from omega_slices._model.request_parser import make_request
from omega_slices._model.schema import known_after_ns, stream_schema

HOUR_NS = 3_600 * 10**9
# The day of New York is over 29 hours after the midnight UTC of its date, in winter.
AFTER_NS = 29 * HOUR_NS
OF = stream_factory.schema(schema_version="1.1.0", known_after_ns=str(AFTER_NS))
BATCHES = [stream_factory.batch(OF, first, 3) for first in (0, 3)]
EXPECTED = [stream_factory.START_NS + minute * stream_factory.MINUTE_NS + AFTER_NS for minute in range(6)]


@pytest.fixture(params=["x.arrow", "x.arrows"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    path.write_bytes(
        stream_factory.encode_file(OF, BATCHES)
        if path.suffix == ".arrow"
        else b"".join(stream_factory.encode(OF, BATCHES))
    )
    return path


def test_a_stream_is_known_when_it_says(fake: stream_factory.Fake) -> None:
    fake.out(b"".join(stream_factory.encode(OF, BATCHES)))
    with open_slices("data", symbols=stream_factory.SYMBOLS) as slices:
        ahead = slices.peek(6)
        known = np.concatenate([slices.known_at(batch) for batch in slices.batches()])
    assert [one.known_at_ns for one in ahead] == known.astype(np.int64).tolist() == EXPECTED
    assert ahead[0].known_at.isoformat() == "2024-01-03T05:00:00+00:00"


def test_a_file_is_known_when_it_says(path: Path) -> None:
    table = read_slices(path)
    cursor = table.cursor()
    assert [one.known_at_ns for one in table] == EXPECTED
    assert [cursor.set_index(position).known_at_ns for position in range(6)] == EXPECTED
    assert [one.known_at_ns for one in table[2:]] == EXPECTED[2:]
    assert table.at(table[3].timestamp_ns).known_at_ns == cursor.set_index(3).to_slice().known_at_ns == EXPECTED[3]


def test_copies_know_it_too(path: Path) -> None:
    one = read_slices(path)[1]
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert other.known_at == one.known_at


def test_other_tools_keep_it(path: Path) -> None:
    schema = pa.table(read_slices(path)).schema
    assert schema.metadata[b"known_after_ns"] == str(AFTER_NS).encode()


def test_slices_are_equal_whenever_they_are_known(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.arrow"
    plain = stream_factory.schema()
    other.write_bytes(stream_factory.encode_file(plain, [stream_factory.batch(plain, first, 3) for first in (0, 3)]))
    assert_slices_equal(path, other)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", " 1", "1e9", "01", str(2**63), "9" * 5_000, "٣"])
def test_what_is_no_such_time(fake: stream_factory.Fake, tmp_path: Path, text: str) -> None:
    wrong = stream_factory.schema(schema_version="1.1.0", known_after_ns=text)
    batches = [stream_factory.batch(wrong, 0, 3)]
    fake.out(b"".join(stream_factory.encode(wrong, batches)))
    with pytest.raises(DeserializationError, match="known_after_ns"):
        open_slices("data", symbols=stream_factory.SYMBOLS)
    (tmp_path / "x.arrow").write_bytes(stream_factory.encode_file(wrong, batches))
    with pytest.raises(DeserializationError, match="known_after_ns"):
        read_slices(tmp_path / "x.arrow")


def test_the_version_says_whether_it_is_there() -> None:
    request = make_request("root", symbols=["A"], timeframe="D1", days="local")
    for given, version in ((None, "1.0.0"), (AFTER_NS, "1.1.0")):
        schema = stream_schema(request, ("A",), "test", given)
        assert check_schema(schema, request) == ("A",)
        assert known_after_ns(schema) == given
        assert schema.metadata[b"schema_version"].decode() == version
        assert (b"known_after_ns" in schema.metadata) == (given is not None)


def write_days(root: Path, symbol: str, zone: str) -> None:
    """Write a week of days, stamped when they begin in a zone."""
    days = [day.value for day in pd.date_range("2024-07-01", "2024-07-05", tz=zone)]
    stamps = pa.array(days, pa.int64()).cast(pa.timestamp("ns", zone))
    (root / symbol).mkdir(parents=True)
    columns = dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), pa.array(np.arange(5.0)))
    pq.write_table(pa.table({"UTC time": stamps} | columns), root / symbol / f"{symbol}_D1_BID.parquet")


@pytest.mark.parametrize("backend", ["rust", "python", "shadow"])
@pytest.mark.parametrize(
    ("zones", "options", "hours"),
    [
        # The smallest offset of the year and of every other one since 1970 counts, not that of the
        # data.
        (["America/New_York"], {"days": "local"}, 29),
        (["Asia/Tokyo"], {"days": "local"}, 15),
        (["Europe/Paris"], {"days": "local"}, 23),
        (["Asia/Tokyo", "America/New_York"], {"days": "local"}, 29),
        (["UTC"], {"days": "local"}, 24),
        (["UTC"], {"days": "local", "zone": "Europe/London", "normalize": True}, 24),
        (["Asia/Tokyo"], {"days": "utc"}, None),
        (["Asia/Tokyo"], {}, None),
    ],
)
def test_the_day_is_over_where_it_ends_last(
    tmp_path: Path, binary: Path, backend: str, zones: list[str], options: dict[str, Any], hours: int | None
) -> None:
    for number, zone in enumerate(zones):
        write_days(tmp_path, f"S{number}", zone)
    asked: dict[str, Any] = {"price_types": ["bid"], "timeframe": "1d"} | options
    with open_slices(tmp_path, **asked, backend=backend) as slices:
        metadata = slices.schema.metadata
        found = list(slices)
    assert metadata.get(b"known_after_ns") == (None if hours is None else str(hours * HOUR_NS).encode())
    assert metadata[b"schema_version"] == (b"1.0.0" if hours is None else b"1.1.0")
    assert len(found) == 5
    assert {one.known_at_ns - one.timestamp_ns for one in found} == {(hours or 24) * HOUR_NS}
    if options.get("days") == "local":
        assert [f"{one.timestamp:%d %H:%M}" for one in found] == [f"0{day} 00:00" for day in range(1, 6)]
