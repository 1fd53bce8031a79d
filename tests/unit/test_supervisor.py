"""What the supervisor gives the processes that it starts."""

import re
from pathlib import Path

from chargeline.embedded.supervisor import Supervisor

WRITTEN = re.compile(r"^\| `([A-Z_]+)` \| `(\w+)` \| ([a-z, ]+) \|", re.MULTILINE)


def test_settings_that_are_not_ours_are_those_that_production_is_told_to_give(tmp_path, monkeypatch):
    given: set[tuple[str, str, str]] = set()

    def note(_, name, _module, environment):
        given.update((name, *each) for each in environment.items() if not each[0].startswith("CHARGELINE_"))

    monkeypatch.setattr(Supervisor, "_start_service", note)
    Supervisor(tmp_path, pricers=1, partitions=1, say=print, alerts=tmp_path / "alerts.yaml").start_services()
    told = WRITTEN.findall(Path("docs/operations.md").read_text())
    assert given == {(service, name, value) for name, value, services in told for service in services.split(", ")}
    assert given
