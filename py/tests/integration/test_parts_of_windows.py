"""Parts of requests whose windows are hard to cut: floored rows, dates of zones, the ends of time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers.candle_files import COLUMNS, DAY_NS, HOUR_NS, START_NS, write_candles
from helpers.storage_runs import run
from helpers.whole_runs import files_of, whole_run

from omega_slices import CorruptInputError, Request, RequestError, open_slices, precompute


def write(path: Path, stamps: list[int], values: list[float] | None = None, zone: str | None = "UTC") -> None:
    column = np.arange(len(stamps), dtype=float) if values is None else np.array(values)
    write_candles(path, stamps, dict.fromkeys((*COLUMNS, "rsi"), column), zone)


def minutes(*times: str) -> list[int]:
    """Return times of 2024-01-02, nanoseconds."""
    return [START_NS + (int(time[:2]) * 60 + int(time[3:])) * 60 * 10**9 for time in times]


def parts_of(binary: Path, root: Path, into: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    return run(binary, "precompute", f"--data={root}", f"--into={into}", *options)


def check_joined(binary: Path, root: Path, folder: Path, options: list[str], cuts: list[str]) -> None:
    """Check that the executable's parts, and those of the package, are the whole."""
    whole = folder / "whole.arrow"
    done = run(binary, "sync", f"--data={root}", f"--output={whole}", "--force", *options)
    assert done.returncode == 0, done.stderr
    for cut in cuts:
        into = folder / f"parts-{cut}"
        made = parts_of(binary, root, into, f"--by={cut}", *options)
        assert made.returncode == 0, made.stderr
        compared = run(binary, "diff", whole, into)
        assert compared.returncode == 0, compared.stdout.decode()


def test_floored_rows_of_other_series_lie_in_the_outer_candles(tmp_path: Path, binary: Path) -> None:
    root = tmp_path / "root"
    write(root / "A" / "A_M5_BID.parquet", minutes("09:02", "09:50", "09:55"))
    write(root / "A" / "A_H1_BID.parquet", minutes("09:00", "09:57"), [10.0, 20.0])
    write(root / "A" / "A_M5_IND.parquet", minutes("09:00", "09:50", "09:58"), [1.0, 2.0, 3.0])
    options = ["--symbols=A", "--timeframe=M5", "--price-types=bid", "--normalize", "--with-timeframe=H1"]
    check_joined(binary, root, tmp_path, [*options, "--known-at=close", "--indicators=rsi"], ["1", "2", "5"])
    request = Request(
        data=str(root),
        symbols=("A",),
        timeframe="M5",
        price_types=("bid",),
        normalize=True,
        with_timeframe=("H1",),
        known_at="close",
        indicators=("rsi",),
    )
    assert precompute(request, tmp_path / "python", by=2).to_arrow().equals(whole_run(request))


