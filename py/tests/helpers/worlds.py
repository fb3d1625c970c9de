"""Inputs and requests described in full.

Files, sessions, options and faults, which can be written to a disk.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from helpers.oracle import format_time_ns, timeframe_ns
from helpers.requests import make_request
from omega_slices import Request

SECOND_NS: Final = 10**9


DAY_NS: Final = 86_400 * SECOND_NS


UNITS_NS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


NS_PER_TICK: Final = {
    **UNITS_NS,
    "date32": DAY_NS,
    "int96": 1,
    "text": 1,
    **{f"{sign}int {unit}": tick_ns for sign in ("", "u") for unit, tick_ns in UNITS_NS.items()},
}


@dataclass(frozen=True)
class FilePlan:
    """One Parquet file of candles or indicators of a timeframe: rows and physical layout.

    Per row: `timestamps_ns` are whole ticks of `unit`, or None; `kinds` says what its values look
    like, `numbers` tells them from those of other rows. There are as many columns of values as
    there are `types`.
    """

    timeframe: str
    is_candles: bool
    unit: str
    zone: str | None
    timestamps_ns: tuple[int | None, ...]
    kinds: tuple[str, ...]
    numbers: tuple[int, ...]
    types: tuple[pa.DataType, ...]
    row_group_rows: int
    page_bytes: int
    codec: str
    dictionary: bool
    statistics: bool
    page_version: Literal["1.0", "2.0"]

    def write(self, path: Path, columns: Sequence[str]) -> None:
        """Write the file with its columns under the given names, after one that is not read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: list[pa.Array] = [pa.array(["extra"] * len(self.kinds))]
        ticks = [None if stamp is None else stamp // NS_PER_TICK[self.unit] for stamp in self.timestamps_ns]
        if self.unit == "text":
            arrays.append(pa.array([None if stamp is None else self.text_of(stamp) for stamp in ticks], pa.string()))
        elif "int " in self.unit:
            arrays.append(pa.array(ticks, pa.uint64() if self.unit.startswith("u") else pa.int64()))
        elif self.unit == "date32":
            arrays.append(pa.array(ticks, pa.int32()).cast(pa.date32()))
        else:
            unit = "ns" if self.unit == "int96" else self.unit
            arrays.append(pa.array(ticks, pa.timestamp(unit, tz=self.zone)))
        rows = [row_values(kind, number) for kind, number in zip(self.kinds, self.numbers, strict=True)]
        for number, kind in enumerate(self.types):
            arrays.append(pa.array([as_type(row[number], kind) for row in rows], kind))
        table = pa.Table.from_arrays(arrays, names=["not asked for", *columns])
        pq.write_table(
            table,
            path,
            row_group_size=self.row_group_rows,
            data_page_size=self.page_bytes,
            write_batch_size=2,
            compression=self.codec,
            use_dictionary=self.dictionary,
            write_statistics=self.statistics,
            write_page_index=self.statistics,
            data_page_version=self.page_version,
            use_deprecated_int96_timestamps=self.unit == "int96",
        )

    def is_date(self, held_ns: int) -> bool:
        """Return whether a row says no time of day.

        All of a column of dates, and in texts of days every other date.
        """
        is_midnight = timeframe_ns(self.timeframe) >= DAY_NS and held_ns % DAY_NS == 0
        is_text = self.unit == "text" and self.zone is None
        return self.unit == "date32" or (is_text and is_midnight and held_ns // DAY_NS % 2 == 0)

    def is_wall_clock(self, held_ns: int) -> bool:
        """Return whether a row says what a clock shows, and not where."""
        return self.zone is None and "int " not in self.unit and not self.is_date(held_ns)

    def text_of(self, held_ns: int) -> str:
        """Return a time as text.

        A date, or what a clock shows, with the distance from UTC that the zone says.
        """
        if self.is_date(held_ns):
            written = time_text(held_ns)[:10]
            return written if held_ns // DAY_NS % 4 else written.replace("-", "")
        shift_ns = {None: 0, "UTC": 0, "+05:30": 19_800 * SECOND_NS}[self.zone]
        written = time_text(held_ns + shift_ns)
        if held_ns % 5:
            written = written.replace("T", " ")
        return written.removesuffix(".000000000") + {None: "", "UTC": "Z"}.get(self.zone, self.zone or "")

    def where(self, keeps: Callable[[int], bool]) -> FilePlan:
        """Return the file with those of its rows alone whose timestamps are to be kept."""
        rows = zip(self.timestamps_ns, self.kinds, self.numbers, strict=True)
        kept = [row for row in rows if row[0] is not None and keeps(row[0])]
        return dataclasses.replace(
            self,
            timestamps_ns=tuple(row[0] for row in kept),
            kinds=tuple(row[1] for row in kept),
            numbers=tuple(row[2] for row in kept),
        )

    def other_values_unless(self, keeps: Callable[[int], bool]) -> FilePlan:
        """Return the file with other values in the rows whose timestamps are not to be kept."""
        kept = [stamp_ns is not None and keeps(stamp_ns) for stamp_ns in self.timestamps_ns]
        return dataclasses.replace(
            self,
            kinds=tuple(kind if keep else "plain" for kind, keep in zip(self.kinds, kept, strict=True)),
            numbers=tuple(number if keep else number + 37 for number, keep in zip(self.numbers, kept, strict=True)),
        )


@dataclass(frozen=True)
class SessionPlan:
    """A file of sessions, in the order of its rows: CSV, or Parquet with a unit of timestamps."""

    sessions: tuple[tuple[int, int], ...]
    form: str

    def write(self, path: Path) -> None:
        """Write the file, with a column in the middle that is not asked for."""
        if self.form == "csv":
            rows = [f"{format_time_ns(one)},x,{format_time_ns(other)}\n" for one, other in self.sessions]
            path.write_text("".join(["open,name,close\n", *rows]), encoding="utf-8")
            return
        kind = pa.date32() if self.form == "date32" else pa.timestamp(self.form)
        ticks = [[edge_ns // NS_PER_TICK[self.form] for edge_ns in pair] for pair in self.sessions]
        integers = pa.int32() if self.form == "date32" else pa.int64()
        opens, closes = (pa.array([pair[edge] for pair in ticks], integers).cast(kind) for edge in (0, 1))
        arrays = [opens, pa.array(["x"] * len(ticks), pa.string()), closes]
        pq.write_table(pa.Table.from_arrays(arrays, names=["open", "name", "close"]), path, row_group_size=2)


@dataclass(frozen=True)
class World:
    """Input files by path under the root, with the options and sessions of a request for them."""

    files: dict[str, FilePlan]
    options: dict[str, Any]
    sessions: SessionPlan | None = None

    def build(self, root: Path) -> Request:
        """Write the files and return the request."""
        request = make_request(root, **self.options_under(root))
        # Of alternatives, the files have the last; of a volume that is not there, another column.
        time, *values = [str(name).split("|")[-1] or "left out" for name in request.input_columns.values()]
        for path, file in self.files.items():
            file.write(root / path, [time, *(values if file.is_candles else request.indicators)])
        if self.sessions is not None:
            self.sessions.write(root / "sessions")
        return request

    def options_under(self, root: str | Path | None) -> dict[str, Any]:
        """Return the options of the request for the files under a root."""
        return self.options | ({} if self.sessions is None else {"session_file": f"{root}/sessions"})

    def with_options(self, **options: Any) -> World:
        """Return the same files under a request that differs."""
        return dataclasses.replace(self, options={**self.options, **options})

    def with_files(self, change: Callable[[FilePlan], FilePlan]) -> World:
        """Return the same request for files that differ."""
        return dataclasses.replace(self, files={path: change(file) for path, file in self.files.items()})


def time_text(time_ns: int) -> str:
    """Return a time as text, without a zone and of any year from 1 to 9999."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // SECOND_NS)
    return f"{moment.replace(tzinfo=None).isoformat()}.{time_ns % SECOND_NS:09}"


def row_values(kind: str, number: int) -> tuple[Any, ...]:
    """Return the five values of a row; plain ones tell the rows of a world apart."""
    nan, infinity, tick = float("nan"), float("inf"), Decimal(1) / 1000
    values: dict[str, tuple[Any, ...]] = {
        "placeholder": (number, number, number, number, 0),
        "null": (number, None, number, None, None),
        "nan": (nan, number, number, number, 1),
        "empty": (None, nan, None, nan, number),
        "infinite": (number, infinity, -infinity, number, 1),
        "negative zero": (-0.0, -0.0, -0.0, -0.0, -0.0),
        "plain": (number, number + 3 * tick, number - 7 * tick, number + tick, number % 5),
    }
    return values[kind]


def as_type(value: Any, kind: pa.DataType) -> Any:
    """Return a value as pyarrow wants it for a type; what the type cannot hold becomes null.

    Wide types get values with more digits than a double holds, so that rounding shows.
    """
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_string(kind) and math.isnan(value):
        return "NaN"
    return _finite_as_type(value, kind) if math.isfinite(value) else None


def _finite_as_type(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return f"{value:e}" if int(value) % 2 else str(value)
    if pa.types.is_fixed_size_binary(kind):
        factor = 10**20 if kind.byte_width == 16 else 10**9
        return (int(value * 1000) * factor + int(value)).to_bytes(kind.byte_width, "little", signed=True)
    if pa.types.is_integer(kind):
        return int(value) * 10**14 + int(value) if kind.bit_width == 64 else int(value) % 100
    with localcontext(prec=76):
        digits = Decimal("9520665339.98765432109876543219") if kind.precision >= 38 else Decimal(1)
        return (Decimal(value) * digits).quantize(Decimal(1).scaleb(-kind.scale))


@dataclass(frozen=True)
class Fault:
    """One row more, whose timestamp no candle can have: null, or beyond 64 bits of nanoseconds."""

    file: int
    row: int
    stamp_ns: int | None

    def put_into(self, world: World) -> World | None:
        """Return the world with the row in one of its files; None where the file cannot hold it."""
        path = sorted(world.files)[self.file % len(world.files)]
        plan = world.files[path]
        if self.stamp_ns is not None and (
            plan.unit in ("ns", "int96", "int ns", "uint ns") or (plan.unit.startswith("u") and self.stamp_ns < 0)
        ):
            return None

        row = self.row % (len(plan.kinds) + 1)
        changed = dataclasses.replace(
            plan,
            timestamps_ns=(*plan.timestamps_ns[:row], self.stamp_ns, *plan.timestamps_ns[row:]),
            kinds=(*plan.kinds[:row], "plain", *plan.kinds[row:]),
            numbers=(*plan.numbers[:row], 7, *plan.numbers[row:]),
        )
        return dataclasses.replace(world, files={**world.files, path: changed})
