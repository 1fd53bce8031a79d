"""Spend commitments and the account minimum at the close of a period.

Source: spec/rating.md, section 8; spec/allocation.md, section 1.
"""

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import Any

from chargeline.verify.rating.charges import View
from chargeline.verify.rating.entries import Entry, Row
from chargeline.verify.rating.ledger import ChargeSum, Ledger
from chargeline.verify.rating.numbers import PICOS, number, q12
from chargeline.verify.rating.times import DAY, Period, day_ends, micros

Commitment = dict[str, Any]


def commitments(account: str, period: Period, view: View, charges: list[ChargeSum], ledger: Ledger) -> list[Row]:
    """Purchases, then COVER and OVERAGE entries of the charges in log order, then true-ups. `charges` change."""
    mine = [each for each in view.accounts.commitments(account) if _is_known(each, period, ledger)]
    entries: dict[str, list[Entry]] = defaultdict(list)
    for each in mine:
        if each.get("paid_up_front") and each["commitment_id"] not in ledger.reached:
            time = max(micros(each["from"]), period.start)
            entry = _entry("STANDING_FEE", account, period, time, each, _amount(each, view))
            entries[each["commitment_id"]].append(replace(entry, effective=0))
        ledger.reached.setdefault(each["commitment_id"], 0)
    for charge in list(charges):
        for each, moved in _spread(charge, mine, view, ledger):
            entries[each["commitment_id"]] += _moved(account, period, charge, each, moved, view, ledger)
    for each in mine:
        entries[each["commitment_id"]] += _true_up(account, period, each, view, charges, ledger)
    rows = []
    for each in mine:
        found = tuple(entries[each["commitment_id"]])
        if found:
            about = {"billing_account_id": account, "commitment_id": each["commitment_id"]}
            rows.append(Row(account, period, each["currency"], found, scope=about))
        for entry in found:
            ledger.usage[entry.usage or period, entry.currency] += entry.effective_cost
    return rows


def _is_known(each: Commitment, period: Period, ledger: Ledger) -> bool:
    """A commitment begins with the first close of a period of its term; from then on late events may change it."""
    touches = micros(each["from"]) < period.end and micros(each["to"]) > period.start
    return touches or each["commitment_id"] in ledger.reached


def _order(each: Commitment) -> tuple[object, ...]:
    return (int(number(each.get("priority"))), micros(each["to"]), each["commitment_id"].encode())


