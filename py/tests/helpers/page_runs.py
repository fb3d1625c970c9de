"""Runs of the commands and programs that pages of the documentation show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers.docs import REPOSITORY


def write_sample(folder: Path) -> None:
    """Write the sample data to the place in a folder that pages name."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "sample_data.py"), str(folder / "data" / "sample")]
    subprocess.run(command, check=True, capture_output=True)


def shell(commands: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run commands; the last one ends with the given status, all others with 0."""
    done = subprocess.run(
        ["sh", "-e", "-c", commands], capture_output=True, text=True, errors="replace", check=False, timeout=300
    )
    assert done.returncode == status, f"{commands}\n{done.stdout}{done.stderr}"
    return done


def python(code: str, folder: Path | None = None) -> str:
    """Return what a program prints that runs in a folder, by default the current one."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout
