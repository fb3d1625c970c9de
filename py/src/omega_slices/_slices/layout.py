"""What all slices of one stream or file share: symbols, timeframes, columns.

Owns the look-up of a symbol's place within a slice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from omega_slices._model.times import timeframe_ns

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

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of every slice, in order."""
        return self._layout.symbols

    @property
    def timeframe(self) -> str:
        """The primary timeframe of the slices, such as ``"M1"``."""
        return self._layout.timeframe

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The higher timeframes of the slices, in the requested order."""
        return self._layout.spec.higher_timeframes

    @property
    def indicators(self) -> tuple[str, ...]:
        """The names of the indicators, in the requested order."""
        return self._layout.spec.indicators
