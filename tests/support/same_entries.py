"""When the entries of two implementations are the same."""

from decimal import Decimal
from typing import Any

Document = dict[str, Any]
_CLOSE = Decimal("0.000000000002")


def entries(result: Document) -> list[Document]:
    """Without those that move nothing: base units of a tier in which no block begins are an entry of the pricer alone."""
    return [
        each
        for each in result.get("entries", [])
        if each["entry_kind"] not in ("UNIT", "FREE_UNITS", "REVERSAL")
        or (each["pricing_quantity"], each["contracted_cost"], each.get("waived_cost", "0")) != ("0", "0", "0")
    ]


def assert_same(found: list[Document], wanted: list[Document]) -> None:
    """Field by field.

    The price of a fee for one event is worked out from what it costs, and the list cost of blocks of a volume rate from
    its stored number of blocks: both may be off in the last of 12 decimals.
    """
    assert [each["entry_kind"] for each in found] == [each["entry_kind"] for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        is_fee = one["entry_kind"] == "PER_EVENT_FEE" or (one["entry_kind"], one["pricing_unit"]) == (
            "REVERSAL",
            "Fees",
        )
        near = {"list_cost"} | ({"list_unit_price", "contracted_unit_price"} if is_fee else set())
        for name in near:
            if one[name] is not None:
                assert abs(Decimal(one[name]) - Decimal(other[name])) <= _CLOSE
        assert {**one, **dict.fromkeys(near)} == {**other, **dict.fromkeys(near)}


def assert_same_object(one: Document, other: Document) -> None:
    """All of what became of one line."""
    assert {**one, "entries": None} == {**other, "entries": None}
    assert_same(entries(one), entries(other))
