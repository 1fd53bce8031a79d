"""The pricers on the fakes, in one process, with everything that may go wrong; a seed brings a run back."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

from chargeline.adapters.governance import GovernanceReader
from chargeline.adapters.governance import encode as encode_fact
from chargeline.adapters.memory import (
    FakeClock,
    MemoryLog,
    MemoryLogConsumer,
    MemoryLogReader,
    MemoryStateStore,
    MemoryTransactionalProducer,
)
from chargeline.domain.errors import AbortRequired, Fenced, TransientError
from chargeline.domain.rate_card import read_rate_card
from chargeline.pricer.compute import Rules
from chargeline.pricer.processor import Limits, Pricer
from chargeline.verify.compare import Verification
from chargeline.verify.events import Rules as OracleRules
from tests.support.cards import ACCOUNT_CARD, CARD
from tests.support.events import START, RandomEvents, schema_of

PARTITIONS = 2
MARGIN, BOUND, SKEW = 2000, 300_000, 2000
POINTS = ("poll", "begin", "produce", "send_offsets", "commit.before", "commit.after", "apply.before", "apply.after",
          "replace")  # fmt: skip
TOPICS = dict.fromkeys(("usage-events", "charges", "cost-rollups", "performance-rollups", "usage-events-dlq"), PARTITIONS) | {"governance-log": 1}  # fmt: skip


class Crash(BaseException):
    """kill -9 at this point."""


class Process:
    """One pricer and the faults that wait for it."""

    def __init__(self, world: "Simulation", slot: int) -> None:
        self.world, self.slot = world, slot
        self.armed: dict[str, Callable[[], None]] = {}
        self.pricer: Any = None

    def start(self) -> None:
        world = self.world
        reader = MemoryLogReader(world.log)
        self.consumer = MemoryLogConsumer(world.log, "pricers", self.at)
        self.pricer = world.make(
            consumer=self.consumer,
            producer=world.producer(world.log, f"pricer-{self.slot}", self.at),
            reader=reader,
            store=world.store.with_faults(self.at),
            governance=world.governance(reader, world.clock, max_clock_skew_ms=SKEW),
            clock=world.clock,
            schema_of=schema_of,
            rules=Rules(PARTITIONS, 60_000_000, 60_000_000, BOUND),
            limits=Limits(unit_records=world.chance.choice([7, 50]), trailing_units=3, margin_ms=MARGIN),
        )
        self.pricer.governance.refresh()

    def at(self, point: str) -> None:
        fault = self.armed.pop(point, None)
        if fault is not None:
            self.world.told(f"slot {self.slot}: fault at {point}")
            fault()

    def step(self) -> None:
        try:
            self.pricer.step()
        except TransientError:
            return
        except (Crash, Fenced) as end:
            self.world.told(f"slot {self.slot} ends: {type(end).__name__} {end}")
            self.armed.clear()
            self.consumer.close()
            self.start()


class Simulation:
    """A seeded run. `make`, `producer` and `governance` can be replaced by ones with a planted bug."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.chance = random.Random(seed)
        self.verbose = verbose
        self.clock = FakeClock(START // 1000 + 3_600_000)
        self.log = MemoryLog(self.clock, TOPICS)
        self.store = MemoryStateStore()
        self.make: Any = Pricer
        self.producer: Any = MemoryTransactionalProducer
        self.governance: Any = GovernanceReader
        self.facts = 0
        self.last_hash = "0" * 64
        self.snapshot: Any = None
        self.cards = [CARD, ACCOUNT_CARD, CARD.replace("id: test-list", "id: other").replace("gpt-4o-mini", "nobody")]
        self.events = [RandomEvents(seed * 10 + p, p, PARTITIONS) for p in range(PARTITIONS)]

    def told(self, text: str) -> None:
        if self.verbose:
            print(f"{self.clock.now}: {text}")

    def run(self, actions: int = 60) -> str | None:
        """What is wrong after the run; None: nothing."""
        self.fact({"topic": "usage-events", "partitions": PARTITIONS, "partitioner": "MURMUR2"}, "InputTopicCreated")
        self.publish()
        self.processes = [Process(self, slot) for slot in range(2)]
        for process in self.processes:
            process.start()
        for _ in range(actions):
            self.clock.now += self.chance.randrange(0, 3000)
            self.act()
        self.store.away = False
        for process in self.processes:
            process.armed.clear()
            process.pricer.store.away = False
        for _ in range(200):
            self.clock.now += 1000
            for process in self.processes:
                process.step()
            if self.behind() == 0:
                break
        return self.wrong()

    def act(self) -> None:
        chance = self.chance
        draw = chance.random()
        process = chance.choice(self.processes)
        if draw < 0.35:
            partition = chance.randrange(PARTITIONS)
            for value in self.events[partition].values(chance.randrange(1, 15)):
                self.log.append("usage-events", partition, None, value)
        elif draw < 0.75:
            process.step()
        elif draw < 0.83:
            process.armed[chance.choice(POINTS)] = crash
        elif draw < 0.86:
            process.armed[chance.choice(["produce", "send_offsets", "commit.before"])] = abort
        elif draw < 0.92:
            process.armed[chance.choice(["begin", "produce", "send_offsets", "commit.before"])] = self.takeover(process)
        elif draw < 0.96:
            self.damage()
        else:
            self.publish()

    def takeover(self, process: Process) -> Callable[[], None]:
        """In the middle of a unit: the membership changes, and the other process goes on with the partitions."""
        other = next(each for each in self.processes if each is not process)
        expelled = self.chance.random() < 0.5

        def happen() -> None:
            if expelled:
                self.log.leave("pricers", "usage-events", process.consumer.member)
            else:
                self.log.groups["pricers"].members = dict(reversed(self.log.groups["pricers"].members.items()))
                self.log.rebalance("pricers", "usage-events")
                self.swap()
            other.armed.clear()
            for _ in range(3):
                other.step()

        return happen

    def swap(self) -> None:
        """Give each member the partitions of the other."""
        members = self.log.groups["pricers"].members
        names = list(members)
        if len(names) == 2:
            members[names[0]], members[names[1]] = members[names[1]], members[names[0]]

    def damage(self) -> None:
        """FLUSHALL, an older copy put back, or the store away and back."""
        kind = self.chance.randrange(4)
        self.told(f"store damage {kind}")
        if kind == 0:
            self.store.heads.clear()
            self.store.stored.clear()
            self.store.windows.clear()
        elif kind == 1:
            self.snapshot = (dict(self.store.heads), {p: list(s) for p, s in self.store.stored.items()})
        elif kind == 2 and self.snapshot is not None:
            self.store.heads.clear()
            self.store.heads.update(self.snapshot[0])
            self.store.stored.clear()
            self.store.stored.update({p: list(s) for p, s in self.snapshot[1].items()})
        else:
            self.store.away = not self.store.away
            for process in self.processes:
                process.pricer.store.away = self.store.away

    def publish(self) -> None:
        if self.cards:
            card = read_rate_card(self.cards.pop(0))
            fact = {"rate_card_id": card.rate_card_id, "rate_card_version": card.version, "card": card.text}
            self.fact(fact, "RateCardPublished")

    def fact(self, fact: dict[str, Any], name: str) -> None:
        body = {"sequence": self.facts, "previous_hash": self.last_hash, "author": "t",
                "fact": (f"chargeline.events.{name}", fact)}  # fmt: skip
        datum = encode_fact(body)
        self.log.append("governance-log", 0, None, b"\0\0\0\0\x02" + datum)
        self.facts += 1
        self.last_hash = hashlib.sha256(datum).hexdigest()

    def behind(self) -> int:
        committed = self.log.groups["pricers"].committed
        return sum(len(self.log.logs["usage-events", p]) - committed.get(p, 0) for p in range(PARTITIONS))

    def wrong(self) -> str | None:
        if self.behind():
            return f"{self.behind()} events were never consumed"
        rules = OracleRules(PARTITIONS, MARGIN, BOUND, 60_000_000)
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
        return None


def crash() -> None:
    raise Crash


def abort() -> None:
    raise AbortRequired("the broker says so")
