"""Slices as dask dataframes: a partition per part.

Needs the extra ``dask``, which brings pandas.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from omega_slices._arrow.buffers import string_array
from omega_slices._extras import library
from omega_slices._model.paths import check_readable, is_remote, local_form
from omega_slices._model.request import Request
from omega_slices._model.schema import SYMBOL_COLUMN, TIMESTAMP_COLUMN, stream_spec
from omega_slices._model.storage import checked_storage
from omega_slices._model.times import NS_MIN, candle_begin_ns
from omega_slices._open import open_request
from omega_slices._slices.parts import open_folder, open_known
from omega_slices._table import SliceTable
from omega_slices._wide import PANDAS_MIN
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from omega_slices._model.storage import StorageOptions
    from omega_slices._slices.parts import Known
    from omega_slices._stream import SliceStream

__all__ = ["read_slices"]

DASK_MIN: Final = "2025.1"
dataframe: Any = library("dask.dataframe", minimum=DASK_MIN, install="omega-slices[dask]", package="dask")
pd: Any = library("pandas", minimum=PANDAS_MIN, install="omega-slices[dask]")


def read_slices(
    source: str | os.PathLike[str] | Request,
    by: str | int | None = None,
    columns: Iterable[str] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> Any:
    """Return slices as a dask dataframe, read or made where its partitions are computed.

    Parameters
    ----------
    source : str, path or Request
        A folder of parts or its URI, as `omega_slices.precompute` fills it, or a request, which each
        worker answers for its parts.  Workers see the same files under the same paths.
    by : {"day", "week", "month", "year"} or int, optional
        For a request: how it is cut, as in `Request.split`; by default by months.
    columns : iterable of str, optional
        The columns, in this order; by default all.  What dask finds to be needed counts in the
        same way.  Of a request, no other field of candles is read then, where no value can depend on
        it: not with a ``valid_…`` column, duplicates ``"identical"`` or ``"error"``, or the session
        ``"fx"``.
    storage_options : mapping of str to str, optional
        How storage is reached, as in `omega_slices.open_slices`.  Workers get them as an argument, of
        which dask shows the names alone.

    Returns
    -------
    dask.dataframe.DataFrame
        A row per slice and symbol, in the order of the stream.  The index is ``timestamp``
        (aware, UTC, nanoseconds); ``symbol`` is a category, the other columns as in `schema`, a
        null as NaN or NaT.  Divisions are known, but without slices, or where one is at the
        smallest timestamp, which pandas has not.

    Raises
    ------
    RequestError
        `by` is set for a folder, or there is no such column; also where dask is missing.
    DeserializationError
        The folder cannot be read.  When it is computed, also where a part is another by then.
    OmegaSlicesError
        Any other class of this package, of a request.

    Examples
    --------
    >>> from omega_slices import Request, dask
    >>> request = Request(data=str(data), symbols=("EURUSD", "GBPUSD"))
    >>> frame = dask.read_slices(request, by="day", columns=["symbol", "bid_close"])
    >>> frame.npartitions, frame.known_divisions
    (1, True)
    >>> float(frame["bid_close"].sum().compute(scheduler="sync"))
    8.375
    """
    storage = checked_storage(storage_options)
    if isinstance(source, Request):
        parts = source.split("month" if by is None else by, storage_options)
        schema, symbols = _described(parts[0], storage)
        names = _checked(columns, schema)
        return _collection(partial(_made, storage=storage), parts, [*_windows(parts)], names, _meta(schema, symbols))
    if by is not None:
        raise RequestError(
            "by= is for a request: a folder has the parts that it has", hint="leave it out, or precompute other parts"
        )
    try:
        text = local_form(os.fsdecode(source))
        check_readable(text)
        folder = text.rstrip("/") if is_remote(text) else os.path.abspath(text)
    except TypeError:
        raise RequestError(
            f"invalid source={source!r}: expected a folder or a Request", hint="give the folder that precompute filled"
        ) from None
    file = open_folder(folder, storage)
    names = _checked(columns, file.schema)
    filled = [one for one in file.known if one.slices] or [*file.known[:1]]
    windows = [(one.first_timestamp_ns, one.last_timestamp_ns) for one in filled]
    return _collection(
        partial(_stored, storage=storage), filled, windows, names, _meta(file.schema, file.layout.symbols)
    )


def _collection(
    make: Callable[..., Any],
    parts: Sequence[Any],
    windows: Sequence[tuple[int | None, int | None]],
    names: list[str] | None,
    meta: Any,
) -> Any:
    edges = [*(first_ns for first_ns, _ in windows), windows[-1][1]]
    divisions = None
    # To pandas the smallest timestamp is NaT, which divides nothing.
    if not {None, NS_MIN} & {*edges}:
        divisions = tuple(pd.Timestamp(edge_ns, unit="ns", tz="UTC") for edge_ns in edges)
    # Dask leaves out what is None.
    chosen = {} if names is None else {"columns": names}
    return dataframe.from_map(make, [*parts], meta=meta, divisions=divisions, label="omega-slices", **chosen)


def _windows(parts: Sequence[Request]) -> Iterator[tuple[int | None, int | None]]:
    """Yield the first and the last timestamp that slices of each part can have."""
    for part in parts:
        first_ns = part.start
        if first_ns is not None and part.normalize:
            # The window looks at what is then floored.
            first_ns = max(candle_begin_ns(first_ns, part.timeframe), NS_MIN)
        yield first_ns, part.last_ns


def _described(part: Request, storage: StorageOptions | None) -> tuple[pa.Schema, tuple[str, ...]]:
    """Return the schema and the symbols of a request, by its first instant."""
    instant = msgspec.structs.replace(part, end=part.start, before=None)
    with open_request(instant, storage) as slices:
        return slices.schema, slices.symbols


def _checked(columns: Iterable[str] | None, schema: pa.Schema) -> list[str] | None:
    if columns is None:
        return None
    names = [*columns]
    known = [name for name in schema.names if name != TIMESTAMP_COLUMN]
    unknown = [name for name in names if name not in known]
    if isinstance(columns, str) or unknown or not names:
        raise RequestError(
            f"invalid columns={columns!r}: expected a list of names, such as {known[1:3]}",
            hint=f"choose from {', '.join(known)}; {TIMESTAMP_COLUMN} is the index",
        )
    return names


def _meta(schema: pa.Schema, symbols: Sequence[str]) -> Any:
    """Return the frame without rows: with the index, and with the symbols as categories."""
    return _frame(_without_rows(schema, symbols), None)


def _without_rows(schema: pa.Schema, symbols: Sequence[str]) -> pa.Table:
    table = schema.empty_table()
    place = schema.get_field_index(SYMBOL_COLUMN)
    texts = pa.DictionaryArray.from_arrays(pa.array([], pa.int16()), string_array(symbols))
    return table.set_column(place, schema.field(place), texts)


def _frame(table: pa.Table, columns: Sequence[str] | None) -> Any:
    chosen = table if columns is None else table.select([TIMESTAMP_COLUMN, *columns])
    return chosen.to_pandas().set_index(TIMESTAMP_COLUMN)


def _frame_of(slices: SliceTable | SliceStream, columns: Sequence[str] | None) -> Any:
    """Return the frame of a partition; its categories are all symbols, also without rows."""
    table = slices.to_arrow()
    return _frame(table if table.num_rows else _without_rows(slices.schema, slices.symbols), columns)


def _stored(known: Known, columns: Sequence[str] | None = None, *, storage: StorageOptions | None = None) -> Any:
    """Read a part, in whatever process."""
    return _frame_of(SliceTable(open_known(known, storage=storage), 0, known.slices), columns)


def _made(request: Request, columns: Sequence[str] | None = None, *, storage: StorageOptions | None = None) -> Any:
    """Answer the request of a part, in whatever process."""
    if columns is not None and not _needs_all_fields(request, columns):
        # Their names end with that of the field; one of another column does no harm.
        ends = {name.rsplit("_", 1)[-1] for name in columns}
        fields = tuple(field for field in request.fields if field in ends)
        request = msgspec.structs.replace(request, fields=fields or request.fields[:1])
    with open_request(request, storage) as slices:
        return _frame_of(slices, columns)


def _needs_all_fields(request: Request, columns: Sequence[str]) -> bool:
    """Return whether columns, or a rule of the request, depend on fields that they do not show."""
    flags = {candle.valid for candle in stream_spec(request).candles.values()}
    return request.duplicates in ("identical", "error") or request.session == "fx" or not flags.isdisjoint(columns)
