"""The ring of a detector's last rows is the bounded queue that it stands for."""

from array import array
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from chargeline.domain.anomaly.journal import Journal, Step

LENGTHS = (2, 1, 3)
VALUES = st.floats(-1e12, 1e12)


@st.composite
def steps(draw):
    lengths = LENGTHS[: draw(st.sampled_from([1, len(LENGTHS)]))]
    tokens = tuple(array("d", [draw(VALUES) for _ in range(length)]) for length in lengths)
    return Step(draw(VALUES), draw(VALUES), tokens)


@given(st.integers(0, 5), st.lists(st.one_of(steps(), st.just("pop")), max_size=25))
def test_a_journal_is_a_queue_with_a_bound(rows, actions):
    journal = Journal(rows, LENGTHS)
    expected: deque[Step] = deque(maxlen=rows)
    for action in actions:
        if action != "pop":
            journal.append(action)
            expected.append(action)
        elif expected:
            assert journal.pop() == expected.pop()
        assert len(journal) == len(expected)
        assert list(journal) == list(expected)
        assert [journal.step(back) for back in range(len(expected))] == list(reversed(expected))
