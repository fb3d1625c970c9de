"""Paths: which texts name a file of this machine or an object, and what tells a file from what it becomes.

Owns which URIs there are, for every argument that is a path, and the identity of a file.
Opens nothing.
"""

from __future__ import annotations

import os
import re
from typing import Final

from omega_slices.errors import RequestError, UnsupportedInputError

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKETS: Final = ("s3", "gs", "az")
_WEB: Final = ("http", "https")
_SUPPORTED: Final = "s3://, gs://, az://, http://, https:// and file://"


def is_remote(path: str) -> bool:
    """Return whether a path names an object in a bucket or on a web server."""
    match = _SCHEME.match(path)
    return match is not None and match[1] in (*_BUCKETS, *_WEB)


def local_form(path: str) -> str:
    """Return the path that a ``file://`` URI names, taken literally; any other text as it is."""
    after = path.removeprefix("file://").removeprefix("localhost")
    return after if path.startswith("file://") and after.startswith("/") else path


def check_readable(path: str) -> None:
    """Check that a path is a local one, or the URI of an object that can be read.

    Raises
    ------
    UnsupportedInputError
        It is a URI of another scheme.
    RequestError
        The URI names no bucket or server, or holds a password or a query.

    Examples
    --------
    >>> check_readable("s3://bucket/candles")
    >>> check_readable("hdfs://host/candles")
    Traceback (most recent call last):
        ...
    omega_slices.errors.UnsupportedInputError: cannot read 'hdfs://host/candles': the scheme 'hdfs' is not supported
    """
    match = _SCHEME.match(path)
    if match is None:
        return
    scheme, rest = match[1], path[match.end() :]
    server = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in server:
        # Not the text itself, which may hold a password.
        raise RequestError(
            f"cannot read a {scheme} URI: it holds a user name or password",
            hint="leave them out, and give what is secret as storage_options",
        )
    if scheme in (*_BUCKETS, *_WEB) and not server:
        raise RequestError(f"cannot read {path!r}: it names no bucket or server", hint="write it as s3://bucket/folder")
    if scheme in _WEB and re.search(r"[?#*]", rest):
        raise RequestError(
            f"cannot read a {scheme} URI: it holds a query, a fragment or a *",
            hint="name each file on a web server in full",
        )
    if scheme == "file":
        raise RequestError(
            f"cannot read {path!r}: it names a file of another machine", hint="write file:///folder/file, or a path"
        )
    if scheme not in (*_BUCKETS, *_WEB):
        raise UnsupportedInputError(
            f"cannot read {path!r}: the scheme {scheme!r} is not supported",
            hint=f"give a local path, or one of {_SUPPORTED}",
            file=path,
        )


def check_writable(path: str) -> None:
    """Check that a path is a local one, or the URI of an object that can be written.

    Raises
    ------
    UnsupportedInputError, RequestError
        As `check_readable`; the latter also for a web server.
    """
    check_readable(path)
    if (match := _SCHEME.match(path)) is not None and match[1] in _WEB:
        raise RequestError(f"cannot write to {path!r}: {match[1]} can only be read", hint="give a bucket or a folder")


def check_local(path: str, what: str) -> None:
    """Check that a path is one of this machine.

    Raises
    ------
    UnsupportedInputError
        It is a URI; the message says what needs a local one.
    """
    if (match := _SCHEME.match(path)) is not None:
        raise UnsupportedInputError(
            f"cannot read {path!r}: {what} reads no URI, and the scheme is {match[1]!r}",
            hint="use the executable, or give the path of a copy on this machine",
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
