"""From messages to the rows of a table, with their place in the log beside them."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chargeline.ports import Record
from chargeline.wire.arrow_messages import decode
from chargeline.wire.units import UnitHeader


def columnar_rows(record: Record) -> pa.Table:
    """The rows of one columnar message. Raises KeyError, ValueError or pa.ArrowInvalid if it is none of ours."""
    header = UnitHeader.decode(record.headers)
    table = _flat(decode(record.value or b"").combine_chunks())
    return _placed(table, record, header.end, header.last_append_time)


def dead_letter_rows(records: list[Record]) -> pa.Table:
    """One row for each dead letter. Its unit is its own coordinate: the table keeps one row a coordinate."""
    rows = [_dead_letter(record) for record in records]
    table = pa.Table.from_pylist(rows, schema=_DEAD_LETTER)
    return table.append_column(
        "unit_append_time", pa.array([record.append_time for record in records]).cast(pa.timestamp("ms", "UTC"))
    )


_DEAD_LETTER = pa.schema(
    [
        ("code", pa.string()),
        ("reason", pa.string()),
        ("source_topic", pa.string()),
        ("source_partition", pa.int32()),
        ("source_offset", pa.int64()),
        ("schema_id", pa.int32()),
        ("append_time", pa.timestamp("ms", "UTC")),
        ("original_length", pa.int64()),
        ("original_sha256", pa.string()),
        ("value", pa.binary()),
        ("log_topic", pa.string()),
        ("log_partition", pa.int32()),
        ("log_offset", pa.int64()),
        ("unit_end", pa.int64()),
    ]
)


def _dead_letter(record: Record) -> dict[str, Any]:
    headers = {name.removeprefix("x-chargeline-"): value.decode() for name, value in record.headers}
    number = headers.get("schema-id")
    length = headers.get("original-length")
    return {
        "code": headers["code"],
        "reason": headers["reason"],
        "source_topic": headers["topic"],
        "source_partition": int(headers["partition"]),
        "source_offset": int(headers["offset"]),
        # An id is unsigned on the wire; the column is signed, as Avro's int is.
        "schema_id": None if number is None else int(number) - ((int(number) >> 31) << 32),
        "append_time": int(headers["append-time"]),
        "original_length": None if length is None else int(length),
        "original_sha256": headers.get("original-sha256"),
        "value": record.value or b"",
        "log_topic": record.topic,
        "log_partition": record.partition,
        "log_offset": record.offset,
        "unit_end": int(headers["offset"]) + 1,
    }


def _flat(table: pa.Table) -> pa.Table:
    """Lists of records become parallel lists; columns without any value are left to the table's defaults."""
    columns, names = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count == len(column):
            continue
        kind = column.type
        if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
            lists = column.combine_chunks()
            lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
            children = lists.values.flatten()
            for field, child in zip(kind.value_type, children, strict=True):
                columns.append(pa.ListArray.from_arrays(lists.offsets, child))
                names.append(f"{name}.{field.name}")
        elif pa.types.is_map(kind) and not pc.sum(pc.list_value_length(column.cast(_as_list(kind)))).as_py():
            continue
        else:
            columns.append(column)
            names.append(name)
    return pa.table(columns, names)


def _as_list(kind: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)]))


def _placed(table: pa.Table, record: Record, unit_end: int, append_time: int) -> pa.Table:
    length = table.num_rows
    for name, value, kind in (
        ("log_topic", record.topic, pa.string()),
        ("log_partition", record.partition, pa.int32()),
        ("log_offset", record.offset, pa.int64()),
        ("unit_end", unit_end, pa.int64()),
        ("unit_append_time", append_time, pa.timestamp("ms", "UTC")),
    ):
        table = table.append_column(name, pa.repeat(pa.scalar(value, kind), length))
    return table
