"""Whatever somebody sends: the outcome that spec/rating.md 14 names, and the rest is billed."""

import random
import struct
import time
from collections import Counter

import pytest
from confluent_kafka import Producer

from chargeline.adapters.kafka import COMMON
from chargeline.adapters.registry import SchemaRegistry
from chargeline.runtime.stack import load_stack
from tests.support.events import account_on, encoded, event
from tests.support.stack import committed, ends, rows, wait_until

pytestmark = pytest.mark.stack
YEAR_1, YEAR_9999 = -62_135_596_800_000_000, 253_402_300_799_000_000
MIB = 1024 * 1024


class Batch:
    """Values for partition 0 with the code that each must get; None: it is billed."""

    def __init__(self, schema_id, seed):
        self.chance, self.schema_id = random.Random(seed), schema_id
        self.now = time.time_ns() // 1000  # what is older than 13 months is not priced
        self.account = account_on(0, 2, self.chance)
        self.prefix = f"bad-{seed}"
        self.number = 0
        self.sent = []

    def good(self, **fields):
        self.number += 1
        named = {"event_id": f"{self.prefix}-{self.number}", "billing_account_id": self.account,
                 "event_time": self.now, "input_tokens": 1000}  # fmt: skip
        return encoded(event(**(named | fields)), self.schema_id)

    def add(self, code, value):
        self.sent.append((code, value))

    def bad_ones(self):
        """One of each kind."""
        good, chance = self.good(), self.chance
        self.add("MALFORMED", good[: chance.randrange(5, len(good))])
        self.add("MALFORMED", good[: chance.randrange(1, 5)])
        self.add("MALFORMED", good + b"\0")
        self.add("MALFORMED", b"\x01" + good[1:])
        self.add("MALFORMED", b"\xff" * chance.randrange(1, 500))
        self.add("MALFORMED", b"")
        self.add("MALFORMED", None)
        self.add("MALFORMED", good[:5] + b"\xff" * 2000)
        self.add("UNKNOWN_SCHEMA", struct.pack(">bI", 0, 2**31 + 5) + good[5:])
        self.add("UNKNOWN_SCHEMA", struct.pack(">bI", 0, 999_999) + good[5:])
        self.add("TOO_LARGE", self.good(team="x" * 1025))
        self.add("TOO_LARGE", self.good(customer_id="ü" * 513))
        self.add("TOO_LARGE", self.good(labels={f"k{n}": "v" for n in range(65)}))
        self.add("TOO_LARGE", self.good(project="x" * (5 * MIB)))
        self.add("MALFORMED", good[:5] + chance.randbytes(5 * MIB)[:-1] + b"\x80")
        self.add("MISSING_FIELD", self.good(event_id=""))
        for number in (float("nan"), float("inf"), float("-inf")):
            self.add("BAD_NUMBER", self.good(quality_score=number))
        for moment in (YEAR_1, YEAR_9999, 0, 2**63 - 1, -(2**63)):
            self.add("BAD_TIME", self.good(event_time=moment))
        self.add("BAD_TIME", self.good(charge_period_end=YEAR_9999))
        self.add("FUTURE_EVENT", self.good(event_time=4_102_444_800_000_000))
        self.add("MISPLACED", self.good(billing_account_id=account_on(1, 2, chance)))
        self.add("UNSUPPORTED", self.good(event_kind="PERIOD_CLOSE"))
        self.add("MISSING_FIELD", self.good(event_kind="CANCEL"))
        self.add("NEGATIVE_QUANTITY", self.good(input_tokens=-1))
        self.add("NEGATIVE_QUANTITY", self.good(gpu_ms=-(2**63)))
        self.add(
            "NEGATIVE_QUANTITY", self.good(token_convention="INCLUSIVE", input_tokens=5, cache_read_input_tokens=6)
        )
        self.add("INTERVAL_REVERSED", self.good(charge_period_end=self.now))
        self.add("BAD_SAMPLE_WEIGHT", self.good(sample_weight=0))
        self.add("AMOUNT_OVERFLOW", self.good(input_tokens=2**63 - 1, sample_weight=2**63 - 1))
        # Two faults at once: the first in the order of precedence.
        self.add("BAD_NUMBER", self.good(quality_score=float("nan"), event_time=YEAR_1, input_tokens=-5))
        self.add("TOO_LARGE", self.good(team="x" * 2000, event_id="", event_time=YEAR_9999))

    def good_ones(self, count):
        for _ in range(count):
            self.add(None, self.good())


@pytest.fixture
def batch(stack):
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    number = SchemaRegistry(load_stack(str(stack)).registry).id_of("usage-events-value")
    return Batch(number, seed)


def send(stack, values):
    """Send to partition 0, without keys; the first offset."""
    (start,) = [end for partition, end in ends(stack).items() if partition == 0]
    producer = Producer({**COMMON, "bootstrap.servers": load_stack(str(stack)).kafka, "message.max.bytes": 8 * MIB,
                         "linger.ms": 200, "enable.idempotence": True})  # fmt: skip
    for value in values:
        producer.produce("usage-events", value, partition=0)
    assert producer.flush(60) == 0
    wait_until(lambda: committed(stack)[0] == ends(stack)[0], "everything has an outcome")
    return start


def test_each_bad_record_gets_its_code_and_all_others_are_billed(stack, batch):
    """All kinds at once, shuffled among good events, so that they stand in the same units."""
    for _ in range(3):
        batch.bad_ones()
    batch.good_ones(2000)
    batch.chance.shuffle(batch.sent)
    start = send(stack, [value for _, value in batch.sent])
    expected = {start + n: code for n, (code, _) in enumerate(batch.sent) if code is not None}
    sql = f"SELECT source_offset AS o, code FROM dead_letters FINAL WHERE source_partition = 0 AND o >= {start}"
    wait_until(lambda: len(rows(stack, sql)) >= len(expected), "the dead letters are stored")
    found = {row["o"]: row["code"] for row in rows(stack, sql)}
    differing = {o: (found.get(o), code) for o, code in expected.items() if found.get(o) != code}
    assert differing == {}
    assert Counter(found.values()) == Counter(expected.values())
    billed = (f"SELECT count() AS n, sum(billed_cost) AS b FROM charges WHERE source_offset >= {start} "
              f"AND startsWith(event_id, '{batch.prefix}-')")  # fmt: skip
    wait_until(lambda: rows(stack, billed)[0]["n"] >= 2000, "the others are stored")
    assert rows(stack, billed) == [{"n": 2000, "b": "5"}]  # 2000 * 1000 tokens of gpt-4o at 2.50 a million


def test_nothing_of_a_batch_of_bad_records_stops_the_partition(stack, batch):
    """Only bad ones in a row, then one good event."""
    batch.bad_ones()
    batch.good_ones(1)
    send(stack, [value for _, value in batch.sent])
    sql = f"SELECT count() AS n FROM charges WHERE startsWith(event_id, '{batch.prefix}-')"
    wait_until(lambda: rows(stack, sql) == [{"n": 1}], "the good one is stored")
