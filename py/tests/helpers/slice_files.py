"""A small file of slices in every form, as the tests of tables share it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import stream_factory
from omega_slices import (
    DeserializationError,
    read_slices,
)

SCHEMA = stream_factory.schema()


MINUTE = stream_factory.MINUTE_NS


START = stream_factory.START_NS


# Seven slices in three batches, with a gap of five minutes before the last batch.
BATCHES = [stream_factory.batch(SCHEMA, 0, 3), stream_factory.batch(SCHEMA, 3, 2), stream_factory.batch(SCHEMA, 10, 2)]


STAMPS = [START + minute * MINUTE for minute in (0, 1, 2, 3, 4, 10, 11)]


def write(folder: Path, data: bytes, name: str = "x.arrow") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def stream(**options: Any) -> bytes:
    return b"".join(stream_factory.encode(SCHEMA, BATCHES, **options))


FORMS: dict[str, Callable[[], bytes]] = {
    "file": lambda: stream_factory.encode_file(SCHEMA, BATCHES),
    "lz4": lambda: stream_factory.encode_file(SCHEMA, BATCHES, compression="lz4"),
    "zstd": lambda: stream_factory.encode_file(SCHEMA, BATCHES, compression="zstd"),
    "stream": stream,
}


def refused(path: Path, match: str) -> DeserializationError:
    with pytest.raises(DeserializationError, match=match) as caught:
        list(read_slices(path))
    assert caught.value.code == 3006
    assert caught.value.file == str(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value
