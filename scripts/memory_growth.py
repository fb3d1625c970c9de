"""Walk many long streams in one process, and hold the memory that is kept against a limit.

Question: does a stream leave anything behind in the process that read it? Shape: `--symbols` x bid
and ask x `--slices` minutes (see bench_data.py, nothing missing), opened `--streams` times with
the executable, one value read of each slice. After each stream: the memory that the process holds
(VmRSS), and its descriptors and children. Exits with 1 where it holds more than `--limit-mb` more
than after the first one.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_data

from omega_slices import open_slices


def resident_mb() -> float:
    """Return the memory that this process holds, in units of 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def walk(root: Path, symbols: list[str]) -> tuple[int, float]:
    """Read one value of each slice.

    Return how many slices there were, and the sum of the values.
    """
    slices, total = 0, 0.0
    with open_slices(root, symbols=symbols, timeframe="M1", backend="rust") as stream:
        for one in stream:
            total += one.get_price(symbols[0], "mid") or 0.0
            slices += 1
    return slices, total


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10, metavar="N")
    parser.add_argument("--slices", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--symbols", type=int, default=4, metavar="N")
    parser.add_argument("--limit-mb", type=float, default=5.0, metavar="MB")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = arguments(argv)
    symbols = bench_data.symbol_names(options.symbols)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        made = ["--symbols", options.symbols, "--rows", options.slices, "--missing", 0]
        # In a process of its own: memory that it has given back could take up what streams leave
        # behind.
        subprocess.run([sys.executable, bench_data.__file__, str(root), *map(str, made)], check=True)
        first, largest, sums = 0.0, 0.0, set()
        for number in range(1, options.streams + 1):
            started = time.perf_counter()
            slices, total = walk(root, symbols)
            seconds = time.perf_counter() - started
            gc.collect()
            assert slices == options.slices, f"{slices} slices instead of {options.slices}"
            sums.add(total)
            now = resident_mb()
            first = first or now
            largest = max(largest, now)
            descriptors = len(os.listdir("/proc/self/fd"))
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
            print(
                f"stream {number:2}: {slices:,} slices in {seconds:5.1f} s, {now:7.2f} MB resident, "
                f"{descriptors} descriptors, {len(children)} children",
                flush=True,
            )
    assert len(sums) == 1, "the streams differ"
    growth = largest - first
    print(f"memory: {options.streams} streams of {options.slices:,} slices, {growth:.2f} MB more than after the first")
    if growth > options.limit_mb:
        print(f"memory: that is more than {options.limit_mb:g} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
