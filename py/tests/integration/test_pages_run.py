"""Commands and programs of the tutorial, the README and how-to pages run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from helpers.docs import REPOSITORY, blocks_of, docs_path
from helpers.page_runs import python, shell

TUTORIAL: Final = docs_path("first-slices")

# What sets everything up is run by those who read the page; here it has been.
SET_UP: Final = re.compile(r"^(scripts/|source |pip |cd rust)", re.MULTILINE)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the blocks of a page that are run, or show what is printed, with their languages."""
    found = blocks_of(page, "sh", "bash", "python", "text")
    return [(language, text) for language, text in found if not SET_UP.search(text)]


@pytest.fixture
def project(project: Path) -> Path:
    """A folder with all that `scripts/run` makes."""
    (project / "out").mkdir()
    shell("omega-slices sync --data data/sample --all-symbols -o out/slices.arrow")
    return project


def test_the_tutorial(project: Path) -> None:
    """Every block runs, and prints what the page says."""
    printed = ""
    compared = 0
    for language, text in blocks(TUTORIAL):
        if language == "text" and printed:
            assert text in printed
            compared += 1
        elif language == "python":
            printed = python(text)
        elif language == "sh":
            printed = shell(text).stdout
    assert compared == 6


def test_the_readme(project: Path) -> None:
    """Its last command compares two files that differ."""
    command_line, code = (text for language, text in blocks(REPOSITORY / "README.md") if language != "text")
    assert "first difference" in shell(command_line, status=1).stdout
    assert python(code) == ""


def test_files_and_caches(project: Path) -> None:
    """The blocks of Python continue each other."""
    found = blocks(docs_path("precompute"))
    for language, text in found:
        if language == "bash":
            shell(text)
    python("\n".join(text for language, text in found if language == "python"))


def test_the_cluster(project: Path) -> None:
    """Workers that a cluster starts read the program as a file; the blocks continue each other."""
    found = [text for language, text in blocks(docs_path("cluster")) if language == "python"]
    (project / "program.py").write_text(found[0])
    assert int(shell("python program.py").stdout) > 0
    assert [line for line in python(found[1]).splitlines() if line.startswith("EURUSD")]
    assert python(found[0].split("if __name__")[0] + found[2]).startswith("[")


def test_matrices(project: Path) -> None:
    printed = [
        python(text) if language == "python" else shell(text).stdout for language, text in blocks(docs_path("matrices"))
    ]
    shape = printed[0].split(" timestamp ")[0]
    assert shape.endswith(", 2)")
    assert printed[3] == "timestamp[us, tz=UTC] string\n"
    assert "timestamp_out" in printed[4]


def test_other_tools(project: Path) -> None:
    for language, text in blocks(docs_path("other-tools")):
        if language == "sh":
            printed = shell(text).stdout
        elif "sys.stdin" in text:
            (project / "reader.py").write_text(text)
        else:
            printed = python(text)
    # Rows of two symbols.
    assert int(printed) % 2 == 0
