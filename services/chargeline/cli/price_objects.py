"""The output objects of `chargeline price`, spelled as spec/formats.md 6 says: plain decimals, every key there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chargeline.cli.price_events import Block
from chargeline.domain.accounts import Accounts
from chargeline.domain.closing.entries import Booked, Scope
from chargeline.domain.money import plain, plain_picos, rounded
from chargeline.domain.periods import billing_period
from chargeline.domain.rates.card import RateCard, Sku, instant
from chargeline.domain.rating.booked_entries import BookedEntry
from chargeline.pricer.account_close import ClosedScope
from chargeline.pricer.log_records import Answer, Answers
from chargeline.wire.charge_lines import is_plain
from chargeline.wire.event_rows import EventRow, event_rows, steps

_EIGHTEEN = 10**18
Object = dict[str, Any]
PLATFORM = "platform"  # the account that bears what is waived
Skus = Mapping[tuple[Any, ...], tuple[RateCard, Sku]]  # by card, version, sku_id, variant


def answer_object(event_id: str | None, answer: Answer) -> Object:
    """What became of one line."""
    if answer.row is None:
        return without_charge(event_id, answer.outcome, answer.reason)
    return row_object(event_id, answer.outcome, answer.row)


def single_objects(block: Block, answers: Answers) -> Iterator[tuple[int, str, Object]]:
    """(place in the block, account or "", object) of the lines that are not written in columns."""
    for table in answers.tables:
        odd = ~is_plain(table)
        for row in event_rows(table.filter(pa.array(odd))) if odd.any() else ():
            found = row_object(row.identity[2], "UNRATED" if row.reason else "CHARGED", row)
            yield row.offset - block.start, row.identity[0], found
    for offset, code in block.bad.items():
        place = offset - block.start
        yield place, "", without_charge(block.names[place].as_py(), "DEAD_LETTER", code)
    for offset, answer in answers.single.items():
        place = offset - block.start
        account = "" if answer.row is None else answer.row.identity[0]
        yield place, account, answer_object(block.names[place].as_py(), answer)


def counted(account: str, found: Object, totals: "Totals") -> Object:
    """The object of a line, which the totals have now."""
    totals.count(found["outcome"])
    if found["billing_currency"] is not None:
        totals.add_object(account, found)
    return found


def row_object(event_id: str | None, outcome: str, row: EventRow) -> Object:
    """A line that was charged, or is kept unrated."""
    is_priced = row.reason is None
    cost = plain_picos(sum(entry.contracted_cost for entry in row.entries)) if is_priced else None
    found: Object = {
        "event_id": event_id,
        "outcome": outcome,
        "reason": row.reason,
        "billing_period": instant(row.period[0]),
        "contracted_cost": cost,
        "billed_cost": cost,
        "billing_currency": row.currency if is_priced else None,
        "entries": [entry_object(entry) for entry in row.entries] if is_priced else [],
    }
    if row.cost_variance is not None and is_priced:
        found["cost_variance"] = plain(row.cost_variance)
    return found


def without_charge(event_id: str | None, outcome: str, reason: str | None) -> Object:
    """A line that books nothing."""
    costs = {"billing_period": None, "contracted_cost": None, "billed_cost": None, "billing_currency": None}
    return {"event_id": event_id, "outcome": outcome, "reason": reason, **costs, "entries": []}


def entry_object(entry: BookedEntry) -> Object:
    """One entry; what only some entries have stands behind what all have. Of what is waived the owner pays nothing."""
    is_waived, price = entry.waived_cost is not None, entry.contracted_unit_price
    found: Object = {
        "entry_kind": entry.entry_kind,
        "sku_id": entry.sku_id,
        "sku_price_id": entry.sku_price_id,
        "rate_card_id": entry.rate_card_id,
        "rate_card_version": entry.rate_card_version,
        "leaf": entry.leaf,
        "pricing_quantity": None if entry.pricing_quantity is None else plain_picos(entry.pricing_quantity),
        "pricing_unit": entry.pricing_unit,
        "list_unit_price": _price(entry.list_unit_price),
        "contracted_unit_price": _price(0 if is_waived and price is not None else price),
        "contracted_cost": plain_picos(entry.contracted_cost),
        "list_cost": plain_picos(entry.list_cost),
    }
    if entry.fx_rate is not None:
        pricing_cost = 0 if is_waived else entry.pricing_cost
        found |= {"pricing_currency": entry.pricing_currency, "pricing_cost": plain_picos(pricing_cost),
                  "fx_rate": _price(entry.fx_rate)}  # fmt: skip
    if entry.charge_class is not None:
        found["charge_class"] = entry.charge_class
    if entry.pool is not None:
        found["pool"] = entry.pool
    if entry.waived_cost is not None:
        found["waived_cost"] = plain_picos(entry.waived_cost)
    if entry.estimated:
        found["estimated"] = True
    return found


@dataclass(frozen=True)
class WaivedScope:
    """What the platform's own account pays of failed requests: entries with the event_id of each."""

    period: int
    currency: str | None
    sku_id: str
    variant: str | None
    entries: tuple[tuple[str, BookedEntry], ...]


