"""`chargeline price` as the slow reference works it out: a document of results for a file of events.

Source: spec/formats.md, section 6.
"""

from collections import Counter, defaultdict
from typing import Any

from chargeline.verify.events import Dead
from chargeline.verify.rating.accounts import Accounts
from chargeline.verify.rating.cards import Cards
from chargeline.verify.rating.charges import View, identity_of
from chargeline.verify.rating.entries import Entry, Row
from chargeline.verify.rating.fx import Rates
from chargeline.verify.rating.judge import Judge
from chargeline.verify.rating.numbers import money
from chargeline.verify.rating.records import event_id_of, read_record
from chargeline.verify.rating.selection import Selector

_CONTROL_SOURCES = frozenset({"chargeline"})


def view_of(cards: list[dict[str, Any]], accounts: dict[str, Any] | None, fx: list[dict[str, Any]] | None) -> View:
    """The facts of parsed documents, all of them visible."""
    book, facts = Cards(), Accounts(accounts)
    for card in cards:
        book.add(card)
    return View(book, Selector(book, facts), facts, Rates(fx))


def price_document(
    cards: list[dict[str, Any]],
    accounts: dict[str, Any] | None,
    fx: list[dict[str, Any]] | None,
    events: list[Any],
    close_period: bool = False,
    *,
    accounts_required: bool = False,
) -> list[dict[str, Any]]:
    """Prices events in order, and closes at the end every period they touched if that is wanted.

    Args:
        cards, accounts, fx: parsed documents with numbers as texts or integers.
        accounts_required: an event of an account without facts is UNRATED.
        events: parsed lines; what is no object (null for a line that is no JSON) is MALFORMED.

    Returns:
        The output objects: of the events in their order, then of the scopes, then the totals.
    """
    view = view_of(cards, accounts, fx)
    judge = Judge(accounts_required=accounts_required)
    results = [_result(document, judge, view) for document in events]
    outcomes = Counter(result["outcome"] for result in results)
    if close_period:
        for period, account in sorted((period, account) for account, period in judge.state.touched):
            judge.close(account, period, view)
    rows = _waived(judge.state.log) + judge.state.closings
    results += [row.written("UNRATED" if row.reason else "CHARGED", None) for row in rows]
    accounts_of = [event_account(document) for document in events] + [row.account for row in rows]
    return [*results, {"totals": _totals(results, accounts_of), "outcomes": dict(sorted(outcomes.items()))}]


def event_account(document: Any) -> str:
    name = document.get("billing_account_id") if isinstance(document, dict) else None
    return name if isinstance(name, str) else ""


def _result(document: Any, judge: Judge, view: View) -> dict[str, Any]:
    name = event_id_of(document)
    try:
        event = read_record(document, _CONTROL_SOURCES)
        judged = judge.judge(event, event["event_time"], view, event)
    except Dead as dead:
        return _without_charge(name, "DEAD_LETTER", dead.code)
    if event["event_kind"] not in ("PERIOD_CLOSE", "RERATE"):
        judge.touch(event, view)
    if judged.row is None:
        return _without_charge(name, judged.outcome, judged.reason)
    return judged.row.written(judged.outcome, identity_of(event)[2])


def _without_charge(event_id: str | None, outcome: str, reason: str | None) -> dict[str, Any]:
    costs = {"billing_period": None, "contracted_cost": None, "billed_cost": None, "billing_currency": None}
    return {"event_id": event_id, "outcome": outcome, "reason": reason, **costs, "entries": []}


def _waived(log: list[Row]) -> list[Row]:
    """What the platform's own account pays of failed requests: one object for each period and SKU."""
    found: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for row in log:
        for entry in row.foreign:
            key = (entry.period, (entry.sku_id or "").encode(), (entry.variant or "").encode(), entry.currency)
            found[key].append(entry)
    rows = []
    for _, entries in sorted(found.items()):
        first = entries[0]
        about: dict[str, Any] = {"billing_account_id": first.account, "sku_id": first.sku_id, "variant": first.variant}
        about |= {"by": {}, "window_start": None}
        rows.append(Row(first.account, first.period, first.currency, tuple(entries), scope=about))
    return rows


def _totals(results: list[dict[str, Any]], accounts: list[str]) -> dict[str, Any]:
    sums: dict[str, dict[str, list[int]]] = {}
    for result, account in zip(results, accounts, strict=True):
        currency = result["billing_currency"]
        if currency is not None:
            both = sums.setdefault(account, {}).setdefault(currency, [0, 0])
            both[0] += picos(result["contracted_cost"])
            both[1] += picos(result["billed_cost"])
    return {
        account: {
            currency: {"contracted_cost": money(contracted), "billed_cost": money(billed)}
            for currency, (contracted, billed) in sorted(by_currency.items())
        }
        for account, by_currency in sorted(sums.items())
    }


def picos(text: str) -> int:
    """Picounits of a plain amount."""
    whole, _, rest = text.removeprefix("-").partition(".")
    size = int(whole) * 10**12 + int(rest.ljust(12, "0"))
    return -size if text.startswith("-") else size
