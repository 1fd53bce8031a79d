"""Live windows add up to the panes, and come back whole from their blobs, however many groups there are."""

import pyarrow.compute as pc

from chargeline.domain.identities import Identities
from chargeline.pricer.aggregate import compute
from chargeline.pricer.compute import Rules
from chargeline.pricer.live import LiveTotals
from tests.property.test_pricer_equals_oracle import table
from tests.support.events import START, batch, encoded, event, schema_of


def unit(start, count, groups):
    values = [encoded(event(event_id=f"e{n}", team=f"team-{n % groups}-{'x' * 300}{n}", input_tokens=n,
                            event_time=START + n % 3 * 60_000_000)) for n in range(start, start + count)]  # fmt: skip
    return compute(batch(values, start=start), known=Identities(), watermark=None, table=table(),
                   governance_sequence=0, rules=Rules(1, 60_000_000, 60_000_000, 300_000), schema_of=schema_of)  # fmt: skip


def test_totals_of_two_units_are_those_of_their_panes_and_survive_the_store():
    one, two = unit(0, 3000, 3000), unit(3000, 3000, 3000)
    both = LiveTotals().plus(one.live).plus(two.live)
    again = LiveTotals.from_blobs(both.blobs(both))
    frame = again.frame(120)
    assert frame is not None
    panes = [each.cost_rollups for each in (one, two) if each.cost_rollups is not None]
    assert frame["billed_cost"].sum() == sum(pc.sum(pane["billed_cost"]).as_py() for pane in panes)
    assert frame["event_count"].sum() == 6000
    assert len(again.windows) == 3
