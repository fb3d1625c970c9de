"""Hints of the executable in the words of Python.

Owns the way from flags of the command line to arguments of `open_slices`.  Everything that
knows how the executable words a hint is here.
"""

from __future__ import annotations

import re
from typing import Final

# Options of the command line that stand by themselves.
_FLAGS: Final = {
    "--follow-links": "follow_links=True",
    "--all-symbols": "symbols=None",
    "--normalize": "normalize=True",
    "--one-instrument": "one_instrument=True",
    "--strict": "strict=True",
}


def hint_in_python(hint: str | None) -> str | None:
    """Return a hint of the executable with its options called as the arguments of `open_slices`."""
    if hint is None:
        return None
    return re.sub(
        r"(?<![\w-])--[a-z]+(?:-[a-z]+)*",
        lambda option: _FLAGS.get(option[0]) or option[0].removeprefix("--").replace("-", "_") + "=",
        hint,
    )
