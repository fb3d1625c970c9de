"""Every command and program of the page about buckets runs, against a server that the page starts."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from helpers.docs import REPOSITORY, docs_page

PAGE: Final = docs_page("bucket-to-cluster")
BLOCK: Final = re.compile(r"(?:Save\s+this\s+as\s+`(\w+\.py)`[^`]*)?```(sh|python|text)\n(.*?)```", re.DOTALL)
PORT: Final = "5000"
START_S: Final = 60


@pytest.fixture
def page(tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sample data, the executable by its name, and no other storage in sight."""
    sample = [sys.executable, str(REPOSITORY / "scripts" / "sample_data.py"), str(tmp_path / "data" / "sample")]
    subprocess.run(sample, check=True, capture_output=True)
    names = tmp_path / "bin"
    names.mkdir()
    (names / "omega-slices").symlink_to(binary)
    monkeypatch.setenv("PATH", os.pathsep.join([str(names), str(Path(sys.executable).parent), os.environ["PATH"]]))
    for name in [*os.environ]:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def running(command: str, port: int) -> Iterator[None]:
    """Run the command of the other terminal until the end of the block."""
    with subprocess.Popen(shlex.split(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + START_S
            while True:
                try:
                    with urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5):
                        break
                except (URLError, OSError):
                    assert process.poll() is None, "the server has ended"
                    assert time.monotonic() < end, "the server does not answer"
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()


def terminal(commands: str) -> str:
    """Return what commands print; the last one that fails is an error."""
    run = subprocess.run(["sh", "-e", "-c", commands], capture_output=True, text=True, check=False, timeout=300)
    printed = run.stdout + run.stderr
    assert run.returncode == 0, f"{commands}\n{printed}"
    return printed


def test_the_page_of_buckets(page: Path) -> None:
    """Blocks run in their order, as in one terminal, and print what the page says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    blocks = [(name, language, text.replace(PORT, str(port))) for name, language, text in BLOCK.findall(PAGE)]
    assert len(blocks) == PAGE.count("```") // 2
    install, server, variables, *commands = (text for _, language, text in blocks if language == "sh")
    assert install.startswith("pip ")
    assert variables.startswith("export ")
    assert commands.pop().startswith("unset ")
    printed = ""
    with running(server, port):
        for name, language, text in blocks:
            if language == "python":
                (page / name).write_text(text)
            elif language == "text":
                assert text.strip() in printed
            elif text in commands:
                printed = terminal(variables + text)
        look = (
            "import boto3\n"
            "for one in boto3.client('s3').list_objects_v2(Bucket='candles', Prefix='parts/')['Contents']:\n"
            "    if '_slices' not in one['Key']: print(one['Key'], one['LastModified'])\n"
        )
        (page / "look.py").write_text(look)
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
