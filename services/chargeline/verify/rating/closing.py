"""The close of one account's billing period, step by step.

1. Standing fees and recurring units. 2. Each scope: opening, volume settlement, minimum; then what late events changed
of the minimums of closed periods. 3. Commitments: overage, then true-up. 4. Account minimum. 5. Credits.

Source: spec/rating.md, sections 3, 4, 8, 9 and 12.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from chargeline.verify.rating.accumulate import Scope, ScopeKey, standing
from chargeline.verify.rating.cards import Rate
from chargeline.verify.rating.charges import View
from chargeline.verify.rating.commitments import account_minimum, commitments
from chargeline.verify.rating.credits import draw_credits
from chargeline.verify.rating.entries import Entry, Row, converted
from chargeline.verify.rating.fees import standing_fees
from chargeline.verify.rating.fx import NoRate
from chargeline.verify.rating.ledger import ChargeSum, Ledger
from chargeline.verify.rating.models import Terms
from chargeline.verify.rating.numbers import PICOS, q12, split
from chargeline.verify.rating.times import Period, day_ends, instant


def close(
    account: str,
    period: Period,
    view: View,
    scopes: dict[ScopeKey, Scope],
    log: list[Row],
    ledger: Ledger,
    closed: set[tuple[str, Period]],
) -> list[Row]:
    """The objects that the close books, in their order. Scopes and ledger are moved on.

    Args:
        closed: all closed periods, this one included.
    """
    rows = standing_fees(account, period, view)
    rows += _close_scopes(account, period, view, scopes)
    rows += _late_minimums(account, period, view, scopes, closed)
    charges = _charges(account, period, view, log, rows)
    for entry in _billable(account, period, view, log, rows):
        ledger.usage[_usage(entry, view), entry.currency] += entry.effective_cost
    rows += commitments(account, period, view, charges, ledger)
    rows += account_minimum(account, period, view, charges, ledger)
    return rows + draw_credits(account, period, view, charges, ledger)


def _usage(entry: Entry, view: View) -> Period:
    """The billing period that an entry is about: its own, or the closed one that a correction is for."""
    if entry.charge_class is None:
        return entry.period
    return entry.usage or view.accounts.period(entry.account, entry.charge_time)


def _billable(account: str, period: Period, view: View, log: list[Row], rows: list[Row]) -> list[Entry]:
    """The period's entries in log order, those of the close last. Estimates count only where they are invoiced."""
    found = []
    for row in [*log, *rows]:
        for entry in row.entries:
            facts = view.accounts.facts(account, entry.charge_time)
            is_invoiced = facts.bill_estimates or not entry.is_estimated
            if entry.account == account and entry.period == period and is_invoiced:
                found.append(entry)
    return found


def _charges(account: str, period: Period, view: View, log: list[Row], rows: list[Row]) -> list[ChargeSum]:
    """Entries of one row that are about one event, SKU and instant are one charge."""
    found = []
    for row in [*log, *rows]:
        sums: dict[tuple[object, ...], ChargeSum] = {}
        for entry in _billable(account, period, view, [row], []):
            key = (entry.origin, entry.sku_id, entry.is_minimum, entry.currency, entry.charge_time)
            usage = _usage(entry, view)
            empty = ChargeSum(entry.origin, entry.sku_id, entry.project, entry.charge_time, usage, entry.currency, 0,
                              entry.is_minimum, charge_class=entry.charge_class)  # fmt: skip
            charge = sums.setdefault(key, empty)
            charge.due += entry.contracted
        found += list(sums.values())
    return found


def _close_scopes(account: str, period: Period, view: View, scopes: dict[ScopeKey, Scope]) -> list[Row]:
    mine = {key: scope for key, scope in scopes.items() if (key.account, key.period) == (account, period)}
    used = {(key.rate_id, key.version) for key in mine}
    for rate in _explicit_rates(account, period, view):
        key = ScopeKey(account, rate.rate_id, rate.version, period)
        if (rate.rate_id, rate.version) not in used:
            mine[key] = Scope(rate)
        mine[key] = replace(mine[key], held=True)
    rows = []
    for key in sorted(mine, key=_order):
        made, scopes[key] = _close_scope(key, mine[key], view)
        rows += made
    return rows


