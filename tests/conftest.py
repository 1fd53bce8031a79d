"""What the whole suite shares: shared data that is used where it is, and counted where it is not."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CHARGELINE_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
_left_out: list[str] = []


@pytest.fixture
def shared_data(request):
    """The folder of public traces and catalogues; a test that needs it is counted where it is absent."""
    if not DATA.exists():
        _left_out.append(request.node.nodeid)
        if os.environ.get("CHARGELINE_REQUIRE_SERVICES") == "1":
            pytest.fail(f"{DATA} is absent")
        pytest.skip(f"no shared data in {DATA}")
    return DATA


def pytest_terminal_summary(terminalreporter):
    servers = "embedded Kafka, registry, Redis and ClickHouse"
    terminalreporter.write_line(f"servers: {servers}; left out for want of shared data: {len(_left_out)}")
