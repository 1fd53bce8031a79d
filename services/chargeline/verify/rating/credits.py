"""Credits at the close of a period: which grant pays what, and what expires.

Source: spec/rating.md, section 9.
"""

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import Any

from chargeline.verify.rating.charges import View
from chargeline.verify.rating.entries import Entry, Row
from chargeline.verify.rating.ledger import ChargeSum, Draw, Ledger
from chargeline.verify.rating.numbers import PICOS, number, q12
from chargeline.verify.rating.times import Period, micros, open_micros

Grant = dict[str, Any]
Entries = dict[str, list[Entry]]
_NEVER = 1 << 63


def draw_credits(account: str, period: Period, view: View, charges: list[ChargeSum], ledger: Ledger) -> list[Row]:
    """COVER and CREDIT entries of the charges in log order, then FORFEIT entries; one object for each grant."""
    grants = sorted(view.accounts.credits(account), key=_order)
    entries: dict[str, list[Entry]] = defaultdict(list)
    for charge in charges:
        if charge.due > 0:
            _draw(account, period, charge, grants, ledger, entries)
        elif charge.due < 0:
            _give_back(account, period, charge, grants, ledger, entries)
    rows = []
    for grant in grants:
        name = grant["grant_id"]
        found = entries[name] + _forfeit(account, period, grant, ledger)
        if found:
            about = {"billing_account_id": account, "grant_id": name}
            rows.append(Row(account, period, grant["currency"], tuple(found), scope=about))
    return rows


def _order(grant: Grant) -> tuple[object, ...]:
    """Priority, then what expires first, then what began first, then the id."""
    return (int(number(grant.get("priority"))), _end(grant), micros(grant["effective_at"]), grant["grant_id"].encode())


def _end(grant: Grant) -> int:
    end = open_micros(grant.get("expires_at"))
    return _NEVER if end is None else end


def _rest(grant: Grant, ledger: Ledger) -> int:
    return q12(number(grant["amount"])) - ledger.drawn[grant["grant_id"]]


def _fits(grant: Grant, charge: ChargeSum) -> bool:
    skus = grant.get("sku_ids") or ["*"]
    return (
        micros(grant["effective_at"]) <= charge.charge_time < _end(grant)
        and grant["currency"] == charge.currency
        and ("*" in skus or charge.sku_id in skus)
        and (not charge.is_minimum or bool(grant.get("covers_minimum")))
    )


def _draw(
    account: str, period: Period, charge: ChargeSum, grants: list[Grant], ledger: Ledger, entries: Entries
) -> None:
    for grant in grants:
        name = grant["grant_id"]
        used = min(charge.due, _rest(grant, ledger))
        if name in ledger.forfeited or used <= 0 or not _fits(grant, charge):
            continue
        ledger.drawn[name] += used
        ledger.draws.append(Draw(charge.origin, charge.sku_id, charge.place, name, used))
        charge.due -= used
        entries[name].append(_entry(account, period, charge, grant, -used))


def _give_back(
    account: str, period: Period, charge: ChargeSum, grants: list[Grant], ledger: Ledger, entries: Entries
) -> None:
    """A negative charge fills the grants again that its event drew on, last drawn first.

    Without an event: those that the SKU and project drew on in the period that it is about.
    """
    by_name = {grant["grant_id"]: grant for grant in grants}
    for at in range(len(ledger.draws) - 1, -1, -1):
        draw = ledger.draws[at]
        is_its = (draw.origin, draw.sku_id) == (charge.origin, charge.sku_id)
        if charge.origin is None:
            is_its = draw.place == charge.place
        if not is_its or draw.grant_id not in by_name or draw.amount == 0:
            continue
        back = min(-charge.due, draw.amount)
        ledger.draws[at] = replace(draw, amount=draw.amount - back)
        ledger.drawn[draw.grant_id] -= back
        charge.due += back
        entries[draw.grant_id].append(_entry(account, period, charge, by_name[draw.grant_id], back))
        if charge.due == 0:
            return


def _entry(account: str, period: Period, charge: ChargeSum, grant: Grant, billed: int) -> Entry:
    is_prepaid = grant["kind"] == "prepaid"
    entry = Entry("COVER" if is_prepaid else "CREDIT", account, period, charge.charge_time, charge.currency, 0)
    return replace(
        entry,
        billed=billed,
        effective=0 if is_prepaid else None,
        sku_id=charge.sku_id,
        event_id=charge.event_id,
        project=charge.project,
        charge_class=charge.charge_class,
    )


def _forfeit(account: str, period: Period, grant: Grant, ledger: Ledger) -> list[Entry]:
    """The rest of a grant, at the close of the period that holds its last instant, and what comes back later.

    No late event of an open period can use it any more. It costs nothing.
    """
    rest, name = _rest(grant, ledger), grant["grant_id"]
    if period.start < _end(grant) <= period.end:
        ledger.forfeited.add(name)
    if rest <= 0 or name not in ledger.forfeited:
        return []
    ledger.drawn[name] += rest
    entry = Entry("FORFEIT", account, period, _end(grant) - 1, grant["currency"], 0, billed=0)
    return [replace(entry, pricing_quantity=Fraction(rest, PICOS), pricing_unit=grant["currency"])]
