"""The period function and the list price of a rate, as its card gives them.

Source: spec/rating.md, sections 1 (list_unit_price), 3 and 4.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.rates.card import CostPlus, Dynamic, Package, Percentage, PerUnit, Sku, Threshold, Tiered
from chargeline.domain.rating.period_function import ONE, ChargeModel, PercentageFee, RateFunction, RateTier, kept_after


def function_of(sku: Sku, base_units: Fraction) -> RateFunction:
    """The period function of an accumulating rate.

    Args:
        base_units: of the events in one pricing unit: `divide_by`, times 10**6 for an extra quantity; for GB-Months
            that of the billing period's hours.

    Raises:
        ValueError: the rate is of a model that has no period function (threshold, standing fee).
    """
    model, tiers, fee_rule = _model(sku)
    return RateFunction(
        model,
        tiers,
        base_units,
        round_up=sku.round_up,
        free_units=Fraction(sku.free_units),
        round_down=isinstance(sku.model, Package) and not sku.model.round_up,
        kept=kept_of(sku),
        fixed_discount=sum((Fraction(each.value) for each in sku.discounts if each.kind == "fixed"), Fraction(0)),
        maximum=_optional(sku.maximum),
        minimum=Fraction(sku.minimum or 0),
        modified=bool(sku.modifiers),
        fee_rule=fee_rule,
    )


def kept_of(sku: Sku) -> Fraction:
    """What the percentage discounts of a rate leave of an amount."""
    return kept_after(tuple(Fraction(each.value) for each in sku.discounts if each.kind == "percent"))


def undiscounted(function: RateFunction) -> RateFunction:
    """A percentage rate with its percentage discounts in its prices: a fee that adds to no sum is rounded once.

    One that is discounted as a whole stays as it is: there is nothing to round, and its fee is an entry at cost 0.
    """
    rule, kept = function.rule, function.kept
    if not kept:
        return function
    least, most = rule.per_event_min, rule.per_event_max
    fee = replace(
        rule,
        rate=rule.rate * kept,
        fixed=rule.fixed * kept,
        per_event_min=None if least is None else least * kept,
        per_event_max=None if most is None else most * kept,
    )
    return replace(function, fee_rule=fee, kept=ONE)


def first_price(sku: Sku) -> tuple[Fraction, Fraction]:
    """(price of the first tier, for how many pricing units it is): the list price that a rate gives."""
    match sku.model:
        case PerUnit(price) | CostPlus(price):
            found, units = Fraction(price), ONE
        case Threshold(prices):
            found, units = Fraction(prices[0].price), ONE
        case Package(price, size):
            found, units = Fraction(price), Fraction(size)
        case Tiered(_, tiers):
            found, units = Fraction(tiers[0].unit_price), Fraction(tiers[0].block_size or 1)
        case Percentage(rate_percent):
            found, units = Fraction(rate_percent) / 100, ONE
        case Dynamic():
            found, units = ONE, ONE
        case _:
            raise ValueError(f"{sku.sku_id}: a rate of the model {sku.charge_model} has no price of a unit")
    return found, units


def _model(sku: Sku) -> tuple[ChargeModel, tuple[RateTier, ...], PercentageFee | None]:
    match sku.model:
        case PerUnit(unit_price):
            return ChargeModel.PER_UNIT, (RateTier(None, Fraction(unit_price)),), None
        case Package(package_price, package_size):
            tier = RateTier(None, Fraction(package_price), block_size=Fraction(package_size))
            return ChargeModel.PACKAGE, (tier,), None
        case Tiered(kind, tiers):
            whole = tuple(
                RateTier(
                    _optional(tier.up_to),
                    Fraction(tier.unit_price),
                    Fraction(tier.flat_fee),
                    _optional(tier.block_size),
                )
                for tier in tiers
            )
            return ChargeModel(kind), whole, None
        case CostPlus() | Dynamic():
            return ChargeModel.PER_UNIT, (RateTier(None, first_price(sku)[0]),), None
        case Percentage():
            return ChargeModel.PERCENTAGE, (), _fee(sku.model)
        case _:
            raise ValueError(f"{sku.sku_id}: a rate of the model {sku.charge_model} has no period function")


def _fee(model: Percentage) -> PercentageFee:
    return PercentageFee(
        Fraction(model.rate_percent) / 100,
        Fraction(model.fixed),
        model.free_events,
        _optional(model.free_amount),
        _optional(model.per_event_min),
        _optional(model.per_event_max),
    )


def _optional(number: Decimal | None) -> Fraction | None:
    return None if number is None else Fraction(number)
