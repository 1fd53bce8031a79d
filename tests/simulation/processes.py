"""The processes of a simulation: pricers and sinks on the fakes, each with the faults that wait for it."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from chargeline.adapters.memory import FakeClock, MemoryLogReader
from chargeline.domain.errors import AbortRequired, Fenced, TransientError
from chargeline.pricer.compute import Rules
from chargeline.pricer.intake import Limits
from chargeline.pricer.overlap import Done, Later
from tests.support.archive import LogArchive
from tests.support.events import schema_of

PARTITIONS = 2
MARGIN, BOUND, SKEW = 2000, 300_000, 2000
CONTROL = frozenset({"chargeline"})
STORED = {"charges": "charges", "cost-rollups": "cost_rollups", "usage-events-dlq": "dead_letters"}
PRICER_POINTS = ("poll", "begin", "produce", "send_offsets", "commit.before", "commit.after", "apply.before",
                 "apply.after", "replace")  # fmt: skip
SINK_POINTS = ("insert.before", "insert.after", "consumer.commit")


class Crash(BaseException):
    """kill -9 at this point."""


class OutcomeUnknown(Exception):
    """The answer to a commit was lost: nobody knows whether it happened."""


class SkewedClock:
    """The clock of one process: it may be off by as much as the settings allow, and jump within that."""

    def __init__(self, world: FakeClock) -> None:
        self.world, self.skew = world, 0

    def now_ms(self) -> int:
        return self.world.now_ms() + self.skew

    def sleep(self, seconds: float) -> None:
        self.world.sleep(seconds)


class Process:
    """A process that may die at any point; it is started again at once."""

    points: tuple[str, ...]
    group: str
    topic: str

    def __init__(self, world: Any, name: str) -> None:
        self.world, self.name = world, name
        self.armed: dict[str, Callable[[], None]] = {}
        self.clock = SkewedClock(world.clock)
        self.service: Any = None

    def start(self) -> None:
        raise NotImplementedError

    def at(self, point: str) -> None:
        fault = self.armed.pop(point, None)
        if fault is not None:
            self.world.told(f"{self.name}: fault at {point}")
            fault()

    def step(self) -> None:
        try:
            self.service.step()
        except TransientError:
            return
        except (Crash, OutcomeUnknown, Fenced) as end:
            self.world.told(f"{self.name} ends: {type(end).__name__} {end}")
            self.armed.clear()
            self.service.consumer.close()
            self.start()
            for _ in range(self.world.chance.choice([0, 3])):  # it may be back at work before anything else happens
                self.step()


class PricerProcess(Process):
    points, group, topic = PRICER_POINTS, "pricers", "usage-events"

    def start(self) -> None:
        world = self.world
        reader = MemoryLogReader(world.log)
        limits = Limits(unit_records=world.chance.choice([10, 60]), trailing_units=3, margin_ms=MARGIN)
        beside = world.chance.choice([Done, Later])
        self.service = world.make(
            consumer=world.consumer(world.log, self.group, self.at),
            producer=world.producer(world.log, self.name, self.at),
            reader=world.charges_reader(world.log),
            store=world.store.with_faults(self.at),
            governance=world.governance(reader, self.clock, max_clock_skew_ms=SKEW),
            clock=self.clock,
            schema_of=schema_of,
            rules=Rules(PARTITIONS, 60_000_000, 60_000_000, BOUND, control_sources=CONTROL),
            limits=limits,
            archive=LogArchive(reader),
            run_commit=beside,
            make_ahead=beside,
        )
        self.service.governance.refresh()


class Inline(Executor):
    """Inserts as soon as it is asked: everything in one thread. A crash ends the process there and then."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as an executor does
            done.set_exception(error)
        return done


class SinkProcess(Process):
    """One topic's mover; a topic has two of them."""

    points = SINK_POINTS

    def __init__(self, world: Any, name: str, topic: str) -> None:
        super().__init__(world, name)
        self.group, self.topic = f"sink-{topic}", topic

    def start(self) -> None:
        world = self.world
        consumer = world.sink_consumer(world.log, self.group, self.at)
        self.warehouse = world.warehouse.with_faults(self.at)
        messages = world.chance.choice([2, 8])  # a poll may end inside a unit
        self.service = world.sink(self.topic, consumer, lambda: self.warehouse, self.clock, messages, threads=Inline())


def crash() -> None:
    raise Crash


def abort() -> None:
    raise AbortRequired("the broker says so")


def lost_answer() -> None:
    raise OutcomeUnknown


def away() -> None:
    raise TransientError("away")
