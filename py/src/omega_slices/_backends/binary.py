"""Finding the executable that does the work.

Owns the places where it may lie, and their order.  The places of this very installation come
first.  Those of the running environment count only where the package is not installed.  The
search path of the shell is not among them, so an executable of another version is never
picked up by chance.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from omega_slices.errors import BackendUnavailableError

BINARY_VARIABLE: Final = "OMEGA_SLICES_BINARY"
_DISTRIBUTION: Final = "omega-slices"

# Below PREFIX: where environments keep packages (some Linux systems: lib64, dist-packages).
_SITE: Final = re.compile(r"(?P<prefix>.*)/lib(?:64)?/(?:python|pypy)[0-9.]*t?/(?:site|dist)-packages")


def binary_override() -> str | None:
    """Return what the environment names as the executable; None where it is unset or empty."""
    return os.environ.get(BINARY_VARIABLE) or None


def find_binary() -> Path:
    """Return the path of the `omega-slices` executable.

    The environment variable `OMEGA_SLICES_BINARY` alone decides where it is set.
    A package in ``PREFIX/lib/python3.x/site-packages`` uses ``PREFIX/bin``, whatever
    environment runs it: another one may be layered on top, as ``uv run --with`` does.
    Then comes ``bin`` beside the package, as ``pip install --target`` makes it, and the
    file that the installation recorded.  Where the package lies in no such PREFIX, the
    scripts folders of the running environment and of the user come last.

    Returns
    -------
    pathlib.Path
        An absolute path.

    Raises
    ------
    BackendUnavailableError
        No place holds it (the message lists them), or the environment variable names
        something that cannot be executed.
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
    searched: dict[Path, None] = {}
    for path in _candidates():
        if _is_executable(path):
            return path
        searched[path] = None
    raise BackendUnavailableError(
        f"cannot find the omega-slices executable: searched {', '.join(map(str, searched))}",
        hint=f"install the package with its executable (pip install), or let {BINARY_VARIABLE} name one",
    )


def _candidates() -> Iterator[Path]:
    name = "omega-slices" + (sysconfig.get_config_var("EXE") or "")
    site = Path(__file__).absolute().parents[2]
    prefix = _SITE.fullmatch(site.as_posix())
    if prefix is not None:
        yield Path(prefix["prefix"] or "/") / "bin" / name
    yield site / "bin" / name
    yield from _recorded(site, name)
    # Elsewhere lies the executable of another installation, if any.
    if prefix is None:
        yield Path(sysconfig.get_path("scripts")) / name
        yield Path(sysconfig.get_path("scripts", scheme=sysconfig.get_preferred_scheme("user"))) / name


def _recorded(site: Path, name: str) -> Iterator[Path]:
    """Yield where the installation of this package put the executable, if it is still that file."""
    for one in distributions(name=_DISTRIBUTION):
        files = one.files or []
        if not _is_own(one, site):
            continue
        for file in files:
            path = Path(os.path.normpath(str(file.locate())))
            # A record may be outdated, or written for another folder (`pip install --target`).
            if file.name == name and path.is_file() and file.size in (None, path.stat().st_size):
                yield path
        return


def _is_own(one: Distribution, site: Path) -> bool:
    """Return whether an installation is that of this package.

    It lies beside it, or is an editable one.
    """
    folder = Path(str(one.locate_file(""))).resolve()
    holds_package = any(file.parts[:2] == ("omega_slices", "__init__.py") for file in one.files or [])
    return folder == site.resolve() or not holds_package


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
