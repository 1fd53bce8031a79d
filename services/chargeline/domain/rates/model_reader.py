"""Reading the parameters of a charge model.

Source: spec/rating.md, section 4; spec/formats.md, section 2.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from chargeline.domain.documents import Place, Problem
from chargeline.domain.fields import AMOUNT, FACTOR, PRICE, Fields
from chargeline.domain.money import plain
from chargeline.domain.rates.card import (
    ChargeModel,
    CostPlus,
    Dynamic,
    Package,
    Percentage,
    PerUnit,
    PriceAbove,
    Standing,
    Threshold,
    Tier,
    Tiered,
)

_TIER_KEYS = frozenset({"up_to", "unit_price", "flat_fee", "block_size"})
_SHARE_KEYS = frozenset({"up_to", "rate_percent", "flat_fee"})


def read_model(fields: Fields, document: Place, name: str) -> ChargeModel | None:
    """The charge model of a SKU by its name; None if it has a fault, which is noted."""
    return _READERS[name](fields, document)


def _per_unit(fields: Fields, document: Place) -> PerUnit | None:
    price = fields.price(document, "unit_price")
    return None if price is None else PerUnit(price)


def _threshold(fields: Fields, document: Place) -> Threshold | None:
    base = fields.price(document, "base")
    if not document.get("thresholds"):
        fields.fault(document, "thresholds", "MISSING_KEY", "thresholds is required")
    prices, last = [], 0
    for each in fields.places(document, "thresholds"):
        fields.keys(each, frozenset({"above", "price"}), ("above",))
        above, price = fields.whole(each, "above"), fields.price(each, "price")
        if above is not None and above <= last:
            fields.fault(each, "above", "NOT_ASCENDING", "thresholds must be above 0 and ascending")
        if above is not None and price is not None:
            prices.append(PriceAbove(above, price))
            last = above
    return None if base is None else Threshold((PriceAbove(0, base), *prices))


def _standing(fields: Fields, document: Place) -> Standing | None:
    amount = fields.exact(document, "amount", AMOUNT, required=True)
    in_advance = fields.choice(document, "bill_in", ("advance", "arrears")) == "advance"
    return None if amount is None else Standing(amount, in_advance)


def _package(fields: Fields, document: Place) -> Package | None:
    price, size = fields.price(document, "package_price"), fields.positive(document, "package_size", required=True)
    round_up = fields.choice(document, "package_round", ("up", "down")) != "down"
    return None if price is None or size is None else Package(price, size, round_up)


def _tiered(kind: Literal["graduated", "volume", "graduated_percentage"]) -> Callable[[Fields, Place], Tiered | None]:
    def read(fields: Fields, document: Place) -> Tiered | None:
        tiers = _tiers(fields, document, kind)
        return Tiered(kind, tiers) if tiers else None

    return read


def _tiers(fields: Fields, document: Place, kind: str) -> tuple[Tier, ...]:
    if not document.get("tiers"):
        fields.fault(document, "tiers", "MISSING_KEY", "tiers is required")
    places = fields.places(document, "tiers")
    tiers, last = [], Decimal(0)
    for number, each in enumerate(places, start=1):
        tier = _tier(fields, each, kind)
        up_to = _bound(fields, each, last, is_last=number == len(places))
        tiers.append(Tier(up_to, *tier))
        last = last if up_to is None else up_to
    return tuple(tiers)


def _bound(fields: Fields, tier: Place, last: Decimal, *, is_last: bool) -> Decimal | None:
    """The upper bound of a tier, inclusive; of the last tier it is taken off, with a warning."""
    if "up_to" not in tier:
        fields.fault(tier, "up_to", "MISSING_KEY", "up_to is required; null for the last tier")
        return None
    up_to = fields.exact(tier, "up_to", AMOUNT)
    if up_to is None:
        if not is_last and tier["up_to"] is None:
            fields.fault(tier, "up_to", "NOT_ASCENDING", "only the last tier is open")
        return None
    if up_to <= last:
        fields.fault(tier, "up_to", "NOT_ASCENDING", f"bounds must ascend: {plain(up_to)} is not above {plain(last)}")
    if not is_last:
        return up_to
    line, column = tier.place("up_to")
    text = f"the last tier is open: its bound {plain(up_to)} is taken off"
    fields.problems.append(Problem("BOUND_REMOVED", text, line, column, warning=True))
    return None


def _tier(fields: Fields, tier: Place, kind: str) -> tuple[Decimal, Decimal, Decimal | None]:
    """Price, flat fee and block size; a rate in percent is a price of one hundredth."""
    share = kind == "graduated_percentage"
    fields.keys(tier, _SHARE_KEYS if share else _TIER_KEYS, ())
    flat_fee = fields.exact(tier, "flat_fee", AMOUNT) or Decimal(0)
    if share:
        percent = fields.exact(tier, "rate_percent", FACTOR, required=True) or Decimal(0)
        # Exact: a factor has at most 18 digits, and the decimal context keeps 28.
        return percent.scaleb(-2), flat_fee, None
    return fields.exact(tier, "unit_price", PRICE) or Decimal(0), flat_fee, fields.positive(tier, "block_size")


def _percentage(fields: Fields, document: Place) -> Percentage | None:
    rate = fields.exact(document, "rate_percent", FACTOR, required=True)
    fixed = fields.exact(document, "fixed", AMOUNT) or Decimal(0)
    # 0 means not set, as null does.
    free_events = fields.whole(document, "free_events") or None
    free_amount = fields.exact(document, "free_amount", AMOUNT) or None
    lowest, highest = (fields.exact(document, key, AMOUNT) for key in ("per_event_min", "per_event_max"))
    if lowest is not None and highest is not None and lowest > highest:
        text = f"{plain(lowest)} is above per_event_max {plain(highest)}"
        fields.fault(document, "per_event_min", "MINIMUM_ABOVE_MAXIMUM", text)
    return None if rate is None else Percentage(rate, fixed, free_events, free_amount, lowest, highest)


def _dynamic(fields: Fields, document: Place) -> Dynamic | None:
    if document.get("dynamic") is None:
        fields.fault(document, "dynamic", "MISSING_KEY", "dynamic: true is required")
    elif document["dynamic"] is not True:
        fields.fault(document, "dynamic", "BAD_VALUE", "dynamic is true: the price of an event comes from outside")
    if document.get("price_sources") is None:
        fields.fault(document, "price_sources", "MISSING_KEY", "price_sources is required")
        return None
    if not isinstance(document["price_sources"], list):
        fields.fault(document, "price_sources", "BAD_VALUE", "price_sources is a list of sources")
        return None
    return Dynamic(fields.values(document, "price_sources"))


def _cost_plus(fields: Fields, document: Place) -> CostPlus | None:
    multiplier = fields.exact(document, "multiplier", FACTOR, required=True)
    return None if multiplier is None else CostPlus(multiplier)


_READERS: dict[str, Callable[[Fields, Place], ChargeModel | None]] = {
    "per_unit": _per_unit,
    "threshold": _threshold,
    "flat": _standing,
    "package": _package,
    "graduated": _tiered("graduated"),
    "volume": _tiered("volume"),
    "percentage": _percentage,
    "graduated_percentage": _tiered("graduated_percentage"),
    "dynamic": _dynamic,
    "cost_plus": _cost_plus,
}