def _amount(each: Commitment, view: View) -> int:
    """C in picounits, prorated by days where the term begins or ends inside a billing period."""
    first = view.accounts.period(each["billing_account_id"], micros(each["from"]))
    last = view.accounts.period(each["billing_account_id"], micros(each["to"]) - 1)
    days = micros(each["to"]) // DAY - micros(each["from"]) // DAY
    return q12(number(each["amount"]) * Fraction(days, (last.end - first.start) // DAY))


def _spread(charge: ChargeSum, mine: list[Commitment], view: View, ledger: Ledger) -> list[tuple[Commitment, int]]:
    """Which commitment counts how much of a charge: the first takes what fits, the last all that is left.

    What goes down is taken off in the other order, so that the sum of charges alone decides where they stand.
    """
    fitting = sorted((each for each in mine if _fits(each, charge)), key=_order)
    if not fitting or charge.due == 0:
        return []
    found, rest = [], charge.due
    for each in fitting if rest > 0 else fitting[::-1]:
        reached = ledger.reached[each["commitment_id"]]
        is_last = each is (fitting[-1] if charge.due > 0 else fitting[0])
        room = max(0, _amount(each, view) - reached) if rest > 0 else min(0, -reached)
        part = rest if is_last else (min(rest, room) if rest > 0 else max(rest, room))
        if part:
            found.append((each, part))
        rest -= part
        if rest == 0:
            break
    return found


def _fits(each: Commitment, charge: ChargeSum) -> bool:
    in_term = micros(each["from"]) <= charge.charge_time < micros(each["to"])
    skus = each.get("sku_ids") or ["*"]
    return in_term and each["currency"] == charge.currency and ("*" in skus or charge.sku_id in skus)


def _moved(
    account: str, period: Period, charge: ChargeSum, each: Commitment, moved: int, view: View, ledger: Ledger
) -> list[Entry]:
    before = ledger.reached[each["commitment_id"]]
    after = before + moved
    ledger.reached[each["commitment_id"]] = after
    promised, factor = _amount(each, view), number(each.get("overage_factor"), 1)
    found = []
    over = q12((factor - 1) * Fraction(max(0, after - promised), PICOS))
    over -= q12((factor - 1) * Fraction(max(0, before - promised), PICOS))
    if each.get("paid_up_front"):
        covered = min(after, promised) - min(before, promised)
        if covered:
            entry = _entry("COVER", account, period, charge.charge_time, each, -covered)
            found.append(replace(entry, effective=0, **_about(charge)))
            charge.due -= covered
    if over:
        entry = _entry("OVERAGE", account, period, charge.charge_time, each, over)
        found.append(replace(entry, **_about(charge)))
        charge.due += over
    return found


def _about(charge: ChargeSum) -> dict[str, Any]:
    return {"sku_id": charge.sku_id, "event_id": charge.event_id, "usage": charge.usage, "project": charge.project,
            "charge_class": charge.charge_class}  # fmt: skip


def _true_up(
    account: str, period: Period, each: Commitment, view: View, charges: list[ChargeSum], ledger: Ledger
) -> list[Entry]:
    """At the close of the term's last period; what late charges change of it at a later one."""
    name, last = each["commitment_id"], micros(each["to"]) - 1
    is_late = name in ledger.true_ups
    if not is_late and not period.start <= last < period.end:
        return []
    usage = ledger.ended.setdefault(name, period)
    owed = max(0, _amount(each, view) - ledger.reached[name])
    change = owed - ledger.true_ups.get(name, 0)
    ledger.true_ups[name] = owed
    if change == 0:
        return []
    is_paid = bool(each.get("paid_up_front"))
    entry = _entry("TRUE_UP", account, period, last, each, 0 if is_paid else change)
    entry = replace(entry, effective=change if is_paid else None, usage=usage)
    charge_class = "CORRECTION" if is_late else None
    charges.append(ChargeSum(None, None, None, last, usage, entry.currency, entry.billed_cost, is_minimum=True,
                             commitment=name, charge_class=charge_class))  # fmt: skip
    return [replace(entry, charge_class=charge_class)]


def account_minimum(account: str, period: Period, view: View, charges: list[ChargeSum], ledger: Ledger) -> list[Row]:
    """max(0, M - all entries of the period before credits), and what late entries changed of closed ones."""
    promised = [view.accounts.facts(account, time).minimum for time in day_ends(period)]
    # An account without a billing currency has that of what it used, else of what it promised or was given.
    named = view.accounts.facts_at_close(account, period).billing_currency
    terms = [*view.accounts.commitments(account), *view.accounts.credits(account)]
    used = [charge.currency for charge in charges if charge.commitment is None]
    currency = named or next(iter([*used, *(each["currency"] for each in terms)]), None)
    if any(each is not None for each in promised) and currency is not None:
        total = sum((each for each in promised if each is not None), Fraction(0))
        ledger.minimums[period] = (q12(total / period.days), 0, currency)
    rows: dict[str, list[Entry]] = defaultdict(list)
    for usage, (minimum, booked, currency) in sorted(ledger.minimums.items()):
        change = max(0, minimum - ledger.usage[usage, currency]) - booked
        if change == 0:
            continue
        ledger.minimums[usage] = (minimum, booked + change, currency)
        entry = Entry("TRUE_UP", account, period, usage.end - 1, currency, 0, billed=change, is_minimum=True)
        charge_class = None if usage == period else "CORRECTION"
        rows[currency].append(replace(entry, charge_class=charge_class))
        charges.append(ChargeSum(None, None, None, usage.end - 1, usage, currency, change, is_minimum=True,
                                 charge_class=charge_class))  # fmt: skip
    about = {"billing_account_id": account, "account_minimum": True}
    return [Row(account, period, each, tuple(entries), scope=about) for each, entries in rows.items()]


def _entry(kind: str, account: str, period: Period, time: int, each: Commitment, billed: int) -> Entry:
    return Entry(kind, account, period, time, each["currency"], 0, billed=billed)
