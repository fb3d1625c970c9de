"""Ray: the dataset of the page against one run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from helpers.docs import docs_functions
from helpers.whole_runs import assert_page_printed, assert_same_table, request_of_nothing, whole_run
from ray.exceptions import RayTaskError

from omega_slices import Request

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def _plain_ray(binary: Path) -> Iterator[None]:
    """Nothing is reported to the makers of Ray, and no token is written to the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("OMEGA_SLICES_BINARY", str(binary))
        yield


@pytest.fixture(scope="module")
def dataset(_plain_ray: None, parts_of_days: dict[str, list[Any]]) -> Iterator[Callable[[list[Any]], Any]]:
    """The function of the page, with two worker processes and the order of the stream."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        yield docs_functions("ray")["dataset"]
    finally:
        ray.shutdown()


def blocks_of(found: Any) -> list[pa.Table]:
    """Return the blocks of a dataset, in order."""
    tables: list[pa.Table] = ray.get(found.get_internal_block_refs())
    return [table.replace_schema_metadata() for table in tables]


@pytest.mark.parametrize("form", ["request", "folder"])
def test_the_dataset_is_the_whole(
    form: str, days: Request, parts_of_days: dict[str, list[Any]], dataset: Callable[..., Any]
) -> None:
    found = dataset(parts_of_days[form]).materialize()
    blocks = blocks_of(found)
    # Nothing lies on the second day: its block has the columns alone.
    assert [block.num_rows > 0 for block in blocks] == [True, False, True, True]
    expected = whole_run(days, symbols="string")
    assert_same_table(pa.concat_tables(blocks), expected)
    # What Ray cannot do with a dictionary.
    first = found.sort(["symbol", "timestamp"], descending=[True, False]).take(1)[0]
    assert (first["symbol"], first["timestamp"]) == ("B", expected["timestamp"][0].as_py())


def test_parts_without_any_slice(days: Request, dataset: Callable[..., Any]) -> None:
    nothing = request_of_nothing(days)
    blocks = blocks_of(dataset(nothing.split("day")))
    assert len(blocks) == 2
    assert_same_table(pa.concat_tables(blocks), whole_run(nothing, symbols="string"))


def test_errors_are_told(days: Request, dataset: Callable[..., Any]) -> None:
    with pytest.raises(RayTaskError, match="SymbolNotFoundError: symbol C has no file"):
        dataset([Request(data=days.data, symbols=("C",), timeframe="M30")]).take_all()


def test_the_page_runs(page: Callable[[str], str], tmp_path: Path) -> None:
    assert_page_printed(page("ray"), tmp_path / "data" / "sample")
