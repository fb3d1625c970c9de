"""Paths: which texts name a file of this machine, and what tells a file from what it becomes.

Owns the check for URIs, for every argument that is a path, and the identity of a file.
Opens nothing.
"""

from __future__ import annotations

import os
import re
from typing import Final

from omega_slices.errors import UnsupportedInputError

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def check_local(path: str) -> None:
    """Check that a path is one of this machine's file systems.

    Raises
    ------
    UnsupportedInputError
        It is a URI, of whatever scheme.

    Examples
    --------
    >>> check_local("s3://bucket/candles")
    Traceback (most recent call last):
        ...
    omega_slices.errors.UnsupportedInputError: cannot read 's3://bucket/candles': the scheme 's3' is not supported
    """
    if (match := _SCHEME.match(path)) is not None:
        raise UnsupportedInputError(
            f"cannot read {path!r}: the scheme {match[1]!r} is not supported",
            hint="copy the files to this machine, and give their path",
            file=path,
        )


def file_identity(path: str) -> tuple[int, ...] | None:
    """Return what tells whether a path still names the very same, unchanged file.

    Returns
    -------
    tuple of int, or None
        Device, inode, size and time of modification; None where there is no such file.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
