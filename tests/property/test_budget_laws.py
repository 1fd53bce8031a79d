"""Laws of spend: it is the sum of the distinct panes, whatever is read again and wherever a process restarts."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.adapters.memory_budgets import MemorySpendStore
from chargeline.domain.budgets.spend import Cell, Spend, picos_of
from chargeline.state_ports import ApplyOutcome, SpendDelta, SpendHead
from tests.support.budgets import DAY_US, HOUR_US, JUNE_1, budget, pane, standing, table

COSTS = st.integers(-(10**24), 10**24).map(
    lambda picos: Decimal((int(picos < 0), tuple(map(int, str(abs(picos)))), -12))
)


@st.composite
def logs(draw):
    """Messages of one partition in the order of the log: each some panes of a unit, perhaps one of several slices."""
    messages, unit = [], 0
    for _ in range(draw(st.integers(1, 6))):
        unit += draw(st.integers(1, 5))
        index = 0
        for _ in range(draw(st.integers(1, 3))):
            rows = []
            for _ in range(draw(st.integers(0, 4))):
                at = JUNE_1 + draw(st.integers(0, 3 * 24)) * HOUR_US
                team = draw(st.sampled_from(["search", "ads", None]))
                currency = draw(st.sampled_from(["USD", "EUR", None]))
                rows.append(pane(unit, index, draw(COSTS), at, team=team, currency=currency))
                index += 1
            messages.append(rows)
    return messages


def sum_of(messages, team, day):
    """The oracle: picounits of USD, one pane at a time, each once."""
    seen = {}
    for rows in messages:
        for row in rows:
            is_asked_for = team in (None, row["team"]) and day in (None, row["window_start"] // DAY_US)
            if row["billing_currency"] == "USD" and is_asked_for:
                seen[row["unit_end_offset"], row["pane_index"]] = row["billed_cost"]
    return sum(map(picos_of, seen.values()))


def check(spend, messages):
    for team in (None, "search", "ads"):
        monthly = standing(budget(team=team), spend, JUNE_1 + DAY_US)
        assert picos_of(monthly.spent) == sum_of(messages, team, None)
        daily = standing(budget(team=team, period="daily"), spend, JUNE_1 + DAY_US)
        assert picos_of(daily.spent) == sum_of(messages, team, JUNE_1 // DAY_US + 1)


@settings(max_examples=60)
@given(logs(), st.data())
def test_spend_is_the_sum_of_the_distinct_panes_whatever_is_read_again(messages, data):
    spend, at = Spend(), 0
    while at < len(messages):
        spend.add(table(*messages[at]), JUNE_1)
        # Sometimes back to an earlier message, as after a lost commit.
        at = data.draw(st.integers(max(0, at - 3), at + 1)) if data.draw(st.booleans()) else at + 1
    check(spend, messages)


@settings(max_examples=60)
@given(logs(), st.data())
def test_spend_is_the_sum_of_the_distinct_panes_wherever_it_restarts(messages, data):
    store = MemorySpendStore()
    # Runs of the process: how many messages each reads, and whether it is killed before it stores them.
    runs = data.draw(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=8))
    for count, is_killed in [*runs, (len(messages), False)]:
        stored = place(store)
        spend = Spend() if stored is None else load(store)[1]
        start = stored or 0
        stop = min(start + count, len(messages))
        days: set[Cell] = set()
        fives: set[Cell] = set()
        for rows in messages[start:stop]:
            changed = spend.add(table(*rows), JUNE_1)
            days |= changed[0]
            fives |= changed[1]
        if is_killed or start == stop:
            continue
        delta = SpendDelta(stored, SpendHead(stop, spend.mark), {cell: spend.days.get(cell) for cell in days},
                           {cell: spend.fives.get(cell) for cell in fives})  # fmt: skip
        assert store.apply(0, delta) is ApplyOutcome.APPLIED
        # The answer was lost, and the call is made again.
        assert store.apply(0, delta) is ApplyOutcome.AHEAD
    check(load(store)[1], messages)


def load(store) -> Any:
    return store.load(0)


def place(store):
    found = load(store)
    return None if found is None else found[0].next_offset
