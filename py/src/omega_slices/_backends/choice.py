"""Which backend is asked for, and how it is to work: arguments and environment variables.

Owns the variables' names and the defaults.  Whether a backend can be used is not decided
here.
"""

from __future__ import annotations

import os
import re
from typing import Final, Literal, NamedTuple, get_args

from omega_slices._model.checks import checked_count
from omega_slices._model.options import CacheOptions, MemoryOptions
from omega_slices.errors import RequestError

Backend = Literal["auto", "rust", "python", "shadow"]
BACKEND_VARIABLE: Final = "OMEGA_USE_RUST_MULTI_SYMBOL"
SAMPLE_VARIABLE: Final = "OMEGA_SLICES_SHADOW_SAMPLE"

_BACKEND_BY_VARIABLE: Final[dict[str, Backend]] = {
    "auto": "auto",
    "true": "rust",
    "1": "rust",
    "false": "python",
    "0": "python",
    "shadow": "shadow",
}


class BackendChoice(NamedTuple):
    """A backend, what it was chosen by, and whether that is the code that asks."""

    backend: Backend
    reason: str
    by_argument: bool


def choose_backend(backend: str | None) -> BackendChoice:
    if backend is None:
        # An empty variable counts as one that is not set.
        text = os.environ.get(BACKEND_VARIABLE)
        if not text:
            return BackendChoice("auto", "the default", by_argument=False)
        if text not in _BACKEND_BY_VARIABLE:
            raise RequestError(
                f"invalid {BACKEND_VARIABLE}={text!r}: expected one of {', '.join(_BACKEND_BY_VARIABLE)}",
                hint="set it to one of these, or unset it",
            )
        return BackendChoice(_BACKEND_BY_VARIABLE[text], f"{BACKEND_VARIABLE}={text}", by_argument=False)
    match backend:
        case "auto" | "rust" | "python" | "shadow":
            return BackendChoice(backend, f"backend={backend!r}", by_argument=True)
        case _:
            raise RequestError(
                f"invalid backend={backend!r}: expected one of {', '.join(get_args(Backend))}",
                hint="choose one of these",
            )


def parse_shadow_sample(given: float | None, backend: Backend) -> float:
    """Return which part of the slices is compared; the variable counts for shadow runs only."""
    if backend != "shadow":
        if given is None:
            return 1.0
        raise RequestError(f"shadow_sample={given!r} is given without backend='shadow'", hint="leave it out")
    text = os.environ.get(SAMPLE_VARIABLE) or "1"
    try:
        sample = float(text if given is None else given)
    except (TypeError, ValueError):
        sample = 0.0
    if not 0.0 < sample <= 1.0:
        what = f"{SAMPLE_VARIABLE}={text}" if given is None else f"shadow_sample={given!r}"
        raise RequestError(
            f"invalid {what}: expected a number above 0 and up to 1", hint="give the share that is compared, as 0.05"
        )
    return sample


# Bytes, or thousands (kB, MB, …) or 1,024s (KiB, MiB, …) of them.
_SIZE: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?\s*(?:[kmgtpe]i?b?|b)?", re.IGNORECASE)


def parse_cache_options(folder: str | os.PathLike[str] | None, size: str | int | None) -> CacheOptions | None:
    if folder is None:
        if size is not None:
            raise RequestError("cache_size is given without a cache", hint="give cache= too, or leave both out")
        return None
    return CacheOptions(_parse_folder("cache", folder), _parse_size("cache_size", size))


def parse_memory_options(
    memory: str | int | None, temp_dir: str | os.PathLike[str] | None, temp_limit: str | int | None
) -> MemoryOptions:
    return MemoryOptions(
        memory=_parse_size("memory", memory),
        temp_dir=None if temp_dir is None else _parse_folder("temp_dir", temp_dir),
        temp_limit=_parse_size("temp_limit", temp_limit),
    )


def _parse_folder(what: str, folder: str | os.PathLike[str]) -> str:
    try:
        text = os.fsdecode(folder)
    except TypeError:
        text = ""
    if not text or "\0" in text:
        raise RequestError(
            f"invalid {what}={folder!r}: expected the path of a folder", hint="give the folder that keeps the files"
        )
    return text


def _parse_size(what: str, size: str | int | None) -> str | None:
    """Return a size as the executable reads it."""
    if size is None:
        return None
    if not isinstance(size, str):
        return str(checked_count(what, size, 1))
    if _SIZE.fullmatch(size.strip()) is None:
        raise RequestError(
            f"invalid {what}={size!r}: expected a size",
            hint="give a number of bytes, or a text such as '500MB', '2GiB'",
        )
    return size
