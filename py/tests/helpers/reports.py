"""Reports of runs, as two implementations may be compared by them."""

from __future__ import annotations

import msgspec

from omega_slices import RunReport


def without_words(report: RunReport) -> RunReport:
    """Return a report whose warnings have no words, which each implementation chooses by itself."""
    warnings = tuple(msgspec.structs.replace(warning, message="") for warning in report.warnings)
    return msgspec.structs.replace(report, warnings=warnings)
