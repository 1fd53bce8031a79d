"""Steps 1 and 2 of the commit protocol, and what of 3 to 5 needs no state: units ready to be booked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from chargeline.adapters.governance import GovernanceReader
from chargeline.domain.errors import Fault
from chargeline.domain.rating.rate_table import RateTable
from chargeline.domain.usage import no_usage
from chargeline.ports import Clock, LogBatch, LogConsumer
from chargeline.pricer.compute import Prepared, Rules, prepare
from chargeline.pricer.facts import Facts, rate_table
from chargeline.pricer.observer import Observer
from chargeline.pricer.overlap import Coming, Later

INPUT = "usage-events"
_FRESH_S = 0.05


@dataclass(frozen=True)
class Limits:
    """Bounds of a commit unit and of what may be in flight."""

    unit_records: int = 100_000
    unit_bytes: int = 64_000_000
    # Judging one takes half a millisecond, several where it is priced alone, in which nothing else of the process is
    # billed, and 50 kB; those that wait are named in a message's headers, at most 45 bytes each beside 0.9 of 1 MiB.
    unit_corrections: int = 1_000
    poll_s: float = 0.2
    trailing_units: int = 8
    identities_max: int = 200_000_000
    live_ttl_s: int = 7200
    dedupe_horizon_ms: int = 7 * 86_400_000
    margin_ms: int = 10_000


@dataclass(frozen=True)
class Part:
    """The records of one partition, decoded and priced.

    Attributes:
        governance_sequence: the newest fact visible to them; `facts`: what corrections see of those.
    """

    batch: LogBatch
    prepared: Prepared
    governance_sequence: int
    facts: Facts


@dataclass(frozen=True)
class Unit:
    """What one transaction will hold, by partition.

    Attributes:
        group_metadata: the membership when it was read.
    """

    parts: dict[int, Part]
    group_metadata: object


@dataclass(frozen=True)
class _Polled:
    batches: dict[int, LogBatch]
    group_metadata: object


@dataclass
class Intake:
    """Where units come from."""

    consumer: LogConsumer
    governance: GovernanceReader
    clock: Clock
    schema_of: Callable[[int], str | None]
    rules: Rules
    limits: Limits
    observer: Observer = field(default_factory=Observer)
    make_ahead: Callable[[Callable[[], RateTable]], Coming[RateTable]] = Later

    def __post_init__(self) -> None:
        self._rebalances = 0
        self._spans: dict[int, int] = {}  # by partition, records that the next unit looks at, where fewer than may be
        self._waiting: _Polled | None = None
        self._tables: dict[int, Coming[RateTable]] = {}
        self._seen: Facts | None = None

    def next(self) -> Unit | None:
        """The next unit; may block for as long as a poll, or until the governance view is fresh. None: no records.

        Raises:
            TransientError: Kafka or the registry is away; the same records come again, never any past them.
        """
        self.observer.began()
        polled = self._poll()
        if polled is None:
            return None
        self.observer.did("poll")
        self._waiting = polled
        unit, later = self._visible_part(polled)
        self.observer.did("fresh")
        parts = {partition: self._prepare(batch) for partition, batch in unit.batches.items()}
        parts, later = self._bounded(parts, later, unit.group_metadata)
        oldest = min(part.governance_sequence for part in parts.values()) + 1
        self._tables = {count: table for count, table in self._tables.items() if count >= oldest}
        self.observer.did("prepare")
        self._waiting = later
        return Unit(parts, unit.group_metadata)

    def forget(self) -> None:
        """Drop what was read and not handed out: it will be read again."""
        self._waiting = None

    def rebalanced(self) -> None:
        """Called by whoever hears of it, inside a poll: what was read under a membership that ended is void."""
        self._rebalances += 1
        self.forget()

    # 1.
    def _poll(self) -> _Polled | None:
        waiting, rebalances = self._waiting, self._rebalances
        # What waits may take minutes: a member that did not poll meanwhile would lose its partitions.
        most, timeout_s = (self.limits.unit_records, self.limits.poll_s) if waiting is None else (1, 0.0)
        batches = self.consumer.poll(most, timeout_s)
        # Captured now, for this unit: read later it would let an old owner commit a partition that has moved.
        group_metadata = self.consumer.group_metadata() if waiting is None else waiting.group_metadata
        if rebalances != self._rebalances:
            # A rebalance ran inside the poll: what it returned, or waits, may belong to a partition that has moved.
            return None
        polled = {} if waiting is None else dict(waiting.batches)
        for batch in batches:
            if int(batch.offsets[-1]) - int(batch.offsets[0]) + 1 != len(batch.offsets):
                raise Fault(f"{INPUT}/{batch.partition} has gaps: only writers without transactions are allowed")
            earlier = polled.get(batch.partition)
            polled[batch.partition] = batch if earlier is None else joined(earlier, batch)
        return _Polled(polled, group_metadata) if polled else None

    # 2.
    def _visible_part(self, polled: _Polled) -> tuple[_Polled, _Polled | None]:
        """The records whose visible facts are known and all the same, and the others, which wait for the next unit."""
        newest = max(int(batch.append_times.max()) for batch in polled.batches.values())
        while self.governance.view_ms < newest - self.limits.margin_ms:
            self.governance.refresh()
            self._start_table(self.governance.chain.next_sequence)
            if self.governance.view_ms < newest - self.limits.margin_ms:
                self.clock.sleep(_FRESH_S)
        now, later = {}, {}
        for partition, batch in polled.batches.items():
            count = self.governance.chain.visible_count(batch.append_times, self.limits.margin_ms)
            cut = int((count == count[0]).argmin()) if (count != count[0]).any() else len(count)
            cut = min(cut, fitting(batch, self.limits.unit_bytes // len(polled.batches)), self._span(partition))
            now[partition] = batch.part(0, cut)
            if cut < len(count):
                later[partition] = batch.part(cut, len(count))
        rest = _Polled(later, polled.group_metadata) if later else None
        return _Polled(now, polled.group_metadata), rest

    def _prepare(self, batch: LogBatch) -> Part:
        count = int(self.governance.chain.visible_count(batch.append_times[:1], self.limits.margin_ms)[0])
        table = self._table(count)
        prepared = prepare(batch, table, self.rules, self.schema_of)
        return Part(batch, prepared, count - 1, self._facts(count, table))

    def _bounded(
        self, parts: dict[int, Part], later: _Polled | None, group_metadata: object
    ) -> tuple[dict[int, Part], _Polled | None]:
        """Corrections are judged one at a time: a unit with very many of them ends earlier.

        Nor is all that was polled decoded for each of such units: twice what the last one held, then ever more.
        """
        now, rest = {}, {} if later is None else dict(later.batches)
        for partition, part in parts.items():
            cut = ending(part.prepared, self.limits.unit_corrections)
            now[partition] = part if cut is None else self._prepare(part.batch.part(0, cut))
            self._spans[partition] = 2 * self._span(partition) if cut is None else 2 * cut
            if cut is not None:
                tail = part.batch.part(cut, len(part.batch.values))
                rest[partition] = tail if partition not in rest else joined(tail, rest[partition])
        return now, _Polled(rest, group_metadata) if rest else None

    def _span(self, partition: int) -> int:
        most = self.limits.unit_records
        return min(most, self._spans.get(partition, most))

    def _facts(self, count: int, table: RateTable) -> Facts:
        if self._seen is None or self._seen.sequence != count - 1 or self._seen.table is not table:
            self._seen = Facts.of(
                self.governance.chain, count, table, self.limits.margin_ms, self.rules.future_bound_ms
            )
        return self._seen

    def _table(self, count: int) -> RateTable:
        """The prices of the first so many facts; waits until they are there, and never takes those of fewer."""
        if count in self._tables and self._tables[count].result().full:
            del self._tables[count]
        self._start_table(count)
        return self._tables[count].result()

    def _start_table(self, count: int) -> None:
        """Begin to make a table before the first record that may see its facts."""
        if count not in self._tables:
            self._tables[count] = self.make_ahead(partial(self._made, count))

    def _made(self, count: int) -> RateTable:
        return rate_table(self.governance.chain, count, self.limits.margin_ms, self.rules.future_bound_ms)


def ending(prepared: Prepared, most: int) -> int | None:
    """Before which record a part must end to have at most so many that are no usage; None: it has no more."""
    others = no_usage(prepared.usage)
    return int(prepared.rows[others[most]]) if len(others) > most else None


def joined(first: LogBatch, second: LogBatch) -> LogBatch:
    """Two batches of one partition that follow each other."""
    return LogBatch(
        first.topic,
        first.partition,
        np.concatenate([first.offsets, second.offsets]),
        np.concatenate([first.append_times, second.append_times]),
        [*first.values, *second.values],
        second.next_offset,
    )


def fitting(batch: LogBatch, most: int) -> int:
    """How many records, one at the least, have so many bytes: what a unit may hold in memory."""
    return max(1, int(np.searchsorted(np.cumsum(batch.sizes), most, "right")))
