"""Golden cases: how they are written down, built, and answered in text.

A case is a folder of three texts. `case.toml` has the request, and why the answer is right.
`input.txt` has the files with their physical layout (see README.md), `expected.txt` the answer.
Owns reading the first two, making real Parquet files of the second, and the text form of
an answer, from any backend. Leaves running the backends to the test.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from helpers.cli_harness import Cell, Shown, Slices, reference_slices
from helpers.requests import make_request

from omega_slices import Request, RunReport, SeriesReport
from omega_slices.errors import OmegaSlicesError
from omega_slices.reference import open_reference

FOLDER: Final = Path(__file__).parent

_NS_PER_TICK: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:T(?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?)?(?P<utc>Z?)"
)
_STAMP: Final = re.compile(r"(?P<form>timestamp|int96)\[(?P<unit>s|ms|us|ns)(?:, (?P<zone>[^\]]+))?\]")
_DECIMAL: Final = re.compile(r"decimal(?P<bits>128|256)\((?P<digits>\d+), (?P<scale>-?\d+)\)")
_PLAIN_TYPES: Final = {
    "date32": pa.date32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "halffloat": pa.float16(),
    "string": pa.string(),
    "binary": pa.binary(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "null": pa.null(),
    "fixed8": pa.binary(8),
    "fixed16": pa.binary(16),
    **{f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True)
class Column:
    """One column of an input file: its name and its type in the text form."""

    name: str
    kind: str

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type from which pyarrow writes the column."""
        if stamp := _STAMP.fullmatch(self.kind):
            return pa.timestamp(stamp["unit"], tz=stamp["zone"])
        if decimal := _DECIMAL.fullmatch(self.kind):
            make = pa.decimal128 if decimal["bits"] == "128" else pa.decimal256
            return make(int(decimal["digits"]), int(decimal["scale"]))
        return _PLAIN_TYPES[self.kind]

    def value(self, text: str) -> Any:
        """Return what pyarrow has to be given for one cell of the column."""
        if text == "null":
            return None
        if stamp := _STAMP.fullmatch(self.kind):
            # Integers, not datetimes: those end at microseconds.
            assert text.endswith("Z") == bool(stamp["zone"]), f"{text}: Z marks the columns that have a zone"
            ticks, rest = divmod(time_ns(text), _NS_PER_TICK[stamp["unit"]])
            assert rest == 0, f"{text} is no whole number of {stamp['unit']}"
            return ticks
        if self.kind == "date32":
            return time_ns(text) // (86_400 * 10**9)
        if self.kind in ("string", "dictionary", "binary"):
            return text.encode() if self.kind == "binary" else text
        return self._number(text)

    def _number(self, text: str) -> Any:
        if _DECIMAL.fullmatch(self.kind):
            return Decimal(text)
        if self.kind.startswith("fixed"):
            return int(text).to_bytes(self.arrow_type.byte_width, "little", signed=True)
        return float(text) if pa.types.is_floating(self.arrow_type) else int(text)


@dataclass(frozen=True)
class InputFile:
    """One input file; `raw` is the content of a file that is not Parquet."""

    path: str
    columns: tuple[Column, ...]
    row_groups: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]
    raw: bytes | None = None

    def write(self, root: Path) -> None:
        """Write the file under `root`."""
        target = root / self.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.raw is not None:
            target.write_bytes(self.raw)
            return
        arrays = [
            pa.array([column.value(row[number]) for row in self.rows], type=column.arrow_type)
            for number, column in enumerate(self.columns)
        ]
        # From arrays, since a table made of a dict could not hold a column name twice.
        table = pa.Table.from_arrays(arrays, names=[column.name for column in self.columns])
        int96 = any(column.kind.startswith("int96") for column in self.columns)
        with pq.ParquetWriter(target, table.schema, use_deprecated_int96_timestamps=int96) as writer:
            first = 0
            for rows in self.row_groups or (len(self.rows),):
                writer.write_table(table.slice(first, rows), row_group_size=max(rows, 1))
                first += rows
        assert first == len(self.rows), f"{self.path}: the row groups hold {first} rows, the file {len(self.rows)}"


