"""`ports.ChargeArchive` on ClickHouse: booked rows of long ago, as the log had them."""

from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa

from chargeline.domain.errors import TransientError
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.ports import ClosingRows, Warehouse
from chargeline.wire._arrow import CHARGE
from chargeline.wire.charge_scopes import summed_scopes

_ENTRY = "entries."
_RAW = ("identity_hash", "content_hash", "scope_key")
_MAPS = ("extra_quantities", "tuning", "labels")
# The table is in the order of the log, so the newest row is read from its end.
_HELD = "SELECT unit_end AS end FROM charges WHERE source_partition = {p:Int32} ORDER BY source_offset DESC LIMIT 1"
_ROWS = ("SELECT * FROM charges WHERE source_partition = {p:Int32} AND source_offset = {o:Int64} "
         "ORDER BY source_index")  # fmt: skip
_OF = ("SELECT * FROM charges WHERE source_partition = {p:Int32} AND source_offset < {o:Int64} "
       "AND billing_account_id IN {accounts:Array(String)} AND source IN {sources:Array(String)} AND ")  # fmt: skip
# Two questions, each of one column: older servers use no index for either where an OR joins them.
_FIND = (f"SELECT * FROM ({_OF}event_id IN {{events:Array(String)}} UNION ALL "
         f"{_OF}amends_event_id IN {{events:Array(String)}} AND event_id NOT IN {{events:Array(String)}})")  # fmt: skip
# With so many the index leaves out hardly anything: the column is read once for all, which is what 100 of them cost.
_ASKED = 500
_ASKED_BYTES = 100_000  # the values stand in the address, up to three bytes for each; a server takes 1 MiB
_SCOPES = ("SELECT assumeNotNull(`entries.scope_key`) AS scope_key, "
           "sum(ifNull(`entries.scope_quantity`, 0)) AS scope_quantity, "
           "sum(ifNull(`entries.scope_amount`, 0)) AS scope_amount, "
           "sum(ifNull(`entries.scope_count`, 0)) AS scope_count "
           "FROM charges ARRAY JOIN `entries.scope_key`, `entries.scope_quantity`, `entries.scope_amount`, "
           "`entries.scope_count` "
           "WHERE source_partition = {p:Int32} AND source_offset < {o:Int64} AND isNotNull(`entries.scope_key`) "
           # What only belongs to a scope, a minimum for instance, moves none.
           "AND (isNotNull(`entries.scope_quantity`) OR isNotNull(`entries.scope_amount`) "
           "OR isNotNull(`entries.scope_count`)) "
           "GROUP BY scope_key")  # fmt: skip
# What a close looks at; a month of an account may be millions of rows.
_OF_CLOSE = ("source_offset", "source_index", "identity_hash", "event_kind", "rule_id", "carried", "outcome", "reason",
             "billing_account_id", "source", "event_id", "amends_event_id", "event_time", "billing_period_start",
             "billing_period_end", "charge_class", "billing_currency", "estimated", "project")  # fmt: skip
_OF_CLOSE_ENTRIES = ("entry_kind", "sku_id", "sku_price_id", "rate_card_id", "rate_card_version", "leaf",
                     "consumed_quantity", "consumed_unit", "contracted_cost", "list_cost", "charge_category",
                     "charge_class", "charge_period_start", "billing_period_start", "billing_period_end",
                     "pricing_currency", "pricing_cost", "waived_cost", "scope_key", "scope_quantity",
                     "event_id")  # fmt: skip
_OF_ACCOUNT = ("FROM charges WHERE source_partition = {p:Int32} AND source_offset < {o:Int64} "
               "AND (source_offset, source_index) > ({after:Int64}, {index:Int32}) "
               "AND billing_account_id = {account:String} AND rule_id IS NULL AND (event_kind = 'PERIOD_CLOSE' "
               "OR arrayExists(sku -> has({skus:Array(String)}, sku), `entries.sku_id`) "
               "OR toUnixTimestamp64Micro(billing_period_start) = {start:Int64} OR arrayExists("
               "start -> ifNull(toUnixTimestamp64Micro(start) = {start:Int64}, 0), `entries.billing_period_start`)) "
               "ORDER BY source_offset, source_index LIMIT {rows:UInt32}")  # fmt: skip
