"""The parsed schema of usage events, times as plain integers: light enough for the sdk."""

import json
from typing import Any

import fastavro

from chargeline.wire._generated import USAGE_EVENT_SCHEMA


def parsed(text: str) -> Any:
    """A schema without logical types: a time beyond the year 9999 is then BAD_TIME and no decoding error."""
    return fastavro.parse_schema(_plain(json.loads(text)))


def _plain(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_plain(branch) for branch in kind]
    if isinstance(kind, dict):
        return {key: _plain(value) for key, value in kind.items() if key != "logicalType"}
    return kind


USAGE_EVENT: Any = parsed(USAGE_EVENT_SCHEMA)
