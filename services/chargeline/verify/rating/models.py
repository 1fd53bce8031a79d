"""Charge models: what a quantity costs in all, and the pieces that this cost is made of.

Source: spec/rating.md, sections 3 (steps 4-9) and 4.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

from chargeline.verify.rating.numbers import number

Sku = dict[str, Any]
_TIERED = ("graduated", "volume", "graduated_percentage")


def accumulates(sku: Sku) -> bool:
    """Whether the price of an event depends on what came before it."""
    return (
        sku["charge_model"] in (*_TIERED, "package")
        or sku.get("round") == "up"
        or any(number(sku.get(name)) > 0 for name in ("free_units", "free_events", "free_amount"))
        or any("fixed" in each for each in sku.get("discounts") or [])
        or sku.get("maximum") is not None
        or sku.get("minimum") is not None
    )


@dataclass(frozen=True)
class Piece:
    """Units of one tier: so many steps (pricing units, packages or blocks) at a price each."""

    tier: int
    steps: Fraction
    price: Fraction


class Terms:
    """The parameters of one rate, as functions of quantities in pricing units; one request's input tokens are given.

    Prices are those of the card: modifiers and discounts come on top (`factor`, `kept`).
    """

    def __init__(self, sku: Sku, base_units: Fraction, total_input: int = 0) -> None:
        self._sku = sku
        self._base_units = base_units
        self.model = str(sku["charge_model"])
        self.free_units = number(sku.get("free_units"))
        self.maximum = None if sku.get("maximum") is None else number(sku["maximum"])
        self.minimum = None if sku.get("minimum") is None else number(sku["minimum"])
        discounts = sku.get("discounts") or []
        self.fixed_discount = sum((number(each["fixed"]) for each in discounts if "fixed" in each), Fraction(0))
        self.kept = Fraction(1)  # what percentage discounts leave
        for each in discounts:
            self.kept *= 1 - number(each.get("percent")) / 100
        self._bounds, self._prices, self._flats, self._blocks = self._tiers(total_input)

    @property
    def unit_base(self) -> Fraction:
        """Base units in a pricing unit."""
        return self._base_units

    @property
    def is_event_priced(self) -> bool:
        """Unit prices depend on the event: the scope keeps a running amount instead of working out T(Q)."""
        return bool(self._sku.get("modifiers")) or self.model == "threshold"

    def _tiers(self, total_input: int) -> tuple[list[Fraction], list[Fraction], list[Fraction], list[Fraction | None]]:
        """Lower bounds, unit prices, flat fees and block sizes of the tiers; models without tiers have one."""
        sku = self._sku
        if self.model in _TIERED:
            tiers = sku["tiers"]
            percent = self.model == "graduated_percentage"
            bounds = [Fraction(0), *(number(tier["up_to"]) for tier in tiers[:-1])]
            prices = [number(t.get("rate_percent")) / 100 if percent else number(t.get("unit_price")) for t in tiers]
            flats = [number(tier.get("flat_fee")) for tier in tiers]
            blocks = [None if tier.get("block_size") is None else number(tier["block_size"]) for tier in tiers]
            return bounds, prices, flats, blocks
        price = {
            "per_unit": lambda: number(sku["unit_price"]),
            "package": lambda: number(sku["package_price"]),
            "threshold": lambda: self._threshold(total_input)[1],
            "dynamic": lambda: Fraction(1),
            "cost_plus": lambda: number(sku["multiplier"]),
            "percentage": lambda: number(sku["rate_percent"]) / 100,
            "flat": lambda: number(sku["amount"]),
        }[self.model]()
        return [Fraction(0)], [price], [Fraction(0)], [None]

    def _threshold(self, total_input: int) -> tuple[int, Fraction]:
        found = (1, number(self._sku["base"]))
        for at, each in enumerate(self._sku.get("thresholds") or [], start=2):
            if number(each["above"]) < total_input:
                found = (at, number(each["price"]))
        return found

    def units(self, quantity: int) -> Fraction:
        """U(Q): base units in pricing units."""
        units = quantity / self._base_units
        return Fraction(ceil(units)) if self._sku.get("round") == "up" else units

    def free(self, quantity: int) -> Fraction:
        """The part of U(Q) that is free."""
        return min(self.units(quantity), self.free_units)

    def chargeable(self, quantity: int) -> Fraction:
        """P(Q)."""
        return self.units(quantity) - self.free(quantity)

    def price_number(self, tier: int, total_input: int) -> int:
        """The number of a price point in a sku_price_id."""
        return self._threshold(total_input)[0] if self.model == "threshold" else tier

    def first_price(self) -> tuple[Fraction, Fraction]:
        """(price, what it is for in base units) of the first tier."""
        size = self._blocks[0] if self.model != "package" else number(self._sku["package_size"])
        return self._prices[0], self._base_units * (size or 1)

    def step_base_units(self, tier: int) -> Fraction:
        """What the unit price of a tier is for, in base units."""
        size = self._blocks[tier - 1] if self.model != "package" else number(self._sku["package_size"])
        return self._base_units * (size or 1)

    def tier_of(self, units: Fraction) -> int:
        """The tier in which a total lies: a bound belongs to the tier below it, zero to the first."""
        return max([1, *(at for at, bound in enumerate(self._bounds, start=1) if units > bound)])

    def tier_price(self, tier: int) -> Fraction:
        return self._prices[tier - 1]

    def flat_fee(self, tier: int) -> Fraction:
        return self._flats[tier - 1]

    def block_size(self, tier: int) -> Fraction | None:
        return self._blocks[tier - 1]

    def tiers(self) -> range:
        return range(1, len(self._bounds) + 1)

    def pieces(self, units: Fraction) -> list[Piece]:
        """The unit part of f(P) for every model but volume and percentage, one piece a tier."""
        found = []
        for tier in self.tiers():
            upper = self._bounds[tier] if tier < len(self._bounds) else None
            inside = max(Fraction(0), (units if upper is None else min(units, upper)) - self._bounds[tier - 1])
            found.append(Piece(tier, self._steps(inside, tier), self._prices[tier - 1]))
        return found

    def _steps(self, units: Fraction, tier: int) -> Fraction:
        if self.model == "package":
            whole = floor if self._sku.get("package_round") == "down" else ceil
            return Fraction(whole(units / number(self._sku["package_size"])))
        size = self._blocks[tier - 1]
        return units if size is None else Fraction(ceil(units / size))

    def is_entered(self, tier: int, units: Fraction) -> bool:
        """A tier's flat fee is due once something is above its lower bound; the first tier counts from zero."""
        return tier == 1 or units > self._bounds[tier - 1]

    def cost(self, units: Fraction) -> Fraction:
        """f(P) without modifiers, for every model but percentage."""
        if self.model == "volume":
            tier = self.tier_of(units)
            return self.flat_fee(tier) + self._prices[tier - 1] * self._steps(units, tier)
        return self.flat_part(units) + self.unit_part(units)

    def flat_part(self, units: Fraction) -> Fraction:
        return sum((self._flats[tier - 1] for tier in self.tiers() if self.is_entered(tier, units)), Fraction(0))

    def unit_part(self, units: Fraction) -> Fraction:
        return sum((piece.price * piece.steps for piece in self.pieces(units)), Fraction(0))

    def discount(self, gross: Fraction) -> Fraction:
        """What fixed discounts take off (step 8)."""
        return min(gross, self.fixed_discount)

    def cap(self, gross: Fraction) -> Fraction:
        """What the maximum takes off (step 9)."""
        rest = gross - self.discount(gross)
        return Fraction(0) if self.maximum is None else max(Fraction(0), rest - self.maximum)

    def net(self, gross: Fraction) -> Fraction:
        """Steps 8 and 9."""
        return gross - self.discount(gross) - self.cap(gross)

    def total(self, quantity: int) -> Fraction:
        """T(Q), steps 4-9, without modifiers."""
        return self.net(self.cost(self.chargeable(quantity)) * self.kept)

    def fee(self, amount: Fraction, count: int, before: Fraction) -> tuple[Fraction, Fraction, Fraction]:
        """(free part, percentage part, fixed fee) of one transaction, before clamp and factor.

        Args:
            amount: of this transaction.
            count: transactions so far, this one included.
            before: sum of the amounts of those before it.
        """
        free_events, free_amount = number(self._sku.get("free_events")), number(self._sku.get("free_amount"))
        free = Fraction(0)
        if free_events and count > free_events:
            free = Fraction(0)
        elif free_amount:
            free = min(amount, max(Fraction(0), free_amount - before))
        elif free_events:
            free = amount
        if amount in (0, free):
            return free, Fraction(0), Fraction(0)
        return free, self._prices[0] * (amount - free), number(self._sku.get("fixed"))

    def clamp(self, fee: Fraction) -> Fraction:
        low, high = self._sku.get("per_event_min"), self._sku.get("per_event_max")
        fee = fee if low is None else max(fee, number(low))
        return fee if high is None else min(fee, number(high))
