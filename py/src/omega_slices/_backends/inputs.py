"""The input files of a request, as the executable lists them.

Owns the call of ``omega-slices inputs``.  Nothing here looks at a folder.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from omega_slices._backends.arguments import request_arguments
from omega_slices._backends.process import Producer
from omega_slices._model.input_list import InputList
from omega_slices._model.options import NO_PERMISSIONS, Permissions

if TYPE_CHECKING:
    from pathlib import Path

    from omega_slices._model.request import Request


_READ_BYTES: Final = 1 << 20


def inputs_of(binary: Path, request: Request, permissions: Permissions = NO_PERMISSIONS) -> InputList:
    """Return the files of a request, as the executable finds them.

    Raises
    ------
    OmegaSlicesError
        Whatever the executable found wrong.
    """
    if request.calendar is not None:
        # Which files there are does not depend on the sessions.
        request = msgspec.structs.replace(request, session="none")
    # A run that would warn fails as such, but a list has nothing to warn of.
    arguments = request_arguments(request, permissions._replace(strict=False))
    # It gives no signs of life, and may have thousands of footers to read.
    producer = Producer([str(binary), "inputs", *arguments], silence_max_s=math.inf, storage=permissions.storage)
    try:
        printed = bytearray()
        while part := producer.stdout.read(_READ_BYTES):
            printed += part
        if (failure := producer.finish()) is not None:
            raise failure
        try:
            return _decode(printed)
        except msgspec.DecodeError as error:
            raise producer.failure(f"cannot read the list of inputs: {error}", ended=True) from error
    finally:
        producer.close()


def primary_range_ns(found: InputList, request: Request) -> tuple[int, int] | None:
    """Return the smallest and the largest timestamp of the primary series, nanoseconds since 1970.

    None without rows.
    """
    primary = (one for one in found.series if one.timeframe == request.timeframe and one.price_type is not None)
    return msgspec.structs.replace(found, series=tuple(primary)).range_ns


_decode: Final = msgspec.json.Decoder(InputList).decode