def _order(key: ScopeKey) -> tuple[object, ...]:
    by = tuple((name, value is not None, (value or "").encode()) for name, value in key.by)
    card_id, sku_id, variant = key.rate_id
    event = key.event or ("", "", "")
    return (sku_id.encode(), (variant or "").encode(), card_id.encode(), key.version, by, key.window_start or 0, event)


def _explicit_rates(account: str, period: Period, view: View) -> Iterable[Rate]:
    """Accumulating rates that the account has by name, as they are selected for a scope of the whole period."""
    found: dict[tuple[str, str | None], tuple[int, Rate]] = {}
    for time in (period.start, *day_ends(period)):
        owners = view.accounts.owners(account, time)
        for rate in view.cards.rates:
            whole = rate.sku.get("window") in (None, "billing_period") and not rate.sku.get("scope_by")
            metered = rate.measures not in (None, "recurring_units")
            if not (rate.is_explicit and rate.accumulates and whole and metered):
                continue
            if rate.owner in owners and rate.holds(time) and view.accounts.is_in_force(account, time):
                level = owners.index(rate.owner) if isinstance(rate.owner, dict) and "account" in rate.owner else -1
                before = found.get(rate.rate_id[1:])
                if before is None or (before[1].rate_id != rate.rate_id and level < before[0]):
                    found[rate.rate_id[1:]] = (level, rate)
    return [rate for _, rate in found.values()]


def _close_scope(key: ScopeKey, scope: Scope, view: View) -> tuple[list[Row], Scope]:
    terms = Terms(scope.rate.sku, scope.rate.base_units(key.period))
    drafts: list[tuple[str, str | None, int]] = []
    if terms.model == "volume":
        drafts, scope = _settle(scope, terms)
    elif scope.held and not scope.is_open:
        if terms.is_event_priced:
            scope = replace(scope, amount=scope.amount + q12(terms.cost(Fraction(0))))
        opening = standing(scope, terms)
        drafts += [("TIER_FLAT", None, opening)] if opening else []
    scope = replace(scope, is_open=scope.is_open or scope.held)
    change, scope = _true_up(key, scope, terms, view)
    drafts += [("TRUE_UP", None, change)] if change else []
    # A settlement is an object for each project, as the example of spec/formats.md 6 has it.
    objects: dict[tuple[tuple[str, str | None], ...], list[tuple[str, str | None, int]]] = defaultdict(list)
    for draft in drafts:
        objects[_by(key, draft)].append(draft)
    rows = [_scope_row(key, scope, found, key.period, None, view) for found in objects.values()]
    return [row for row in rows if row is not None], scope


def _by(key: ScopeKey, draft: tuple[str, str | None, int]) -> tuple[tuple[str, str | None], ...]:
    """The attributes that name the object of an entry: a settlement has its project among them."""
    kind, project, _ = draft
    return tuple(sorted((dict(key.by) | ({"project": project} if kind == "TIER_SETTLEMENT" else {})).items()))


def _settle(scope: Scope, terms: Terms) -> tuple[list[tuple[str, str | None, int]], Scope]:
    """The final amount shared over projects by quantity, less what was booked (spec 4.5)."""
    final = standing(scope, terms)
    weights = {project: quantity for project, quantity in scope.quantities.items() if quantity > 0}
    shares: dict[str | None, int] = split(final, weights) if weights else {None: final}
    projects = sorted(scope.booked.keys() | shares.keys(), key=lambda each: (each is not None, (each or "").encode()))
    changes = [(each, shares.get(each, 0) - scope.booked.get(each, 0)) for each in projects]
    settled = [("TIER_SETTLEMENT", each, change) for each, change in changes if change]
    return settled, replace(scope, booked=shares)


