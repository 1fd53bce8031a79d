"""Running quantities: what one event adds to a scope, as entries in the pricing currency.

Source: spec/rating.md, sections 3 (accumulation), 4, 5 (modifiers) and 12 (cancels).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from chargeline.verify.rating.cards import Rate
from chargeline.verify.rating.models import Terms
from chargeline.verify.rating.numbers import PICOS, q12
from chargeline.verify.rating.times import Period

_MILLION = 10**6


@dataclass(frozen=True)
class ScopeKey:
    """Where quantities accumulate. `event`: the identity of the event that is a window of its own."""

    account: str
    rate_id: tuple[str, str, str | None]
    version: int
    period: Period
    by: tuple[tuple[str, str | None], ...] = ()
    window_start: int | None = None
    event: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Scope:
    """The running state of a scope; amounts in picounits of the pricing currency.

    Attributes:
        quantity: Q, base units, sampled events with their weight.
        is_open: T(0) has been booked.
        held: T(0) is owed also when no event is left: the account has the rate explicitly, and the period is closed.
        amount: the running amount of scopes whose prices depend on the event, before steps 7-9.
        count: transactions so far (percentage).
        quantities, booked: by project, of volume rates.
        trued_up: the TRUE_UP entries booked so far.
    """

    rate: Rate
    quantity: int = 0
    is_open: bool = False
    held: bool = False
    amount: int = 0
    count: int = 0
    quantities: Mapping[str | None, int] = field(default_factory=dict)
    booked: Mapping[str | None, int] = field(default_factory=dict)
    trued_up: int = 0


@dataclass(frozen=True)
class Draft:
    """An entry in the pricing currency, in picounits. `number`: of the price point; null where it has none.

    `base`: the quantity in base units that the list price is asked for.
    """

    kind: str
    number: int | None
    steps: Fraction | None
    price: Fraction | None
    amount: int
    base: Fraction = Fraction(0)


@dataclass(frozen=True)
class Use:
    """One leaf of one event: a quantity in base units with all that its price depends on."""

    quantity: int
    weight: int = 1
    factor: Fraction = Fraction(1)
    total_input: int = 0
    project: str | None = None


def standing(scope: Scope, terms: Terms) -> int:
    """What the entries of a scope must sum to, before TRUE_UP: Q12(T(Q)); nothing where it is not open.

    A scope from which every event was taken back owes nothing any more, not even its opening.
    """
    if terms.is_event_priced or terms.model == "percentage":
        return q12(terms.net(Fraction(scope.amount, 10**12) * terms.kept))
    if scope.quantity == 0 and not scope.held:
        return 0
    return q12(terms.total(scope.quantity))


def opened(scope: Scope, terms: Terms) -> Scope:
    """The scope as if T(0) had been booked."""
    if scope.is_open:
        return scope
    amount = q12(terms.cost(Fraction(0))) if terms.is_event_priced and terms.model != "percentage" else scope.amount
    return replace(scope, is_open=True, amount=amount)


def add(scope: Scope, terms: Terms, use: Use, *, is_closed: bool) -> tuple[Scope, list[Draft]]:
    """Moves a scope by one use. The entries sum to what the scope's sum moves by."""
    if terms.model == "percentage":
        return _add_transaction(scope, terms, use)
    if terms.model == "volume":
        return _add_volume(scope, terms, use, is_closed=is_closed)
    moved = use.quantity * use.weight
    after = replace(scope, quantity=scope.quantity + moved, is_open=True)
    drafts = _unit_drafts(terms, scope.quantity, after.quantity, use)
    if terms.is_event_priced:
        return _add_running(scope, after, terms, drafts, use.factor)
    opening = _opening(scope, terms)
    before = terms.total(scope.quantity)
    gross = [terms.cost(terms.chargeable(each)) * terms.kept for each in (scope.quantity, after.quantity)]
    drafts += _reductions(terms, *gross)
    total = q12(terms.total(after.quantity)) - q12(before)
    return after, opening + _difference_to_last(drafts, total)


def _opening(scope: Scope, terms: Terms) -> list[Draft]:
    """T(0), booked once, with the first event."""
    owed = terms.total(0)
    if scope.is_open or owed == 0:
        return []
    return [Draft("TIER_FLAT", terms.price_number(1, 0), Fraction(1), owed, q12(owed))]


