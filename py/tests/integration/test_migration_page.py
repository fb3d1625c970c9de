"""The page on migration.

Its backtest, its commands and its other examples are run as they stand there.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from helpers.docs import REPOSITORY, docs_page

PAGE: Final = docs_page("migration")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample data, as `scripts/run` makes them, and the page's backtest."""
    folder = tmp_path_factory.mktemp("project")
    make = [sys.executable, str(REPOSITORY / "scripts" / "sample_data.py"), str(folder / "data" / "sample")]
    subprocess.run(make, check=True, capture_output=True)
    (folder / "backtest.py").write_text(blocks("python")[0])
    return folder


def test_the_four_commands(project: Path, binary: Path) -> None:
    commands, expected = blocks("sh")[0], blocks("text")[0]
    assert commands.count("python backtest.py") == 4
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=project,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == (expected, "")
    lines = expected.splitlines()
    assert [line.split()[0] for line in lines] == ["python", "shadow", "rust", "python"]
    assert len({line.partition(" ")[2] for line in lines}) == 1


def test_the_formatter_writes_a_line_for_each_event(
    project: Path, binary: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    script = blocks("python")[1] + "import omega_slices\nlist(omega_slices.open_slices('data/sample'))\n"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    start, end = run.stderr.splitlines()
    assert '"event": "stream_start"' in start
    assert '"request": {"data": "data/sample"' in start
    assert '"event": "stream_end"' in end
    assert '"outcome": "complete"' in end
    assert logging.getLogger("omega_slices").handlers == []


def test_the_hook(project: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    run = subprocess.run([sys.executable, "-c", blocks("python")[2]], capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"
