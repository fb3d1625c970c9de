"""The package as a whole: its names, its types, and every example of its documentation."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import omega_slices

# The modules of engines need these; scripts/engines tests them where they are installed.
ENGINES = ("backtesting", "backtrader", "nautilus")
MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(omega_slices.__path__, f"{omega_slices.__name__}.")
    if module.name.removeprefix("omega_slices.engines.") not in ENGINES
]


def test_the_public_names() -> None:
    assert sorted(omega_slices.__all__) == omega_slices.__all__
    named = {name for name, value in vars(omega_slices).items() if not name.startswith("_")}
    assert {name for name in named if not isinstance(getattr(omega_slices, name), ModuleType)} == set(
        omega_slices.__all__
    )


def test_types_are_shipped() -> None:
    assert files("omega_slices").joinpath("py.typed").is_file()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType, data: Path, slice_file: Path, tmp_path: Path) -> None:
    assert module.__doc__
    # Numpy and datetime print differently from version to version; ours does not.
    failed, _ = doctest.testmod(
        module,
        extraglobs={"data": data, "path": slice_file, "folder": tmp_path},
        optionflags=doctest.IGNORE_EXCEPTION_DETAIL,
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


def functions_and_classes() -> Iterator[tuple[str, object]]:
    """Yield what people call: functions, methods, and classes but plain errors."""
    for name in omega_slices.__all__:
        value = getattr(omega_slices, name)
        is_plain_error = inspect.isclass(value) and issubclass(value, Exception) and "__init__" not in vars(value)
        if not is_plain_error:
            yield name, value
        if inspect.isclass(value) and not issubclass(value, Exception | int):
            for one in value.__mro__:
                members = vars(one).items() if one.__module__.startswith("omega_slices") else ()
                yield from (
                    (f"{name}.{key}", member)
                    for key, member in members
                    if isinstance(member, FunctionType) and not key.startswith("_")
                )


CALLED = dict(functions_and_classes())


@pytest.mark.parametrize("name", CALLED)
def test_everything_that_is_called_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(CALLED[name]) or "")


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
