"""Which standing fees and recurring units an account owes, from rate cards and the accounts document.

Source: spec/formats.md, section 4; spec/rating.md, sections 4.2 and 7.2 (levels).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from chargeline.domain.accounts import Accounts, SubscriptionChange
from chargeline.domain.closing.entries import Period, Scope, Span
from chargeline.domain.closing.facts import Candidate, fee_versions, in_force, recurring_units
from chargeline.domain.closing.recurring import RecurringUnits
from chargeline.domain.closing.standing import StandingFee, quantity_spans, without_subscription
from chargeline.domain.rate_book import Rate
from chargeline.domain.rate_card import DEFAULT, PerUnit, Standing
from chargeline.domain.rate_card import Scope as Owner

RECURRING = "recurring_units"
FxAt = Callable[[str, int], Fraction | None]  # (pricing currency, instant) -> billing units; None: no rate


@dataclass(frozen=True)
class Unpriced:
    """A fee that cannot be priced: nothing is lost in silence."""

    scope: Scope
    reason: str


@dataclass(frozen=True)
class Fees:
    """What an account owes without events in a period."""

    fees: tuple[StandingFee, ...]
    units: tuple[RecurringUnits, ...]
    unpriced: tuple[Unpriced, ...]


def owner_spans(accounts: Accounts, account: str) -> list[tuple[Span, tuple[Owner, ...]]]:
    """Whose rate cards hold for an account and when, the nearest owner first.

    Times in which an account with rows has none that holds are left out: it is not in force then.
    """
    edges = accounts.boundaries(account)
    has_rows = any(row.billing_account_id == account for row in accounts.accounts)
    first = -(1 << 62)
    spans = []
    for start, end in zip((first, *edges), (*edges, None), strict=True):
        facts = accounts.at(account, start)
        if has_rows and not facts.known:
            continue
        contract = () if facts.contract is None else (Owner("contract", facts.contract),)
        groups = tuple(Owner("group", name) for name in facts.groups)
        spans.append((Span(start, end), (*contract, Owner("account", account), *groups, DEFAULT)))
    return spans


def candidates(rates: Sequence[Rate], owners: Sequence[tuple[Span, tuple[Owner, ...]]]) -> list[Candidate]:
    """The rates as an account may pay them, with the times in which card and owner hold together."""
    found = []
    for used, names in owners:
        for rate in rates:
            if rate.card.scope in names:
                start = max(used.start, rate.start)
                ends = [end for end in (used.end, rate.end) if end is not None]
                end = min(ends, default=None)
                if end is None or start < end:
                    found.append(Candidate(names.index(rate.card.scope), Span(start, end), rate.card, rate.sku))
    return found


def fees_of(accounts: Accounts, account: str, rates: Sequence[Rate], period: Period, fx_at: FxAt) -> Fees:
    """The fees of subscriptions by id, then those of cards of the account or its contract by SKU."""
    owners = owner_spans(accounts, account)
    fees: list[StandingFee] = []
    units: list[RecurringUnits] = []
    unpriced: list[Unpriced] = []
    for scope, changes, mine in _wanted(accounts, account, rates, period):
        found = candidates(mine, owners)
        spans = in_force(found, period)
        if not spans:
            if any(quantity for _, quantity in quantity_spans(changes, period)) and scope.subscription_id is not None:
                unpriced.append(Unpriced(scope, "NO_PRICE"))
            continue
        first = spans[0][1]
        model = first.sku.model
        in_advance = isinstance(model, Standing) and model.in_advance
        fx = fx_at(first.card.currency, period.start if in_advance else period.last)
        if fx is None:
            unpriced.append(Unpriced(scope, "NO_FX_RATE"))
        elif isinstance(model, Standing):
            flat = [each for each in found if isinstance(each.sku.model, Standing)]
            fees.append(StandingFee(scope, changes, fee_versions(flat, period, fx)))
        elif isinstance(model, PerUnit):
            units += [recurring_units(each, scope, changes, used, fx) for used, each in spans]
        else:
            units.append(recurring_units(first, scope, changes, Span(spans[0][0].start, spans[-1][0].end), fx))
    return Fees(tuple(fees), tuple(units), tuple(unpriced))


def _wanted(
    accounts: Accounts, account: str, rates: Sequence[Rate], period: Period
) -> Iterator[tuple[Scope, tuple[SubscriptionChange, ...], list[Rate]]]:
    fixed = [rate for rate in rates if isinstance(rate.sku.model, Standing) or rate.sku.measures == RECURRING]
    mine = sorted(
        (each for each in accounts.subscriptions if each.billing_account_id == account),
        key=lambda each: each.subscription_id.encode(),
    )
    for each in mine:
        scope = Scope(subscription_id=each.subscription_id)
        yield scope, each.changes, [rate for rate in fixed if rate.sku.sku_id == each.sku_id]
    subscribed = {each.sku_id for each in mine}
    explicit = [
        rate
        for rate in fixed
        if rate.card.scope.kind in ("account", "contract")
        and isinstance(rate.sku.model, Standing)
        and rate.sku.sku_id not in subscribed
    ]
    for sku_id in sorted({rate.sku.sku_id for rate in explicit}, key=str.encode):
        rates_of = [rate for rate in explicit if rate.sku.sku_id == sku_id]
        scope = Scope(sku_id, rates_of[-1].sku.variant)
        yield scope, without_subscription(period.start), rates_of
