"""Slices as matrices: one column of the stream is a matrix of slices by symbols.

Owns what users call: arrays, frames and tables of every library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, overload

import pyarrow as pa

from omega_slices._arrow.plain_types import in_types
from omega_slices._extras import library as required
from omega_slices._matrices import arrow_array, column_names, gathered, turned
from omega_slices._model.checks import check_choice
from omega_slices._model.schema import SYMBOL_COLUMN, TIMESTAMP_COLUMN
from omega_slices.errors import RequestError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import polars as pl

    from omega_slices._matrices import Block

    Array = np.ndarray[Any, Any]

# The oldest versions whose frames these are made for.
PANDAS_MIN: Final = "2.2"
_POLARS_MIN: Final = "1.0"
_DUCKDB_MIN: Final = "1.0"
_XARRAY_MIN: Final = "2024.1"

_LIBRARIES: Final = ("pandas", "polars", "pyarrow")
_UNITS: Final = ("ns", "us")
_SYMBOL_TYPES: Final = ("dictionary", "string")


class _Slices(Protocol):
    """What stream and table have, on which the methods below rest."""

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def schema(self) -> pa.Schema: ...
    def batches(self) -> Iterator[pa.RecordBatch]: ...
    def _blocks(self, names: tuple[str, ...]) -> Iterator[Block]: ...
    def _check_unread(self) -> None: ...
    def _matrices(self, names: tuple[str, ...], *, is_own: bool) -> dict[str, Array]: ...
    def _relation_source(self) -> object: ...
    def to_arrow(
        self,
        timestamp_unit: Literal["ns", "us"] = "ns",
        symbols: Literal["dictionary", "string"] = "dictionary",
    ) -> pa.Table: ...


class WideSlices:
    """The matrices of stream and table.

    A table gives them again and again; a stream gives what is left of it, once.
    """

    __slots__ = ()

    def blocks(self: _Slices, *columns: str | Iterable[str]) -> Iterator[Block]:
        """Iterate over columns as matrices, one batch at a time, in bounded memory.

        Parameters
        ----------
        *columns : str or iterable of str
            Columns of the stream's schema, such as ``"bid_close"``; at least one.

        Yields
        ------
        timestamps : numpy.ndarray
            datetime64[ns] (UTC), shape ``(k,)``: those of the batch's slices.
        matrices : dict of str to numpy.ndarray
            By column, shape ``(k, N)``, N the number of symbols in the requested order, types
            as in `MultiSymbolSlice.column`; read-only views of the batch, not copies
            (``valid_*`` and timestamps with NaT: of an array made once per batch).

        Raises
        ------
        SchemaMismatchError
            There is no such column; also a `KeyError`.
        RequestError
            No column is named, or one twice.
        IteratorExhaustedError
            The stream has been walked through already.
        OmegaSlicesError
            The stream cannot be completed, or the file is damaged.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> for timestamps, block in read_slices(path).blocks("bid_close", "ask_close"):
        ...     print(timestamps.shape, (block["ask_close"] - block["bid_close"]).tolist())
        (2,) [[0.25, 0.25], [0.25, 0.25]]
        """
        names = column_names(self.schema, columns)
        self._check_unread()
        return self._blocks(names)

    @overload
    def to_numpy(self: _Slices, column: str, /) -> Array: ...

    @overload
    def to_numpy(self: _Slices, *columns: str | Iterable[str]) -> dict[str, Array] | Array: ...

    def to_numpy(self: _Slices, *columns: str | Iterable[str]) -> dict[str, Array] | Array:
        """Return columns as matrices of slices by symbols.

        Parameters
        ----------
        *columns : str or iterable of str
            One column of the stream's schema, such as ``"bid_close"``; or several, as
            arguments or as a list.

        Returns
        -------
        numpy.ndarray, or dict of str to numpy.ndarray
            One array for one name, else a dict by column.  Shape ``(slices, N)``, N the number
            of symbols in the requested order; types as in `MultiSymbolSlice.column`: float64
            for prices, NaN where there is no candle.  Read-only.  A view where the slices lie
            in one batch, else one copy.

        Raises
        ------
        SchemaMismatchError
            There is no such column; also a `KeyError`.
        RequestError
            No column is named, or one twice.
        IteratorExhaustedError
            The stream has been walked through already.
        OmegaSlicesError
            The stream cannot be completed, or the file is damaged.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).to_numpy("bid_close")
        array([[1.5  , 2.5  ],
               [1.625, 2.75 ]])
        >>> sorted(read_slices(path).to_numpy("bid_close", "ask_close"))
        ['ask_close', 'bid_close']
        """
        matrices = self._matrices(column_names(self.schema, columns), is_own=False)
        return matrices[columns[0]] if len(columns) == 1 and isinstance(columns[0], str) else matrices

    def timestamps(self: _Slices) -> Array:
        """Return the timestamps of the slices.

        Returns
        -------
        numpy.ndarray
            datetime64[ns] (UTC), shape ``(slices,)``, strictly increasing; read-only.

        Raises
        ------
        IteratorExhaustedError
            The stream has been walked through already.
        OmegaSlicesError
            The stream cannot be completed, or the file is damaged.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).timestamps().astype("datetime64[m]").tolist()[-1].isoformat()
        '2024-01-02T00:01:00'
        """
        return gathered(self, ())[0]

    def to_wide(self: _Slices, column: str, library: Literal["pandas", "polars", "pyarrow"] = "pandas") -> Any:
        """Return one column as a table of timestamps by symbols.

        Parameters
        ----------
        column : str
            A column of the stream's schema, such as ``"bid_close"``.
        library : {"pandas", "polars", "pyarrow"}
            Whose table.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            One column per symbol, in the requested order, named by it; NaN where there is no
            candle.  The timestamps of the slices, in nanoseconds UTC, are the index ``timestamp`` of pandas,
            and the first column ``timestamp`` of the others.  Its memory is its own.

        Raises
        ------
        SchemaMismatchError
            There is no such column; also a `KeyError`.
        RequestError
            The library is another one, missing or too old; or a symbol is named ``timestamp``
            where that is a column.
        IteratorExhaustedError
            The stream has been walked through already.
        OmegaSlicesError
            The stream cannot be completed, or the file is damaged.

        Examples
        --------
        >>> from omega_slices import open_slices
        >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"], price_types=["bid"], fields=["close"]) as slices:
        ...     closes = slices.to_wide("bid_close")
        >>> closes["GBPUSD"].tolist(), str(closes.index[0])
        ([2.5, 2.75], '2024-01-02 00:00:00+00:00')
        """
        check_choice("library", library, _LIBRARIES)
        if not isinstance(column, str):
            raise RequestError(
                f"invalid column={column!r}: expected the name of one column",
                hint="call to_wide for each column, or to_numpy for several",
            )
        (name,) = column_names(self.schema, (column,))
        if library == "pandas":
            pd = required("pandas", minimum=PANDAS_MIN)
            timestamps, matrices = gathered(self, (name,), is_own=True)
            index = pd.DatetimeIndex(timestamps, tz="UTC", name=TIMESTAMP_COLUMN)
            is_time = matrices[name].dtype.kind == "M"
            frame = pd.DataFrame(matrices[name], index=index, columns=list(self.symbols), copy=False)
            if not is_time:
                return frame
            # With the zone that the index has, so that one can be taken from the other.
            return frame.apply(lambda stamps: stamps.dt.tz_localize("UTC"))
        if TIMESTAMP_COLUMN in self.symbols:
            raise RequestError(
                f"a symbol is named {TIMESTAMP_COLUMN!r}, as the column of timestamps is",
                hint='use library="pandas", whose timestamps are the index, or to_numpy()',
            )
        polars = required("polars", minimum=_POLARS_MIN) if library == "polars" else None
        timestamps, matrices = gathered(self, (name,))
        columns = [arrow_array(timestamps), *map(arrow_array, turned(matrices[name]))]
        table = pa.Table.from_arrays(columns, [TIMESTAMP_COLUMN, *self.symbols])
        return table if polars is None else polars.from_arrow(table)

    def to_xarray(self: _Slices, columns: Iterable[str] | None = None) -> Any:
        """Return columns as a Dataset of xarray, which needs xarray.

        Parameters
        ----------
        columns : iterable of str, optional
            Columns of the stream's schema; by default all but ``timestamp`` and ``symbol``.

        Returns
        -------
        xarray.Dataset
            A variable per column, dimensions ``timestamp`` (datetime64[ns], UTC) and
            ``symbol``; NaN where there is no candle.

        Raises
        ------
        SchemaMismatchError
            There is no such column; also a `KeyError`.
        RequestError
            xarray is missing or too old, or a column is named twice.
        IteratorExhaustedError
            The stream has been walked through already.
        OmegaSlicesError
            The stream cannot be completed, or the file is damaged.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> dataset = read_slices(path).to_xarray(["bid_close"])
        >>> float(dataset.bid_close.sel(symbol="GBPUSD").max()), dict(dataset.sizes)
        (2.75, {'timestamp': 2, 'symbol': 2})
        """
        xarray = required("xarray", minimum=_XARRAY_MIN, install="omega-slices[xarray]")
        if columns is None:
            columns = [name for name in self.schema.names if name not in (TIMESTAMP_COLUMN, SYMBOL_COLUMN)]
        names = column_names(self.schema, (columns,))
        if TIMESTAMP_COLUMN in names:
            raise RequestError("the timestamps are no variable: they are a coordinate", hint="leave out 'timestamp'")
        timestamps, matrices = gathered(self, names, is_own=True)
        dimensions = (TIMESTAMP_COLUMN, SYMBOL_COLUMN)
        return xarray.Dataset(
            {name: (dimensions, matrix) for name, matrix in matrices.items()},
            coords={TIMESTAMP_COLUMN: timestamps, SYMBOL_COLUMN: list(self.symbols)},
        )

    def to_arrow(
        self: _Slices,
        timestamp_unit: Literal["ns", "us"] = "ns",
        symbols: Literal["dictionary", "string"] = "dictionary",
    ) -> pa.Table:
        """Return the slices as an Arrow table.

        Parameters
        ----------
        timestamp_unit : {"ns", "us"}
            The unit of all timestamps; ``"us"`` for tools that know no nanoseconds.
        symbols : {"dictionary", "string"}
            The type of the symbols; ``"string"`` for tools that know no dictionaries.

        Returns
        -------
        pyarrow.Table
            A row per slice and symbol; columns as in `schema`, but for these types.

        Raises
        ------
        SchemaMismatchError
            A timestamp is no whole microsecond.
        RequestError
            A type is another one.
        IteratorExhaustedError
            The stream has been walked through already.
        OmegaSlicesError
            The stream cannot be completed, or the file is damaged.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).to_arrow("us", "string").schema.types[:2]
        [TimestampType(timestamp[us, tz=UTC]), DataType(string)]
        """
        check_choice("timestamp_unit", timestamp_unit, _UNITS)
        check_choice("symbols", symbols, _SYMBOL_TYPES)
        self._check_unread()
        table = pa.Table.from_batches(self.batches(), self.schema)
        if not table.num_rows:
            self._check_unread()  # now that the end has been seen
        try:
            return in_types(table, timestamp_unit, symbols)
        except pa.ArrowInvalid as error:
            raise SchemaMismatchError(
                f"a timestamp is no whole microsecond: {error}",
                hint='leave out timestamp_unit="us", or floor the input with normalize=True',
                column=TIMESTAMP_COLUMN,
            ) from None

    def to_polars(
        self: _Slices,
        timestamp_unit: Literal["ns", "us"] = "ns",
        symbols: Literal["dictionary", "string"] = "dictionary",
    ) -> pl.DataFrame:
        """Return the slices as a polars DataFrame, which needs polars.

        Parameters
        ----------
        timestamp_unit, symbols : str
            As in `to_arrow`; ``"dictionary"`` is a Categorical.

        Returns
        -------
        polars.DataFrame
            A row per slice and symbol; columns as in `schema`.

        Raises
        ------
        OmegaSlicesError
            As `to_arrow`; a `RequestError` also where polars is missing or too old.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).to_polars()["bid_close"].to_list()
        [1.5, 2.5, 1.625, 2.75]
        """
        polars = required("polars", minimum=_POLARS_MIN)
        frame: pl.DataFrame = polars.DataFrame(self.to_arrow(timestamp_unit, symbols))
        return frame

    def to_duckdb(self: _Slices, connection: Any = None) -> Any:
        """Return the slices as a relation of duckdb, which needs duckdb.

        A relation may be asked for its rows again and again.  Each time, a table is read anew;
        a stream is taken into an Arrow table first.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection, optional
            Where the relation belongs; by default duckdb's own one of the process.

        Returns
        -------
        duckdb.DuckDBPyRelation
            A row per slice and symbol; columns as in `schema`.

        Raises
        ------
        OmegaSlicesError
            As `to_arrow`; a `RequestError` also where duckdb is missing or too old.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> relation = read_slices(path).to_duckdb()
        >>> relation.aggregate("symbol, max(bid_close) AS top").order("top").fetchall()
        [('EURUSD', 1.625), ('GBPUSD', 2.75)]
        """
        duckdb = required("duckdb", minimum=_DUCKDB_MIN)
        return (duckdb if connection is None else connection).from_arrow(self._relation_source())

    def to_pandas(
        self: _Slices,
        timestamp_unit: Literal["ns", "us"] = "ns",
        symbols: Literal["dictionary", "string"] = "dictionary",
    ) -> Any:
        """Return the slices as a pandas DataFrame, which needs pandas.

        Parameters
        ----------
        timestamp_unit, symbols : str
            As in `to_arrow`; ``"dictionary"`` is a category.

        Returns
        -------
        pandas.DataFrame
            A row per slice and symbol; columns as in `schema`, a null as NaN or NaT.

        Raises
        ------
        OmegaSlicesError
            As `to_arrow`; a `RequestError` also where pandas is missing or too old.

        Examples
        --------
        >>> from omega_slices import read_slices
        >>> read_slices(path).to_pandas()["bid_close"].tolist()
        [1.5, 2.5, 1.625, 2.75]
        """
        required("pandas", minimum=PANDAS_MIN)
        return self.to_arrow(timestamp_unit, symbols).to_pandas()
