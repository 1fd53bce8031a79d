"""The independent oracle: what must become of each record, worked out one at a time with exact fractions.

It shares no rule with the pricer: not the decoder, not the hashes, not the selection of rates, not the arithmetic.
"""

import hashlib
import io
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import fastavro

from chargeline.verify.cards import Cards, Rate
from chargeline.verify.events import COUNTED, LEAVES, Dead, Rules, SchemaOf, read_event
from chargeline.wire._generated import GOVERNANCE_RECORD_SCHEMA

_GOVERNANCE = fastavro.parse_schema(json.loads(GOVERNANCE_RECORD_SCHEMA))
_PICOS = 10**12
_LIMIT = 10**38
_HORIZON_MS = 7 * 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """One component of a charge, amounts in picounits."""

    leaf: str
    sku_id: str
    sku_price_id: str
    rate_card_id: str
    rate_card_version: int
    consumed: int
    contracted: int
    listed: int


@dataclass(frozen=True)
class Judgement:
    """What must become of a record. `reason` is the code of an UNRATED or DEAD_LETTER one.

    `beyond_horizon`: its identity was charged before, too long ago to be remembered.
    """

    outcome: str
    reason: str | None = None
    event: dict[str, Any] | None = None
    entries: tuple[Entry, ...] = ()
    currency: str | None = None
    match_kind: str = "NONE"
    billing_period: int = 0
    window_start: int = 0
    beyond_horizon: bool = False

    @property
    def contracted(self) -> int:
        return sum(entry.contracted for entry in self.entries)


@dataclass
class Governance:
    """The facts of the log that count, read by its own rules."""

    rules_margin_ms: int
    future_bound_ms: int
    facts: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    last_hash: str = "0" * 64
    _books: dict[int, Cards] = field(default_factory=dict)

    def add(self, value: bytes, append_time: int) -> None:
        record = fastavro.schemaless_reader(io.BytesIO(value[5:]), _GOVERNANCE, None)  # type: ignore[arg-type]
        assert isinstance(record, dict)
        if record["sequence"] == len(self.facts) and record["previous_hash"] == self.last_hash:
            latest = self.facts[-1][0] if self.facts else append_time
            self.facts.append((max(append_time, latest), record["fact"]))
            self.last_hash = hashlib.sha256(value[5:]).hexdigest()

    def visible(self, append_time: int) -> int:
        return sum(recorded + self.rules_margin_ms <= append_time for recorded, _ in self.facts)

    def cards(self, count: int) -> Cards:
        if count not in self._books:
            cards = Cards(self.rules_margin_ms, self.future_bound_ms)
            for recorded, fact in self.facts[:count]:
                if "card" in fact:
                    cards.add(fact["card"], recorded)
            self._books[count] = cards
        return self._books[count]

    def partitions(self) -> int:
        return next(int(fact["partitions"]) for _, fact in self.facts if "partitions" in fact)


