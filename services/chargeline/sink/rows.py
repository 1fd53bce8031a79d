"""From messages to the rows of a table, with their place in the log beside them."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from chargeline.ports import Record
from chargeline.wire._arrow import COST_ANOMALY
from chargeline.wire.anomaly_records import decode_anomaly
from chargeline.wire.arrow_messages import decode
from chargeline.wire.units import UnitHeader


def whole_unit(waiting: Sequence[Record], log_start: int) -> list[Record]:
    """The slices of the unit at the head of a partition's columnar messages; none until all of them are there.

    Args:
        log_start: offset of the oldest record; only here may a unit lack its first slices, which retention deleted.

    Raises:
        KeyError, ValueError: the messages are none of ours, or not the next slices of one unit.
    """
    first = UnitHeader.decode(waiting[0].headers)
    if first.slice_index and waiting[0].offset != log_start:
        raise ValueError(f"slice {first.slice_index} of the unit that ends at {first.end}, where a unit must begin")
    unit = list(islice(waiting, first.slice_count - first.slice_index))
    for index, record in enumerate(unit, first.slice_index):
        header = UnitHeader.decode(record.headers)
        if (header.end, header.slice_index, header.slice_count) != (first.end, index, first.slice_count):
            raise ValueError(
                f"slice {index} of {first.slice_count} of the unit that ends at {first.end} is missing: offset "
                f"{record.offset} is slice {header.slice_index} of {header.slice_count} of the one that ends at "
                f"{header.end}"
            )
    return unit if first.slice_index + len(unit) == first.slice_count else []


def columnar_rows(unit: Sequence[Record]) -> pa.Table:
    """The rows of a unit's slices, all in one batch, at the place of the first.

    Raises KeyError, ValueError or pa.ArrowInvalid if they are none of ours.
    """
    record = unit[0]
    header = UnitHeader.decode(record.headers)
    rows = pa.concat_tables(decode(each.value or b"") for each in unit).unify_dictionaries()
    columns = _flat(rows) | {
        name: pa.repeat(pa.scalar(value, kind), rows.num_rows)
        for name, value, kind in (
            ("log_topic", record.topic, pa.string()),
            ("log_partition", record.partition, pa.int32()),
            ("log_offset", record.offset, pa.int64()),
            ("unit_end", header.end, pa.int64()),
            ("unit_append_time", header.last_append_time, pa.timestamp("ms", "UTC")),
        )
    }
    return pa.table(columns)


def dead_letter_rows(records: list[Record]) -> pa.Table:
    """One row for each dead letter. Its unit is its own coordinate: the table keeps one row a coordinate."""
    rows = [_dead_letter(record) for record in records]
    table = pa.Table.from_pylist(rows, schema=_DEAD_LETTER)
    return table.append_column(
        "unit_append_time", pa.array([record.append_time for record in records]).cast(pa.timestamp("ms", "UTC"))
    )


def anomaly_rows(records: list[Record]) -> pa.Table:
    """One row for each update of an incident. Raises ValueError if one is none of ours."""
    rows = []
    for record in records:
        row = decode_anomaly(record.value or b"")
        row["dimensions"] = list(row["dimensions"].items())
        rows.append(
            row
            | {
                "log_topic": record.topic,
                "log_partition": record.partition,
                "log_offset": record.offset,
                "unit_end": record.offset + 1,
                "unit_append_time": record.append_time,
            }
        )
    columns = _flat(pa.Table.from_pylist(rows, schema=_ANOMALY))
    return pa.table(columns)


_ANOMALY = pa.schema(
    [
        *COST_ANOMALY,
        ("log_topic", pa.string()),
        ("log_partition", pa.int32()),
        ("log_offset", pa.int64()),
        ("unit_end", pa.int64()),
        ("unit_append_time", pa.timestamp("ms", "UTC")),
    ]
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


def _flat(rows: pa.Table) -> dict[str, pa.Array]:
    """Lists of records become parallel lists; columns without any value are left to the table's defaults."""
    columns: dict[str, pa.Array] = {}
    for name, chunks in zip(rows.column_names, rows.columns, strict=True):
        if chunks.null_count == len(chunks):
            continue
        column = chunks.chunk(0) if chunks.num_chunks == 1 else pa.concat_arrays(chunks.chunks)
        kind = column.type
        if pa.types.is_map(kind) and not len(column.keys):
            continue
        if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
            for field, child in zip(kind.value_type, column.values.flatten(), strict=True):
                columns[f"{name}.{field.name}"] = pa.ListArray.from_arrays(column.offsets, child)
        else:
            columns[name] = column
    return columns
