"""Entries of events as `charges` has them, one at a time: what corrections and closes read and make.

Amounts and quantities are whole 1e-12 steps, times microseconds since 1970 UTC.
Source: spec/rating.md, sections 1, 5 and 12; schemas/events/charge.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from chargeline.domain.money import PICOS, round_half_away
from chargeline.domain.usage import COUNTED, LEAVES

CORRECTION = "CORRECTION"
_MILLION = 10**6
# Where usage of a period is billed: (start, end) of it -> (start, end) of the billing period, charge class.
Span = tuple[int, int]
BilledIn = Callable[[Span], tuple[Span, str | None]]


@dataclass(frozen=True)
class BookedEntry:
    """One component of an event's charge.

    Attributes:
        pricing_cost: `contracted_cost` before conversion; the same where nothing is converted.
        fx_rate: billing units for one pricing unit; None: nothing is converted.
        usage_period: the billing period in which the usage lies; `billing_period`: in which it is billed.
        scope_key: the scope that the entry is booked in; None: the event moves none.
        scope_quantity, scope_amount, scope_count: what the entry moves the scope by.
        corrects: offset of the row whose entry this takes back; None: an entry of the event itself.
        effective_cost, billed_cost: None: as `contracted_cost`; others are made by closes alone, and not read again.
        event_id: the event that it takes back, or whose charge it covers, credits or raises; None: that of the row.
    """

    entry_kind: str
    sku_id: str
    sku_price_id: str | None
    rate_card_id: str
    rate_card_version: int
    leaf: str
    pricing_quantity: int | None
    pricing_unit: str | None
    list_unit_price: int | None  # 1e-18 steps
    contracted_unit_price: int | None
    contracted_cost: int
    list_cost: int
    pricing_currency: str
    pricing_cost: int
    charge_time: int
    usage_period: Span
    billing_period: Span
    fx_rate: int | None = None  # 1e-18 steps
    charge_class: str | None = None
    waived_cost: int | None = None
    pool: str | None = None
    estimated: bool = False
    scope_key: bytes | None = None
    scope_quantity: int = 0
    scope_amount: int = 0
    scope_count: int = 0
    variant: str | None = None
    project: str | None = None
    consumed_quantity: int = 0
    corrects: int | None = None
    consumed_unit: str = ""
    charge_category: str = "USAGE"
    fx_rate_id: str | None = None
    effective_cost: int | None = None
    billed_cost: int | None = None
    event_id: str | None = None


def base_units(entry: BookedEntry) -> int:
    """What an entry measured, in base units of its scope: tokens, ms, or millionths of an extra quantity."""
    is_counted = entry.leaf in LEAVES or entry.leaf in COUNTED
    return entry.consumed_quantity * (1 if is_counted else _MILLION) // PICOS


def scope_keys_of(entries: Iterable[BookedEntry]) -> list[bytes]:
    """The scopes that entries stand in, each once, in the order in which they come."""
    return list(dict.fromkeys(entry.scope_key for entry in entries if entry.scope_key is not None))


def reversal(entry: BookedEntry, row: int, billed_in: BilledIn, *, moves_back: bool = True) -> BookedEntry:
    """The exact negative of an entry, with its charge period and rate of exchange (spec/rating.md 12).

    Args:
        row: offset of the row that booked it.
        moves_back: its scope loses the quantity again.
    """
    period, charge_class = billed_in(entry.usage_period)
    quantity = entry.pricing_quantity
    return _changed(
        entry,
        entry_kind="REVERSAL",
        pricing_quantity=None if quantity is None else -quantity,
        consumed_quantity=-entry.consumed_quantity,
        contracted_cost=-entry.contracted_cost,
        list_cost=-entry.list_cost,
        pricing_cost=-entry.pricing_cost,
        waived_cost=None if entry.waived_cost is None else -entry.waived_cost,
        billing_period=period,
        charge_class=charge_class,
        scope_quantity=-entry.scope_quantity if moves_back else 0,
        scope_amount=0,
        scope_count=0,
        corrects=row,
    )


def adjustment(like: BookedEntry, kind: str, pricing_cost: int, row: int | None, billed_in: BilledIn) -> BookedEntry:
    """An entry of its own of the scope of another entry: TIER_SHIFT, or TIER_SETTLEMENT of a closed volume scope.

    Args:
        pricing_cost: in the pricing currency.
        row: offset of the row that it corrects; None: none.
    """
    period, charge_class = billed_in(like.usage_period)
    cost = in_billing_currency(pricing_cost, like.fx_rate)
    return _changed(
        like,
        entry_kind=kind,
        charge_category="ADJUSTMENT",
        sku_price_id=None,
        consumed_quantity=0,
        pricing_quantity=None,
        pricing_unit=None,
        list_unit_price=None,
        contracted_unit_price=None,
        contracted_cost=cost,
        list_cost=cost,
        pricing_cost=pricing_cost,
        billing_period=period,
        charge_class=charge_class,
        waived_cost=None,
        pool=None,
        estimated=like.estimated and row is None,
        scope_quantity=0,
        scope_amount=0,
        scope_count=0,
        corrects=row,
    )


def rebilled(entry: BookedEntry, billed_in: BilledIn) -> BookedEntry:
    """The entry where it is billed: one about a closed period is a correction in the open one."""
    period, charge_class = billed_in(entry.usage_period)
    return _changed(entry, billing_period=period, charge_class=charge_class)


def _changed(entry: BookedEntry, **changes: Any) -> BookedEntry:
    # `dataclasses.replace` sets every field one by one: 20 us, most of what it costs to take an entry back.
    made = object.__new__(BookedEntry)
    vars(made).update(vars(entry), **changes)
    return made


def in_billing_currency(pricing_cost: int, fx_rate: int | None) -> int:
    """Q12 of a stored pricing amount times the rate of exchange (spec/rating.md 5)."""
    if fx_rate is None:
        return pricing_cost
    amount = Fraction(pricing_cost * fx_rate, PICOS * 10**6)
    return round_half_away(amount.numerator, amount.denominator)
