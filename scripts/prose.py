"""Check the prose of every Markdown page against the rules of CONTRIBUTING.md.

Owns the rules.  Outside of tables and code, lines have at most 100 columns and sentences at most
25 words.  Pages avoid the words that make a page hard to read.  Links lead somewhere, and so do
paths of the repository in code spans.  The README has at most 150 lines.

Prints each finding as `file:line: what`, and exits with 1 where there is one.  Needs nothing but
Python.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).resolve().parent.parent

MAX_COLUMNS: Final = 100
MAX_WORDS: Final = 25
MAX_README_LINES: Final = 150

# Pages that a script writes: their links and words are checked, their lines and sentences are not.
GENERATED: Final = frozenset({"docs/reference/licences.md"})

SKIPPED_FOLDERS: Final = frozenset({"data", "node_modules", "out", "target"})

FORBIDDEN: Final = re.compile(
    r"\b(nobody|somebody|whoever|so many|(?-i:is none)|is no(?= \w)(?! longer\b)|held against|told of|as far as"
    r"|comes down to)\b",
    re.IGNORECASE,
)

FENCE: Final = re.compile(r"^\s*(`{3,}|~{3,})")
ITEM: Final = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
HEADING: Final = re.compile(r"^(#+)\s+(.*?)\s*$")
CODE_SPAN: Final = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK: Final = re.compile(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]*)\)")
# A path of the repository, alone or with arguments.
PATH: Final = re.compile(r"((?:docs|py|rust|scripts|tests)/[\w./*-]*\w)(?: .*)?", re.DOTALL)
# A row of names counts as one word: a list of terms is read at a glance.
CODE_WORDS: Final = re.compile(r"\bCODE(?:(?:,? (?:and|or)|,) CODE)+\b")
SENTENCE_END: Final = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_]*[A-Z0-9])")


class Finding(NamedTuple):
    """One place that breaks a rule."""

    page: str
    line: int
    what: str

    def __str__(self) -> str:
        """Return the finding as an editor jumps to it."""
        return f"{self.page}:{self.line}: {self.what}"


class Line(NamedTuple):
    """A line of a page and what it is: `code`, `table`, `heading`, `blank` or `text`."""

    number: int
    text: str
    kind: str


def pages(root: Path) -> list[Path]:
    """Return every Markdown page of the repository, in the order of their names."""
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in SKIPPED_FOLDERS and not name.startswith(".")]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


def lines_of(text: str) -> list[Line]:
    """Return the lines of a page with their kinds."""
    lines: list[Line] = []
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        found = FENCE.match(line)
        if fence:
            kind = "code"
            fence = "" if found and found[1].startswith(fence) else fence
        elif found:
            kind, fence = "code", found[1]
        elif line.startswith("|"):
            kind = "table"
        elif HEADING.match(line):
            kind = "heading"
        else:
            kind = "text" if line.strip() else "blank"
        lines.append(Line(number, line, kind))
    return lines


def blocks(lines: list[Line]) -> Iterator[list[Line]]:
    """Yield paragraphs and items of lists, each as its lines."""
    block: list[Line] = []
    for line in lines:
        if block and (line.kind != "text" or ITEM.match(line.text)):
            yield block
            block = []
        if line.kind == "text":
            block.append(line)
    if block:
        yield block


def without_code(block: list[Line]) -> str:
    """Return the text of a block, line by line, with CODE in the place of each span of code."""
    text = "\n".join(ITEM.sub("", line.text).strip() for line in block)
    return CODE_SPAN.sub(lambda found: "CODE" + "\n" * found[2].count("\n"), text)


def sentences(block: list[Line]) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a block, each with the number of the line on which it begins."""
    text = LINK.sub(lambda found: found[1], without_code(block))
    start = 0
    for end in [*(found.end() for found in SENTENCE_END.finditer(text)), len(text)]:
        yield block[0].number + text[:start].count("\n"), text[start:end]
        start = end


def word_count(sentence: str) -> int:
    """Return how many words a sentence has; a row of names in code is one."""
    return len(re.findall(r"\S*\w\S*", CODE_WORDS.sub("CODE", " ".join(sentence.split()))))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    found: set[str] = set()
    for line in lines_of(page.read_text(encoding="utf-8")):
        heading = HEADING.match(line.text)
        if heading and line.kind == "heading":
            plain = LINK.sub(lambda link: link[1], heading[2]).replace("`", "")
            found.add(re.sub(r"[^\w -]", "", plain.lower()).replace(" ", "-"))
    return found


def dead_links(page: Path, block: list[Line]) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with the relative links of a block, each with the number of its line."""
    text = without_code(block)
    for found in LINK.finditer(text):
        target = found[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        number = block[0].number + text[: found.start()].count("\n")
        if not there.exists():
            yield number, f"dead link: {target}"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            yield number, f"dead anchor: {target}"


def dead_paths(block: list[Line], root: Path) -> Iterator[tuple[int, str]]:
    """Yield the paths in code spans that do not exist, each with the number of its line."""
    text = "\n".join(line.text for line in block)
    for span in CODE_SPAN.finditer(text):
        path = PATH.fullmatch(span[2])
        if path and not any(root.glob(path[1])):
            yield block[0].number + text[: span.start()].count("\n"), f"dead path: {path[1]}"


def check(page: Path, root: Path) -> Iterator[Finding]:
    """Yield every finding of one page."""
    name = page.relative_to(root).as_posix()
    lines = lines_of(page.read_text(encoding="utf-8"))
    if name == "README.md" and len(lines) > MAX_README_LINES:
        yield Finding(name, MAX_README_LINES + 1, f"README has {len(lines)} lines: at most {MAX_README_LINES}")
    for line in lines:
        if line.kind == "text" and len(line.text) > MAX_COLUMNS and name not in GENERATED:
            yield Finding(name, line.number, f"{len(line.text)} columns: at most {MAX_COLUMNS}")
    # Links, words and sentences may go over the end of a line.
    for block in [*blocks(lines), *([line] for line in lines if line.kind in ("table", "heading"))]:
        yield from (Finding(name, number, what) for number, what in dead_links(page, block))
        yield from (Finding(name, number, what) for number, what in dead_paths(block, root))
        for number, sentence in sentences(block):
            yield from (
                Finding(name, number, f'hard to read: "{" ".join(found[0].split())}"')
                for found in FORBIDDEN.finditer(" ".join(sentence.split()))
            )
            count = word_count(sentence)
            if block[0].kind == "text" and count > MAX_WORDS and name not in GENERATED:
                yield Finding(name, number, f"{count} words in a sentence: at most {MAX_WORDS}")


def main(argv: list[str]) -> int:
    """Check all pages, or those that are named; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="pages to check (default: all of the repository)")
    options = parser.parse_args(argv)
    chosen = [page.resolve() for page in options.pages] or pages(REPOSITORY)
    findings = sorted(finding for page in chosen for finding in check(page, REPOSITORY))
    for finding in findings:
        print(finding)
    print(f"prose: {len(findings)} findings in {len(chosen)} pages", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
