"""Which exchange rate converts an amount (spec/rating.md 5; spec/formats.md 3)."""

from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from chargeline.verify.rating.accounts import Facts
from chargeline.verify.rating.numbers import number
from chargeline.verify.rating.times import utc_date

_OLDEST_DAYS = 7


class NoRate(Exception):
    """There is no rate for the pair and the date."""


class Rates:
    """Rates by pair and date; of several for one date the first recorded one counts."""

    def __init__(self, rows: list[dict[str, Any]] | None) -> None:
        self._rates: dict[tuple[str, str, str], Fraction] = {}
        for row in rows or []:
            self._rates.setdefault((row["from_currency"], row["to_currency"], row["date"]), number(row["rate"]))

    def rate(self, pricing: str, billing: str, time: int, facts: Facts) -> Fraction | None:
        """Billing units for one pricing unit; null: nothing to convert.

        Raises:
            NoRate: no inverse or cross rate is made up.
        """
        if pricing == billing:
            return None
        if facts.fx["policy"] == "fixed":
            if facts.fx.get("rates", {}).get(pricing) is None:
                raise NoRate
            return number(facts.fx["rates"][pricing])
        day = date.fromisoformat(utc_date(time))
        for age in range(_OLDEST_DAYS + 1):
            found = self._rates.get((pricing, billing, (day - timedelta(days=age)).isoformat()))
            if found is not None:
                return found
        raise NoRate
