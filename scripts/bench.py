"""Measure speed and memory: the executable, the Python package, and the same work without us.

Times are medians of --runs runs. Each run is a fresh process on --cores of the machine's cores,
with the files in the page cache. What is compared is run in turns, and once unmeasured before each
measured run. Times of Python run from the opening of the files to the last slice or row, without
imports. Other times are those of the whole process. Memory is the peak of the resident set; for
omega-slices, the sum over Python and the executable.

Every peer loads and aligns all five values of all price types, since a slice carries them all. It
walks through the closes of the bids. All loops must see the same slices and values.

The data is made here: SYMBOLS x bid and ask x MINUTES by pyarrow, seed 1 (see bench_data.py). If a
part says nothing else, every file misses rows at random: 0.1 % of each of 100 files, fewer of more
files. So 90 % of the timestamps are common to all files. The base is `sync` to /dev/null on the
shape of the part main. A cell is one value of one series in one slice.

Parts:
main          50 symbols, 200,000 minutes
step          the step in Python, and the memory of a slice
file          opening, walking and searching a precomputed file
first         the first slice
reference     the plain implementation
wide          500 and 2,000 symbols
window        one day of three years
besides       carried candles, higher timeframes, indicators
sizes         other sizes, for the picture; not run without --plot
writers       the files of every writer of bench_writers.py
shapes        unions: 30 % missing, with carried candles, 3,000 symbols; the peers too
matrices      a table of closes, one field, blocks, a column of a file, a feed of backtrader
small-files   2,000 short files, and 25,000 files of a day each, beside a scan by polars

Heavy, run where they are named, or with --million:
million         the part main with 1,000,000 minutes
file-million    the part file with 1,000,000 minutes
window-million  one day of 1,000,000 minutes, by six writers
universe        the union of 1,000 symbols x 98,000 minutes in 1 GB of memory
matrix-million  a column of a file of 1,000,000 minutes
memory-million  peak memory of 1,000,000 and of 200,000 minutes, by four writers

ArcticDB needs another pandas than the rest, so it is a peer only where --arcticdb names the Python
of an environment that has it and pyarrow. It reads its own store, which is made beforehand.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench_figures
import bench_shapes
import bench_table
import bench_writers
from bench_parts import HEAVY, PARTS, Bench, Setting
from bench_peers import PEERS, missing_packages
from bench_results import BenchError, Measurement, Results
from bench_run import available_memory_bytes

RELEASE = Path(__file__).resolve().parent.parent / "rust" / "target" / "release"
OPEN_FILES = 1_024  # the soft limit that systems give by default
MEMORY_SHARE = 0.9
DEFAULT_PARTS = [part for part in PARTS if part not in (*HEAVY, "sizes")]


def names_of(known: Sequence[str]) -> Any:
    """Return a parser of names separated by commas, or `none`."""

    def parse(text: str) -> list[str]:
        names = [] if text == "none" else text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)} (known: {', '.join(known)})")
        return names

    return parse


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="keep the data here, or find it here, instead of a temporary folder"
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--cores", type=int, default=2, metavar="N")
    parser.add_argument("--million", action="store_true", help="the heavy parts too (25 GB of disk)")
    parser.add_argument("--only", type=names_of(list(PARTS)), metavar="PART,...", help="these parts")
    parser.add_argument(
        "--peers", type=names_of(list(PEERS)), metavar="NAME,...", help=f"of {', '.join(PEERS)}; or none"
    )
    parser.add_argument(
        "--writers",
        type=names_of(bench_writers.NAMES),
        default=list(bench_writers.NAMES),
        metavar="NAME,...",
        help=f"in the parts that compare writers, of {', '.join(bench_writers.NAMES)}",
    )
    parser.add_argument("--arcticdb", type=Path, metavar="PYTHON", help="the Python that has ArcticDB")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run, once on tiny data: no figure of it means anything"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured as JSON")
    parser.add_argument(
        "--from",
        type=Path,
        metavar="FILE",
        dest="earlier",
        help="take what was measured from an earlier --json FILE, and measure only what --only names",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture as SVG; runs the part sizes too")
    parser.add_argument(
        "--plot-shapes", type=Path, metavar="FILE", help="draw our loop and the fastest peer on three shapes as SVG"
    )
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument(
        "--markdown", action="store_true", help="print the tables of docs/explanation/performance.md instead"
    )
    printed.add_argument("--readme", action="store_true", help="print the table of the README instead")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit does not hold")
    parser.add_argument("--binary", type=Path, default=RELEASE / "omega-slices", help=argparse.SUPPRESS)
    parser.add_argument("--decoder", type=Path, default=RELEASE / "examples" / "decode_only", help=argparse.SUPPRESS)
    parser.add_argument(
        "--rewriter", type=Path, default=RELEASE / "examples" / "rewrite_parquet", help=argparse.SUPPRESS
    )
    options = parser.parse_args(argv)
    if options.peers is None:
        options.peers = [name for name in PEERS if name != "arcticdb" or options.arcticdb]
    if options.runs < 1 or options.cores < 1:
        parser.error("--runs and --cores begin at 1")
    if options.only is None:
        options.only = [] if options.earlier else list(DEFAULT_PARTS)
        options.only += HEAVY if options.million else []
        options.only += ["sizes"] if options.plot and not options.earlier else []
    return options


def check_installed(options: argparse.Namespace) -> None:
    """Raise where something is missing, before anything is measured."""
    for program in (options.binary, options.decoder, options.rewriter):
        if not os.access(program, os.X_OK):
            raise BenchError(f"there is no {program}; scripts/bench builds it")
    needed = {package for name in options.peers for package in packages_missing_for(name, options)}
    needed |= {package for name in options.writers for package in bench_writers.missing_packages(name)}
    if (options.plot or options.plot_shapes) and importlib.util.find_spec("matplotlib") is None:
        needed.add("matplotlib")
    if needed:
        raise BenchError(f"not installed: {', '.join(sorted(needed))}; scripts/bench installs what is needed")


def packages_missing_for(peer: str, options: argparse.Namespace) -> list[str]:
    """Return the packages of a peer that its Python does not have."""
    if peer != "arcticdb" or options.arcticdb is None:
        return missing_packages(peer)
    try:
        has = subprocess.run([options.arcticdb, "-c", "import arcticdb, pyarrow"], check=False, capture_output=True)
    except OSError as error:
        raise BenchError(f"cannot run {options.arcticdb}: {error}") from error
    return [] if has.returncode == 0 else ["arcticdb", "pyarrow"]


def measure(options: argparse.Namespace, folder: Path) -> list[Measurement]:
    """Run the parts that were asked for."""
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    bench = Bench(
        Setting(
            binary=options.binary.resolve(),
            decoder=options.decoder.resolve(),
            rewriter=options.rewriter.resolve(),
            # Not resolved: an environment is found by the link to its Python.
            arcticdb=Path(sys.executable) if options.arcticdb is None else options.arcticdb.absolute(),
            folder=folder.resolve(),
            cores=len(cores),
            runs=1 if options.quick else options.runs,
            peers=tuple(options.peers),
            writers=tuple(options.writers),
            memory_bytes=int(available_memory_bytes() * MEMORY_SHARE),
            quick=options.quick,
        )
    )
    return [one for part in options.only for one in PARTS[part](bench)]


def about(options: argparse.Namespace) -> dict[str, Any]:
    """Return when, on what and how it was measured."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": cpu,
        "cores": min(options.cores, len(os.sched_getaffinity(0))),
        "runs": 1 if options.quick else options.runs,
        "quick": options.quick,
    }


