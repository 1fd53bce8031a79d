"""Random usage events and the records that carry them; nothing here is shared with what is tested but the schema."""

import io
import random
import struct

import fastavro
import numpy as np

from chargeline.ports import LogBatch
from chargeline.verify.events import murmur2
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.avro_schema import USAGE_EVENT

SCHEMA_ID = 1
START = 1_700_000_000_000_000  # 2023-11-14T22:13:20Z, microseconds
APPEND = START // 1000 + 3_600_000
A_MONTH = 20 * 86_400_000_000  # back in the month before START


def schema_of(number):
    return USAGE_EVENT_SCHEMA if number == SCHEMA_ID else None


def event(**fields):
    base = {
        "event_id": "e1",
        "source": "gw",
        "billing_account_id": "acme",
        "event_time": START,
        "provider_name": "openai",
        "request_model": "gpt-4o",
        "operation_name": "chat",
    }
    return base | fields


def encoded(fields, schema_id=SCHEMA_ID):
    sink = io.BytesIO()
    sink.write(struct.pack(">bI", 0, schema_id))
    fastavro.schemaless_writer(sink, USAGE_EVENT, fields)
    return sink.getvalue()


def account_on(partition, partitions, chance):
    while True:
        account = f"account-{chance.randrange(24)}"
        if murmur2(account.encode()) % partitions == partition:
            return account


def batch(values, *, partition=0, start=0, append=APPEND):
    count = len(values)
    times = np.full(count, append, np.int64) if isinstance(append, int) else np.array(append, np.int64)
    return LogBatch(
        "usage-events",
        partition,
        np.arange(start, start + count),
        times,
        [value or b"" for value in values],
        start + count,
    )


