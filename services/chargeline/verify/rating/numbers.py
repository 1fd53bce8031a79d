"""Exact numbers: texts to fractions, Q12, plain texts, and the split by largest remainder.

Source: spec/rating.md, section 2; spec/formats.md, section 1; spec/allocation.md, section 2.
"""

from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Any

PICOS = 10**12
LIMIT = 10**38  # |amount| >= 10^26, counted in picounits
_PRICE_DIGITS = 18
EXACT = Context(prec=60)  # the usual 28 digits would round what Decimal(38, 12) can hold


def number(value: Any, default: int = 0) -> Fraction:
    """The exact value of a number's text; null is the default. A binary float is a fault of the caller."""
    if value is None:
        return Fraction(default)
    assert isinstance(value, str | int), f"{value!r} is no text of a number"
    return _exact(value)


@lru_cache(maxsize=10_000)
def _exact(value: str | int) -> Fraction:
    return Fraction(value)


def q12(amount: Fraction) -> int:
    """Picounits of an amount, half away from zero."""
    return rounded(amount, PICOS)


def picos(amount: Decimal) -> int:
    """Picounits of a stored amount."""
    return int(EXACT.scaleb(amount, 12))


def rounded(value: Fraction, times: int = 1) -> int:
    """The whole number that is nearest to a value times another number, half away from zero."""
    size = (2 * times * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return size if value.numerator >= 0 else -size


def money(picos: int) -> str:
    """Picounits as a plain text."""
    return _plain(picos, 12)


def quantity(value: Fraction) -> str:
    """A quantity, rounded to 12 decimals, as a plain text."""
    return _plain(q12(value), 12)


def price(value: Fraction) -> str:
    """A unit price or rate, rounded to 18 decimals, as a plain text."""
    return _plain(rounded(value, 10**_PRICE_DIGITS), _PRICE_DIGITS)


def price18(value: Fraction) -> Fraction:
    """A unit price as it is stored: 18 decimals."""
    return Fraction(rounded(value, 10**_PRICE_DIGITS), 10**_PRICE_DIGITS)


def variance(value: Fraction) -> str:
    """A variance of cost: 24 decimals, rounded once, as a plain text."""
    return _plain(rounded(value, 10**24), 24)


def split(amount: int, weights: Mapping[str | None, int]) -> dict[str | None, int]:
    """Shares of an amount by weight, in whole picounits; what is left over goes to the largest remainders.

    A tie goes to the smaller key in UTF-8 bytes, an absent key first.
    """
    total = sum(weights.values())
    exact = {key: Fraction(abs(amount) * weight, total) for key, weight in weights.items()}
    shares = {key: floor(share) for key, share in exact.items()}
    order = sorted(weights, key=lambda key: (shares[key] - exact[key], key is not None, (key or "").encode()))
    for key in order[: abs(amount) - sum(shares.values())]:
        shares[key] += 1
    return {key: share if amount >= 0 else -share for key, share in shares.items()}


def _plain(count: int, digits: int) -> str:
    whole, rest = divmod(abs(count), 10**digits)
    text = f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")
    return f"-{text}" if count < 0 else text
