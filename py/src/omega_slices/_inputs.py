"""Listing the input files of a request.

Owns `list_inputs`.  The executable finds the files and reads their footers; no values are
read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from omega_slices._backends.binary import find_binary
from omega_slices._backends.inputs import inputs_of, primary_range_ns
from omega_slices._calendars import check_calendar_of
from omega_slices._model.checks import checked_permissions
from omega_slices._model.options import Permissions, RequestOptions
from omega_slices._model.request_parser import default_root, make_request
from omega_slices._model.split import set_range_finder

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from omega_slices._calendars import check_calendar_of
    from omega_slices._model.input_list import InputList
    from omega_slices._model.request import Request
    from omega_slices._model.storage import StorageOptions


def _range_of(request: Request, storage: StorageOptions | None) -> tuple[int, int] | None:
    """Return the first and the last timestamp of the primary series, by the footers of their files."""
    return primary_range_ns(inputs_of(find_binary(), request, Permissions(storage=storage)), request)


set_range_finder(_range_of)


def list_inputs(
    data: str | os.PathLike[str] | None = None,
    *,
    follow_links: bool = False,
    storage_options: Mapping[str, str] | None = None,
    **options: Unpack[RequestOptions],
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
    storage_options : mapping of str to str, optional
        How storage is reached, as in `open_slices`.
    **options
        The request, in the keywords of `open_slices` from `symbols` to `before`.

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
    root = default_root() if data is None and options.get("inputs") is None else data
    request = make_request(root, **options)
    check_calendar_of(request)
    permissions = checked_permissions(follow_links=follow_links, storage_options=storage_options)
    return inputs_of(find_binary(), request, permissions)
