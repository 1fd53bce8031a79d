"""The slow way from bytes to an event, one record at a time: for whatever the columnar decoder does not vouch for."""

import io
import json
from functools import lru_cache
from typing import Any

import fastavro

from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.avro_schema import USAGE_EVENT, parsed

_OUR_FORM = fastavro.schema.to_parsing_canonical_form(json.loads(USAGE_EVENT_SCHEMA))


def is_ours(text: str) -> bool:
    """Whether a writer's schema puts the same bytes on the wire as UsageEvent v1 (Avro's parsing canonical form)."""
    return bool(fastavro.schema.to_parsing_canonical_form(json.loads(text)) == _OUR_FORM)


def is_usage_event(text: str) -> bool:
    """Whether a writer's schema is some version of UsageEvent."""
    schema = json.loads(text)
    name = f"{schema.get('namespace', '')}.{schema.get('name', '')}" if isinstance(schema, dict) else ""
    return name.lstrip(".") in {"chargeline.events.UsageEvent", "UsageEvent"}


@lru_cache(maxsize=256)
def _writer(text: str) -> Any:
    return parsed(text)


def event_of(datum: bytes, writer_schema: str) -> dict[str, Any] | None:
    """The event under v1's names; None: the bytes are not exactly one datum of a schema that v1 can read."""
    source = io.BytesIO(datum)
    try:
        event = fastavro.schemaless_reader(source, _writer(writer_schema), USAGE_EVENT)
    except Exception:  # noqa: BLE001 - hostile bytes raise whatever they like; the answer is the same
        return None
    return event if source.tell() == len(datum) and isinstance(event, dict) else None


def canonical(datum: bytes, writer_schema: str) -> bytes | None:
    """The same event in v1's plain encoding; None as above."""
    event = event_of(datum, writer_schema)
    return None if event is None else encode(event)


def encode(event: dict[str, Any]) -> bytes:
    """The v1 datum of an event with integer times."""
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, USAGE_EVENT, event)
    return sink.getvalue()
