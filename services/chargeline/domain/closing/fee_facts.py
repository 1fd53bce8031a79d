"""Which standing fees and recurring units an account owes, from rate cards and the accounts document.

Source: spec/formats.md, section 4; spec/rating.md, sections 4.2 and 7.2 (levels).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chargeline.domain.accounts import Accounts, SubscriptionChange
from chargeline.domain.closing.entries import Booked, Period, Scope, Span, at_rate
from chargeline.domain.closing.facts import (
    RECURRING,
    Candidate,
    FxAt,
    fee_versions,
    in_force,
    is_fee,
    is_tiered,
    recurring_units,
)
from chargeline.domain.closing.fee_parts import fee_parts
from chargeline.domain.closing.recurring import recurring_entries
from chargeline.domain.closing.standing import StandingFee, standing_entries, without_subscription
from chargeline.domain.rates.book import Rate
from chargeline.domain.rates.card import DEFAULT, Standing
from chargeline.domain.rates.card import Scope as Owner


@dataclass(frozen=True)
class FeeCharge:
    """What one subscription, or one SKU without a subscription, owes in a period.

    Attributes:
        currency: that of the entries' billed costs; None: it has no price.
        reason: why it could not be priced: nothing is lost in silence.
    """

    scope: Scope
    currency: str | None
    entries: tuple[Booked, ...] = ()
    reason: str | None = None


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


def fees_of(
    accounts: Accounts, account: str, rates: Sequence[Rate], period: Period, billing: str | None, fx_at: FxAt
) -> list[FeeCharge]:
    """What subscriptions owe, by id, then the flat rates of cards of the account or its contract, by SKU.

    Args:
        billing: the account's billing currency; None: each fee is billed in the currency of its card.
        fx_at: asked for the instant of each entry.
    """
    owners = owner_spans(accounts, account)
    found: list[FeeCharge] = []
    for scope, changes, mine in _wanted(accounts, account, rates, period):
        spans = in_force(candidates(mine, owners), period)
        parts = fee_parts(changes, spans, period)
        first = next((part.version for part in parts if part.version is not None), None)
        if first is None or not is_fee(first.sku):
            if scope.subscription_id is not None and any(part.quantity for part in parts):
                found.append(FeeCharge(scope, None, reason="NO_PRICE"))
            continue
        if is_tiered(first.sku):
            units = recurring_units(first, scope, changes, tuple(used for used, _ in spans))
            entries = recurring_entries(units, period)
        else:
            entries = standing_entries(StandingFee(scope, changes, fee_versions(_at_once(spans, first))), period)
        found += _billed(scope, entries, billing, fx_at)
    return found


def _at_once(spans: Sequence[tuple[Span, Candidate]], first: Candidate) -> list[tuple[Span, Candidate]]:
    """The rates as they are paid: tiers accumulate, so that they wait for the next period (spec/rating.md 3)."""
    paid: list[tuple[Span, Candidate]] = []
    for used, each in spans:
        rate = first if is_tiered(each.sku) or not is_fee(each.sku) else each
        if paid and paid[-1][1] is rate and paid[-1][0].end == used.start:
            paid[-1] = (Span(paid[-1][0].start, used.end), rate)
        else:
            paid.append((used, rate))
    return paid


def _billed(scope: Scope, entries: Sequence[Booked], billing: str | None, fx_at: FxAt) -> Iterator[FeeCharge]:
    """The entries in the billing currency; in several where versions of the fee are, and the account names none."""
    by_currency: dict[str, list[Booked]] = {}
    for entry in entries:
        assert entry.rate is not None
        assert entry.rate.currency is not None
        fx = fx_at(entry.rate.currency, entry.event_time)
        if fx is None:
            yield FeeCharge(scope, None, reason="NO_FX_RATE")
            return
        by_currency.setdefault(billing or entry.rate.currency, []).append(at_rate(entry, fx))
    for currency, made in by_currency.items():
        yield FeeCharge(scope, currency, tuple(made))


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
