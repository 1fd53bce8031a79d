"""One raw record at a time: is it a usage event that can be billed, and if not, why (spec/rating.md 14)."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import fastavro

from chargeline.wire.avro_schema import USAGE_EVENT, parsed

SchemaOf = Callable[[int], str | None]
_MESSAGE_MAX = 8 * 1024 * 1024
_TEXT_MAX = 1024
_MAP_MAX = 64
_YEAR_2000 = 946_684_800_000_000
_YEAR_2101 = 4_133_980_800_000_000
_REQUIRED = ("event_id", "source", "billing_account_id", "provider_name", "request_model", "operation_name")
INPUTS = ("cache_read_input", "cache_write_input", "cache_write_1h_input", "input_audio", "input_image",
          "cache_read_audio")  # fmt: skip
OUTPUTS = ("reasoning_output", "output_audio", "output_image")
LEAVES = ("input", *INPUTS, "output", *OUTPUTS)
COUNTED = ("requests", "gpu_ms", "cpu_ms", "memory_mib_s", "storage_mib_s", "io_bytes")


class Dead(Exception):
    """The record is a dead letter with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Rules:
    """What an installation fixes for ever. Times in milliseconds or microseconds as named.

    `control_sources` may write PERIOD_CLOSE.
    """

    partitions: int
    margin_ms: int
    future_bound_ms: int
    window_us: int
    accounts_required: bool = False
    control_sources: frozenset[str] = frozenset()


_WRITERS: dict[str, Any] = {}


def read_event(value: bytes | None, partition: int, append_time: int, schema_of: SchemaOf, rules: Rules) -> Any:
    """The event of a record as a dict, with `leaves` made disjoint and `content`, its canonical bytes.

    Raises:
        Dead: with the first code that holds.
    """
    value = value or b""
    if len(value) > _MESSAGE_MAX:
        raise Dead("TOO_LARGE")
    if len(value) < 5 or value[0] != 0:
        raise Dead("MALFORMED")
    text = schema_of(int.from_bytes(value[1:5], "big"))
    if text is None or not _is_usage(text):
        raise Dead("UNKNOWN_SCHEMA")
    event = _decode(value[5:], text)
    _check(event, partition, append_time, rules)
    return event


@cache
def _is_usage(text: str) -> bool:
    schema = json.loads(text)
    return isinstance(schema, dict) and schema.get("name", "").rpartition(".")[2] == "UsageEvent"


def _decode(datum: bytes, text: str) -> dict[str, Any]:
    if text not in _WRITERS:
        schema = parsed(text)
        _WRITERS[text] = USAGE_EVENT if schema == USAGE_EVENT else schema  # the library has nothing to compare then
    source = io.BytesIO(datum)
    try:
        event = fastavro.schemaless_reader(source, _WRITERS[text], USAGE_EVENT)
    except Exception as error:
        raise Dead("MALFORMED") from error
    if source.tell() != len(datum):
        raise Dead("MALFORMED")
    assert isinstance(event, dict)
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, USAGE_EVENT, event)
    event["content"] = sink.getvalue()
    return event


def _check(event: dict[str, Any], partition: int, append_time: int, rules: Rules) -> None:
    if _too_large(event):
        raise Dead("TOO_LARGE")
    names_none = event["event_kind"] in ("AMEND", "CANCEL", "RERATE") and not event["amends_event_id"]
    if names_none or any(event[name] == "" for name in _REQUIRED):
        raise Dead("MISSING_FIELD")
    if event["quality_score"] is not None and not math.isfinite(event["quality_score"]):
        raise Dead("BAD_NUMBER")
    times = [event["event_time"]] + ([event["charge_period_end"]] if event["charge_period_end"] is not None else [])
    if any(not _YEAR_2000 <= time < _YEAR_2101 for time in times):
        raise Dead("BAD_TIME")
    if event["event_time"] > (append_time + rules.future_bound_ms) * 1000:
        raise Dead("FUTURE_EVENT")
    if murmur2(event["billing_account_id"].encode()) % rules.partitions != partition:
        raise Dead("MISPLACED")
    enums = (event["token_convention"], event["quantity_source"], event["status"])
    is_foreign = event["event_kind"] == "PERIOD_CLOSE" and event["source"] not in rules.control_sources
    if is_foreign or event["event_kind"] == "UNKNOWN" or "UNKNOWN" in enums:
        raise Dead("UNSUPPORTED")
    event["leaves"] = leaves_of(event)
    quantities = [event[f"{leaf}_tokens"] for leaf in LEAVES] + [event[name] for name in COUNTED]
    quantities += [*event["extra_quantities"].values(), *event["leaves"].values(), event["reported_cost_picos"] or 0]
    if min(quantities) < 0:
        raise Dead("NEGATIVE_QUANTITY")
    if event["charge_period_end"] is not None and event["charge_period_end"] <= event["event_time"]:
        raise Dead("INTERVAL_REVERSED")
    if event["sample_weight"] < 1:
        raise Dead("BAD_SAMPLE_WEIGHT")


def _too_large(event: dict[str, Any]) -> bool:
    for value in event.values():
        if isinstance(value, str) and _long(value):
            return True
        if isinstance(value, dict) and value:
            texts = [text for pair in value.items() for text in pair if isinstance(text, str)]
            if len(value) > _MAP_MAX or any(map(_long, texts)):
                return True
    return False


def _long(text: str) -> bool:
    """A character is four bytes at the most."""
    return len(text) * 4 > _TEXT_MAX and len(text.encode()) > _TEXT_MAX


def leaves_of(event: dict[str, Any]) -> dict[str, int]:
    """Disjoint token leaves (spec/rating.md 6)."""
    part = {leaf: event[f"{leaf}_tokens"] for leaf in LEAVES}
    if event["token_convention"] == "DISJOINT":  # noqa: S105 - of model tokens
        return part
    part["input_audio"] -= part["cache_read_audio"]
    part["cache_read_input"] -= part["cache_read_audio"]
    part["cache_write_input"] -= part["cache_write_1h_input"]
    part["input"] -= sum(part[leaf] for leaf in INPUTS)
    part["output"] -= sum(part[leaf] for leaf in OUTPUTS)
    overlap = min(max(-part["input"], 0), max(part["input_image"], 0))
    part["input_image"] -= overlap
    part["input"] += overlap
    return part


@lru_cache(maxsize=10_000)
def murmur2(key: bytes) -> int:
    """Java Kafka's hash of a key, sign bit cleared."""
    m = 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & 0xFFFFFFFF
    for i in range(0, len(key) - len(key) % 4, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m % 2**32
        h = (h * m % 2**32) ^ ((k ^ (k >> 24)) * m % 2**32)
    if len(key) % 4:
        h = (h ^ int.from_bytes(key[len(key) - len(key) % 4 :], "little")) * m % 2**32
    h = (h ^ (h >> 13)) * m % 2**32
    return (h ^ (h >> 15)) & 0x7FFFFFFF
