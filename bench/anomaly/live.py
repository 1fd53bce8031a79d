"""How long after spend runs away in an open window it is told of, through Kafka, pricer and service, at 1,000 series.

A stack of its own has ten accounts of 99 teams with four days of usual spend in windows of five minutes. Then
every team spends every second, and in each account one team begins to spend a hundred times as much, at another
place of a window. The delay is from the moment at which its spend passes the line of the open window (`runaway.passes`,
counted from the append time of its first such event) to the append time of the incident's record.

    python -m bench.anomaly.live     adds to bench/results/anomaly.json
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import urllib3
from bench.anomaly.runaway import passes
from bench.commands import running
from bench.traffic import MODELS, card
from confluent_kafka import Message, Producer
from prometheus_client.parser import text_string_to_metric_families

from chargeline.adapters.kafka import KafkaLogReader
from chargeline.cli.sending import Sender
from chargeline.runtime.stack import Stack
from chargeline.sdk.columns import Int64Array, coded, numbered
from chargeline.sdk.partitioner import partition_of
from chargeline.wire.anomaly_records import decode_anomaly
from chargeline.wire.usage_encoder import Framed, framed

RESULTS = Path(__file__).parents[1] / "results" / "anomaly.json"
PARTITIONS, ACCOUNTS, TEAMS = 2, 10, 99
WINDOW_S, DAYS = 300, 4
TOKENS, FACTOR = 50_000_000, 100  # a window's usual input of a team; times, of one that runs away
LIVE_S, FIRST_S, APART_S = 170, 45, 9
MOST_S = 9.0  # from the first such event to the line, in the last part of a window
_WAIT_S = 120.0


def measured() -> dict[str, Any]:
    """Keys runaway_live_found, runaway_live_delay_s_max, runaway_live_delay_s_median."""
    os.environ |= {"CHARGELINE_WINDOW_S": str(WINDOW_S), "CHARGELINE_ANOMALY_WINDOW_S": str(WINDOW_S)}
    with running(card(), "--partitions", PARTITIONS) as stack:
        sender = Sender(stack)
        now = int(time.time()) // WINDOW_S * WINDOW_S
        sender.send_all(_history(now, sender.schema_id), None, None, "four days of usual spend")
        sender.wait()
        _await_panes(stack, 2 * DAYS * 86_400 // WINDOW_S * ACCOUNTS * TEAMS)
        began = _run(stack, sender.schema_id)
        sender.close()
        delays = _delays(stack, began)
    return {
        "runaway_live_found": f"{len(delays)}/{ACCOUNTS}",
        "runaway_live_delay_s_max": round(max(delays, default=float("inf")), 2),
        "runaway_live_delay_s_median": round(float(np.median(delays)), 2) if delays else None,
    }


def _await_panes(stack: Stack, count: int) -> None:
    """Until the service has counted so many, of costs and of performance."""
    service = next(each for each in stack.services if each.name == "anomaly")
    until = time.monotonic() + _WAIT_S * 3
    while time.monotonic() < until:
        text = urllib3.request("GET", f"{service.address}/metrics").data.decode()
        samples = (each for family in text_string_to_metric_families(text) for each in family.samples)
        if sum(each.value for each in samples if each.name == "chargeline_anomaly_panes_total") >= count:
            return
        time.sleep(0.5)
    raise TimeoutError(f"the anomaly service did not count {count} panes")


def _history(now: int, schema_id: int) -> Iterator[Framed]:
    chance = np.random.default_rng(1)
    windows = DAYS * 86_400 // WINDOW_S
    for window in range(windows):
        moment = now - (windows - window) * WINDOW_S
        yield _events(moment * 1_000_000, f"w{window}-", _usual(chance, TOKENS), schema_id)


def _run(stack: Stack, schema_id: int) -> dict[str, int]:
    """By account, when the first dear event was appended, milliseconds."""
    chance = np.random.default_rng(2)
    began: dict[str, int] = {}

    def first(account: str) -> Any:
        def delivered(error: Any, message: Message) -> None:
            assert error is None, error
            began[account] = message.timestamp()[1]

        return delivered

    producer = Producer({"bootstrap.servers": stack.kafka, "enable.idempotence": True, "linger.ms": 5})
    zero = time.time()
    for second in range(LIVE_S):
        time.sleep(max(0.0, zero + second - time.time()))
        tokens = _usual(chance, TOKENS // WINDOW_S)
        runs = [account for account in range(ACCOUNTS) if second >= FIRST_S + APART_S * account]
        for account in runs:
            tokens[account * TEAMS + account] *= FACTOR
        made = _events(time.time_ns() // 1000, f"s{second}-", tokens, schema_id)
        for number, (name, value) in enumerate(zip(made.accounts.to_pylist(), made.values, strict=True)):
            account, team = divmod(number, TEAMS)
            is_first = account == team and second == FIRST_S + APART_S * account
            producer.produce("usage-events", value, name.encode(), partition_of(name, PARTITIONS),
                             on_delivery=first(name) if is_first else None)  # fmt: skip
        producer.poll(0)
    producer.flush()
    producer.close()
    return began


def _usual(chance: np.random.Generator, tokens: int) -> Int64Array:
    return (tokens * chance.normal(1, 0.1, ACCOUNTS * TEAMS).clip(0.5, 1.5)).astype(np.int64)


def _events(moment: int, prefix: str, tokens: Int64Array, schema_id: int) -> Framed:
    """One event of every team, microseconds apart."""
    account, team = np.divmod(np.arange(ACCOUNTS * TEAMS), TEAMS)
    columns = {
        "event_id": numbered(prefix, np.arange(len(account))),
        "source": "gateway-1",
        "billing_account_id": coded(account, [f"account-{n}" for n in range(ACCOUNTS)]),
        "event_time": pa.array(moment + np.arange(len(account))),
        "provider_name": "openai",
        "request_model": MODELS[0],
        "operation_name": "chat",
        "team": coded(team, [f"team-{n}" for n in range(TEAMS)]),
        "input_tokens": pa.array(tokens),
    }
    return framed(columns, len(account), schema_id)


def _delays(stack: Stack, began: dict[str, int]) -> list[float]:
    """Seconds, of each account whose team was told of while its window was open."""
    reader, found = KafkaLogReader(stack.kafka), {}
    until = time.monotonic() + _WAIT_S
    while len(found) < ACCOUNTS and time.monotonic() < until:
        for partition in range(reader.partitions("cost-anomalies")):
            for record in reader.read("cost-anomalies", partition, *reader.bounds("cost-anomalies", partition)):
                told = decode_anomaly(record.value or b"")
                account = told["billing_account_id"]
                is_its = told["dimensions"].get("team") == "team-" + account.partition("-")[2]
                if told["kind"] == "RUNAWAY" and is_its and record.append_time >= began[account]:
                    found.setdefault(account, record.append_time)
        time.sleep(0.5)
    reader.close()
    return [told / 1000 - _passed(began[account] / 1000) for account, told in found.items()]


def _passed(began_s: float) -> float:
    """When spend that runs away from an instant on passes the line; in the next window, if this one is nearly over."""
    start = began_s // WINDOW_S * WINDOW_S
    into = began_s - start
    return start + (passes(into) if into < WINDOW_S - MOST_S else WINDOW_S + passes(0.0))


if __name__ == "__main__":
    result = measured()
    known = json.loads(RESULTS.read_text())
    RESULTS.write_text(json.dumps(known | result, indent=1) + "\n")
    print(json.dumps(result))
    sys.exit(result["runaway_live_delay_s_max"] > 10)
