"""The set of known identities behaves like a dictionary, at every size, in at most 32 bytes an identity."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.identities import Identities, Keys, first_of_each


def keys(pairs, start=0):
    high = np.array([pair[0] for pair in pairs], np.uint64)
    low = np.array([pair[1] for pair in pairs], np.uint32)
    content = np.array([pair[2] for pair in pairs], np.uint32)
    return Keys(high, low, content, np.arange(start, start + len(pairs), dtype=np.int64))


# Few values on purpose: zeros, equal first eight bytes, full buckets.
small = st.tuples(st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]), st.integers(0, 5), st.integers(0, 1))


@settings(max_examples=60)
@given(st.lists(st.lists(small, max_size=30), max_size=6))
def test_it_finds_what_was_added_and_nothing_else(batches):
    table, offset = Identities(), 0
    known: dict[tuple[int, int], tuple[int, int]] = {}
    for pairs in batches:
        batch = keys(pairs, offset)
        first = first_of_each(batch)
        seen: dict[tuple[int, int], int] = {}
        for row, pair in enumerate(pairs):
            expected = seen.setdefault((pair[0], pair[1]), row)
            assert first[row] == expected
        content, found = table.find(batch)
        for row, pair in enumerate(pairs):
            assert (content[row], found[row]) == known.get((pair[0], pair[1]), (0, -1))
        fresh = [row for row in range(len(pairs)) if first[row] == row and found[row] < 0]
        distinct: dict[tuple[int, int], int] = {}
        for row in fresh:
            distinct.setdefault((pairs[row][0], pairs[row][1]), row)
        rows = np.array(sorted(distinct.values()), np.int64)
        table.add(batch.take(rows))
        for row in rows.tolist():
            known[pairs[row][0], pairs[row][1]] = (pairs[row][2], offset + row)
        offset += len(pairs)
    assert len(table) == len(known)


def random_keys(count, seed, start=0):
    rng = np.random.default_rng(seed)
    return Keys(rng.integers(0, 2**64, count, np.uint64), rng.integers(0, 2**32, count, np.uint32),
                rng.integers(0, 2**32, count, np.uint32), np.arange(start, start + count))  # fmt: skip


def test_memory_stays_below_32_bytes_an_identity_while_it_grows():
    table = Identities()
    for number in range(12):
        table.add(random_keys(50_000, number, number * 50_000))
        if len(table) >= 200_000:
            assert table.nbytes / len(table) <= 32
    for number in range(12):
        batch = random_keys(50_000, number, number * 50_000)
        content, offset = table.find(batch)
        assert (offset == batch.offset).all()
        assert (content == batch.content).all()


def test_the_stored_form_gives_the_same_keys_back():
    batch = random_keys(1000, 3)
    again = Keys.from_stored(batch.stored())
    assert len(batch.stored()) == 24 * 1000
    assert all((getattr(batch, name) == getattr(again, name)).all() for name in ("high", "low", "content", "offset"))


def test_what_lies_before_the_horizon_is_forgotten_and_the_rest_is_not():
    table = Identities()
    batch = random_keys(1000, 5)
    table.add(batch)
    table.forget_before(400)
    _, offset = table.find(batch)
    assert (offset[:400] == -1).all()
    assert (offset[400:] == batch.offset[400:]).all()
    assert (table.keys().offset == np.arange(400, 1000)).all()
