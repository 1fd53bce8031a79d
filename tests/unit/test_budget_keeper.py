"""The budgets service on fakes: exact over crashes, documents, alerts; and the gate that reads the documents."""

import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from chargeline.adapters.memory import FakeClock, MemoryLog, MemoryLogConsumer
from chargeline.adapters.memory_budgets import MemoryLogWriter, MemorySpendStore
from chargeline.budgets.processor import ALERTS, TOPIC, BudgetKeeper
from chargeline.domain.budgets.budget import Scope
from chargeline.domain.errors import Fault, TransientError
from chargeline.sdk.budget import BudgetGate, budget_keys
from chargeline.wire.arrow_messages import encode
from tests.support.budgets import DAY_US, JUNE_1, budget, pane, read, record_of, table


class Installation:
    """A log, a store, budgets, and the service on them."""

    def __init__(self, *budgets, every_ms=0):
        self.every_ms = every_ms
        self.clock = FakeClock(JUNE_1 // 1000)
        self.log = MemoryLog(self.clock, {TOPIC: 1, ALERTS: 1})
        self.store: Any = MemorySpendStore()
        self.budgets = {each.budget_id: each for each in budgets}
        self.keeper: Any = None
        self.start()

    def start(self):
        self.keeper = BudgetKeeper(
            consumer=MemoryLogConsumer(self.log, "budgets"), store=self.store, alerts=MemoryLogWriter(self.log),
            budgets=lambda _: self.budgets, partition_of=lambda _: 0, encode=lambda each, _: record_of(each),
            clock=self.clock, future_bound_ms=300_000, every_ms=self.every_ms,
        )  # fmt: skip

    def crash(self):
        self.log.leave("budgets", TOPIC, self.keeper.consumer.member)
        self.start()

    def spend(self, unit, *costs, at=JUNE_1, **names):
        rows = [pane(unit, index, cost, at, **names) for index, cost in enumerate(costs)]
        self.log.append(TOPIC, 0, None, encode(table(*rows))[0])

    def run(self, steps=4):
        for _ in range(steps):
            self.keeper.step()

    def document(self, path="acme"):
        text = self.store.documents.get(path)
        return None if text is None else json.loads(text)

    def alerts(self):
        return [read(each.value) for each in self.log.readable(ALERTS, 0, 0, 1000)]


def test_the_forecast_of_the_service_knows_the_course_of_a_week():
    found = Installation(budget("40", period="weekly"))
    for day in range(-28, 5):
        if day % 7 < 5:
            found.spend(100 + day, "7", at=JUNE_1 + day * DAY_US)
    found.clock.now += 5 * DAY_US // 1000
    found.run()
    assert found.document()["forecast"] == "35"


def test_the_document_says_what_is_spent():
    found = Installation(budget("100"))
    found.spend(1, "30", "20.5")
    found.run()
    assert {name: found.document()[name] for name in ("spent", "limit", "remaining", "state", "unit", "complete")} == {
        "spent": "50.5", "limit": "100", "remaining": "49.5", "state": "OK", "unit": "USD", "complete": True,
    }  # fmt: skip


def test_documents_go_on_when_the_clock_is_put_back():
    found = Installation(budget("100"), every_ms=1000)
    found.clock.now += DAY_US // 1000
    found.run()
    assert found.document()["spent"] == "0"
    found.clock.now -= 3_600_000
    found.spend(100, "7")
    found.run()
    assert found.document()["spent"] == "7"


def test_a_budget_that_is_set_later_knows_what_was_spent_before_it():
    found = Installation()
    found.spend(1, "30")
    found.run()
    found.budgets["x"] = budget("100")
    found.run()
    assert found.document()["spent"] == "30"


def test_a_budget_that_is_removed_has_no_document_any_more():
    found = Installation(budget("100"), budget("50", team="search"))
    found.run()
    assert set(found.store.documents) == {"acme", "acme:team:search"}
    del found.budgets["acme:team:search@monthly"]
    found.run()
    assert set(found.store.documents) == {"acme"}


def test_a_new_period_is_there_without_any_spend():
    found = Installation(budget("100", period="daily"))
    found.spend(1, "100")
    found.run()
    assert found.document()["state"] == "EXCEEDED"
    found.clock.now += DAY_US // 1000
    found.run()
    assert (found.document()["state"], found.document()["spent"]) == ("OK", "0")
    assert [each.state for each in found.alerts()].count("RESOLVED") == 2


@pytest.mark.parametrize("point", ["apply before", "apply after", "publish", "append", "tell before"])
def test_a_crash_at_any_point_neither_loses_nor_doubles(point):
    found = Installation(budget("100"))
    found.spend(1, "30")
    found.run()
    found.spend(2, "75")
    break_at(found, point)
    with pytest.raises(RuntimeError):
        found.run()
    found.crash()
    found.spend(3, "1")
    found.run()
    assert found.document()["spent"] == "106"
    keys = {each.key for each in found.alerts()}
    assert len(keys) == len({each.anomaly_id for each in found.alerts()})
    assert {each.severity for each in found.alerts()} >= {"CRITICAL"}
    if point != "tell before":
        assert len(keys) == len(found.alerts())


def break_at(found, point):
    """The process dies at this point once."""
    name = point.split()[0]
    place = found.keeper.alerts if name == "append" else found.store
    real = getattr(place, name)

    def dying(*arguments):
        if point.endswith("after"):
            real(*arguments)
        setattr(place, name, real)
        raise RuntimeError(point)

    setattr(place, name, dying)


def test_a_call_whose_answer_is_lost_counts_once():
    found = Installation(budget("100"))
    found.run()
    found.spend(1, "30")
    real = found.store.apply

    def silent(*arguments):
        real(*arguments)
        found.store.apply = real
        raise TransientError("no answer")

    found.store.apply = silent
    with pytest.raises(TransientError):
        found.run()
    found.run()
    assert found.document()["spent"] == "30"


def test_a_store_that_lost_everything_is_written_again():
    found = Installation(budget("100"))
    found.spend(1, "30")
    found.run()
    found.store.lose()
    found.spend(2, "5")
    found.run()
    assert found.document()["spent"] == "35"
    found.crash()
    found.run()
    assert found.document()["spent"] == "35"


def test_a_process_that_was_replaced_takes_what_is_stored():
    found = Installation(budget("100"))
    found.spend(1, "30")
    found.run()
    old = found.keeper
    found.crash()
    found.spend(2, "5")
    found.run()
    old._count(0, found.log.readable(TOPIC, 0, 1, 2))  # it does not know yet that the partition has moved
    assert found.store.load(0)[0].next_offset == 2
    assert old._assigned == [0]
    assert found.document()["spent"] == "35"


def test_what_was_deleted_before_it_was_counted_is_told():
    found = Installation(budget("100"), budget("10", team="search", period="daily"))
    found.spend(1, "30")
    found.spend(2, "5")
    found.log.starts[TOPIC, 0] = 1
    found.run()
    assert (found.document()["spent"], found.document()["complete"]) == ("5", False)
    found.clock.now += DAY_US // 1000
    found.run()
    assert found.document("acme:team:search")["complete"] is True


def test_a_store_that_is_ahead_of_the_log_is_refused():
    found = Installation(budget("100"))
    found.spend(1, "30")
    found.run()
    found.log.logs[TOPIC, 0].clear()
    found.crash()
    with pytest.raises(Fault, match="delete the keys"):
        found.run()


# The gate


class Redis:
    """What the gate asks, on the documents of a memory store; `fails`: it does not answer."""

    def __init__(self, store):
        self.store, self.fails, self.calls = store, False, 0

    def mget(self, keys):
        self.calls += 1
        if self.fails:
            raise ConnectionError("redis://:password@host")
        known = {f"budget:{path}": text for path, text in self.store.documents.items()}
        known["budgets:heartbeat"] = self.store.heartbeat
        return [known.get(key) for key in keys]


def gate_on(found, **options):
    redis = Redis(found.store)
    return BudgetGate(redis, now_s=lambda: found.clock.now / 1000, **options), redis


@pytest.mark.parametrize(
    ("spent", "estimate", "action"),
    [
        ("0", "0", "allow"),
        ("79.99", "0", "allow"),
        ("79.99", "0.01", "warn"),
        ("80", "0", "warn"),
        ("80", "20", "warn"),
        ("80", "20.000000000001", "deny"),
        ("100", "0", "deny"),
    ],
)
def test_the_gate_counts_the_estimate(spent, estimate, action):
    found = Installation(budget("100"))
    found.spend(1, spent)
    found.run()
    gate, redis = gate_on(found)
    decision = gate.check("acme", estimated_cost=Decimal(estimate))
    assert (decision.action, decision.budget["budget_id"], redis.calls) == (action, "acme@monthly", 1)


def test_the_strictest_budget_of_all_levels_decides():
    found = Installation(budget("1000"), budget("100", team="search", project="rank"), budget("10", experiment="e1"))
    found.spend(1, "100", project="rank")
    found.run()
    gate, _ = gate_on(found)
    assert gate.check("acme").action == "allow"
    assert gate.check("acme", team="search").action == "allow"
    assert gate.check("acme", team="search", project="rank").action == "deny"
    assert gate.check("acme", team="search", project="rank", experiment="e1").budget["limit"] == "100"
    assert gate.check("other").reason == "no budget"


@pytest.mark.parametrize("answer", ["allow", "warn", "deny"])
def test_the_gate_says_what_it_was_told_when_it_cannot_know(answer):
    found = Installation(budget("100"))
    found.run()
    gate, redis = gate_on(found, on_unavailable=answer, stale_after_s=60)
    assert gate.check("acme").action == "allow"
    found.clock.now += 61_000
    assert gate.check("acme").action == answer
    found.store.heartbeat = None
    assert gate.check("acme").action == answer
    redis.fails = True
    decision = gate.check("acme")
    assert (decision.action, decision.budget) == (answer, None)
    assert "password" not in decision.reason


def test_what_is_exceeded_stays_so_until_its_period_is_over_even_if_nobody_writes():
    found = Installation(budget("100", period="daily"))
    found.spend(1, "100")
    found.run()
    gate, _ = gate_on(found, on_unavailable="allow")
    found.clock.now += 3_600_000
    assert gate.check("acme").action == "deny"
    found.clock.now += 24 * 3_600_000
    assert gate.check("acme").action == "allow"


@pytest.mark.parametrize(
    ("estimate", "error"), [(0.5, TypeError), (Decimal("NaN"), ValueError), (Decimal(-1), ValueError)]
)
def test_an_estimate_that_is_not_exact_is_refused(estimate, error):
    gate, _ = gate_on(Installation())
    with pytest.raises(error):
        gate.check("acme", estimated_cost=estimate)


def test_the_gate_imports_nothing_heavy():
    code = "import sys, chargeline.sdk.budget, chargeline.sdk.webhook; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pyarrow", "numpy", "polars", "redis", "yaml", "fastavro", "confluent_kafka"}
    assert not heavy & {name.split(".")[0] for name in done.stdout.split()}


def test_the_gate_and_the_service_write_names_alike():
    names = {"team": "a:b", "project": "{p}", "experiment": "100%@"}
    scope = Scope("x:y", names["team"], names["project"], names["experiment"])
    assert budget_keys("x:y", **names)[-1] == f"budget:{scope.path}"
    assert f"budget:{Scope('x:y', None, names['project'], None).path}" in budget_keys("x:y", **names)
    assert len(budget_keys("x:y", **names)) == 8
