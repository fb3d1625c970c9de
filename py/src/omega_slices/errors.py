"""The package's errors: one class per code, one way to make them from the binary's report.

Owns the numbers and names of the error codes in Python, and the classes that carry them.
Guarantees that every exception this package raises on purpose is an `OmegaSlicesError` with
a `code`, and that it can be pickled.  Where a built-in exception has the same meaning, as for
an unknown key or a bad value, the class is that built-in too.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from omega_slices._hints import hint_in_python

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


__all__ = [
    "AmbiguousInputError",
    "BackendUnavailableError",
    "ConflictingDuplicatesError",
    "CorruptInputError",
    "DeserializationError",
    "DivergenceError",
    "DuplicateTimestampError",
    "EmptySeriesError",
    "EmptyTimelineError",
    "ErrorCode",
    "InvalidPriceTypeError",
    "IteratorExhaustedError",
    "LocalDaysError",
    "NoDataForTimestampError",
    "OmegaSlicesError",
    "RequestError",
    "SchemaMismatchError",
    "SymbolNotFoundError",
    "SystemFailureError",
    "TimeframeMismatchError",
    "TimeframeNotFoundError",
    "UnsortedInputError",
    "UnsupportedInputError",
    "error_from_report",
    "error_from_warning",
]


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with every character escaped that a terminal might obey.

    Names come from disks and files.

    Examples
    --------
    >>> print(printable("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii") for one in text
    )


class ErrorCode(IntEnum):
    """What went wrong, as a number that command line, stream and package share.

    Codes from 3001 on are about the data, those from 3021 on about what a strict run does
    not let pass.  The two small ones are the exit status of failures that have no code of
    their own.

    Examples
    --------
    >>> ErrorCode(3001).name
    'SYMBOL_NOT_FOUND'
    """

    USAGE = 2
    SYSTEM_FAILURE = 4
    SYMBOL_NOT_FOUND = 3001
    TIMEFRAME_NOT_FOUND = 3002
    NO_DATA_FOR_TIMESTAMP = 3003
    INVALID_PRICE_TYPE = 3004
    ITERATOR_EXHAUSTED = 3005
    DESERIALIZATION_ERROR = 3006
    SCHEMA_MISMATCH = 3007
    CORRUPT_INPUT = 3008
    DUPLICATE_TIMESTAMP = 3009
    UNSORTED_INPUT = 3010
    BACKEND_UNAVAILABLE = 3011
    DIVERGENCE = 3012
    AMBIGUOUS_INPUT = 3013
    UNSUPPORTED_INPUT = 3014
    EMPTY_SERIES = 3021
    EMPTY_TIMELINE = 3022
    CONFLICTING_DUPLICATES = 3023
    TIMEFRAME_MISMATCH = 3024
    LOCAL_DAYS = 3025


class OmegaSlicesError(Exception):
    """Base of every error of this package.

    Never raised itself: each failure has the class of its code.

    Parameters
    ----------
    message : str
        What happened, naming what it is about.
    hint : str, optional
        What to do next.
    file : str, optional
        The input file it is about.
    symbol : str, optional
        The symbol it is about.
    price_type : str, optional
        The price type it is about.
    row : int, optional
        The row of `file` it is about, from 0.
    column : str, optional
        The column it is about.

    Attributes
    ----------
    code : ErrorCode
        The error's code, always there; one per class.
    message, hint, file, symbol, price_type, row, column
        As given; None where the error is not about such a thing.

    Examples
    --------
    >>> error = SymbolNotFoundError("no symbol XYZ", symbol="XYZ", hint="see the data folder")
    >>> error.code
    <ErrorCode.SYMBOL_NOT_FOUND: 3001>
    >>> print(error)
    no symbol XYZ
    hint: see the data folder
    >>> isinstance(error, KeyError)
    True
    """

    code: ClassVar[ErrorCode]

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | None = None,
        symbol: str | None = None,
        price_type: str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        # Only the message reaches BaseException.args: that is what pickle hands back to
        # __init__; the other attributes travel in __dict__.
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.file = file
        self.symbol = symbol
        self.price_type = price_type
        self.row = row
        self.column = column

    def __copy__(self) -> Self:
        """Return the same error as it was before it was raised: without traceback, cause and context.

        Written out, since a library may register that copies of all errors have tracebacks (dask
        does), which keep what was raised from in memory.
        """
        copied = type(self).__new__(type(self), *self.args)
        copied.args = self.args
        copied.__dict__.update(self.__dict__)
        return copied

    def __str__(self) -> str:
        """Return the message, what of its place it does not name itself, and the hint."""
        # Written out, since KeyError.__str__ would quote the message.
        about = {
            "file": self.file,
            "symbol": self.symbol,
            "price type": self.price_type,
            "row": self.row,
            "column": self.column,
        }
        place = ", ".join(f"{what} {value}" for what, value in about.items() if not self._names(what, value))
        text = f"{self.message} ({place})" if place else self.message
        return printable(text if self.hint is None else f"{text}\nhint: {self.hint}", keep="\n")

    def _names(self, what: str, value: str | int | None) -> bool:
        # A difference is written as a table, in which a column is a field.
        told = " ".join(self.message.split())
        if value is None or f"{what} {value}" in told or (what == "column" and f"field {value}" in told):
            return True
        return isinstance(value, str) and repr(value) in self.message


class RequestError(OmegaSlicesError, ValueError):
    """The request contradicts itself or holds a value that has no meaning (code 2)."""

    code = ErrorCode.USAGE


class SystemFailureError(OmegaSlicesError, OSError):
    """The operating system refused something: disk full, no such folder, … (code 4)."""

    code = ErrorCode.SYSTEM_FAILURE


class SymbolNotFoundError(OmegaSlicesError, KeyError):
    """A symbol that is not there, or may not be a symbol's name (code 3001)."""

    code = ErrorCode.SYMBOL_NOT_FOUND


