"""LINE: the only rounding to payable money, when an invoice is issued (spec/rating.md 2)."""

from collections.abc import Iterable
from dataclasses import dataclass

from chargeline.domain.closing.entries import Booked
from chargeline.domain.money import round_half_away

_DIGITS = 12


@dataclass(frozen=True)
class LineKey:
    """What the entries of one invoice line have in common."""

    invoice_id: str
    sku_id: str | None
    sku_price_id: str | None
    charge_category: str
    charge_class: str | None
    project: str | None


@dataclass(frozen=True)
class InvoiceLine:
    """One line, in picounits.

    Attributes:
        exact: sum of the entries' `billed_cost`.
        payable: the same in whole minor units, halves away from zero.
    """

    key: LineKey
    exact: int
    payable: int

    @property
    def rounding(self) -> int:
        """What the line's ROUNDING entry adds: payable - exact."""
        return self.payable - self.exact


def invoice_lines(entries: Iterable[tuple[str, Booked]], minor_digits: int) -> list[InvoiceLine]:
    """The lines of invoices.

    Args:
        entries: (invoice_id, entry), any order; ROUNDING entries are not among them.
        minor_digits: decimals of payable money, 0 to 12: `currencies.minor_digits`.

    Returns:
        One line for each key, ordered by key. An invoice's total is the sum of its lines' `payable`.
    """
    sums: dict[LineKey, int] = {}
    for invoice_id, entry in entries:
        key = LineKey(
            invoice_id, entry.sku_id, entry.sku_price_id, entry.charge_category, entry.charge_class, entry.project
        )
        sums[key] = sums.get(key, 0) + entry.billed_cost
    step = 10 ** (_DIGITS - minor_digits)
    return [
        InvoiceLine(key, exact, round_half_away(exact, step) * step)
        for key, exact in sorted(sums.items(), key=lambda each: _order(each[0]))
    ]


def rounding_entry(line: InvoiceLine, event_time: int) -> Booked | None:
    """The ROUNDING entry of a line, on the same invoice and of the line's class; None: the line is exact already.

    It repeats the line's SKU and project, not its price point: rounding has none.
    """
    if line.rounding == 0:
        return None
    return Booked(
        "ROUNDING",
        "ADJUSTMENT",
        event_time,
        0,
        line.rounding,
        line.rounding,
        sku_id=line.key.sku_id,
        project=line.key.project,
        charge_class=line.key.charge_class,
    )


def invoice_total(lines: Iterable[InvoiceLine], invoice_id: str) -> int:
    """What an invoice asks for, in picounits: the sum of its rounded lines."""
    return sum(line.payable for line in lines if line.key.invoice_id == invoice_id)


def _order(key: LineKey) -> tuple[tuple[bool, bytes], ...]:
    values = (key.invoice_id, key.sku_id, key.sku_price_id, key.charge_category, key.charge_class, key.project)
    return tuple((value is not None, (value or "").encode()) for value in values)
