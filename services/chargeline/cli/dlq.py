"""`chargeline dlq …`: the dead letters."""

import hashlib
import time
from collections import Counter
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.pipeline import dead_letters
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.cli.sending import Sender
from chargeline.domain.errors import Refused
from chargeline.ports import Record
from chargeline.runtime.stack import load_stack
from chargeline.wire.avro_rows import event_of
from chargeline.wire.usage_decoder import FRAMING

Code = Annotated[str | None, typer.Option(help="Only this code, e.g. MISPLACED.")]


def register(app: typer.Typer) -> None:
    dlq = typer.Typer(help="Dead letters: list, show, replay.", no_args_is_help=True)
    dlq.command("list")(list_letters)
    dlq.command()(show)
    dlq.command()(replay)
    app.add_typer(dlq, name="dlq")


def list_letters(
    data: DataDir = None,
    code: Code = None,
    number: Annotated[int, typer.Option("-n", min=1, help="Most rows.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest dead letters, and how many there are of each code.

    Example: chargeline dlq list --code MISPLACED
    """
    letters = [letter for letter in _all(data) if code in (None, letter["code"])]
    if as_json:
        print_json(letters[-number:])
        return
    counts = Counter(letter["code"] for letter in letters)
    print_rows([{"code": name, "count": count} for name, count in counts.most_common()], "by code")
    shown = [{key: letter[key] for key in ("coordinate", "code", "bytes", "reason")} for letter in letters[-number:]]
    print_rows(shown, "newest")


def show(
    coordinate: Annotated[str, typer.Argument(help="partition/offset of the refused record.")],
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter, decoded as far as it can be.

    Example: chargeline dlq show 0/1234
    """
    stack = load_stack(data)
    registry = SchemaRegistry(stack.registry)
    for record, letter in _records(stack.kafka):
        if letter["coordinate"] == coordinate:
            event = _event(record.value or b"", registry)
            found = letter | {"event": event, "value": (record.value or b"")[:2048].hex()}
            if as_json:
                print_json(found)
            else:
                print_rows([{"field": name, "value": value} for name, value in found.items()])
            return
    raise Refused("NO_SUCH_LETTER", f"there is no dead letter {coordinate}: see `chargeline dlq list`")


def replay(
    data: DataDir = None,
    code: Code = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with new ones until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters on to usage-events.

    They go to the partition of their account. What cannot be decoded stays where it is. An event that was charged
    meanwhile becomes a duplicate.

    Example: chargeline dlq replay --code MISPLACED
    """
    stack = load_stack(data)
    registry = SchemaRegistry(stack.registry)
    sender = Sender(stack)
    done: set[bytes] = set()
    skipped = 0
    while True:
        for record, letter in _records(stack.kafka):
            value = record.value or b""
            digest = hashlib.sha256(value).digest()
            if digest in done or code not in (None, letter["code"]):
                continue
            done.add(digest)  # once a run: what is refused again is not sent for ever
            event = _event(value, registry)
            if event is None or not event["billing_account_id"] or letter["truncated"]:
                skipped += 1
                continue
            sender.send(event["billing_account_id"], value)
        sender.flush()
        if not follow:
            break
        time.sleep(1.0)
    if as_json:
        print_json({"sent": sender.sent, "left": skipped})
    Console(stderr=True).print(f"sent {sender.sent}, left {skipped} that cannot be decoded", highlight=False)


def _all(data: str | None) -> list[dict[str, Any]]:
    return [letter for _, letter in _records(load_stack(data).kafka)]


def _records(bootstrap: str) -> list[tuple[Record, dict[str, Any]]]:
    reader = KafkaLogReader(bootstrap)
    records = [
        record
        for partition in range(reader.partitions("usage-events-dlq"))
        for record in dead_letters(reader, partition)
    ]
    reader.close()
    return [(record, _described(record)) for record in sorted(records, key=lambda each: each.append_time)]


def _described(record: Record) -> dict[str, Any]:
    headers = {name.removeprefix("x-chargeline-"): text.decode() for name, text in record.headers}
    return {
        "coordinate": f"{headers['partition']}/{headers['offset']}",
        "code": headers["code"],
        "reason": headers["reason"],
        "bytes": len(record.value or b""),
        "schema_id": headers.get("schema-id"),
        "truncated": "original-length" in headers,
    }


def _event(value: bytes, registry: SchemaRegistry) -> dict[str, Any] | None:
    if len(value) < FRAMING or value[0] != 0:
        return None
    schema = registry.schema_of(int.from_bytes(value[1:FRAMING], "big"))
    return event_of(value[FRAMING:], schema) if schema else None
