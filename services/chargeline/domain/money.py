"""Exact numbers: reading them from text, writing them as text, and the one way of rounding.

Source: spec/rating.md, section 2; spec/formats.md, section 1.
"""

import re
from decimal import Decimal

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
PICOS = 10**12


class NotANumber(ValueError):
    """The text is not a plain decimal number."""


def parse_decimal(text: str) -> Decimal:
    """Read a plain decimal number: no exponent, no sign but '-', no NaN.

    Raises:
        NotANumber: anything else, also more than 38 digits.
    """
    if not _NUMBER.fullmatch(text) or sum(map(str.isdigit, text)) > 38:  # noqa: PLR2004 - Decimal(38, …)
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
    """numerator / denominator (> 0) to the nearest whole number, halves away from zero."""
    size = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -size if numerator < 0 else size
