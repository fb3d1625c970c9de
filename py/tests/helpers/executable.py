"""The executable under test."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path


def executable() -> Path:
    """Return what `OMEGA_SLICES_BINARY` names, or the executable of the running environment.

    A test that needs it fails where it is missing.
    """
    named = os.environ.get("OMEGA_SLICES_BINARY")
    path = Path(named) if named else Path(sysconfig.get_path("scripts")) / "omega-slices"
    assert os.access(path, os.X_OK), f"there is no executable {path}: run scripts/check, or set OMEGA_SLICES_BINARY"
    return path.absolute()