def waived_scopes(waived: Iterable[tuple[int, str, str | None, BookedEntry]], accounts: Accounts) -> list[WaivedScope]:
    """One scope for each period, SKU and currency, in this order; its entries in log order."""
    groups: dict[tuple[Any, ...], list[tuple[str, BookedEntry]]] = {}
    for _, event_id, currency, entry in sorted(waived, key=lambda each: each[0]):
        time = entry.charge_time
        start, _ = billing_period(time, accounts.at(PLATFORM, time).billing_cycle_day)
        groups.setdefault((start, entry.sku_id, entry.variant, currency), []).append((event_id, entry))

    def place(key: tuple[Any, ...]) -> tuple[Any, ...]:
        return key[0], key[1].encode(), (key[2] or "").encode(), key[3] or ""

    return [WaivedScope(key[0], key[3], key[1], key[2], tuple(groups[key])) for key in sorted(groups, key=place)]


def scope_object(closed: ClosedScope | WaivedScope, skus: Skus) -> Object:
    """What was booked for one scope."""
    if isinstance(closed, WaivedScope):
        return _waived_object(closed)
    is_priced = closed.reason is None
    contracted, billed = (sum(costs) for costs in _costs(closed.entries))
    return {
        "scope": {"billing_account_id": closed.account, **_scope_names(closed.scope)},
        "outcome": "CHARGED" if is_priced else "UNRATED",
        "reason": closed.reason,
        "billing_period": instant(closed.period[0]),
        "contracted_cost": plain_picos(contracted) if is_priced else None,
        "billed_cost": plain_picos(billed) if is_priced else None,
        "billing_currency": closed.currency if is_priced else None,
        "entries": [_closing_entry(entry, closed.currency, skus) for entry in closed.entries],
    }


def _waived_object(waived: WaivedScope) -> Object:
    cost = plain_picos(sum(entry.waived_cost or 0 for _, entry in waived.entries))
    names = _scope_names(Scope(waived.sku_id, waived.variant))
    shown = [
        entry_object(replace(entry, contracted_cost=entry.waived_cost or 0, waived_cost=None, charge_class=None))
        | {"event_id": event_id}
        for event_id, entry in waived.entries
    ]
    return {
        "scope": {"billing_account_id": PLATFORM, **names},
        "outcome": "CHARGED",
        "reason": None,
        "billing_period": instant(waived.period),
        "contracted_cost": cost,
        "billed_cost": cost,
        "billing_currency": waived.currency,
        "entries": shown,
    }


def _costs(entries: Sequence[Booked]) -> tuple[list[int], list[int]]:
    return [each.contracted_cost for each in entries], [each.billed_cost for each in entries]


def _scope_names(scope: Scope) -> Object:
    if scope.subscription_id is not None:
        return {"subscription_id": scope.subscription_id}
    if scope.commitment_id is not None:
        return {"commitment_id": scope.commitment_id}
    if scope.grant_id is not None:
        return {"grant_id": scope.grant_id}
    if scope.account_minimum:
        return {"account_minimum": True}
    start = None if scope.window_start is None else instant(scope.window_start)
    return {"sku_id": scope.sku_id, "variant": scope.variant, "by": dict(scope.by), "window_start": start}