def _unit_drafts(terms: Terms, before: int, after: int, use: Use) -> list[Draft]:
    """FREE_UNITS, then for each tier its flat fee if it is entered now, and its units; all of them undiscounted net."""
    drafts = _free_drafts(terms, before, after)
    old, new = terms.chargeable(before), terms.chargeable(after)
    for was, now in zip(terms.pieces(old), terms.pieces(new), strict=True):
        number = terms.price_number(now.tier, use.total_input)
        if terms.is_entered(now.tier, new) and not terms.is_entered(now.tier, old) and terms.flat_fee(now.tier):
            fee = terms.flat_fee(now.tier) * terms.kept
            drafts.append(Draft("TIER_FLAT", number, Fraction(1), fee, q12(fee)))
        steps = now.steps - was.steps
        if steps > 0:
            price = now.price * use.factor * terms.kept
            base = steps * terms.step_base_units(now.tier)
            drafts.append(Draft("UNIT", number, steps, price, q12(price * steps), base))
    if not any(draft.kind in ("UNIT", "FREE_UNITS") for draft in drafts):
        tier = terms.tier_of(new)
        price = terms.tier_price(tier) * use.factor * terms.kept
        drafts.append(Draft("UNIT", terms.price_number(tier, use.total_input), Fraction(0), price, 0))
    return drafts


def _free_drafts(terms: Terms, before: int, after: int) -> list[Draft]:
    steps = terms.free(after) - terms.free(before)
    return [Draft("FREE_UNITS", 0, steps, Fraction(0), 0, steps * terms.unit_base)] if steps > 0 else []


def _reductions(terms: Terms, before: Fraction, after: Fraction) -> list[Draft]:
    """What a fixed discount and the maximum take off more than before."""
    taken = (
        ("DISCOUNT", terms.discount(before) - terms.discount(after)),
        ("CAP", terms.cap(before) - terms.cap(after)),
    )
    return [Draft(kind, None, None, None, q12(amount)) for kind, amount in taken if amount != 0]


def _difference_to_last(drafts: list[Draft], total: int) -> list[Draft]:
    """The entries of one event in one scope sum to a given amount; the last of them takes the difference."""
    rest = total - sum(draft.amount for draft in drafts)
    return [*drafts[:-1], replace(drafts[-1], amount=drafts[-1].amount + rest)]


def _add_running(
    scope: Scope, after: Scope, terms: Terms, drafts: list[Draft], factor: Fraction
) -> tuple[Scope, list[Draft]]:
    """Prices that depend on the event: steps 7-9 work on a running sum of Q12 amounts (spec 5)."""
    opened = scope.amount
    opening: list[Draft] = []
    if not scope.is_open:
        opened += q12(terms.cost(Fraction(0)))
        owed = terms.net(Fraction(opened, 10**12) * terms.kept) - terms.net(Fraction(scope.amount, 10**12) * terms.kept)
        if owed:
            opening = [Draft("TIER_FLAT", 1, Fraction(1), owed, q12(owed))]
    old, new = terms.chargeable(scope.quantity), terms.chargeable(after.quantity)
    units = terms.unit_part(new) - terms.unit_part(old)
    after = replace(after, amount=opened + q12(units * factor + terms.flat_part(new) - terms.flat_part(old)))
    gross = [Fraction(each, 10**12) * terms.kept for each in (opened, after.amount)]
    drafts = drafts + _reductions(terms, *gross)
    total = q12(terms.net(gross[1])) - q12(terms.net(gross[0]))
    return after, opening + _difference_to_last(drafts, total)


