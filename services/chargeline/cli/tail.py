"""`chargeline tail TOPIC`: the newest records of a topic, columnar ones as rows."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from chargeline.adapters.governance import decode as decode_governance
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.domain.errors import Refused
from chargeline.ports import Record
from chargeline.runtime.stack import load_stack
from chargeline.wire._generated import TOPICS
from chargeline.wire.anomaly_records import ANOMALIES, NOTES, decode_anomaly, decode_note
from chargeline.wire.arrow_messages import decode as decode_arrow
from chargeline.wire.avro_rows import event_of
from chargeline.wire.left_out import completed
from chargeline.wire.usage_decoder import FRAMING

_SHOWN = 8  # columns of a table for people; --json has them all


def register(app: typer.Typer) -> None:
    app.command()(tail)


def tail(
    topic: Annotated[str, typer.Argument(help="usage-events, charges, cost-rollups, …")],
    data: DataDir = None,
    number: Annotated[int, typer.Option("-n", min=1, help="How many records (rows of columnar topics).")] = 10,
    as_json: AsJson = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="The oldest instead of the newest.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show records of a topic.

    Example: chargeline tail charges -n 3 --json
    """
    if topic not in TOPICS:
        raise Refused("UNKNOWN_TOPIC", f"{topic} is none of {', '.join(TOPICS)}")
    stack = load_stack(data)
    reader = KafkaLogReader(stack.kafka)
    registry = SchemaRegistry(stack.registry)
    rows: list[dict[str, Any]] = []
    ends = {}
    for partition in range(reader.partitions(topic)):
        low, end = reader.bounds(topic, partition)
        ends[partition] = end
        start = low if from_beginning else max(low, end - 4 * number)
        found = [row for record in reader.read(topic, partition, start, end) for row in _rows(record, registry)]
        rows += found[:number] if from_beginning else found[-number:]
    _show(rows[:number] if from_beginning else rows[-number:], as_json=as_json)
    while follow:
        time.sleep(0.5)
        for partition, start in ends.items():
            _, end = reader.bounds(topic, partition)
            records = reader.read(topic, partition, start, end)
            _show([row for record in records for row in _rows(record, registry)], as_json=as_json)
            ends[partition] = end
    reader.close()


def _rows(record: Record, registry: SchemaRegistry) -> Iterator[dict[str, Any]]:
    place = {"partition": record.partition, "offset": record.offset}
    value = record.value or b""
    encoding = TOPICS[record.topic]["encoding"]
    if encoding == "arrow":
        rows = decode_arrow(value).to_pylist(maps_as_pydicts="lossy")
        for row in completed(rows, TOPICS[record.topic]["record"]):
            yield place | row
    elif encoding == "original-bytes":
        headers = {name.removeprefix("x-chargeline-"): text.decode() for name, text in record.headers}
        yield place | headers | {"bytes": len(value)}
    elif record.topic == ANOMALIES:
        yield place | decode_anomaly(value)
    elif record.topic == NOTES:
        yield place | (
            {"note_id": (record.key or b"").decode(), "taken_back": True} if not value else decode_note(value)
        )
    elif record.topic == "governance-log":
        yield place | decode_governance(value)
    else:
        yield place | _usage_event(value, registry)


def _usage_event(value: bytes, registry: SchemaRegistry) -> dict[str, Any]:
    schema = registry.schema_of(int.from_bytes(value[1:FRAMING], "big")) if len(value) >= FRAMING else None
    event = event_of(value[FRAMING:], schema) if schema else None
    if event is None:
        return {"undecodable": value[:40].hex()}
    return {name: field for name, field in event.items() if field not in (None, 0, {})}


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        names = list(rows[0])[:_SHOWN]
        print_rows([{name: row.get(name) for name in names} for row in rows])
