"""The independent oracle: what must become of each record of a partition, worked out one at a time, exactly.

It shares no rule with the pricer: not the decoder, not the hashes, not the selection of rates, not the arithmetic. The
rules of rating are in `rating/`; here are what a log adds: raw bytes, visible facts, and the horizon of identities.
"""

import hashlib
import io
import json
from bisect import bisect_right
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from operator import itemgetter
from typing import Any

import fastavro

from chargeline.verify.events import Dead, Rules, SchemaOf, read_event
from chargeline.verify.rating.accounts import Accounts
from chargeline.verify.rating.cards import Cards
from chargeline.verify.rating.charges import View, identity_of
from chargeline.verify.rating.entries import Entry, Row
from chargeline.verify.rating.fx import Rates
from chargeline.verify.rating.judge import Judge, Part
from chargeline.verify.rating.selection import Selector
from chargeline.wire._generated import GOVERNANCE_RECORD_SCHEMA

_GOVERNANCE = fastavro.parse_schema(json.loads(GOVERNANCE_RECORD_SCHEMA))
_HORIZON_MS = 7 * 86_400_000


@dataclass(frozen=True)
class Judgement:
    """What must become of a record. `reason` is the code of an UNRATED or DEAD_LETTER one.

    Attributes:
        beyond_horizon: its identity was charged before, too long ago to be remembered.
        billing_period, window_start: microseconds.
        rows: of `charges`, in their order; the other attributes are about all of them.
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
    rows: tuple["BookedRow", ...] = ()

    @property
    def contracted(self) -> int:
        return sum(entry.contracted for entry in self.entries)


@dataclass(frozen=True)
class BookedRow:
    """One row of `charges`.

    Attributes:
        event: its attributes.
        count: 1: a new event; -1: one is taken back; 0: neither.
        variance: of what a new, sampled event costs, exact; null: not sampled, or UNRATED.
        closed: the object of a close; null: none.
    """

    event: dict[str, Any]
    entries: tuple[Entry, ...]
    reason: str | None
    currency: str | None
    match_kind: str | None
    window_start: int
    count: int
    variance: Fraction | None = None
    closed: Row | None = None

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
    _views: dict[int, View] = field(default_factory=dict)

    def add(self, value: bytes, append_time: int) -> None:
        record = fastavro.schemaless_reader(io.BytesIO(value[5:]), _GOVERNANCE, None)  # type: ignore[arg-type]
        assert isinstance(record, dict)
        if record["sequence"] == len(self.facts) and record["previous_hash"] == self.last_hash:
            latest = self.facts[-1][0] if self.facts else append_time
            self.facts.append((max(append_time, latest), record["fact"]))
            self.last_hash = hashlib.sha256(value[5:]).hexdigest()

    def visible(self, append_time: int) -> int:
        return bisect_right(self.facts, append_time - self.rules_margin_ms, key=itemgetter(0))

    def view(self, count: int) -> View:
        """What the first so many facts say; a published document of accounts replaces the one before it."""
        if count not in self._views:
            cards, accounts = Cards(self.rules_margin_ms, self.future_bound_ms), None
            rates: list[dict[str, Any]] = []
            for recorded, fact in self.facts[:count]:
                if "card" in fact:
                    cards.add(json.loads(fact["card"]), recorded)
                elif "accounts" in fact:
                    accounts = json.loads(fact["accounts"])
                elif "fx_rates" in fact:
                    rates += json.loads(fact["fx_rates"])["rates"]
            facts = Accounts(accounts)
            self._views[count] = View(cards, Selector(cards, facts), facts, Rates(rates))
        return self._views[count]

    def partitions(self) -> int:
        return next(int(fact["partitions"]) for _, fact in self.facts if "partitions" in fact)


class Oracle:
    """Judges the records of one partition in log order."""

    def __init__(self, partition: int, rules: Rules, governance: Governance, schema_of: SchemaOf) -> None:
        self._partition = partition
        self._rules = rules
        self._governance = governance
        self._schema_of = schema_of
        self._judge = Judge(accounts_required=rules.accounts_required)
        self._accepted: dict[tuple[str, str, str], int] = {}  # append time by identity

    def judge(self, value: bytes | None, append_time: int, *, charged: bool = False) -> Judgement:
        """What must become of the next record.

        `charged`: it has a charge. Beyond the horizon a repeat may be known or not, and a charge makes it known anew.
        """
        try:
            event = read_event(value, self._partition, append_time, self._schema_of, self._rules)
            content = hashlib.sha256(event.pop("content")).digest()
            identity = identity_of(event)
            known = self._accepted.get(identity)
            forgotten = known is not None and charged and append_time - known > _HORIZON_MS
            if forgotten:
                del self._judge.state.known[identity]
            view = self._governance.view(self._governance.visible(append_time))
            judged = self._judge.judge(event, append_time * 1000, view, content)
        except Dead as dead:
            return Judgement("DEAD_LETTER", dead.code)
        if judged.row is None:  # a close stands in a row, but makes no identity known
            rows = tuple(self._row(part) for part in judged.parts)
            return Judgement(judged.outcome, judged.reason, event, rows=rows)
        for part in judged.parts:
            self._accepted[identity_of(part.by)] = append_time
        rated = judged.outcome == "CHARGED"
        return Judgement(
            judged.outcome,
            judged.reason,
            event,
            judged.row.entries if rated else (),
            judged.row.currency if rated else None,
            judged.row.match_kind,
            0 if judged.row.period is None else judged.row.period.start,
            event["event_time"] // self._rules.window_us * self._rules.window_us,
            forgotten,
            tuple(self._row(part) for part in judged.parts),
        )

    def _row(self, part: Part) -> BookedRow:
        """A row has the name of the record that makes it and the attributes of the event that it is about."""
        event = part.event
        if part.by is not event:
            event = event | {name: part.by[name] for name in ("event_id", "event_kind", "amends_event_id", "run_id")}
        is_rated = part.row.reason is None
        time = part.event["event_time"]
        return BookedRow(
            event,
            part.row.entries if is_rated else (),
            part.row.reason,
            part.row.currency if is_rated else None,
            part.row.match_kind if part.count > 0 else None,
            time // self._rules.window_us * self._rules.window_us,
            part.count,
            part.row.variance if is_rated and part.count > 0 else None,
            part.row if part.row.scope is not None else None,
        )


def money(picos: int) -> Decimal:
    """An amount in its unit, exact to the last digit."""
    return Decimal(f"{picos}E-12")
