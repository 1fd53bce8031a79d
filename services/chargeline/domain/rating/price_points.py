"""Price points: what an entry shows of the price that it pays, and the numbers it is worked out with.

Source: spec/rating.md, sections 1 (sku_price_id, list and contracted unit price), 4, 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

from chargeline.domain.money import PICOS, rounded
from chargeline.domain.rates.book import Choice, Rate
from chargeline.domain.rates.card import FactorTable, PerUnit, Sku, Threshold, TimeBands
from chargeline.domain.rates.units import base_units, consumed_unit
from chargeline.domain.rating.period_columns import measure
from chargeline.domain.rating.period_function import RateFunction
from chargeline.domain.rating.rate_functions import first_price, kept_of

KINDS = ("UNIT", "FREE_UNITS", "TIER_FLAT", "PER_EVENT_FEE", "DISCOUNT", "CAP", "TIER_SHIFT")  # `entry_kind`
FEES = "Fees"
_PRICE_DECIMALS = 18  # Decimal(38, 18)
_MONTH_HOURS = 24


class ListedBy(IntEnum):
    """How the list cost of an entry follows."""

    AMOUNT = 0  # it is what the entry costs
    QUANTITY = 1  # list price x pricing quantity
    NOTHING = 2  # no part of the list


@dataclass(frozen=True)
class Point:
    """One price point. Unit prices, units and `sku_price_id` are None where an entry of its kind has none.

    Attributes:
        kind: index into KINDS.
        contracted, pricing: picounits (of money, of the pricing quantity) for one base unit.
        listed: picounits for one base unit, or where units or blocks are counted up for one of these.
    """

    kind: int
    rate: Rate
    sku_price_id: str | None
    pricing_unit: str | None
    list_unit_price: Decimal | None
    contracted_unit_price: Decimal | None
    contracted: Fraction = Fraction(0)
    pricing: Fraction = Fraction(0)
    listed: Fraction = Fraction(0)
    listed_by: ListedBy = ListedBy.QUANTITY

    @property
    def consumed_unit(self) -> str:
        return consumed_unit(self.rate.sku.pricing_unit, self.rate.sku.measures)


def units_of(sku: Sku, days: int) -> Fraction:
    """Base units of the event's own field in a pricing unit; `days` of the billing period, for GB-Months."""
    if sku.divide_by is None:
        return Fraction(10**9 * 3600 * _MONTH_HOURS * days, 1_048_576)
    return base_units(sku.divide_by, sku.measures)


def factor_of(rate: Rate, attributes: Mapping[str, str | None], bands: Mapping[TimeBands, int]) -> Fraction | None:
    """The product of the factors of a rate's modifiers; None: a table does not list the value of the event.

    Args:
        bands: the band that holds by table; -1: none.
    """
    product = Fraction(1)
    named = {name for name, _ in rate.sku.match.attributes}
    for modifier in rate.sku.modifiers:
        if isinstance(modifier, TimeBands):
            band = bands[modifier]
            product *= 1 if band < 0 else Fraction(modifier.bands[band].factor)
            continue
        value = attributes.get(modifier.attribute)
        if modifier.attribute in named or value is None:
            continue
        found = _found(modifier, value)
        if found is None:
            return None
        product *= found
    return product


def _found(table: FactorTable, value: str) -> Fraction | None:
    factors = dict(table.factors)
    found = factors.get(value, factors.get("*"))
    return None if found is None else Fraction(found)


def thresholds_of(choice: Choice) -> tuple[int, ...]:
    """The request lengths above which the price, or the list price, may change; ascending."""
    prices = [*choice.rate.sku.prices, *(choice.listed.sku.prices if choice.has_list else ())]
    return tuple(sorted({price.above for price in prices if price.above > 0}))


