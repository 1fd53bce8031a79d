"""What a close needs of the published facts: an account's terms, and the fees of rate cards.

Source: spec/formats.md, sections 2 and 4; spec/rating.md, section 7.2 (levels); spec/allocation.md, section 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import prod

from chargeline.domain.accounts import AccountFacts, Accounts, SubscriptionChange
from chargeline.domain.closing.close import PeriodFacts
from chargeline.domain.closing.entries import Period, Rate, Scope, Span, q12
from chargeline.domain.closing.recurring import RecurringUnits
from chargeline.domain.closing.standing import FeeVersion
from chargeline.domain.fx import FxTable, conversion
from chargeline.domain.periods import billing_period
from chargeline.domain.rates.card import PerUnit, RateCard, Sku, Standing, Tiered

RECURRING = "recurring_units"  # what such a SKU measures
FxAt = Callable[[str, int], Fraction | None]  # (pricing currency, instant) -> billing units; None: no rate
_DAY = 86_400_000_000
_FIRST_DAY = date(1970, 1, 1).toordinal()


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


def account_terms(accounts: Accounts, billing_account_id: str, billing_currency: str) -> PeriodFacts:
    """Periods, minimums, commitments and credits of an account; fees are left empty.

    Commitments and credits in another currency than the billing currency are not used: amounts of different
    currencies do not add.
    """
    rows = [each for each in accounts.accounts if each.billing_account_id == billing_account_id]
    return PeriodFacts(
        lambda instant: Period(*billing_period(instant, accounts.at(billing_account_id, instant).billing_cycle_day)),
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


def fx_of(facts: AccountFacts, table: FxTable) -> FxAt:
    """How an account's close converts: 1 where the account names no billing currency, None where there is no rate."""

    def fx_at(pricing: str, time: int) -> Fraction | None:
        billing = facts.billing_currency
        if billing is None or billing == pricing:
            return Fraction(1)
        found = conversion(facts.fx, table, pricing, billing, date.fromordinal(_FIRST_DAY + time // _DAY))
        return None if found is None else Fraction(found.rate)

    return fx_at


def in_force(candidates: Sequence[Candidate], period: Period) -> list[tuple[Span, Candidate]]:
    """Which rate of a SKU holds when, within a period: at each instant the one of the lowest rank that is valid.

    Returns:
        Spans in order, without overlaps; times without a rate are left out.
    """
    edges = {edge for each in candidates for edge in (each.used.start, each.used.end) if edge is not None}
    starts = sorted({period.start, *(edge for edge in edges if period.start < edge < period.end)})
    spans: list[tuple[Span, Candidate]] = []
    for start, end in zip(starts, [*starts[1:], period.end], strict=True):
        valid = [each for each in candidates if each.used.holds(start)]
        if not valid:
            continue
        best = min(valid, key=lambda each: each.rank)
        if spans and spans[-1][0].end == start and spans[-1][1].sku is best.sku and spans[-1][1].card is best.card:
            start = spans.pop()[0].start  # noqa: PLW2901 - one rate without a change is one version
        spans.append((Span(start, end), best))
    return spans


def is_tiered(sku: Sku) -> bool:
    """Recurring units whose price depends on how many there are; such a rate is selected once for a period."""
    is_money = isinstance(sku.model, Tiered) and sku.model.kind == "graduated_percentage"
    return sku.measures == RECURRING and isinstance(sku.model, Tiered) and not is_money


def is_fee(sku: Sku) -> bool:
    """Whether a close can price it: a flat rate, or recurring units per_unit, graduated or volume."""
    is_units = sku.measures == RECURRING and (isinstance(sku.model, PerUnit) or is_tiered(sku))
    return isinstance(sku.model, Standing) or is_units


def fee_versions(spans: Sequence[tuple[Span, Candidate]]) -> tuple[FeeVersion, ...]:
    """The versions of a fee with one price; pricing amounts are billed as they are until they are converted."""
    versions: list[FeeVersion] = []
    for used, each in spans:
        model, rate, kept = each.sku.model, rate_of(each.card, each.sku), discount_factor(each.sku)
        if isinstance(model, Standing):
            versions.append(FeeVersion(used, Fraction(model.amount) * kept, model.in_advance, rate))
        else:
            assert isinstance(model, PerUnit), "tiers are recurring units"
            versions.append(FeeVersion(used, Fraction(model.unit_price) * kept, False, rate, "UNIT"))
    return tuple(versions)


def recurring_units(
    candidate: Candidate, scope: Scope, changes: tuple[SubscriptionChange, ...], used: tuple[Span, ...]
) -> RecurringUnits:
    """Subscribed units of a SKU that is priced by tiers, see `is_tiered`."""
    model = candidate.sku.model
    assert isinstance(model, Tiered), "units with one price are standing fees"
    rate, is_volume = rate_of(candidate.card, candidate.sku), model.kind == "volume"
    return RecurringUnits(scope, rate, model.tiers, is_volume, changes, used, discount_factor(candidate.sku))


def rate_of(card: RateCard, sku: Sku, fx: Fraction = Fraction(1)) -> Rate:
    """The rate as entries of the close name it."""
    return Rate(sku.sku_id, sku.variant, card.rate_card_id, card.version, sku.pricing_unit, card.currency, fx)


def discount_factor(sku: Sku) -> Fraction:
    """What the percentage discounts of a rate leave of an amount (spec/rating.md 3, step 7)."""
    return prod((1 - Fraction(each.value) / 100 for each in sku.discounts if each.kind == "percent"), start=Fraction(1))
