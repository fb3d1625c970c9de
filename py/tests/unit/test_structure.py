"""Rules of the package's structure, held by reading its sources."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from helpers.docs import REPOSITORY

import omega_slices

PACKAGE = Path(omega_slices.__file__).parent
TESTS = Path(__file__).parents[1]
GOLDEN = REPOSITORY / "tests" / "golden"
SCRIPTS = REPOSITORY / "scripts"
LINES_MAX = 500

# From the lowest layer to the highest.  A module imports from lower layers, or from its own part.
LAYERS = (
    ("_hints",),
    ("errors",),
    ("_extras",),
    ("_model",),
    ("_arrow", "_reference", "_calendars", "_monitor"),
    ("_slices", "_compare", "_run_report", "_matrices"),
    ("_wide",),
    ("_backends",),
    ("_stream", "_range", "_inputs"),
    ("_cursor",),
    ("_table",),
    ("_open", "_precompute"),
    ("testing", "reference", "engines", "dask"),
    ("",),
)


def names_of(path: Path) -> str:
    """Return a module's name without that of the package."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix("__init__").removesuffix(".")


MODULES = {names_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it: under TYPE_CHECKING and within functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name the package"
            assert node.module
            for one in node.names:
                # What is imported may itself be a module.
                whole = f"{node.module}.{one.name}"
                is_module = whole.removeprefix("omega_slices.") in MODULES and whole.startswith("omega_slices.")
                yield whole if is_module else node.module


def own_imports(name: str) -> set[str]:
    """Return the modules of the package that one of them imports."""
    found = (one for one in imports_of(MODULES[name]) if one.split(".")[0] == "omega_slices")
    return {one.removeprefix("omega_slices").removeprefix(".") for one in found}


def part_of(name: str) -> str:
    """Return the part of the package that a module belongs to.

    A module or a sub-package of its top level.
    """
    return name.split(".", maxsplit=1)[0]


def test_no_module_imports_itself_by_others() -> None:
    graph = TopologicalSorter({name: own_imports(name) for name in MODULES})
    graph.prepare()  # raises CycleError


def test_imports_go_downwards() -> None:
    level = {part: number for number, parts in enumerate(LAYERS) for part in parts}
    assert {part_of(name) for name in MODULES} == set(level), "each part has its layer"
    for name in MODULES:
        for imported in own_imports(name):
            same = part_of(imported) == part_of(name)
            assert same or level[part_of(imported)] < level[part_of(name)], f"{name} imports {imported}"


def test_the_reference_is_independent() -> None:
    """It uses no module that finds, reads or synchronises, and one backend alone runs it."""
    parts = [name for name in MODULES if part_of(name) == "_reference"]
    for name in parts:
        shared = {one for one in own_imports(name) if part_of(one) != "_reference"}
        assert {part_of(one) for one in shared} <= {"_model", "errors"}, name
        # Of the model: words of requests, candles and reports; no paths and no schemas.
        assert not shared & {"_model.paths", "_model.schema", "_model.input_list"}, name
    importing = {
        name for name in MODULES if any(part_of(one) in ("_reference", "reference") for one in own_imports(name))
    }
    assert importing - set(parts) == {"_backends.plain", "reference"}
    # Nor does it run another program, or use a library but pyarrow and msgspec.
    libraries = {one.split(".")[0] for name in parts for one in imports_of(MODULES[name])}
    assert libraries - sys.stdlib_module_names == {"omega_slices", "msgspec", "pyarrow"}
    assert not libraries & {"subprocess", "socket", "multiprocessing"}


def test_the_parts_of_the_reference_come_one_after_another() -> None:
    order = (
        "options",
        "time",
        "parquet",
        "columns",
        "rows",
        "sessions",
        "inputs",
        "files",
        "window",
        "instants",
        "series",
        "run",
    )
    assert {name for name in MODULES if name.startswith("_reference.")} == {f"_reference.{part}" for part in order}
    for place, part in enumerate(order):
        before = {f"_reference.{one}" for one in order[:place]}
        own = {one for one in own_imports(f"_reference.{part}") if part_of(one) == "_reference"}
        assert own <= before, part


@pytest.mark.parametrize("folder", [PACKAGE, TESTS, GOLDEN, SCRIPTS])
def test_no_file_is_long(folder: Path) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > LINES_MAX} == {}


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_package_files_only_document_and_export(name: str) -> None:
    document, *rest = ast.parse(MODULES[name].read_text(encoding="utf-8")).body
    assert isinstance(document, ast.Expr)
    for node in rest:
        is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert is_list or isinstance(node, ast.ImportFrom), ast.unparse(node)


