"""The benchmark's events: 150 to 250 bytes; 500 accounts with 3 teams of 2 projects, each project using 7 of 20 models:
21,000 groups, nearly all of them active in every minute.
"""

import random
import struct
from collections.abc import Iterator

from chargeline.sdk.encode import encode
from chargeline.sdk.partitioner import partition_of

START = 1_760_000_000_000_000
MODELS = tuple(f"model-{n}" for n in range(20))


def card() -> str:
    """A rate card of 20 models with three leaves each."""
    skus = [
        f"""  - {{sku_id: {model}/{leaf}, match: {{provider_name: openai, models: [{model}]}}, leaf: {leaf},
     charge_model: per_unit, unit_price: "{1 + number * 0.25}", pricing_unit: 1000000 Tokens}}"""
        for model in MODELS
        for number, leaf in enumerate(("input", "cache_read_input", "output"))
    ]
    head = "id: bench\nversion: 1\ncurrency: USD\neffective_from: 2023-01-01T00:00:00Z\nscope: default\nskus:\n"
    return head + "\n".join(skus) + "\n"


def events(count: int, schema_id: int, partitions: int, seed: int = 1) -> Iterator[tuple[int, str, bytes]]:
    """(partition, account, value): 1 % duplicates, 0.1 % malformed."""
    chance = random.Random(seed)
    accounts = [f"account-{n:03d}" for n in range(500)]
    places = [partition_of(account, partitions) for account in accounts]
    last = (places[0], accounts[0], b"")
    header = struct.pack(">bI", 0, schema_id)
    for number in range(count):
        draw = chance.random()
        if draw < 0.01 and last[2]:
            yield last
            continue
        at = int(chance.random() * 500)
        project = chance.randrange(6)
        team = project // 2
        value = encode(
            {
                "event_id": f"{number:x}-{chance.getrandbits(64):016x}",
                "source": "gateway-1",
                "billing_account_id": accounts[at],
                "event_time": START + number * 100,
                "provider_name": "openai",
                "request_model": MODELS[(3 * at + 7 * project + chance.randrange(7)) % 20],
                "operation_name": "chat",
                "team": f"team-{team}",
                "project": f"project-{project}",
                "environment": "production",
                "request_id": f"req-{chance.getrandbits(64):016x}",
                "trace_id": f"{chance.getrandbits(128):032x}",
                "input_tokens": chance.randrange(20, 8000),
                "cache_read_input_tokens": chance.choice((0, 0, 512)),
                "output_tokens": chance.randrange(1, 900),
                "duration_ms": chance.randrange(100, 5000),
                "time_to_first_token_ms": chance.randrange(50, 500),
            },
            schema_id,
        )
        if draw > 0.999:
            yield places[at], accounts[at], header + value[5:40]
            continue
        last = (places[at], accounts[at], value)
        yield last
