import pytest

from tests.support.stack import chargeline, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One stack for the whole session, with the example card published."""
    with running_stack(tmp_path_factory.mktemp("stack") / "data") as data:
        chargeline(data, "rates", "publish", "examples/rates/openai.yaml")
        yield data