def _add_transaction(scope: Scope, terms: Terms, use: Use) -> tuple[Scope, list[Draft]]:
    """Percentage of a money amount, in log order (spec 4.6). The amount is the event's own, before its weight."""
    amount = Fraction(use.quantity, _MILLION)
    count = scope.count + 1
    free, part, fixed = terms.fee(amount, count, Fraction(scope.quantity, _MILLION))
    part, fixed = part * use.factor, fixed * use.factor
    is_free = amount in (0, free)
    fee = Fraction(0) if is_free else terms.clamp(part + fixed)
    added = q12(fee) * use.weight
    after = replace(
        scope,
        quantity=scope.quantity + use.quantity * use.weight,
        count=scope.count + (use.weight if use.quantity else 0),
        amount=scope.amount + added,
        is_open=True,
    )
    drafts = []
    if free > 0:
        drafts.append(Draft("FREE_UNITS", 0, free * use.weight, Fraction(0), 0, free * use.weight * _MILLION))
    if free < amount or amount == 0:
        steps = (amount - free) * use.weight
        price = terms.tier_price(1) * use.factor * terms.kept
        drafts.append(Draft("UNIT", 1, steps, price, q12(part * terms.kept) * use.weight, steps * _MILLION))
    due = max(fee, part + fixed) - part
    if due > 0 and not is_free:
        each = q12(due * terms.kept)
        # What a least fee adds is an amount, not a price.
        price = Fraction(each, PICOS) if fee > part + fixed else due * terms.kept
        drafts.append(Draft("PER_EVENT_FEE", 1, Fraction(use.weight), price, each * use.weight))
    over = part + fixed - fee
    if over > 0 and not is_free:
        drafts.append(Draft("CAP", None, None, None, -q12(over * terms.kept) * use.weight))
    if not scope.rate.accumulates:
        return after, _difference_to_last(drafts, q12(fee * terms.kept) * use.weight)
    gross = [Fraction(each, 10**12) * terms.kept for each in (scope.amount, after.amount)]
    drafts += _reductions(terms, *gross)
    return after, _difference_to_last(drafts, q12(terms.net(gross[1])) - q12(terms.net(gross[0])))


def _add_volume(scope: Scope, terms: Terms, use: Use, *, is_closed: bool) -> tuple[Scope, list[Draft]]:
    """Provisionally at the price of the tier that the total is in now; settled at close (spec 4.5).

    After the close the change of the settled total is booked at once, the settlement as an entry of its own.
    """
    moved = use.quantity * use.weight
    before, after = scope.quantity, scope.quantity + moved
    tier = terms.tier_of(terms.chargeable(after))
    steps = (terms.chargeable(after) - terms.chargeable(before)) / (terms.block_size(tier) or 1)
    price = terms.tier_price(tier) * terms.kept
    drafts = _free_drafts(terms, before, after)
    if steps > 0 or not drafts:
        base = steps * terms.step_base_units(tier)
        drafts.append(Draft("UNIT", tier, steps, price, q12(price * steps), base))
    new = _volume_moved(scope, use.project, moved, sum(draft.amount for draft in drafts))
    if is_closed:
        change = standing(new, terms) - standing(scope, terms) - sum(draft.amount for draft in drafts)
        if change:
            drafts.append(Draft("TIER_SETTLEMENT", None, None, None, change))
            new = _volume_moved(new, use.project, 0, change)
    return new, drafts


def _volume_moved(scope: Scope, project: str | None, moved: int, amount: int) -> Scope:
    return replace(
        scope,
        quantity=scope.quantity + moved,
        is_open=True,
        quantities={**scope.quantities, project: scope.quantities.get(project, 0) + moved},
        booked={**scope.booked, project: scope.booked.get(project, 0) + amount},
    )


def take_back(
    scope: Scope, terms: Terms, moved: int, amount: int, project: str | None, *, is_closed: bool
) -> tuple[Scope, Draft | None]:
    """Takes an event's quantity out of a scope after its entries were reversed (spec 12).

    Args:
        moved: the quantity, base units.
        amount: what the reversed entries had booked, picounits.

    Returns:
        The scope, and the one entry that makes its sum right again: TIER_SHIFT, or the settlement of a closed volume
        scope. Scopes whose prices depend on the event keep their state.
    """
    if terms.model == "percentage" or terms.is_event_priced:
        return scope, None
    if terms.model == "volume":
        after = _volume_moved(scope, project, -moved, -amount)
        change = standing(after, terms) - standing(scope, terms) + amount
        if not is_closed or change == 0:
            return after, None
        return _volume_moved(after, project, 0, change), Draft("TIER_SETTLEMENT", None, None, None, change)
    after = replace(scope, quantity=scope.quantity - moved)
    after = replace(after, is_open=after.quantity > 0 or scope.held)
    change = standing(after, terms) - standing(scope, terms) + amount
    return after, Draft("TIER_SHIFT", None, None, None, change) if change else None


def alone(terms: Terms, use: Use) -> list[Draft]:
    """The one entry of a rate that does not accumulate: of the event alone, times its weight."""
    price = terms.tier_price(1) * use.factor * terms.kept
    steps = use.quantity / terms.unit_base
    number = terms.price_number(1, use.total_input)
    amount = q12(price * steps) * use.weight
    return [Draft("UNIT", number, steps * use.weight, price, amount, Fraction(use.quantity * use.weight))]
