"""`state_ports.SpendStore`, `ports.LogWriter` and `ports.Notifier` in memory, for simulations and tests."""

import copy
import json
from collections.abc import Mapping

from chargeline.adapters.memory import MemoryLog
from chargeline.domain.alerts.text import Notification
from chargeline.domain.budgets.spend import Cell, Spend, Totals
from chargeline.domain.rates.card import instant
from chargeline.ports import Headers
from chargeline.state_ports import ApplyOutcome, SpendDelta, SpendHead


class MemorySpendStore:
    """`state_ports.SpendStore`. `documents`: by path, as Redis would answer under `budget:<path>`."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.heartbeat: str | None = None
        self._heads: dict[int, SpendHead] = {}
        self._days: dict[int, dict[Cell, int]] = {}
        self._fives: dict[int, dict[Cell, int]] = {}
        self._paths: dict[int, set[str]] = {}
        self._told: dict[int, dict[str, str]] = {}

    def load(self, partition: int) -> tuple[SpendHead, Spend] | None:
        head = self._heads.get(partition)
        if head is None:
            return None
        days, fives = self._days[partition], self._fives[partition]
        return head, Spend(head.mark, head.complete_from, Totals(days), Totals(fives))

    def apply(self, partition: int, delta: SpendDelta) -> ApplyOutcome:
        head = self._heads.get(partition)
        stored = None if head is None else head.next_offset
        if stored != delta.start:
            is_ahead = delta.start is None or (stored is not None and stored > delta.start)
            return ApplyOutcome.AHEAD if is_ahead else ApplyOutcome.BEHIND
        for totals, cells in ((self._days, delta.days), (self._fives, delta.fives)):
            kept = totals.setdefault(partition, {})
            for cell, picos in cells.items():
                if picos is None:
                    kept.pop(cell, None)
                else:
                    kept[cell] = picos
        self._heads[partition] = delta.head
        return ApplyOutcome.APPLIED

    def replace(self, partition: int, head: SpendHead, spend: Spend) -> None:
        self._heads[partition] = head
        self._days[partition] = dict(spend.days.items())
        self._fives[partition] = dict(spend.fives.items())

    def publish(self, partition: int, documents: Mapping[str, str], next_offset: int) -> None:
        for path, text in documents.items():
            old = self.documents.get(path)
            if old is None or json.loads(old)["next_offset"] <= next_offset:
                self.documents[path] = text
        for path in self._paths.get(partition, set()) - set(documents):
            self.documents.pop(path, None)
        self._paths[partition] = set(documents)

    def told(self, partition: int) -> dict[str, str]:
        return copy.copy(self._told.get(partition, {}))

    def tell(self, partition: int, told: Mapping[str, str | None]) -> None:
        kept = self._told.setdefault(partition, {})
        for name, text in told.items():
            if text is None:
                kept.pop(name, None)
            else:
                kept[name] = text

    def beat(self, updated_at: int) -> None:
        self.heartbeat = json.dumps({"updated_at": instant(updated_at)})

    def lose(self) -> None:
        """As if Redis had been wiped."""
        self.__init__()  # type: ignore[misc]


class MemoryLogWriter:
    """`ports.LogWriter` on a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = ()) -> None:
        self._log.append(topic, partition, key, value, headers)

    def close(self) -> None:
        """Nothing stays open."""


class MemoryNotifier:
    """`ports.Notifier`. `taken`: what it was sent; `fails_with`: raised instead, until it is None."""

    def __init__(self) -> None:
        self.taken: list[Notification] = []
        self.attempts = 0
        self.fails_with: Exception | None = None

    def send(self, notification: Notification) -> None:
        self.attempts += 1
        if self.fails_with is not None:
            raise self.fails_with
        self.taken.append(notification)

    def close(self) -> None:
        """Nothing stays open."""
