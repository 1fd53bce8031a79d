"""From a usage event as a dict to the bytes on the wire, strictly."""

import io
import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro

from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.avro_schema import USAGE_EVENT

_FRAMING = struct.Struct(">bI")
_FIELDS = {field["name"]: field for field in json.loads(USAGE_EVENT_SCHEMA)["fields"]}
_TIMES = ("event_time", "charge_period_end")
REQUIRED = tuple(name for name, field in _FIELDS.items() if "default" not in field)


class BadEvent(ValueError):
    """The event is not a UsageEvent: an unknown or missing field, a wrong type, a time without zone."""


def encode(event: Mapping[str, Any], schema_id: int) -> bytes:
    """The framed value of one event. Times are aware datetimes, ISO 8601 texts with Z, or integer microseconds.

    Raises:
        BadEvent: names the field.
    """
    sink = io.BytesIO()
    sink.write(_FRAMING.pack(0, schema_id))
    fastavro.schemaless_writer(sink, USAGE_EVENT, checked(event))
    return sink.getvalue()


def checked(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with integer times, every field known and every required one there."""
    unknown = event.keys() - _FIELDS.keys()
    if unknown:
        # The Avro library would drop it without a word.
        raise BadEvent(f"unknown field {min(unknown)}")
    for name in REQUIRED:
        if event.get(name) is None:
            raise BadEvent(f"missing field {name}")
    for name, value in event.items():
        if isinstance(value, float) and name != "quality_score":
            raise BadEvent(f"{name} is a binary float: quantities are whole numbers")
    return dict(event) | {name: micros(event[name], name) for name in _TIMES if event.get(name) is not None}


def micros(moment: datetime | str | int, name: str = "event_time") -> int:
    """Microseconds since 1970 UTC."""
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        if not moment.endswith("Z"):
            raise BadEvent(f"{name} must be UTC with Z: {moment}")
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        raise BadEvent(f"{name} has no time zone: {moment}")
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def picos(amount: Decimal) -> int:
    """An exact amount in 1e-12 units; raises BadEvent if it is finer."""
    scaled = amount.scaleb(12)
    if scaled != int(scaled):
        raise BadEvent(f"{amount} is finer than 1e-12")
    return int(scaled)
