"""What a close needs of the published facts: an account's terms, and the fees of rate cards.

Source: spec/formats.md, sections 2 and 4; spec/rating.md, section 7.2 (levels); spec/allocation.md, section 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from chargeline.domain.accounts import Accounts, SubscriptionChange
from chargeline.domain.closing.close import PeriodFacts
from chargeline.domain.closing.entries import Period, Rate, Scope, Span, q12
from chargeline.domain.closing.recurring import RecurringUnits
from chargeline.domain.closing.standing import FeeVersion
from chargeline.domain.rate_card import PerUnit, RateCard, Sku, Standing, Tier, Tiered


@dataclass(frozen=True)
class Candidate:
    """A rate that an account may pay for a SKU.

    Attributes:
        rank: of its level: 0 contract, 1 account, then groups from the nearest, then the default.
        used: when card, and contract or membership, are valid together.
    """

    rank: int
    used: Span
    card: RateCard
    sku: Sku


def account_terms(accounts: Accounts, billing_account_id: str, billing_currency: str, period: Period) -> PeriodFacts:
    """Cycle day, minimums, commitments and credits of an account in a period; fees and units are left empty.

    Commitments and credits in another currency than the billing currency are not used: amounts of different
    currencies do not add.
    """
    rows = [each for each in accounts.accounts if each.billing_account_id == billing_account_id]
    return PeriodFacts(
        accounts.at(billing_account_id, period.start).billing_cycle_day,
        minimums=tuple(
            (q12(Fraction(each.minimum)), Span(each.valid_from, each.valid_to))
            for each in rows
            if each.minimum is not None
        ),
        commitments=tuple(
            each
            for each in accounts.commitments
            if (each.billing_account_id, each.currency) == (billing_account_id, billing_currency)
        ),
        grants=tuple(
            each
            for each in accounts.credits
            if (each.billing_account_id, each.currency) == (billing_account_id, billing_currency)
        ),
    )


def in_force(candidates: Sequence[Candidate], period: Period) -> list[tuple[Span, Candidate]]:
    """Which rate of a SKU holds when, within a period: at each instant the one of the lowest rank that is valid.

    Returns:
        Spans in order, without overlaps; times without a rate are left out.
    """
    edges = {edge for each in candidates for edge in (each.used.start, each.used.end) if edge is not None}
    starts = sorted({period.start, *(edge for edge in edges if period.start < edge < period.end)})
    spans: list[tuple[Span, Candidate]] = []
    for start, end in zip(starts, [*starts[1:], period.end], strict=True):
        valid = [each for each in candidates if _holds(each.used, start)]
        if not valid:
            continue
        best = min(valid, key=lambda each: each.rank)
        if spans and spans[-1][1] is best and spans[-1][0].end == start:
            start = spans.pop()[0].start  # noqa: PLW2901 - one rate without a change is one version
        spans.append((Span(start, end), best))
    return spans


def _holds(used: Span, time: int) -> bool:
    return used.start <= time and (used.end is None or time < used.end)


def fee_versions(candidates: Sequence[Candidate], period: Period, fx: Fraction) -> tuple[FeeVersion, ...]:
    """The versions of a standing fee in a period. `fx`: billing units for one pricing unit."""
    versions: list[FeeVersion] = []
    for used, each in in_force(candidates, period):
        model = each.sku.model
        assert isinstance(model, Standing), "only a flat rate is a standing fee"
        amount = Fraction(model.amount) * discount_factor(each.sku)
        versions.append(FeeVersion(used, amount, model.in_advance, rate_of(each.card, each.sku, fx)))
    return tuple(versions)


def recurring_units(
    candidate: Candidate, scope: Scope, changes: tuple[SubscriptionChange, ...], used: Span, fx: Fraction
) -> RecurringUnits:
    """Subscribed units of a SKU with `quantity: recurring_units`.

    Raises:
        ValueError: a charge model that has no price for prorated units.
    """
    sku = candidate.sku
    if isinstance(sku.model, Tiered) and sku.model.kind != "graduated_percentage":
        tiers, is_volume = sku.model.tiers, sku.model.kind == "volume"
    elif isinstance(sku.model, PerUnit):
        tiers, is_volume = (Tier(None, sku.model.unit_price),), False
    else:
        raise ValueError(
            f"{sku.sku_id}: recurring units are priced per_unit, graduated or volume, not {sku.charge_model}"
        )
    rate = rate_of(candidate.card, sku, fx)
    return RecurringUnits(scope, rate, tiers, is_volume, changes, used, discount_factor(sku))


def rate_of(card: RateCard, sku: Sku, fx: Fraction = Fraction(1)) -> Rate:
    """The rate as entries of the close name it."""
    return Rate(sku.sku_id, sku.variant, card.rate_card_id, card.version, sku.pricing_unit, fx)


def discount_factor(sku: Sku) -> Fraction:
    """What the percentage discounts of a rate leave of an amount (spec/rating.md 3, step 7)."""
    return prod((1 - Fraction(each.value) / 100 for each in sku.discounts if each.kind == "percent"), start=Fraction(1))
