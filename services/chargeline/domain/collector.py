"""Python's garbage collector, for what makes very many objects that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_collected() -> Iterator[None]:
    """The collector looks at nothing that is made inside.

    The messages of a poll, or a card of thousands of SKUs, are hundreds of thousands of objects and none of them is
    garbage. It would look at all objects anew whenever there are a quarter more: two thirds of the time of reading such
    a card, and a tenth of a second each time in which no other thread runs.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Likewise, and the collector never looks at any object again that there is at the end."""
    with nothing_collected():
        yield
        gc.freeze()
