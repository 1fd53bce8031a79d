"""Exchange rates: an immutable table and its look-up. Reading is in `fx_reader`.

Source: spec/rating.md, section 5; spec/formats.md, section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property

from chargeline.domain.accounts import FxPolicy

DAYS_BACK = 7


@dataclass(frozen=True)
class FxRate:
    """`rate` units of `to_currency` for one of `from_currency` on a UTC date; at most 18 decimals, > 0."""

    date: date
    from_currency: str
    to_currency: str
    rate: Decimal
    source: str

    @property
    def fx_rate_id(self) -> str:
        """Names the rate for ever: pair, date, source."""
        return f"{self.from_currency}/{self.to_currency}/{self.date.isoformat()}/{self.source}"


@dataclass(frozen=True)
class FxTable:
    """Rates in the order in which they were recorded: of two sources for a pair and date the first one holds."""

    rates: tuple[FxRate, ...] = ()

    def rate(self, from_currency: str, to_currency: str, day: date) -> Decimal | None:
        """Units of `to_currency` for one of `from_currency`: of that UTC date, else the latest of the 7 days before.

        Returns:
            1 for one and the same currency; None: no rate. No inverse or cross rate is made up.
        """
        if from_currency == to_currency:
            return Decimal(1)
        found = self.find(from_currency, to_currency, day)
        return None if found is None else found.rate

    def find(self, from_currency: str, to_currency: str, day: date) -> FxRate | None:
        """The rate itself, with its date and source."""
        by_date = self._by_pair.get((from_currency, to_currency), {})
        for back in range(DAYS_BACK + 1):
            found = by_date.get(day - timedelta(days=back))
            if found is not None:
                return found
        return None

    @cached_property
    def _by_pair(self) -> Mapping[tuple[str, str], Mapping[date, FxRate]]:
        pairs: dict[tuple[str, str], dict[date, FxRate]] = {}
        for each in self.rates:
            pairs.setdefault((each.from_currency, each.to_currency), {}).setdefault(each.date, each)
        return pairs


@dataclass(frozen=True)
class Conversion:
    """A rate as it was applied; `fx_rate_id` says which one."""

    rate: Decimal
    fx_rate_id: str


def conversion(
    policy: FxPolicy, table: FxTable, pricing_currency: str, billing_currency: str, day: date
) -> Conversion | None:
    """How an account converts a price on a UTC date; None: it cannot (NO_FX_RATE).

    One and the same currency needs no conversion and must not be asked for.
    """
    if policy.kind == "fixed":
        rate = policy.fixed(pricing_currency)
        return None if rate is None else Conversion(rate, f"{pricing_currency}/{billing_currency}/fixed")
    found = table.find(pricing_currency, billing_currency, day)
    return None if found is None else Conversion(found.rate, found.fx_rate_id)
