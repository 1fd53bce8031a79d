"""What `chargeline price` writes as Parquet: the objects of spec/formats.md 6 as rows, with the same names.

Amounts are decimals and periods instants. `scope` is the JSON text of an object's scope, null for events. What an
object does not have is null. The totals, as their line has them, stand in the file's metadata under `totals`.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chargeline.cli.price_events import Block
from chargeline.cli.price_objects import Object, Totals, counted, single_objects
from chargeline.pricer.log_records import Answers
from chargeline.wire.charge_lines import is_plain

_TEXT, _MONEY, _PRICE = pa.string(), pa.decimal128(38, 12), pa.decimal128(38, 18)
_CODED = pa.dictionary(pa.int32(), _TEXT)
_ENTRY = pa.struct(
    [
        ("entry_kind", _CODED),
        ("sku_id", _CODED),
        ("sku_price_id", _CODED),
        ("rate_card_id", _CODED),
        ("rate_card_version", pa.int32()),
        ("leaf", _CODED),
        ("pricing_quantity", _MONEY),
        ("pricing_unit", _CODED),
        ("list_unit_price", _PRICE),
        ("contracted_unit_price", _PRICE),
        ("contracted_cost", _MONEY),
        ("list_cost", _MONEY),
        ("pricing_currency", _CODED),
        ("pricing_cost", _MONEY),
        ("fx_rate", _PRICE),
        ("charge_class", _CODED),
        ("pool", _CODED),
        ("waived_cost", _MONEY),
        ("estimated", pa.bool_()),
        ("event_id", _TEXT),
        ("billed_cost", _MONEY),
        ("effective_cost", _MONEY),
    ]
)
SCHEMA = pa.schema(
    [
        ("event_id", _TEXT),
        ("scope", _TEXT),
        ("outcome", _CODED),
        ("reason", _CODED),
        ("billing_period", pa.timestamp("us", "UTC")),
        ("contracted_cost", _MONEY),
        ("billed_cost", _MONEY),
        ("billing_currency", _CODED),
        ("entries", pa.list_(_ENTRY)),
        ("cost_variance", pa.decimal128(38, 24)),
    ]
)
_SAME = {"list_unit_price": "contracted_unit_price", "list_cost": "contracted_cost"}
_NOT_OF_EVENTS = frozenset({"event_id", "billed_cost", "effective_cost"})


class ParquetRows:
    """One row an object, a row group a block."""

    def __init__(self, sink: BinaryIO, totals: Totals) -> None:
        coded = [name for name in SCHEMA.names if SCHEMA.field(name).type == _CODED]
        coded += [f"entries.list.element.{field.name}" for field in _ENTRY if field.type == _CODED]
        self._writer = pq.ParquetWriter(sink, SCHEMA, use_dictionary=coded, write_statistics=False, store_schema=False,
                                        compression="lz4")  # fmt: skip
        self._totals = totals
        self._scopes: list[Object] = []

    def block(self, block: Block, answers: Answers) -> None:
        """The rows of a block in their order."""
        tables, places = [], []
        for table in answers.tables:
            plain = is_plain(table)
            written = table if plain.all() else table.filter(pa.array(plain))
            if written.num_rows:
                self._totals.add_table(written)
                tables.append(event_table(written))
                places.append(written.column("source_offset").to_numpy() - block.start)
        single = list(single_objects(block, answers))
        if single:
            tables.append(_table(counted(account, found, self._totals) for _, account, found in single))
            places.append(np.array([place for place, _, _ in single], np.int64))
        if len(tables) == 1:
            self._writer.write_table(tables[0])
        elif tables:
            order = pa.array(np.argsort(np.concatenate(places), kind="stable"))
            self._writer.write_table(pa.concat_tables(tables).unify_dictionaries().combine_chunks().take(order))

    def scope(self, found: Object) -> None:
        """What a close booked for one scope."""
        self._totals.add_scope(found)
        self._scopes.append(found)

    def end(self) -> None:
        if self._scopes:
            self._writer.write_table(_table(self._scopes))
        self._writer.add_key_value_metadata({"totals": json.dumps(self._totals.line(), ensure_ascii=False)})
        self._writer.close()


def event_table(table: pa.Table) -> pa.Table:
    """Charges as rows of `SCHEMA`; only of rows that are plain."""
    length, names = table.num_rows, table.schema.names
    outcome = _column(table, "outcome", _CODED)
    if "outcome" not in names:
        outcome = _constant("CHARGED", length)
    cost = _column(table, "contracted_cost", _MONEY)
    currency = _column(table, "billing_currency", _CODED)
    if "outcome" in names:  # what is not rated has no currency
        unrated = np.asarray(cost.is_null().to_numpy(zero_copy_only=False), bool)
        codes = currency.indices.to_numpy(zero_copy_only=False)
        currency = pa.DictionaryArray.from_arrays(
            pa.array(np.nan_to_num(codes).astype(np.int32), mask=unrated | np.asarray(currency.is_null())),
            currency.dictionary,
        )
    columns = {
        "event_id": _column(table, "event_id", _TEXT),
        "outcome": outcome,
        "reason": _column(table, "reason", _CODED),
        "billing_period": _column(table, "billing_period_start", pa.timestamp("us", "UTC")),
        "contracted_cost": cost,
        "billed_cost": cost,
        "billing_currency": currency,
        "entries": _entries(_one(table.column("entries"))),
    }
    arrays = [columns[name] if name in columns else pa.nulls(length, SCHEMA.field(name).type) for name in SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _entries(lists: pa.ListArray) -> pa.ListArray:
    flat = lists.flatten()
    given = {field.name: flat.field(field.name) for field in flat.type}
    columns = []
    for field in _ENTRY:
        name = field.name if field.name in given else _SAME.get(field.name, field.name)
        if name == "entry_kind" and name not in given:
            columns.append(_constant("UNIT", len(flat)))
        elif name in _NOT_OF_EVENTS or name not in given:
            columns.append(pa.nulls(len(flat), field.type))
        else:
            columns.append(_as(given[name], field.type))
    rows = pa.StructArray.from_arrays(columns, fields=list(_ENTRY))
    offsets = lists.offsets.to_numpy() - lists.offsets[0].as_py()
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows)


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    if name not in table.schema.names:
        return pa.nulls(table.num_rows, kind)
    return _as(_one(table.column(name)), kind)


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _constant(text: str, length: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(length, np.int32)), pa.array([text], _TEXT))


def _table(objects: Iterable[Object]) -> pa.Table:
    """Objects as rows."""
    rows = [_row(found) for found in objects]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(found: Object) -> dict[str, Any]:
    scope = found.get("scope")
    row = {name: _value(found.get(name), SCHEMA.field(name).type) for name in SCHEMA.names if name != "entries"}
    row["scope"] = None if scope is None else json.dumps(scope, ensure_ascii=False)
    row["entries"] = [
        {field.name: _value(entry.get(field.name), field.type) for field in _ENTRY} for entry in found["entries"]
    ]
    return row


def _value(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, str) and pa.types.is_decimal(kind):
        return Decimal(value)
    if isinstance(value, str) and pa.types.is_timestamp(kind):
        return datetime.fromisoformat(value)
    return value
