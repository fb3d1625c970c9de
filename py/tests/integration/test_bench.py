"""The benchmark, run once on tiny data.

That every part runs, that the peers do our work, that it judges right.

A peer or writer whose package is not installed here is expected to be refused, with the package's
name.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from helpers.docs import REPOSITORY
from helpers.executable import executable

SCRIPTS = REPOSITORY / "scripts"
TARGET = REPOSITORY / "rust" / "target"
PEERS = ["pyarrow", "polars-joins", "polars-timeline", "duckdb", "pandas", "arcticdb", "polars-scan"]
FIGURES = ("per cell", "memory", "temporary file", "first 64 KiB of output")
MODULES = ("data", "figures", "parts", "peers", "results", "roots", "writers")
TASKS = {"intersection": "bid,ask", "union": "bid"}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The benchmark's modules by the last word of their names."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    found: dict[str, ModuleType] = {name: importlib.import_module(f"bench_{name}") for name in MODULES}
    return SimpleNamespace(**found)


def example(name: str) -> Path:
    """Return one of the examples; a test that needs it fails where it is missing."""
    places = [TARGET / profile / "examples" / name for profile in ("release", "debug")]
    built = [place for place in places if os.access(place, os.X_OK)]
    assert built, f"{name} is not built: run cargo build --example {name} in rust/"
    return built[0]


@pytest.fixture
def programs(binary: Path) -> list[str]:
    """The options of bench.py that name what it runs."""
    return [f"--binary={binary}", f"--decoder={example('decode_only')}", f"--rewriter={example('rewrite_parquet')}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data of smoke runs is made, once for all of them."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture
def writers(modules: SimpleNamespace) -> list[str]:
    """The writers whose packages are installed here."""
    return [name for name in modules.writers.NAMES if not modules.writers.missing_packages(name)]


def script(name: str, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the benchmark's scripts."""
    command = [sys.executable, str(SCRIPTS / name), *map(str, options)]
    variables = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=variables)


