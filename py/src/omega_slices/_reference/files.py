"""Files in the reference: which ones a request reads, by its templates or by its list of inputs.

Owns the matching of templates against the disk, and the places where no file may lie.
Decides which symbol owns a file whose name can be read in two ways.  Opens no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import product, takewhile
from typing import Final
from urllib.parse import unquote

from msgspec.structs import replace

from omega_slices._model.candle import PRICE_TYPES
from omega_slices._model.naming import encodes_symbol
from omega_slices._model.request import Request
from omega_slices._reference.inputs import listed_files, listed_symbols
from omega_slices._reference.options import SeriesName, higher_timeframes_of, series_names, wrong
from omega_slices._reference.rows import InputFile
from omega_slices.errors import (
    AmbiguousInputError,
    CorruptInputError,
    InvalidPriceTypeError,
    OmegaSlicesError,
    RequestError,
    SymbolNotFoundError,
    TimeframeNotFoundError,
    UnsupportedInputError,
)

_DEFAULT_TEMPLATES: Final = (
    "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet",
    "{root}/{symbol}/{symbol}_{timeframe}_{side}.parquet",
)

_DEFAULT_INDICATOR_TEMPLATE: Final = "{root}/{symbol}/{symbol}_{timeframe}_IND.parquet"
_ANY: Final = "\0"  # stands for `*` in a pattern: no path holds it, so a `*` in a name stays a literal
_FOLDERS: Final = "\3"  # stands for `**`
_SYMBOL: Final = "\1"  # stands for `{symbol}` likewise
_LOOSE: Final = re.compile(r"\*\{symbol\}|\{symbol\}\*")
_FILES_HINT: Final = "check the data folder and the names of its files"
_PATTERN_HINT: Final = "give symbol_pattern, which says which names are symbols, or name more of the path"
_YEAR: Final = "(?:19|20)[0-9]{2}"
_MONTH: Final = "(?:0[1-9]|1[0-2])"
_DAY: Final = "(?:0[1-9]|[12][0-9]|3[01])"
_DATE: Final = f"(?:{_YEAR}(?:[-_.]{_MONTH}(?:[-_.]{_DAY})?)?|{_YEAR}{_MONTH}(?:{_DAY})?|[0-9]{{2}}{_MONTH}{_DAY})"
_TWO_DATES: Final = re.compile(f"{_DATE}[-_.]{_DATE}")


def resolve_symbols(request: Request) -> tuple[str, ...]:
    """Return the symbols, which the timeline's rule has to suit.

    Raises
    ------
    OmegaSlicesError
        There are none, a template leaves open whose the files are, or the timeline does
        not suit them.
    """
    if request.inputs is None:
        _refuse_loose_templates(request)
    symbols = request.symbols if request.symbols is not None else _all_symbols(request)
    rule, _, rest = request.timeline.partition(":")
    if rule == "leader" and rest not in symbols:
        message = f"the timeline follows {rest}, which is not among the symbols (symbol {rest})"
        raise SymbolNotFoundError(message, hint="lead by a symbol that is asked for", symbol=rest)
    if rule == "quorum" and int(rest) > len(symbols):
        message = f"the timeline asks for {rest} symbols, and there are {len(symbols)}"
        raise RequestError(message, hint=f"ask for quorum:{len(symbols)} at most")
    return symbols


def all_files(request: Request, symbols: tuple[str, ...]) -> dict[SeriesName, list[InputFile]]:
    """Return the files of every series, by the order of their names, or of the list of inputs.

    Raises
    ------
    OmegaSlicesError
        A series has no file, or one that is another symbol's.
    """
    names = series_names(request, symbols)
    if request.inputs is not None:
        return listed_files(request, names)
    return {name: [InputFile(path) for path in _files(request, name)] for name in names}


def check_places(request: Request, name: SeriesName, files: Sequence[InputFile], *, follow_links: bool) -> None:
    """Raise where a file that a template found lies where none may lie."""
    if request.inputs is not None:
        return
    for file in files:
        if not follow_links:
            _check_inside(request, name, file.path)
        _check_tables(request, name, file.path)


# --- Templates ---------------------------------------------------------------------------


def _templates(request: Request, side: str | None) -> tuple[str, ...]:
    if side is None:
        return (request.indicator_template or _DEFAULT_INDICATOR_TEMPLATE,)
    return _DEFAULT_TEMPLATES if request.path_template is None else (request.path_template,)


def _root(request: Request) -> str:
    assert request.data is not None, "a request without a list of inputs has a root"
    return request.data.rstrip("/") or "/"


def _fill(template: str, request: Request, symbol: str, timeframe: str, side: str | None) -> str:
    """Fill in the fields, the symbol by the text that spells it."""
    fields = {"root": _root(request), "symbol": symbol, "timeframe": request.spell.get(timeframe, timeframe)}
    fields |= {"side": side or "", "SIDE": (side or "").upper()}
    # The stars first: one that comes with a field's value is not a wildcard.
    starred = "/".join(_FOLDERS if part == "**" else part.replace("*", _ANY) for part in template.split("/"))
    return re.sub(r"\{(\w+)\}", lambda field: fields[field[1]], starred)


def _matching(pattern: str) -> list[str]:
    """Return the files that match, in the order of their whole names."""
    return [path for path in _paths(pattern) if os.path.isfile(path)]


def _paths(pattern: str) -> list[str]:
    """Return what matches, in order; a wildcard stays within one part, but that of any folders."""
    paths = [""]
    for depth, part in enumerate(pattern.split("/")):
        prefixes = [path + "/" if depth else "" for path in paths]
        if part == _FOLDERS:
            paths = [folder for path in paths for folder in _folders_below(path or ("/" if depth else "."))]
            continue
        if _ANY not in part:
            paths = [prefix + part for prefix in prefixes]
            continue
        expression = re.compile(".*".join(map(re.escape, part.split(_ANY))), re.DOTALL)
        paths = [
            prefix + name
            for prefix in prefixes
            if os.path.isdir(prefix or ".")
            for name in os.listdir(prefix or ".")
            # As in shells, a hidden name is matched by a pattern only that is hidden itself.
            if expression.fullmatch(name) and (part.startswith(".") or not name.startswith("."))
        ]
    return sorted(set(paths))


def _folders_below(folder: str) -> list[str]:
    """Return a folder and those below it, without links and hidden ones."""
    found = [folder]
    for entry in os.scandir(folder) if os.path.isdir(folder) else ():
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            found += _folders_below(f"{folder}/{entry.name}")
    return found


def _files(request: Request, name: SeriesName) -> list[str]:
    """Return the files of one series, or raise what says how much of it is missing."""

    def found(timeframe: str, side: str | None) -> list[tuple[str, str, list[str]]]:
        """Return the first template with files, and for each text that spells the symbol its files."""
        for template in _templates(request, side):
            of_texts = [
                (template, text, _matching(_fill(template, request, text, timeframe, side)))
                for text in _texts(request, template, name.symbol, timeframe, side)
            ]
            if there := [one for one in of_texts if one[2]]:
                return there
        return []

    files: list[str] = []
    for template, text, paths in found(name.timeframe, name.side):
        _check_timeframe(request, name, template, text, paths)
        own = _own_files(request, name, template, text, paths)
        if own and files:
            message = f"ambiguous names: {files[0]} and {own[0]} both spell the symbol {name.symbol!r}"
            raise wrong(AmbiguousInputError, message, "rename one of them", name, own[0])
        files += own
    if files:
        return files
    template = _templates(request, name.side)[0]
    text = next(iter(_texts(request, template, name.symbol, name.timeframe, name.side)), name.symbol)
    path = _fill(template, request, text, name.timeframe, name.side).replace(_ANY, "*").replace(_FOLDERS, "**")
    if name.side is None:
        missing = f"{name.symbol} has no {name.timeframe} indicators"
        hint = f"{_FILES_HINT}, or give an indicator template"
        raise wrong(TimeframeNotFoundError, missing, hint, name, path)
    error: type[OmegaSlicesError] = SymbolNotFoundError
    missing = f"symbol {name.symbol} has no file"
    if any(found(name.timeframe, other) for other in PRICE_TYPES):
        error, missing = (
            InvalidPriceTypeError,
            f"symbol {name.symbol} has {name.timeframe} candles, but not of price type {name.side}",
        )
    elif any(found(_ANY, other) for other in PRICE_TYPES):
        error, missing = TimeframeNotFoundError, f"symbol {name.symbol} has no candles of timeframe {name.timeframe}"
    raise wrong(error, missing, _FILES_HINT, name, path)


# --- What names spell --------------------------------------------------------------------


def _texts(request: Request, template: str, symbol: str, timeframe: str, side: str | None) -> list[str]:
    """Return the texts that spell a symbol in names."""
    if not encodes_symbol(template):
        return request.naming.texts(symbol)
    # Up to the part with the symbol: its folders say how they encode it.
    parts = template.split("/")
    folders = "/".join(parts[: next(at for at, part in enumerate(parts) if "{symbol}" in part) + 1])
    texts: dict[str, str] = {}
    for path in _paths(_fill(folders, request, _ANY, timeframe, side)):
        text = _owner(_readings(request, folders, timeframe, side, path))
        if text is not None:
            _add_symbol(request, template, text, path, texts)
    return [texts[symbol]] if symbol in texts else []


def _add_symbol(request: Request, template: str, text: str, path: str, texts: dict[str, str]) -> None:
    """Add the symbol that a text spells; another text must not spell it too."""
    symbol = _symbol(request, template, text)
    if symbol is None:
        message = f"the name {text!r} of a symbol is not percent-encoded UTF-8"
        raise wrong(CorruptInputError, message, "rename the folder", None, path)
    if texts.setdefault(symbol, text) != text:
        message = f"ambiguous names: {texts[symbol]!r} and {text!r} both spell the symbol {symbol!r} (symbol {symbol})"
        raise AmbiguousInputError(message, hint="rename one of them", file=path, symbol=symbol)


def _symbol(request: Request, template: str, text: str) -> str | None:
    """Return the symbol that a text spells; None where it is no UTF-8 when decoded."""
    decoded = _decoded(template, text)
    return None if decoded is None else request.naming.symbol(decoded)


def _decoded(template: str, text: str) -> str | None:
    if not encodes_symbol(template):
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None


# --- Whose a file is ---------------------------------------------------------------------


def _own_files(request: Request, name: SeriesName, template: str, text: str, paths: list[str]) -> list[str]:
    """Return those files that are the symbol's own; with listed symbols, raise where one is not."""
    if not any("*" in part and "{symbol}" in part for part in template.split("/")):
        return paths
    own = []
    for path in paths:
        owner = _owner(_readings(request, template, name.timeframe, name.side, path))
        if owner is None or owner == text:
            own.append(path)
        elif request.symbols is not None:
            other = _symbol(request, template, owner)
            message = (
                f"ambiguous file name: it matches the symbols {name.symbol} and {other}, and belongs to the latter"
            )
            raise wrong(AmbiguousInputError, message, _PATTERN_HINT, name, path)
    return own


