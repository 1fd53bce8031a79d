"""Rows of `charges`, one event at a time: what corrections read of the booked, and how they price an event anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa

from chargeline.domain.rating.booked_entries import CORRECTION, BookedEntry, Span
from chargeline.wire.left_out import completed
from chargeline.wire.usage_encoder import FIELDS, TIMES, encode

Identity = tuple[str, str, str]  # account, source, event_id
PeriodOf = Callable[[str, int], Span]  # (account, instant) -> its billing period
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_DECIMALS = 18
EXACT = Context(prec=100)  # the usual one rounds to 28 digits


@dataclass(frozen=True)
class EventRow:
    """One row of `charges`.

    Attributes:
        offset: of the record that booked it.
        usage: every field of the event, as the row has it.
        reason: why it is UNRATED; None: it is rated.
        period: billing period of the row.
        entries: in their order, those that take another event back included.
    """

    offset: int
    identity: Identity
    event_time: int
    usage: Mapping[str, Any]
    reason: str | None
    currency: str | None
    period: Span
    entries: tuple[BookedEntry, ...]
    cost_variance: Decimal | None = None

    @property
    def event_kind(self) -> str:
        return str(self.usage["event_kind"])

    @property
    def project(self) -> str | None:
        return self.usage["project"]


def event_rows(table: pa.Table) -> list[EventRow]:
    """The rows of a table of charges in their order."""
    return [event_row(row) for row in completed(table.to_pylist(), "Charge")]


def values_of(rows: Sequence[EventRow], schema_id: int = 0) -> list[bytes]:
    """The framed values of events, encoded again from their rows."""
    return encode(columns_of(rows), len(rows), schema_id)


def columns_of(rows: Sequence[EventRow]) -> dict[str, pa.Array]:
    """Events as columns, a row each, as `usage_encoder.encode` and `usage_columns.usage_of` take them."""
    columns: dict[str, pa.Array] = {}
    for name, field in FIELDS.items():
        values = [row.usage[name] for row in rows]
        if all(value is None or value == {} for value in values):
            continue
        if field.kind == "map":
            items = pa.string() if field.map_of == "string" else pa.int64()
            pairs = [sorted(dict(value).items(), key=_key_bytes) if value else None for value in values]
            columns[name] = pa.array(pairs, pa.map_(pa.string(), items))
        elif name in TIMES:
            columns[name] = pa.array([None if value is None else micros_of(value) for value in values])
        else:
            columns[name] = pa.array(values)
    return columns


def _key_bytes(item: tuple[str, Any]) -> bytes:
    return item[0].encode()


def event_row(row: Mapping[str, Any], period_of: PeriodOf | None = None) -> EventRow:
    """A complete row of a message as plain values.

    Args:
        period_of: by which an entry of class CORRECTION finds the period of its usage; the row says where it is billed.
    """
    period = micros_of(row["billing_period_start"]), micros_of(row["billing_period_end"])
    time = micros_of(row["event_time"])
    entries = [_entry(entry, row, time, period, period_of) for entry in row["entries"]]
    return EventRow(
        row["source_offset"],
        (row["billing_account_id"], row["source"], row["event_id"]),
        time,
        {name: row[name] for name in FIELDS},
        row["reason"],
        row["billing_currency"],
        period,
        tuple(entries),
        row["cost_variance"],
    )


def _entry(
    entry: dict[str, Any], row: Mapping[str, Any], time: int, period: Span, period_of: PeriodOf | None
) -> BookedEntry:
    cost = steps(entry["contracted_cost"])
    start, end = entry["billing_period_start"], entry["billing_period_end"]
    billed = usage = period if start is None else (micros_of(start), micros_of(end))
    charge_time = time if entry["charge_period_start"] is None else micros_of(entry["charge_period_start"])
    if entry["charge_class"] == CORRECTION and period_of is not None:
        usage = period_of(row["billing_account_id"], charge_time)
    return BookedEntry(
        entry["entry_kind"],
        entry["sku_id"],
        entry["sku_price_id"],
        entry["rate_card_id"],
        entry["rate_card_version"],
        entry["leaf"],
        _optional(entry["pricing_quantity"]),
        entry["pricing_unit"],
        _optional(entry["list_unit_price"], _UNIT_DECIMALS),
        _optional(entry["contracted_unit_price"], _UNIT_DECIMALS),
        cost,
        steps(entry["list_cost"]),
        entry["pricing_currency"] or row["billing_currency"],
        cost if entry["pricing_cost"] is None else steps(entry["pricing_cost"]),
        charge_time,
        usage,
        billed,
        _optional(entry["fx_rate"], _UNIT_DECIMALS),
        entry["charge_class"],
        _optional(entry["waived_cost"]),
        entry["pool"],
        row["estimated"] and not _is_owed_by_others(entry, row),
        entry["scope_key"],
        0 if entry["scope_quantity"] is None else steps(entry["scope_quantity"], 0),
        0 if entry["scope_amount"] is None else steps(entry["scope_amount"]),
        entry["scope_count"] or 0,
        variant_of(entry["sku_id"], entry["sku_price_id"]),
        row["project"],
        steps(entry["consumed_quantity"]),
        None,
        entry["consumed_unit"],
        entry["charge_category"],
        entry["fx_rate_id"],
        event_id=entry["event_id"],
    )


def _is_owed_by_others(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether it puts a scope right without the event: a row that takes one back has reversals and these alone."""
    return entry["entry_kind"] != "REVERSAL" and any(each["entry_kind"] == "REVERSAL" for each in row["entries"])


def variant_of(sku_id: str, sku_price_id: str | None) -> str | None:
    """The variant in `sku_id[/variant]/n`."""
    if sku_price_id is None:
        return None
    middle = sku_price_id[len(sku_id) : sku_price_id.rindex("/")]
    return middle[1:] or None


def steps(number: Decimal, places: int = 12) -> int:
    """A decimal as whole steps of 10**-places."""
    scaled = number.scaleb(places, EXACT)
    size = int(scaled)
    if size != scaled:
        raise ValueError(f"{number} is finer than {places} decimals")
    return size


def _optional(number: Decimal | None, places: int = 12) -> int | None:
    return None if number is None else steps(number, places)


def moment_of(micros: int) -> datetime:
    """The moment so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def micros_of(moment: Any) -> int:
    """Microseconds since 1970 of a moment, or what is that already."""
    if isinstance(moment, int):
        return moment
    since = moment - _EPOCH
    return int((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
