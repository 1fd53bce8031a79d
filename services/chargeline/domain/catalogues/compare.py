"""Where two sets of cards have another price for the same thing, and by how much."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.catalogues.providers import provider_name
from chargeline.domain.rates.card import RateCard, Sku
from chargeline.domain.rates.units import base_units
from chargeline.domain.usage import LEAVES

_STANDARD = "standard"
_PERCENT_STEP = Decimal("0.01")
_PRICE_STEP = Decimal("1E-12")
Texts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, order=True)
class Thing:
    """What is priced: of a provider and model a leaf or quantity, for a service tier, above a prompt length."""

    provider_name: str
    model: str
    measures: str
    service_tier: str
    attributes: Texts
    above: int


@dataclass(frozen=True)
class Pair:
    """One thing with both prices, for a million tokens or one of another unit.

    Attributes:
        matched_by: `name` if both cards have the model under this name, `alias` if one has it as an alias.
        difference: second less first.
        percent: of the first price, to two decimals; None if the first is 0 and the second is not.
    """

    thing: Thing
    matched_by: str
    first: Decimal
    second: Decimal
    difference: Decimal
    percent: Decimal | None


@dataclass(frozen=True)
class Comparison:
    """Every thing that both have, and how many models only one of them has."""

    pairs: tuple[Pair, ...]
    models_in_both: int
    models_only_in_first: int
    models_only_in_second: int

    @property
    def differing(self) -> list[Pair]:
        """The pairs that differ, the largest share first; from nothing to something is the largest."""
        return sorted((pair for pair in self.pairs if pair.difference), key=_size)


def newest(cards: Iterable[RateCard], at: int | None = None) -> list[RateCard]:
    """Of each card the version that starts last; with `at` (microseconds UTC), of those that have started by then."""
    found: dict[str, RateCard] = {}
    for card in cards:
        other = found.get(card.rate_card_id)
        if (at is None or card.effective_from <= at) and (other is None or other.effective_from < card.effective_from):
            found[card.rate_card_id] = card
    return list(found.values())


def compare(first: Iterable[RateCard], second: Iterable[RateCard]) -> Comparison:
    """Compare the prices of exact names and aliases; prefixes are left out.

    Where only one side has a price list by prompt length, the other's price is compared at each of its steps.
    """
    one, two = _by_model(first), _by_model(second)
    pairs: list[Pair] = []
    for model in sorted(set(one) & set(two)):
        (named, prices), (also_named, others) = one[model], two[model]
        how = "name" if named and also_named else "alias"
        for kind in sorted(set(prices) & set(others)):
            pairs += _steps(model, kind, how, prices[kind], others[kind])
    both = len(set(one) & set(two))
    return Comparison(tuple(pairs), both, len(one) - both, len(two) - both)


Kind = tuple[str, str, Texts]
Prices = dict[Kind, Sku]


def _by_model(cards: Iterable[RateCard]) -> dict[tuple[str, str], tuple[bool, Prices]]:
    """By provider and name: whether it is the model's own, and its prices."""
    found: dict[tuple[str, str], tuple[bool, Prices]] = {}
    listed = list(cards)
    for card in listed:
        for sku in card.skus:
            if not sku.prices:
                continue
            attributes = dict(sku.match.attributes)
            tiers = attributes.pop("service_tier", (_STANDARD,))
            rest = tuple((name, ",".join(values)) for name, values in sorted(attributes.items())) + sku.match.labels
            for model in sku.match.models:
                key = (provider_name(sku.match.provider_name), model)
                prices = found.setdefault(key, (True, {}))[1]
                for tier in tiers:
                    prices.setdefault((sku.measures, tier, rest), sku)
    for card in listed:
        for alias in card.aliases:
            provider = provider_name(alias.provider_name)
            target = found.get((provider, alias.model))
            if target is not None and (provider, alias.alias) not in found:
                found[provider, alias.alias] = (False, target[1])
    return found


def _steps(model: tuple[str, str], kind: Kind, how: str, one: Sku, two: Sku) -> Iterator[Pair]:
    steps = sorted({each.above for each in (*one.prices, *two.prices)})
    measures, tier, attributes = kind
    for above in steps:
        first, second = _price(one, above), _price(two, above)
        percent = None if not first and second else Fraction(0) if not first else (second - first) / first * 100
        yield Pair(
            Thing(*model, measures, tier, attributes, above),
            how,
            _decimal(first, _PRICE_STEP),
            _decimal(second, _PRICE_STEP),
            _decimal(second - first, _PRICE_STEP),
            None if percent is None else _decimal(percent, _PERCENT_STEP),
        )


def _price(sku: Sku, above: int) -> Fraction:
    """The price that holds just above a prompt length, for a million tokens or one of another unit."""
    price = [each.price for each in sku.prices if each.above <= above][-1]
    size = base_units(sku.divide_by, sku.measures)
    return Fraction(price) / size * (10**6 if sku.measures in LEAVES else base_units(Decimal(1), sku.measures))


def _decimal(value: Fraction, step: Decimal) -> Decimal:
    """Rounded half away from zero to a multiple of `step`, for showing."""
    scaled = abs(value) / Fraction(step)
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return (whole if value >= 0 else -whole) * step


def _size(pair: Pair) -> tuple[bool, Decimal, Thing]:
    share = Decimal(0) if pair.percent is None else -abs(pair.percent)
    return (pair.percent is not None, share, pair.thing)
