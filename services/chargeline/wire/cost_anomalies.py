"""Records of `cost-anomalies` as alerts, and alerts of budgets as records."""

import io
import json
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import fastavro

from chargeline.domain.alerts.alert import BUDGET, OPEN, RESOLVED, UPDATED, Alert, Contributor
from chargeline.domain.errors import InvalidEvent
from chargeline.wire._generated import COST_ANOMALY_SCHEMA

_FRAMING = struct.Struct(">bI")
_SCHEMA = fastavro.parse_schema(json.loads(COST_ANOMALY_SCHEMA))
_NOTHING = Decimal(0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHAT = {
    "SPEND": "more is spent than expected",
    "NEW_SPEND": "spend where there was none",
    "SPEND_DROP": "less is spent than expected",
    "RUNAWAY": "spend runs away",
    "REQUEST_COST": "a request costs more than usual",
    "TOKEN_COST": "a token costs more than usual",
    "ERROR_COST": "failed requests cost more than usual",
    "CACHE_COLLAPSE": "the cache is used less than usual",
    "RETRY_STORM": "more is sent again than usual",
    "UNRATED": "usage has no price",
    "DEAD_LETTERS": "usage cannot be billed",
}


class AnomalyDecoder:
    """Reads the values of `cost-anomalies`. `schema_of`: the writer's schema of an id; may raise TransientError."""

    def __init__(self, schema_of: Callable[[int], str | None]) -> None:
        self._schema_of = schema_of

    def decode(self, value: bytes) -> Alert:
        """The alert of a value. Raises InvalidEvent (code UNREADABLE) for bytes that are no CostAnomaly."""
        if len(value) < _FRAMING.size or value[0] != 0:
            raise InvalidEvent("UNREADABLE", "the value is not framed Avro")
        number = _FRAMING.unpack_from(value)[1]
        writer = self._schema_of(number)
        if writer is None:
            raise InvalidEvent("UNREADABLE", f"the registry has no schema {number}")
        source = io.BytesIO(value[_FRAMING.size :])
        try:
            record = fastavro.schemaless_reader(source, _parsed(writer), _SCHEMA)
            return alert_of(record)  # type: ignore[arg-type]
        except Exception as error:  # hostile bytes raise whatever they like
            raise InvalidEvent("UNREADABLE", f"not a CostAnomaly: {type(error).__name__}") from error


def alert_of(record: Mapping[str, Any]) -> Alert:
    """The alert of a decoded record."""
    reasons = [each["text"] for each in record["reasons"]]
    kind = record["kind"]
    # The first reason of a budget's alert says what it is; the others are worked out from the kind.
    what = reasons.pop(0) if kind == BUDGET and reasons else _WHAT.get(kind, kind.lower().replace("_", " "))
    is_first = record["sequence"] <= 1
    return Alert(
        anomaly_id=record["anomaly_id"],
        sequence=record["sequence"],
        state=RESOLVED if record["status"] == RESOLVED else OPEN if is_first else UPDATED,
        kind=kind,
        severity=record["severity"],
        billing_account_id=record["billing_account_id"],
        dimensions=tuple(sorted(record["dimensions"].items())),
        what=what,
        unit=record["billing_currency"],
        actual=record["actual_cost"] if record["billing_currency"] else None,
        expected=record["expected_cost"] if record["billing_currency"] else None,
        since=_micros(record["window_start"]),
        at=_micros(record["watermark"]),
        contributors=tuple(
            Contributor(f"{each['dimension']}={each['value']}", each["actual_cost"] - each["reference_cost"])
            for each in record["contributors"]
        ),
        explanation="; ".join(reasons),
        is_muted=record["is_muted"],
    )


def encode_budget_alert(alert: Alert, source_partition: int, schema_id: int) -> bytes:
    """The framed value of an alert of a budget. `expected_cost` is the threshold; nothing is said of causes."""
    actual, expected = alert.actual or _NOTHING, alert.expected or _NOTHING
    record = {
        "anomaly_id": alert.anomaly_id,
        "sequence": alert.sequence,
        "status": RESOLVED if alert.state == RESOLVED else OPEN,
        "kind": alert.kind,
        "kinds": [{"name": alert.kind}],
        "severity": alert.severity,
        "billing_account_id": alert.billing_account_id,
        "billing_currency": alert.unit,
        "dimensions": dict(alert.dimensions),
        "window_start": alert.since,
        "window_end": alert.at,
        "windows": 1,
        "actual_cost": actual,
        "expected_cost": expected,
        "reference_cost": _NOTHING,
        "impact": max(actual - expected, _NOTHING),
        "value": 0.0,
        "usual_value": 0.0,
        "surprise": 0.0,
        "volume_effect": _NOTHING,
        "price_effect": _NOTHING,
        "mix_effect": _NOTHING,
        "contributors": [],
        "reasons": [{"text": text} for text in (alert.what, alert.explanation) if text],
        "source_partition": source_partition,
        "samples": [],
        "watermark": alert.at,
        "is_muted": False,
    }
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, _SCHEMA, record)
    return _FRAMING.pack(0, schema_id) + sink.getvalue()


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    return fastavro.parse_schema(json.loads(text))


def _micros(value: Any) -> int:
    """Integer microseconds of what the Avro library makes of timestamp-micros."""
    if isinstance(value, int):
        return value
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
