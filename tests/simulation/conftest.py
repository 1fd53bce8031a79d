import logging

import pytest
import structlog

from chargeline.wire import arrow_messages


@pytest.fixture(autouse=True)
def quiet():
    """Thousands of restarts say nothing; what a seed does is told by `make sim`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def small_messages(monkeypatch):
    """A few rows a message, so that many units have several slices."""
    monkeypatch.setattr(arrow_messages, "_WANTED", 20_000)
    monkeypatch.setattr(arrow_messages, "_ROW_BYTES", 2_500)