def _closing_entry(entry: Booked, currency: str | None, skus: Skus) -> Object:
    rate = entry.rate
    card_sku = None if rate is None else skus[(rate.rate_card_id, rate.rate_card_version, rate.sku_id, rate.variant)]
    price = None if entry.unit_price is None else plain(rounded(entry.unit_price, 18))
    is_fee = entry.entry_kind == "TIER_FLAT"
    has_price = entry.sku_price_id is not None and rate is not None
    found: Object = {
        "entry_kind": entry.entry_kind,
        "sku_id": entry.sku_id,
        "sku_price_id": entry.sku_price_id if rate is not None else None,
        "rate_card_id": None if rate is None else rate.rate_card_id,
        "rate_card_version": None if rate is None else rate.rate_card_version,
        "leaf": None if card_sku is None else card_sku[1].measures or None,
        "pricing_quantity": None if entry.pricing_quantity is None else plain_picos(entry.pricing_quantity),
        "pricing_unit": None if not has_price or rate is None else "Fees" if is_fee else rate.pricing_unit,
        "list_unit_price": price,
        "contracted_unit_price": price,
        "contracted_cost": plain_picos(entry.contracted_cost),
        "list_cost": plain_picos(entry.contracted_cost),
    }
    if rate is None:
        found["billed_cost"] = plain_picos(entry.billed_cost)
    if entry.effective_cost != entry.billed_cost and entry.entry_kind != "FORFEIT":
        found["effective_cost"] = plain_picos(entry.effective_cost)
    if rate is not None and card_sku is not None and currency not in (None, card_sku[0].currency):
        found |= {"pricing_currency": card_sku[0].currency, "pricing_cost": plain_picos(entry.pricing_cost or 0),
                  "fx_rate": plain(rounded(rate.fx, 18))}  # fmt: skip
    if entry.entry_kind == "FORFEIT":
        found |= {"pricing_quantity": plain_picos(entry.credit_amount), "pricing_unit": currency}
    if entry.charge_class is not None:
        found["charge_class"] = entry.charge_class
    if entry.event_id is not None:
        found["event_id"] = entry.event_id
    return found


def _price(steps: int | None) -> str | None:
    """A unit price in 1e-18 steps as a plain decimal."""
    if steps is None:
        return None
    whole, rest = divmod(abs(steps), _EIGHTEEN)
    return plain(Decimal(f"{'-' if steps < 0 else ''}{whole}.{rest:018d}"))


class Totals:
    """The last line: sums by account and billing currency, and counts of the outcomes of input lines."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[int]]] = {}
        self._outcomes: dict[str, int] = {}

    def count(self, outcome: str, lines: int = 1) -> None:
        """Lines that had an outcome."""
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + lines

    def add(self, account: str, currency: str, contracted: int, billed: int) -> None:
        """Picounits that an object comes to."""
        sums = self._sums.setdefault(account, {}).setdefault(currency, [0, 0])
        sums[0] += contracted
        sums[1] += billed

    def add_object(self, account: str, found: Object) -> None:
        """The costs of a written object."""
        costs = (picos_of(found["contracted_cost"]), picos_of(found["billed_cost"]))
        self.add(account, found["billing_currency"], *costs)

    def add_scope(self, found: Object) -> None:
        """The costs of what a close booked for a scope."""
        if found["billing_currency"] is not None:
            self.add_object(found["scope"]["billing_account_id"], found)

    def add_table(self, table: pa.Table) -> None:
        """Outcomes and costs of rows in columns."""
        outcome = table.column("outcome") if "outcome" in table.schema.names else pa.repeat("CHARGED", table.num_rows)
        rows = pa.table(
            {
                "outcome": pc.fill_null(pc.cast(outcome, pa.string()), "CHARGED"),
                "account": table.column("billing_account_id").cast(pa.string()),
                "currency": table.column("billing_currency").cast(pa.string()),
                "cost": table.column("contracted_cost"),
            }
        )
        sums = rows.group_by(["outcome", "account", "currency"]).aggregate(
            [("cost", "sum"), ("cost", "count"), ([], "count_all")]
        )
        for row in sums.to_pylist():
            self.count(row["outcome"], row["count_all"])
            if row["currency"] is not None and row["outcome"] == "CHARGED":
                cost = steps(row["cost_sum"])
                self.add(row["account"], row["currency"], cost, cost)

    def line(self) -> Object:
        """The last line."""
        return {
            "totals": {
                account: {
                    currency: {"contracted_cost": plain_picos(contracted), "billed_cost": plain_picos(billed)}
                    for currency, (contracted, billed) in sorted(by_currency.items())
                }
                for account, by_currency in sorted(self._sums.items())
            },
            "outcomes": dict(sorted(self._outcomes.items())),
        }


def picos_of(text: str) -> int:
    """Picounits of a plain amount."""
    whole, _, rest = text.removeprefix("-").partition(".")
    size = int(whole) * 10**12 + int(rest.ljust(12, "0"))
    return -size if text.startswith("-") else size
