"""What corrections see of the governance facts, beside the prices of usage."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from chargeline.domain.accounts import Accounts
from chargeline.domain.closing.entries import Rate as ClosingRate
from chargeline.domain.fx import FxTable
from chargeline.domain.governance import GovernanceChain
from chargeline.domain.periods import billing_period
from chargeline.domain.rates.book import PublishedCard, Rate, RateBook
from chargeline.domain.rates.card import Sku, Tiered
from chargeline.domain.rating.booked_entries import BookedEntry, Span
from chargeline.domain.rating.period_function import RateFunction
from chargeline.domain.rating.price_points import units_of
from chargeline.domain.rating.rate_functions import function_of
from chargeline.domain.rating.rate_table import RateTable

_DAY = 86_400_000_000
_RateKey = tuple[str, int, str, str | None]


@dataclass
class Facts:
    """Of the records of one part of a unit.

    Attributes:
        cards: those that are visible, in the order of the log.
        sequence: the newest fact; -1: none.
    """

    table: RateTable
    cards: list[PublishedCard]
    accounts: Accounts
    fx: FxTable
    sequence: int
    margin_ms: int
    future_bound_ms: int
    _functions: dict[tuple[_RateKey, int], RateFunction] = field(default_factory=dict)

    @classmethod
    def of(cls, chain: GovernanceChain, count: int, table: RateTable, margin_ms: int, future_bound_ms: int) -> "Facts":
        """The first so many facts, and the prices that were made of them."""
        cards, accounts, fx = chain.cards(count), chain.accounts(count), chain.fx(count)
        return cls(table, cards, accounts, fx, count - 1, margin_ms, future_bound_ms)

    @cached_property
    def rerating(self) -> RateTable:
        """The prices that a RERATE sees: those of correction versions too."""
        book = RateBook(self.cards, margin_ms=self.margin_ms, future_bound_ms=self.future_bound_ms, rerating=True)
        return RateTable(book, self.accounts, self.fx)

    def period(self, billing_account_id: str, time: int) -> Span:
        """The billing period of an instant, microseconds."""
        return billing_period(time, self.accounts.at(billing_account_id, time).billing_cycle_day)

    def all_rates(self) -> Iterator[Rate]:
        """Every rate of the cards, those for re-rating alone included."""
        for each in self.cards:
            for sku in each.card.skus:
                yield Rate(sku, each.card, each.card.effective_from, each.card.effective_to)

    @cached_property
    def _skus(self) -> dict[_RateKey, Sku]:
        # A card may stand in the log twice; the first one counts.
        found: dict[_RateKey, Sku] = {}
        for each in self.cards:
            for sku in each.card.skus:
                found.setdefault((each.card.rate_card_id, each.card.version, sku.sku_id, sku.variant), sku)
        return found

    def function(self, entry: BookedEntry) -> RateFunction:
        """The period function of the rate that an entry paid, in the period of its usage."""
        key = _rate_key(entry)
        days = (entry.usage_period[1] - entry.usage_period[0]) // _DAY
        if (key, days) not in self._functions:
            sku = self._skus[key]
            self._functions[key, days] = function_of(sku, units_of(sku, days))
        return self._functions[key, days]

    def measures(self, entry: BookedEntry) -> str:
        """The leaf or quantity that the rate which an entry paid is for."""
        return self._skus[_rate_key(entry)].measures

    def measured_by(self, rate: ClosingRate) -> str:
        """The leaf or quantity that a rate is for; empty: it is a fee."""
        assert rate.rate_card_id is not None
        assert rate.rate_card_version is not None
        return self._skus[rate.rate_card_id, rate.rate_card_version, rate.sku_id, rate.variant].measures

    def is_volume_by_event(self, entry: BookedEntry) -> bool:
        """Whether an entry paid volume tiers, every event on its own."""
        sku = self._skus[_rate_key(entry)]
        return sku.window == "event" and isinstance(sku.model, Tiered) and sku.model.kind == "volume"


def _rate_key(entry: BookedEntry) -> _RateKey:
    return entry.rate_card_id, entry.rate_card_version, entry.sku_id, entry.variant


def rate_table(chain: GovernanceChain, count: int, margin_ms: int, future_bound_ms: int) -> RateTable:
    """The prices that an event sees that may see so many facts."""
    book = chain.book(count, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    return RateTable(book, chain.accounts(count), chain.fx(count))