class TimeframeNotFoundError(OmegaSlicesError, LookupError):
    """A timeframe that is not there, or is not a timeframe (code 3002)."""

    code = ErrorCode.TIMEFRAME_NOT_FOUND


class NoDataForTimestampError(OmegaSlicesError, LookupError):
    """No slice at the timestamp asked for (code 3003)."""

    code = ErrorCode.NO_DATA_FOR_TIMESTAMP


class InvalidPriceTypeError(OmegaSlicesError, ValueError):
    """A price type that is not there, or is not a price type (code 3004)."""

    code = ErrorCode.INVALID_PRICE_TYPE


class IteratorExhaustedError(OmegaSlicesError):
    """More slices were asked for than there are, or than a closed stream gives (code 3005)."""

    code = ErrorCode.ITERATOR_EXHAUSTED


class DeserializationError(OmegaSlicesError):
    """A slice stream or file that cannot be read, or is incomplete (code 3006)."""

    code = ErrorCode.DESERIALIZATION_ERROR


class SchemaMismatchError(OmegaSlicesError, KeyError):
    """A column that is missing or of a wrong type (code 3007)."""

    code = ErrorCode.SCHEMA_MISMATCH


class CorruptInputError(OmegaSlicesError):
    """An input file that cannot be read, or holds an impossible timestamp (code 3008)."""

    code = ErrorCode.CORRUPT_INPUT


class DuplicateTimestampError(OmegaSlicesError):
    """Two rows of one timestamp, where the request forbids that (code 3009)."""

    code = ErrorCode.DUPLICATE_TIMESTAMP


class UnsortedInputError(OmegaSlicesError):
    """A row out of order, where the request forbids that, or a strict run (code 3010)."""

    code = ErrorCode.UNSORTED_INPUT


class BackendUnavailableError(OmegaSlicesError):
    """The backend asked for cannot be used here (code 3011)."""

    code = ErrorCode.BACKEND_UNAVAILABLE


class DivergenceError(OmegaSlicesError):
    """Two backends that should agree do not (code 3012).

    Parameters
    ----------
    message, **about
        As `OmegaSlicesError` takes them; `column` is the field that differs.
    timestamp_ns : int, optional
        Of the first slice that differs, nanoseconds since 1970-01-01T00:00Z.
    values : tuple, optional
        What `rust` and what `python` has there.

    Attributes
    ----------
    timestamp_ns : int or None
        As given.
    rust, python : float, bool, int or None
        The two values: of a column of timestamps nanoseconds since 1970; None where there is
        no candle, or where one of the two has no such slice (then `column` is None too).

    Examples
    --------
    >>> error = DivergenceError("it differs", timestamp_ns=0, values=(1.5, 2.5))
    >>> error.rust, error.python, error.code.value
    (1.5, 2.5, 3012)
    """

    code = ErrorCode.DIVERGENCE

    def __init__(
        self,
        message: str,
        *,
        timestamp_ns: int | None = None,
        values: tuple[float | int | None, float | int | None] = (None, None),
        **about: Any,
    ) -> None:
        super().__init__(message, **about)
        self.timestamp_ns = timestamp_ns
        self.rust, self.python = values


