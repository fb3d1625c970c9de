"""Streams of the stand-in for the executable, whole or not, and what reading them must raise."""

from __future__ import annotations

from typing import Any

import pytest

from helpers import stream_factory
from omega_slices import (
    DeserializationError,
    MultiSymbolSlice,
    SliceStream,
    open_slices,
)

SLICES = 40


def open_fake(**options: Any) -> SliceStream:
    return open_slices("unused", symbols=stream_factory.SYMBOLS, backend="rust", **options)


def stream(*, seal: bool = True, batches: int = 4) -> list[bytes]:
    """Return the messages of a stream of 40 slices."""
    schema = stream_factory.schema()
    per_batch = SLICES // batches
    return stream_factory.encode(
        schema, [stream_factory.batch(schema, n * per_batch, per_batch) for n in range(batches)], seal=seal
    )


def read_all(**options: Any) -> int:
    with open_fake(**options) as slices:
        return sum(1 for _ in slices)


def refused(fake: stream_factory.Fake, match: str, **options: Any) -> DeserializationError:
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
    assert stream_factory.threads_left() == []
    if opened:
        (slices,) = opened
        for again in (lambda: next(slices), slices.peek, lambda: slices.skip(0), lambda: list(slices.batches())):
            with pytest.raises(DeserializationError, match=match):
                again()
        assert not slices.report.complete
    return caught.value