# --- Names of columns and metadata -----------------------------------------------------------


def texts_of(path: Path) -> Iterator[tuple[int, str, ast.AST | None]]:
    """Yield the texts of a file but docstrings, with line and what they are an argument of."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    asked: dict[int, ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            asked.update({id(one): node.func for one in node.args})
        elif isinstance(node, ast.Subscript):
            asked[id(node.slice)] = node.value
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documents:
            value = node.value.decode(errors="replace") if isinstance(node.value, bytes) else node.value
            if isinstance(value, str):
                yield node.lineno, value, asked.get(id(node))


COLUMN = re.compile(r"(bid|ask|trade|mid)_(open|high|low|close|volume|timestamp)|valid_(bid|ask|trade)?|ind_")
METADATA = {"schema_name", "schema_version", "symbols", "request", "known_after_ns", "seal", "report", "batch_index"}
# Of Arrow: what takes the name of a column or the key of metadata.
TAKES_NAME = re.compile(r"(^|\.)(column|columns|field|get_field_index|metadata|footer)(\.get|\.column|\.field)?$")


def test_columns_and_metadata_are_named_once() -> None:
    """In `_model.schema`; all other modules take the names from there."""
    found = []
    for name, path in MODULES.items():
        if name == "_model.schema":
            continue
        for line, text, taker in texts_of(path):
            is_taken = taker is not None and TAKES_NAME.search(ast.unparse(taker)) is not None
            if COLUMN.fullmatch(text) or (is_taken and (text in METADATA or text in ("timestamp", "symbol"))):
                found.append(f"{name}, line {line}: {text!r}")
    assert found == []


# --- Tests -----------------------------------------------------------------------------------

PUBLIC = {
    "omega_slices",
    "omega_slices.dask",
    "omega_slices.errors",
    "omega_slices.reference",
    "omega_slices.testing",
    *(f"omega_slices.engines.{engine}" for engine in ("backtesting", "backtrader", "nautilus")),
}


def sources_of_tests() -> list[Path]:
    """Return the files of tests that may import only what is public."""
    return [path for path in [*TESTS.rglob("*.py"), *GOLDEN.rglob("*.py")] if path.parent != TESTS / "unit"]


def test_tests_of_the_whole_import_only_what_is_public() -> None:
    """Those in `unit` may look inside."""
    for path in sources_of_tests():
        own = {name for name in imports_of(path) if name.split(".")[0] == "omega_slices"}
        assert own <= PUBLIC, path


def test_tests_of_the_whole_patch_nothing_within() -> None:
    for path in sources_of_tests():
        assert not re.search(r"[\"']omega_slices\._", path.read_text(encoding="utf-8")), path


def test_no_file_changes_the_search_path() -> None:
    """Only pytest's configuration, and the scripts that start Python, say where modules lie."""
    for folder in (PACKAGE, TESTS, GOLDEN, SCRIPTS):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                is_path = isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.path", "site.addsitedir")
                assert not is_path, f"{path}: {ast.unparse(node)}"


def test_every_test_lies_in_a_folder_of_its_kind() -> None:
    kinds = {"unit", "property", "integration", "faults", "browser", "engines"}
    assert {path.parent.name for path in TESTS.rglob("test_*.py")} <= kinds
    assert {path.parent for path in TESTS.rglob("test_*.py")} <= {TESTS / kind for kind in kinds}
