"""The executable in environments as people lay them out: layered, editable, of an unusual layout.

Each environment is really made, and another interpreter runs in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from shutil import copytree
from typing import Any

import msgspec
import pytest

import omega_slices

PACKAGE = Path(omega_slices.__file__).parent
SITE = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

# Opens a stream, and says where the package lies, which executable ran, and what was told.
PROGRAM = """
import json, logging, sys, warnings
import omega_slices
records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("omega_slices").addHandler(handler)
logging.getLogger("omega_slices").setLevel(logging.INFO)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    with omega_slices.open_slices(sys.argv[1]) as slices:
        count = len(list(slices))
(start,) = [one for one in records if getattr(one, "event", None) == "stream_start"]
print(json.dumps({
    "package": omega_slices.__file__,
    "executable": start.executable,
    "backend": slices.metrics.backend,
    "slices": count,
    "warnings": [str(one.message) for one in caught if one.category is UserWarning],
    "logged": [one.getMessage() for one in records if one.levelname == "WARNING"],
}))
"""


def make_environment(folder: Path) -> Path:
    """Make an environment without packages; return its folder of packages."""
    venv.create(folder, symlinks=True)
    return folder / SITE


def add_path(site: Path, name: str, *folders: Path) -> None:
    """Let an environment look for packages in other folders too."""
    site.mkdir(parents=True, exist_ok=True)
    (site / f"{name}.pth").write_text("".join(f"{folder}\n" for folder in folders), encoding="utf-8")


def dependencies(folder: Path) -> Path:
    """Return a folder with all that the package needs, and no omega_slices of its own."""
    made = folder / "dependencies"
    made.mkdir()
    for place in {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}:
        for found in place.iterdir():
            if not found.name.startswith(("omega_slices", "__pycache__")) and found.suffix != ".pth":
                (made / found.name).symlink_to(found)
    return made


def put_package(site: Path) -> Path:
    """Put the package into a folder of packages."""
    copytree(PACKAGE, site / "omega_slices", ignore=lambda *_: {"__pycache__"})
    return site / "omega_slices"


def put_executable(folder: Path, binary: Path) -> Path:
    """Put the real executable into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "omega-slices").symlink_to(binary)
    return folder / "omega-slices"


def put_stranger(folder: Path) -> None:
    """Put another release's executable into a folder, which no stream may come from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "omega-slices").write_text("#!/bin/sh\nexit 9\n")
    (folder / "omega-slices").chmod(0o755)


def put_record(site: Path, *entries: str) -> None:
    """Say that an installation put these files where they are."""
    info = site / "omega_slices-0.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omega-slices\nVersion: 0.0.0\n")
    (info / "RECORD").write_text("".join(f"{entry}\n" for entry in entries))


def run(environment: Path, data: Path) -> dict[str, Any]:
    """Open a stream in an environment."""
    program = environment / "bin" / "python"
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OMEGA", "PYTHON"))}
    # Nor may the shell's path lead to one.
    variables["PATH"] = os.pathsep.join((str(environment / "bin"), variables.get("PATH", "")))
    done = subprocess.run(
        [program, "-s", "-c", PROGRAM, data], env=variables, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=dict[str, Any])


@pytest.fixture
def layered(tmp_path: Path) -> tuple[Path, Path]:
    """Two environments: the one that is run, and the one below it, which holds the packages."""
    top, below = tmp_path / "top", tmp_path / "below"
    top_site, below_site = make_environment(top), make_environment(below)
    add_path(top_site, "layer", below_site, dependencies(tmp_path))
    return top, below


def test_the_executable_of_the_environment_below_is_used(layered: tuple[Path, Path], binary: Path, data: Path) -> None:
    """As `uv run --with` lays it out."""
    top, below = layered
    package = put_package(below / SITE)
    executable = put_executable(below / "bin", binary)
    put_stranger(top / "bin")
    told = run(top, data)
    assert told["package"] == str(package / "__init__.py")
    assert told["executable"] == str(executable)
    assert (told["backend"], told["slices"]) == ("rust", 2)
    assert (told["warnings"], told["logged"]) == ([], [])


def test_an_executable_of_another_installation_is_never_used(layered: tuple[Path, Path], data: Path) -> None:
    top, below = layered
    put_package(below / SITE)
    put_stranger(top / "bin")
    told = run(top, data)
    assert (told["backend"], told["executable"], told["slices"]) == ("python", None, 2)
    (warning,) = told["warnings"]
    assert told["logged"] == [warning]
    assert str(below / "bin" / "omega-slices") in warning
    assert "pip install" in warning


def test_the_executable_of_an_editable_installation_is_used(
    layered: tuple[Path, Path], tmp_path: Path, binary: Path, data: Path
) -> None:
    """The package lies in a source tree; the environment below has record and executable."""
    top, below = layered
    package = put_package(tmp_path / "source")
    add_path(top / SITE, "editable", tmp_path / "source")
    executable = put_executable(below / "bin", binary)
    put_record(below / SITE, "omega_slices.pth,,", f"../../../bin/omega-slices,,{binary.stat().st_size}")
    put_stranger(top / "bin")
    told = run(top, data)
    assert (told["package"], told["executable"]) == (str(package / "__init__.py"), str(executable))


@pytest.mark.parametrize("is_outdated", [False, True])
def test_the_record_tells_where_the_executable_is(
    layered: tuple[Path, Path], tmp_path: Path, binary: Path, data: Path, is_outdated: bool
) -> None:
    """Unless another file lies there by now."""
    top, _ = layered
    site = tmp_path / "elsewhere" / "packages"
    put_package(site)
    add_path(top / SITE, "elsewhere", site)
    executable = put_executable(tmp_path / "elsewhere" / "programs", binary)
    size = binary.stat().st_size + is_outdated
    put_record(site, "omega_slices/__init__.py,,", f"../programs/omega-slices,,{size}")
    # What the running environment has is found last.
    last = put_executable(top / "bin", binary)
    assert run(top, data)["executable"] == str(last if is_outdated else executable)
