"""Slices made from a record batch, as unit tests share them."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
from helpers import stream_factory

from omega_slices import (
    MultiSymbolSlice,
)
from omega_slices._model.schema import StreamSpec
from omega_slices._slices.batch import SliceBatch
from omega_slices._slices.layout import SliceLayout
from omega_slices._slices.slice import slices_of

SIDES = ("bid", "ask", "trade")


def spec(schema: pa.Schema, timeframe: str = "M1") -> StreamSpec:
    """Read off a schema what the slices hold."""
    return StreamSpec(
        timeframe,
        tuple(name.removeprefix("valid_") for name in schema.names if name.startswith("valid_")),
        fills=any(f"{side}_timestamp" in schema.names for side in SIDES),
        higher_timeframes=tuple(
            dict.fromkeys(name.split("_")[0] for name in schema.names if re.match("[A-Z][0-9]+_valid_", name))
        ),
        indicators=tuple(name.removeprefix("ind_") for name in schema.names if name.startswith("ind_")),
    )


def view(batch: pa.RecordBatch, symbols: tuple[str, ...], timeframe: str = "M1") -> list[MultiSymbolSlice]:
    """Return the slices of a batch."""
    return list(slices_of(SliceBatch(batch, SliceLayout(symbols, spec(batch.schema, timeframe)))))


def one_slice(**options: Any) -> MultiSymbolSlice:
    return view(stream_factory.batch(stream_factory.schema(), 0, 1, **options), stream_factory.SYMBOLS)[0]