@pytest.mark.parametrize("offset", [0, 3, 8, 16, 19])
def test_a_date_that_ends_before_its_own_stamp(tmp_path: Path, binary: Path, offset: int) -> None:
    root = tmp_path / "root"
    grid = 20 * HOUR_NS
    first = -(-START_NS // grid) * grid + offset * HOUR_NS
    stamps = [first + place * grid for place in range(12)]
    write(root / "A" / "A_H20_BID.parquet", stamps)
    # Days of Tokyo are over at 15:00Z of their date.
    days = [START_NS + place * DAY_NS - 9 * HOUR_NS for place in range(-3, 20)]
    write(root / "A" / "A_D1_BID.parquet", days, zone="Asia/Tokyo")
    options = ["--symbols=A", "--timeframe=H20", "--price-types=bid", "--days=local", "--with-timeframe=D1"]
    check_joined(binary, root, tmp_path, [*options, "--known-at=close"], ["1", "10"])

    # Neither does an end change a slice that comes before it, whoever makes it.
    def shown(backend: str, **window: Any) -> pa.Table:
        with open_slices(
            root,
            symbols=["A"],
            timeframe="H20",
            price_types=["bid"],
            days="local",
            with_timeframe="D1",
            known_at="close",
            backend=backend,
            **window,
        ) as slices:
            return slices.to_arrow()

    for backend in ("rust", "python"):
        whole = shown(backend)
        for place in (3, 7):
            assert shown(backend, end=stamps[place]).equals(whole.slice(0, place + 1)), backend


def test_a_start_inside_a_candle_is_not_cut(tmp_path: Path, binary: Path) -> None:
    root = tmp_path / "root"
    write(root / "A" / "A_M5_BID.parquet", minutes("09:03", "09:06", "09:11"))
    write(root / "B" / "B_M5_BID.parquet", minutes("09:01"))
    window = ["--start=2024-01-02T09:02:00Z", "--before=2024-01-02T09:15:00Z", "--by=3"]
    options = ["--symbols=A,B", "--timeframe=M5", "--price-types=bid", "--normalize", "--timeline=union"]
    refused = parts_of(binary, root, tmp_path / "x", *options, "--fill=forward", "--max-age=2bars", *window)
    assert refused.returncode == 2
    assert "inside a candle" in json.loads(refused.stderr.splitlines()[0])["message"]
    assert parts_of(binary, root, tmp_path / "x", *options, *window).returncode == 0
    with pytest.raises(RequestError, match="inside a candle"):
        Request(
            data=str(root),
            symbols=("A", "B"),
            timeframe="M5",
            normalize=True,
            fill="forward",
            max_age="2bars",
            start=minutes("09:02")[0],
            before=minutes("09:15")[0],
        ).split(3)


@pytest.mark.parametrize("backend", ["rust", "python"])
def test_a_local_time_behind_the_last_instant(tmp_path: Path, backend: str) -> None:
    last = 2**63 - 1
    write(tmp_path / "A" / "A_M1_BID.parquet", [last - 5 * HOUR_NS, last - HOUR_NS], zone=None)
    options: dict[str, Any] = {
        "symbols": ["A"],
        "price_types": ["bid"],
        "zone": "America/New_York",
        "ambiguous": "earlier",
        "backend": backend,
    }
    with (
        pytest.raises(CorruptInputError, match="64-bit nanoseconds"),
        open_slices(tmp_path, **options) as slices,
    ):
        slices.to_arrow()
    with open_slices(tmp_path, **options, end=last - 5 * DAY_NS) as slices:
        assert len(slices.to_arrow()) == 0


def test_the_last_instant_is_cut_from_no_candle(tmp_path: Path, binary: Path) -> None:
    root = tmp_path / "root"
    last = 2**63 - 1
    write(root / "A" / "A_D1_BID.parquet", [last - DAY_NS, last - 180 * 10**9, last])
    options = ["--symbols=A", "--timeframe=D1", "--price-types=bid", "--normalize", "--duplicates=last"]
    check_joined(binary, root, tmp_path, options, ["1", "2", "5"])


def test_an_exchanged_part_is_made_anew(tmp_path: Path, binary: Path) -> None:
    root, parts = tmp_path / "root", tmp_path / "parts"
    stamps = [START_NS + hour * HOUR_NS for hour in range(96) if hour // 24 != 1]
    write(root / "A" / "A_H1_BID.parquet", stamps)
    options = ["--symbols=A", "--timeframe=H1", "--price-types=bid", "--by=day"]
    assert parts_of(binary, root, parts, *options).returncode == 0
    good = (parts / "_slices.json").read_text()
    files = files_of(parts)
    bodies = [file.read_bytes() for file in files]
    damaged = bytearray(bodies[3])
    damaged[len(damaged) // 2] ^= 1
    # The empty part of another day, a part with another value, and none.
    files[0].write_bytes(bodies[1])
    files[3].write_bytes(damaged)
    files[2].unlink()
    (parts / "important.txt").write_text("not ours")
    again = parts_of(binary, root, parts, *options)
    assert again.returncode == 0, again.stderr
    assert (parts / "_slices.json").read_text() == good
    assert [file.read_bytes() for file in files] == bodies
    assert (parts / "important.txt").exists()


def test_strict_looks_at_all_parts_together(tmp_path: Path, binary: Path) -> None:
    root = tmp_path / "root"
    hours = [START_NS + hour * HOUR_NS for hour in range(96) if hour // 24 != 1]
    write(root / "A" / "A_H1_BID.parquet", hours)
    options = ["--symbols=A", "--timeframe=H1", "--price-types=bid", "--by=day", "--strict"]
    made = parts_of(binary, root, tmp_path / "parts", *options)
    assert made.returncode == 0, made.stderr
    nothing = parts_of(binary, root, tmp_path / "none", *options, "--start=2024-06-01", "--before=2024-06-04")
    assert nothing.returncode == 3
    assert json.loads(nothing.stderr.splitlines()[-1])["code"] in (3021, 3022)