def plain_points(choice: Choice, factor: Fraction, list_factor: Fraction, days: int) -> list[Point]:
    """The points of a rate that does not accumulate: the base price, then one for each of `thresholds_of`."""
    rate, sku = choice.rate, choice.rate.sku
    size = units_of(sku, days)
    step = PICOS / size  # picounits of the pricing quantity for one base unit
    paid = factor * kept_of(sku)
    points = []
    for above in (0, *thresholds_of(choice)):
        number, price = _price_above(sku, above)
        each = price * paid
        listed = _list_price(choice, list_factor, days, size, above)
        points.append(
            Point(
                0,
                rate,
                f"{price_name(sku)}/{number}",
                sku.pricing_unit,
                rounded(each if listed is None else listed, _PRICE_DECIMALS),
                rounded(each, _PRICE_DECIMALS),
                each * step,
                step,
                (each if listed is None else listed) * step,
            )
        )
    return points


def scope_points(
    choice: Choice, factor: Fraction, list_factor: Fraction, days: int, function: RateFunction
) -> list[Point]:
    """The points of a rate that accumulates, in the order that `scope_point` counts on."""
    rate, sku, size, kept = choice.rate, choice.rate.sku, function.divide_by, function.kept
    name = price_name(sku)

    def unit(kind: str, tier: int, price: Fraction, block: Fraction | None = None) -> Point:
        step = size * (block or 1)  # base units that the price is for
        listed = _list_price(choice, list_factor, days, step, 0)
        list_price = price if listed is None else listed
        each = list_price * (1 / size if function.fee_rule is not None else measure(function, tier)[-1])
        prices = rounded(list_price, _PRICE_DECIMALS), rounded(price, _PRICE_DECIMALS)
        return Point(KINDS.index(kind), rate, f"{name}/{tier}", sku.pricing_unit, *prices, listed=each * PICOS,
                     listed_by=ListedBy.AMOUNT if listed is None else ListedBy.QUANTITY)  # fmt: skip

    def fee(kind: str, tier: int, price: Fraction) -> Point:
        shown = rounded(price, _PRICE_DECIMALS)
        return Point(KINDS.index(kind), rate, f"{name}/{tier}", FEES, shown, shown, listed_by=ListedBy.AMOUNT)

    def taken(kind: str) -> Point:
        return Point(KINDS.index(kind), rate, None, None, None, None, listed_by=ListedBy.NOTHING)

    tiers = function.tiers
    share = () if function.fee_rule is None else (unit("UNIT", 1, function.rule.rate * factor * kept),)
    fees = [function.opening(), *(kept * tier.flat_fee for tier in tiers[1:])] if tiers else [Fraction(0)]
    return [
        unit("FREE_UNITS", 0, Fraction(0)),
        *(unit("UNIT", n, t.unit_price * factor * kept, t.block_size) for n, t in enumerate(tiers, 1)),
        *share,
        *(fee("TIER_FLAT", number, price) for number, price in enumerate(fees, 1)),
        taken("DISCOUNT"),
        taken("CAP"),
        taken("TIER_SHIFT"),
        fee("PER_EVENT_FEE", 1, Fraction(0) if function.fee_rule is None else function.rule.fixed * factor * kept),
    ]


def price_name(sku: Sku) -> str:
    """What a `sku_price_id` begins with."""
    return sku.sku_id if sku.variant is None else f"{sku.sku_id}/{sku.variant}"


def _price_above(sku: Sku, above: int) -> tuple[int, Fraction]:
    """(number of the price point, price) of a request that is just longer than this."""
    if not isinstance(sku.model, Threshold | PerUnit):
        return 1, first_price(sku)[0]
    found = [(number, price.price) for number, price in enumerate(sku.prices, 1) if price.above <= above]
    return found[-1][0], Fraction(found[-1][1])


def _list_price(choice: Choice, factor: Fraction, days: int, size: Fraction, above: int) -> Fraction | None:
    """The list price of one pricing unit (of `size` base units) of the paid rate; None: there is none to compare."""
    if not choice.has_list:
        return None
    listed = choice.listed.sku
    _, price = _price_above(listed, above)
    units = units_of(listed, days) * first_price(listed)[1]
    # Nearly always the units are the same: nothing is divided then.
    return _rounded(price * factor if units == size else price * factor * size / units)


def _rounded(price: Fraction) -> Fraction:
    """A unit price as it is stored."""
    return Fraction(rounded(price, _PRICE_DECIMALS))
