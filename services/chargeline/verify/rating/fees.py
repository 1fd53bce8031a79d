"""Standing fees and recurring units of one billing period, by whole UTC days.

Source: spec/allocation.md, section 1; spec/rating.md, section 4.2; spec/formats.md, section 4.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

from chargeline.verify.rating.cards import Rate
from chargeline.verify.rating.charges import View
from chargeline.verify.rating.entries import Entry, Row, converted
from chargeline.verify.rating.fx import NoRate
from chargeline.verify.rating.models import Terms
from chargeline.verify.rating.numbers import number, q12
from chargeline.verify.rating.times import DAY, Period, day_ends, micros


@dataclass(frozen=True)
class Day:
    """What is in force at the end of one UTC day: a rate and how many of it; null: nothing."""

    rate: Rate | None
    count: Fraction


@dataclass(frozen=True)
class Fee:
    """One entry of a fee in the pricing currency: steps of a price, booked for a time."""

    rate: Rate
    kind: str
    tier: int
    steps: Fraction
    price: Fraction
    time: int


def standing_fees(account: str, period: Period, view: View) -> list[Row]:
    """One object for each subscription, and for each flat SKU that the account has by name, ordered by these ids."""
    rows = []
    subscribed = set()
    for subscription in view.accounts.subscriptions(account):
        subscribed.add(subscription["sku_id"])
        about = {"billing_account_id": account, "subscription_id": subscription["subscription_id"]}
        rows += _rows(account, period, view, about, subscription["sku_id"], subscription)
    explicit = {
        rate.sku["sku_id"]: rate
        for rate in view.cards.rates
        if rate.is_explicit and rate.sku["charge_model"] == "flat" and rate.sku["sku_id"] not in subscribed
    }
    for sku_id in sorted(explicit, key=str.encode):
        about = {"billing_account_id": account, "sku_id": sku_id, "variant": explicit[sku_id].sku.get("variant"),
                 "by": {}, "window_start": None}  # fmt: skip
        rows += _rows(account, period, view, about, sku_id, None)
    return rows


def _rows(
    account: str, period: Period, view: View, about: dict[str, Any], sku_id: str, subscription: dict[str, Any] | None
) -> list[Row]:
    days = [_day(account, time, view, sku_id, subscription) for time in day_ends(period)]
    first = next((day.rate for day in days if day.rate is not None), None)
    if first is None or not _is_priced(first):
        is_used = subscription is not None and any(day.count for day in days)
        return [Row(account, period, None, scope=about, reason="NO_PRICE")] if is_used else []
    if _is_tiered(first):
        fees = _tiered(first, [day.count for day in days if day.rate is not None], period)
    else:
        # Tiers accumulate: units that begin to be priced by them within a period wait for the next one.
        paid = [replace(day, rate=first if _waits(day.rate) else day.rate) for day in days]
        fees = _in_advance(paid, period) + _in_arrears(paid, period)
    return _billed(account, period, view, about, fees)


def _is_tiered(rate: Rate) -> bool:
    return rate.measures == "recurring_units" and rate.sku["charge_model"] in ("graduated", "volume")


def _is_priced(rate: Rate) -> bool:
    return rate.measures is None or rate.sku["charge_model"] in ("per_unit", "graduated", "volume")


def _waits(rate: Rate | None) -> bool:
    return rate is not None and (_is_tiered(rate) or not _is_priced(rate))


def _day(account: str, time: int, view: View, sku_id: str, subscription: dict[str, Any] | None) -> Day:
    owners = view.accounts.owners(account, time)
    fitting = [
        rate
        for rate in view.cards.rates
        if rate.sku["sku_id"] == sku_id
        and rate.measures in (None, "recurring_units")
        and rate.owner in owners
        and rate.holds(time)
        and (subscription is not None or rate.is_explicit)
    ]
    rate = min(fitting, key=lambda each: owners.index(each.owner), default=None)
    if not view.accounts.is_in_force(account, time):
        rate = None
    if subscription is None:
        return Day(rate, Fraction(0 if rate is None else 1))
    return Day(rate, _subscribed(subscription, time))


def _subscribed(subscription: dict[str, Any], time: int) -> Fraction:
    changes = [number(each["quantity"]) for each in subscription["changes"] if micros(each["at"]) <= time]
    return max(Fraction(0), sum(changes, Fraction(0)))


def _unit_price(rate: Rate) -> Fraction:
    terms = Terms(rate.sku, Fraction(1))
    return terms.tier_price(1) * terms.kept


def _in_arrears(days: list[Day], period: Period) -> list[Fee]:
    """One entry for each version, for the days on which it was in force."""
    found: dict[tuple[Any, ...], Fee] = {}
    for day in days:
        if day.rate is None or day.count == 0 or _is_advance(day.rate):
            continue
        key = (day.rate.rate_id, day.rate.version)
        fee = found.get(key) or Fee(day.rate, _kind(day.rate), 1, Fraction(0), _unit_price(day.rate), period.end - 1)
        found[key] = replace(fee, steps=fee.steps + day.count / len(days))
    return list(found.values())


def _is_advance(rate: Rate) -> bool:
    return bool(rate.sku.get("bill_in") == "advance")


def _in_advance(all_days: list[Day], period: Period) -> list[Fee]:
    """Booked at the start of the part in use; a change books the old back and the new for the remaining days."""
    nothing = Day(None, Fraction(0))
    days = [day if day.rate is not None and _is_advance(day.rate) else nothing for day in all_days]
    fees: list[Fee] = []
    before = Day(None, Fraction(0))
    for at, day in enumerate(days):
        if day == before:
            continue
        used = next((n for n in range(at, len(days)) if days[n].rate is None or days[n].count == 0), len(days))
        share = Fraction(used - at, len(days))
        for each, sign in ((before, -1), (day, 1)):
            if each.rate is not None and each.count and share:
                time = period.start + at * DAY
                fees.append(Fee(each.rate, "STANDING_FEE", 1, sign * each.count * share, _unit_price(each.rate), time))
        before = day
    return fees


def _tiered(rate: Rate, levels: list[Fraction], period: Period) -> list[Fee]:
    """Recurring units in tiers, by the full units of each day on which a rate is in force.

    Graduated: each change is split over the tiers that its full units cross. Volume: see `_volume`.
    """
    terms = Terms(rate.sku, Fraction(1))
    if terms.model == "volume":
        return _volume(rate, terms, levels, period)
    fees, full, entered = [], Fraction(0), 0
    for at, level in enumerate(levels):
        share = Fraction(len(levels) - at, period.days)
        for was, now in zip(terms.pieces(full), terms.pieces(level), strict=True):
            if level > 0 and terms.is_entered(now.tier, level) and now.tier > entered:
                entered = now.tier
                if terms.flat_fee(now.tier):
                    price = terms.flat_fee(now.tier) * terms.kept
                    fees.append(Fee(rate, "TIER_FLAT", now.tier, Fraction(1), price, period.end - 1))
            if now.steps != was.steps:
                steps = (now.steps - was.steps) * share
                fees.append(Fee(rate, "UNIT", now.tier, steps, now.price * terms.kept, period.end - 1))
        full = level
    return fees


def _volume(rate: Rate, terms: Terms, levels: list[Fraction], period: Period) -> list[Fee]:
    """Each day pays its share of the price of its units, or blocks of units, at the tier of the largest day."""
    most = max(levels)
    if most == 0:
        return []
    tier, size = terms.tier_of(most), terms.block_size(terms.tier_of(most))
    steps = sum((level if size is None else Fraction(ceil(level / size)) for level in levels), Fraction(0))
    fees = [Fee(rate, "UNIT", tier, steps / period.days, terms.tier_price(tier) * terms.kept, period.end - 1)]
    if terms.flat_fee(tier):
        fees.insert(0, Fee(rate, "TIER_FLAT", tier, Fraction(1), terms.flat_fee(tier) * terms.kept, period.end - 1))
    return fees


def _kind(rate: Rate) -> str:
    return "UNIT" if rate.measures == "recurring_units" else "STANDING_FEE"


def _billed(account: str, period: Period, view: View, about: dict[str, Any], fees: list[Fee]) -> list[Row]:
    """One object; several where the account has no billing currency and the versions are in several."""
    facts = view.accounts.facts_at_close(account, period)
    rows: dict[str, list[Entry]] = {}
    booked = 0
    for fee in fees:
        pricing = fee.rate.card["currency"]
        currency = facts.billing_currency or pricing
        try:
            fx = view.fx.rate(pricing, currency, fee.time, facts)
        except NoRate:
            return [Row(account, period, currency, scope=about, reason="NO_FX_RATE")]
        amount = q12(fee.steps * fee.price)
        if _is_tiered(fee.rate):
            amount = max(amount, -booked)  # the scope's sum is not below 0, whatever is rounded
            booked += amount
        rows.setdefault(currency, []).append(_entry(account, period, fee, currency, amount, fx))
    return [Row(account, period, currency, tuple(entries), scope=about) for currency, entries in rows.items()]


def _entry(account: str, period: Period, fee: Fee, currency: str, amount: int, fx: Fraction | None) -> Entry:
    return Entry(
        kind=fee.kind,
        account=account,
        period=period,
        charge_time=fee.time,
        currency=currency,
        contracted=converted(amount, fx),
        listed=converted(amount, fx),
        sku_id=fee.rate.sku["sku_id"],
        variant=fee.rate.sku.get("variant"),
        sku_price_id=f"{fee.rate.price_name}/{fee.tier}",
        rate_card_id=fee.rate.card["id"],
        rate_card_version=fee.rate.version,
        leaf=fee.rate.measures,
        pricing_quantity=fee.steps,
        pricing_unit="Fees" if fee.kind == "TIER_FLAT" else fee.rate.sku["pricing_unit"],
        list_unit_price=fee.price,
        contracted_unit_price=fee.price,
        pricing_currency=fee.rate.card["currency"],
        pricing_cost=amount,
        fx_rate=fx,
    )
