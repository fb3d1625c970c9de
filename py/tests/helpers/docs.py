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


def docs_programs(name: str) -> list[str]:
    """Return the Python programs of a page, each a block of its own."""
    found: list[str] = re.findall(r"```python\n(.*?)```", docs_page(name), re.DOTALL)
    assert found
    return found


def docs_functions(name: str) -> dict[str, Any]:
    """Return what the only program of a page defines, without running its main part."""
    (program,) = docs_programs(name)
    defined: dict[str, Any] = {"__name__": f"page_{name}"}
    exec(compile(program, f"{name}.md", "exec"), defined)
    return defined


def docs_pages() -> list[Path]:
    """Return all pages of the docs, and those beside the code."""
    return sorted([*DOCS.rglob("*.md"), *REPOSITORY.glob("*.md"), *REPOSITORY.glob("py/**/*.md")])
