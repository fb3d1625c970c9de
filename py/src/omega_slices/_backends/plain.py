"""The plain Python implementation as a backend: its slices, put into record batches.

Owns the way from the reference's cells to columns.  The only product module that imports
the reference.
"""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from omega_slices._backends.source import EndedRun
from omega_slices._model.candle import CandleData
from omega_slices._model.schema import SYMBOL_COLUMN, TIMESTAMP_COLUMN, indicator_column, stream_schema, stream_spec
from omega_slices._model.times import NS_MAX, NS_MIN
from omega_slices._reference.run import open_reference, timestamp_range
from omega_slices.errors import error_from_warning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omega_slices._model.options import Permissions
    from omega_slices._model.request import Request
    from omega_slices._model.schema import CandleColumns
    from omega_slices._reference.run import ReferenceCell


# Rows of one batch of the reference, or one slice where that is more.
_REFERENCE_BATCH_ROWS: Final = 16_384


def reference_range_ns(request: Request, permissions: Permissions) -> tuple[int, int] | None:
    """Return the smallest and the largest timestamp of a request's files, by the reference.

    Returns
    -------
    (int, int), or None
        Nanoseconds since 1970, as rows are stamped; None where there are no rows.

    Raises
    ------
    OmegaSlicesError
        A series has no file, or what is in it cannot be read.
    """
    return timestamp_range(request, follow_links=permissions.follow_links)


class ReferenceSource(EndedRun):
    """The slices of the reference implementation, put into batches of the stream's schema."""

    def __init__(
        self,
        request: Request,
        sessions: Sequence[tuple[int, int]] | None = None,
        *,
        follow_links: bool = False,
        strict: bool = False,
        part: tuple[int, int] = (NS_MIN, NS_MAX),
    ) -> None:
        """Answer a request, or a part of it, as `open_reference` takes them.

        Raises
        ------
        OmegaSlicesError
            What the reference found wrong; with `strict` also its first warning.
        """
        run = open_reference(request, sessions, follow_links=follow_links, part=part)
        self._spec = stream_spec(request)
        self._report = run.report()
        self._warnings = self._report.warnings
        if strict and self._warnings:
            raise error_from_warning(**msgspec.structs.asdict(self._warnings[0]))
        self._steps = iter(run)
        self.symbols = run.symbols
        producer = f"omega-slices-python/{_version()}"
        self.schema: pa.Schema = stream_schema(request, self.symbols, producer, run.known_after_ns)

    def read(self) -> pa.RecordBatch | None:
        """Return the next batch, or None at the end of the slices."""
        slices_max = max(1, _REFERENCE_BATCH_ROWS // len(self.symbols))
        steps = list(islice(self._steps, slices_max))
        return self._encode(steps) if steps else None

    def close(self) -> None:
        """Let go of the slices that were not read."""
        self._steps = iter(())

    def _encode(self, steps: list[tuple[int, list[ReferenceCell]]]) -> pa.RecordBatch:
        width, spec = len(self.symbols), self._spec
        timestamps = np.repeat(np.array([timestamp_ns for timestamp_ns, _ in steps], np.int64), width)
        positions = np.tile(np.arange(width, dtype=np.int16), len(steps))
        cells = [cell for _, step in steps for cell in step]
        columns = {
            TIMESTAMP_COLUMN: pa.array(timestamps).cast(self.schema.field(TIMESTAMP_COLUMN).type),
            SYMBOL_COLUMN: pa.DictionaryArray.from_arrays(pa.array(positions), pa.array(self.symbols, pa.string())),
        }
        for (timeframe, side), names in spec.candles.items():
            shown = (cell.candles if timeframe == spec.timeframe else cell.further[timeframe] for cell in cells)
            columns |= _candle_columns(names, spec.fields, [candles[side] for candles in shown])
        for name in spec.indicators:
            values = [cell.indicators[name] for cell in cells]
            bitmap = _bitmap([value is not None for value in values])
            floats = np.array([math.nan if value is None else value for value in values], np.float64)
            columns[indicator_column(name)] = _column(pa.float64(), bitmap, floats)
        return pa.record_batch([columns[name] for name in self.schema.names], schema=self.schema)


def _candle_columns(
    names: CandleColumns, fields: tuple[str, ...], candles: list[CandleData | None]
) -> dict[str, pa.Array]:
    bitmap = _bitmap([candle is not None for candle in candles])
    # A value under a null is NaN, so that a column can be read without looking at its bitmap.
    rows = [[math.nan if candle is None else getattr(candle, field) for field in fields] for candle in candles]
    values = np.array(rows, np.float64)
    columns = {name: _column(pa.float64(), bitmap, field) for name, field in zip(names.values, values.T, strict=True)}
    if names.absent is not None:
        # The volume comes last.
        columns[names.absent] = _column(pa.float64(), _bitmap([False] * len(rows)), values.T[-1])
        rows = [row[:-1] for row in rows]
    columns[names.valid] = pa.array([all(map(math.isfinite, row)) for row in rows])
    if names.timestamp is not None:
        timestamps = np.array([0 if candle is None else candle.timestamp_ns for candle in candles], np.int64)
        columns[names.timestamp] = _column(pa.timestamp("ns", "UTC"), bitmap, timestamps)
    return columns


def _bitmap(present: list[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(present), bitorder="little"))


def _column(kind: pa.DataType, bitmap: pa.Buffer, values: np.ndarray[Any, Any]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def _version() -> str:
    try:
        return version("omega-slices")
    except PackageNotFoundError:  # run from the source tree
        return "unknown"