_PAGE = 20_000
_NO_PERIOD = -1  # none begins a microsecond before 1970
_NO_ROW = dict.fromkeys(CHARGE.names)
_NO_ENTRY = {field.name: None for field in CHARGE.field("entries").type.value_type}
Row = dict[str, Any]


class ClickHouseArchive:
    """Reads what the sink has stored. It is asked only for what is older than the horizon of identities."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._held: dict[int, int] = {}

    def find(self, partition: int, identities: Collection[tuple[str, str, str]], before: int, held: int) -> list[Row]:
        self._wait_for(partition, held)
        wanted, found = set(identities), dict[tuple[int, int], Row]()
        for some in _parts(sorted(wanted)):
            accounts, sources, events = (sorted(set(names)) for names in zip(*some, strict=True))
            given = {"p": partition, "o": before, "accounts": accounts, "sources": sources, "events": events}
            for row in rows_of(self._warehouse.query(_FIND, given)):
                producer = (row["billing_account_id"], row["source"])
                if not wanted.isdisjoint({(*producer, row["event_id"]), (*producer, row["amends_event_id"])}):
                    found[row["source_offset"], row["source_index"]] = row
        return [row for _, row in sorted(found.items())]

    def rows(self, partition: int, offset: int) -> list[Row]:
        self._wait_for(partition, offset + 1)
        return rows_of(self._warehouse.query(_ROWS, {"p": partition, "o": offset}))

    def scopes(self, partition: int, before: int) -> ScopeStates:
        return summed_scopes(self._warehouse.query(_SCOPES, {"p": partition, "o": before}))

    def of_account(
        self, partition: int, billing_account_id: str, wanted: ClosingRows, before: int, held: int
    ) -> Iterator[Row]:
        self._wait_for(partition, held)
        start = _NO_PERIOD if wanted.period_start is None else wanted.period_start
        columns = [f"`{name}`" for name in dict.fromkeys((*_OF_CLOSE, *sorted(wanted.attributes)))]
        statement = (
            f"SELECT {', '.join([*columns, *(f'`{_ENTRY}{name}`' for name in _OF_CLOSE_ENTRIES)])} {_OF_ACCOUNT}"
        )
        given = {"p": partition, "o": before, "account": billing_account_id, "skus": list(wanted.sku_ids),
                 "start": start, "rows": _PAGE}  # fmt: skip
        place = {"after": -1, "index": 0}
        while True:
            found = rows_of(self._warehouse.query(statement, given | place))
            for row in found:
                yield _NO_ROW | row | {"entries": [_NO_ENTRY | entry for entry in row["entries"]]}
            if len(found) < _PAGE:
                return
            place = {"after": found[-1]["source_offset"], "index": found[-1]["source_index"]}

    def _wait_for(self, partition: int, held: int) -> None:
        """An answer counts only if the sink has stored everything that it is about."""
        if self._held.get(partition, 0) >= held:
            return
        end = max((int(row["end"]) for row in self._warehouse.query(_HELD, {"p": partition}).to_pylist()), default=0)
        if end < held:
            raise TransientError(f"ClickHouse holds charges of partition {partition} up to {end}; {held} is needed")
        self._held[partition] = end


def _parts(identities: list[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    """As many at a time as one question may name; one at the least."""
    some: list[tuple[str, str, str]] = []
    size = 0
    for each in identities:
        length = sum(len(text.encode()) for text in each)
        if some and (len(some) == _ASKED or size + length > _ASKED_BYTES):
            yield some
            some, size = [], 0
        some.append(each)
        size += length
    if some:
        yield some


def rows_of(table: pa.Table) -> list[Row]:
    """Rows of the table `charges` as its messages have them: entries as records, texts as texts, maps as dicts."""
    return [_row(row) for row in table.to_pylist()]


def _row(row: Row) -> Row:
    found = {name: _value(name, value) for name, value in row.items() if not name.startswith(_ENTRY)}
    columns = {name.removeprefix(_ENTRY): value for name, value in row.items() if name.startswith(_ENTRY)}
    entries = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return found | {"entries": [{name: _value(name, value) for name, value in each.items()} for each in entries]}


def _value(name: str, value: Any) -> Any:
    if name in _MAPS:
        return {_value("", key): _value("", each) for key, each in dict(value or {}).items()}
    return value.decode() if isinstance(value, bytes) and name not in _RAW else value
