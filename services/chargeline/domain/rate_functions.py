"""From a rate as a card says it to its period function.

Source: spec/rating.md, sections 3 and 4.
"""

from fractions import Fraction

from chargeline.domain.period_function import (
    ChargeModel,
    PercentageFee,
    RateFunction,
    RateTier,
    kept_after,
)
from chargeline.domain.rate_card import CostPlus, Dynamic, Package, Percentage, PerUnit, Sku, Threshold, Tiered


def rate_function(sku: Sku, base_units: Fraction) -> RateFunction:
    """The period function T(Q) of a rate.

    Args:
        base_units: of the event's own field in one pricing unit.
    """
    model, tiers, fee = _model(sku)
    return RateFunction(
        model,
        tiers,
        base_units,
        sku.round_up,
        Fraction(sku.free_units),
        isinstance(sku.model, Package) and not sku.model.round_up,
        percentage_kept(sku),
        sum((Fraction(each.value) for each in sku.discounts if each.kind == "fixed"), Fraction(0)),
        None if sku.maximum is None else Fraction(sku.maximum),
        Fraction(sku.minimum or 0),
        bool(sku.modifiers),
        fee,
    )


def percentage_kept(sku: Sku) -> Fraction:
    """What the percentage discounts of a rate leave of an amount."""
    return kept_after(tuple(Fraction(each.value) for each in sku.discounts if each.kind == "percent"))


def first_price(sku: Sku) -> tuple[Fraction, Fraction]:
    """(price of the first tier, for how many pricing units it is): the list price that a rate gives."""
    match sku.model:
        case PerUnit(price):
            return Fraction(price), Fraction(1)
        case Package(price, size):
            return Fraction(price), Fraction(size)
        case Tiered(_, tiers):
            return Fraction(tiers[0].unit_price), Fraction(tiers[0].block_size or 1)
        case Percentage(rate_percent):
            return Fraction(rate_percent) / 100, Fraction(1)
        case CostPlus(multiplier):
            return Fraction(multiplier), Fraction(1)
        case Dynamic():
            return Fraction(1), Fraction(1)
        case Threshold(prices):
            return Fraction(prices[0].price), Fraction(1)
    raise ValueError(f"a rate of the model {sku.charge_model} has no price of a unit")


def _model(sku: Sku) -> tuple[ChargeModel, tuple[RateTier, ...], PercentageFee | None]:
    match sku.model:
        case Package(price, size):
            return ChargeModel.PACKAGE, (RateTier(None, Fraction(price), block_size=Fraction(size)),), None
        case Tiered(kind, tiers):
            return ChargeModel(kind), tuple(
                RateTier(
                    None if each.up_to is None else Fraction(each.up_to),
                    Fraction(each.unit_price),
                    Fraction(each.flat_fee),
                    None if each.block_size is None else Fraction(each.block_size),
                )
                for each in tiers
            ), None
        case Percentage() as fee:
            return ChargeModel.PERCENTAGE, (), PercentageFee(
                Fraction(fee.rate_percent) / 100,
                Fraction(fee.fixed),
                fee.free_events,
                None if fee.free_amount is None else Fraction(fee.free_amount),
                None if fee.per_event_min is None else Fraction(fee.per_event_min),
                None if fee.per_event_max is None else Fraction(fee.per_event_max),
            )
    price, _ = first_price(sku)
    return ChargeModel.PER_UNIT, (RateTier(None, price),), None
