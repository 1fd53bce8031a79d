"""CostAnomaly and AnomalyNote: Avro with Confluent's framing, from and to what the rest works with."""

import io
import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro

from chargeline.domain.anomaly.contribution import money
from chargeline.domain.anomaly.update import Update
from chargeline.wire._generated import SCHEMAS

ANOMALIES, NOTES = "cost-anomalies", "anomaly-notes"
_FRAMING = struct.Struct(">bI")
_ANOMALY = fastavro.parse_schema(json.loads(SCHEMAS["cost_anomaly"]))
_NOTE = fastavro.parse_schema(json.loads(SCHEMAS["anomaly_note"]))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_update(update: Update, schema_id: int) -> bytes:
    """The framed record of an update."""
    return _encoded(_ANOMALY, anomaly_of(update), schema_id)


def decode_anomaly(value: bytes) -> dict[str, Any]:
    """The record of a framed value; money as Decimal, times as aware datetimes. Raises ValueError: it is none."""
    return _decoded(_ANOMALY, value)


def encode_note(note: Mapping[str, Any], schema_id: int) -> bytes:
    """The framed record of a mute or a label."""
    return _encoded(_NOTE, note, schema_id)


def decode_note(value: bytes) -> dict[str, Any]:
    """As `decode_anomaly`."""
    return _decoded(_NOTE, value)


def anomaly_of(update: Update) -> dict[str, Any]:
    """An update under the names of the schema."""
    return {
        "anomaly_id": update.anomaly_id,
        "sequence": update.sequence,
        "status": update.status,
        "kind": update.kind,
        "kinds": [{"name": kind} for kind in update.kinds],
        "severity": update.severity,
        "billing_account_id": update.billing_account_id,
        "billing_currency": update.billing_currency,
        "dimensions": dict(update.dimensions),
        "window_start": instant(update.window_start),
        "window_end": instant(update.window_end),
        "windows": update.windows,
        "actual_cost": update.actual_cost,
        "expected_cost": update.expected_cost,
        "reference_cost": update.reference_cost,
        "impact": update.impact,
        "value": update.value,
        "usual_value": update.usual,
        "surprise": update.surprise,
        "volume_effect": update.volume_effect,
        "price_effect": update.price_effect,
        "mix_effect": update.mix_effect,
        "contributors": [
            {
                "dimension": each.dimension,
                "value": each.value,
                "actual_cost": money(each.actual),
                "reference_cost": money(each.reference),
                "volume_effect": money(each.volume_effect),
                "price_effect": money(each.price_effect),
            }
            for each in update.contributors
        ],
        "reasons": [{"text": reason} for reason in update.reasons],
        "source_partition": update.source_partition,
        "samples": [{"unit_start": start, "unit_end": end} for start, end in update.samples],
        "watermark": instant(update.watermark),
        "is_muted": update.is_muted,
    }


def instant(micros: int) -> datetime:
    """Microseconds since 1970 as a time in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def micros(moment: datetime) -> int:
    """The reverse."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _encoded(schema: Any, record: Mapping[str, Any], schema_id: int) -> bytes:
    sink = io.BytesIO()
    sink.write(_FRAMING.pack(0, schema_id))
    fastavro.schemaless_writer(sink, schema, dict(record))
    return sink.getvalue()


def _decoded(schema: Any, value: bytes) -> dict[str, Any]:
    if len(value) < _FRAMING.size or value[0] != 0:
        raise ValueError("no framed Avro")
    try:
        return dict(fastavro.schemaless_reader(io.BytesIO(value[_FRAMING.size :]), schema, None))  # type: ignore[arg-type]
    except Exception as error:  # whatever the Avro library makes of bytes that are not one of its records
        raise ValueError(f"not a record of this version: {error}") from error
