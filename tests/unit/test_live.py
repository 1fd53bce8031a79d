"""Live windows add up to the panes, and come back whole from their blobs, however many groups there are."""

import pyarrow.compute as pc

from chargeline.domain.identities import Identities
from chargeline.pricer.aggregate import compute
from chargeline.pricer.compute import Rules
from chargeline.pricer.live import LiveWindows, newest_rows
from tests.property.test_pricer_equals_oracle import table
from tests.support.events import START, batch, encoded, event, schema_of


def unit(start, count, groups):
    values = [encoded(event(event_id=f"e{n}", team=f"team-{n % groups}-{'x' * 300}{n}", input_tokens=n,
                            event_time=START + n % 3 * 60_000_000)) for n in range(start, start + count)]  # fmt: skip
    return compute(batch(values, start=start), known=Identities(), watermark=None, table=table(),
                   governance_sequence=0, rules=Rules(1, 60_000_000, 60_000_000, 300_000), schema_of=schema_of)  # fmt: skip


def test_totals_of_two_units_are_those_of_their_panes_and_survive_the_store():
    one, two = unit(0, 3000, 3000), unit(3000, 3000, 3000)
    first = LiveWindows().plus(one.live)
    both = first.plus(two.live)
    frame = newest_rows([both.blobs], 120)
    assert frame is not None
    panes = [each.cost_rollups for each in (one, two) if each.cost_rollups is not None]
    assert frame["billed_cost"].sum() == sum(pc.sum(pane["billed_cost"]).as_py() for pane in panes)
    assert frame["event_count"].sum() == 6000
    assert len(both.blobs) == 3
    assert both.touched_by(two.live) == both.blobs


def test_the_newest_windows_are_those_of_all_partitions():
    early, late = unit(0, 1, 1).live, unit(0, 3, 3).live
    blobs = [LiveWindows().plus(early).blobs, LiveWindows().plus(late).blobs]
    frames = [newest_rows(blobs, count) for count in (1, 2, 3)]
    assert [None if each is None else len(each) for each in frames] == [1, 2, 4]
    assert newest_rows([{}, {}], 5) is None


def test_only_the_newest_windows_are_kept():
    windows = LiveWindows(dict.fromkeys(range(200), b"old")).plus(unit(0, 3, 3).live)
    assert len(windows.blobs) == 120
    assert sorted(windows.blobs)[:117] == list(range(83, 200))


def test_a_touched_window_that_is_too_old_to_be_kept_is_not_written():
    added = unit(0, 1, 1).live
    full = LiveWindows({2 * START + number: b"newer" for number in range(120)}).plus(added)
    assert full.touched_by(added) == {}
