"""Hints of the executable in the words of Python.

Owns how an argument of `open_slices` is spelled.  A hint comes as a list of parts: texts, and
settings with their names, so that each interface spells the settings in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Settings of the command line that have another name in Python.
_OTHER_NAMES: Final = {"all_symbols": "symbols=None"}

# Settings whose values the executable writes as a list with commas.
_LISTS: Final = frozenset({"fields", "indicators", "price_types", "symbols"})

# Settings whose values the executable writes as `name=value`, with commas between.
_MAPPINGS: Final = frozenset({"columns"})

_NUMBERS: Final = frozenset({"threads"})


def hint_in_python(hint: str | None, parts: object) -> str | None:
    """Return a hint of the executable with its settings as arguments of `open_slices`.

    Parameters
    ----------
    hint : str or None
        The hint in the words of the command line.
    parts : object
        The hint's parts as decoded from JSON: each a text, or an object with ``setting``,
        ``value`` and ``switch``.  Without parts, or where one is neither, the hint stays as
        it is.
    """
    if hint is None or not isinstance(parts, list):
        return hint
    words: list[str] = []
    for part in parts:
        if isinstance(part, str):
            words.append(part)
        elif isinstance(part, Mapping) and isinstance(part.get("setting"), str):
            words.append(_argument(part["setting"], part.get("value"), is_switch=part.get("switch") is True))
        else:
            return hint
    return "".join(words)


def _argument(name: str, value: object, *, is_switch: bool) -> str:
    """Return a setting as it stands in a call."""
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    if is_switch:
        return f"{name}=True"
    if not isinstance(value, str):
        return f"{name}="
    return f"{name}={_literal(name, value)}"


def _literal(name: str, value: str) -> str:
    """Return a value as a literal of the type that the argument takes."""
    if name in _NUMBERS:
        return value
    if name in _LISTS:
        return repr(value.split(","))
    if name in _MAPPINGS:
        pairs = (pair.partition("=") for pair in value.split(","))
        return repr({key: column for key, _, column in pairs})
    return repr(value)
