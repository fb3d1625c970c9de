"""What all slices of one stream or file share: symbols, timeframes, columns.

Owns the look-up of a symbol's place within a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from omega_slices._arrow.buffers import values_view
from omega_slices._model.schema import TIMESTAMP_COLUMN
from omega_slices._model.times import timeframe_ns
from omega_slices.errors import RequestError

if TYPE_CHECKING:
    from omega_slices._model.schema import StreamSpec
    from omega_slices._slices.derived_cache import DerivedCache


class SliceLayout:
    """What all slices of one stream or file share."""

    __slots__ = (
        "candles",
        "derived",
        "index",
        "is_plain",
        "known_after_ns",
        "path",
        "spec",
        "symbol_names",
        "symbols",
        "timeframe",
        "timeframe_ns",
    )

    def __init__(
        self,
        symbols: tuple[str, ...],
        spec: StreamSpec,
        derived: DerivedCache | None = None,
        path: str | None = None,
        known_after_ns: int | None = None,
    ) -> None:
        """Make the layout.

        Of a file, `derived` bounds what its batches keep, and `path` is its own, for errors.
        `known_after_ns` says how long after a slice its candles are complete, where that is
        not the timeframe.
        """
        self.symbols = symbols
        self.spec = spec
        self.derived = derived
        self.path = path
        self.candles = spec.candles
        self.index = {symbol: position for position, symbol in enumerate(symbols)}
        self.timeframe = spec.timeframe
        self.timeframe_ns = timeframe_ns(spec.timeframe)
        self.known_after_ns = self.timeframe_ns if known_after_ns is None else known_after_ns
        # A snapshot then has candles of the primary timeframe alone.
        self.is_plain = not spec.higher_timeframes and not spec.indicators
        self.symbol_names = np.array(symbols, dtype=object)
        self.symbol_names.flags.writeable = False

    def key(self) -> tuple[object, ...]:
        """Return what must be equal for two slices to be comparable."""
        return (self.symbols, self.spec)


class SlicesDescribed:
    """What stream and table say of their slices alike."""

    __slots__ = ()

    # The heir's own.
    _layout: SliceLayout
    if TYPE_CHECKING:

        @property
        def schema(self) -> pa.Schema: ...

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of every slice, in order."""
        return self._layout.symbols

    @property
    def timeframe(self) -> str:
        """The primary timeframe of the slices, such as ``"M1"``."""
        return self._layout.timeframe

    @property
    def known_after_ns(self) -> int:
        """How long after a slice's timestamp its candles are complete, in nanoseconds.

        The primary timeframe; with local days the time until the day is over everywhere among
        the series.
        """
        return self._layout.known_after_ns

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The higher timeframes of the slices, in the requested order."""
        return self._layout.spec.higher_timeframes

    @property
    def fields(self) -> tuple[str, ...]:
        """What the slices hold of a candle, in the order open, high, low, close, volume."""
        return self._layout.spec.fields

    @property
    def indicators(self) -> tuple[str, ...]:
        """The names of the indicators, in the requested order."""
        return self._layout.spec.indicators

    def known_at(self, batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
        """Return when the candles of each slice of a record batch are complete.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            Whole slices of this stream or table.

        Returns
        -------
        numpy.ndarray
            datetime64[ns] (UTC), one per slice: its timestamp + the primary timeframe;
            with local days when the day is over everywhere among the series.

        Raises
        ------
        RequestError
            The batch does not hold whole slices of this stream or table.

        Examples
        --------
        >>> from omega_slices import open_slices
        >>> with open_slices(data, symbols=["EURUSD", "GBPUSD"]) as slices:
        ...     [str(known_at)[11:16] for batch in slices.batches() for known_at in slices.known_at(batch)]
        ['00:01', '00:02']
        """
        width = len(self.symbols)
        wrong = RequestError(
            "invalid batch: expected whole slices of this stream or table", hint="give it as batches() gave it"
        )
        if not isinstance(batch, pa.RecordBatch) or batch.schema != self.schema or batch.num_rows % width:
            raise wrong
        if not batch.num_rows:
            return np.empty(0, "datetime64[ns]")
        timestamps = values_view(batch.column(TIMESTAMP_COLUMN), "datetime64[ns]").reshape(-1, width)
        if not (timestamps == timestamps[:, :1]).all():
            raise wrong
        return timestamps[:, 0] + np.timedelta64(self._layout.known_after_ns, "ns")
