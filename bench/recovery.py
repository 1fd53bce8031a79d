"""How long a pricer takes to be ready again: `python bench/recovery.py` writes results/recovery.json.

Real Kafka and Redis, one partition; every recovery in a process of its own, measured from the call that recovers the
partition to its return, the snapshot that it writes to Redis included.

    plain   EVENTS of the usual benchmark, priced by the real pricer; Redis emptied; folded from `charges`
    ids     10,000,000 identities in Redis, loaded
    scopes  1,000,000 events of as many accounts, each of which opens a scope of a graduated rate, priced by the real
            pricer; loaded from Redis, then folded from `charges` with Redis empty

QUICK=1 takes a tenth of everything.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.kafka import KafkaLogConsumer, KafkaLogReader
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.cli.sending import Sender
from chargeline.domain.identities import Keys
from chargeline.pricer.observer import Observer
from chargeline.pricer.recovery import SEGMENT_IDENTITIES, Recovery
from chargeline.pricer.settings import PricerSettings
from chargeline.runtime.stack import Stack
from chargeline.sdk.columns import numbered
from chargeline.state_ports import Segment
from chargeline.wire.usage_encoder import Framed, framed

sys.path.insert(0, str(Path(__file__).parent))
from commands import NO_SERVICES, child, running
from traffic import BATCH, batches, card, columns

SIZE = 10 if os.environ.get("QUICK") == "1" else 1
EVENTS, IDS, SCOPES = 2_000_000 // SIZE, 10_000_000 // SIZE, 1_000_000 // SIZE
UNIT = 20_000  # of the scopes: what a second of a busy partition is, many more units than a preloaded topic makes
GRADUATED = """id: bench
version: 1
currency: USD
effective_from: 2023-01-01T00:00:00Z
scope: default
skus:
  - {sku_id: prompts, match: {provider_name: openai, models: [%s]}, leaf: input,
     charge_model: per_unit, unit_price: "2.5", pricing_unit: 1000000 Tokens}
  - sku_id: tokens
    match: {provider_name: openai, models: [%s]}
    leaf: output
    charge_model: graduated
    pricing_unit: 1000 Tokens
    tiers: [{up_to: "40", unit_price: "0.7"}, {up_to: null, unit_price: "0.55"}]
"""


def with_accounts(schema_id: int) -> Iterator[Framed]:
    """Events of an account each."""
    chance = np.random.default_rng(1)
    for first in range(0, SCOPES, BATCH):
        numbers = np.arange(first, min(first + BATCH, SCOPES))
        made = columns(numbers, chance)
        made["billing_account_id"] = numbered("account-", numbers)
        yield framed(made, len(numbers), schema_id)


@contextmanager
def prepared(text: str, made: Callable[[int], Iterator[Framed]], total: int, **settings: str) -> Iterator[Stack]:
    """A stack whose pricer has priced all events."""
    with running(text, NO_SERVICES, "--partitions", 1) as stack:
        sender = Sender(stack)
        sender.send_all(made(sender.schema_id), total, None, "preloading")
        sender.close()
        child("child.py", "pricer", total, stack=stack, **settings)
        yield stack


def emptied(stack: Stack) -> None:
    redis.Redis.from_url(stack.redis_url, username=stack.redis_user, password=stack.redis_password).flushdb()


def plain() -> dict[str, float]:
    with prepared(card(), lambda number: batches(EVENTS, number), EVENTS) as stack:
        emptied(stack)
        folded = child("recovery.py", "recover", stack=stack)
        child("recovery.py", "remember", stack=stack)
        loaded = child("recovery.py", "recover", stack=stack)
    return {
        "plain_rows": folded["identities"],
        "plain_fold_s": folded["seconds"],
        "plain_fold_rows_per_s": folded["identities"] / folded["seconds"],
        "ids": loaded["identities"],
        "ids_from_redis_s": loaded["seconds"],
        "ids_peak_mib": loaded["peak_mib"],
    }


def scopes() -> dict[str, float]:
    models = ", ".join(f"model-{n}" for n in range(20))
    text = GRADUATED % (models, models)
    with prepared(text, with_accounts, SCOPES, CHARGELINE_PRICER_UNIT_RECORDS=str(UNIT)) as stack:
        loaded = child("recovery.py", "recover", stack=stack)
        emptied(stack)
        folded = child("recovery.py", "recover", stack=stack)
    return {
        "scopes": loaded["scopes"],
        "scopes_from_redis_s": loaded["seconds"],
        "scopes_folded": folded["scopes"],
        "scopes_fold_s": folded["seconds"],
        "scopes_fold_rows_per_s": folded["identities"] / folded["seconds"],
        "scopes_peak_mib": folded["peak_mib"],
    }


def _store(settings: PricerSettings) -> RedisStateStore:
    password = settings.redis_password
    return RedisStateStore(
        settings.redis_url,
        username=settings.redis_user,
        password=password.get_secret_value() if password else None,
    )


def recover() -> dict[str, float]:
    """In a process of its own: partition 0, as at an assignment."""
    pa.array(np.zeros(0))
    settings = PricerSettings()
    consumer = KafkaLogConsumer(settings.kafka, settings.pricer_group)
    consumer.subscribe("usage-events", lambda _: None, lambda _: None)  # never polled: it joins no group
    store = _store(settings)
    recovery = Recovery(consumer, KafkaLogReader(settings.kafka), store, SystemClock(), Observer())
    began = time.perf_counter()
    state = recovery.recover(0)
    took = time.perf_counter() - began
    consumer.close()
    return {
        "seconds": took,
        "identities": len(state.identities),
        "scopes": len(state.scopes),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def remember() -> dict[str, float]:
    """Put invented identities beside the stored place in the log."""
    settings = PricerSettings()
    store, chance = _store(settings), np.random.default_rng(1)
    head = store.head(0)
    assert head is not None
    segments = []
    for number, first in enumerate(range(0, IDS, SEGMENT_IDENTITIES)):
        count = min(SEGMENT_IDENTITIES, IDS - first)
        keys = Keys(
            chance.integers(0, 1 << 64, count, np.uint64),
            chance.integers(0, 1 << 32, count, np.uint32),
            chance.integers(0, 1 << 32, count, np.uint32),
            np.arange(first, first + count),
        )
        segments.append(Segment(number, keys.stored(), 0))
    store.replace(0, head, segments, {}, b"")
    return {"identities": IDS}


def main() -> None:
    actions: dict[str, Callable[[], dict[str, Any]]] = {
        "recover": recover, "remember": remember, "plain": plain, "scopes": scopes
    }  # fmt: skip
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(actions[sys.argv[1]]()) + "\n")
        return
    result = plain()
    sys.stderr.write(f"{result}\n")
    result |= scopes()
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    (Path(__file__).parent / "results" / "recovery.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
