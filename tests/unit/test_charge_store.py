"""The charges of a whole log in memory."""

from dataclasses import replace

from chargeline.pricer.charge_store import ChargeStore
from tests.support.corrected import Running, read_lines
from tests.support.rating import card, sku, uses


def stored():
    running, store = Running([card(sku("per_unit", unit_price="1"))], None, None), ChargeStore()
    running.unit(read_lines(uses("1", "2")))
    store.add(running.computed[0].charges)
    return store


def test_a_row_that_is_asked_for_again_is_read_once():
    store = stored()
    row = store.row(1)
    assert row is not None
    assert store.row(1) is row
    assert [store.row(offset).offset for offset in (0, 1, 0)] == [0, 1, 0]
    assert store.row(2) is None


def test_what_a_correction_puts_counts_from_then_on():
    store = stored()
    changed = replace(store.row(1), reason="TOO_LATE")
    store.put(changed)
    assert store.row(1) is changed
