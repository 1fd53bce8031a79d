"""Builders for the close of a billing period: times and amounts as text, entries with few words."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from chargeline.domain.accounts import Commitment, Credit
from chargeline.domain.closing.entries import Booked, Period, Scope, Span
from chargeline.domain.money import plain_picos
from chargeline.sdk.encode import micros

SKU = "m/output"


def at(text):
    """2026 is understood, and so is midnight: `06-10`, `06-10T08:00`, or a whole instant."""
    if len(text) < 16:
        text = f"2026-{text}"
    return micros(datetime.fromisoformat(text + ("+00:00" if "T" in text else "T00:00+00:00")))


def span(start, end=None):
    return Span(at(start), None if end is None else at(end))


def period(start, end):
    return Period(at(start), at(end))


JUNE = period("06-01", "07-01")


def picos(text):
    return int(Fraction(str(text)) * 10**12)


def texts(values):
    return [plain_picos(each) for each in values]


def charge(amount, number=0, time="06-10", **fields):
    """A usage entry of event `number`."""
    picounits = picos(amount)
    base = {"event": (0, number, 0), "event_id": f"e{number}", "sku_id": SKU, "sku_price_id": f"{SKU}/1"}
    kind, category = fields.pop("entry_kind", "UNIT"), fields.pop("charge_category", "USAGE")
    return Booked(kind, category, at(time), picounits, picounits, picounits, **(base | fields))


def commitment(amount=1000, factor="1.25", name="K", start="06-01", end="07-01", **fields):
    return Commitment(name, "acme", Decimal(amount), "EUR", at(start), at(end), Decimal(factor), **fields)


def grant(name, amount, priority=1, expires=None, start="01-01", kind="granted", **fields):
    expires_at = None if expires is None else at(expires)
    return Credit(name, "acme", kind, Decimal(amount), "EUR", at(start), expires_at, priority, **fields)


def grant_id(entry):
    """The grant that an entry draws on."""
    assert entry.scope is not None
    return entry.scope.grant_id


def of_kind(entries, kind, **scope):
    """Billed amounts, as text, of the entries of a kind (and scope)."""
    found = [each for each in entries if each.entry_kind == kind and (not scope or each.scope == Scope(**scope))]
    return texts(each.billed_cost for each in found)
