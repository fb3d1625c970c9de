"""The report of a run as its reader makes it, and its agreement with the producer's.

Owns what counts as read, and what both must agree on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from omega_slices._model.schema import TIMESTAMP_COLUMN
from omega_slices.errors import DeserializationError

if TYPE_CHECKING:
    import pyarrow as pa

    from omega_slices._model.report import RunReport

_AGREED = ("slices", "first_timestamp_ns", "last_timestamp_ns")


def with_batch(report: RunReport, batch: pa.RecordBatch, slices: int, last_ns: int) -> RunReport:
    """Return the report after one more batch, which holds whole slices."""
    first_ns = report.first_timestamp_ns
    return replace(
        report,
        slices=report.slices + slices,
        batches=report.batches + 1,
        first_timestamp_ns=batch.column(TIMESTAMP_COLUMN)[0].value if first_ns is None else first_ns,
        last_timestamp_ns=last_ns,
    )


def completed(seen: RunReport, told: RunReport | None) -> RunReport:
    """Return the report of a complete run, with the series that the producer reports.

    Parameters
    ----------
    seen : RunReport
        What was read.
    told : RunReport or None
        The producer's report, if it wrote one.

    Raises
    ------
    DeserializationError
        The two do not agree.
    """
    if told is None:
        return replace(seen, complete=True)
    for field in _AGREED:
        if getattr(told, field) != getattr(seen, field):
            raise DeserializationError(
                f"the producer reports {field}={getattr(told, field)}, but {getattr(seen, field)} was read",
                hint="this is a defect of the program that wrote the stream; please report it",
            )
    return replace(seen, series=told.series, complete=True, temporary_bytes=told.temporary_bytes)
