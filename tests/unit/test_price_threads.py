"""Reading ahead and writing behind keep the order, and lose no error."""

import pytest

from chargeline.cli.price_threads import Behind, ahead


def failing(at):
    for number in range(5):
        if number == at:
            raise ValueError(number)
        yield number


def test_items_made_ahead_are_the_same_in_their_order():
    assert list(ahead(iter(range(50)), depth=3)) == list(range(50))
    assert list(ahead([])) == []


def test_what_making_an_item_raises_comes_in_its_place():
    made = ahead(failing(3))
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(made)


def test_calls_behind_are_made_in_their_order():
    made: list[int] = []
    with Behind() as behind:
        for number in range(50):
            behind.do(made.append, number)
        behind.wait()
    assert made == list(range(50))


def test_what_a_call_behind_raises_is_raised():
    def fail():
        raise OSError("full")

    with Behind() as behind:
        behind.do(fail)
        with pytest.raises(OSError, match="full"):
            behind.wait()
