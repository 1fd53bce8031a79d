"""Whole numbers in columns are those of Python integers, also where an int64 would wrap."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeline.domain.columns.exact import Exact, Ratios, product, scale

quantity = st.one_of(st.integers(0, 10**7), st.integers(0, 2**63 - 1))
ratio = st.tuples(st.integers(0, 10**30), st.integers(1, 10**20))


def half_away(number):
    return int(number + Fraction(1, 2))


@settings(max_examples=200)
@given(st.lists(st.tuples(quantity, ratio, st.integers(1, 10**9)), min_size=1, max_size=8))
def test_scale_is_the_exact_product_rounded_once(rows):
    ratios = Ratios.of([(Fraction(*each).numerator, Fraction(*each).denominator) for _, each, _ in rows])
    numbers = np.arange(len(rows))
    times = np.array([weight for _, _, weight in rows])
    found = scale(np.array([q for q, _, _ in rows]), numbers, ratios, times)
    for row, (q, each, weight) in enumerate(rows):
        assert found.at(row) == half_away(q * Fraction(*each)) * weight


@given(st.lists(st.tuples(quantity, quantity), max_size=8))
def test_product_never_wraps(rows):
    found = product(np.array([a for a, _ in rows], np.int64), np.array([b for _, b in rows], np.int64))
    assert [found.at(row) for row in range(len(rows))] == [a * b for a, b in rows]


@given(st.lists(st.lists(st.integers(0, 2**55), max_size=5), min_size=1, max_size=6), st.integers(0, 10**37))
def test_sums_by_group_are_exact_with_and_without_large_rows(groups, large):
    values = [number for group in groups for number in group]
    group = np.array([g for g, each in enumerate(groups) for _ in each], np.int64)
    column = Exact(np.array(values, np.int64))
    if values:
        column = Exact(np.array([0, *values[1:]], np.int64), {0: large})
        first = int(group[0])
        groups[first] = [large, *groups[first][1:]]
    sums = column.sum_by(group, len(groups))
    assert [sums.at(g) for g in range(len(groups))] == [sum(each) for each in groups]
    assert [int(d.as_tuple().digits and str(d).replace(".", "").replace("-", "")) for d in sums.decimal(12).to_pylist()
            if "E" not in str(d)] == [sums.at(g) for g, d in enumerate(sums.decimal(12).to_pylist())
                                      if "E" not in str(d)]  # fmt: skip
