"""The worker's own decisions: what it does when nothing comes, whatever the clock of the machine does."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.adapters.memory import FakeClock
from chargeline.anomaly.app import faust_app
from chargeline.anomaly.processor import COST, PERFORMANCE
from chargeline.anomaly.settings import AnomalySettings
from chargeline.anomaly.worker import Pace, Worker
from chargeline.domain.anomaly.notes import Notes
from chargeline.wire._arrow import COST_ROLLUP
from chargeline.wire.arrow_messages import encode
from tests.support.panes import MINUTE, START
from tests.unit.test_anomaly_service import RULES, cost, header, partition, send, table

IDLE_S = 30.0
NOW_MS = (START + 2 * MINUTE) // 1000


class Quiet:
    """Metrics and a state table that do nothing but note what they are told."""

    def __init__(self):
        self.marks, self.stores = [], 0

    async def mark(self, _number, mark):
        self.marks.append(mark)

    async def store(self, *_):
        self.stores += 1

    def __getattr__(self, name):
        return 0 if name == "bytes_written" else lambda *_: None


@pytest.fixture
def worker(monkeypatch, tmp_path) -> Any:
    for name in ("KAFKA", "REGISTRY", "REDIS_URL", "CLICKHOUSE_URL"):
        monkeypatch.setenv(f"CHARGELINE_{name}", "x")
    quiet: Any = Quiet()
    app = faust_app(AnomalySettings(), str(tmp_path))  # type: ignore[call-arg]
    made: Any = Worker(app, 1, RULES, shipped_parameters("cost"), Pace(IDLE_S, 60.0, 1), clock=FakeClock(NOW_MS),
                       notes=Notes(), metrics=quiet, schema_id=1, failed=lambda error: None)  # fmt: skip
    made._state = Quiet()

    async def nothing(*_):
        return 0

    made._app = SimpleNamespace(consumer=SimpleNamespace(position=nothing, _commit=nothing))
    subject = partition()
    send(subject, 0, 1)
    send(subject, 1, 1)
    made._partitions, made._assigned, made._is_recovered = {0: subject}, {0}, True
    assert set(subject.next_offsets) == {COST, PERFORMANCE}
    return made


async def ticks(worker, monkeypatch, *steps):
    """A tick after each (seconds that pass, milliseconds by which the clock is put forward besides)."""
    passed = asyncio.get_running_loop().time()
    for seconds, jump_ms in steps:
        passed += seconds
        worker._clock.now += int(seconds * 1000) + jump_ms
        monkeypatch.setattr("chargeline.anomaly.worker._loop_s", lambda now=passed: now)
        await worker._tick()


@pytest.mark.parametrize(("jump_ms", "idle"), [(0, 0), (1_800_000, 0), (-1_800_000, 0), (0, 31), (-1_800_000, 31)])
def test_windows_end_by_silence_and_not_because_the_clock_was_put_forward_or_back(worker, monkeypatch, jump_ms, idle):
    asyncio.run(ticks(worker, monkeypatch, (0, 0), (1, jump_ms), (idle, 0)))
    assert bool(worker._state.marks) == bool(idle)


@pytest.mark.parametrize("jump_ms", [0, 86_400_000, -86_400_000])
def test_the_state_is_stored_every_minute_whatever_the_clock_says(worker, monkeypatch, jump_ms):
    asyncio.run(ticks(worker, monkeypatch, (0, 0), (59, jump_ms)))
    assert worker._state.stores == 0
    asyncio.run(ticks(worker, monkeypatch, (0, 0), (61, 0)))
    assert worker._state.stores == 1


@pytest.mark.parametrize(("generation", "is_taken"), [(6, False), (7, True)])
def test_a_record_of_before_a_rebalance_is_not_taken_after_it(worker, generation, is_taken):
    """It waited for its turn meanwhile; the partition is read again from its stored place, which lies before it."""
    worker._app.consumer_generation_id = 7
    value = encode(table(COST_ROLLUP, [cost(START, 1)]))[0]
    message = SimpleNamespace(topic=COST, partition=0, offset=9, headers=header(2, START).encode(), value=value,
                              timestamp=0.0, generation_id=generation)  # fmt: skip
    asyncio.run(worker._take(message))
    assert worker._partitions[0].is_waiting() == is_taken
