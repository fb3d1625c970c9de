"""Value types: the input files of a request, by series.

Owns what is said of a file and the JSON of the list.  Opens nothing.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


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

    Examples
    --------
    >>> from omega_slices import list_inputs
    >>> found = list_inputs(data, symbols=["EURUSD"], price_types=["bid"])
    >>> found.series[0].files[0].columns["close"], found.series[0].files[0].rows
    ('Close', 2)
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

    Examples
    --------
    >>> from omega_slices import list_inputs
    >>> found = list_inputs(data, symbols=["EURUSD"], price_types=["bid"])
    >>> found.series[0].symbol, found.series[0].timeframe
    ('EURUSD', 'M1')
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
        type, those of higher timeframes, then indicators.

    Examples
    --------
    >>> from omega_slices import list_inputs
    >>> found = list_inputs(data, symbols=["EURUSD"], price_types=["bid"])
    >>> len(found.paths), found.range_ns[1] - found.range_ns[0]
    (1, 60000000000)
    """

    series: tuple[InputSeries, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all files, each once, in the order of the series."""
        return tuple(dict.fromkeys(file.path for one in self.series for file in one.files))

    @property
    def range_ns(self) -> tuple[int, int] | None:
        """The smallest and the largest timestamp of all files, nanoseconds since 1970.

        None without rows.
        """
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