def _readings(request: Request, template: str, timeframe: str, side: str | None, path: str) -> dict[str, str]:
    """Return the symbols for which a template matches a file, each with the rest of the name."""
    pattern = _fill(template, request, _SYMBOL, timeframe, side)
    parts = [pair for pair in _placed(pattern.split("/"), path.split("/")) or [] if _SYMBOL in pair[0]]
    # The part that leaves open where the symbol ends, if one does.
    part, name = next((pair for pair in parts if _ANY in pair[0]), ("", ""))
    found = _remains(part, name)
    if not part:
        one = re.fullmatch(_expression(pattern, "(?P<symbol>[^/]+)"), path) if parts else None
        found = {one["symbol"]: ""} if one else {}
    allowed = re.compile(".*" if request.symbol_pattern is None else request.symbol_pattern, re.DOTALL)
    return {
        symbol: rest
        for symbol, rest in found.items()
        if re.fullmatch(_expression(pattern, f"(?P<symbol>{re.escape(symbol)})"), path)
        and allowed.fullmatch(_decoded(template, symbol) or "")
    }


def _placed(parts: list[str], names: list[str]) -> list[tuple[str, str]] | None:
    """Return the names of a path, each with its part of a pattern, in which open folders are filled in."""
    if not parts:
        return None if names else []
    if parts[0] != _FOLDERS:
        if not names or not re.fullmatch(_expression(parts[0], "[^/]+"), names[0]):
            return None
        rest = _placed(parts[1:], names[1:])
        return None if rest is None else [(parts[0], names[0]), *rest]
    for count in range(len(names) + 1):
        if count and names[count - 1].startswith("."):
            break
        rest = _placed(parts[1:], names[count:])
        if rest is not None:
            return [*((_FOLDERS, name) for name in names[:count]), *rest]
    return None


