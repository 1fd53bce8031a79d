"""A rate of a card becomes the period function that its document describes."""

from decimal import Decimal
from fractions import Fraction

import pytest

from chargeline.domain.rates.card import (
    NO_EVENT,
    Discount,
    FactorTable,
    Package,
    Percentage,
    PerUnit,
    Sku,
    Standing,
    Tier,
    Tiered,
)
from chargeline.domain.rating.period_function import ChargeModel
from chargeline.domain.rating.rate_functions import function_of

MILLION = Fraction(10**6)
TIERS = (
    Tier(Decimal(40), Decimal("0.7"), Decimal(9)),
    Tier(Decimal(90), Decimal("0.55"), Decimal(4)),
    Tier(None, Decimal("0.3"), Decimal("1.5")),
)


def sku(model, **more):
    return Sku("one", None, NO_EVENT, "output", model, "1000000 Tokens", Decimal(10**6), **more)


@pytest.mark.parametrize(
    ("rate", "units", "expected"),
    [
        (sku(PerUnit(Decimal("2.75"))), "1.234567", "3.39505925"),
        (sku(PerUnit(Decimal(3)), round_up=True, free_units=Decimal("1.25")), "4.000001", "11.25"),
        (sku(Package(Decimal(7), Decimal(48)), free_units=Decimal(12)), "61", "14"),
        (sku(Package(Decimal(7), Decimal(48), round_up=False), free_units=Decimal(12)), "59", "0"),
        (sku(Tiered("graduated", TIERS)), "130", "82"),
        (sku(Tiered("volume", TIERS)), "130", "40.5"),
        (sku(Tiered("graduated", (Tier(None, Decimal(2), block_size=Decimal(25)),))), "26", "4"),
        (
            sku(
                PerUnit(Decimal(4)),
                discounts=(
                    Discount("percent", Decimal(15)), Discount("percent", Decimal(10)), Discount("fixed", Decimal(20)),
                ),
                maximum=Decimal(70),
            ),
            "30",
            "70",
        ),
    ],
)  # fmt: skip
def test_a_rate_costs_what_its_card_says(rate, units, expected):
    assert function_of(rate, MILLION).amount(int(Fraction(units) * 10**6)) == Fraction(expected)


def test_a_percentage_rate_takes_its_share_of_each_transaction():
    function = function_of(sku(Percentage(Decimal("2.4"), Decimal("0.30"), 2, Decimal(120))), MILLION)
    assert function.model is ChargeModel.PERCENTAGE
    assert function.fee(90 * 10**6, 2, 70 * 10**6) == Fraction("1.26")


def test_a_rate_with_modifiers_runs_an_amount():
    rate = sku(PerUnit(Decimal(1)), modifiers=(FactorTable("region", (("eu", Decimal(2)),)),), minimum=Decimal(5))
    function = function_of(rate, MILLION)
    assert function.runs_an_amount
    assert function.true_up(0) == 5


def test_a_model_without_a_period_function_is_refused():
    with pytest.raises(ValueError, match="flat"):
        function_of(sku(Standing(Decimal(1))), MILLION)
