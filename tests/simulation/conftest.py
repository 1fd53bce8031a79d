import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet():
    """Thousands of restarts say nothing; what a seed does is told by `make sim`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
