"""What the supervisor gives the processes that it starts."""

import re
from pathlib import Path

from chargeline.embedded.supervisor import ALLOCATORS

WRITTEN = re.compile(r"^\| `([A-Z_]+)` \| `(\w+)` \| ([a-z, ]+) \|", re.MULTILINE)


def test_production_is_told_to_give_the_same_settings_of_allocators():
    given = {(service, *each) for service, settings in ALLOCATORS.items() for each in settings.items()}
    told = WRITTEN.findall(Path("docs/operations.md").read_text())
    assert given == {(service, name, value) for name, value, services in told for service in services.split(", ")}