@dataclass(frozen=True)
class Case:
    """One golden case.

    `request` holds the options as `make_request` takes them, `exit` the status of a refusal.
    """

    folder: Path
    why: str
    exit: int
    request: dict[str, Any]
    files: tuple[InputFile, ...]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def expected(self) -> str:
        """The expected answer, in text."""
        return (self.folder / "expected.txt").read_text(encoding="utf-8")

    def build(self, root: Path) -> Request:
        """Write the input under `root` and return the request for it."""
        root.mkdir()
        for file in self.files:
            file.write(root)
        return make_request(**self.options(root))

    def options(self, root: Path) -> dict[str, Any]:
        """Return all options for the input under `root`, session file and list of inputs too."""
        named = [name for name in ("session_file", "inputs") if name in self.request]
        paths: dict[str, Any] = {name: str(root / self.request[name]) for name in named}
        return {"data": None if "inputs" in paths else root, **self.request, **paths}


@dataclass(frozen=True)
class Answer:
    """A successful answer, from whichever backend."""

    symbols: tuple[str, ...]
    timeframe: str
    price_types: tuple[str, ...]
    slices: Slices
    report: RunReport
    known_after_ns: int | None = None


def load_cases() -> list[Case]:
    """Return all cases, by name."""
    return [_load(path.parent) for path in sorted(FOLDER.glob("*/case.toml"))]


def time_ns(text: str) -> int:
    """Return ISO text as nanoseconds since 1970, exact and unbounded."""
    match = _TIME.fullmatch(text)
    assert match, f"{text!r} is no time"
    since = datetime.fromisoformat(f"{match['day']}T{match['clock'] or '00:00:00'}+00:00") - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + int((match["fraction"] or "0").ljust(9, "0"))


