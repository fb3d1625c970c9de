"""The input files of a request: which files, columns, units, zones and ranges it would read.

Owns `list_inputs` and what it returns.  The executable finds the files and reads their
footers; nothing here looks at a folder.  Reads no values, and synchronises nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import msgspec
from msgspec import Struct

from omega_slices._binary import find_binary
from omega_slices._process import Producer
from omega_slices._request import default_data, make_request
from omega_slices._sources import NO_PERMISSIONS, Permissions, request_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from omega_slices._request import Request
    from omega_slices._times import TimeLike

_READ_BYTES: Final = 1 << 20


class InputFile(Struct, frozen=True, kw_only=True):
    """One file of a series.

    Attributes
    ----------
    path : str
        Absolute.
    size : int
        Bytes.
    modified_ns : int
        When it was modified last, nanoseconds since 1970.
    rows : int
        How many rows it has, inside of the window or not.
    first_timestamp_ns, last_timestamp_ns : int or None
        The smallest and the largest timestamp of the whole file, nanoseconds since 1970,
        with zone, `stamped` and `days` applied; None where it has no rows.
    columns : dict of str to str
        Names of the columns that are read, by ``timestamp``, ``open``, … or by indicator.
    unit : str or None
        The unit of timestamps that are integers; None for other timestamps.
    zone : str or None
        The zone of its days; None where timestamps have no zone and none was given.
    """

    path: str
    size: int
    modified_ns: int
    rows: int
    first_timestamp_ns: int | None
    last_timestamp_ns: int | None
    columns: dict[str, str]
    unit: str | None = None
    zone: str | None = None


class InputSeries(Struct, frozen=True, kw_only=True):
    """The files of one series.

    Attributes
    ----------
    symbol : str
        The series' symbol.
    price_type : str or None
        Its price type; None for the indicators of the symbol.
    timeframe : str
        Its timeframe.
    files : tuple of InputFile
        In the order of their names, or of the list that names them.
    """

    symbol: str
    price_type: str | None
    timeframe: str
    files: tuple[InputFile, ...]


class InputList(Struct, frozen=True):
    """The files of all series of a request.

    Attributes
    ----------
    series : tuple of InputSeries
        In the order of the stream: those of the primary timeframe by symbol and price
        type, those of further timeframes, then indicators.
    """

    series: tuple[InputSeries, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all files, each once, in the order of the series."""
        return tuple(dict.fromkeys(file.path for one in self.series for file in one.files))

    @property
    def range_ns(self) -> tuple[int, int] | None:
        """The smallest and the largest timestamp of all files, nanoseconds since 1970; None without rows."""
        files = [file for one in self.series for file in one.files]
        firsts = [file.first_timestamp_ns for file in files if file.first_timestamp_ns is not None]
        lasts = [file.last_timestamp_ns for file in files if file.last_timestamp_ns is not None]
        return (min(firsts), max(lasts)) if firsts and lasts else None

    def to_json(self) -> str:
        """Return the list as JSON, as `inputs` of `open_slices` and the command line take it.

        Returns
        -------
        str
            One object, ``{"series": […]}``.

        Examples
        --------
        >>> InputList(()).to_json()
        '{"series":[]}'
        """
        return msgspec.json.encode(self).decode()


class RequestOptions(TypedDict, total=False):
    """The options of a request but its root, as `open_slices` takes and explains them."""

    symbols: Iterable[str] | None
    timeframe: str
    price_types: Iterable[str]
    start: TimeLike | None
    end: TimeLike | None
    timeline: str
    session: str
    normalize: bool
    unsorted: str
    duplicates: str | None
    path_template: str | None
    columns: Mapping[str, str] | None
    fill: str
    max_age: str | timedelta | None
    with_timeframe: str | Iterable[str]
    known_at: str
    session_file: str | os.PathLike[str] | None
    indicators: Iterable[str]
    indicator_template: str | None
    inputs: str | os.PathLike[str] | None
    symbol_pattern: str | None
    one_instrument: bool
    timestamp_unit: str | None
    zone: str | None
    ambiguous: str
    stamped: str
    days: str | None


def list_inputs(
    data: str | os.PathLike[str] | None = None, *, follow_links: bool = False, **options: Unpack[RequestOptions]
) -> InputList:
    """Return the files that a request would read, and what of them.

    Reads footers, and where these say nothing the column of timestamps; no other values.
    Needs the executable.

    Parameters
    ----------
    data : str or path, optional
        The root folder of the input, as in `open_slices`.
    follow_links : bool
        Whether links may lead out of the root folder.
    **options
        The request, in the keywords of `open_slices` from `symbols` to `days`.

    Returns
    -------
    InputList
        With `InputList.to_json`, in a file, it is what `open_slices` takes as `inputs`.

    Raises
    ------
    BackendUnavailableError
        There is no executable.
    OmegaSlicesError
        Any other class of this package: the request contradicts itself, or a file is
        missing or cannot be read.

    Examples
    --------
    >>> from omega_slices import list_inputs
    >>> found = list_inputs(data, symbols=["EURUSD"], price_types=["bid"])
    >>> [(one.symbol, one.price_type, len(one.files), one.files[0].rows) for one in found.series]
    [('EURUSD', 'bid', 1, 2)]
    """
    root = default_data() if data is None and options.get("inputs") is None else data
    request = make_request(root, **options)
    return inputs_of(find_binary(), request, Permissions(follow_links=bool(follow_links)))


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
    producer = Producer([str(binary), "inputs", *arguments], silence_max_s=math.inf)
    try:
        printed = bytearray()
        while part := producer.stdout.read(_READ_BYTES):
            printed += part
        if (failure := producer.finish()) is not None:
            raise failure
        try:
            return _decode(printed)
        except msgspec.DecodeError as error:
            raise producer.failure(f"no list of inputs came: {error}", ended=True) from error
    finally:
        producer.close()


_decode: Final = msgspec.json.Decoder(InputList).decode
