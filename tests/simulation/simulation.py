"""The pipeline on the fakes, in one process, with everything that may go wrong; a seed brings a run back."""

import hashlib
import random
from collections.abc import Callable
from functools import cache
from typing import Any

from chargeline.adapters.governance import GovernanceReader
from chargeline.adapters.governance import encode as encode_fact
from chargeline.adapters.memory import (
    FakeClock,
    MemoryLog,
    MemoryLogConsumer,
    MemoryLogReader,
    MemoryTransactionalProducer,
)
from chargeline.adapters.memory_state import MemoryStateStore
from chargeline.adapters.memory_warehouse import MemoryWarehouse
from chargeline.domain.rates.card import RateCard
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.pricer.processor import Pricer
from chargeline.sink.processor import TopicSink
from chargeline.verify.compare import Verification
from chargeline.verify.events import Rules as OracleRules
from tests.simulation.processes import (
    BOUND,
    CONTROL,
    MARGIN,
    PARTITIONS,
    SKEW,
    STORED,
    PricerProcess,
    Process,
    SinkProcess,
    abort,
    away,
    crash,
    lost_answer,
)
from tests.simulation.stored import wrongly_stored
from tests.support import terms
from tests.support.cards import ACCOUNT_CARD, CARD
from tests.support.events import START, RandomEvents, account_on, schema_of
from tests.support.terms import terms_of

TOPICS = dict.fromkeys(("usage-events", "charges", "cost-rollups", "performance-rollups", "usage-events-dlq"), PARTITIONS) | {"governance-log": 1}  # fmt: skip
SETTLED = """  - {sku_id: odd, match: {provider_name: openai, models: [gpt-4o, gpt-4o-mini]}, quantity: odd, minimum: 1,
     charge_model: volume, tiers: [{up_to: "0.00001", unit_price: "5"}, {up_to: null, unit_price: "3"}],
     pricing_unit: Odds}
"""  # a close settles it
CARDS = (CARD, ACCOUNT_CARD, CARD.replace("id: test-list", "id: other").replace("gpt-4o-mini", "nobody"))
EIGHT_DAYS_MS = 8 * 86_400_000