def measure(programs: list[str], folder: Path, target: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Run a smoke run; return what it printed and what it wrote."""
    done = script("bench.py", "--quick", f"--folder={folder}", f"--json={target}", *options, *programs)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(target.read_text(encoding="utf-8"))


def test_the_main_part_with_a_peer(programs: list[str], folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    printed, document = measure(programs, folder, target, "--only=main", "--peers=pyarrow", "--writers=pyarrow")
    measured = {one["what"]: one for one in document["measurements"]}
    ours = ["decode", "sync-null", "sync-pipe", "sync-file", "column", "prices", "candles"]
    assert list(measured) == [*ours, "pyarrow", "sums"]
    # 10 series that miss 1 % each: about nine timestamps of ten are left.
    slices = {one["sums"]["slices"] for one in measured.values() if one["sums"] is not None}
    assert len(slices) == 1
    assert 1_700 < slices.pop() < 1_900
    # Python with pyarrow, and the executable beside it.
    assert min(measured["column"]["peak_bytes"]) > min(measured["sync-null"]["peak_bytes"]) > 1e6
    assert [len(measured[what]["cpu_seconds"]) for what in ("decode", "sync-null", "column")] == [1, 1, 0]
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
def test_the_other_parts(parts: list[str], told: list[str], programs: list[str], folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    options = (f"--only={','.join(parts)}", "--peers=none", "--writers=none")
    printed, document = measure(programs, folder, target, *options)
    assert document["about"].keys() == set(parts) == {one["part"] for one in document["measurements"]}
    assert all(len(one["values"]) == len(one["peak_bytes"]) == 1 for one in document["measurements"])
    assert all(figure["value"] > 0 for figure in document["figures"])
    assert [words for words in told if words not in printed] == []


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("writers", ["{writer}: wall", "{writer}: processor", "{writer}: memory"]),
        ("window-million", ["5 symbols x bid x 10,000 minutes, by {writer}"]),
        ("memory-million", ["5 symbols x bid x 2,000 minutes, by {writer}"]),
        (
            "universe",
            [f"100 symbols x bid x 980 minutes, 0 to 40 % missing, by {{writer}}: {what}" for what in FIGURES],
        ),
    ],
)
def test_the_parts_that_compare_writers(
    part: str, names: list[str], writers: list[str], programs: list[str], folder: Path, tmp_path: Path
) -> None:
    chosen = writers if part == "writers" else ["pyarrow", "polars"]
    _, document = measure(programs, folder, tmp_path / "bench.json", f"--only={part}", f"--writers={','.join(chosen)}")
    figures = {figure["name"]: figure for figure in document["figures"]}
    compared = [name for name in chosen if part == "writers" or name != "pyarrow"]
    expected = {name.format(writer=writer) for writer in compared for name in names}
    assert expected - figures.keys() == set()
    assert all(figure["value"] >= 0 for figure in document["figures"])
    assert {one["case"]["writer"] for one in document["measurements"]} == set(chosen)


def test_small_files(programs: list[str], folder: Path, tmp_path: Path) -> None:
    options = ("--only=small-files", "--peers=polars-scan", "--writers=none")
    _, document = measure(programs, folder, tmp_path / "bench.json", *options)
    shapes = ["200 symbols x bid x 20 minutes", "5 symbols x bid x 7,200 minutes, a file per day"]
    figures = ["processor time per file", "polars, sums of a scan", "sync to /dev/null"]
    assert [figure["name"] for figure in document["figures"]] == [
        f"{shape}: {figure}" for shape in shapes for figure in figures
    ]
    days = folder / "symbols-5-bid-rows-7200-seed-1-days"
    assert len(list((days / "SYM004").glob("SYM004_M1_BID_2020-01-0[1-5].parquet"))) == 5
    assert len(list(days.rglob("*.parquet"))) == 25


def test_shapes_in_the_table_and_the_picture_of_the_readme(programs: list[str], folder: Path, tmp_path: Path) -> None:
    target, picture = tmp_path / "bench.json", tmp_path / "shapes.svg"
    _, document = measure(programs, folder, target, "--only=shapes", "--peers=pyarrow,polars-joins", "--writers=none")
    names = [figure["name"] for figure in document["figures"]]
    gappy, wide = "5 symbols x bid and ask x 2,000 minutes, 30 % missing", "300 symbols x bid x 200 minutes"
    assert names[1:3] == [f"{gappy}: union", f"{gappy}: union with carried candles"]
    assert names.count("pyarrow + numpy (the fastest)") == 2
    assert any(name.startswith(f"{wide}, 0 to 40 % missing: union, --memory 700MB") for name in names)
    assert "polars, joins" not in names
    table = script("bench.py", f"--from={target}", "--readme")
    assert table.returncode == 0, table.stderr
    rows = [line.split(" | ")[0] for line in table.stdout.splitlines()[2:] if "| pyarrow + numpy |" in line]
    assert rows == [f"| {one}, union".replace(" x ", " × ") for one in (gappy, f"{wide}, 0 to 40 % missing")]
    if importlib.util.find_spec("matplotlib") is None:
        refused = script("bench.py", "--quick", "--only=first", f"--plot-shapes={picture}", *programs)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "matplotlib" in refused.stderr
        return
    drawn = []
    for _ in range(2):
        script("bench.py", f"--from={target}", f"--plot-shapes={picture}")
        drawn.append(picture.read_bytes())
    assert drawn[0] == drawn[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three symbols, bid and ask, of which 62 of 200 timestamps or so are common to all files."""
    root = tmp_path_factory.mktemp("bench") / "data"
    done = script("bench_data.py", root, "--symbols=3", "--rows=200", "--missing=0.15")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def ours(small: Path) -> dict[str, dict[str, float]]:
    """What our own loops see in it, by timeline."""
    package = {"PYTHONPATH": str(REPOSITORY / "py" / "src"), "OMEGA_SLICES_BINARY": str(executable())}
    seen: dict[str, dict[str, float]] = {}
    for timeline, price_types in TASKS.items():
        options = (f"--timeline={timeline}", f"--price-types={price_types}")
        done = script("bench_loops.py", "sums", small, *options, **package)
        assert done.returncode == 0, done.stderr
        seen[timeline] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_sees_what_we_see(
    peer: str,
    modules: SimpleNamespace,
    small: Path,
    ours: dict[str, dict[str, float]],
    programs: list[str],
    tmp_path: Path,
) -> None:
    assert list(modules.peers.PEERS) == PEERS
    if missing := modules.peers.missing_packages(peer):
        refused = script("bench.py", "--quick", "--only=main", f"--peers={peer}", "--writers=none", *programs)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert ", ".join(missing) in refused.stderr
        return
    assert 40 < ours["intersection"]["slices"] < 100
    assert 190 < ours["union"]["slices"] <= 200
    for kind in modules.peers.PEERS[peer].kinds:
        options = [f"--kind={kind}", f"--price-types={TASKS.get(kind, 'bid,ask')}", f"--store={tmp_path / kind}"]
        if modules.peers.PEERS[peer].prepare is not None:
            script("bench_peers.py", peer, small, *options, "--prepare")
        done = script("bench_peers.py", peer, small, *options)
        assert done.returncode == 0, done.stderr
        theirs = json.loads(done.stdout)
        assert theirs.pop("value") > 0
        expected = {name: ours[kind][name] for name in theirs}
        assert theirs == pytest.approx(expected, rel=1e-9)
        assert len(theirs) == (0 if kind == "scan" else 3)


def test_a_writer_without_its_package_is_refused(modules: SimpleNamespace, programs: list[str]) -> None:
    for name in modules.writers.NAMES:
        if missing := modules.writers.missing_packages(name):
            refused = script("bench.py", "--quick", "--only=writers", f"--writers={name}", "--peers=none", *programs)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert ", ".join(missing) in refused.stderr


@pytest.mark.filterwarnings("default")  # fastparquet uses what the newest pandas is about to change
def test_every_writer_gives_the_same_slices(
    modules: SimpleNamespace, writers: list[str], binary: Path, tmp_path: Path
) -> None:
    roots = modules.roots.Roots(tmp_path, example("rewrite_parquet"))
    case = modules.results.Case(3_000, symbols=2, gaps=(0.1, 0.3))
    shared = ["sync", "--symbols=SYM000,SYM001", "--timeline=union", "--progress=never"]

    def slices_of(one: Any) -> pa.Table:
        options = [f"--data={roots.of(one)}"]
        if one.days:
            options.append(f"--path-template={modules.parts.DAY_TEMPLATE}")
        done = subprocess.run([binary, *shared, *options], check=True, capture_output=True, timeout=60)
        return pa.ipc.open_stream(io.BytesIO(done.stdout)).read_all()

    usual = slices_of(case)
    assert usual.num_rows > 5_000
    for writer in writers:
        assert slices_of(replace(case, writer=writer)).equals(usual), writer
    assert slices_of(replace(case, days=True)).equals(usual)


@pytest.mark.parametrize("shape", [{}, {"gaps": (0.3, 0.3)}, {"writer": "polars", "days": True}])
@pytest.mark.parametrize("wrong", [{"slices": 9}, {"closes": 5.0001}, {"values": 49.0}])
def test_a_disagreement_is_an_error(wrong: dict[str, Any], shape: dict[str, Any], modules: SimpleNamespace) -> None:
    results = modules.results
    case = results.Case(10, **shape)
    right = {"slices": 10, "closes": 5.0, "values": 50.0}
    ours = results.Measurement("main", "sums", case, (0.0,), (1,), results.Sums(**right))
    loop = results.Measurement("main", "column", case, (1.0,), (1,), results.Sums(10))
    peer = results.Measurement("main", "duckdb", case, (1.0,), (1,), results.Sums(**{**right, **wrong}))
    elsewhere = results.Measurement("main", "pandas", results.Case(11), (1.0,), (1,), results.Sums(11))
    results.check_agreement([ours, loop, elsewhere])
    with pytest.raises(results.BenchError, match="duckdb saw"):
        results.check_agreement([ours, loop, elsewhere, peer])


def test_a_peer_that_sees_other_values_in_a_union_is_noticed(
    modules: SimpleNamespace, binary: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = modules.parts.Setting(
        binary=binary,
        decoder=example("decode_only"),
        rewriter=example("rewrite_parquet"),
        arcticdb=Path(sys.executable),
        folder=folder,
        cores=2,
        runs=1,
        peers=("pyarrow",),
        writers=("pyarrow",),
        memory_bytes=10**10,
        quick=True,
    )
    bench = modules.parts.Bench(setting)
    answer = bench.answer_of_peer

    def wrong(*arguments: Any) -> Any:
        sample = answer(*arguments)
        return replace(sample, sums=replace(sample.sums, values=sample.sums.values * 1.001))

    monkeypatch.setattr(bench, "answer_of_peer", wrong)
    with pytest.raises(modules.results.BenchError, match=r"missing: sums saw .* but pyarrow saw"):
        bench.shapes()


@pytest.mark.parametrize(("decode", "fastest", "verdicts"), [(1.0, 4.1, (True, True)), (0.9, 3.9, (False, False))])
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
    assert case(200_000).missing == (0.001, 0.001)
    assert case(2_000, symbols=2_000, price_types=("bid",)).folder == "symbols-2000-bid-rows-2000-seed-1"
    assert case(9, further=("H1", "H4"), indicators=4).folder == "rows-9-seed-1-H1-H4-indicators-4"
    other = case(9, writer="polars", gaps=(0.0, 0.4), days=True)
    assert other.folder == "rows-9-seed-1-gaps-0-0.4-days-polars"
    assert str(other).endswith("9 minutes, 0 to 40 % missing, a file per day, by polars")


def test_measurements_come_back_from_json(modules: SimpleNamespace) -> None:
    results = modules.results
    case = results.Case(9, price_types=("bid",), writer="polars", gaps=(0.0, 0.4), days=True)
    one = results.Measurement(
        "universe", "union", case, (1.0,), (10,), results.Sums(9), cpu_seconds=(2.0,), temporary_bytes=7
    )
    assert results.Measurement.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_measurements_of_older_versions_are_read(modules: SimpleNamespace) -> None:
    case = {"rows": 200_000, "symbols": 50, "price_types": ["bid", "ask"], "seed": 1, "further": [], "indicators": 0}
    told = {"part": "main", "what": "column", "case": {**case, "missing": 0.001}, "values": [1.5], "peak_bytes": [9]}
    told |= {"sums": {"slices": 180_000, "closes": None, "values": None}, "failure": ""}
    one = modules.results.Measurement.from_json(told)
    assert one == modules.results.Measurement(
        "main", "column", modules.results.Case(200_000), (1.5,), (9,), modules.results.Sums(180_000)
    )


def test_the_measuring_process_imports_nothing_large() -> None:
    code = "import bench, sys; print([name for name in ('numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"


def test_a_smoke_run_of_storage(binary: Path, tmp_path: Path) -> None:
    """Every figure is there; of so small data, none says anything."""
    command = [sys.executable, str(SCRIPTS / "bench_storage.py"), "--quick", "--runs=1", f"--folder={tmp_path}"]
    command += [f"--binary={binary}", f"--server={example('range_server')}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for figure in ("requests per file", "share of the bytes", "memory beside local", "opening 500 parts"):
        assert figure in done.stdout
