"""Hours of the day with another price, as bands of a `time_band` modifier.

Source: spec/rating.md, section 5; spec/formats.md, section 2. Both catalogues give their hours in UTC.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, Inexact
from typing import Any

from chargeline.domain.catalogues.entries import Band

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_FACTOR_DECIMALS = 9  # Decimal(18, 9), spec/rating.md 2
_HOURS = re.compile(r"([0-2][0-9]:[0-5][0-9])-([0-2][0-9]:[0-5][0-9])")
_CLOCK = re.compile(r"([0-2][0-9]:[0-5][0-9]):00(?:Z|\+00:00)?")
_DIVIDE = Context(prec=40, traps=[Inexact])


class NotExpressible(ValueError):
    """A card cannot say this exactly; the text says what."""


def factor_between(base: Decimal, price: Decimal) -> Decimal:
    """The factor that makes `price` of `base`.

    Raises:
        NotExpressible: no factor of at most 9 decimals does.
    """
    if price == base:
        return Decimal(1)
    try:
        factor = _DIVIDE.divide(price, base).normalize()
    except ArithmeticError as error:
        raise NotExpressible(f"no factor makes {price} of {base} exactly") from error
    if -int(factor.as_tuple().exponent) > _FACTOR_DECIMALS:
        raise NotExpressible(f"no factor of 9 decimals makes {price} of {base} exactly")
    return factor


def from_windows(windows: Iterable[Mapping[str, Any]], factor: Decimal) -> tuple[Band, ...]:
    """Windows of litellm: `hours_utc`, one range or a list, and `weekdays`, 1 being Monday; every day if not given."""
    bands: list[Band] = []
    for window in windows:
        days = tuple(WEEKDAYS[int(day) - 1] for day in window.get("weekdays", range(1, 8)))
        hours = window["hours_utc"]
        for each in [hours] if isinstance(hours, str) else hours:
            found = _HOURS.fullmatch(each)
            if found is None:
                raise NotExpressible(f"hours {each}")
            bands.append(_of_day(days, found[1], found[2], factor))
    return tuple(bands)


def from_times(start: str, end: str, factor: Decimal) -> tuple[Band, ...]:
    """The `start_time` and `end_time` of genai-prices, every day."""
    found = _CLOCK.fullmatch(start), _CLOCK.fullmatch(end)
    if found[0] is None or found[1] is None:
        raise NotExpressible(f"hours from {start} to {end}")
    return (_of_day(WEEKDAYS, found[0][1], found[1][1], factor),)


def _of_day(days: tuple[str, ...], start: str, end: str, factor: Decimal) -> Band:
    """A band that ends where it begins is a whole day here, and empty in a card."""
    if start != end:
        return Band(days, start, end, factor)
    if start != "00:00":
        raise NotExpressible(f"a day from {start} to {end}")
    return Band(days, start, "24:00", factor)
