"""From a request to the backend that answers it.

Owns the fallback: the plain implementation replaces the executable only where `auto` is
asked for and there is no executable, and says so.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from omega_slices._backends.binary import binary_override, find_binary
from omega_slices._backends.cached import CachedSource
from omega_slices._backends.inputs import inputs_of
from omega_slices._backends.pipe import BinarySource
from omega_slices._backends.plain import ReferenceSource, reference_range_ns
from omega_slices._backends.shadow import ShadowSource
from omega_slices._calendars import calendar_sessions
from omega_slices._model.options import CacheOptions, Permissions
from omega_slices._model.paths import check_local
from omega_slices._monitor import StreamMonitor, logger
from omega_slices.errors import BackendUnavailableError, RequestError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from omega_slices._backends.choice import BackendChoice
    from omega_slices._backends.source import Source
    from omega_slices._model.options import ExecutionOptions
    from omega_slices._model.request import Request


# From `_find_binary` up to the line that calls `open_slices`.
_CALLER_OF_OPEN_SLICES: Final = 4


class ResolvedBackend(NamedTuple):
    """Who answers a request and why, by which executable, and how to open it."""

    backend: str
    reason: str
    executable: str | None
    open: Callable[[StreamMonitor], Source]


def resolve_backend(chosen: BackendChoice, request: Request, options: ExecutionOptions) -> ResolvedBackend:
    """Return what answers a request.

    Raises
    ------
    RequestError
        A cache is asked for beside the plain implementation.
    BackendUnavailableError
        There is no executable, and `auto` was not asked for.
    """
    permissions, cache = options.permissions, options.cache
    if chosen.backend == "python" and cache is not None:
        if chosen.by_argument:
            raise RequestError(
                "backend='python' has no cache: the executable makes and keeps its files",
                hint="use backend='rust', or leave cache= out",
            )
        # An environment variable cannot change the code that asks for a cache.
        logger.warning("%s does not use the cache %s", chosen.reason, printable(repr(cache.folder)))
    if chosen.backend in ("python", "shadow"):
        _check_paths_local(request, chosen.backend)
    binary = _find_binary(chosen, cache)
    if binary is None:
        _check_paths_local(request, "python")
    sessions = calendar_sessions_of(request, binary, permissions)
    reference = partial(ReferenceSource, request, sessions, follow_links=permissions.follow_links)

    def plain(_monitor: StreamMonitor) -> Source:
        return reference(strict=permissions.strict)

    if binary is None:
        reason = chosen.reason if chosen.backend == "python" else f"{chosen.reason}, and there is no executable"
        return ResolvedBackend("python", reason, None, plain)

    def executable(_monitor: StreamMonitor) -> Source:
        source = BinarySource if cache is None else CachedSource
        return source(binary, request, options, sessions)

    def both(monitor: StreamMonitor) -> Source:
        return ShadowSource(
            executable(monitor),
            lambda part: reference(part=part),
            request,
            options.shadow_sample,
            monitor.compared,
            lambda: inputs_of(binary, request, permissions).paths,
        )

    if chosen.backend == "shadow":
        return ResolvedBackend("shadow", chosen.reason, str(binary), both)
    return ResolvedBackend("rust", chosen.reason, str(binary), executable)


def _check_paths_local(request: Request, backend: str) -> None:
    """Check that the plain implementation can read what the request names."""
    for path in (request.data, request.path_template, request.indicator_template, request.session_file, request.inputs):
        if path is not None:
            check_local(path, f"the backend {backend!r}")


def _find_binary(chosen: BackendChoice, cache: CacheOptions | None) -> Path | None:
    """Return the executable; None where the plain implementation does the work."""
    if chosen.backend == "python":
        return None
    try:
        return find_binary()
    except BackendUnavailableError as error:
        # An executable that was named, but cannot be used, is a mistake of the caller.
        if chosen.backend != "auto" or binary_override() is not None:
            raise
        unused = "" if cache is None else f" and does not use the cache {cache.folder!r}"
        text = printable(f"using the plain Python implementation, which is slow{unused}: {error.message}; {error.hint}")
        logger.warning("%s", text)
        # Beside the log, which many programs do not show.
        warnings.warn(text, UserWarning, stacklevel=_CALLER_OF_OPEN_SLICES)
        return None


def calendar_sessions_of(
    request: Request, binary: Path | None, permissions: Permissions
) -> Sequence[tuple[int, int]] | None:
    """Return the sessions of the request's market calendar, where it names one."""
    if request.calendar is None:
        return None
    if binary is None:
        return calendar_sessions(request, reference_range_ns(request, permissions))
    return calendar_sessions(request, inputs_of(binary, request, permissions).range_ns)
