"""Measure storage and parts: `scripts/bench storage`.

Objects come from the example range_server, on this machine, which waits 30 ms before each answer:
what a bucket does, without a network that others use. It speaks of ETag and If-Match, and sends a
range by the system call for it, so it costs little beside the readers.

The data is that of bench_data.py (pyarrow, seed 1): 50 symbols x bid and ask x 200,000 minutes, all
of it; and 5 symbols x bid x a year of minutes, of which a day is read, in one row group with a page
index, and in a row group per month. Peers read the same columns of the same files from the same
server, and do no more. What is compared takes turns; figures are medians of --runs runs, each a
process of its own after one that is not measured. The exit status is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pyarrow.parquet as pq
from bench_run import Run, run

SCRIPTS: Final = Path(__file__).parent
DELAY_MS: Final = 30
BUILT: Final = SCRIPTS.parent / "rust" / "target" / "release"
YEAR_MINUTES: Final = 365 * 24 * 60
MONTH_MINUTES: Final = 30 * 24 * 60
PARTS: Final = 500

POLARS: Final = """
import sys, polars as pl
options = {"aws_endpoint_url": sys.argv[1], "aws_region": "us-east-1", "aws_allow_http": "true"}
options |= {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
for path in sys.argv[3:]:
    pl.scan_parquet(f"s3://{sys.argv[2]}/{path}", storage_options=options).collect()
"""
PYARROW: Final = """
import sys, pyarrow.dataset as ds, pyarrow.fs as fs
s3 = fs.S3FileSystem(endpoint_override=sys.argv[1].removeprefix("http://"), scheme="http", access_key="k",
                     secret_key="s", region="us-east-1")
ds.dataset([f"{sys.argv[2]}/{path}" for path in sys.argv[3:]], filesystem=s3, format="parquet").to_table()
"""


@contextmanager
def serving(server: Path, folder: Path, delay_ms: int) -> Iterator[str]:
    """Serve a folder, and yield its URL."""
    command = [str(server), str(folder), str(delay_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.kill()


def counts_of(url: str) -> dict[str, int]:
    """Return the requests and bytes since the last call."""
    with urlopen(f"{url}/:counts") as answer:  # noqa: S310  # our own server
        return json.load(answer)  # type: ignore[no-any-return]


def data_of(folder: Path, *shape: str) -> Path:
    """Make data, unless it is there."""
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        subprocess.run([sys.executable, str(SCRIPTS / "bench_data.py"), str(unfinished), *shape], check=True)
        unfinished.rename(folder)
    return folder


def rewritten(source: Path, target: Path, **options: Any) -> Path:
    """Write the files of a folder in another layout, unless they are there."""
    if not target.exists():
        unfinished = target.with_suffix(".unfinished")
        for path in sorted(source.rglob("*.parquet")):
            copy = unfinished / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pq.read_table(path), copy, use_dictionary=False, **options)
        unfinished.rename(target)
    return target


def in_turns(runs: int, **jobs: Callable[[], Run]) -> dict[str, list[Run]]:
    """Run jobs in turns, each once unmeasured before it counts."""
    found: dict[str, list[Run]] = {name: [] for name in jobs}
    for _ in range(runs):
        for name, job in jobs.items():
            job()
            found[name].append(job())
    return found


def seconds_of(found: list[Run]) -> float:
    return statistics.median(one.seconds for one in found)


class Figures:
    """What was measured, with its targets; and what it is measured with."""

    def __init__(self, binary: Path, server: Path) -> None:
        """Begin without a figure."""
        self.binary = binary
        self.server = server
        self.missed = 0

    def sync(self, root: object, *options: str) -> list[str]:
        """Return the command of a run."""
        return [str(self.binary), "sync", f"--data={root}", "--progress=never", *options]

    def serving(self, folder: Path, delay_ms: int) -> AbstractContextManager[str]:
        """Serve a folder, and yield its URL."""
        return serving(self.server, folder, delay_ms)

    def add(self, what: str, value: float, limit: float | None, unit: str = "") -> None:
        """Print a figure, and whether it misses its target."""
        is_missed = limit is not None and value > limit
        self.missed += is_missed
        told = "" if limit is None else f"  (at most {limit:.3g}{unit}{', MISSED' if is_missed else ''})"
        print(f"{what:<72} {value:8.3f}{unit}{told}", flush=True)


def whole(figures: Figures, folder: Path, runs: int, symbols: int, rows: int) -> None:
    """Read all of many files, and compare with local ones and with peers."""
    data = data_of(folder / f"main-{symbols}-{rows}", f"--symbols={symbols}", f"--rows={rows}", "--seed=1")
    names = [str(path.relative_to(data)) for path in sorted(data.rglob("*.parquet"))]
    listed = ",".join(sorted({name.split("/")[0] for name in names}))
    options = [f"--symbols={listed}", "--timeline=union"]
    with figures.serving(folder, DELAY_MS) as url:
        remote = figures.sync(f"{url}/{data.name}", *options)
        found = in_turns(
            runs,
            local=lambda: run(figures.sync(data, *options)),
            remote=lambda: run(remote),
            polars=lambda: run([sys.executable, "-c", POLARS, url, data.name, *names]),
            pyarrow=lambda: run([sys.executable, "-c", PYARROW, url, data.name, *names]),
        )
        counts_of(url)
        run(remote)
        counts = counts_of(url)
    local, bucket = seconds_of(found["local"]), seconds_of(found["remote"])
    peer = min(seconds_of(found["polars"]), seconds_of(found["pyarrow"]))
    shape = f"{symbols} symbols x 2 x {rows:,} rows"
    figures.add(f"{shape}: local", local, None, " s")
    figures.add(f"{shape}: from the server", bucket, 2 * local + 1, " s")
    figures.add(
        "  processor time of ours from the server, beside local", cpu_of(found["remote"]) / cpu_of(found["local"]), None
    )
    figures.add("  polars, the columns alone", seconds_of(found["polars"]), None, " s")
    figures.add("  pyarrow, the columns alone", seconds_of(found["pyarrow"]), None, " s")
    figures.add("  beside the faster peer", bucket / peer, 1.5)
    figures.add("  requests per file", counts["requests"] / len(names), 4)
    memory = {name: max(one.peak_bytes for one in found[name]) for name in ("local", "remote")}
    figures.add("  memory beside local", memory["remote"] / memory["local"], 1.3)


def cpu_of(found: list[Run]) -> float:
    return statistics.median(one.cpu_seconds for one in found)


def window(figures: Figures, folder: Path, rows: int) -> None:
    """Read a day of a year, and count bytes."""
    data = data_of(folder / f"year-{rows}", "--symbols=5", f"--rows={rows}", "--price-types=bid", "--seed=1")
    layouts = {
        "a page index": rewritten(data, folder / f"year-index-{rows}", write_page_index=True),
        "a row group per month": rewritten(data, folder / f"year-months-{rows}", row_group_size=MONTH_MINUTES),
    }
    day = ["--start=2020-01-20T00:00:00Z", "--before=2020-01-21T00:00:00Z"]
    for layout, place in layouts.items():
        files = list(place.rglob("*.parquet"))
        symbols = ",".join(sorted({path.parent.name for path in files}))
        with figures.serving(folder, 0) as url:
            run(figures.sync(f"{url}/{place.name}", f"--symbols={symbols}", "--price-types=bid", *day))
            read = counts_of(url)["bytes"]
        size = sum(path.stat().st_size for path in files)
        figures.add(f"a day of a year, files with {layout}: share of the bytes", read / size, 0.1)


PARTED: Final = """
import sys, tempfile, time
from omega_slices import Request, precompute, read_slices
root, by, symbols, mode = sys.argv[1:]
request = Request(data=root, symbols=tuple(symbols.split(",")), timeline="union")
if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as into:
        started = time.perf_counter()
        table = precompute(request, into, by=int(by))
        made = time.perf_counter() - started
        times = []
        for _ in range(5):
            started = time.perf_counter()
            table = read_slices(into)
            times.append(time.perf_counter() - started)
        print(made if mode == "made" else min(times))
"""


def parts(figures: Figures, folder: Path, runs: int, symbols: int, rows: int) -> None:
    """Make parts by processes, and open many of them."""
    data = data_of(folder / f"main-{symbols}-{rows}", f"--symbols={symbols}", f"--rows={rows}", "--seed=1")
    names = ",".join(sorted(path.name for path in data.iterdir()))
    environment = os.environ | {
        "PYTHONPATH": str(SCRIPTS.parent / "py" / "src"),
        "OMEGA_SLICES_BINARY": str(figures.binary),
    }

    def parted(by: int, listed: str, mode: str) -> float:
        command = [sys.executable, "-c", PARTED, str(data), str(by), listed, mode]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout)

    whole_s, parts_s = [], []
    with tempfile.TemporaryDirectory(dir=folder) as target:
        for number in range(runs + 1):
            started = time.perf_counter()
            run(
                figures.sync(
                    data, f"--symbols={names}", "--timeline=union", "--threads=2", f"--output={target}/{number}.arrow"
                )
            )
            whole_s.append(time.perf_counter() - started)
            Path(f"{target}/{number}.arrow").unlink()
            parts_s.append(parted(8, names, "made"))
    ratio = statistics.median(parts_s[1:]) / statistics.median(whole_s[1:])
    figures.add("8 parts by 2 processes, beside one run with 2 threads", ratio, 1.3)
    opening_ms = parted(PARTS, names.split(",", maxsplit=1)[0], "open") * 1_000
    figures.add(f"opening {PARTS} parts", opening_ms, 100, " ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=SCRIPTS.parent / "out" / "bench-storage")
    parser.add_argument("--binary", type=Path, default=BUILT / "omega-slices", help="the executable")
    parser.add_argument("--server", type=Path, default=BUILT / "examples" / "range_server", help="the server")
    parser.add_argument("--quick", action="store_true", help="small data, and no limit counts")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    symbols, rows, year = (3, 2_000, YEAR_MINUTES // 12) if arguments.quick else (50, 200_000, YEAR_MINUTES)
    figures = Figures(arguments.binary, arguments.server)
    whole(figures, arguments.folder, arguments.runs, symbols, rows)
    window(figures, arguments.folder, year)
    parts(figures, arguments.folder, arguments.runs, symbols, rows)
    sys.exit(1 if figures.missed and not arguments.quick else 0)


if __name__ == "__main__":
    main()
