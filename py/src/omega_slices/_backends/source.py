"""What a stream reads from: the interface of all backends.

Owns the order: the schema first, then batches with rows, then a proper end or an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from omega_slices._model.report import RunReport, RunWarning

if TYPE_CHECKING:
    from collections.abc import Sequence


class Source(Protocol):
    """What a stream reads from."""

    schema: pa.Schema
    symbols: tuple[str, ...]

    def read(self) -> pa.RecordBatch | None:
        """Return the next batch, which has rows; None at the proper end.

        Raises
        ------
        OmegaSlicesError
            The stream cannot be completed.
        """

    def take_warnings(self) -> Sequence[RunWarning]:
        """Return the warnings that were not returned before."""

    def report(self) -> RunReport | None:
        """Return what the producer says of the whole run, after its end.

        None where it says nothing.
        """

    def close(self) -> None:
        """Give everything back; may be called again."""


class EndedRun:
    """What a run said of itself that had ended before anything of it is read."""

    _report: RunReport
    _warnings: Sequence[RunWarning]

    def take_warnings(self) -> Sequence[RunWarning]:
        """Return the warnings, which are all there from the start; once."""
        new, self._warnings = self._warnings, ()
        return new

    def report(self) -> RunReport | None:
        """Return the run's report."""
        return self._report
