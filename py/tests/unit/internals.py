"""What unit tests share: requests and slices, made by the package's internals."""

from __future__ import annotations

from typing import Any

import pytest

from omega_slices import (
    ErrorCode,
    OmegaSlicesError,
)
from omega_slices._calendars import check_calendar_of
from omega_slices._model.request_parser import make_request


def refused(code: ErrorCode, **options: Any) -> OmegaSlicesError:
    """Check that a request is refused with a code and words on what to do, and return the error."""
    given: dict[str, Any] = {"data": "root", "symbols": ["A", "B"]} | options
    with pytest.raises(OmegaSlicesError) as caught:
        check_calendar_of(make_request(**given))
    assert caught.value.code is code
    assert caught.value.message
    return caught.value