class Simulation:
    """A seeded run. The factories can be replaced by ones with a planted bug."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.chance = random.Random(seed)
        self.verbose = verbose
        self.clock = FakeClock(START // 1000 + 3_600_000)
        self.log = MemoryLog(self.clock, TOPICS)
        self.log.marker_lag_ms = self.chance.choice([0, 300, 3000])
        self.store = MemoryStateStore()
        self.warehouse = MemoryWarehouse(self.clock)
        self.make: Any = Pricer
        self.sink: Any = TopicSink
        self.consumer: Any = MemoryLogConsumer
        self.sink_consumer: Any = MemoryLogConsumer
        self.producer: Any = MemoryTransactionalProducer
        self.charges_reader: Any = MemoryLogReader
        self.governance: Any = GovernanceReader
        self.facts = 0
        self.last_hash = "0" * 64
        self.snapshot: Any = None
        self.cards = [CARDS[0] + SETTLED * (seed % 10 in (0, 7)), *CARDS[1:]]
        self.terms: list[str] = []
        if seed % 5 == 2:  # closes book all that a close can
            accounts = [account_on(p, PARTITIONS, random.Random(p)) for p in range(PARTITIONS)]
            self.terms = [terms_of(accounts), terms_of(accounts, later=True)]
            self.cards[1:1] = terms.CARDS
        kinds = {"corrections": seed % 2 == 0, "closes": seed % 5 in (0, 2)}
        self.events = [RandomEvents(seed * 10 + p, p, PARTITIONS, **kinds) for p in range(PARTITIONS)]

    def told(self, text: str) -> None:
        if self.verbose:
            print(f"{self.clock.now}: {text}")

    def run(self, actions: int = 55) -> str | None:
        """What is wrong during or after the run; None: nothing."""
        self.fact({"topic": "usage-events", "partitions": PARTITIONS, "partitioner": "MURMUR2"}, "InputTopicCreated")
        for _ in terms.CARDS if self.terms else ():
            self.publish_card()
        self.publish()
        self.pricers = [PricerProcess(self, f"pricer-{slot}") for slot in range(2)]
        self.sinks = [SinkProcess(self, f"sink-{n}-{topic}", topic) for topic in STORED for n in range(2)]
        for process in [*self.pricers, *self.sinks]:
            process.start()
        for _ in range(actions):
            self.clock.now += self.chance.randrange(0, 3000)
            self.act()
        for process in [*self.pricers, *self.sinks]:
            process.armed.clear()
        self.clock.now += self.log.marker_lag_ms
        if (found := wrongly_stored(self.log, self.warehouse, whole=False)) is not None:
            return f"before the end: {found}"
        self.set_away(away=False)
        self.drain()
        return self.wrong()

    def act(self) -> None:
        draw = self.chance.random()
        pricer, sink = self.chance.choice(self.pricers), self.chance.choice(self.sinks)
        if draw < 0.20:
            self.produce()
        elif draw < 0.44:
            pricer.step()
        elif draw < 0.60:
            sink.step()
        elif draw < 0.76:
            self.arm(pricer)
        elif draw < 0.88:
            self.arm_sink(sink)
        elif draw < 0.95:
            self.damage()
        elif draw < 0.98:
            self.jump()
        else:
            self.publish()

    def produce(self) -> None:
        partition = self.chance.randrange(PARTITIONS)
        for value in self.events[partition].values(self.chance.randrange(1, 14)):
            self.log.append("usage-events", partition, None, value)

    def arm(self, pricer: PricerProcess) -> None:
        """Something will happen to a pricer in the middle of a unit."""
        chance = self.chance
        kind = chance.random()
        if kind < 0.25:
            pricer.armed[chance.choice(pricer.points)] = crash
        elif kind < 0.45:  # committed, and nothing knows it yet: recovery has to fold
            pricer.armed[chance.choice(["commit.after", "apply.before"])] = crash
        elif kind < 0.58:
            pricer.armed[chance.choice(["produce", "send_offsets", "commit.before"])] = abort
        elif kind < 0.68:
            pricer.armed["commit.after"] = lost_answer
        else:
            point = chance.choice(["begin", "produce", "send_offsets", "commit.before"])
            pricer.armed[point] = self.takeover(pricer, self.pricers)

    def arm_sink(self, sink: SinkProcess) -> None:
        """Something will happen to a sink in the middle of an insert."""
        chance = self.chance
        kind = chance.random()
        if kind < 0.4:
            sink.armed[chance.choice(sink.points)] = crash
        elif kind < 0.55:
            sink.armed["insert.before"] = away
        elif kind < 0.7:
            sink.armed["insert.before"] = self.break_block(sink)
        else:
            taken = self.takeover(sink, [each for each in self.sinks if each.topic == sink.topic])
            pause = chance.random() < 0.3

            def wake() -> None:
                taken()
                if pause:
                    self.a_week_passes()
                away()  # the call of before the pause fails; it must not be made again

            sink.armed["insert.before"] = wake if chance.random() < 0.7 else taken

    def break_block(self, sink: SinkProcess) -> Callable[[], None]:
        """The next insert stores half of its block, and the process dies before it can repeat it."""

        def happen() -> None:
            sink.warehouse.half = True
            sink.armed["insert.before"] = crash

        return happen

    def takeover(self, process: Process, all_of_them: Any) -> Callable[[], None]:
        """In the middle of a unit: the membership changes, and the other process goes on with the partitions."""
        other = next(each for each in all_of_them if each is not process)
        expelled = self.chance.random() < 0.5

        def happen() -> None:
            if expelled:
                self.log.leave(process.group, process.topic, process.service.consumer.member)
            else:
                members = self.log.groups[process.group].members
                self.log.rebalance(process.group, process.topic)
                names = list(members)
                if len(names) == 2:  # each gets the partitions of the other
                    members[names[0]], members[names[1]] = members[names[1]], members[names[0]]
            other.armed.clear()
            for _ in range(4):
                other.step()

        return happen

    def damage(self) -> None:
        """FLUSHALL, an older copy put back, or the store away and back."""
        kind = self.chance.randrange(4)
        self.told(f"store damage {kind}")
        if kind == 0:
            self.store.heads.clear()
            self.store.stored.clear()
            self.store.windows.clear()
            self.store.scope_states.clear()
            self.store.correction_fields.clear()
        elif kind == 1:
            self.snapshot = (
                dict(self.store.heads),
                {p: list(s) for p, s in self.store.stored.items()},
                {p: dict(s) for p, s in self.store.scope_states.items()},
                {p: dict(s) for p, s in self.store.correction_fields.items()},
            )
        elif kind == 2 and self.snapshot is not None:
            self.store.heads.clear()
            self.store.heads.update(self.snapshot[0])
            self.store.stored.clear()
            self.store.stored.update({p: list(s) for p, s in self.snapshot[1].items()})
            self.store.scope_states.clear()
            self.store.scope_states.update({p: dict(s) for p, s in self.snapshot[2].items()})
            self.store.correction_fields.clear()
            self.store.correction_fields.update({p: dict(s) for p, s in self.snapshot[3].items()})
        else:
            self.set_away(away=not self.store.away)

    def set_away(self, *, away: bool) -> None:
        self.store.away = away
        for process in self.pricers:
            process.service.store.away = away

    def jump(self) -> None:
        """A process's clock jumps as far as it may; or all of them stand still for minutes, or for a week."""
        kind = self.chance.randrange(4)
        if kind < 2:
            process = self.chance.choice([*self.pricers, *self.sinks])
            process.clock.skew = self.chance.randrange(-SKEW, SKEW + 1)
        elif kind == 2:
            self.clock.now += self.chance.randrange(20_000, 3_600_000)
        else:
            self.a_week_passes()
            if self.chance.random() < 0.5:
                self.only_refused_for_weeks()

    def only_refused_for_weeks(self) -> None:
        """The newest units book no row and every identity expires; then a correction of long ago comes."""
        for _ in range(2):
            for process in [*self.sinks, *self.pricers]:
                process.step()
            self.a_week_passes()
            for partition in range(PARTITIONS):
                self.log.append("usage-events", partition, None, b"none of ours")
            for process in self.pricers:
                process.step()
        for partition, events in enumerate(self.events):
            if events.corrections:
                self.log.append("usage-events", partition, None, events.correction())

    def a_week_passes(self) -> None:
        """Tokens and identities expire. Not while a stored block waits for its acknowledgement: docs/correctness.md."""
        for topic, table in STORED.items():
            committed = self.log.groups[f"sink-{topic}"].committed
            maximum = self.warehouse.stored_maximum(table, topic)
            if any(committed.get(partition, 0) <= offset for partition, offset in maximum.items()):
                return
        self.told("a week passes")
        self.clock.now += EIGHT_DAYS_MS
        for events in self.events:  # whether a correction so old is known any more, its second copy cannot tell
            events.repeatable.clear()
        for topic in STORED:  # nobody owns a partition for so long
            self.log.rebalance(f"sink-{topic}", topic)

    def publish(self) -> None:
        if self.terms:
            self.fact({"accounts": self.terms.pop(0), "file_hash": ""}, "AccountsPublished")
        self.publish_card()

    def publish_card(self) -> None:
        if self.cards:
            card = card_of(self.cards.pop(0))
            fact = {"rate_card_id": card.rate_card_id, "rate_card_version": card.version, "card": card.text}
            self.fact(fact, "RateCardPublished")

    def fact(self, fact: dict[str, Any], name: str) -> None:
        body = {"sequence": self.facts, "previous_hash": self.last_hash, "author": "t",
                "fact": (f"chargeline.events.{name}", fact)}  # fmt: skip
        datum = encode_fact(body)
        self.log.append("governance-log", 0, None, b"\0\0\0\0\x02" + datum)
        self.facts += 1
        self.last_hash = hashlib.sha256(datum).hexdigest()

    def drain(self) -> None:
        """Without further faults all of it is consumed and stored."""
        for _ in range(200):
            self.clock.now += 1000
            for process in self.pricers:
                process.step()
            if self.behind() == 0:
                break
        self.clock.now += self.log.marker_lag_ms
        for _ in range(200):
            for sink in self.sinks:
                sink.step()
            if not self.unstored():
                break

    def behind(self) -> int:
        committed = self.log.groups["pricers"].committed
        return sum(len(self.log.logs["usage-events", p]) - committed.get(p, 0) for p in range(PARTITIONS))

    def unstored(self) -> bool:
        """Whether a message is not acknowledged by its sink."""
        for topic, partition in ((topic, p) for topic in STORED for p in range(PARTITIONS)):
            records = self.log.readable(topic, partition, 0, len(self.log.logs[topic, partition]))
            if records and self.log.groups[f"sink-{topic}"].committed.get(partition, 0) <= records[-1].offset:
                return True
        return False

    def wrong(self) -> str | None:
        if self.behind():
            return f"{self.behind()} events were never consumed"
        rules = OracleRules(PARTITIONS, MARGIN, BOUND, 60_000_000, control_sources=CONTROL)
        report = Verification(MemoryLogReader(self.log), None, schema_of, rules).run()
        if report.difference is not None:
            return report.difference
        committed = self.log.groups["pricers"].committed
        for partition in range(PARTITIONS):
            if report.ends[partition] != committed.get(partition, 0):
                return f"units of partition {partition} end at {report.ends[partition]}, committed {committed}"
            head = self.store.heads.get(partition)
            if head is not None and head.next_offset > committed.get(partition, 0):
                return f"the state of partition {partition} is ahead of the commit"
        return wrongly_stored(self.log, self.warehouse)


@cache
def card_of(text: str) -> RateCard:
    return read_rate_card(text)
