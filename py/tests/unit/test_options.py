"""Options are written once: signature, keys and fields are the same, and their defaults too."""

from __future__ import annotations

from enum import StrEnum
from inspect import signature
from typing import Any, cast

import numpy as np
import pytest

from omega_slices import Request, list_inputs, open_slices, read_slices
from omega_slices._model.options import RequestOptions
from omega_slices._model.request_parser import make_request
from omega_slices.errors import RequestError


def test_the_keywords_are_those_of_the_request() -> None:
    asked = [*RequestOptions.__annotations__]
    # A layout is options by another name.
    assert [*Request.__struct_fields__[1:], "layout"] == asked
    opened = signature(open_slices).parameters
    assert list(opened)[1 : 1 + len(asked)] == asked
    # Those who open a stream, and those who leave an option out, get the same.
    defaults = {name: opened[name].default for name in asked}
    assert make_request("root", **cast(RequestOptions, defaults)) == make_request("root")
    with pytest.raises(TypeError):
        make_request("root", no_such_option=1)  # type: ignore[call-arg]


class Side(StrEnum):
    BID = "bid"


def test_texts_of_other_classes_are_texts() -> None:
    given: dict[str, Any] = {
        "symbols": np.array(["AA", "BB"]),
        "price_types": [Side.BID],
        "timeframe": np.str_("M1"),
        "timeline": np.str_("leader:AA"),
        "with_timeframe": np.array(["H1"]),
        "indicators": np.array(["rsi"]),
        "columns": {np.str_("open"): np.str_("o")},
        "zone": np.str_("UTC"),
    }
    request = make_request(np.str_("root"), **given)
    plain = make_request(
        "root",
        symbols=["AA", "BB"],
        price_types=["bid"],
        timeframe="M1",
        timeline="leader:AA",
        with_timeframe=["H1"],
        indicators=["rsi"],
        columns={"open": "o"},
        zone="UTC",
    )
    assert request == plain
    assert [type(symbol) for symbol in request.symbols or ()] == [str, str]


@pytest.mark.parametrize("value", ["no", 1, None, np.array([True, False])])
@pytest.mark.parametrize("name", ["follow_links", "strict"])
def test_a_permission_is_true_or_false(name: str, value: Any) -> None:
    permission: dict[str, Any] = {name: value}
    with pytest.raises(RequestError, match=f"invalid {name}=") as caught:
        open_slices("root", symbols=["A"], **permission)
    assert caught.value.hint
    if name == "follow_links":
        with pytest.raises(RequestError, match=f"invalid {name}="):
            list_inputs("root", symbols=["A"], **permission)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 2**64])
def test_threads_are_counted(threads: Any) -> None:
    with pytest.raises(RequestError, match="invalid threads=") as caught:
        open_slices("root", symbols=["A"], threads=threads)
    assert caught.value.hint


@pytest.mark.parametrize("path", [None, 3, 5.0, {"a"}, [3]])
def test_a_path_is_text_or_a_path(path: Any) -> None:
    with pytest.raises(RequestError, match="expected a path") as caught:
        read_slices(path)
    assert caught.value.hint
