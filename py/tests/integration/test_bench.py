"""The benchmark, run once on tiny data.

That every part runs, that the peers do our work, that it judges right.

A peer whose package is not installed here is expected to be refused, with the package's name.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from helpers.docs import REPOSITORY
from helpers.executable import executable

SCRIPTS = REPOSITORY / "scripts"
TARGET = REPOSITORY / "rust" / "target"
PEERS = ["pyarrow", "polars-joins", "polars-timeline", "duckdb", "pandas"]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The benchmark's modules by the last word of their names."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    found: dict[str, ModuleType] = {
        name: importlib.import_module(f"bench_{name}") for name in ("figures", "peers", "results")
    }
    return SimpleNamespace(**found)


@pytest.fixture(scope="session")
def decoder() -> Path:
    """The example that decodes only; a test that needs it fails where it is missing."""
    places = [TARGET / profile / "examples" / "decode_only" for profile in ("release", "debug")]
    built = [place for place in places if os.access(place, os.X_OK)]
    assert built, "decode_only is not built: run cargo build --example decode_only in rust/"
    return built[0]


def script(name: str, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the benchmark's scripts."""
    command = [sys.executable, str(SCRIPTS / name), *map(str, options)]
    variables = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=variables)


def measure(binary: Path, decoder: Path, target: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Run a smoke run; return what it printed and what it wrote."""
    programs = (f"--binary={binary}", f"--decoder={decoder}")
    done = script("bench.py", "--quick", f"--folder={target.parent}", f"--json={target}", *options, *programs)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(target.read_text(encoding="utf-8"))


def test_the_main_part_with_a_peer(binary: Path, decoder: Path, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    printed, document = measure(binary, decoder, target, "--only=main", "--peers=pyarrow")
    measured = {one["what"]: one for one in document["measurements"]}
    ours = ["decode", "sync-null", "sync-pipe", "sync-file", "column", "prices", "candles"]
    assert list(measured) == [*ours, "pyarrow", "sums"]
    # 10 series that miss 1 % each: about nine timestamps of ten are left.
    slices = {one["sums"]["slices"] for one in measured.values() if one["sums"] is not None}
    assert len(slices) == 1
    assert 1_700 < slices.pop() < 1_900
    # Python with pyarrow, and the executable beside it.
    assert min(measured["column"]["peak_bytes"]) > min(measured["sync-null"]["peak_bytes"]) > 1e6
    assert "SMOKE RUN" in printed
    # The file alone tells the same, in either form.
    again = script("bench.py", f"--from={target}")
    assert (again.returncode, again.stdout) == (0, printed), again.stderr
    tables = script("bench.py", f"--from={target}", "--markdown").stdout
    assert "| pyarrow + numpy |" in tables
    broken = [figure["holds"] for figure in document["figures"]].count(False)
    assert tables.count("does not hold") == printed.count("DOES NOT HOLD") == broken
    assert script("bench.py", f"--from={target}", "--check").returncode == min(1, broken)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (["million", "window", "sizes"], ["1,000,000 slices", "one day", "20 minutes"]),
        (
            ["file", "file-million"],
            ["Precomputed file, 5 symbols", "step and column(), the mapped file", "at(), timestamps", "read_slices()"],
        ),
        (["step", "first"], ["step and every CandleData", "memory of a slice", "the first slice"]),
        (["besides"], ["and carried candles", "and all of these", "the plain union"]),
        (["reference", "wide"], ["reference, per slice", "200 symbols x bid x 20 minutes, per value"]),
    ],
)
def test_the_other_parts(parts: list[str], told: list[str], binary: Path, decoder: Path, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    printed, document = measure(binary, decoder, target, f"--only={','.join(parts)}", "--peers=none")
    assert document["about"].keys() == set(parts) == {one["part"] for one in document["measurements"]}
    assert all(len(one["values"]) == len(one["peak_bytes"]) == 1 for one in document["measurements"])
    assert all(figure["value"] > 0 for figure in document["figures"])
    assert [words for words in told if words not in printed] == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three symbols, bid and ask, of which 62 of 200 timestamps or so are common to all files."""
    root = tmp_path_factory.mktemp("bench") / "data"
    done = script("bench_data.py", root, "--symbols=3", "--rows=200", "--missing=0.15")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def ours(small: Path) -> dict[str, float]:
    """What our own loops see in it."""
    package = {"PYTHONPATH": str(REPOSITORY / "py" / "src"), "OMEGA_SLICES_BINARY": str(executable())}
    done = script("bench_loops.py", "sums", small, **package)
    assert done.returncode == 0, done.stderr
    seen: dict[str, float] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_sees_what_we_see(
    peer: str, modules: SimpleNamespace, small: Path, ours: dict[str, float], binary: Path, decoder: Path
) -> None:
    assert list(modules.peers.PEERS) == PEERS
    if missing := modules.peers.missing_packages(peer):
        programs = (f"--binary={binary}", f"--decoder={decoder}")
        refused = script("bench.py", "--quick", "--only=main", f"--peers={peer}", *programs)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert ", ".join(missing) in refused.stderr
        return
    done = script("bench_peers.py", peer, small)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert 40 < theirs["slices"] == ours["slices"] < 100
    assert theirs["closes"] == pytest.approx(ours["closes"], rel=1e-9)
    assert theirs["values"] == pytest.approx(ours["values"], rel=1e-9)


@pytest.mark.parametrize("wrong", [{"slices": 9}, {"closes": 5.0001}, {"values": 49.0}])
def test_a_disagreement_is_an_error(wrong: dict[str, Any], modules: SimpleNamespace) -> None:
    results = modules.results
    case = results.Case(10)
    right = {"slices": 10, "closes": 5.0, "values": 50.0}
    ours = results.Measurement("main", "sums", case, (0.0,), (1,), results.Sums(**right))
    loop = results.Measurement("main", "column", case, (1.0,), (1,), results.Sums(10))
    peer = results.Measurement("main", "duckdb", case, (1.0,), (1,), results.Sums(**{**right, **wrong}))
    elsewhere = results.Measurement("main", "pandas", results.Case(11), (1.0,), (1,), results.Sums(11))
    results.check_agreement([ours, loop, elsewhere])
    with pytest.raises(results.BenchError, match="duckdb saw"):
        results.check_agreement([ours, loop, elsewhere, peer])


@pytest.mark.parametrize(("decode", "fastest", "verdicts"), [(1.0, 11.0, (True, True)), (0.9, 9.0, (False, False))])
def test_limits_are_judged_on_medians(
    decode: float, fastest: float, verdicts: tuple[bool, bool], modules: SimpleNamespace
) -> None:
    results, figures = modules.results, modules.figures

    def measured(what: str, *values: float) -> Any:
        return results.Measurement("main", what, results.Case(200_000), values, (10**6,), results.Sums(1_000_000))

    made = [
        measured("decode", decode),
        measured("column", 0.1, 2.0, 9.0),
        measured("pandas", 99.0),
        measured("duckdb", fastest),
    ]
    (group,) = figures.groups_of(results.Results(made))
    judged = {figure.name: figure.holds for figure in group.figures if figure.ratio and figure.limit}
    assert judged == dict(zip(("Python loop, column()", "duckdb (the fastest)"), verdicts, strict=True))


def test_data_folders_keep_their_names(modules: SimpleNamespace) -> None:
    case = modules.results.Case
    assert case(200_000).folder == "rows-200000-seed-1"
    assert case(200_000).missing == 0.001
    assert case(2_000, symbols=2_000, price_types=("bid",)).folder == "symbols-2000-bid-rows-2000-seed-1"
