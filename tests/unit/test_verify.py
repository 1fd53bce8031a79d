"""What the oracle itself must get right, beyond agreeing with the pricer."""

import pytest

from chargeline.domain.identities import Identities
from chargeline.pricer.aggregate import compute
from chargeline.pricer.compute import Rules
from chargeline.verify.rows import rows
from chargeline.wire.arrow_messages import encode
from tests.property.test_pricer_equals_oracle import oracle, table
from tests.support.events import APPEND, RandomEvents, batch, encoded, event, schema_of

DAY = 86_400_000
HORIZON = 7 * DAY
FIRST, OTHER = encoded(event(input_tokens=5)), encoded(event(input_tokens=6))


@pytest.mark.parametrize(("charged", "outcome"), [(True, "CHARGED"), (False, "DUPLICATE")])
def test_beyond_the_horizon_a_repeat_may_be_charged_again_or_not(charged, outcome):
    judge = oracle()
    judge.judge(FIRST, APPEND, charged=True)
    assert judge.judge(FIRST, APPEND + HORIZON, charged=True).outcome == "DUPLICATE"
    judged = judge.judge(FIRST, APPEND + HORIZON + 1, charged=charged)
    assert (judged.outcome, judged.beyond_horizon) == (outcome, charged)


def test_what_was_charged_again_is_remembered_from_then_on():
    judge = oracle()
    judge.judge(FIRST, APPEND, charged=True)
    judge.judge(OTHER, APPEND + HORIZON + 1, charged=True)
    assert judge.judge(OTHER, APPEND + HORIZON + DAY, charged=True).outcome == "DUPLICATE"
    assert judge.judge(FIRST, APPEND + HORIZON + DAY, charged=True).outcome == "CONFLICT"


def test_rows_of_a_message_are_the_cells_of_its_table():
    unit = compute(batch(RandomEvents(4).values(200)), known=Identities(), watermark=None, table=table(),
                   governance_sequence=1, rules=Rules(1, 60_000_000, 60_000_000, 300_000), schema_of=schema_of)  # fmt: skip
    for message in (unit.charges, unit.cost_rollups, unit.performance_rollups):
        assert message is not None
        slow = message.to_pylist(maps_as_pydicts="strict")
        fast = [row for value in encode(message) for row in rows(value)]
        assert len(slow) == len(fast) > 0
        for wanted, found in zip(slow, fast, strict=True):
            times = {name for name, value in wanted.items() if hasattr(value, "timestamp")}
            assert {n: v for n, v in found.items() if n not in times} == {
                n: v for n, v in wanted.items() if n not in times
            }
            for name in times:
                unit_s = 1000 if name == "append_time" else 1_000_000
                assert found[name] == round(wanted[name].timestamp() * unit_s)
