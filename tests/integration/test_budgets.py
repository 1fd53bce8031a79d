"""Budgets on real servers: set by the command line, spent by usage, asked by a gateway, told once; Redis goes away."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis import Redis

from chargeline.adapters.registry import SchemaRegistry
from chargeline.domain.budgets.alerts import alert_id
from chargeline.runtime.stack import load_stack
from chargeline.sdk.budget import BudgetGate
from chargeline.sdk.client import UsageClient
from chargeline.wire.anomaly_records import decode_anomaly
from tests.support.stack import asked, away, chargeline, wait_until

pytestmark = pytest.mark.stack
ACCOUNT, LIMIT, A_CALL = "thrifty", "1", Decimal("0.0025")  # 1,000 input tokens of gpt-4o at 2.50 a million


@pytest.fixture
def redis(stack):
    servers = load_stack(str(stack))
    client = Redis.from_url(servers.redis_url, username=servers.redis_user, password=servers.redis_password,
                            socket_timeout=1.0)  # fmt: skip
    yield client
    client.close()


@pytest.fixture
def client(stack):
    servers = load_stack(str(stack))
    number = SchemaRegistry(servers.registry).id_of("usage-events-value")
    with UsageClient(servers.kafka, source="budgets", schema_id=number) as found:
        yield found


def call(client, name, times):
    owner = {"billing_account_id": ACCOUNT, "provider_name": "openai", "request_model": "gpt-4o", "team": "search"}
    for number in range(times):
        client.emit(owner | {"event_id": f"{name}-{number}", "operation_name": "chat", "input_tokens": 1000})
    assert client.flush() == 0


def told(data, name):
    """Sequences and states of an alert in the log."""

    def read(reader):
        return [record for number in range(reader.partitions("cost-anomalies"))
                for record in reader.read("cost-anomalies", number, 0, reader.bounds("cost-anomalies", number)[1])]  # fmt: skip

    found = [decode_anomaly(record.value) for record in asked(data, read)]
    return [(each["sequence"], each["status"]) for each in found if each["anomaly_id"] == name]


def test_a_budget_is_spent_asked_and_told_once_while_redis_goes_and_comes(stack, redis, client):
    today = datetime.now(UTC).date()
    first, end = today - timedelta(days=1), today + timedelta(days=3)
    chargeline(stack, "budgets", "set", ACCOUNT, LIMIT, "--currency", "USD", "--soft", "50%",
               "--period", f"{first}..{end}")  # fmt: skip
    budget_id = f"{ACCOUNT}@{first}..{end}"
    start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()) * 1_000_000
    soft, hard = (alert_id(budget_id, threshold, start) for threshold in ("SOFT 50%", "HARD"))
    careful, lenient = (BudgetGate(redis, on_unavailable=action) for action in ("deny", "allow"))
    document = wait_until(lambda: redis.get(f"budget:{ACCOUNT}"), "the budget can be asked", 30)
    assert {name: json.loads(document)[name] for name in ("state", "spent", "hard", "soft", "unit")} == {
        "state": "OK", "spent": "0", "hard": "1", "soft": "0.5", "unit": "USD"}  # fmt: skip
    assert careful.check(ACCOUNT, team="search").action == "allow"

    call(client, "before", 240)
    wait_until(lambda: json.loads(redis.get(f"budget:{ACCOUNT}"))["spent"] == "0.6", "the calls are spent", 30)
    found = careful.check(ACCOUNT, team="search")
    assert found.action == "warn"
    assert found.budget is not None
    assert found.budget["state"] == "WARN"
    assert careful.check(ACCOUNT, estimated_cost=Decimal("0.4") + A_CALL).action == "deny"

    wait_until(lambda: told(stack, soft), "the soft threshold is told", 30)

    with away(stack, "redis"):
        assert [gate.check(ACCOUNT).action for gate in (careful, lenient)] == ["deny", "allow"]
        call(client, "while", 160)
    wait_until(lambda: lenient.check(ACCOUNT).action == "deny", "what was spent meanwhile is known", 60)
    assert json.loads(redis.get(f"budget:{ACCOUNT}"))["spent"] == "1"

    wait_until(lambda: told(stack, hard), "the hard threshold is told", 30)
    assert [told(stack, soft), told(stack, hard)] == [[(1, "OPEN")], [(1, "OPEN")]]
    shown = json.loads(chargeline(stack, "budgets", "show", budget_id, "--json"))
    assert (shown["current"]["spent"], shown["current"]["state"]) == ("1", "EXCEEDED")
