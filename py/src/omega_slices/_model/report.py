"""Value types: what a run says about itself, with its warnings and its counts by series.

Owns the fields of the report, which the executable writes as JSON.  All are frozen
`msgspec.Struct`s.
"""

from __future__ import annotations

from msgspec import Struct


class RunWarning(Struct, frozen=True):
    """Something a run noticed and went on after.

    Attributes
    ----------
    name : str
        Stable name in capitals, such as ``"UNSORTED_INPUT"`` or ``"EMPTY_TIMELINE"``.
    message : str
        The warning in words.
    file, symbol, price_type : str or None
        What it is about, where it is about such a thing.

    Examples
    --------
    >>> RunWarning("EMPTY_TIMELINE", "the timeline is empty").file is None
    True
    """

    name: str
    message: str
    file: str | None = None
    symbol: str | None = None
    price_type: str | None = None


class TimestampUnit(Struct, frozen=True):
    """The unit in which a file's column of integers gives its timestamps.

    Attributes
    ----------
    file : str
        The file.
    unit : str
        ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.

    Examples
    --------
    >>> TimestampUnit("a.parquet", "ms").unit
    'ms'
    """

    file: str
    unit: str


class SeriesReport(Struct, frozen=True):
    """What became of the rows of one series.

    ``candles == rows - outside_window - outside_session - empty - duplicates``, where a missing
    `empty` counts 0.

    Attributes
    ----------
    symbol : str
        The series' symbol.
    timeframe : str
        Its timeframe.
    price_type : str or None
        Its price type; None for the indicators of the symbol.
    files : int
        How many files it was read from.
    rows : int
        Rows in those files.
    outside_window : int
        Rows dropped since they lie before `start` or after `end`.  Rows before `start`
        that are read since they may be carried count here, and nowhere else.
    outside_session : int
        Rows that the session filter dropped.
    duplicates : int
        Rows dropped since another row has their timestamp.
    candles : int
        Rows left: the candles that may appear in slices.
    sorted : bool
        True where the rows were in order as read.
    conflicting_duplicates : int
        Timestamps whose rows differ in a value.
    timestamp_units : tuple of TimestampUnit, or None
        The unit of each file whose timestamps are integers; None where there is no such
        file.
    empty : int or None
        Rows without a price that were dropped; None where such rows are kept.
    columns : dict of str to tuple of str, or None
        The columns that were read, by field, of fields whose column the request leaves open;
        several where files differ.  None where there is no such field.

    Examples
    --------
    >>> from omega_slices import open_slices
    >>> with open_slices(data, symbols=["EURUSD"], price_types=["bid"]) as slices:
    ...     taken = len(list(slices))
    >>> (series,) = slices.report.series
    >>> series.symbol, series.rows, series.candles, series.sorted
    ('EURUSD', 2, 2, True)
    """

    symbol: str
    timeframe: str
    price_type: str | None
    files: int
    rows: int
    outside_window: int
    outside_session: int
    duplicates: int
    candles: int
    sorted: bool
    conflicting_duplicates: int = 0
    timestamp_units: tuple[TimestampUnit, ...] | None = None
    empty: int | None = None
    columns: dict[str, tuple[str, ...]] | None = None


class RunReport(Struct, frozen=True):
    """What a run says about itself.

    Attributes
    ----------
    slices : int
        Slices produced.
    batches : int
        Record batches they came in, without the seal.
    first_timestamp_ns, last_timestamp_ns : int or None
        Timestamps of the first and the last slice; None where there is no slice.
    series : tuple of SeriesReport
        Those of the primary timeframe by symbol, in the requested order, then by price
        type; those of each higher timeframe in the same way; then the indicators of
        each symbol.  Empty until the run is complete.
    warnings : tuple of RunWarning
        In the order of their appearance.
    complete : bool
        True where the run ended properly; until then the numbers are those so far.
    temporary_bytes : int
        Disk that the run's temporary file took, in bytes; 0 without one, and for slices that
        were kept as a file.

    Examples
    --------
    >>> RunReport(slices=0, batches=0, complete=True).first_timestamp_ns is None
    True
    """

    slices: int
    batches: int
    first_timestamp_ns: int | None = None
    last_timestamp_ns: int | None = None
    series: tuple[SeriesReport, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    complete: bool = False
    temporary_bytes: int = 0