class Oracle:
    """Judges the records of one partition in log order."""

    def __init__(self, partition: int, rules: Rules, governance: Governance, schema_of: SchemaOf) -> None:
        self._partition = partition
        self._rules = rules
        self._governance = governance
        self._schema_of = schema_of
        self._known: dict[tuple[str, str, str], tuple[bytes, int]] = {}

    def judge(self, value: bytes | None, append_time: int, *, charged: bool = False) -> Judgement:
        """What must become of the next record.

        `charged`: it has a charge. Beyond the horizon a repeat may be known or not, and a charge makes it known anew.
        """
        try:
            event = read_event(value, self._partition, append_time, self._schema_of, self._rules)
            identity = (event["billing_account_id"], event["source"], event["event_id"])
            content = hashlib.sha256(event.pop("content")).digest()
            priced = self._price(event, append_time)
        except Dead as dead:
            return Judgement("DEAD_LETTER", dead.code)
        known = self._known.get(identity)
        if known is not None and not (charged and append_time - known[1] > _HORIZON_MS):
            return Judgement("DUPLICATE" if known[0] == content else "CONFLICT", event=event)
        self._known[identity] = (content, append_time)
        return priced if known is None else replace(priced, beyond_horizon=True)

    def _price(self, event: dict[str, Any], append_time: int) -> Judgement:
        cards = self._governance.cards(self._governance.visible(append_time))
        kind, chosen = cards.choose(event)
        start, end = billing_period(event["event_time"])
        tokens = {leaf: event["leaves"][leaf] for leaf in LEAVES if event["leaves"][leaf] > 0}
        others = {name: event[name] for name in COUNTED if event[name] > 0}
        extras = sorted(event["extra_quantities"].items(), key=lambda pair: pair[0].encode())
        others |= {name: value for name, value in extras if value > 0}
        total_input = sum(number for leaf, number in tokens.items() if "output" not in leaf)
        base = {
            "event": event,
            "match_kind": kind,
            "billing_period": start,
            "window_start": event["event_time"] // self._rules.window_us * self._rules.window_us,
        }
        counted = set(others) - {"requests"}
        lacking = bool(set(tokens) - set(chosen)) or (not tokens and bool(counted) and not counted & set(chosen))
        if lacking:
            return Judgement("UNRATED", "UNKNOWN_MODEL" if kind == "NONE" else "NO_PRICE", **base)
        priced = [(name, number) for name, number in [*tokens.items(), *others.items()] if name in chosen]
        currencies = {chosen[name][0].card["currency"] for name, _ in priced}
        if len(currencies) > 1:
            return Judgement("UNRATED", "CURRENCY_MISMATCH", **base)
        entries = tuple(
            _entry(name, number, *chosen[name], total_input, end - start, event["sample_weight"])
            for name, number in priced
        )
        if max((abs(sum(entry.contracted for entry in entries)), *map(_size, entries)), default=0) >= _LIMIT:
            raise Dead("AMOUNT_OVERFLOW")
        return Judgement("CHARGED", None, entries=entries, currency=min(currencies, default=None), **base)


def _entry(name: str, quantity: int, rate: Rate, listed: Rate, total_input: int, period_us: int, weight: int) -> Entry:
    number, price = rate.price(total_input)
    units = rate.base_units(period_us)
    list_price = _list_price(rate, listed, total_input, period_us)
    variant = rate.sku.get("variant")
    sku_id = rate.sku["sku_id"]
    extra = name not in LEAVES and name not in COUNTED
    return Entry(
        name,
        sku_id,
        f"{sku_id}/{number}" if variant is None else f"{sku_id}/{variant}/{number}",
        rate.card["id"],
        int(rate.card["version"]),
        quantity * weight * (10**6 if extra else _PICOS),
        _rounded(Fraction(price) * quantity / units) * weight,
        _rounded(list_price * quantity / units) * weight,
    )


def _list_price(rate: Rate, listed: Rate, total_input: int, period_us: int) -> Fraction:
    """For one pricing unit of `rate`, to 18 decimals; the contracted price where the list is in another currency."""
    if listed.card["currency"] != rate.card["currency"]:
        return Fraction(rate.price(total_input)[1])
    price = Fraction(listed.price(total_input)[1]) * rate.base_units(period_us) / listed.base_units(period_us)
    return Fraction(int(price * 10**18 + Fraction(1, 2)), 10**18)


def _size(entry: Entry) -> int:
    return max(entry.contracted, entry.listed, entry.consumed)


def _rounded(amount: Fraction) -> int:
    """To picounits, half away from zero; amounts here are never negative."""
    return int(amount * _PICOS + Fraction(1, 2))


def billing_period(time_us: int) -> tuple[int, int]:
    """The calendar month of an instant, microseconds."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    start = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    end = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return int((start - _EPOCH).total_seconds()) * 1_000_000, int((end - _EPOCH).total_seconds()) * 1_000_000


def money(picos: int) -> Decimal:
    """An amount in its unit, exact to the last digit."""
    return Decimal(f"{picos}E-12")
