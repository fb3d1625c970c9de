"""Links in the data folder: inside they are files like any other.

What leads out has to be allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.stream_factory import write_indicators, write_series

from omega_slices import SymbolNotFoundError, open_slices

both_backends = pytest.mark.parametrize("backend", ["rust", "python"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The symbol A in a root folder, and B beside it."""
    for folder, symbol in (("root", "A"), ("elsewhere", "B")):
        write_series(tmp_path / folder, symbol, "BID", [(0, 1.0), (1, 2.0)])
    return tmp_path / "root"


def stamps(root: Path, backend: str, **options: Any) -> int:
    with open_slices(root, price_types=["bid"], backend=backend, **options) as slices:
        return len(list(slices))


@both_backends
def test_what_leads_out_is_refused_unless_allowed(root: Path, backend: str) -> None:
    (root / "B").symlink_to(root.parent / "elsewhere" / "B")
    with pytest.raises(SymbolNotFoundError, match="outside") as raised:
        stamps(root, backend, symbols=["A", "B"])
    assert raised.value.symbol == "B"
    assert raised.value.price_type == "bid"
    assert raised.value.file == str(root / "B" / "B_M1_BID.parquet")
    assert str(root.parent / "elsewhere") in raised.value.message
    assert stamps(root, backend, symbols=["A"]) == 2
    with pytest.raises(SymbolNotFoundError):
        stamps(root, backend)
    assert stamps(root, backend, symbols=["A", "B"], follow_links=True) == 2


@both_backends
def test_what_stays_inside_is_no_matter(root: Path, backend: str) -> None:
    (root / "C").mkdir()
    (root / "C" / "C_M1_BID.parquet").symlink_to("../A/A_M1_BID.parquet")
    assert stamps(root, backend, symbols=["A", "C"]) == 2


@both_backends
def test_what_the_user_has_spelled_may_lead_anywhere(root: Path, backend: str) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert stamps(link, backend, symbols=["A"]) == 2
    (root / "sub").symlink_to(root.parent / "elsewhere")
    template = "{root}/sub/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet"
    assert stamps(root, backend, symbols=["B"], path_template=template) == 2
    with pytest.raises(SymbolNotFoundError, match="outside"):
        stamps(root, backend, symbols=["B"], path_template=template.replace("sub", "*"))


@both_backends
def test_indicators_are_inputs_too(root: Path, backend: str) -> None:
    (root.parent / "elsewhere" / "A").mkdir()
    write_indicators(root.parent / "elsewhere", "A", [(0, 1.0)], "x")
    name = "A_M1_IND.parquet"
    (root / "A" / name).symlink_to(root.parent / "elsewhere" / "A" / name)
    with pytest.raises(SymbolNotFoundError, match="outside"):
        stamps(root, backend, symbols=["A"], indicators=["x"])
    assert stamps(root, backend, symbols=["A"], indicators=["x"], follow_links=True) == 2