class AmbiguousInputError(OmegaSlicesError):
    """Input that can be read in more than one way (code 3013)."""

    code = ErrorCode.AMBIGUOUS_INPUT


class UnsupportedInputError(OmegaSlicesError):
    """Input of a format, or under a scheme, that this program does not read (code 3014)."""

    code = ErrorCode.UNSUPPORTED_INPUT


class EmptySeriesError(OmegaSlicesError):
    """A series without a candle, in a strict run (code 3021)."""

    code = ErrorCode.EMPTY_SERIES


class EmptyTimelineError(OmegaSlicesError):
    """A timeline without a timestamp, in a strict run (code 3022)."""

    code = ErrorCode.EMPTY_TIMELINE


class ConflictingDuplicatesError(OmegaSlicesError):
    """Rows of one timestamp with different values, in a strict run (code 3023)."""

    code = ErrorCode.CONFLICTING_DUPLICATES


class TimeframeMismatchError(OmegaSlicesError):
    """Candles whose steps contradict the timeframe, in a strict run (code 3024)."""

    code = ErrorCode.TIMEFRAME_MISMATCH


class LocalDaysError(OmegaSlicesError):
    """Days that seem to be those of another zone than UTC, in a strict run (code 3025)."""

    code = ErrorCode.LOCAL_DAYS


_CLASS_BY_CODE: Final[dict[int, type[OmegaSlicesError]]] = {
    error.code.value: error
    for error in (
        RequestError,
        SystemFailureError,
        SymbolNotFoundError,
        TimeframeNotFoundError,
        NoDataForTimestampError,
        InvalidPriceTypeError,
        IteratorExhaustedError,
        DeserializationError,
        SchemaMismatchError,
        CorruptInputError,
        DuplicateTimestampError,
        UnsortedInputError,
        BackendUnavailableError,
        DivergenceError,
        AmbiguousInputError,
        UnsupportedInputError,
        EmptySeriesError,
        EmptyTimelineError,
        ConflictingDuplicatesError,
        TimeframeMismatchError,
        LocalDaysError,
    )
}


def error_from_report(report: Mapping[str, object]) -> OmegaSlicesError:
    """Make the exception that an error line of the binary describes.

    Parameters
    ----------
    report : Mapping[str, object]
        The decoded JSON object of one ``"kind": "error"`` line.  Only ``code`` and
        ``message`` must be there.  With ``hint_parts``, the hint names the arguments of
        `open_slices`.

    Returns
    -------
    OmegaSlicesError
        Not raised, an instance of the class of the code.  A code that this version
        does not know gives a `DeserializationError` that quotes it.

    Examples
    --------
    >>> error_from_report({"code": 3010, "message": "row 7 is out of order", "row": 7})
    UnsortedInputError('row 7 is out of order')
    """

    def text(key: str) -> str | None:
        value = report.get(key)
        return value if isinstance(value, str) else None

    code = report.get("code")
    row = report.get("row")
    message = text("message") or f"the producer failed without a message: {dict(report)}"
    known = _CLASS_BY_CODE.get(code) if isinstance(code, int) else None
    hint = hint_in_python(text("hint"), report.get("hint_parts"))
    if known is None:
        message = f"the producer failed with the unknown code {code!r}: {message}"
        hint = hint or "install the package and the executable of one release"
    return (known or DeserializationError)(
        message,
        hint=hint,
        file=text("file"),
        symbol=text("symbol"),
        price_type=text("price_type"),
        row=row if isinstance(row, int) else None,
        column=text("column"),
    )


def error_from_warning(
    name: str, message: str, *, file: str | None = None, symbol: str | None = None, price_type: str | None = None
) -> OmegaSlicesError:
    """Make the exception that a strict run raises in the place of a warning.

    Parameters
    ----------
    name, message, file, symbol, price_type
        Those of the warning; the name is also that of an `ErrorCode`.

    Returns
    -------
    OmegaSlicesError
        Not raised, an instance of the class of the code.

    Examples
    --------
    >>> error_from_warning("EMPTY_TIMELINE", "the timeline is empty")
    EmptyTimelineError('the timeline is empty')
    """
    return _CLASS_BY_CODE[ErrorCode[name].value](
        message,
        hint="correct the input, or leave out strict=True",
        file=file,
        symbol=symbol,
        price_type=price_type,
    )
