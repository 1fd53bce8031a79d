"""Exact numbers: text in, text out, and one way of rounding (spec/rating.md 2, spec/formats.md 1)."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.money import (
    NotANumber,
    fits_columns,
    parse_decimal,
    picos_per_base_unit,
    plain,
    plain_picos,
    round_half_away,
    rounded,
)


@pytest.mark.parametrize(
    "text", ["1e-5", "+1", ".5", "5.", "", " 1", "1 ", "NaN", "Infinity", "1_000", "١", "²", "1,5"]
)
def test_text_that_is_no_plain_number_is_refused(text):
    with pytest.raises(NotANumber):
        parse_decimal(text)


def test_more_digits_than_a_stored_decimal_are_refused():
    assert parse_decimal("9" * 38) == Decimal("9" * 38)
    with pytest.raises(NotANumber):
        parse_decimal("9" * 39)


def test_a_tenth_is_exactly_a_tenth():
    assert parse_decimal("0.1") * 10 == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [("1.50", "1.5"), ("0.000", "0"), ("-0", "0"), ("100", "100"), ("1E+3", "1000"), ("1E-12", "0.000000000001")],
)
def test_a_number_is_written_plainly(number, text):
    assert plain(Decimal(number)) == text


@pytest.mark.parametrize(
    ("numerator", "denominator", "result"),
    [(1, 2, 1), (-1, 2, -1), (3, 2, 2), (-3, 2, -2), (1, 3, 0), (2, 3, 1), (0, 5, 0), (10**40 + 1, 2, 5 * 10**39 + 1)],
)
def test_halves_round_away_from_zero(numerator, denominator, result):
    assert round_half_away(numerator, denominator) == result


def test_one_token_at_a_fine_price_rounds_to_twelve_decimals():
    n, d = picos_per_base_unit(Decimal("0.0000001234567"), Fraction(1))
    assert plain_picos(round_half_away(n, d)) == "0.000000123457"


def test_a_price_that_does_not_fit_128_bits_is_told():
    assert fits_columns(*picos_per_base_unit(Decimal("2.50"), Fraction(10**6)))
    assert not fits_columns(*picos_per_base_unit(Decimal(10**15), Fraction(1)))


@settings(max_examples=60)
@given(st.integers(-(10**40), 10**40), st.integers(1, 10**20))
def test_a_reversal_is_the_exact_negative(numerator, denominator):
    assert round_half_away(-numerator, denominator) == -round_half_away(numerator, denominator)


@settings(max_examples=60)
@given(st.integers(-(10**37), 10**37))
def test_picounits_survive_being_written_and_read(picos):
    assert Fraction(parse_decimal(plain_picos(picos))) * 10**12 == picos


@settings(max_examples=60)
@given(st.fractions(min_value=0, max_value=10**12), st.integers(0, 18))
def test_rounding_moves_a_number_by_half_a_step_at_most(number, places):
    assert abs(Fraction(rounded(number, places)) - number) <= Fraction(1, 2 * 10**places)
