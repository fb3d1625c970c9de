"""The repository's files, wherever a page of its documentation lies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[3]
DOCS: Final = REPOSITORY / "docs"


def docs_path(name: str) -> Path:
    """Return the path of the one page of a name, such as ``timelines``, in any folder."""
    (found,) = DOCS.rglob(f"{name}.md")
    return found


def docs_page(name: str) -> str:
    """Return the text of a page; see `docs_path`."""
    return docs_path(name).read_text(encoding="utf-8")


def docs_pages() -> list[Path]:
    """Return all pages of the docs, and those beside the code."""
    return sorted([*DOCS.rglob("*.md"), *REPOSITORY.glob("*.md"), *REPOSITORY.glob("py/**/*.md")])
