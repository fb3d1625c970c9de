"""How names of files spell symbols and timeframes.

Owns the rules between the text in a name and the symbol that it means, both ways.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

# What no name of a file holds.
_OUTSIDE: Final = frozenset("/\0")

_FIELD: Final = re.compile(r"\{([a-z]+)\}")
_ENCODED: Final = re.compile(r"=\{symbol\}")


def encodes_symbol(template: str | None) -> bool:
    """Return whether the symbol is the value of a ``key=value`` folder, where it is percent-encoded.

    Examples
    --------
    >>> encodes_symbol("{root}/symbol={symbol}/*.parquet"), encodes_symbol("{root}/{symbol}.parquet")
    (True, False)
    """
    # Whether it is a text is checked elsewhere.
    return isinstance(template, str) and _ENCODED.search(template) is not None


class _Shape(NamedTuple):
    """Fields with texts around them: the one before the first, and those behind each."""

    texts: tuple[str, ...]
    fields: tuple[str, ...]

    @classmethod
    def parse(cls, shape: str) -> _Shape | None:
        parts = _FIELD.split(shape)
        texts, fields = tuple(parts[::2]), tuple(parts[1::2])
        # Fields that touch cannot be told apart.
        is_sound = bool(fields) and len(set(fields)) == len(fields) and all(texts[1:-1])
        return cls(texts, fields) if is_sound and set("{}").isdisjoint("".join(texts)) else None

    def fields_in(self, text: str) -> dict[str, str] | None:
        """Return the fields of a text of this shape; none of them holds a text between fields."""
        between = self.texts[1:-1]
        pattern = "(.+?)".join(map(re.escape, self.texts))
        match = re.fullmatch(pattern, text, re.DOTALL)
        if match is None or any(one in value for value in match.groups() for one in between):
            return None
        return dict(zip(self.fields, match.groups(), strict=True))

    def filled(self, fields: dict[str, str]) -> str:
        behind = (fields[name] + text for name, text in zip(self.fields, self.texts[1:], strict=True))
        return self.texts[0] + "".join(behind)


class Rewrite(NamedTuple):
    """A rule such as ``{a}_{b} = {a}/{b}``: what a name spells, and the symbol that it means."""

    text: _Shape
    symbol: _Shape

    @classmethod
    def parse(cls, rule: str) -> Rewrite:
        """Read a rule.

        Raises
        ------
        RequestError
            It has another form.
        """
        text, equals, symbol = rule.partition(" = ")
        spelled, meant = _Shape.parse(text.strip()), _Shape.parse(symbol.strip())
        if equals and spelled is not None and meant is not None:
            is_name = all(_OUTSIDE.isdisjoint(one) for one in spelled.texts)
            if is_name and set(spelled.fields) == set(meant.fields):
                return cls(spelled, meant)
        raise RequestError(
            f"invalid rule for symbols {rule!r}: expected one such as '{{a}}_{{b}} = {{a}}/{{b}}'",
            hint="both sides have the same fields, each once, with text between them",
        )


class Naming:
    """How names spell symbols: by a separator in the place of a slash, or by rules.

    Parameters
    ----------
    separator : str or None
    rules : iterable of str
        The first that fits counts.

    Examples
    --------
    >>> naming = Naming("_", ())
    >>> naming.symbol("BTC_USDT"), naming.texts("BTC/USDT"), naming.texts("BTC_USDT")
    ('BTC/USDT', ['BTC_USDT'], [])
    """

    def __init__(self, separator: str | None, rules: Iterable[str]) -> None:
        if separator is not None and (not separator or not _OUTSIDE.isdisjoint(separator)):
            raise RequestError(f"invalid separator of symbols {separator!r}", hint="write a text such as '_' or '-'")
        self._separator = separator
        self._rules = tuple(map(Rewrite.parse, rules))

    @cached_property
    def spells_symbols(self) -> bool:
        """Whether a symbol may hold a slash."""
        return self._separator is not None or bool(self._rules)

    def symbol(self, text: str) -> str:
        """Return the symbol that a text in a name means."""
        for rule in self._rules:
            fields = rule.text.fields_in(text)
            if fields is not None:
                return rule.symbol.filled(fields)
        return text if self._separator is None else text.replace(self._separator, "/")

    def texts(self, symbol: str) -> list[str]:
        """Return the texts that mean a symbol, each once; usually there is one."""
        found = [
            rule.text.filled(fields) for rule in self._rules if (fields := rule.symbol.fields_in(symbol)) is not None
        ]
        found.append(symbol if self._separator is None else symbol.replace("/", self._separator))
        return [text for text in dict.fromkeys(found) if is_name_part(text) and self.symbol(text) == symbol]


def is_name_part(text: str) -> bool:
    """Return whether a text can stand in the name of a file; dots alone would lead to another folder."""
    return text not in ("", ".", "..") and _OUTSIDE.isdisjoint(text)


def zone_of_symbol(zones: Iterable[tuple[str, str]], symbol: str) -> str | None:
    """Return the zone of the first pattern that fits a symbol; ``*`` stands for any text.

    Examples
    --------
    >>> zone_of_symbol([("*.PA", "Europe/Paris")], "MC.PA")
    'Europe/Paris'
    """
    for pattern, zone in zones:
        if re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), symbol, re.DOTALL):
            return zone
    return None