def time_text(timestamp_ns: int) -> str:
    """Return nanoseconds since 1970 as ISO text with nine digits."""
    moment = _EPOCH + timedelta(seconds=timestamp_ns // 10**9)
    return f"{moment.replace(tzinfo=None).isoformat()}.{timestamp_ns % 10**9:09}Z"


def reference_answer(request: Request) -> Answer:
    """Answer by the reference."""
    run = open_reference(request)
    slices = reference_slices(run)
    return Answer(run.symbols, request.timeframe, request.price_types, slices, run.report(), run.known_after_ns)


def reference_text(case: Case, root: Path) -> str:
    """Return the text that `expected.txt` has to hold, by the reference."""
    request = case.build(root)
    try:
        return answer_text(reference_answer(request), str(root))
    except OmegaSlicesError as error:
        return error_text(error, str(root))


def answer_text(answer: Answer, root: str) -> str:
    """Return an answer in the text form of `expected.txt`; file names are relative to `root`."""
    return "\n".join(_answer_lines(answer, root)) + "\n"


def error_text(error: OmegaSlicesError, root: str) -> str:
    """Return an error in the text form of `expected.txt`."""
    lines = [f"error       {error.code.value} {error.code.name}"]
    for attribute in ("file", "symbol", "price_type", "row", "column"):
        value = getattr(error, attribute)
        if value is not None:
            text = _relative(value, root) if attribute == "file" else str(value)
            lines.append(f"{attribute.replace('_', ' '):<11} {text}")
    return "\n".join(lines) + "\n"


def _answer_lines(answer: Answer, root: str) -> Iterator[str]:
    yield f"symbols     {', '.join(answer.symbols)}"
    yield f"timeframe   {answer.timeframe}"
    yield f"price types {', '.join(answer.price_types)}"
    if answer.known_after_ns is not None:
        yield f"known after {answer.known_after_ns // 10**9} s"
    yield f"slices      {answer.report.slices}"
    for series in answer.report.series:
        dropped = f"{series.outside_window} outside window, {series.outside_session} outside session, "
        dropped += f"{series.duplicates} duplicates"
        if series.empty is not None:
            dropped += f", {series.empty} empty"
        if series.conflicting_duplicates:
            dropped += f" ({series.conflicting_duplicates} conflicting)"
        order = "sorted" if series.sorted else "unsorted"
        yield (
            f"series      {_series_text(series, answer.timeframe)}: {series.rows} rows in {series.files} file(s), "
            f"{order}; {dropped}; {series.candles} candles"
        )
        for field, read in (series.columns or {}).items():
            yield f"columns     {field}: {', '.join(read)}"
        for one in series.timestamp_units or ():
            yield f"unit        {_relative(one.file, root)}: {one.unit}"
    for warning in answer.report.warnings:
        about = (_relative(warning.file, root), warning.symbol, warning.price_type)
        yield " ".join(["warning    ", warning.name, *filter(None, about)])
    names = max(map(len, answer.symbols))
    for timestamp_ns, cells in answer.slices:
        yield ""
        yield time_text(timestamp_ns)
        for symbol, cell in zip(answer.symbols, cells, strict=True):
            lines = dict(_cell_lines(cell, timestamp_ns))
            width = max(5, *map(len, lines))
            for name, text in lines.items():
                yield f"  {symbol:<{names}} {name:<{width}} {text}"


def _series_text(series: SeriesReport, primary: str) -> str:
    if series.price_type is None:
        return f"{series.symbol} {series.timeframe} indicators"
    timeframe = "" if series.timeframe == primary else f" {series.timeframe}"
    return f"{series.symbol}{timeframe} {series.price_type}"


def _cell_lines(cell: Cell, timestamp_ns: int) -> Iterator[tuple[str, str]]:
    for price_type, shown in cell.candles.items():
        yield price_type, _candle_text(shown, unless_ns=timestamp_ns)
    for timeframe, candles in cell.further.items():
        for price_type, shown in candles.items():
            yield f"{timeframe} {price_type}", _candle_text(shown)
    for name, value in cell.indicators.items():
        yield f"ind {name}", "-" if value is None else repr(value)


def _candle_text(shown: Shown, unless_ns: int | None = None) -> str:
    """Return a candle as text, with its own time but where that is known."""
    if shown is None:
        return "-"
    candle, is_valid = shown
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    own_time = "" if candle.timestamp_ns == unless_ns else f"  of {time_text(candle.timestamp_ns)}"
    return f"{' '.join(map(repr, numbers))}{own_time}{'' if is_valid else '  not valid'}"


def _relative(file: str | None, root: str) -> str | None:
    return file if file is None else file.removeprefix(f"{root}/")


def _load(folder: Path) -> Case:
    settings = tomllib.loads((folder / "case.toml").read_text(encoding="utf-8"))
    assert settings.keys() - {"exit"} == {"why", "request"}, f"{folder.name}: case.toml holds `why` and `request`"
    request = dict(settings["request"])
    if request["symbols"] == "all":
        request["symbols"] = None
    text = (folder / "input.txt").read_text(encoding="utf-8")
    blocks = re.split(r"^file ", text, flags=re.MULTILINE)[1:]
    return Case(folder, settings["why"], settings.get("exit", 3), request, tuple(map(_load_file, blocks)))


def _load_file(block: str) -> InputFile:
    lines = [line.split("#")[0].rstrip() for line in block.splitlines()]
    path, *body = filter(None, lines)
    if not body:
        return InputFile(path, (), (), (), raw=b"")
    if body[0].startswith("hex "):
        return InputFile(path, (), (), (), raw=bytes.fromhex(body[0].removeprefix("hex ")))
    if body[0].split(" ")[0] == "raw":
        texts = [line.removeprefix("raw").removeprefix(" ") for line in body]
        return InputFile(path, (), (), (), raw="\n".join([*texts, ""] if texts[1:] else texts).encode())
    row_groups: tuple[int, ...] = ()
    if body[0].startswith("row groups "):
        row_groups = tuple(map(int, body.pop(0).removeprefix("row groups ").split()))
    if body[0] == "no columns":
        return InputFile(path, (), (), ())
    header, *rows = [tuple(cell.strip() for cell in line.split("|")) for line in body]
    columns = []
    for number, cell in enumerate(header):
        name, _, kind = cell.partition(": ")
        columns.append(Column(name, kind or ("double" if number else "timestamp[ns, UTC]")))
    assert all(len(row) == len(columns) for row in rows), f"{path}: a row has not {len(columns)} cells"
    return InputFile(path, tuple(columns), row_groups, tuple(rows))