def _remains(part: str, name: str) -> dict[str, str]:
    """Return every text that may be the symbol in a part of a pattern, each with the rest."""
    before, _, behind = part.partition(_SYMBOL)
    # What is between the symbol and the first star behind it, and what is behind the last one.
    gap, star, more = behind.partition(_ANY)
    last = more.rpartition(_ANY)[2]
    starts = range(len(name)) if _ANY in before else [len(before)]
    found: dict[str, str] = {}
    for start in starts:
        for end in range(start + 1, len(name) + 1):
            symbol, rest = name[start:end], name[end:]
            first, final = gap.replace(_SYMBOL, symbol), last.replace(_SYMBOL, symbol)
            if not star and rest == first:
                found.setdefault(symbol, "")
            elif star and rest.startswith(first) and rest.endswith(final) and len(rest) >= len(first) + len(final):
                found.setdefault(symbol, rest[len(first) : len(rest) - len(final)])
    return found


def _expression(pattern: str, symbol: str) -> str:
    """Return a pattern as a regular expression; its first symbol is a group, others refer to it."""
    whole = symbol.join(re.escape(pattern).split(_SYMBOL, 1))
    whole = whole.replace(f"{_FOLDERS}/", "(?:[^/]+/)*")
    return whole.replace(_SYMBOL, "(?P=symbol)").replace(_ANY, "[^/]*")


