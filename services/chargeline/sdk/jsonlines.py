"""Usage events as JSON lines (spec/formats.md 5): reading one strictly, with the code of what is wrong with it."""

import json
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chargeline.sdk.encode import REQUIRED, BadEvent, encode, micros
from chargeline.wire._generated import USAGE_EVENT_SCHEMA

_FIELDS = {field["name"]: field["type"] for field in json.loads(USAGE_EVENT_SCHEMA)["fields"]}
_TIMES = ("event_time", "charge_period_end")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?Z", re.ASCII)
_LONG = 1 << 63
_PRECEDENCE = ("MALFORMED", "MISSING_FIELD", "BAD_NUMBER", "BAD_TIME")  # spec/rating.md 14
_NAMING = ("AMEND", "CANCEL", "RERATE")  # they name another event in `amends_event_id`


@dataclass(frozen=True)
class Line:
    """One good line: the event by field (times in microseconds), and its framed value."""

    event_id: str
    event_time: int
    value: bytes
    event: dict[str, Any]


@dataclass(frozen=True)
class BadLine:
    """One line that is no event; `code` is one of spec/rating.md 14."""

    event_id: str | None
    code: str


def read_line(text: str, schema_id: int = 0) -> Line | BadLine:
    """One event of a file of JSON lines."""
    try:
        document = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return BadLine(None, "MALFORMED")
    if not isinstance(document, dict):
        return BadLine(None, "MALFORMED")
    name = document.get("event_id")
    event_id = name if isinstance(name, str) else None
    if document.keys() - _FIELDS.keys():
        return BadLine(event_id, "MALFORMED")
    event, faults = _fields(document)
    if faults:
        return BadLine(event_id, min(faults, key=_PRECEDENCE.index))
    try:
        value = encode(event, schema_id)
    except (BadEvent, ValueError, TypeError, OverflowError, AttributeError):
        return BadLine(event_id, "MALFORMED")
    return Line(event["event_id"], event["event_time"], value, event)


def _fields(document: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """(the fields that are given, as values; the codes of all that is wrong with any)."""
    event: dict[str, Any] = {}
    faults: set[str] = set()
    for field in REQUIRED:
        if document.get(field) in (None, ""):
            faults.add("MISSING_FIELD")
    for field, value in document.items():
        if value is None or (value == "" and field in REQUIRED):
            continue
        try:
            event[field] = _value(field, value)
        except _BadField as error:
            faults.add(error.code)
        except (ValueError, TypeError, OverflowError, AttributeError):
            faults.add("MALFORMED")
    if event.get("event_kind") in _NAMING and not event.get("amends_event_id"):
        faults.add("MISSING_FIELD")
    return event, faults


class _BadField(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _value(field: str, value: Any) -> Any:
    kind = _FIELDS[field]
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    if field in _TIMES:
        return _time(field, value)
    if kind == "long":
        return _long(value)
    if kind == "double":
        return _double(value)
    if isinstance(kind, dict) and kind["type"] == "enum":
        # A symbol that this version does not know becomes UNKNOWN, as Avro's schema resolution has it.
        return value if value in kind["symbols"] else "UNKNOWN"
    if isinstance(kind, dict) and kind["type"] == "map":
        # In the order of the keys' bytes: an object that says the same has the same encoding.
        pairs = sorted(value.items(), key=lambda pair: str(pair[0]).encode())
        return {str(key): _long(each) if kind["values"] == "long" else _text(each) for key, each in pairs}
    return _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _BadField("MALFORMED")
    return value


def _time(field: str, value: Any) -> int:
    """Instants as spec/formats.md 1 has them: in UTC with Z, to microseconds."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise _BadField("BAD_TIME")
    try:
        return micros(value, field)
    except (BadEvent, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise _BadField("BAD_TIME") from error


def _long(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.lstrip("-").isascii() or not text.lstrip("-").isdigit():
        raise _BadField("BAD_NUMBER")
    number = int(text)
    if not -_LONG <= number < _LONG:
        raise _BadField("BAD_NUMBER")
    return number


def _double(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, TypeError) as error:
        raise _BadField("BAD_NUMBER") from error
    if not math.isfinite(number):
        raise _BadField("BAD_NUMBER")
    return number
