"""How storage is reached: options that may be secret.

Owns their form, and that they never show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from omega_slices.errors import RequestError

STORAGE_VARIABLE: Final = "OMEGA_STORAGE_OPTIONS"
"""What hands the options to the executable: never its arguments, which others can see."""


class StorageOptions:
    """Options of storage by their names.  Shows names alone, wherever it is printed."""

    __slots__ = ("_options",)

    def __init__(self, options: Mapping[str, str]) -> None:
        """Take options as they are."""
        self._options = dict(options)

    def __repr__(self) -> str:
        """Return the names."""
        return f"<StorageOptions {', '.join(sorted(self._options)) or 'none'}>"

    def __eq__(self, other: object) -> bool:
        """Return whether another one reaches the same in the same way."""
        return isinstance(other, StorageOptions) and self._options == other._options

    def __hash__(self) -> int:
        """Return a hash of the names."""
        return hash(frozenset(self._options))

    def __reduce__(self) -> tuple[object, ...]:
        """Return what a worker needs to reach it too."""
        return StorageOptions, (self._options,)

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of the executable holds."""
        return {STORAGE_VARIABLE: msgspec.json.encode(self._options).decode()}


def checked_storage(options: object) -> StorageOptions | None:
    """Return the options of a caller; None where there are none.

    Raises
    ------
    RequestError
        They are no mapping of texts.  The message names no value.
    """
    if options is None or isinstance(options, StorageOptions):
        return options
    are_texts = isinstance(options, Mapping) and all(
        isinstance(one, str) and "\0" not in one for pair in options.items() for one in pair
    )
    if not are_texts:
        raise RequestError(
            "invalid storage_options: expected a mapping of texts to texts",
            hint='give them as {"aws_region": "eu-west-1", "allow_http": "true"}',
        )
    assert isinstance(options, Mapping)
    return StorageOptions(options) if options else None
