"""What a file is taken for.

Formats by their real writers, whose a name is, and what errors and warnings say.

The goldens hold code and place of every guard; here are the many forms, and the words. All is
tried on both backends.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import re
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from omega_slices import (
    AmbiguousInputError,
    CorruptInputError,
    DuplicateTimestampError,
    SchemaMismatchError,
    UnsupportedInputError,
    open_slices,
)

both_backends = pytest.mark.parametrize("backend", ["python", "rust"])

MINUTE_NS: Final = 60 * 10**9
START_NS: Final = 1_704_205_800 * 10**9  # 2024-01-02T14:30Z


def candles(minutes: list[float], **columns: Any) -> pa.Table:
    """Return candles of the given minutes, whose volume is the row, with more columns."""
    stamps = pa.array([START_NS + int(minute * MINUTE_NS) for minute in minutes], pa.timestamp("ns", tz="UTC"))
    values = {name: [1.0] * len(minutes) for name in ("Open", "High", "Low", "Close")}
    return pa.table({"UTC time": stamps, **values, "Volume": [float(row) for row in range(len(minutes))], **columns})


def write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def read(root: Path, backend: str, **options: Any) -> tuple[dict[str, list[float]], list[tuple[str, str]]]:
    """Return the volumes of each symbol in the union, and the warnings as name and message."""
    asked = {"price_types": ["trade"], "timeline": "union", "path_template": "{root}/{symbol}.parquet", **options}
    with open_slices(root, **asked, backend=backend) as slices:
        found: dict[str, list[float]] = {symbol: [] for symbol in slices.symbols}
        for one in slices:
            for symbol in slices.symbols:
                candle = one.get(symbol, "trade")
                if candle is not None:
                    found[symbol].append(candle.volume)
        return found, [(warning.name, warning.message) for warning in slices.report.warnings]


# --- Formats -----------------------------------------------------------------------------


class Keys(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    """Keeps keys by wrapping them in nothing."""

    def wrap_key(self, key_bytes: bytes, _master: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, _master: str) -> bytes:
        return base64.b64decode(wrapped_key)


def encrypted(path: Path, table: pa.Table, plaintext_footer: bool) -> None:
    columns = {"columns": ["UTC time", "Open"]}
    config = pe.EncryptionConfiguration(
        footer_key="footer", column_keys=columns, plaintext_footer=plaintext_footer, double_wrapping=False
    )
    factory = pe.CryptoFactory(lambda _: Keys())
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)


def sqlite(path: Path, _: pa.Table) -> None:
    database = sqlite3.connect(path)
    database.execute("create table candles (ts text)")
    database.commit()
    database.close()


def zipped(path: Path, _: pa.Table) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("candles.csv", "ts,open\n")


def stream(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def of_bytes(data: bytes) -> Callable[[Path, pa.Table], object]:
    return lambda path, _: path.write_bytes(data)


CSV: Final = b"ts,open\n2024-01-02,1\n"
FORMATS: Final[dict[str, tuple[str, Callable[[Path, pa.Table], object]]]] = {
    "feather": ("Arrow", lambda path, table: pyarrow.feather.write_feather(table, str(path))),
    "feather, version 1": ("Arrow", of_bytes(b"FEA1" + bytes(40) + b"FEA1")),
    "stream": ("Arrow", stream),
    "orc": ("ORC", lambda path, table: pyarrow.orc.write_table(table, str(path))),
    "gzip": ("gzip", of_bytes(gzip.compress(CSV))),
    "bzip2": ("bzip2", of_bytes(bz2.compress(CSV))),
    "xz": ("xz", of_bytes(lzma.compress(CSV))),
    "zstd": ("zstd|Zstandard", of_bytes(pa.Codec("zstd").compress(CSV, asbytes=True))),
    "zip": ("zip", zipped),
    "sqlite": ("SQLite", sqlite),
    "hdf5": ("HDF5", of_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))),
    "avro": ("Avro", of_bytes(b"Obj\x01" + bytes(40))),
    "json": ("JSON", of_bytes(b'\xef\xbb\xbf [{"ts": 1}]')),
    "json lines": ("JSON", of_bytes(b'{"ts": 1}\n' * 100)),
    "csv": ("text", of_bytes(CSV * 100)),
    "text, one letter": ("text", of_bytes(b"x")),
    "text of other letters": ("text", of_bytes("Zeit,Öffnung\n".encode() * 100)),
    "encrypted": ("encrypted", lambda path, table: encrypted(path, table, plaintext_footer=False)),
    "encrypted columns": ("encrypted", lambda path, table: encrypted(path, table, plaintext_footer=True)),
}


@both_backends
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_another_format_is_named_as_what_it_is(name: str, backend: str, tmp_path: Path) -> None:
    word, make = FORMATS[name]
    make(tmp_path / "A.parquet", candles([0]))
    with pytest.raises(UnsupportedInputError) as caught:
        read(tmp_path, backend, symbols=["A"])
    assert re.search(word, caught.value.message)
    assert (caught.value.file, caught.value.symbol) == (str(tmp_path / "A.parquet"), "A")
    assert caught.value.price_type == "trade"


@both_backends
@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"\x00\x01PAR1", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"\xff\xfe\0"]
)
def test_bytes_of_no_format_are_a_file_that_cannot_be_read(data: bytes, backend: str, tmp_path: Path) -> None:
    (tmp_path / "A.parquet").write_bytes(data)
    with pytest.raises(CorruptInputError) as caught:
        read(tmp_path, backend, symbols=["A"])
    assert caught.value.file == str(tmp_path / "A.parquet")


# --- Whose a file is ---------------------------------------------------------------------

# By the template {symbol}_*: whose each name is, and which other symbols may not ask for it.
OWNERS: Final = {
    "ES_2023": ("ES", []),
    "ES_MICRO_2023": ("ES_MICRO", ["ES"]),
    "ES_a": ("ES", []),
    "ES_MICRO_a": ("ES", ["ES_MICRO"]),
    "BTC_230331_2023-01": ("BTC_230331", ["BTC"]),
    "BTC_230331_a": ("BTC", ["BTC_230331"]),  # begins with a digit, but is not two dates
    "BTC_2023-01": ("BTC", []),  # two digits are not a date
    "BTC_2023-01-31": ("BTC", []),
    "BTC_2023_2024": ("BTC_2023", ["BTC"]),  # two years
    "BTC_2023-2024": ("BTC", []),  # no other reading without an underscore between them
    "BTC_202301_202302": ("BTC_202301", ["BTC"]),
    "BTC_20230101_20230131": ("BTC_20230101", ["BTC"]),
    "BTC_2023.01.02_240101": ("BTC_2023.01.02", ["BTC"]),
    "BTC_202313_2024": ("BTC", ["BTC_202313"]),  # no month 13
    "BTC_1899_2024": ("BTC", ["BTC_1899"]),  # years from 1900 to 2099
    "BTC_20230132_2024": ("BTC", ["BTC_20230132"]),  # no day 32
    "BTC_2023_2024_2025": ("BTC", ["BTC_2023", "BTC_2023_2024"]),  # three dates are not two
    "A_B_C_1": ("A_B_C", ["A", "A_B"]),
    "1_2_3": ("1", ["1_2"]),
}


@both_backends
@pytest.mark.parametrize("name", OWNERS)
def test_a_name_is_the_symbols_whose_it_seems(name: str, backend: str, tmp_path: Path) -> None:
    write(tmp_path / f"{name}.parquet", candles([0]))
    owner, others = OWNERS[name]
    template = {"path_template": "{root}/{symbol}_*.parquet"}
    assert list(read(tmp_path, backend, **template)[0]) == [owner]
    assert list(read(tmp_path, backend, **template, symbols=[owner])[0]) == [owner]
    for other in others:
        with pytest.raises(AmbiguousInputError) as caught:
            read(tmp_path, backend, **template, symbols=[other])
        assert (caught.value.file, caught.value.symbol) == (str(tmp_path / f"{name}.parquet"), other)
        assert caught.value.price_type == "trade"
        assert other in caught.value.message
        assert owner in caught.value.message
        # A pattern that says which names are symbols decides.
        pattern = other.replace(".", "[.]")
        assert list(read(tmp_path, backend, **template, symbols=[other], symbol_pattern=pattern)[0]) == [other]


@both_backends
@pytest.mark.parametrize(
    "template", ["{root}/{symbol}*.parquet", "{root}/*{symbol}.parquet", "{root}/{symbol}/{symbol}*.parquet"]
)
def test_a_star_beside_the_symbol_is_refused(template: str, backend: str, tmp_path: Path) -> None:
    for options in ({"symbols": ["A"]}, {}):
        with pytest.raises(AmbiguousInputError) as caught:
            read(tmp_path, backend, path_template=template, **options)
        assert template in caught.value.message


@both_backends
def test_all_symbols_of_many_files_by_their_owners(backend: str, tmp_path: Path) -> None:
    for number, name in enumerate(("BTCUSDT-1m-2023-01", "BTCUSDT_230331-1m-2023-01", "BTCUSDT-1m-2023-02")):
        write(tmp_path / f"{name}.parquet", candles([number]))
    found, _ = read(tmp_path, backend, path_template="{root}/{symbol}-1m-*.parquet")
    assert {symbol: len(volumes) for symbol, volumes in found.items()} == {"BTCUSDT": 2, "BTCUSDT_230331": 1}


# --- Instruments -------------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize("name", ["symbol", "TICKER", "Instrument", "instrument_ID", "code", "Pair", "asset"])
@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "b"]),
        pa.array(["a", "a", "b"], pa.large_string()),
        pa.array([b"a", b"a", b"b"]),
        pa.array([b"a", b"a", b"b"], pa.binary(1)),
        pa.array(["a", "a", "b"]).dictionary_encode(),
        pa.array([1, None, 2], pa.uint16()),
        pa.array([1.0, float("nan"), 2.0]),
    ],
    ids=lambda values: str(values.type),
)
def test_columns_of_several_instruments(name: str, values: pa.Array, backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A.parquet", candles([0, 1, 2], **{name: values}))
    with pytest.raises(AmbiguousInputError) as caught:
        read(tmp_path, backend, symbols=["A"])
    assert (caught.value.row, caught.value.column) == (2, name)
    first, second = (str(values[row].as_py()).removeprefix("b").strip("'").removesuffix(".0") for row in (0, 2))
    assert first in caught.value.message
    assert second in caught.value.message
    assert read(tmp_path, backend, symbols=["A"], one_instrument=True)[0] == {"A": [0.0, 1.0, 2.0]}


@both_backends
@pytest.mark.parametrize(
    "columns",
    [
        {"symbol": ["a", "a", None]},
        {"symbol": [None, None, None]},
        {"symbols": ["a", "b", "c"]},
        {"code": pa.array([True, False, True])},
        {"pair": pa.array([1, 2, 3]).cast(pa.timestamp("s"))},
        {"asset": pa.array([["a"], ["b"], ["c"]])},
        {"symbol": ["a", "a", "a"], "ticker": ["b", "b", "b"]},
    ],
)
def test_columns_that_name_one_instrument_or_none(columns: dict[str, Any], backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A.parquet", candles([0, 1, 2], **columns))
    assert read(tmp_path, backend, symbols=["A"])[0] == {"A": [0.0, 1.0, 2.0]}


# --- Zones of columns --------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_zone_of_a_column_is_known_in_every_unit(unit: str, version: str, backend: str, tmp_path: Path) -> None:
    """Older Parquet keeps no nanoseconds, and none keeps seconds.

    The zone stands beside another unit then.
    """
    noon = pa.array([START_NS - 150 * MINUTE_NS - 60 * MINUTE_NS], pa.timestamp("ns", tz="Europe/Paris"))
    table = candles([0]).set_column(0, "UTC time", noon.cast(pa.timestamp(unit, tz="Europe/Paris")))
    pq.write_table(table, tmp_path / "A.parquet", version=version)
    asked: dict[str, Any] = {"price_types": ["trade"], "timeframe": "D1", "path_template": "{root}/{symbol}.parquet"}
    with open_slices(tmp_path, **asked, normalize=True, days="local", backend=backend) as slices:
        assert [one.timestamp.isoformat() for one in slices] == ["2024-01-03T00:00:00+00:00"]
    with (
        pytest.raises(AmbiguousInputError) as caught,
        open_slices(tmp_path, **asked, normalize=True, backend=backend) as slices,
    ):
        list(slices)
    assert "Europe/Paris" in caught.value.message


# --- What is said ------------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_that_fits_is_named(unit: str, backend: str, tmp_path: Path) -> None:
    table = candles([0, 1])
    ticks = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    integers = pa.array([(START_NS + row * MINUTE_NS) // ticks for row in range(2)])
    write(tmp_path / "A.parquet", table.set_column(0, "UTC time", integers))
    with pytest.raises(SchemaMismatchError) as caught:
        read(tmp_path, backend, symbols=["A"])
    assert re.search(rf"\b{unit}\b", str(caught.value.hint))
    other = "s" if unit == "ms" else "ms"
    with pytest.raises(SchemaMismatchError) as caught:
        read(tmp_path, backend, symbols=["A"], timestamp_unit=other)
    assert re.search(rf"\b{unit}\b", str(caught.value.hint))


@both_backends
def test_the_warning_of_conflicting_duplicates_says_what_was_done(backend: str, tmp_path: Path) -> None:
    write(tmp_path / "A" / "1.parquet", candles([0, 1, 2]))
    write(tmp_path / "A" / "2.parquet", candles([1, 2, 3]))
    template = {"path_template": "{root}/{symbol}/*.parquet"}
    _, warnings = read(tmp_path, backend, **template)
    (message,) = [message for name, message in warnings if name == "CONFLICTING_DUPLICATES"]
    kept, dropped = f"{tmp_path}/A/2.parquet", f"{tmp_path}/A/1.parquet"
    for word in ("2 ", "2024-01-02T14:31:00", kept, dropped, "row 0", "row 1"):
        assert word in message
    assert message.index(kept) < message.index(dropped)
    assert message.index("row 0") < message.index("row 1")
    for duplicates in ("first", "last"):
        _, warnings = read(tmp_path, backend, **template, duplicates=duplicates)
        assert "CONFLICTING_DUPLICATES" not in dict(warnings)
    with pytest.raises(DuplicateTimestampError):
        read(tmp_path, backend, **template, duplicates="identical")


@both_backends
@pytest.mark.parametrize(
    ("timeframe", "minutes", "word"),
    [
        ("M5", [0, 1, 2], "M1"),
        ("M1", [15.0 * row for row in range(21)], "M15"),
        ("M1", [1440.0 * row for row in range(21)], "D1"),
        ("M1", [1440.0 * 7 * row for row in range(21)], "W1"),
        ("M1", [0, 0.5, 1], "none"),
    ],
)
def test_the_warning_of_a_mismatch_names_the_timeframe_that_fits(
    timeframe: str, minutes: list[float], word: str, backend: str, tmp_path: Path
) -> None:
    write(tmp_path / "A.parquet", candles(minutes))
    _, warnings = read(tmp_path, backend, timeframe=timeframe)
    ((name, message),) = warnings
    assert name == "TIMEFRAME_MISMATCH"
    assert set(re.findall(r"\b[SMHDW][0-9]+\b", message)) - {timeframe} == {word} - {"none"}


@both_backends
def test_a_list_of_inputs_and_the_folder_that_it_lies_in(backend: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Paths are relative to the list, wherever the run starts and however the list is named."""
    write(tmp_path / "lists" / "a" / "1.parquet", candles([0]))
    write(tmp_path / "2.parquet", candles([1]))
    files = ["a/1.parquet", "../2.parquet", str(tmp_path / "2.parquet")]
    series = {"symbol": "X/Y", "price_type": "trade", "timeframe": "M1", "files": files}
    (tmp_path / "lists" / "inputs.json").write_text(json.dumps({"series": [series]}), encoding="utf-8")
    for folder, name in ((tmp_path, "lists/inputs.json"), (tmp_path / "lists", "inputs.json")):
        monkeypatch.chdir(folder)
        with open_slices(inputs=name, price_types=["trade"], backend=backend) as slices:
            assert slices.symbols == ("X/Y",)
            assert len(list(slices)) == 2
            assert slices.report.series[0].duplicates == 1
