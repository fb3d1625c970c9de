"""Spark: the DataFrame of the page against one run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from helpers.docs import docs_functions
from helpers.whole_runs import assert_page_printed, assert_same_table, request_of_nothing, whole_run, write_days

from omega_slices import Request

if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark is not tested: there is no java; install Java 17 or newer", allow_module_level=True)

from pyspark.errors import PythonException
from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore")

OPTIONS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
}


@pytest.fixture(scope="module", autouse=True)
def _plain_spark(binary: Path) -> Iterator[None]:
    """Workers are of this Python, and nothing but this machine is listened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("OMEGA_SLICES_BINARY", str(binary))
        yield


@pytest.fixture(scope="module")
def dataframe(_plain_spark: None, parts_of_days: dict[str, list[Any]]) -> Iterator[Callable[[list[Any]], Any]]:
    """The function of the page, with two workers."""
    builder = SparkSession.builder.master("local[2]")
    for name, value in OPTIONS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        spark.sparkContext.setLogLevel("OFF")
        function = docs_functions("spark")["dataframe"]
        yield lambda parts: function(spark, parts)
    finally:
        spark.stop()


@pytest.mark.parametrize("form", ["request", "folder"])
def test_the_frame_is_the_whole(
    form: str, days: Request, parts_of_days: dict[str, list[Any]], dataframe: Callable[..., Any]
) -> None:
    found = dataframe(parts_of_days[form])
    # Also which columns have nulls, and in the order of the stream.
    expected = whole_run(days, timestamp_unit="us", symbols="string")
    assert_same_table(found.toArrow(), expected)
    assert found.rdd.getNumPartitions() == 4
    counts = {row["symbol"]: row["count"] for row in found.groupBy("symbol").count().collect()}
    assert counts == dict.fromkeys(("A", "B"), expected.num_rows // 2)


def test_parts_without_any_slice(days: Request, dataframe: Callable[..., Any]) -> None:
    nothing = request_of_nothing(days)
    found = dataframe(nothing.split("day")).toArrow()
    assert_same_table(found, whole_run(nothing, timestamp_unit="us", symbols="string"))


@pytest.mark.parametrize("shift_ns", [1_000, 999])
def test_microseconds_are_kept_and_nanoseconds_refused(
    shift_ns: int, tmp_path: Path, dataframe: Callable[..., Any]
) -> None:
    write_days(tmp_path, shift_ns)
    request = Request(data=str(tmp_path), symbols=("A", "B"), timeframe="M30", timeline="union")
    found = dataframe(request.split("day"))
    exact = whole_run(request, symbols="string")
    if shift_ns == 1_000:
        times = exact["timestamp"].cast(pa.int64())
        assert found.toArrow()["timestamp"].cast(exact["timestamp"].type).cast(pa.int64()).equals(times)
        return
    with pytest.raises(PythonException, match="SchemaMismatchError: a timestamp is no whole microsecond"):
        found.count()


def test_the_page_runs(page: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = " ".join(f"--conf {name}={value}" for name, value in OPTIONS.items())
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", f"{options} pyspark-shell")
    assert_page_printed(page("spark"), tmp_path / "data" / "sample")
