"""The chain of governance facts and what of it an event may see. Pure: a function of the log alone.

A record counts only if its sequence number and its previous hash continue the last one that counted; all others are
ignored by every reader, so two writers at once cannot both win. A fact is visible to a usage record if
recorded_time + margin <= the record's append time (spec/rating.md 1).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from chargeline.domain.accounts import Accounts
from chargeline.domain.accounts_reader import accounts_from_json
from chargeline.domain.budgets.budget import BudgetVersion, budget_from_json
from chargeline.domain.documents import BadDocument
from chargeline.domain.errors import Fault
from chargeline.domain.fx import FxTable
from chargeline.domain.fx_reader import fx_from_json
from chargeline.domain.rates.book import PublishedCard, RateBook
from chargeline.domain.rates.card import RateCard
from chargeline.domain.rates.card_reader import from_json
from chargeline.domain.rates.support import unsupported

GENESIS = "0" * 64


@dataclass(frozen=True)
class InputTopic:
    """How accounts map to partitions; fixed when the topic was created."""

    topic: str
    partitions: int
    partitioner: str


@dataclass(frozen=True)
class UnreadableCard:
    """A card that no publication would have let through: it keeps its place in the chain and prices nothing."""

    rate_card_id: str
    version: int
    text: str


@dataclass(frozen=True)
class UnreadableDocument:
    """Accounts or exchange rates that no publication would have let through: they keep their place and say nothing."""

    text: str


@dataclass(frozen=True)
class AccountsPublished:
    """An accounts document; it replaces the one before it. `file_hash`: hex sha256 of the file."""

    accounts: Accounts
    file_hash: str


@dataclass(frozen=True)
class FxPublished:
    """Exchange rates; they add to those before. `file_hash`: hex sha256 of the file."""

    table: FxTable
    file_hash: str


Body = InputTopic | RateCard | UnreadableCard | AccountsPublished | FxPublished | UnreadableDocument | BudgetVersion
Kind = TypeVar("Kind", InputTopic, RateCard, AccountsPublished, FxPublished, BudgetVersion)
# By the field that only the facts of a kind have.
_KINDS: dict[str, type[Body]] = {
    "card": RateCard,
    "accounts": AccountsPublished,
    "fx_rates": FxPublished,
    "budget_id": BudgetVersion,
    "topic": InputTopic,
}


@dataclass(frozen=True)
class Fact:
    """One accepted record of the chain.

    Attributes:
        recorded_time: its append time in milliseconds.
        kind: what its body is, if that can be read.
        read: what it says; may wait for whoever reads it, and raises Fault for what this version does not know.
    """

    sequence: int
    recorded_time: int
    kind: type[Body]
    read: Callable[[], Body]

    @property
    def body(self) -> Body:
        return self.read()


Reading = Callable[[Callable[[], Body]], Callable[[], Body]]


class GovernanceChain:
    """The accepted facts of the log so far.

    Args:
        reading: returns how to get what a fact says, once it is asked for. A card of thousands of SKUs takes tenths of
            a second: a pricer starts to read it at once, in another thread, while the fact is not visible yet.
    """

    def __init__(self, reading: Reading = cache) -> None:
        self._reading = reading
        self.facts: list[Fact] = []
        self._hashes: list[str] = []
        self._visible: list[int] = []  # non-decreasing: a clock that steps back never hides a fact again

    @property
    def next_sequence(self) -> int:
        return len(self.facts)

    @property
    def last_hash(self) -> str:
        """What the next record must name: the hash of the last one that counts."""
        return self._hashes[-1] if self._hashes else GENESIS

    def hash_of(self, sequence: int) -> str | None:
        """Hex sha256 of the bytes of an accepted record; None: there is none yet."""
        return self._hashes[sequence] if sequence < len(self._hashes) else None

    def add(self, record: Mapping[str, Any], datum: bytes, recorded_time: int) -> bool:
        """Take one decoded record and its bytes without framing; False: it does not continue the chain."""
        if record["sequence"] != self.next_sequence or record["previous_hash"] != self.last_hash:
            return False
        fact = record["fact"]
        kind = next(kind for field, kind in _KINDS.items() if field in fact)
        self.facts.append(Fact(record["sequence"], recorded_time, kind, self._reading(partial(_body, fact, kind))))
        self._hashes.append(hashlib.sha256(datum).hexdigest())
        self._visible.append(max(recorded_time, self._visible[-1] if self._visible else recorded_time))
        return True

    def visible_count(self, append_times: npt.NDArray[np.int64], margin_ms: int) -> npt.NDArray[np.int64]:
        """How many facts, from the first on, each record may see."""
        return np.searchsorted(np.array(self._visible, np.int64) + margin_ms, append_times, "right")

    def of(self, kind: type[Kind], count: int | None = None) -> Iterator[tuple[Fact, Kind]]:
        """The facts of a kind among the first `count` (None: all), in the order of the log; no other one is read."""
        for fact in self.facts[:count]:
            if fact.kind is kind and isinstance(body := fact.body, kind):
                yield fact, body

    def cards(self, count: int | None = None) -> list[PublishedCard]:
        """The rate cards among the first `count` facts (None: all)."""
        return [PublishedCard(card, fact.recorded_time, fact.sequence) for fact, card in self.of(RateCard, count)]

    def accounts(self, count: int | None = None) -> Accounts:
        """What the newest accounts document among the first `count` facts says (None: all facts)."""
        published = [document.accounts for _, document in self.of(AccountsPublished, count)]
        return published[-1] if published else Accounts()

    def budgets(self, count: int | None = None) -> list[BudgetVersion]:
        """All versions of budgets among the first `count` facts, in the order of the log (None: all facts)."""
        return [version for _, version in self.of(BudgetVersion, count)]

    def fx(self, count: int | None = None) -> FxTable:
        """All exchange rates among the first `count` facts, in the order of the log (None: all facts)."""
        return FxTable(tuple(rate for _, document in self.of(FxPublished, count) for rate in document.table.rates))

    def book(self, count: int, *, margin_ms: int, future_bound_ms: int) -> RateBook:
        """The rates that an event sees that may see `count` facts."""
        return RateBook(self.cards(count), margin_ms=margin_ms, future_bound_ms=future_bound_ms)

    def input_topic(self) -> InputTopic:
        """How accounts map to partitions. Raises Fault if the log does not say."""
        for _, topic in self.of(InputTopic):
            return topic
        raise Fault("governance-log does not say how usage-events is partitioned: create the topics with chargeline up")


def _body(fact: Mapping[str, Any], kind: type[Body]) -> Body:
    """What a fact of a kind says. Raises Fault for what this version cannot price yet."""
    if kind is InputTopic:
        return InputTopic(fact["topic"], fact["partitions"], fact["partitioner"])
    if kind is RateCard:
        return _card(fact)
    try:
        if kind is AccountsPublished:
            return AccountsPublished(accounts_from_json(fact["accounts"]), fact["file_hash"])
        if kind is FxPublished:
            return FxPublished(fx_from_json(fact["fx_rates"]), fact["file_hash"])
        return _budget(fact)
    except BadDocument:
        return UnreadableDocument(fact.get("accounts") or fact.get("fx_rates") or fact["budget"])


def _budget(fact: Mapping[str, Any]) -> BudgetVersion:
    budget = None if fact["budget"] is None else budget_from_json(fact["budget"])
    return BudgetVersion(fact["budget_id"], fact["effective_from"], budget)


def _card(fact: Mapping[str, Any]) -> RateCard | UnreadableCard:
    try:
        card = from_json(fact["card"])
    except BadDocument:
        return UnreadableCard(fact["rate_card_id"], fact["rate_card_version"], fact["card"])
    missing = next((what for sku in card.skus if (what := unsupported(sku, card)) is not None), None)
    if missing is not None:
        # Left out, its events would be priced without it for good: rather stop until the software is newer.
        raise Fault(f"governance-log holds a rate card that needs a newer version: {card.rate_card_id}, {missing}")
    return card