def _owner(readings: dict[str, str]) -> str | None:
    """Return whose a file is; None where nothing can be read from its name."""
    symbols = sorted(readings, key=lambda symbol: (len(symbol), symbol))
    dated = [one for one in symbols if re.match("[0-9]", readings[one]) and not _TWO_DATES.fullmatch(readings[one])]
    return next(iter([*dated, *symbols]), None)


def _all_symbols(request: Request) -> tuple[str, ...]:
    """Return every symbol with a file of the timeframe and of a requested price type."""
    if request.inputs is not None:
        return tuple(listed_symbols(request))
    found: set[str] = set()
    for side in request.price_types:
        for template in _templates(request, side):
            texts: dict[str, str] = {}
            for path in _matching(_fill(template, request, _ANY, request.timeframe, side)):
                owner = _owner(_readings(request, template, request.timeframe, side, path))
                if owner is not None:
                    _add_symbol(request, template, owner, path, texts)
            found |= texts.keys()
    symbols = tuple(sorted(found))
    if not symbols:
        missing = f"no symbol has {request.timeframe} candles of {' or '.join(request.price_types)}"
        raise wrong(SymbolNotFoundError, missing, "check the data folder", None, request.data)
    replace(request, symbols=symbols)  # names from the disk obey the rules for names in a request, which checks them
    return symbols


def _refuse_loose_templates(request: Request) -> None:
    """Raise where a `*` stands right beside `{symbol}`; name a file that is ambiguous, if any."""
    sides: list[str | None] = [*request.price_types, *([None] if request.indicators else [])]
    for side in sides:
        for template in _templates(request, side):
            if not _LOOSE.search(template):
                continue
            message = f"the template {template!r} leaves open where the symbol ends"
            hint = "put text between {symbol} and *"
            name, path, other = _second_reading(request, template, side)
            if path is not None and name is not None:
                message += f": a file matches the symbols {name.symbol} and {other}"
            raise wrong(AmbiguousInputError, message, hint, name, path)


def _second_reading(
    request: Request, template: str, side: str | None
) -> tuple[SeriesName | None, str | None, str | None]:
    """Return a file of a symbol that can be read as another's, and that one.

    Rather by whole words.
    """
    candidates = list(_candidates(request, template, side))
    for words in (1, None):
        for name, path in candidates:
            for other in _by_words(_readings(request, template, name.timeframe, side, path))[:words]:
                if other != name.symbol:
                    return name, path, other
    first = None if request.symbols is None else SeriesName(request.symbols[0], request.timeframe, side)
    return first, None, None


def _candidates(request: Request, template: str, side: str | None) -> Iterator[tuple[SeriesName, str]]:
    """Yield the files that a template matches, as files of a symbol."""
    timeframes = [request.timeframe]
    if side is not None:
        timeframes += [timeframe for timeframe, _ in higher_timeframes_of(request)]
    for timeframe in timeframes:
        for symbol in request.symbols or (_ANY,):
            texts = [_ANY] if symbol == _ANY else _texts(request, template, symbol, timeframe, side)
            for path in (one for text in texts for one in _matching(_fill(template, request, text, timeframe, side))):
                if symbol != _ANY:
                    yield SeriesName(symbol, timeframe, side), path
                else:
                    shortest = _by_words(_readings(request, template, timeframe, side, path))[:1]
                    yield from ((SeriesName(one, timeframe, side), path) for one in shortest)


