"""The governance log: reading its facts up to now, and appending one so that exactly one writer wins."""

import hashlib
import io
import json
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import fastavro
from confluent_kafka import KafkaException, Producer

from chargeline.adapters.kafka import COMMON
from chargeline.adapters.kafka_errors import translated
from chargeline.domain.errors import Fault, Refused
from chargeline.domain.governance import Fact, GovernanceChain, Reading
from chargeline.ports import Clock, LogReader
from chargeline.wire._generated import GOVERNANCE_RECORD_SCHEMA

TOPIC = "governance-log"
_RECORD = json.loads(GOVERNANCE_RECORD_SCHEMA)
_SCHEMA = fastavro.parse_schema(_RECORD)
# The fields before the fact, which every version has: they tell whether a record that cannot be read would count.
_HEAD = fastavro.parse_schema({"type": "record", "name": "GovernanceHead", "fields": _RECORD["fields"][:2]})
_FRAMING = struct.Struct(">bI")
_ATTEMPTS = 10


class GovernanceReader:
    """Follows the log. `chain` holds what was accepted; `view_ms` is a time up to which it is complete.

    Args:
        reading: of `GovernanceChain`.
    """

    def __init__(self, reader: LogReader, clock: Clock, *, max_clock_skew_ms: int, reading: Reading = cache) -> None:
        self.chain = GovernanceChain(reading)
        self.view_ms = 0
        self._reader = reader
        self._clock = clock
        self._skew = max_clock_skew_ms
        self._next_offset = 0

    def refresh(self) -> None:
        """Read to the end as it is now. Raises TransientError when Kafka is away."""
        # The clock is read before the end is asked for: whatever was appended before that moment is then below it.
        asked = self._clock.now_ms()
        _, end = self._reader.bounds(TOPIC, 0)
        for record in self._reader.read(TOPIC, 0, self._next_offset, end) if end > self._next_offset else ():
            value = record.value or b""
            decoded = _decoded(value, self.chain)
            if decoded is not None:
                self.chain.add(decoded, value[_FRAMING.size :], record.append_time)
            self._next_offset = record.offset + 1
        self._next_offset = max(self._next_offset, end)
        self.view_ms = asked - self._skew


class GovernanceWriter:
    """Appends facts optimistically: a record counts only if it continues the chain, so a lost race is tried again."""

    def __init__(self, bootstrap: str, reader: GovernanceReader, schema_id: int, author: str) -> None:
        self._producer = Producer({**COMMON, "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True,
                                   "message.max.bytes": 16_777_216})  # fmt: skip
        self._reader = reader
        self._schema_id = schema_id
        self._author = author

    def append(self, name: str, fact: dict[str, Any], may: Callable[[GovernanceChain], None] = lambda _: None) -> Fact:
        """Append one fact (`name`: its record in the schema's union); returns it once it is accepted.

        Args:
            may: raises if the fact must not follow the chain as it is now; asked again after every lost race.
        """
        for _ in range(_ATTEMPTS):
            self._reader.refresh()
            chain = self._reader.chain
            may(chain)
            sequence = chain.next_sequence
            datum = encode(
                {
                    "sequence": sequence,
                    "previous_hash": chain.last_hash,
                    "author": self._author,
                    "fact": (f"chargeline.events.{name}", fact),
                }
            )
            self._send(_FRAMING.pack(0, self._schema_id) + datum)
            self._reader.refresh()
            # Ours only if these very bytes stand there: another writer may have taken the number.
            if chain.hash_of(sequence) == hashlib.sha256(datum).hexdigest():
                return chain.facts[sequence]
        raise Refused("GOVERNANCE_BUSY", f"{_ATTEMPTS} other facts were recorded first: try again")

    def _send(self, value: bytes) -> None:
        failures: list[Any] = []
        try:
            self._producer.produce(TOPIC, value, partition=0, on_delivery=lambda error, _: failures.append(error))
        except KafkaException as error:
            raise translated(error, f"producing to {TOPIC}") from error
        self._producer.flush(30.0)
        if failures != [None]:
            raise Fault(f"the fact was not written: {failures or 'no answer within 30 s'}")


def encode(record: dict[str, Any]) -> bytes:
    """The Avro datum of a governance record."""
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, _SCHEMA, record)
    return sink.getvalue()


def decode(value: bytes) -> dict[str, Any]:
    """The record of a framed value. Raises Fault if it is not one that this version knows."""
    if len(value) < _FRAMING.size or value[0] != 0:
        raise Fault("governance-log holds a record that is not framed Avro")
    try:
        return _read(value, _SCHEMA)
    except Exception as error:  # whatever the Avro library makes of bytes that are not one of its records
        raise Fault(f"governance-log holds a record that this version cannot read: {error}") from error


def _decoded(value: bytes, chain: GovernanceChain) -> dict[str, Any] | None:
    """The record; None if its bytes cannot continue the chain anyway: every reader ignores such a record.

    Raises:
        Fault: the record continues the chain, but this version does not know what it says.
    """
    try:
        return decode(value)
    except Fault:
        if _head(value) == (chain.next_sequence, chain.last_hash):
            raise
        return None


def _head(value: bytes) -> tuple[int, str] | None:
    """Sequence number and previous hash of a framed value, whatever its fact is."""
    if value[:1] != b"\0":
        return None
    try:
        head = _read(value, _HEAD)
    except Exception:  # noqa: BLE001 - as in `decode`
        return None
    return head["sequence"], head["previous_hash"]


def _read(value: bytes, schema: Any) -> dict[str, Any]:
    return dict(fastavro.schemaless_reader(io.BytesIO(value[_FRAMING.size :]), schema, None))  # type: ignore[arg-type]
