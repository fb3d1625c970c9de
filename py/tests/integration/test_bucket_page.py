"""Every command and program of the page about buckets runs, against a server that the page starts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest
from helpers.buckets import answering, free_port
from helpers.docs import blocks_of, docs_page, docs_path
from helpers.page_runs import shell

NAME: Final = "bucket-to-cluster"
PAGE: Final = docs_page(NAME)
# The names of programs, each right before its block.
SAVED_AS: Final = re.compile(r"Save\s+this\s+as\s+`(\w+\.py)`[^`]*```python\n")
PORT: Final = "5000"


@pytest.fixture
def folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with no other storage in sight."""
    for name in [*os.environ]:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return project


def terminal(commands: str) -> str:
    """Return all that commands print."""
    done = shell(commands)
    return done.stdout + done.stderr


def test_the_page_of_buckets(folder: Path) -> None:
    """Blocks run in their order, as in one terminal, and print what the page says."""
    port = free_port()
    found = blocks_of(docs_path(NAME), "sh", "python", "text")
    blocks = [(language, text.replace(PORT, str(port))) for language, text in found]
    assert len(blocks) == PAGE.count("```") // 2
    install, server, variables, *commands = (text for language, text in blocks if language == "sh")
    names = SAVED_AS.findall(PAGE)
    assert len(names) == sum(language == "python" for language, _ in blocks)
    assert install.startswith("pip ")
    assert variables.startswith("export ")
    assert commands.pop().startswith("unset ")
    printed = ""
    with answering(shlex.split(server), port):
        for language, text in blocks:
            if language == "python":
                (folder / names.pop(0)).write_text(text)
            elif language == "text":
                assert text.strip() in printed
            elif text in commands:
                printed = terminal(variables + text)
        look = (
            "import boto3\n"
            "for one in boto3.client('s3').list_objects_v2(Bucket='candles', Prefix='parts/')['Contents']:\n"
            "    if '_slices' not in one['Key']: print(one['Key'], one['LastModified'])\n"
        )
        (folder / "look.py").write_text(look)
        parts = terminal(f"{variables}python look.py")
        assert parts.count("\n") == 11
        # Run once more, it makes none of them again.
        terminal(f"{variables}python parts.py")
        assert terminal(f"{variables}python look.py") == parts


def test_the_options_of_the_reference_are_known(binary: Path) -> None:
    """An unknown one would be exit status 2; a missing file is 3."""
    _, rest = docs_page("storage").split("\n## Options\n")
    rows = [row.split(" | ") for row in rest.split("### ")[0].splitlines() if row.startswith("| ")]
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row[1])]
    assert len(names) > 20
    options = [f"--storage-option={name}=env:VALUE" for name in names]
    command = [str(binary), "inspect", *options, "nowhere.arrow"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env={"VALUE": "1"})
    assert run.returncode == 3, run.stderr
