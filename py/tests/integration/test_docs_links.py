"""The repository's pages keep the rules of prose, and their links lead to files and headings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.docs import REPOSITORY, docs_pages

LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def anchors_of(page: Path) -> set[str]:
    """Return the names that a page's headings have on GitHub."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w -]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (numbered := name if not number else f"{name}-{number}") in found:
            number += 1
        found.add(numbered)
    return found


@pytest.mark.parametrize("page", docs_pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    text = CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in LINK.findall(text):
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.is_relative_to(REPOSITORY), f"{link} leads out of the repository"
        assert path.exists(), f"{link}: there is no {path}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors_of(path), f"{link}: {path.name} has no such heading"


def test_the_prose_of_every_page() -> None:
    """Its findings name page and line."""
    script = REPOSITORY / "scripts" / "prose.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, ""), run.stderr


def test_the_code_map_names_what_its_files_hold() -> None:
    """Each name beside a path occurs in a file of its row."""
    page = (REPOSITORY / "docs" / "contributing" / "code-map.md").read_text(encoding="utf-8")
    _, table = page.split("## Where to find what\n")
    rows = [row.strip("|").split(" | ")[1] for row in table.splitlines() if row.startswith("| Where ")]
    assert len(rows) > 20
    for row in rows:
        spans = re.findall(r"`([^`]+)`", row)
        paths = [REPOSITORY / span for span in spans if "/" in span]
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        for name in (span for span in spans if "/" not in span):
            for part in re.findall(r"\w+", name):
                assert re.search(rf"\b{part}\b", text), f"{part} of {name} is in no file of: {row}"
