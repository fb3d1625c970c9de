"""The parts of the benchmark: what is run, on which data, how often, in which order.

Owns the commands; the data comes from bench_roots.py. Every run is a fresh process. Runs that are
compared take turns, so that a slow machine slows all of them down.

At its turn a job is run twice, and the second run counts. The first one brings the files into the
page cache, and takes the memory that the second one takes again. A virtual machine gives memory
that was free for some seconds back to its host, and has to wait for it later. A peer that needs
gigabytes would then take up to three times as long.

Knows nothing of what is promised of the figures.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bench_peers import PEERS, Kind
from bench_results import DAY_MINUTES, Case, Measurement, Sums, check_agreement
from bench_roots import SCRIPTS, Roots
from bench_run import Run, run
from bench_writers import NAMES

FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)
DAY_TEMPLATE = "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}_*.parquet"
BID = ("bid",)
UNION = "--timeline=union"
WINDOW_WRITERS = ("pyarrow", "pyarrow-index", "arrow-rs", "spark", "polars", "duckdb")
MATRICES = ("wide-ours", "wide-pandas", "wide-polars-joins", "wide-polars-pivot", "wide-duckdb")
GROWTH_WRITERS = ("pyarrow", "polars", "duckdb", "arrow-rs")
HELD_SLICES = 100_000
# What a smoke run is smaller by.
QUICK_ROWS = 100
QUICK_SYMBOLS = 10


@dataclass(frozen=True)
class Setting:
    """What the parts are run with.

    `arcticdb` is the Python that has ArcticDB, `memory_bytes` what a Python process may hold.
    """

    binary: Path
    decoder: Path
    rewriter: Path
    arcticdb: Path
    folder: Path
    cores: int
    runs: int
    peers: tuple[str, ...]
    writers: tuple[str, ...]
    memory_bytes: int
    quick: bool


@dataclass(frozen=True)
class Sample:
    """One run: its value, the memory of its processes, what it saw. No value where that was too much.

    Processor time and temporary files are told of the executable alone.
    """

    value: float
    peak_bytes: int
    sums: Sums | None = None
    too_big: bool = False
    cpu_seconds: float | None = None
    temporary_bytes: int = 0


@dataclass(frozen=True)
class Job:
    """A thing to run on a data set."""

    what: str
    case: Case
    measure: Callable[[], Sample]


class Bench:
    """Runs the parts."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.roots = Roots(setting.folder, setting.rewriter)
        self._environment = os.environ | {
            "PYTHONPATH": str(SCRIPTS.parent / "py" / "src"),
            "OMEGA_SLICES_BINARY": str(setting.binary),
        }

    # The parts.

    def main(self) -> list[Measurement]:
        """Run everything on data of the usual size."""
        case = self.case(200_000)
        targets = ("null", "pipe", "file")
        return self.together(
            self.turns(
                "main",
                [
                    self.decode(case),
                    *(self.sync(f"sync-{target}", case, target) for target in targets),
                    *(self.loop(loop, case) for loop in ("column", "prices", "candles")),
                    *self.peers("intersection", case),
                ],
            ),
            self.once("main", self.sums(case)),
        )

    def million(self) -> list[Measurement]:
        """Run the same with 1,000,000 rows per file; the peers once."""
        case = self.case(1_000_000)
        ours = [self.decode(case), *(self.sync(f"sync-{target}", case, target) for target in ("null", "pipe"))]
        return self.together(
            self.turns("million", [*ours, self.loop("column", case)]),
            self.turns("million", self.peers("intersection", case), runs=1),
            self.once("million", self.sums(case)),
        )

    def step(self) -> list[Measurement]:
        """Measure the Python step on its own, and the memory that a slice holds."""
        case, long = self.case(20_000), self.case(200_000)
        loops = ("bare", "column", "prices", "candles")
        held_slices = HELD_SLICES // QUICK_ROWS if self.setting.quick else HELD_SLICES
        jobs = [self.python(f"step-{loop}", case, "step", f"--loop={loop}") for loop in loops]
        return self.turns("step", [*jobs, self.python("held", long, "held", f"--slices={held_slices}")])

    def file(self) -> list[Measurement]:
        """Open, walk and search a precomputed file."""
        return self.precomputed("file", self.case(200_000))

    def file_million(self) -> list[Measurement]:
        """Do the same with 1,000,000 rows per file."""
        return self.precomputed("file-million", self.case(1_000_000))

    def precomputed(self, part: str, case: Case) -> list[Measurement]:
        """Measure what can be done with the slices of a case, once they are a file."""
        with tempfile.TemporaryDirectory(dir=self.setting.folder) as folder:
            path = Path(folder) / "slices.arrow"
            command = [str(self.setting.binary), "sync", *self.options(case), f"--output={path}"]
            run([*command, "--progress=never", UNION])
            kinds = {"touched": "touched", "walk": "walk", "at": "at", "opening": "opening"}
            jobs = [
                Job(what, case, partial(self.answer_of, "bench_loops.py", [kind, str(path)]))
                for what, kind in kinds.items()
            ]
            return self.turns(part, jobs)

    def first(self) -> list[Measurement]:
        """Wait for the first slice."""
        return self.turns("first", [self.python("first", self.case(200_000), "first")])

    def reference(self) -> list[Measurement]:
        """Run the plain implementation in Python, on what it can bear, beside the executable."""
        small, usual = self.case(2_000), self.case(200_000)
        plain = self.python("reference", small, "whole", "--backend=python")
        plain_sums = self.python("reference-sums", small, "sums", "--backend=python")
        return self.together(
            self.turns("reference", [plain, self.loop("column", usual)]),
            self.once("reference", plain_sums, self.sums(small)),
        )

    def wide(self) -> list[Measurement]:
        """Run many symbols."""
        cases = (
            self.case(200_000),
            self.case(20_000, symbols=500),
            self.case(2_000, symbols=2_000, price_types=BID),
        )
        return self.turns("wide", [self.sync("sync-null", case, "null") for case in cases])

    def window(self) -> list[Measurement]:
        """Take one day in the middle of three years."""
        return self.turns("window", self.range_and_day(self.case(3 * 365 * DAY_MINUTES, symbols=10)))

    def window_million(self) -> list[Measurement]:
        """Take one day of 1,000,000 minutes by each of some writers."""
        cases = self.by_writers(self.case(1_000_000, price_types=BID), WINDOW_WRITERS)
        return self.turns("window-million", [job for case in cases for job in self.range_and_day(case)])

    def range_and_day(self, case: Case) -> list[Job]:
        """Return a run over everything, and one over a day in the middle."""
        start = FIRST_DAY + timedelta(days=case.rows // DAY_MINUTES // 2)
        end = start + timedelta(minutes=DAY_MINUTES - 1)
        edges = (f"--start={start:%Y-%m-%dT%H:%M:%SZ}", f"--end={end:%Y-%m-%dT%H:%M:%SZ}")
        return [self.sync("range", case, "null"), self.sync("day", case, "null", *edges)]

    def besides(self) -> list[Measurement]:
        """Show more in the slices of a union.

        Carried candles, higher timeframes, indicators, all of it.
        """
        case = self.case(200_000, further=("H1", "H4"), indicators=4)
        shown = {
            "fill": ("--fill=forward", "--max-age=1h"),
            "further": tuple(f"--with-timeframe={timeframe}" for timeframe in case.further),
            "indicators": ("--indicators=sma10,sma20,sma30,sma40",),
        }
        shown["everything"] = tuple(option for options in shown.values() for option in options)
        jobs = [self.sync(what, case, "null", UNION, *options) for what, options in shown.items()]
        return self.turns("besides", [self.sync("union", case, "null", UNION), *jobs])

    def sizes(self) -> list[Measurement]:
        """Run other numbers of rows and of symbols, for the picture."""
        shapes = [self.case(2_000), self.case(20_000), *(self.case(20_000, symbols=count) for count in (5, 500))]
        return self.together(
            *(
                self.turns(
                    "sizes",
                    [
                        self.decode(case),
                        self.loop("column", case),
                        *self.peers("intersection", case),
                    ],
                    runs=min(3, self.setting.runs),
                )
                for case in dict.fromkeys(shapes)
            )
        )

    def writers(self) -> list[Measurement]:
        """Run the usual size by every writer."""
        cases = self.by_writers(self.case(200_000), NAMES)
        jobs = [self.sync("sync-null", case, "null") for case in cases]
        less = [self.sync("sync-500MB", case, "null", "--memory=500MB") for case in cases if case.writer == "polars"]
        return self.together(self.turns("writers", [*jobs, *less]))

    def shapes(self) -> list[Measurement]:
        """Run the union of series with gaps, and of many symbols."""
        gappy = self.case(200_000, gaps=(0.3, 0.3))
        wide = self.case(20_000, symbols=3_000, price_types=BID, gaps=(0.0, 0.4))
        ours = [
            self.base(),
            self.sync("union", gappy, "null", UNION),
            self.sync("fill", gappy, "null", UNION, "--fill=forward", "--max-age=1h"),
            self.sync("union", wide, "null", UNION),
            self.sync("union-700MB", wide, "null", UNION, "--memory=700MB"),
        ]
        python = [
            self.turns(
                "shapes", [self.loop("column", case, UNION), *self.peers("union", case)], runs=min(3, self.setting.runs)
            )
            for case in (gappy, wide)
        ]
        sums = self.once("shapes", *(self.sums(case, UNION) for case in (gappy, wide)))
        return self.together(self.turns("shapes", ours), *python, sums)

    def matrices(self) -> list[Measurement]:
        """Make tables of closes in every way, take less of the candles, and feed an engine."""
        case = self.case(200_000, symbols=20)
        streams = [self.sync("sync-all", case, "null"), self.sync("sync-close", case, "null", "--fields=close")]
        streams += [self.matrix(kind, case) for kind in ("blocks", "batches", "feed", "own-feed")]
        return [
            *self.turns("matrices", [self.matrix(kind, case) for kind in MATRICES]),
            *self.turns("matrices", streams),
            *self.once("matrices", self.size("bytes-all", case), self.size("bytes-close", case, "--fields=close")),
            *self.matrix_of_file("matrices", self.case(200_000, price_types=BID)),
        ]

    def matrix_million(self) -> list[Measurement]:
        """Take a column of a long file as a matrix."""
        return self.matrix_of_file("matrix-million", self.case(1_000_000, price_types=BID))

    def matrix_of_file(self, part: str, case: Case) -> list[Measurement]:
        """Take a column of the slices of a case as a matrix, once they are a file."""
        with tempfile.TemporaryDirectory(dir=self.setting.folder) as folder:
            path = f"{folder}/slices.arrow"
            run([str(self.setting.binary), "sync", *self.options(case), f"--output={path}", "--progress=never", UNION])
            return self.turns(
                part, [Job("to-numpy", case, partial(self.answer_of, "bench_matrices.py", ["to-numpy", path]))]
            )

    def small_files(self) -> list[Measurement]:
        """Run files of few rows, beside a peer that only reads them."""
        cases = (
            self.case(2_000, symbols=2_000, price_types=BID),
            self.case(500 * DAY_MINUTES, price_types=BID, days=True),
        )
        jobs = [[self.sync("sync-null", case, "null"), *self.peers("scan", case)] for case in cases]
        return self.turns("small-files", [self.base(), *(job for group in jobs for job in group)])

    def universe(self) -> list[Measurement]:
        """Run the union of 1,000 symbols in little memory."""
        whole = self.case(98_000, symbols=1_000, price_types=BID, gaps=(0.0, 0.4))
        options = (UNION, "--memory=1GB")
        jobs = [self.base()]
        for case in self.by_writers(whole, ("pyarrow", "polars")):
            jobs += [self.sync("union", case, "null", *options), self.first_output("output", case, *options)]
        return self.together(self.turns("universe", jobs))

    def memory_million(self) -> list[Measurement]:
        """Run short and long series by each of some writers."""
        short, long = (self.case(rows, price_types=BID) for rows in (200_000, 1_000_000))
        cases = [case for whole in (short, long) for case in self.by_writers(whole, GROWTH_WRITERS)]
        return self.together(self.turns("memory-million", [self.sync("sync-null", case, "null") for case in cases]))

    # How they are run.

    def turns(self, part: str, jobs: Sequence[Job], runs: int | None = None) -> list[Measurement]:
        """Give every job a turn, then every job another, and so on."""
        samples: dict[Job, list[Sample]] = {job: [] for job in jobs}
        for _ in range(runs or self.setting.runs):
            for job, taken in samples.items():
                if any(sample.too_big for sample in taken):
                    continue
                if not self.setting.quick:
                    job.measure()
                taken.append(sample := job.measure())
                told = "too much memory" if sample.too_big else f"{sample.value:.3g}"
                print(f"{part}: {job.case}: {job.what}: {told}", file=sys.stderr)
        return [self.measurement(part, job, taken) for job, taken in samples.items()]

    def once(self, part: str, *jobs: Job) -> list[Measurement]:
        """Run jobs whose time does not count."""
        return [self.measurement(part, job, [job.measure()]) for job in jobs]

    def measurement(self, part: str, job: Job, samples: Sequence[Sample]) -> Measurement:
        """Put the runs of a job together; raise where they saw different slices."""
        whole = [sample for sample in samples if not sample.too_big]
        made = Measurement(
            part,
            job.what,
            job.case,
            tuple(sample.value for sample in whole),
            tuple(sample.peak_bytes for sample in whole),
            whole[0].sums if whole else None,
            cpu_seconds=tuple(sample.cpu_seconds for sample in whole if sample.cpu_seconds is not None),
            temporary_bytes=max((sample.temporary_bytes for sample in whole), default=0),
        )
        check_agreement(replace(made, sums=sample.sums) for sample in whole)
        if len(whole) < len(samples):
            return replace(made, failure=f"needs more than {self.setting.memory_bytes / 1e9:.0f} GB of memory")
        return made

    def together(self, *groups: Sequence[Measurement]) -> list[Measurement]:
        """Return all measurements of a part; raise where they saw different slices."""
        everything = [one for group in groups for one in group]
        check_agreement(everything)
        return everything

    # Jobs.

    def decode(self, case: Case) -> Job:
        """Decode the columns and drop the values: the limit."""

        def measure() -> Sample:
            done = run([str(self.setting.decoder), *self.options(case)])
            return Sample(done.seconds, done.peak_bytes, cpu_seconds=done.cpu_seconds)

        return Job("decode", case, measure)

    def base(self) -> Job:
        """Run the usual size, with which other shapes are compared."""
        return self.sync("base", self.case(200_000), "null")

    def sync(self, what: str, case: Case, target: str, *options: str) -> Job:
        """Run the executable, which writes to nothing, to a pipe that is drained, or to a file."""
        return Job(what, case, partial(self.synchronise, case, target, options, lambda done: done.seconds))

    def first_output(self, what: str, case: Case, *options: str) -> Job:
        """Run the executable; the time until the first 64 KiB are there counts."""
        return Job(what, case, partial(self.synchronise, case, "pipe", options, lambda done: done.first_seconds))

    def synchronise(self, case: Case, target: str, options: Sequence[str], value: Callable[[Run], float]) -> Sample:
        """Run the executable, and take a value of the run."""
        command = [str(self.setting.binary), "sync", *self.options(case), *options]
        command += ["--progress=never", "--error-format=json"]
        if case.days:
            command.append(f"--path-template={DAY_TEMPLATE}")
        with tempfile.TemporaryDirectory(dir=self.setting.folder) as folder:
            if target == "file":
                command.append(f"--output={folder}/slices.arrows")
            done = run(command, output="pipe" if target == "pipe" else "null")
        report = json.loads(done.stderr.splitlines()[-1])
        return Sample(
            value(done),
            done.peak_bytes,
            Sums(report["slices"]),
            cpu_seconds=done.cpu_seconds,
            temporary_bytes=report.get("temporary_bytes", 0),
        )

    def loop(self, loop: str, case: Case, *options: str) -> Job:
        """Run a loop over slices in Python, from the files on."""
        return self.python(loop, case, "whole", f"--loop={loop}", *options)

    def sums(self, case: Case, *options: str) -> Job:
        """Tell what the loops over slices see; the time does not count."""
        return self.python("sums", case, "sums", *options)

    def python(self, what: str, case: Case, kind: str, *options: str) -> Job:
        """Run something of bench_loops.py."""
        return Job(what, case, partial(self.answer, "bench_loops.py", kind, case, *options))

    def matrix(self, kind: str, case: Case) -> Job:
        """Run something of bench_matrices.py."""
        return Job(kind, case, partial(self.answer, "bench_matrices.py", kind, case))

    def size(self, what: str, case: Case, *options: str) -> Job:
        """Run the executable into a file, whose size counts."""

        def measure() -> Sample:
            with tempfile.TemporaryDirectory(dir=self.setting.folder) as folder:
                path = Path(folder) / "slices.arrows"
                command = [str(self.setting.binary), "sync", *self.options(case), *options, f"--output={path}"]
                done = run([*command, "--progress=never"])
                return Sample(path.stat().st_size, done.peak_bytes)

        return Job(what, case, measure)

    def peers(self, kind: Kind, case: Case) -> list[Job]:
        """Run the peers that were asked for and can do a kind of task."""
        names = [name for name in self.setting.peers if kind in PEERS[name].kinds]
        return [Job(name, case, partial(self.answer_of_peer, name, kind, case)) for name in names]

    def answer_of_peer(self, name: str, kind: Kind, case: Case) -> Sample:
        """Run a peer, after its store is made where it reads one."""
        options = [f"--kind={kind}"]
        if PEERS[name].prepare is None:
            return self.answer("bench_peers.py", name, case, *options)
        python = str(self.setting.arcticdb)
        command = [python, str(SCRIPTS / "bench_peers.py"), name, f"--price-types={','.join(case.price_types)}"]
        options.append(f"--store={self.roots.store_of(case, command)}")
        return self.answer("bench_peers.py", name, case, *options, python=python)

    def answer(self, script: str, what: str, case: Case, *options: str, python: str = sys.executable) -> Sample:
        """Run a script about a data set."""
        shared = [f"--price-types={','.join(case.price_types)}", f"--threads={self.setting.cores}"]
        return self.answer_of(script, [what, str(self.roots.of(case)), *shared, *options], python)

    def answer_of(self, script: str, arguments: Sequence[str], python: str = sys.executable) -> Sample:
        """Run a script with these arguments."""
        done = run(
            [python, str(SCRIPTS / script), *arguments],
            output="keep",
            environment=self._environment,
            memory_bytes=self.setting.memory_bytes,
        )
        if done.too_big:
            return Sample(math.nan, done.peak_bytes, too_big=True)
        answer: dict[str, Any] = json.loads(done.stdout)
        value = answer.pop("value")
        return Sample(value, done.peak_bytes, Sums(**answer) if answer else None)

    def options(self, case: Case) -> list[str]:
        """Return the options that the executable and the bare decoder share."""
        root = self.roots.of(case)
        symbols = ",".join(sorted(path.name for path in root.iterdir()))
        price_types = ",".join(case.price_types)
        shared = [f"--data={root}", f"--symbols={symbols}", "--timeframe=M1", f"--price-types={price_types}"]
        return [*shared, f"--threads={self.setting.cores}"]

    # Data.

    def case(self, rows: int, **shape: Any) -> Case:
        """Return a shape, made small for a smoke run."""
        case = Case(rows, **shape)
        if not self.setting.quick:
            return case
        return replace(case, rows=max(2, case.rows // QUICK_ROWS), symbols=max(2, case.symbols // QUICK_SYMBOLS))

    def by_writers(self, case: Case, writers: Sequence[str]) -> list[Case]:
        """Return a shape by each of these writers that was asked for."""
        return [replace(case, writer=writer) for writer in writers if writer in self.setting.writers]


PARTS: dict[str, Callable[[Bench], list[Measurement]]] = {
    "main": Bench.main,
    "million": Bench.million,
    "step": Bench.step,
    "file": Bench.file,
    "file-million": Bench.file_million,
    "first": Bench.first,
    "reference": Bench.reference,
    "wide": Bench.wide,
    "window": Bench.window,
    "besides": Bench.besides,
    "sizes": Bench.sizes,
    "writers": Bench.writers,
    "shapes": Bench.shapes,
    "matrices": Bench.matrices,
    "matrix-million": Bench.matrix_million,
    "small-files": Bench.small_files,
    "window-million": Bench.window_million,
    "universe": Bench.universe,
    "memory-million": Bench.memory_million,
}
# Those that take minutes and many gigabytes: run where they are named, or with --million.
HEAVY = ("million", "file-million", "window-million", "universe", "memory-million", "matrix-million")
