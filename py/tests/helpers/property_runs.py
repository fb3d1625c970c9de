"""What the property tests share: worlds on the disk, and how many examples are tried."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings

from helpers.oracle import timeframe_ns
from helpers.worlds import World
from omega_slices import Request

FIRST_NS = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z


FACTOR = int(os.environ.get("OMEGA_PROPERTY_EXAMPLES", "1"))


def examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the settings of a property that is tried on `number` examples in the usual run."""
    return settings(
        max_examples=number * FACTOR,
        derandomize=FACTOR == 1,
        deadline=None,  # a process is started per example
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@contextmanager
def built(world: World) -> Iterator[Request]:
    """Write a world into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield world.build(Path(folder))


def floored(timestamp_ns: int, timeframe: str) -> int:
    """Return where the candle begins that a timestamp lies in, counted from 1970.

    Weeks begin on Monday.
    """
    origin_ns = -3 * 86_400 * 10**9 if timeframe.startswith("W") else 0
    return timestamp_ns - (timestamp_ns - origin_ns) % timeframe_ns(timeframe)


MINUTE_NS = 60 * 10**9
