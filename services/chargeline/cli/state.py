"""`chargeline state`: what Redis holds for each partition against what the log says, and its rebuilding."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.pipeline import INPUT, last_unit
from chargeline.adapters.redis_state import RedisStateStore
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.domain.errors import Refused
from chargeline.runtime.stack import Stack, load_stack

Partition = Annotated[int | None, typer.Option("--partition", min=0, help="Only this partition.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The pricer's state in Redis: show it, or have it made anew.", no_args_is_help=True)
    group.command()(show)
    group.command()(rebuild)
    app.add_typer(group, name="state")


def show(data: DataDir = None, partition: Partition = None, as_json: AsJson = False) -> None:
    """Show what Redis holds of each partition, beside the log.

    Exit code 1 if it must be rebuilt.

    EQUAL: up to the newest committed unit. BEHIND: some units are still to be written. EMPTY: nothing is stored.
    DAMAGED: a segment is not as long as the index says. AHEAD: it knows more than the log: was Kafka restored?

    Example: chargeline state show
    """
    with _opened(load_stack(data)) as (reader, store):
        rows = [_row(reader, store, each) for each in _chosen(partition, reader.partitions(INPUT))]
    if as_json:
        print_json(rows)
    else:
        shown = [{name: value for name, value in row.items() if name != "charges_next_offset"} for row in rows]
        print_rows(shown, "state by partition of usage-events")
    if any(row["state"] in {"DAMAGED", "AHEAD"} for row in rows):
        raise typer.Exit(1)


def rebuild(data: DataDir = None, partition: Partition = None, as_json: AsJson = False) -> None:
    """Make what Redis holds void: its owner writes it again.

    That is safe while everything runs. A running pricer notices it with its next unit: it makes sure that it still
    owns the partition, and writes the snapshot of its memory. Where none runs, the next owner folds the state again
    from `charges` when it starts. No bill changes. The live windows of `chargeline top` begin anew where the state is
    folded.

    Example: chargeline state rebuild --partition 0
    """
    stack = load_stack(data)
    running = any(each.name.startswith("pricer") for each in stack.services)
    how = "with its next unit the pricer writes it again" if running else "its next owner folds it from charges"
    with _opened(stack) as (reader, store):
        rows = []
        for each in _chosen(partition, reader.partitions(INPUT)):
            rows.append({"partition": each, "identities": store.sizes(each).identities, "what_follows": how})
            store.invalidate(each)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        text = f"partition {row['partition']}: {row['identities']:,} identities are void; {how}"
        Console(stderr=True).print(text, highlight=False)


def _chosen(partition: int | None, partitions: int) -> list[int]:
    if partition is None:
        return list(range(partitions))
    if partition >= partitions:
        raise Refused("NO_SUCH_PARTITION", f"usage-events has partitions 0 to {partitions - 1}, not {partition}")
    return [partition]


@contextmanager
def _opened(stack: Stack) -> Iterator[tuple[KafkaLogReader, RedisStateStore]]:
    reader = KafkaLogReader(stack.kafka)
    store = RedisStateStore(stack.redis_url, username=stack.redis_user, password=stack.redis_password)
    try:
        yield reader, store
    finally:
        reader.close()
        store.close()


def _row(reader: KafkaLogReader, store: RedisStateStore, partition: int) -> dict[str, Any]:
    # Redis first: it trails the log, so that a unit in between cannot make it look ahead.
    head, sizes = store.head(partition), store.sizes(partition)
    unit = last_unit(reader, partition)
    committed = unit.end if unit is not None else 0
    stored = head.next_offset if head is not None else None
    return {
        "partition": partition,
        "state": _judged(stored, committed, sizes.damaged),
        "committed": committed,
        "next_offset": stored,
        "charges_next_offset": head.charges_next_offset if head is not None else None,
        "identities": sizes.identities,
        "segments": sizes.segments,
        "bytes": sizes.bytes,
        "live_windows": sizes.live_windows,
    }


def _judged(stored: int | None, committed: int, damaged: int) -> str:
    if stored is None:
        return "EMPTY"
    if stored > committed:
        return "AHEAD"
    if damaged:
        return "DAMAGED"
    return "EQUAL" if stored == committed else "BEHIND"