def _true_up(key: ScopeKey, scope: Scope, terms: Terms, view: View) -> tuple[int, Scope]:
    """(what TRUE_UP must book now, the scope with it). Minimums of whole periods are prorated by days."""
    if terms.minimum is None:
        return 0, scope
    share = Fraction(1)
    if key.window_start is None and key.event is None:
        days = sum(in_force(scope.rate, key.account, time, view) for time in day_ends(key.period))
        share = Fraction(days, key.period.days)
    owed = max(0, q12(terms.minimum * share) - standing(scope, terms))
    return owed - scope.trued_up, replace(scope, trued_up=owed)


def in_force(rate: Rate, account: str, time: int, view: View) -> bool:
    """Whether an account has a rate at an instant, in any version: a later version may wait for the next period."""
    has_version = any(version.holds(time) for version in [rate, *view.cards.versions(rate)])
    has_owner = rate.owner in view.accounts.owners(account, time)
    return has_version and has_owner and view.accounts.is_in_force(account, time)


def _late_minimums(
    account: str, period: Period, view: View, scopes: dict[ScopeKey, Scope], closed: set[tuple[str, Period]]
) -> list[Row]:
    """What late events changed of the TRUE_UP of closed periods."""
    rows = []
    late = [
        key for key in scopes if key.period != period and key.account == account and (account, key.period) in closed
    ]
    for key in sorted(late, key=lambda key: (key.period, _order(key))):
        scope = scopes[key]
        terms = Terms(scope.rate.sku, scope.rate.base_units(key.period))
        change, scopes[key] = _true_up(key, scope, terms, view)
        if change:
            row = _scope_row(key, scopes[key], [("TRUE_UP", None, change)], period, "CORRECTION", view)
            rows += [row] if row is not None else []
    return rows


def _scope_row(
    key: ScopeKey,
    scope: Scope,
    drafts: list[tuple[str, str | None, int]],
    billed_in: Period,
    charge_class: str | None,
    view: View,
) -> Row | None:
    """The object of one scope; UNRATED where no exchange rate converts it, so that nothing is lost in silence."""
    if not drafts:
        return None
    rate, time = scope.rate, key.period.end - 1
    facts = view.accounts.facts_at_close(key.account, key.period)
    pricing = rate.card["currency"]
    currency = facts.billing_currency or pricing
    about = {
        "billing_account_id": key.account,
        "sku_id": rate.sku["sku_id"],
        "variant": rate.sku.get("variant"),
        "by": dict(_by(key, drafts[0])),
        "window_start": None if key.window_start is None else instant(key.window_start),
    }
    row = Row(key.account, billed_in, currency, scope=about)
    try:
        fx = view.fx.rate(pricing, currency, time, facts)
    except NoRate:
        return replace(row, reason="NO_FX_RATE")
    entries = []
    for kind, project, amount in drafts:
        is_flat = kind == "TIER_FLAT"
        price = Fraction(amount, PICOS) if is_flat else None
        entries.append(
            Entry(
                kind=kind,
                account=key.account,
                period=billed_in,
                charge_time=time,
                currency=currency,
                contracted=converted(amount, fx),
                listed=converted(amount, fx),
                sku_id=rate.sku["sku_id"],
                variant=rate.sku.get("variant"),
                sku_price_id=f"{rate.price_name}/1" if is_flat else None,
                rate_card_id=rate.card["id"],
                rate_card_version=rate.version,
                leaf=rate.measures,
                pricing_quantity=Fraction(1) if is_flat else None,
                pricing_unit="Fees" if is_flat else None,
                list_unit_price=price,
                contracted_unit_price=price,
                pricing_currency=pricing,
                pricing_cost=amount,
                fx_rate=fx,
                charge_class=charge_class,
                project=project,
                usage=None if charge_class is None else key.period,
                is_minimum=kind == "TRUE_UP",
            )
        )
    return replace(row, entries=tuple(entries))
