"""How names of files spell symbols and timeframes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_slices import Request, RequestError
from omega_slices._model.naming import Naming, encodes_symbol, zone_of_symbol

RULES = ("{a}_{b}_{c} = {a}/{b}:{c}", "{a}_{b} = {a}/{b}")


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC_USDT_USDT", "BTC/USDT:USDT"),
        ("BTC_USDT", "BTC/USDT"),
        ("AAPL", "AAPL"),
        ("A_B_C_D", "A_B_C_D"),
        ("_B", "_B"),
    ],
)
def test_the_first_rule_that_fits_counts(text: str, symbol: str) -> None:
    naming = Naming(None, RULES)
    assert naming.symbol(text) == symbol
    assert naming.texts(symbol)[0] == text


def test_what_no_name_spells() -> None:
    assert Naming(None, ("{a}. = {a}/",)).texts("./") == []
    assert Naming(None, ()).texts("..") == []
    assert Naming(None, RULES).texts("A_B") == []
    assert Naming("_", ()).texts("BTC_USDT") == []
    assert Naming(None, ("{a}-{b} = {a}/{b}", "{a}_{b} = {a}/{b}")).texts("A/B") == ["A-B", "A_B"]


@given(st.text("AB/:_.", min_size=1, max_size=8), st.sampled_from([(), RULES]), st.sampled_from([None, "_", "--"]))
def test_texts_mean_their_symbols(symbol: str, rules: tuple[str, ...], separator: str | None) -> None:
    naming = Naming(separator, rules)
    for text in naming.texts(symbol):
        assert "/" not in text
        assert naming.symbol(text) == symbol


@pytest.mark.parametrize(
    "rule",
    [
        *("", "{a}_{b}", "{a}{b} = {a}/{b}", "{a}_{b} = {a}/{c}", "{a}_{a} = {a}/{a}", "{a}_{b} = {a}{b}"),
        *("a = b", "{a}/{b} = {a}_{b}", "{A} = {A}", "{a = {a}", "a} = {a}"),
    ],
)
def test_rules_that_do_not_tell_fields_apart_are_refused(rule: str) -> None:
    with pytest.raises(RequestError):
        Naming(None, (rule,))


def test_the_zone_of_the_first_pattern_that_fits() -> None:
    zones = [("AIR.PA", "Europe/Berlin"), ("*.PA", "Europe/Paris"), ("^*", "America/New_York")]
    found = {symbol: zone_of_symbol(zones, symbol) for symbol in ("AIR.PA", "MC.PA", "^GSPC", "AAPL")}
    assert found == {"AIR.PA": "Europe/Berlin", "MC.PA": "Europe/Paris", "^GSPC": "America/New_York", "AAPL": None}


def test_folders_that_encode_symbols() -> None:
    assert encodes_symbol("{root}/symbol={symbol}/x.parquet")
    assert not encodes_symbol("{root}/{symbol}=x/y.parquet")
    assert not encodes_symbol(None)


def test_a_slash_needs_a_name_that_spells_it() -> None:
    for options in ({"symbol_separator": "_"}, {"rewrite": RULES}, {"path_template": "{root}/s={symbol}/x"}):
        request = Request(data="d", symbols=("A/B",), price_types=("bid",), **options)
        assert request.symbols == ("A/B",)
    with pytest.raises(RequestError):
        Request(data="d", symbols=("A",), spell={"M1": "1m", "H1": "1m"})


@pytest.mark.parametrize(
    ("given_scale", "spelled"),
    [("1e-9", "1e-9"), ("0.000000001", "1e-9"), (1e-9, "1e-9"), ("100", "1e2"), (".25", "25e-2"), (2, "2e0")],
)
def test_scales_have_one_spelling(given_scale: object, spelled: str) -> None:
    request = Request(data="d", symbols=("A",), price_scale=given_scale)  # type: ignore[arg-type]  # as people write it
    assert request.price_scale == spelled


@pytest.mark.parametrize("scale", ["", "0", "-1", "x", "nan", "inf", "1e99", "1,5", 0, float("nan"), {"4": "1e-9"}])
def test_a_scale_is_a_number_above_zero(scale: object) -> None:
    with pytest.raises(RequestError):
        Request(data="d", symbols=("A",), price_scale=scale)  # type: ignore[arg-type]  # wrong on purpose
