"""The package as a whole: its names, its types, and every example of its documentation."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import omega_slices

MODULES = [
    importlib.import_module(f"omega_slices.{module.name}") for module in pkgutil.iter_modules(omega_slices.__path__)
]


def test_the_public_names() -> None:
    assert sorted(omega_slices.__all__) == omega_slices.__all__
    named = {name for name, value in vars(omega_slices).items() if not name.startswith("_")}
    assert {name for name in named if not isinstance(getattr(omega_slices, name), ModuleType)} == set(
        omega_slices.__all__
    )


def test_types_are_shipped() -> None:
    assert files("omega_slices").joinpath("py.typed").is_file()


# What the reference shares with the product: the words of requests, candles, reports and errors.
SHARED = {"_candle", "_paths", "_request", "_times", "errors"}


def test_the_reference_is_independent() -> None:
    """One module of the product runs it; it uses no module that finds, reads or synchronises."""
    folder = Path(str(files("omega_slices")))
    imported = {path.stem: _imports(path) for path in folder.glob("*.py")}
    reference = {name for name in imported if name.lstrip("_").startswith("reference")}
    assert "reference" in reference
    assert {name for name in imported if name not in reference and imported[name] & reference} == {"_sources"}
    for name in reference:
        assert imported[name] <= reference | SHARED, name
    # And what they share does not lead back.
    for name in SHARED:
        assert imported[name] <= SHARED | {"_calendars"}, name
    assert imported["_calendars"] <= SHARED


def _imports(path: Path) -> set[str]:
    """Return the modules of the package that one of them imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package"
            if node.module == "omega_slices":
                found.update(one.name for one in node.names)
            elif node.module is not None and node.module.startswith("omega_slices."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found.update(one.name.split(".")[1] for one in node.names if one.name.startswith("omega_slices."))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType, data: Path, slice_file: Path) -> None:
    assert module.__doc__
    # Numpy and datetime print differently from version to version; ours does not.
    failed, _ = doctest.testmod(
        module, extraglobs={"data": data, "path": slice_file}, optionflags=doctest.IGNORE_EXCEPTION_DETAIL
    )
    assert failed == 0


@pytest.mark.parametrize("name", omega_slices.__all__)
def test_everything_public_is_documented(name: str) -> None:
    value = getattr(omega_slices, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        own = {key: member for key, member in vars(value).items() if not key.startswith("_")}
        for key, member in own.items():
            if isinstance(member, (FunctionType, property)):
                assert inspect.getdoc(member), f"{name}.{key}"


@pytest.mark.parametrize(
    "value",
    [
        omega_slices.open_slices,
        omega_slices.read_slices,
        omega_slices.list_inputs,
        omega_slices.SliceStream,
        omega_slices.SliceTable,
        omega_slices.SliceCursor,
        omega_slices.MultiSymbolSlice,
        omega_slices.CandleData,
    ],
)
def test_the_main_ones_have_examples(value: object) -> None:
    assert ">>> " in (inspect.getdoc(value) or "")


def test_walking_slices_imports_no_pandas(data: Path, binary: Path) -> None:
    # Importing it takes longer than a stream takes to give its first slice.
    program = (
        "import sys; from omega_slices import open_slices\n"
        f"with open_slices({str(data)!r}, symbols=['EURUSD'], backend='rust') as slices:\n"
        "    for s in slices: s.get('EURUSD'), s.get_price('EURUSD'), s.column('valid_bid')\n"
        "sys.exit('pandas' in sys.modules)"
    )
    environment = {**os.environ, "OMEGA_SLICES_BINARY": str(binary)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
