"""The independent reference: a second answer to every request, in plain Python.

Owns what people may import of it; the work is done in `omega_slices._reference`.
"""

from omega_slices._reference.run import ReferenceCell, ReferenceRun, open_reference, timestamp_range
from omega_slices._reference.run import series_errors as series_errors  # noqa: PLC0414  # for tests; not in `__all__`

__all__ = ["ReferenceCell", "ReferenceRun", "open_reference", "timestamp_range"]
