"""Reading objects as files: who fetches them is named by a higher layer."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from omega_slices._model.storage import StorageOptions

    Fetcher = Callable[[str, StorageOptions | None], IO[bytes]]

_fetchers: list[Fetcher] = []


def set_fetcher(fetcher: Fetcher) -> None:
    """Say who makes a temporary file of an object; an empty one where there is none."""
    _fetchers[:] = [fetcher]


def fetched(uri: str, storage: StorageOptions | None) -> IO[bytes]:
    """Return a temporary file that holds an object; an empty one where there is none."""
    (fetcher,) = _fetchers
    return fetcher(uri, storage)