def _by_words(readings: dict[str, str]) -> list[str]:
    """Return the readings by length, those first that end where a word does."""
    return sorted(readings, key=lambda one: (bool(re.match(r"\w", readings[one])), len(one), one))


def _check_timeframe(request: Request, name: SeriesName, template: str, text: str, paths: Sequence[str]) -> None:
    """Raise where a file is one of a longer number too: M15 for M1, or 15m for 5m.

    That needs a `*` right behind the timeframe, or a `*` or symbol right before one that begins with
    a digit.
    """
    spelled = request.spell.get(name.timeframe, name.timeframe)
    longer = [f"{spelled}\2"] if "{timeframe}*" in template else []
    if re.search(r"(\*|\{symbol\})\{timeframe\}", template) and spelled[0].isdigit():
        longer.append(f"\2{spelled}")
    # A digit may be the symbol's, or the timeframe's.
    bare = text.rstrip("0123456789")
    texts = [text[:end] for end in range(max(len(bare), 1), len(text) + 1)]
    for open_ended, shorter in product(longer, texts):
        filled = template.replace("{timeframe}", open_ended)
        filled = re.escape(_fill(filled, request, shorter, name.timeframe, name.side))
        filled = filled.replace("\2", "(?P<digits>[0-9]+)", 1).replace("\2", "(?P=digits)")
        filled = filled.replace(f"{_FOLDERS}/", "(?:[^/]+/)*?").replace(_ANY, "[^/]*?")
        for path in paths:
            if (match := re.fullmatch(filled, path)) is not None:
                other = open_ended.replace("\2", match["digits"])
                message = f"ambiguous file name: it matches the timeframes {spelled} and {other}"
                hint = "put the text around {timeframe} into the path template"
                raise wrong(AmbiguousInputError, message, hint, name, path)


# --- Where files may lie -----------------------------------------------------------------


def _spelled(template: str) -> list[str]:
    """Return the parts of a template before the first with a field or a wildcard."""
    return list(takewhile(lambda part: not re.search(r"\*|\{(?!root\})", part), template.split("/")))


def _check_inside(request: Request, name: SeriesName, path: str) -> None:
    """Raise where a file leads, through links, out of the folder that the user has spelled."""
    template = _templates(request, name.side)[0]
    spelled = _spelled(template)
    if len(spelled) == len(template.split("/")):
        return
    assert request.data is not None
    folder = "/".join(spelled).replace("{root}", request.data) or ("/" if spelled else ".")
    inside = os.path.realpath(folder)
    real = os.path.realpath(path)
    if os.path.commonpath([real, inside]) != inside:
        message = f"the file lies outside {inside}: a link leads to {real}"
        hint = "allow links with follow_links=True, or copy the file there"
        raise wrong(SymbolNotFoundError, message, hint, name, path)


def _check_tables(request: Request, name: SeriesName, path: str) -> None:
    """Raise where a folder, from the one in the template to the file's, is a table format's."""
    template = _templates(request, name.side)[0]
    parts = path.split("/")[:-1]
    if "{root}" in template:
        first = len(template.partition("{root}")[0].split("/")) + len(_root(request).rstrip("/").split("/")) - 1
    else:
        first = min(len(_spelled(template)), len(parts))
    folders = ["/".join(parts[:depth]) or ("/" if depth else ".") for depth in range(first, len(parts) + 1)]
    if "{root}" in template:
        # And above the root, whatever links have led there.
        above = os.path.realpath(_root(request)).split("/")[:-1]
        folders += ["/".join(above[: depth + 1]) or "/" for depth in range(len(above))]
    for folder in folders:
        if found := _table_format(folder):
            message = f"cannot read the file: {folder} is a table of {found}, whose files are not all live"
            hint = "list the table's live files, and give the list as inputs"
            raise wrong(UnsupportedInputError, message, hint, name, path)


def _table_format(folder: str) -> str | None:
    if os.path.isdir(f"{folder}/_delta_log"):
        return "Delta Lake (_delta_log)"
    if os.path.isdir(f"{folder}/.hoodie"):
        return "Hudi (.hoodie)"
    try:
        names = os.listdir(f"{folder}/metadata")
    except OSError:
        names = []
    return (
        "Iceberg (metadata)" if any(name.endswith((".metadata.json", ".metadata.json.gz")) for name in names) else None
    )