class RandomEvents:
    """A stream of records of one partition: mostly good, some of every kind of bad.

    `corrections`: amends, cancels and re-ratings too, of what was sent and of what is still to come.
    `closes`: of this month and the one before, in which some of the usage lies then.
    """

    def __init__(
        self,
        seed,
        partition=0,
        partitions=1,
        models=("gpt-4o", "gpt-4o-mini", "long-x", "nobody", "gpu"),
        *,
        corrections=False,
        closes=False,
    ):
        self.corrections, self.closes = corrections, closes
        self.named, self.later, self.repeatable = [], [], []
        self.chance = random.Random(seed)
        self.partition, self.partitions = partition, partitions
        self.models = models
        self.number = 0
        self.sent = []
        self.refused = None

    def values(self, count):
        return [self.value() for _ in range(count)]

    def value(self):
        c = self.chance
        if self.closes and c.random() < 0.07:
            return self.close()
        if self.corrections and c.random() < 0.2:
            return self.correction()
        if self.later and c.random() < 0.15:
            fields = self.later.pop(0)
            self.sent.append(encoded(fields))
            return self.sent[-1]
        draw = c.random()
        if self.sent and draw < 0.08:
            return c.choice(self.sent[-50:])
        if self.refused is not None and draw < 0.5:  # the producer mends what was refused, and sends it again
            fields, self.refused = self.refused, None
            self.sent.append(encoded(fields))
            return self.sent[-1]
        fields = self.fields()
        if self.sent and draw < 0.10:
            fields["event_id"] = f"e{max(0, self.number - 1 - c.randrange(5))}"
        if draw > 0.9:
            return self.bad(fields)
        value = encoded(fields)
        self.sent.append(value)
        self.named.append(fields)
        return value

    def close(self):
        """A control record; some are from a source that may write none."""
        c = self.chance
        fields = event(
            event_id=f"close-{self.number}",
            source=c.choice(["chargeline"] * 9 + ["gw"]),
            event_kind="PERIOD_CLOSE",
            event_time=START - c.choice([0, A_MONTH]),
            billing_account_id=self.account(),
            requests=0,
        )
        self.number += 1
        self.sent.append(encoded(fields))
        return self.sent[-1]

    def correction(self):
        """A cancel, amend or re-rating of an event, of another correction, or of an event that is still to come."""
        c = self.chance
        if self.repeatable and c.random() < 0.15:
            return c.choice(self.repeatable[-8:])
        if not self.named or c.random() < 0.4:
            self.later.append(self.fields())
            self.named.append(self.later[-1])
        target = c.choice(self.named[-40:])
        kind = c.choice(["CANCEL", "CANCEL", "AMEND", "AMEND", "RERATE"])
        fields = self.fields() if kind == "AMEND" else event(event_time=target["event_time"])
        fields |= {"event_id": f"{kind}-{self.number}", "event_kind": kind, "source": target["source"],
                   "amends_event_id": target["event_id"], "billing_account_id": target["billing_account_id"]}  # fmt: skip
        self.number += 1
        self.named.append(fields)
        self.repeatable.append(encoded(fields))
        return self.repeatable[-1]

    def account(self):
        """Of periods that are closed some account must have more than one event."""
        if self.closes and self.chance.random() < 0.8:
            return account_on(self.partition, self.partitions, random.Random(self.partition))
        return account_on(self.partition, self.partitions, self.chance)

    def fields(self):
        c = self.chance
        fields = event(
            event_id=f"e{self.number}",
            billing_account_id=self.account(),
            event_time=START + c.randrange(-90, 90) * 60_000_000 + c.randrange(10**6),
            request_model=c.choice(self.models),
        )
        if self.closes and c.random() < 0.5:
            fields["event_time"] -= A_MONTH
        self.number += 1
        for name in ("team", "project", "region", "service_tier", "response_model", "customer_id"):
            if c.random() < 0.3:
                fields[name] = c.choice(["a", "b", "batch", "gpt-4o", "ünï", ""])
        for name in ("input", "output", "cache_read_input", "reasoning_output", "input_image", "cache_write_input"):
            if c.random() < 0.5:
                fields[f"{name}_tokens"] = c.choice([0, 1, 63, 128_000, 128_001, c.randrange(10**6), 10**15])
        if c.random() < 0.2:
            fields |= {"token_convention": "INCLUSIVE", "input_tokens": 10**7, "output_tokens": 10**7}
            fields["input_tokens"] += sum(v for k, v in fields.items() if "input_tokens" in k and k != "input_tokens")
            fields["output_tokens"] += fields.get("reasoning_output_tokens", 0)
        if c.random() < 0.2:
            fields["gpu_ms"] = c.randrange(10**9)
        if c.random() < 0.2:
            fields["extra_quantities"] = {"web_searches": c.randrange(10**8), "odd": 5}
        if c.random() < 0.2:
            fields["labels"] = {f"k{n}": "v" for n in range(c.randrange(4))}
        if c.random() < 0.1:
            fields["sample_weight"] = c.choice([2, 7, 10**6])
        if c.random() < 0.2:
            fields["status"] = c.choice(["ERROR", "CANCELLED", "PARTIAL"])
        if c.random() < 0.3:
            fields |= {"duration_ms": c.randrange(5000), "attempt": c.randrange(1, 4), "quality_score": c.random()}
        return fields

    def bad(self, fields):
        c = self.chance
        value = encoded(fields)
        kind = c.randrange(16)
        no_tokens = dict.fromkeys((name for name in fields if name.endswith("_tokens")), 0)
        changes = {
            3: {"event_id": ""},
            4: {"quality_score": float("nan")},
            5: {"event_time": c.choice([-(10**17), 0, 10**17])},
            6: {"event_time": (APPEND + 3_600_000) * 1000},
            7: {"billing_account_id": "elsewhere" if self.partitions > 1 else "acme"},
            8: {"event_kind": c.choice(["CANCEL", "PERIOD_CLOSE", "UNKNOWN"])},
            9: {"input_tokens": -1},
            10: {"charge_period_end": fields["event_time"]},
            11: {"sample_weight": 0},
            12: no_tokens | {"sample_weight": 2**62, "gpu_ms": 2**62, "request_model": "gpu", "response_model": None},
            13: {"team": "x" * 1025},
            14: {"labels": {f"k{n}": "v" for n in range(70)}},
            15: {"token_convention": "INCLUSIVE", "input_tokens": 5, "cache_read_input_tokens": 6},
        }
        if kind in changes:
            self.refused = fields
            return encoded(fields | changes[kind])
        if kind == 0:
            return value[: c.randrange(len(value))]
        return c.choice([value + b"x", b"\x01" + value[1:], encoded(fields, 99), b"", None, c.randbytes(60)])
