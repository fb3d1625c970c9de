"""The options of a request and of its execution: names, choices, limits and defaults.

Owns the forms in which people write options.  Each option that shapes the slices is a key
of `RequestOptions` and a field of `Request`.  Options that only say how the work is done
are in `ExecutionOptions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from omega_slices._model.storage import StorageOptions
    from omega_slices._model.times import TimeLike


Unsorted = Literal["sort", "error"]
Duplicates = Literal["last", "first", "identical", "error"]
Fill = Literal["none", "forward"]
KnownAt = Literal["open", "close"]
TimestampUnits = Literal["s", "ms", "us", "ns", "magnitude"]
Ambiguous = Literal["error", "infer", "earlier", "later"]
Stamped = Literal["open", "close"]
Days = Literal["utc", "local"]
EmptyRows = Literal["keep", "drop"]
Freedom = Literal["names", "slashes", "listed"]
"""What symbols may hold: what names of files may; slashes too; or anything, where files are listed."""

SESSIONS: Final = ("none", "fx")
"""The sessions that have a name of ours; any other name is that of a market calendar."""

CANDLE_FIELDS: Final = ("open", "high", "low", "close", "volume")
"""The five values of a candle, in the order of their columns."""

PRICE_FIELDS: Final = CANDLE_FIELDS[:4]
"""Those of them that are prices."""

INPUT_COLUMNS: Final[Mapping[str, str]] = {
    "timestamp": "UTC time",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
}
"""The input's columns under their default names."""

SIDE_COLUMNS: Final = tuple(f"{side}_{field}" for side in ("bid", "ask", "trade") for field in CANDLE_FIELDS)
"""The fields of candles of one price type, where a file holds several."""

OR: Final = "|"
"""Separates the names that a column may have."""

DATA_VARIABLE: Final = "OMEGA_DATA_PARQUET_ROOT"
DEFAULT_DATA: Final = "data/parquet"
DEFAULT_PATH_TEMPLATE: Final = "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet"
DEFAULT_INDICATOR_TEMPLATE: Final = "{root}/{symbol}/{symbol}_{timeframe}_IND.parquet"

# The stream's symbol column is a dictionary with int16 keys.
SYMBOLS_MAX: Final = 2**15 - 1


Scale: TypeAlias = "str | float | Decimal"


class RequestOptions(TypedDict, total=False):
    """The options of a request but its root, as `open_slices` takes and explains them."""

    symbols: Iterable[str] | None
    timeframe: str
    price_types: Iterable[str] | None
    start: TimeLike | None
    end: TimeLike | None
    timeline: str
    session: str
    normalize: bool
    unsorted: str
    duplicates: str | None
    path_template: str | None
    columns: Mapping[str, str | Sequence[str]] | None
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
    ambiguous: str | None
    stamped: str | Mapping[str, str] | None
    days: str | None
    fields: Iterable[str] | None
    before: TimeLike | None
    symbol_separator: str | None
    rewrite: Iterable[str]
    spell: Mapping[str, str] | None
    price_scale: Scale | Mapping[str, Scale] | None
    volume_scale: Scale | Mapping[str, Scale] | None
    empty_rows: str | None
    zones: Mapping[str, str] | Iterable[tuple[str, str]]
    layout: str | os.PathLike[str] | None


class Permissions(NamedTuple):
    """What a run may do, which changes no slice.

    Attributes
    ----------
    follow_links : bool
        Whether links may lead out of the root folder.
    strict : bool
        Whether a warning ends the run as an error.
    storage : StorageOptions or None
        How storage is reached; None for what the environment says.
    """

    follow_links: bool = False
    strict: bool = False
    storage: StorageOptions | None = None


NO_PERMISSIONS: Final = Permissions()


class CacheOptions(NamedTuple):
    """Where the executable keeps what it made.

    Attributes
    ----------
    folder : str
        The folder, made where it is not there.
    size : str or None
        What all files in it may take together, as the executable reads it; None for its
        default.
    """

    folder: str
    size: str | None


class MemoryOptions(NamedTuple):
    """How much memory and temporary disk a run may use; sizes as the executable reads them.

    Attributes
    ----------
    memory : str or None
        Memory of the executable; None for its default.
    temp_dir : str or None
        The folder of temporary files; None for its default.
    temp_limit : str or None
        What temporary files may take; None for its default.
    """

    memory: str | None = None
    temp_dir: str | None = None
    temp_limit: str | None = None


class ExecutionOptions(NamedTuple):
    """How a request is answered, where that does not change the answer.

    Attributes
    ----------
    threads : int or None
        Threads that decode the input; None for as many as there are cores.
    memory : MemoryOptions
        What it may use.
    cache : CacheOptions or None
        Where the executable keeps its files; None for no cache.
    permissions : Permissions
        What the run may do.
    shadow_sample : float
        Which part of the slices a shadow run compares, above 0 and up to 1.
    """

    threads: int | None = None
    memory: MemoryOptions = MemoryOptions()
    cache: CacheOptions | None = None
    permissions: Permissions = NO_PERMISSIONS
    shadow_sample: float = 1.0


DEFAULT_EXECUTION: Final = ExecutionOptions()
