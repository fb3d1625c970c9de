"""Measure speed, memory and the first slice on data that the script makes itself.

Questions: how long does `omega-slices sync` take to a pipe that is drained, against decoding the same columns alone;
how much memory does it need, and does that grow with the rows; how soon does Python have its first slice.
Data: 50 symbols x bid and ask x 200,000 minutes, 0.1 % of each file missing at random, seed 1 (see bench_data.py);
with --million the memory again at 1,000,000 minutes. Figures are medians of several runs, those that are compared
taken in turns; memory is the highest of all runs. Everything runs on --cores of the machine's cores, and from the
page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Nothing but the standard library here: a child's peak memory counts the moment between fork and exec, when it is
# still a copy of this process. numpy and pyarrow would raise every figure to their own size.

REPOSITORY = Path(__file__).resolve().parent.parent
RELEASE = REPOSITORY / "rust" / "target" / "release"
SYMBOLS = 50
ROWS = 200_000
MILLION = 1_000_000
MISSING = 0.001
SEED = 1
READ_BYTES = 1 << 20

FIRST_SLICE = """
import sys, time
from omega_slices import open_slices
root, symbols, threads = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
started = time.perf_counter()
with open_slices(root, symbols=symbols, threads=threads, backend="rust") as slices:
    next(slices)
    print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Run:
    """One run of a command: wall-clock seconds, bytes it wrote, peak memory."""

    seconds: float
    output_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Figure:
    """One line of the table; `holds` is None where there is no limit."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the value is within its limit."""
        return None if self.limit is None else self.value <= self.limit


def symbol_names() -> list[str]:
    """Return the symbols of the data, as bench_data.py names them."""
    return [f"SYM{number:03d}" for number in range(SYMBOLS)]


def data_of(folder: Path, rows: int) -> Path:
    """Return the data of a number of rows under `folder`, made where it is not there yet."""
    root = folder / f"rows-{rows}-seed-{SEED}"
    if not root.exists():
        # Renamed when complete, so that a folder that is there is whole.
        unfinished = root.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        maker = [sys.executable, str(REPOSITORY / "scripts" / "bench_data.py"), str(unfinished)]
        shape = [f"--symbols={SYMBOLS}", f"--rows={rows}", f"--missing={MISSING}", f"--seed={SEED}"]
        subprocess.run([*maker, *shape], check=True, stdout=sys.stderr)
        unfinished.rename(root)
    return root


def run(command: Sequence[str]) -> Run:
    """Run a command, draining its stdout, and wait for its end."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write_end, stderr=said)
        os.close(write_end)
        output_bytes = 0
        buffer = bytearray(READ_BYTES)
        while count := os.readv(read_end, [buffer]):
            output_bytes += count
        os.close(read_end)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            words = said.read().decode(errors="replace")
            raise SystemExit(f"{' '.join(command[:2])} ended with status {child.returncode}:\n{words}")
    return Run(seconds, output_bytes, usage.ru_maxrss * 1024)


def options_of(root: Path, threads: int) -> list[str]:
    """Return the options that the executable and the bare decoder share."""
    names = ",".join(symbol_names())
    return [f"--data={root}", f"--symbols={names}", "--timeframe=M1", "--price-types=bid,ask", f"--threads={threads}"]


def first_slice_seconds(root: Path, threads: int) -> float:
    """Return the time from `open_slices` to the first slice in a Python that has imported the package."""
    command = [sys.executable, "-c", FIRST_SLICE, str(root), ",".join(symbol_names()), str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Make the data, run everything, and return the table's lines."""
    root = data_of(folder, ROWS)
    sync = [str(options.binary), "sync", *options_of(root, options.threads), "--progress=never"]
    decode = [str(options.decoder), *options_of(root, options.threads)]
    run(decode)  # the first run reads from the disk
    pairs = [(run(decode), run(sync)) for _ in range(options.runs)]
    decode_seconds = statistics.median(decoded.seconds for decoded, _ in pairs)
    sync_seconds = statistics.median(synced.seconds for _, synced in pairs)
    peak_bytes = max(synced.peak_bytes for _, synced in pairs)
    moved_bytes = pairs[0][1].output_bytes
    first = statistics.median(first_slice_seconds(root, options.threads) for _ in range(options.runs))
    figures = [
        Figure("decode alone", decode_seconds, "s"),
        Figure("sync to a drained pipe", sync_seconds, "s"),
        Figure("sync / decode", sync_seconds / decode_seconds, "", 3.0),
        Figure("written to the pipe", moved_bytes / 1e6 / sync_seconds, "MB/s"),
        Figure(f"peak memory, {ROWS:,} rows", peak_bytes / 1e6, "MB", 512.0),
        Figure("first slice in Python", first * 1e3, "ms", 300.0),
    ]
    if options.million:
        root = data_of(folder, MILLION)
        sync = [str(options.binary), "sync", *options_of(root, options.threads), "--progress=never"]
        longer = [run(sync) for _ in range(max(2, options.runs // 2))]
        longer_peak = max(one.peak_bytes for one in longer)
        figures += [
            Figure(f"sync, {MILLION:,} rows", statistics.median(one.seconds for one in longer), "s"),
            Figure(f"peak memory, {MILLION:,} rows", longer_peak / 1e6, "MB", 512.0),
            Figure("memory more than at fewer rows", (longer_peak / peak_bytes - 1) * 100, "%", 15.0),
        ]
    return figures


def print_table(figures: list[Figure], options: argparse.Namespace) -> None:
    """Print the figures for people."""
    print(
        f"{SYMBOLS} symbols x bid and ask x {ROWS:,} minutes, {MISSING:.1%} missing per file, seed {SEED}; "
        f"{options.cores} cores, {options.threads} threads, medians of {options.runs} runs"
    )
    for figure in figures:
        limit = "" if figure.limit is None else f"at most {figure.limit:g} {figure.unit}".rstrip()
        holds = {None: "", True: "holds", False: "DOES NOT HOLD"}[figure.holds]
        print(f"{figure.name:32} {figure.value:10.2f} {figure.unit:5} {limit:16} {holds}".rstrip())


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="keep the data here, or find it here, instead of a temporary folder"
    )
    parser.add_argument("--million", action="store_true", help="also at 1,000,000 rows per file (2 GB of disk)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit does not hold")
    parser.add_argument("--binary", type=Path, default=RELEASE / "omega-slices")
    parser.add_argument("--decoder", type=Path, default=RELEASE / "examples" / "decode_only")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = arguments(argv)
    for program, how in (
        (options.binary, "cargo build --release"),
        (options.decoder, "cargo build --release --examples"),
    ):
        if not os.access(program, os.X_OK):
            print(f"there is no {program}; build it in rust/ with: {how}", file=sys.stderr)
            return 2
    os.environ["OMEGA_SLICES_BINARY"] = str(options.binary)
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)
    options.cores = len(cores)
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(options, options.folder or Path(temporary))
    print_table(figures, options)
    if options.json is not None:
        shape = {"symbols": SYMBOLS, "rows": ROWS, "missing": MISSING, "seed": SEED}
        told = {"data": shape, "cores": options.cores, "threads": options.threads, "runs": options.runs}
        lines = [{**asdict(figure), "holds": figure.holds} for figure in figures]
        options.json.write_text(json.dumps({**told, "figures": lines}, indent=2) + "\n", encoding="utf-8")
    return 1 if options.check and any(figure.holds is False for figure in figures) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
