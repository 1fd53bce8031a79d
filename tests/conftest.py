"""What the whole suite shares: one stack for all tests that need servers, and the counting of what is left out."""

import logging
import os
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from tests.support.containers import docker_missing
from tests.support.stack import chargeline, running_stack

DATA = Path(os.environ.get("CHARGELINE_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

settings.register_profile("chargeline", deadline=None)  # no test depends on how fast the machine is
settings.load_profile("chargeline")
logging.getLogger("librdkafka").propagate = False  # the tests take servers away on purpose


def leave_out(reason: str) -> NoReturn:
    """Skip the test and count it in the summary; a failure where everything is required."""
    if os.environ.get("CHARGELINE_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker():
    """A Docker engine; a variant that needs one is left out where none answers."""
    missing = _docker_missing()
    if missing is not None:
        leave_out(missing)


_docker_missing = cache(docker_missing)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of public traces and catalogues; a test that needs it is counted where it is absent."""
    if not DATA.exists():
        leave_out(f"no shared data in {DATA}")
    return DATA


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One stack for all files of this process that need servers, with the example card published."""
    with _shared:
        data = _shared.enter_context(running_stack(tmp_path_factory.mktemp("stack") / "data", "--no-anomaly"))
        chargeline(data, "rates", "publish", "examples/rates/openai.yaml")
        yield data


_shared = ExitStack()
_with_servers: set[Path] = set()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Long files first, so that no process is left alone with one at the end; then those with servers, all others last.

    In each process the tests with servers follow each other, so one shared stack serves them.
    """
    _with_servers.update(item.path for item in items if item.get_closest_marker("stack"))
    items.sort(key=_turn)


def _turn(item):
    is_short, has_servers = item.get_closest_marker("long") is None, item.path in _with_servers
    return is_short and not has_servers, has_servers, is_short


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem):
    """The shared stack ends with the last file that needs it: idle servers would take time from the tests that follow."""
    if nextitem is not None and nextitem.path not in _with_servers:
        _shared.close()


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("servers: embedded Kafka, registry, Redis and ClickHouse")
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"left out: {count} tests. {reason}")
    if not reasons:
        terminalreporter.write_line("left out: nothing")
