"""From `cost-rollups` to the state of every budget. The place in the log is kept in the store, with the totals.

    1. at assignment: load the stored totals and go on at their next_offset; without any, start at the log's beginning
    2. poll, and count the panes
    3. write the totals that changed, the mark and next_offset in one atomic step, if the store is where we began
    4. judge: documents for gateways, alerts into `cost-anomalies`, then note what was told

A crash between 2 and 3: nothing was stored, the same records are read again. Between 3 and 4, or inside 4: documents
and alerts are worked out from the stored totals again; an alert may then stand in the log twice, under one id and
number. The clock decides only what period holds now and how old a rate is, never what is spent.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from chargeline.budgets.observer import Observer
from chargeline.domain.alerts.alert import RESOLVED, Alert
from chargeline.domain.budgets.alerts import Told, changes, told_of
from chargeline.domain.budgets.budget import Budget
from chargeline.domain.budgets.documents import document
from chargeline.domain.budgets.periods import DAY_US
from chargeline.domain.budgets.season import Weights, weekday_weights
from chargeline.domain.budgets.spend import FIVES_KEPT_US, Cell, Spend, Totals
from chargeline.domain.budgets.state import Standing, standing
from chargeline.domain.errors import Fault
from chargeline.ports import Clock, LogConsumer, LogWriter, Record
from chargeline.state_ports import ApplyOutcome, SpendDelta, SpendHead, SpendStore
from chargeline.wire.arrow_messages import decode

TOPIC = "cost-rollups"
ALERTS = "cost-anomalies"
_POLL_S = 0.2
log = structlog.get_logger()


@dataclass
class _Partition:
    """What this process knows of a partition that is its own.

    Attributes:
        stored: next_offset in the store; None: nothing is stored.
        up_to: microseconds; all spend appended before is counted.
        looked: (end of the log, polls that came back empty since then).
        is_cut: records before the next one were deleted uncounted.
        weights: by budget, what each day of the week usually brings; as of `weighed`, a day since 1970 UTC.
    """

    spend: Spend
    next_offset: int
    stored: int | None
    up_to: int = 0
    looked: tuple[int, int] = (-1, 0)
    told: dict[str, Told] = field(default_factory=dict)
    is_cut: bool = False
    weights: dict[str, Weights | None] = field(default_factory=dict)
    weighed: int = -1

    def look_back(self, budgets: Iterable[Budget], now: int) -> None:
        """Know what is usual for these budgets; once a day for each, for it needs weeks of totals."""
        if self.weighed != now // DAY_US:
            self.weights, self.weighed = {}, now // DAY_US
        for each in budgets:
            if each.budget_id not in self.weights:
                self.weights[each.budget_id] = weekday_weights(each, self.spend, now)


@dataclass
class BudgetKeeper:
    """`step` is the loop's body.

    Attributes:
        budgets: the budgets that hold at an instant (microseconds), as far as they are visible then; may raise
            TransientError.
        partition_of: the source partition of an account.
        encode: the value of an alert of a source partition, for `cost-anomalies`.
        future_bound_ms: how far event_time may lie beyond the append time.
    """

    consumer: LogConsumer
    store: SpendStore
    alerts: LogWriter
    budgets: Callable[[int], Mapping[str, Budget]]
    partition_of: Callable[[str], int]
    encode: Callable[[Alert, int], bytes]
    clock: Clock
    future_bound_ms: int
    messages: int = 256
    every_ms: int = 1_000
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        self._assigned: list[int] | None = None
        self._parts: dict[int, _Partition] = {}
        self._judged_ms = 0
        self.consumer.subscribe(TOPIC, self._on_assign, self._on_revoke)

    def step(self) -> bool:
        """Count what is there, and judge if it is time; False if there was nothing to count.

        Raises:
            TransientError: Kafka or Redis is away: call again.
            Fault: the stored totals and the log contradict each other.
        """
        if self._assigned is not None:
            self._begin()
        records = self.consumer.poll_records(self.messages, _POLL_S)
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        for partition, found in by_partition.items():
            if partition in self._parts:
                self._count(partition, found)
        if not records:
            self.observer.idle()
            for part in self._parts.values():
                part.looked = (part.looked[0], part.looked[1] + 1)
        # By size: a clock that was put back must not stop the documents until it is where it was.
        if self._parts and abs(self.clock.now_ms() - self._judged_ms) >= self.every_ms:
            self._judge()
            self._judged_ms = self.clock.now_ms()
        return bool(records)

    def close(self) -> None:
        """Leave the group; everything is in the store."""
        self._parts = {}
        self.consumer.close()

    def _count(self, partition: int, records: list[Record]) -> None:
        part, now = self._parts[partition], self.clock.now_ms() * 1000
        days: set[Cell] = set()
        fives: set[Cell] = set()
        try:
            for record in records:
                if record.offset < part.next_offset:
                    continue
                if part.is_cut:
                    # What was deleted was appended before this record, and no event lies further ahead than the bound.
                    part.spend.complete_from = (record.append_time + self.future_bound_ms) * 1000
                    part.is_cut = False
                panes = decode(record.value or b"")
                changed = part.spend.add(panes, now - FIVES_KEPT_US)
                days |= changed[0]
                fives |= changed[1]
                part.next_offset = record.offset + 1
            old_days, old_fives = part.spend.forget(now)
            spend = part.spend
            totals = ((spend.days, days, old_days), (spend.fives, fives, old_fives))
            new_days, new_fives = (_values(*each) for each in totals)
            self._store(partition, part, new_days, new_fives)
        except Exception:
            # What is in memory is not what is stored: load it again, whatever it was.
            self._assigned = sorted(self._parts)
            raise
        self.observer.counted(partition, part.next_offset, records[-1].append_time)
        part.up_to = max(part.up_to, records[-1].append_time * 1000)

    def _store(
        self, partition: int, part: _Partition, days: Mapping[Cell, int | None], fives: Mapping[Cell, int | None]
    ) -> None:
        head = SpendHead(part.next_offset, part.spend.mark, part.spend.complete_from)
        outcome = self.store.apply(partition, SpendDelta(part.stored, head, days, fives))
        if outcome is ApplyOutcome.AHEAD:
            # Another process counted further, or this call was made before: what is stored is the truth.
            log.warning("spend_is_ahead", partition=partition, next_offset=part.next_offset)
            self._assigned = sorted(self._parts)
            return
        if outcome is ApplyOutcome.BEHIND:
            log.warning("spend_written_again", partition=partition, next_offset=part.next_offset)
            self.store.replace(partition, head, part.spend)
        part.stored = part.next_offset

    def _judge(self) -> None:
        now_ms = self.clock.now_ms()
        now = now_ms * 1000
        states: Counter[str] = Counter()
        budgets = self.budgets(now)
        for partition, part in self._parts.items():
            self._look(partition, part, now)
            own = [each for each in budgets.values() if self.partition_of(each.scope.billing_account_id) == partition]
            part.look_back(own, now)
            held = [standing(each, part.spend, now, part.weights[each.budget_id]) for each in own]
            standings = [each for each in held if each is not None]
            states.update(each.state for each in standings)
            self.store.publish(partition, _documents(standings, part), part.next_offset)
            self._tell(partition, part, standings, now)
        self.store.beat(now)
        self.observer.judged(states)

    def _look(self, partition: int, part: _Partition, now: int) -> None:
        """Whether everything that was appended so far is counted: then spend is complete up to now."""
        _, end = self.consumer.bounds(partition)
        # A transaction leaves a marker, which is never handed over; an aborted one leaves more.
        is_done = end - part.next_offset <= 1 or (end == part.looked[0] and part.looked[1] >= 10)
        if is_done:
            part.up_to = now
        if end != part.looked[0]:
            part.looked = (end, 0)

    def _tell(self, partition: int, part: _Partition, standings: list[Standing], now: int) -> None:
        for each in changes(standings, part.told, now):
            key = each.alert.billing_account_id.encode()
            self.alerts.append(ALERTS, partition, key, self.encode(each.alert, partition))
            # After the log: noted first, an alert would be lost by a crash; so it may be there twice instead.
            self.store.tell(partition, {each.alert.anomaly_id: each.encode()})
            part.told[each.alert.anomaly_id] = each
        over = [name for name, told in part.told.items() if told.alert.state == RESOLVED and told.until <= now]
        if over:
            self.store.tell(partition, dict.fromkeys(over))
            for name in over:
                del part.told[name]

    def _on_assign(self, partitions: list[int]) -> None:
        self._assigned = partitions
        self.observer.assigned()

    def _on_revoke(self, partitions: list[int]) -> None:
        self._assigned = None
        self._parts = {}
        self.observer.revoked(partitions)

    def _begin(self) -> None:
        partitions = self._assigned or []
        parts = {partition: self._loaded(partition) for partition in partitions}
        starts = {partition: part.next_offset for partition, part in parts.items()}
        self._parts, self._assigned = parts, None
        self.consumer.start(starts)
        self.observer.ready(starts)
        log.info("spend_ready", next_offsets=starts)

    def _loaded(self, partition: int) -> _Partition:
        low, end = self.consumer.bounds(partition)
        found = self.store.load(partition)
        told = {name: told_of(text) for name, text in self.store.told(partition).items()}
        if found is None:
            return _Partition(Spend(), low, None, told=told, is_cut=low > 0)
        head, spend = found
        if head.next_offset > end:
            raise Fault(
                f"Redis holds the spend of {TOPIC}/{partition} up to {head.next_offset}, but it ends at {end}. Was "
                f"Kafka wiped and Redis kept? Then delete the keys {{budgets:{partition}}}:* before you start again"
            )
        if head.next_offset < low:
            log.error("panes_lost", partition=partition, next_offset=head.next_offset, log_start=low)
        start = max(head.next_offset, low)
        return _Partition(spend, start, head.next_offset, told=told, is_cut=head.next_offset < low)


def _values(totals: Totals, changed: set[Cell], gone: list[Cell]) -> dict[Cell, int | None]:
    values: dict[Cell, int | None] = dict.fromkeys(gone)
    lost = set(gone)
    return values | {cell: totals.get(cell) for cell in sorted(changed - lost, key=str)}


def _documents(standings: list[Standing], part: _Partition) -> dict[str, str]:
    by_path: dict[str, list[Standing]] = {}
    for each in standings:
        by_path.setdefault(each.budget.scope.path, []).append(each)
    return {path: document(found, part.up_to, part.next_offset) for path, found in by_path.items()}
