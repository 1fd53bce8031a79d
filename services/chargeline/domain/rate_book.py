"""Which price holds for an event: the rate cards visible at some moment, and the rules of selection.

Source: spec/rating.md, sections 6 (parents of leaves) and 7 (selection, versions).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from chargeline.domain.rate_card import Alias, RateCard, Sku, consumed_unit

# The price a leaf pays if it has none of its own, nearest first.
PARENTS: Mapping[str, tuple[str, ...]] = {
    "input": (),
    "cache_read_input": ("input",),
    "cache_write_input": ("input",),
    "cache_write_1h_input": ("cache_write_input", "input"),
    "input_audio": ("input",),
    "input_image": ("input",),
    "cache_read_audio": ("cache_read_input", "input_audio", "input"),
    "output": (),
    "reasoning_output": ("output",),
    "output_audio": ("output",),
    "output_image": ("output",),
}


@dataclass(frozen=True)
class PublishedCard:
    """A card as the log has it: when it was recorded (milliseconds) and its place in the chain of facts."""

    card: RateCard
    recorded_time: int
    sequence: int


@dataclass(frozen=True)
class PricePoint:
    """One price of a list; `above` 0 is the base price."""

    above: int
    sku_price_id: str
    list_unit_price: Decimal
    contracted_unit_price: Decimal


@dataclass(frozen=True)
class LeafPrice:
    """What a leaf or quantity pays. `divide_by`: base units in a pricing unit; None: GB-Months."""

    sku_id: str
    rate_card_id: str
    rate_card_version: int
    currency: str
    pricing_unit: str
    consumed_unit: str
    divide_by: Decimal | None
    tiers: tuple[PricePoint, ...]


@dataclass(frozen=True)
class Resolution:
    """The answer for one kind of event. `match_kind` NONE: no visible card names the model."""

    match_kind: str
    prices: Mapping[str, LeafPrice]


@dataclass(frozen=True)
class Rate:
    """One SKU of one card with the time in which it holds (microseconds, half-open)."""

    sku: Sku
    card: RateCard
    start: int
    end: int | None

    def holds(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)

    @property
    def place(self) -> tuple[object, ...]:
        """What no two versions may cover at the same time: level, owner, SKU and attributes."""
        return (self.card.account, self.sku.key, self.sku.measures, self.sku.match)


class RateBook:
    """The live rates of the cards given, which are those visible at some moment."""

    def __init__(self, cards: Sequence[PublishedCard], *, margin_ms: int, future_bound_ms: int) -> None:
        self.rates = live_rates(cards, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
        self.owners = frozenset(rate.card.account for rate in self.rates if rate.card.account is not None)
        matches = [rate.sku.match for rate in self.rates]
        self.named_attributes = tuple(sorted({name for match in matches for name, _ in match.attributes}))
        self.named_labels = tuple(sorted({name for match in matches for name, _ in match.labels}))
        self._aliases = _aliases(cards)
        times = {rate.start for rate in self.rates} | {rate.end for rate in self.rates if rate.end is not None}
        times |= {start for entries in self._aliases.values() for _, start, _ in entries}
        times |= {end for entries in self._aliases.values() for _, _, end in entries if end is not None}
        self.boundaries = tuple(sorted(times))
        self._by_model: dict[tuple[str, str], list[Rate]] = {}
        self._by_prefix: dict[tuple[str, str], list[Rate]] = {}
        for rate in self.rates:
            match = rate.sku.match
            for model in match.models:
                self._by_model.setdefault((match.provider_name, model), []).append(rate)
            if match.model_prefix is not None:
                self._by_prefix.setdefault((match.provider_name, match.model_prefix), []).append(rate)

    def resolve(
        self,
        account: str | None,
        provider: str,
        model: str,
        attributes: Mapping[str, str | None],
        labels: Mapping[str, str],
        event_time: int,
    ) -> Resolution:
        """The prices of an event of this kind, by leaf or quantity; leaves without a price of their own included.

        Args:
            account: None for an account without cards of its own.
            model: response_model, or request_model where there is none.
            event_time: microseconds since 1970 UTC.
        """
        kind, candidates = self._named(provider, model, event_time)
        fitting = [
            rate
            for rate in candidates
            if rate.holds(event_time) and rate.card.account in (None, account) and _fits(rate.sku, attributes, labels)
        ]
        own = {name: self._best(fitting, name, account) for name in {rate.sku.measures for rate in fitting}}
        prices = dict(own)
        for leaf, parents in PARENTS.items():
            if leaf not in own:
                found = next((parent for parent in parents if parent in own), None)
                if found is not None:
                    prices[leaf] = own[found]
        return Resolution(kind, prices)

    def _named(self, provider: str, model: str, time: int) -> tuple[str, list[Rate]]:
        """Exact name, else the alias table, else the longest declared prefix; before any level is looked at."""
        if (provider, model) in self._by_model:
            return "EXACT", self._by_model[provider, model]
        for alias, start, end in self._aliases.get((provider, model), ()):
            if start <= time and (end is None or time < end):
                return "ALIAS", self._by_model.get((provider, alias.model), [])
        for length in range(len(model), 0, -1):
            if (provider, model[:length]) in self._by_prefix:
                return "PREFIX", self._by_prefix[provider, model[:length]]
        return "NONE", []

    def _best(self, rates: list[Rate], measures: str, account: str | None) -> LeafPrice:
        mine = [rate for rate in rates if rate.sku.measures == measures]
        level = [rate for rate in mine if rate.card.account == account] if account else []
        best = max(level or mine, key=_named_count)
        default = [rate for rate in mine if rate.card.account is None]
        listed = max(default, key=_named_count) if default else best
        return _leaf_price(best, listed)


def live_rates(cards: Sequence[PublishedCard], *, margin_ms: int, future_bound_ms: int) -> list[Rate]:
    """The rates that count, in the order of the log: a version ends the one it supersedes, illegal ones are ignored."""
    live: list[Rate] = []
    for published in sorted(cards, key=lambda each: each.sequence):
        added = accept(published, live, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
        if added is not None:
            live = added
    return live


def accept(
    published: PublishedCard, live: Sequence[Rate], *, margin_ms: int, future_bound_ms: int
) -> list[Rate] | None:
    """The live rates after this card; None if it must be ignored as a whole.

    A back-dated version (one that begins before its own visibility plus the future bound) may only fill a time that
    no other version covers: what was priced is never repriced in silence.
    """
    card = published.card
    if card.correction:
        return None
    earliest = (published.recorded_time + margin_ms + future_bound_ms) * 1000
    result = list(live)
    if card.supersedes is not None and card.effective_from >= earliest:
        result = [_ended(rate, card) for rate in result]
    fresh = [Rate(sku, card, card.effective_from, card.effective_to) for sku in card.skus]
    taken: dict[tuple[object, ...], list[Rate]] = {}
    for rate in result:
        taken.setdefault(rate.place, []).append(rate)
    if any(_overlap(rate, other) for rate in fresh for other in taken.get(rate.place, ())):
        return None
    return [rate for rate in result if rate.end is None or rate.end > rate.start] + fresh


def _ended(rate: Rate, card: RateCard) -> Rate:
    if (rate.card.rate_card_id, rate.card.version) != (card.rate_card_id, card.supersedes):
        return rate
    end = card.effective_from if rate.end is None else min(rate.end, card.effective_from)
    return Rate(rate.sku, rate.card, rate.start, end)


def _overlap(one: Rate, two: Rate) -> bool:
    return (two.end is None or one.start < two.end) and (one.end is None or two.start < one.end)


def _aliases(cards: Iterable[PublishedCard]) -> dict[tuple[str, str], list[tuple[Alias, int, int | None]]]:
    found: dict[tuple[str, str], list[tuple[Alias, int, int | None]]] = {}
    for published in sorted(cards, key=lambda each: each.sequence):
        card = published.card
        for alias in card.aliases:
            entry = (alias, card.effective_from, card.effective_to)
            found.setdefault((alias.provider_name, alias.alias), []).append(entry)
    return found


def _fits(sku: Sku, attributes: Mapping[str, str | None], labels: Mapping[str, str]) -> bool:
    return all(attributes.get(name) in values for name, values in sku.match.attributes) and all(
        labels.get(name) == value for name, value in sku.match.labels
    )


def _named_count(rate: Rate) -> int:
    return len(rate.sku.match.attributes) + len(rate.sku.match.labels)


def _leaf_price(rate: Rate, listed: Rate) -> LeafPrice:
    prefix = rate.sku.sku_id if rate.sku.variant is None else f"{rate.sku.sku_id}/{rate.sku.variant}"
    tiers = tuple(
        PricePoint(price.above, f"{prefix}/{number}", _list_price(listed.sku, price.above), price.price)
        for number, price in enumerate(rate.sku.prices, start=1)
    )
    return LeafPrice(
        rate.sku.sku_id,
        rate.card.rate_card_id,
        rate.card.version,
        rate.card.currency,
        rate.sku.pricing_unit,
        consumed_unit(rate.sku.pricing_unit, rate.sku.measures),
        rate.sku.divide_by,
        tiers,
    )


def _list_price(sku: Sku, above: int) -> Decimal:
    """The list price of a request that lies just above this threshold."""
    return [price.price for price in sku.prices if price.above <= above][-1]
