"""What is made where nothing is collected, and what is kept for good."""

import gc
import weakref

import pytest

from chargeline.domain.collector import kept_for_good, nothing_collected


class Node:
    """One that holds itself: only the collector can free it."""

    def __init__(self):
        self.me = self


def test_nothing_is_collected_inside_and_all_is_as_before_after_it():
    with nothing_collected():
        assert not gc.isenabled()
        with nothing_collected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_collects_again_after_an_error():
    with pytest.raises(ZeroDivisionError), kept_for_good():
        _ = 1 / 0
    assert gc.isenabled()


def test_what_is_kept_for_good_is_never_looked_at_again():
    try:
        with kept_for_good():
            kept = weakref.ref(Node())
        gone = weakref.ref(Node())
        gc.collect()
        assert kept() is not None
        assert gone() is None
    finally:
        gc.unfreeze()
