"""The repository's files, wherever a page of its documentation lies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[3]
DOCS: Final = REPOSITORY / "docs"


def docs_path(name: str) -> Path:
    """Return the path of the one page of a name, such as ``timelines``, in any folder."""
    (found,) = DOCS.rglob(f"{name}.md")
    return found


def docs_page(name: str) -> str:
    """Return the text of a page; see `docs_path`."""
    return docs_path(name).read_text(encoding="utf-8")


def blocks_of(path: Path, *languages: str) -> list[tuple[str, str]]:
    """Return the blocks of a page in some languages: each its language and its text."""
    found = re.findall(r"```(\w+)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


def docs_blocks(name: str, language: str) -> list[str]:
    """Return the texts of all blocks of a page in one language; see `docs_path`."""
    found = [text for _, text in blocks_of(docs_path(name), language)]
    assert found, f"{name} has no block in {language}"
    return found


def docs_functions(name: str) -> dict[str, Any]:
    """Return what the only program of a page defines, without running its main part."""
    (program,) = docs_blocks(name, "python")
    defined: dict[str, Any] = {"__name__": f"page_{name}"}
    exec(compile(program, f"{name}.md", "exec"), defined)
    return defined


def docs_pages() -> list[Path]:
    """Return all pages of the docs, and those beside the code."""
    return sorted([*DOCS.rglob("*.md"), *REPOSITORY.glob("*.md"), *REPOSITORY.glob("py/**/*.md")])
