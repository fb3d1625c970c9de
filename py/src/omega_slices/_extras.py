"""Libraries that are not dependencies of this package, imported where a caller asks for them.

Owns the error for one that is missing or too old.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from types import ModuleType


def library(name: str, *, minimum: str = "0", install: str | None = None, package: str | None = None) -> ModuleType:
    """Import a library.

    Parameters
    ----------
    name : str
        The module.
    minimum : str
        The oldest version that does: numbers with dots between them.
    install : str, optional
        What to install for it; by default the package.
    package : str, optional
        The package that holds the module, where it has another name.

    Returns
    -------
    module

    Raises
    ------
    RequestError
        It is missing or too old.
    """
    package = package or name
    hint = f'install it: pip install "{install or f"{package}>={minimum}"}"'
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != name.split(".", maxsplit=1)[0]:
            raise  # of a library that this one lacks in its turn
        raise _MissingLibraryError(f"{package} is not installed", hint=hint) from None
    try:
        installed = version(package)
    except PackageNotFoundError:  # not installed as a package, and so of no known version
        return module
    if _numbers(installed) < _numbers(minimum):
        raise _MissingLibraryError(f"{package} {installed} is too old: {minimum} is the oldest that does", hint=hint)
    return module


class _MissingLibraryError(RequestError, ImportError):
    """For code that knows imports, but not this package."""


def _numbers(text: str) -> list[int]:
    found = re.match(r"\d+(\.\d+)*", text)
    return [] if found is None else [int(number) for number in found[0].split(".")]
