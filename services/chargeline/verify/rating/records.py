"""One line of a file of events: is it a record that can be judged, and if not, why.

Source: spec/formats.md, section 5; spec/rating.md, sections 6 and 14.
"""

import json
import math
from typing import Any

from chargeline.verify.events import COUNTED, LEAVES, Dead, leaves_of
from chargeline.verify.rating.times import micros
from chargeline.wire._generated import USAGE_EVENT_SCHEMA

Event = dict[str, Any]
_FIELDS = {field["name"]: field for field in json.loads(USAGE_EVENT_SCHEMA)["fields"]}
_REQUIRED = tuple(name for name, field in _FIELDS.items() if "default" not in field)
_NAMING = ("AMEND", "CANCEL", "RERATE")
_PRECEDENCE = ("MALFORMED", "MISSING_FIELD", "BAD_NUMBER", "BAD_TIME", "UNSUPPORTED", "NEGATIVE_QUANTITY",
               "INTERVAL_REVERSED", "BAD_SAMPLE_WEIGHT")  # fmt: skip
_YEAR_2000 = micros("2000-01-01T00:00:00Z")
_YEAR_2101 = micros("2101-01-01T00:00:00Z")
_LONG = 1 << 63


def read_record(document: Any, control_sources: frozenset[str]) -> Event:
    """The event of a parsed line, complete: defaults filled in, times in microseconds, `leaves` made disjoint.

    Raises:
        Dead: with the first code that holds.
    """
    if not isinstance(document, dict) or document.keys() - _FIELDS.keys():
        raise Dead("MALFORMED")
    faults: set[str] = set()
    event: Event = {}
    for name, field in _FIELDS.items():
        try:
            event[name] = _value(field, document.get(name))
        except Dead as dead:
            faults.add(dead.code)
    if event.get("event_kind") in _NAMING and not event.get("amends_event_id"):
        faults.add("MISSING_FIELD")
    if not faults:
        faults = _wrong(event, control_sources)
    for code in _PRECEDENCE:
        if code in faults:
            raise Dead(code)
    return event


def event_id_of(document: Any) -> str | None:
    name = document.get("event_id") if isinstance(document, dict) else None
    return name if isinstance(name, str) else None


def complete(event: Event) -> set[str]:
    """Adds the disjoint leaves to an event; the names of what must not be negative and is."""
    event["leaves"] = leaves_of(event)
    counts = {f"{leaf}_tokens": event[f"{leaf}_tokens"] for leaf in LEAVES} | {name: event[name] for name in COUNTED}
    counts |= event["extra_quantities"] | event["leaves"] | {"reported_cost": event["reported_cost_picos"] or 0}
    return {name for name, count in counts.items() if count < 0}


def _wrong(event: Event, control_sources: frozenset[str]) -> set[str]:
    faults = set()
    enums = ("event_kind", "token_convention", "quantity_source", "status")
    foreign = event["event_kind"] == "PERIOD_CLOSE" and event["source"] not in control_sources
    if foreign or "UNKNOWN" in [event[name] for name in enums]:
        faults.add("UNSUPPORTED")
    if complete(event):
        faults.add("NEGATIVE_QUANTITY")
    if event["charge_period_end"] is not None and event["charge_period_end"] <= event["event_time"]:
        faults.add("INTERVAL_REVERSED")
    if event["sample_weight"] < 1:
        faults.add("BAD_SAMPLE_WEIGHT")
    return faults


def _value(field: dict[str, Any], value: Any) -> Any:
    if value is None or value == "":
        if field["name"] in _REQUIRED:
            raise Dead("MISSING_FIELD")
        if value is None:
            return dict(field["default"]) if isinstance(field["default"], dict) else field["default"]
    kind = field["type"]
    if isinstance(kind, list):
        kind = kind[1]
    name = kind if isinstance(kind, str) else kind.get("logicalType", kind["type"])
    if name == "enum":
        return value if value in kind["symbols"] else "UNKNOWN"
    if name == "map":
        return _map(value, kind["values"])
    return {"string": _text, "long": _whole, "double": _measure, "timestamp-micros": _time}[name](value)


def _map(value: Any, values: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Dead("MALFORMED")
    return {key: _whole(each) if values == "long" else _text(each) for key, each in value.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Dead("MALFORMED")
    return value


def _whole(value: Any) -> int:
    text = str(value)
    digits = text.removeprefix("-")
    if isinstance(value, bool) or not (digits.isascii() and digits.isdigit()) or not -_LONG <= int(text) < _LONG:
        raise Dead("BAD_NUMBER")
    return int(text)


def _measure(value: Any) -> float:
    try:
        found = float(value)
    except (ValueError, TypeError) as error:
        raise Dead("BAD_NUMBER") from error
    if not math.isfinite(found):
        raise Dead("BAD_NUMBER")
    return found


def _time(value: Any) -> int:
    try:
        time = micros(value)
    except (ValueError, TypeError) as error:
        raise Dead("BAD_TIME") from error
    if not _YEAR_2000 <= time < _YEAR_2101:
        raise Dead("BAD_TIME")
    return time
