"""The prices of a rate by name, for comparing and showing them.

Source: spec/rating.md, sections 4 and 14.
"""

from collections.abc import Sequence
from decimal import Decimal

from chargeline.domain.rates.card import (
    CostPlus,
    Dynamic,
    Package,
    Percentage,
    PerUnit,
    Sku,
    Standing,
    Threshold,
    Tiered,
)

Named = tuple[tuple[str, Decimal], ...]


def named_prices(sku: Sku) -> Named:
    """Every price and fee of the rate with its name, in the order of the list; a dynamic rate has none."""
    match sku.model:
        case PerUnit(unit_price):
            found = [("unit_price", unit_price)]
        case Threshold(prices):
            found = [("base" if each.above == 0 else f"above {each.above}", each.price) for each in prices]
        case Standing(amount):
            found = [("amount", amount)]
        case Package(package_price):
            found = [("package_price", package_price)]
        case Tiered(kind, tiers):
            unit, scale = ("rate_percent", 2) if kind == "graduated_percentage" else ("unit_price", 0)
            found = []
            for number, tier in enumerate(tiers, start=1):
                found.append((f"tier {number} {unit}", tier.unit_price.scaleb(scale) if scale else tier.unit_price))
                found.append((f"tier {number} flat_fee", tier.flat_fee))
        case Percentage(rate_percent, fixed):
            found = [("rate_percent", rate_percent), ("fixed", fixed)]
        case CostPlus(multiplier):
            found = [("multiplier", multiplier)]
        case Dynamic():
            found = []
    return tuple(found)


def is_free(sku: Sku) -> bool:
    """Whether some usage costs nothing by the price list itself: a price of 0 that no fee goes with."""
    match sku.model:
        case Tiered(_, tiers):
            return any(each.unit_price == 0 and each.flat_fee == 0 for each in tiers)
        case Percentage(rate_percent, fixed):
            return rate_percent == 0 and fixed == 0
        case _:
            return any(price == 0 for _, price in named_prices(sku))


def jump(before: Sku, after: Sku) -> tuple[str, Decimal, Decimal] | None:
    """The first price (name, before, after) that differs by more than half of what it was; None: none does.

    Rates of different models or numbers of tiers, or by different units, are not compared.
    """
    was, now = named_prices(before), named_prices(after)
    if before.divide_by != after.divide_by or _names(was) != _names(now):
        return None
    return next(
        ((name, old, new) for (name, old), (_, new) in zip(was, now, strict=True) if 2 * abs(new - old) > old), None
    )


def _names(prices: Named) -> Sequence[str]:
    return [name for name, _ in prices]
