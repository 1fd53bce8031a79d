"""When the entries of two implementations are the same."""

from typing import Any

Document = dict[str, Any]


def entries(result: Document) -> list[Document]:
    """Without those that move nothing: base units of a tier in which no block begins are an entry of the pricer alone."""
    return [
        each
        for each in result.get("entries", [])
        if each["entry_kind"] not in ("UNIT", "FREE_UNITS", "REVERSAL")
        or (each["pricing_quantity"], each["contracted_cost"], each.get("waived_cost", "0")) != ("0", "0", "0")
    ]


def assert_same(found: list[Document], wanted: list[Document]) -> None:
    """Field by field."""
    assert [each["entry_kind"] for each in found] == [each["entry_kind"] for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one == other


def assert_same_object(one: Document, other: Document) -> None:
    """All of what became of one line."""
    assert {**one, "entries": None} == {**other, "entries": None}
    assert_same(entries(one), entries(other))
