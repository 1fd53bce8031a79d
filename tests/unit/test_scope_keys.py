"""The names of scopes never change: stored state and booked charges hold them."""

import numpy as np
import pyarrow as pa
import pytest

from chargeline.domain.rates.book import Rate
from chargeline.domain.rating.scope_keys import netstring, rate_name, scope_keys
from chargeline.domain.usage import Text
from tests.support.rates import card, sku

JUNE = 1_780_272_000_000_000


def key(account="acme", variant="null", start=JUNE, by=()):
    found = card(sku(variant=variant))
    rate = Rate(found.skus[0], found, found.effective_from, None)
    one = np.zeros(1, np.int32)
    texts = [pa.array([value], pa.string()) for value in by]
    return scope_keys(
        Text(one, pa.array([account])), Text(one, pa.array([rate_name(rate)])), np.array([start]), texts
    ).hex()


def test_a_netstring_tells_null_from_empty():
    assert [netstring(each) for each in (None, "", "é")] == ["-", "0:", "2:é"]


@pytest.mark.parametrize(
    ("given", "golden"),
    [
        ({}, "e479f1321e5aa9ef7672a1a62c878cdb"),
        ({"variant": "batch"}, "ee8b0edcdb2d3a36769326f184f1eaf0"),
        ({"by": ("é", None)}, "14e98f9738ae7be8aaf408167583d3cc"),
    ],
)
def test_golden_keys(given, golden):
    assert key(**given) == golden


def test_every_part_of_a_key_counts():
    keys = [key(), key("bolt"), key(variant="a"), key(start=JUNE + 1), key(by=("a",)), key(by=(None,)), key(by=("",)),
            key(by=("a", "b")), key(by=("ab",))]  # fmt: skip
    assert len(set(keys)) == len(keys)
