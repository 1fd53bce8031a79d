"""What a rate asks for the quantity of a whole scope, exactly: the period function T(Q), and its parts for one event.

Everything here is a rational number and one scope at a time; `accumulate.py` does the same for a whole unit in columns
and falls back to this module where 64 bits do not suffice.
Source: spec/rating.md, sections 2 (Q12), 3 (steps 4 to 9, accumulation), 4.1, 4.3 to 4.7, 5, 12 (TIER_SHIFT).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from math import ceil, floor, prod

from chargeline.domain.money import PICOS, round_half_away

ZERO, ONE = Fraction(0), Fraction(1)


class ChargeModel(StrEnum):
    """The models whose charge depends on what the scope has used before."""

    PER_UNIT = "per_unit"
    PACKAGE = "package"
    GRADUATED = "graduated"
    VOLUME = "volume"
    PERCENTAGE = "percentage"
    GRADUATED_PERCENTAGE = "graduated_percentage"


class PieceKind(StrEnum):
    """`entry_kind` of what an accumulating rate books."""

    FREE_UNITS = "FREE_UNITS"
    TIER_FLAT = "TIER_FLAT"
    UNIT = "UNIT"
    PER_EVENT_FEE = "PER_EVENT_FEE"
    DISCOUNT = "DISCOUNT"
    CAP = "CAP"
    TIER_SHIFT = "TIER_SHIFT"


@dataclass(frozen=True)
class RateTier:
    """One tier. Bounds and block sizes are in pricing units.

    Attributes:
        up_to: inclusive bound on P; None: open, the last tier only.
        unit_price: for one pricing unit, or for one block where there is a block size.
    """

    up_to: Fraction | None
    unit_price: Fraction
    flat_fee: Fraction = ZERO
    block_size: Fraction | None = None


@dataclass(frozen=True)
class PercentageFee:
    """Parameters of the model `percentage`; money in units of the pricing currency. None: not set.

    Source: spec/rating.md, section 4.6.
    """

    rate: Fraction  # rate_percent / 100
    fixed: Fraction = ZERO
    free_events: int | None = None
    free_amount: Fraction | None = None
    per_event_min: Fraction | None = None
    per_event_max: Fraction | None = None


@dataclass(frozen=True)
class Piece:
    """One part of what an event adds to its scope: one entry.

    Attributes:
        tier: from 1; 0 where the entry belongs to none.
        quantity: base units. A base unit that straddles a bound belongs to the tier above it.
        pricing_quantity: pricing units, or blocks.
        unit_price: contracted: with factor and percentage discounts.
        amount: the exact result, currency units.
        picos: the stored amount. The last piece of an event takes what rounding leaves over.
    """

    kind: PieceKind
    tier: int
    quantity: int
    pricing_quantity: Fraction
    unit_price: Fraction
    amount: Fraction
    picos: int = 0


def q12(amount: Fraction) -> int:
    """The amount in picounits, halves away from zero."""
    return round_half_away(amount.numerator * PICOS, amount.denominator)


@dataclass(frozen=True)
class RateFunction:
    """The parameters of one accumulating rate; all money exact, in the pricing currency.

    Attributes:
        tiers: ascending, the last one open. A per_unit rate has one; a package is one tier whose block is the package;
            a percentage rate has none.
        divide_by: base units (tokens, ms, millionths of an extra quantity) in one pricing unit, > 0.
        round_up: conversion to whole pricing units, on the accumulated quantity.
        round_down: unfinished blocks are not charged (`package_round: down`).
        kept: product of all (1 - percentage discount).
        maximum: None: none.
        modified: the rate has modifiers, so steps 7 to 9 work on a running amount (section 5).
    """

    model: ChargeModel
    tiers: tuple[RateTier, ...] = ()
    divide_by: Fraction = ONE
    round_up: bool = False
    free_units: Fraction = ZERO
    round_down: bool = False
    kept: Fraction = ONE
    fixed_discount: Fraction = ZERO
    maximum: Fraction | None = None
    minimum: Fraction = ZERO
    modified: bool = False
    fee_rule: PercentageFee | None = None

    @property
    def is_volume(self) -> bool:
        return self.model is ChargeModel.VOLUME

    @property
    def runs_an_amount(self) -> bool:
        """The result depends on the order of events: steps 7 to 9 work on a running sum of Q12 amounts."""
        return self.modified or self.fee_rule is not None

    @cached_property
    def lower_bounds(self) -> tuple[Fraction, ...]:
        """Of the tiers, in pricing units after free units."""
        return (ZERO, *(tier.up_to for tier in self.tiers[:-1] if tier.up_to is not None))

    # Steps 4 to 6

    def units(self, quantity: int) -> Fraction:
        """U(Q): pricing units of a quantity in base units."""
        exact = quantity / self.divide_by
        return Fraction(ceil(exact)) if self.round_up else exact

    def chargeable(self, quantity: int) -> Fraction:
        """P(Q): pricing units after the free ones."""
        return max(ZERO, self.units(quantity) - self.free_units)

    def last_at(self, units: Fraction) -> int:
        """The largest quantity whose U is at most `units`: the last one below a bound."""
        return floor(floor(units) * self.divide_by) if self.round_up else floor(units * self.divide_by)

    def first_at(self, units: Fraction) -> int:
        """The smallest quantity whose U is at least `units`."""
        if self.round_up:
            return floor((ceil(units) - 1) * self.divide_by) + 1 if units > 0 else 0
        return ceil(units * self.divide_by)

    def tier_of(self, quantity: int) -> int:
        """Index of the tier that P(Q) lies in; P = 0 lies in the first."""
        charged = self.chargeable(quantity)
        return max(0, sum(charged > bound for bound in self.lower_bounds) - 1)

    def priced_units(self, tier: int, charged: Fraction) -> Fraction:
        """What the price of a graduated tier is multiplied with at P = `charged`: its units, or its blocks."""
        lower, each = self.lower_bounds[tier], self.tiers[tier]
        inside = max(ZERO, (charged if each.up_to is None else min(charged, each.up_to)) - lower)
        return self.blocks(tier, inside)

    def blocks(self, tier: int, units: Fraction) -> Fraction:
        size = self.tiers[tier].block_size
        if size is None:
            return units
        return Fraction(floor(units / size) if self.round_down else ceil(units / size))

    def undiscounted(self, quantity: int) -> Fraction:
        """B(Q) = f(P(Q)) with factor 1."""
        charged = self.chargeable(quantity)
        if self.is_volume:
            tier = self.tier_of(quantity)
            return self.tiers[tier].flat_fee + self.tiers[tier].unit_price * self.blocks(tier, charged)
        return sum(
            (
                (tier.flat_fee if number == 0 or charged > self.lower_bounds[number] else ZERO)
                + tier.unit_price * self.priced_units(number, charged)
                for number, tier in enumerate(self.tiers)
            ),
            ZERO,
        )

    # Steps 7 to 9

    def taken_off(self, gross: Fraction) -> tuple[Fraction, Fraction]:
        """What the fixed discount and the maximum take off an amount after the percentage discounts; both >= 0."""
        discount = min(self.fixed_discount, gross)
        cap = ZERO if self.maximum is None else max(ZERO, gross - discount - self.maximum)
        return discount, cap

    def closing(self, undiscounted: Fraction) -> Fraction:
        """Steps 7 to 9 of an amount."""
        gross = self.kept * undiscounted
        return gross - sum(self.taken_off(gross))

    def amount(self, quantity: int) -> Fraction:
        """T(Q), for a quantity >= 0 in base units. Not for percentage, nor for what events with modifiers paid."""
        if quantity < 0:
            raise ValueError(f"a scope cannot have used {quantity} base units")
        return self.closing(self.undiscounted(quantity))

    def opening(self) -> Fraction:
        """T(0), booked as one TIER_FLAT entry with the first event of a scope; nothing for volume."""
        return ZERO if self.is_volume or not self.tiers else self.amount(0)

    def opening_running(self) -> int:
        """The running amount (picounits, before steps 7 to 9) that a scope starts with."""
        return 0 if self.is_volume or not self.tiers else q12(self.undiscounted(0))

    def total(self, quantity: int, running: int | None = None) -> Fraction:
        """What a scope costs in all: T(Q), or steps 7 to 9 of the running amount (picounits) of a rate that has one."""
        if not self.runs_an_amount:
            return self.amount(quantity)
        return self.closing(Fraction(self.opening_running() if running is None else running, PICOS))

    def true_up(self, quantity: int, running: int | None = None, minimum: Fraction | None = None) -> Fraction:
        """The TRUE_UP entry at close; `minimum`: the prorated one, None: that of the rate."""
        return max(ZERO, (self.minimum if minimum is None else minimum) - self.total(quantity, running))

    # What an event adds

    def pieces(self, before: int, after: int, factor: Fraction = ONE, running: int | None = None) -> list[Piece]:
        """What the step from one running quantity to a higher one adds, in the order of entries.

        FREE_UNITS, then tier by tier TIER_FLAT (where the tier is entered) and UNIT, then DISCOUNT and CAP. The stored
        amounts sum to Q12(T(after)) - Q12(T(before)). The opening is not among them. A volume step is provisional:
        everything at the price of the tier of `after`, each entry rounded by itself.

        Args:
            running: of a rate with modifiers, the running amount before the event, in picounits.
        """
        if self.is_volume:
            return [_stored(piece) for piece in self._volume_parts(before, after)]
        parts = list(self._parts(before, after, factor, self.kept))
        if not self.modified:
            return self.settled(parts, self.undiscounted(before), self.undiscounted(after))
        start = self.opening_running() if running is None else running
        added = self.running_step(before, after, factor)
        return self.settled(parts, Fraction(start, PICOS), Fraction(start + added, PICOS))

    def running_step(self, before: int, after: int, factor: Fraction) -> int:
        """Q12((unit part of B(Q1) - B(Q0)) * factor + flat part): what an event adds to the running amount.

        Source: spec/rating.md, section 5.
        """
        return q12(sum((part.amount for part in self._parts(before, after, factor, ONE)), ZERO))

    def settled(self, parts: list[Piece], before: Fraction, after: Fraction) -> list[Piece]:
        """The parts with DISCOUNT and CAP and their stored amounts; `before`, `after`: undiscounted amounts."""
        gross = self.kept * before, self.kept * after
        (discount_0, cap_0), (discount_1, cap_1) = map(self.taken_off, gross)
        for kind, change in ((PieceKind.DISCOUNT, discount_1 - discount_0), (PieceKind.CAP, cap_1 - cap_0)):
            if change:
                parts.append(Piece(kind, 0, 0, ZERO, ZERO, -change))
        stored = [_stored(part) for part in parts]
        if stored:
            total = q12(self.closing(after)) - q12(self.closing(before))
            last = total - sum(part.picos for part in stored[:-1])
            stored[-1] = _stored(stored[-1], last)
        return stored

    def _parts(self, before: int, after: int, factor: Fraction, kept: Fraction) -> Iterator[Piece]:
        """FREE_UNITS, TIER_FLAT and UNIT with their exact amounts; `kept`: what percentage discounts leave."""
        if self.free_units:
            yield from self._free_part(before, after)
        charged = self.chargeable(before), self.chargeable(after)
        for number, tier in enumerate(self.tiers):
            lower = self.lower_bounds[number]
            if number and charged[0] <= lower < charged[1] and tier.flat_fee:
                yield Piece(PieceKind.TIER_FLAT, number + 1, 0, ZERO, ZERO, kept * tier.flat_fee)
            start = self.last_at(self.free_units + lower)
            end = None if tier.up_to is None else self.last_at(self.free_units + tier.up_to)
            quantity = _overlap(before, after, start, end)
            units = self.priced_units(number, charged[1]) - self.priced_units(number, charged[0])
            if quantity or units:
                price = kept * factor * tier.unit_price
                yield Piece(PieceKind.UNIT, number + 1, quantity, units, price, price * units)

    def _free_part(self, before: int, after: int) -> Iterator[Piece]:
        quantity = _overlap(before, after, 0, self.last_at(self.free_units))
        units = min(self.units(after), self.free_units) - min(self.units(before), self.free_units)
        if quantity or units:
            yield Piece(PieceKind.FREE_UNITS, 0, quantity, units, ZERO, ZERO)

    def _volume_parts(self, before: int, after: int) -> Iterator[Piece]:
        if self.free_units:
            yield from self._free_part(before, after)
        quantity = _overlap(before, after, self.last_at(self.free_units) if self.free_units else 0, None)
        units = self.chargeable(after) - self.chargeable(before)
        if quantity or units:
            number = self.tier_of(after)
            tier = self.tiers[number]
            units /= tier.block_size or ONE
            price = self.kept * tier.unit_price
            yield Piece(PieceKind.UNIT, number + 1, quantity, units, price, price * units)

    # Percentage

    def free_of(self, amount: int, number: int, before: int) -> Fraction:
        """What of a transaction is free, in base units (`divide_by` in one currency unit).

        Args:
            number: n, transactions so far with a > 0, this one included.
            before: S, base units.
        """
        rule = self.rule
        if rule.free_events and number > rule.free_events:
            return ZERO
        if rule.free_amount:
            return min(Fraction(amount), max(ZERO, rule.free_amount * self.divide_by - before))
        return Fraction(amount) if rule.free_events else ZERO

    @property
    def rule(self) -> PercentageFee:
        if self.fee_rule is None:
            raise ValueError(f"a rate of the model {self.model} has no fee for each transaction")
        return self.fee_rule

    def fee(self, amount: int, number: int, before: int, factor: Fraction = ONE) -> Fraction:
        """The fee of one transaction before discounts; arguments as of `free_of`.

        A factor multiplies rate and fixed fee, and not the bounds of the clamp.
        """
        charged = amount - self.free_of(amount, number, before)
        if charged == 0:
            return ZERO
        rule = self.rule
        fee = factor * (rule.rate * (charged / self.divide_by) + rule.fixed)
        if rule.per_event_min is not None:
            fee = max(fee, rule.per_event_min)
        return fee if rule.per_event_max is None else min(fee, rule.per_event_max)

    def fee_pieces(
        self, amount: int, number: int, before: int, running: int, factor: Fraction = ONE, weight: int = 1
    ) -> list[Piece]:
        """FREE_UNITS, UNIT (the share), PER_EVENT_FEE, CAP (the most fee), DISCOUNT, CAP of one transaction.

        PER_EVENT_FEE is the fixed fee, or what the least fee is more than the share: an amount, stored as one (Q12).

        Args:
            running: picounits before it.
            weight: so many such transactions, each priced as the first one.
        """
        free = self.free_of(amount, number, before)
        parts = []
        if free:
            units = free / self.divide_by * weight
            parts.append(Piece(PieceKind.FREE_UNITS, 0, floor(free) * weight, units, ZERO, ZERO))
        fee = self.fee(amount, number, before, factor)
        if amount > free:
            parts += self._fee_parts(amount, free, fee, factor, weight)
        return self.settled(parts, Fraction(running, PICOS), Fraction(running + q12(fee) * weight, PICOS))

    def _fee_parts(self, amount: int, free: Fraction, fee: Fraction, factor: Fraction, weight: int) -> list[Piece]:
        rule, kept = self.rule, self.kept
        units = (amount - free) / self.divide_by
        share, fixed = factor * rule.rate * units, factor * rule.fixed
        due, over = max(fee, share + fixed) - share, share + fixed - fee

        def times(each: Fraction) -> Fraction:
            return Fraction(q12(kept * each) * weight, PICOS)

        price, quantity = kept * factor * rule.rate, (amount - floor(free)) * weight
        parts = [Piece(PieceKind.UNIT, 1, quantity, units * weight, price, times(share))]
        if due > 0:
            each = Fraction(q12(kept * due), PICOS) if fee > share + fixed else kept * due
            parts.append(Piece(PieceKind.PER_EVENT_FEE, 1, 0, Fraction(weight), each, times(due)))
        if over > 0:
            parts.append(Piece(PieceKind.CAP, 0, 0, ZERO, ZERO, -times(over)))
        return parts


def kept_after(percents: tuple[Fraction, ...]) -> Fraction:
    """Product of all (1 - d)."""
    return prod((1 - each / 100 for each in percents), start=ONE)


def _overlap(before: int, after: int, lower: int, upper: int | None) -> int:
    """Base units of (before, after] that lie in (lower, upper]."""
    return max(0, (after if upper is None else min(after, upper)) - max(before, lower))


def _stored(piece: Piece, picos: int | None = None) -> Piece:
    return replace(piece, picos=q12(piece.amount) if picos is None else picos)
