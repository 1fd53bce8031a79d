"""Sums of variances are exact up to the most of their type, and a pane without a sampled event has none."""

import random
from decimal import Context, Decimal

import numpy as np
import pyarrow as pa
import pytest

from chargeline.domain.identities import Identities
from chargeline.domain.rating.variances import sum_by
from chargeline.pricer.aggregate import compute
from chargeline.pricer.compute import Rules
from chargeline.pricer.live import LiveWindows, newest_rows
from tests.property.test_pricer_equals_oracle import table
from tests.support.events import START, batch, encoded, event, schema_of

MOST = 10**38 - 1
WIDE = Context(prec=60)


def stored(numbers):
    return pa.array([None if n is None else WIDE.scaleb(Decimal(n), -24) for n in numbers], pa.decimal128(38, 24))


@pytest.mark.parametrize("seed", range(20))
def test_sums_by_group_are_those_of_whole_numbers(seed):
    chance = random.Random(seed)
    numbers = [chance.choice([None, 0, 1, chance.randrange(2**32), chance.randrange(2**96), chance.randrange(10**38)])
               for _ in range(200)]  # fmt: skip
    group = [chance.randrange(150) for _ in numbers]
    wanted: dict[int, int] = {}
    for place, number in zip(group, numbers, strict=True):
        if number is not None:
            wanted[place] = wanted.get(place, 0) + number
    found = sum_by(stored([7, *numbers]).slice(1), np.array(group), 151)
    assert found.equals(stored([min(wanted[g], MOST) if g in wanted else None for g in range(151)]))


def unit(events):
    return compute(batch([encoded(each) for each in events]), known=Identities(), watermark=None, table=table(),
                   governance_sequence=0, rules=Rules(1, 60_000_000, 60_000_000, 300_000), schema_of=schema_of)  # fmt: skip


def test_the_variance_of_an_event_stands_once_in_the_pane_of_its_first_entry():
    found = unit([event(event_id="a", input_tokens=1200, output_tokens=40, sample_weight=5),
                  event(event_id="b", input_tokens=1200, event_time=START + 60_000_000)])  # fmt: skip
    panes = found.cost_rollups.to_pylist()
    charged = found.charges.to_pylist()[0]
    alone = charged["contracted_cost"] / 5
    assert charged["cost_variance"] == alone * alone * 20
    assert [(pane["event_count"], pane["cost_variance"]) for pane in panes] == [
        (1, charged["cost_variance"]), *[(0, None) for _ in panes[2:]], (1, None)
    ]  # fmt: skip


def test_panes_without_a_sampled_event_leave_the_column_out():
    assert "cost_variance" not in unit([event(event_id="a", input_tokens=1200)]).cost_rollups.column_names


def test_live_windows_add_variances_up_whether_all_units_have_them_or_not():
    one = unit([event(event_id="a", input_tokens=1200, sample_weight=5)]).live
    two = unit([event(event_id="b", input_tokens=1200)]).live
    for first, second in ((one, two), (two, one)):
        frame = newest_rows([LiveWindows().plus(first).plus(second).blobs], 5)
        assert frame is not None
        cost = Decimal(str(frame["billed_cost"].sum())) / 6
        assert frame["cost_variance"].sum() == cost * cost * 20
