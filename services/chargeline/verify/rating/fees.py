"""Standing fees and recurring units of one billing period, by whole UTC days.

Source: spec/allocation.md, section 1; spec/rating.md, section 4.2; spec/formats.md, section 4.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
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
    rates = [day.rate for day in days if day.rate is not None]
    if not rates:
        is_used = subscription is not None and any(day.count for day in days)
        facts = view.accounts.facts(account, period.end - 1)
        return [Row(account, period, facts.billing_currency, scope=about, reason="NO_PRICE")] if is_used else []
    if rates[0].measures == "recurring_units" and rates[0].sku["charge_model"] != "per_unit":
        assert subscription is not None
        fees = _tiered(rates[0], period, subscription)
    elif rates[0].sku.get("bill_in") == "advance":
        fees = _in_advance(days, period)
    else:
        fees = _in_arrears(days, period)
    return _row(account, period, view, about, fees) if fees else []


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
    return sum(changes, Fraction(0))


def _unit_price(rate: Rate) -> Fraction:
    terms = Terms(rate.sku, Fraction(1))
    return terms.tier_price(1) * terms.kept


def _in_arrears(days: list[Day], period: Period) -> list[Fee]:
    """One entry for each version, for the days on which it was in force."""
    found: dict[tuple[Any, ...], Fee] = {}
    for day in days:
        if day.rate is None or day.count == 0:
            continue
        key = (day.rate.rate_id, day.rate.version)
        fee = found.get(key) or Fee(day.rate, _kind(day.rate), 1, Fraction(0), _unit_price(day.rate), period.end - 1)
        found[key] = replace(fee, steps=fee.steps + day.count / len(days))
    return list(found.values())


def _in_advance(days: list[Day], period: Period) -> list[Fee]:
    """Booked at the start of the part in use; a change books the old back and the new for the remaining days."""
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


def _tiered(rate: Rate, period: Period, subscription: dict[str, Any]) -> list[Fee]:
    """Recurring units in tiers, by the running number of full units.

    Graduated: each change is split over the tiers that its full units cross. Volume: see `_volume`.
    """
    terms = Terms(rate.sku, Fraction(1))
    steps = [(Fraction(1), _subscribed(subscription, period.start))]
    for change in sorted(subscription["changes"], key=lambda each: micros(each["at"])):
        at = micros(change["at"])
        if period.start < at < period.end:
            steps.append((Fraction((period.end - at + at % DAY) // DAY, period.days), number(change["quantity"])))
    if terms.model == "volume":
        return _volume(rate, terms, period, steps)
    fees, full, entered, booked = [], Fraction(0), 0, Fraction(0)
    for share, change in steps:
        old, full = full, full + change
        for was, now in zip(terms.pieces(old), terms.pieces(full), strict=True):
            if full > 0 and terms.is_entered(now.tier, full) and now.tier > entered:
                entered = now.tier
                if terms.flat_fee(now.tier):
                    price = terms.flat_fee(now.tier) * terms.kept
                    fees.append(Fee(rate, "TIER_FLAT", now.tier, Fraction(1), price, period.end - 1))
                    booked += price
            if now.steps != was.steps:
                price, part = now.price * terms.kept, (now.steps - was.steps) * share
                part = max(part, -booked / price) if price else part  # the scope's sum is not below 0
                fees.append(Fee(rate, "UNIT", now.tier, part, price, period.end - 1))
                booked += part * price
    return fees


def _volume(rate: Rate, terms: Terms, period: Period, steps: list[tuple[Fraction, Fraction]]) -> list[Fee]:
    running, most, prorated = Fraction(0), Fraction(0), Fraction(0)
    for share, change in steps:
        running += change
        most = max(most, running)
        prorated += change * share
    if most == 0:
        return []
    tier = terms.tier_of(most)
    time = period.end - 1
    price = terms.tier_price(tier) * terms.kept
    fees = [Fee(rate, "UNIT", tier, prorated / (terms.block_size(tier) or 1), price, time)]
    if terms.flat_fee(tier):
        fees.insert(0, Fee(rate, "TIER_FLAT", tier, Fraction(1), terms.flat_fee(tier) * terms.kept, time))
    return fees


def _kind(rate: Rate) -> str:
    return "UNIT" if rate.measures == "recurring_units" else "STANDING_FEE"


def _row(account: str, period: Period, view: View, about: dict[str, Any], fees: list[Fee]) -> list[Row]:
    entries = []
    currency = None
    for fee in fees:
        facts = view.accounts.facts(account, fee.time)
        pricing = fee.rate.card["currency"]
        currency = facts.billing_currency or pricing
        try:
            fx = view.fx.rate(pricing, currency, fee.time, facts)
        except NoRate:
            return [Row(account, period, currency, scope=about, reason="NO_FX_RATE")]
        amount = q12(fee.steps * fee.price)
        entries.append(
            Entry(
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
                pricing_currency=pricing,
                pricing_cost=amount,
                fx_rate=fx,
            )
        )
    return [Row(account, period, currency, tuple(entries), scope=about)]