def headings(told: dict[str, dict[str, Any]]) -> list[str]:
    """Return one line for all parts that were measured in the same way."""
    parts: dict[str, list[str]] = {}
    for part, how in told.items():
        quick = "SMOKE RUN, the figures mean nothing; " if how["quick"] else ""
        words = f"{quick}{how['processor']}, {how['cores']} cores, medians of {how['runs']} runs, {how['measured_at']}"
        parts.setdefault(words, []).append(part)
    return [f"{words}: {', '.join(names)}" for words, names in parts.items()]


def main(argv: list[str]) -> int:
    options = arguments(argv)
    try:
        earlier = {} if options.earlier is None else json.loads(options.earlier.read_text(encoding="utf-8"))
        kept = [Measurement.from_json(one) for one in earlier.get("measurements", [])]
        measured: list[Measurement] = []
        if options.only:
            check_installed(options)
            with tempfile.TemporaryDirectory() as temporary:
                folder = options.folder or Path(temporary)
                folder.mkdir(parents=True, exist_ok=True)
                measured = measure(options, folder)
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    results = Results([*(one for one in kept if one.part not in options.only), *measured])
    groups = bench_figures.groups_of(results)
    told = {**earlier.get("about", {}), **{part: about(options) for part in options.only}}
    if options.markdown:
        print(bench_figures.markdown(groups, results))
    elif options.readme:
        print(bench_shapes.readme(results))
    else:
        print("\n".join(headings(told)))
        print(bench_table.table(groups))
    if options.json is not None:
        figures = [{"group": group.title, **figure.as_json()} for group in groups for figure in group.figures]
        document = {"about": told, "figures": figures, "measurements": [one.as_json() for one in results.measurements]}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None or options.plot_shapes is not None:
        import bench_plot  # noqa: PLC0415 - not before all is measured: what it imports would weigh on every process

        if options.plot is not None:
            bench_plot.draw(results, options.plot)
        if options.plot_shapes is not None:
            bench_plot.draw_shapes(bench_shapes.pairs_of(results), options.plot_shapes)
    failed = any(figure.holds is False for group in groups for figure in group.figures)
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
