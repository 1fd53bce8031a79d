import pytest

from tests.support.pricing import PRICERS


@pytest.fixture(params=list(PRICERS))
def price(request):
    return PRICERS[request.param]
