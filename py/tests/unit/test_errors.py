"""Errors: codes, classes, texts, and the way from the executable's report to an exception."""

from __future__ import annotations

import copy
import copyreg
import pickle
from typing import Any

import pytest

from omega_slices import errors
from omega_slices.errors import ErrorCode, OmegaSlicesError, error_from_report, error_from_warning

CODES = {
    "USAGE": 2,
    "SYSTEM_FAILURE": 4,
    "SYMBOL_NOT_FOUND": 3001,
    "TIMEFRAME_NOT_FOUND": 3002,
    "NO_DATA_FOR_TIMESTAMP": 3003,
    "INVALID_PRICE_TYPE": 3004,
    "ITERATOR_EXHAUSTED": 3005,
    "DESERIALIZATION_ERROR": 3006,
    "SCHEMA_MISMATCH": 3007,
    "CORRUPT_INPUT": 3008,
    "DUPLICATE_TIMESTAMP": 3009,
    "UNSORTED_INPUT": 3010,
    "BACKEND_UNAVAILABLE": 3011,
    "DIVERGENCE": 3012,
    "AMBIGUOUS_INPUT": 3013,
    "UNSUPPORTED_INPUT": 3014,
    "EMPTY_SERIES": 3021,
    "EMPTY_TIMELINE": 3022,
    "CONFLICTING_DUPLICATES": 3023,
    "TIMEFRAME_MISMATCH": 3024,
    "LOCAL_DAYS": 3025,
}
CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OmegaSlicesError)]
CONCRETE = [kind for kind in CLASSES if kind is not OmegaSlicesError]


def test_the_codes_are_those_of_the_contract() -> None:
    assert {code.name: code.value for code in ErrorCode} == CODES


def test_every_code_has_one_class_and_every_class_one_code() -> None:
    assert sorted(kind.code for kind in CONCRETE) == sorted(ErrorCode)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.SymbolNotFoundError, KeyError),
        (errors.TimeframeNotFoundError, LookupError),
        (errors.NoDataForTimestampError, LookupError),
        (errors.InvalidPriceTypeError, ValueError),
        (errors.RequestError, ValueError),
        (errors.SystemFailureError, OSError),
    ],
)
def test_errors_are_what_built_in_ones_say_too(kind: type[OmegaSlicesError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match=r"^gone$"):
        raise kind("gone")


@pytest.mark.parametrize("kind", CONCRETE)
def test_attributes_survive_a_pickle(kind: type[OmegaSlicesError]) -> None:
    given: dict[str, Any] = {
        "hint": "look there",
        "file": "a.parquet",
        "symbol": "A",
        "price_type": "bid",
        "row": 7,
        "column": "Open",
    }
    error = kind("it is broken", **given)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert type(one) is kind
        assert one.code is kind.code
        assert {name: getattr(one, name) for name in given} == given
        place = "file a.parquet, symbol A, price type bid, row 7, column Open"
        assert str(one) == f"it is broken ({place})\nhint: look there"
    bare = kind("it is broken")
    assert str(bare) == "it is broken"
    assert {getattr(bare, name) for name in given} == {None}


def test_what_the_message_names_is_not_named_again() -> None:
    message = "row 7 of 'a.parquet' is no good"
    error = errors.CorruptInputError(message, file="a.parquet", row=7, symbol="A")
    assert str(error) == f"{message} (symbol A)"


@pytest.mark.parametrize("kind", CONCRETE)
def test_the_class_follows_from_the_report(kind: type[OmegaSlicesError]) -> None:
    error = error_from_report(
        {
            "kind": "error",
            "code": int(kind.code),
            "name": kind.code.name,
            "message": "it is broken",
            "hint": None,
            "file": "a.parquet",
            "symbol": "A",
            "price_type": None,
            "row": 7,
            "column": None,
            "exit": 3,
        }
    )
    assert type(error) is kind
    assert (error.message, error.hint, error.file, error.row) == ("it is broken", None, "a.parquet", 7)


@pytest.mark.parametrize(
    "name",
    ["UNSORTED_INPUT", "EMPTY_SERIES", "EMPTY_TIMELINE", "CONFLICTING_DUPLICATES", "TIMEFRAME_MISMATCH", "LOCAL_DAYS"],
)
def test_every_warning_has_its_error(name: str) -> None:
    error = error_from_warning(name, "look", file="a.parquet", symbol="A", price_type="bid")
    assert error.code is ErrorCode[name]
    assert (error.message, error.file, error.symbol, error.price_type) == ("look", "a.parquet", "A", "bid")
    assert error.hint == "correct the input, or leave out strict=True"


@pytest.mark.parametrize("report", [{}, {"code": 9999, "message": "new"}, {"code": "3001"}, {"code": None, "row": "x"}])
def test_a_report_that_is_not_understood_is_an_error_all_the_same(report: dict[str, object]) -> None:
    error = error_from_report(report)
    assert error.code is ErrorCode.DESERIALIZATION_ERROR
    assert str(report.get("code")) in str(error)


def test_a_copy_has_no_traceback_whatever_a_library_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask registers that copies of all errors have theirs."""

    def with_traceback(error: BaseException) -> tuple[Any, ...]:
        return type(error).with_traceback, (type(error)("other"), error.__traceback__)

    monkeypatch.setitem(copyreg.dispatch_table, errors.SymbolNotFoundError, with_traceback)
    with pytest.raises(errors.SymbolNotFoundError) as caught:
        raise errors.SymbolNotFoundError("no symbol X", symbol="X", hint="ask for Y") from ValueError("y")
    error, copied = caught.value, copy.copy(caught.value)
    assert copied is not error
    assert (str(copied), copied.args, vars(copied)) == (str(error), error.args, vars(error))
    assert (copied.__traceback__, copied.__cause__, copied.__context__) == (None, None, None)
