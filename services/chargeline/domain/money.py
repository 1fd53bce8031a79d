"""Exact numbers: reading them from text, writing them as text, and the one way of rounding.

Source: spec/rating.md, section 2; spec/formats.md, section 1.
"""

import re
from decimal import Decimal
from fractions import Fraction

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DIGITS_MAX = 38  # Decimal(38, …)
PICOS = 10**12


class NotANumber(ValueError):
    """The text is not a plain decimal number."""


def parse_decimal(text: str) -> Decimal:
    """Read a plain decimal number: no exponent, no sign but '-', no NaN, only the digits 0 to 9.

    Raises:
        NotANumber: anything else, also more than 38 digits.
    """
    if not _NUMBER.fullmatch(text) or sum(map(str.isdigit, text)) > _DIGITS_MAX:
        raise NotANumber(text)
    return Decimal(text)


def plain(number: Decimal) -> str:
    """Write a number without exponent, '+' or trailing zeros; zero is "0"."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def plain_picos(picos: int) -> str:
    """Write an amount in 1e-12 steps as a plain decimal."""
    sign = "-" if picos < 0 else ""
    whole, rest = divmod(abs(picos), PICOS)
    return plain(Decimal(f"{sign}{whole}.{rest:012d}"))


def round_half_away(numerator: int, denominator: int) -> int:
    """A quotient (denominator > 0) to the nearest whole number, halves away from zero."""
    size = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -size if numerator < 0 else size


def rounded(number: Fraction, places: int) -> Decimal:
    """A number to so many decimals, halves away from zero."""
    steps = round_half_away(number.numerator * 10**places, number.denominator)
    # A tuple and not `scaleb`: the decimal context would round to 28 digits.
    return Decimal((int(steps < 0), tuple(map(int, str(abs(steps)))), -places))


def picos_per_base_unit(unit_price: Decimal, base_units: Fraction) -> tuple[int, int]:
    """The price of one base unit (token, millisecond, millionth) in picounits, as a reduced fraction n/d.

    Args:
        unit_price: for one pricing unit.
        base_units: base units in a pricing unit, > 0.
    """
    each = Fraction(unit_price) * PICOS / base_units
    return each.numerator, each.denominator


def fits_columns(numerator: int, denominator: int) -> bool:
    """Whether a rate may be worked out in 128-bit columns for every event of up to 1e15 base units.

    Source: spec/rating.md, section 2.
    """
    return 10**15 * numerator + denominator < 1 << 127
