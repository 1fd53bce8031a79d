"""Mutes and labels in their compacted topic: following it, and writing one."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer

from chargeline.adapters.kafka import COMMON
from chargeline.adapters.kafka_errors import translated
from chargeline.domain.anomaly.notes import Notes
from chargeline.domain.errors import Fault
from chargeline.ports import LogReader
from chargeline.wire.anomaly_records import NOTES, decode_note, encode_note, micros


class NotesReader:
    """Follows the topic; `notes` is what holds now."""

    def __init__(self, reader: LogReader) -> None:
        self.notes = Notes()
        self._reader = reader
        self._next_offset = 0

    def refresh(self) -> None:
        """Read to the end as it is now. Raises TransientError when Kafka is away. A record of others is left out."""
        low, end = self._reader.bounds(NOTES, 0)
        start = max(low, self._next_offset)
        for record in self._reader.read(NOTES, 0, start, end) if end > start else ():
            key = (record.key or b"").decode(errors="replace")
            if not record.value:
                self.notes.put(key, None)
                continue
            try:
                note = decode_note(record.value)
            except ValueError:
                continue
            times = tuple(None if note[name] is None else micros(note[name]) for name in ("from_time", "until_time"))
            self.notes.put(key, note, (times[0], times[1]))
        self._next_offset = max(start, end)


class NotesWriter:
    """Writes notes, one at a time."""

    def __init__(self, bootstrap: str, schema_id: int) -> None:
        self._producer = Producer({**COMMON, "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True})
        self._schema_id = schema_id

    def put(self, note: Mapping[str, Any]) -> None:
        """Write a note; it is durable when this returns."""
        self._send(note["note_id"], encode_note(note, self._schema_id))

    def take_back(self, note_id: str) -> None:
        """Write that what was said under this key holds no more."""
        self._send(note_id, None)

    def _send(self, key: str, value: bytes | None) -> None:
        failures: list[Any] = []
        try:
            self._producer.produce(
                NOTES, value, key=key, partition=0, on_delivery=lambda error, _: failures.append(error)
            )
        except KafkaException as error:
            raise translated(error, f"producing to {NOTES}") from error
        self._producer.flush(30.0)
        if failures != [None]:
            raise Fault(f"the note was not written: {failures or 'no answer within 30 s'}")
