"""The page on migration.

Its backtest, its commands and its other examples are run as they stand there.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from helpers.docs import docs_blocks
from helpers.page_runs import python, write_sample

PROGRAMS: Final = docs_blocks("migration", "python")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample data, as `scripts/run` makes them, and the page's backtest."""
    folder = tmp_path_factory.mktemp("project")
    write_sample(folder)
    (folder / "backtest.py").write_text(PROGRAMS[0])
    return folder


def test_the_four_commands(project: Path, binary: Path) -> None:
    commands, expected = docs_blocks("migration", "sh")[0], docs_blocks("migration", "text")[0]
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
    script = PROGRAMS[1] + "import omega_slices\nlist(omega_slices.open_slices('data/sample'))\n"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    start, end = run.stderr.splitlines()
    assert '"event": "stream_start"' in start
    assert '"request": {"data": "data/sample"' in start
    assert '"event": "stream_end"' in end
    assert '"outcome": "complete"' in end
    assert logging.getLogger("omega_slices").handlers == []


def test_the_hook(project: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert python(PROGRAMS[2]) == "True\n"
