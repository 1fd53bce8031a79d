"""The period function of a rate, as its card gives it."""

from decimal import Decimal
from fractions import Fraction

from chargeline.domain.period_function import ChargeModel, PercentageFee, RateFunction, RateTier, kept_after
from chargeline.domain.rate_card import Package, Percentage, PerUnit, Sku, Tiered


def function_of(sku: Sku, base_units: Fraction) -> RateFunction:
    """The period function of an accumulating rate.

    Args:
        base_units: of the events in one pricing unit: `divide_by`, times 10**6 for an extra quantity; for GB-Months
            that of the billing period's hours.

    Raises:
        ValueError: the rate is of a model that has no period function (threshold, standing fee, dynamic, cost_plus).
    """
    model, tiers, fee_rule = _model(sku)
    percents = tuple(Fraction(each.value) for each in sku.discounts if each.kind == "percent")
    return RateFunction(
        model,
        tiers,
        base_units,
        round_up=sku.round_up,
        free_units=Fraction(sku.free_units),
        round_down=isinstance(sku.model, Package) and not sku.model.round_up,
        kept=kept_after(percents),
        fixed_discount=sum((Fraction(each.value) for each in sku.discounts if each.kind == "fixed"), Fraction(0)),
        maximum=_optional(sku.maximum),
        minimum=Fraction(sku.minimum or 0),
        modified=bool(sku.modifiers),
        fee_rule=fee_rule,
    )


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
