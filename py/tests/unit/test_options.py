"""Options are written once: signature, keys and fields are the same, and their defaults too."""

from __future__ import annotations

from inspect import signature
from typing import cast

import pytest

from omega_slices import Request, open_slices
from omega_slices._model.options import RequestOptions
from omega_slices._model.request_parser import make_request


def test_the_keywords_are_those_of_the_request() -> None:
    asked = [*RequestOptions.__annotations__]
    assert [name for name in Request.__struct_fields__ if name != "data"] == asked
    opened = signature(open_slices).parameters
    assert list(opened)[1 : 1 + len(asked)] == asked
    # Those who open a stream, and those who leave an option out, get the same.
    defaults = {name: opened[name].default for name in asked}
    assert make_request("root", **cast(RequestOptions, defaults)) == make_request("root")
    with pytest.raises(TypeError):
        make_request("root", no_such_option=1)  # type: ignore[call-arg]
