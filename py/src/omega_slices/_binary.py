"""Finding the executable that does the work.

Owns the places where it may lie and their order.  The search path of the shell is
not among them: an executable of another installation, and so of another version,
must never be picked up by chance.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Final

from omega_slices.errors import BackendUnavailableError

BINARY_VARIABLE: Final = "OMEGA_SLICES_BINARY"


def binary_override() -> str | None:
    """Return what the environment names as the executable; None where it is unset or empty."""
    return os.environ.get(BINARY_VARIABLE) or None


def find_binary() -> Path:
    """Return the path of the `omega-slices` executable.

    The environment variable `OMEGA_SLICES_BINARY` alone decides where it is set.
    Otherwise these folders are looked into, in this order: the scripts folder of the
    running environment, that of the user, and a `bin` beside the package, where
    ``pip install --target`` puts it.

    Returns
    -------
    pathlib.Path
        An absolute path.

    Raises
    ------
    BackendUnavailableError
        It is in none of these places (the message lists them), or the environment
        variable names something that cannot be executed.
    """
    override = binary_override()
    if override is not None:
        path = Path(override).absolute()
        if not _is_executable(path):
            reason = "is not executable" if path.exists() else "does not exist"
            raise BackendUnavailableError(
                f"{BINARY_VARIABLE} names {override!r}, which {reason if not path.is_dir() else 'is a folder'}",
                hint=f"let it name the omega-slices executable, or unset {BINARY_VARIABLE} to use the shipped one",
                file=str(path),
            )
        return path
    candidates = _candidates()
    for path in candidates:
        if _is_executable(path):
            return path
    raise BackendUnavailableError(
        "the omega-slices executable was not found; searched were: " + ", ".join(map(str, candidates)),
        hint=f"install the package with its executable (pip install), or let {BINARY_VARIABLE} name one",
    )


def _candidates() -> tuple[Path, ...]:
    name = "omega-slices" + (sysconfig.get_config_var("EXE") or "")
    folders = (
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", scheme=sysconfig.get_preferred_scheme("user")),
        Path(__file__).absolute().parent.parent / "bin",
    )
    return tuple(dict.fromkeys(Path(folder) / name for folder in folders))


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
