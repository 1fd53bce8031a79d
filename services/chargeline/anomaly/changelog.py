"""The Faust table behind the state: the changelog keeps it, the process does not hold a second copy.

The detectors are the state. Of what the changelog holds, memory has the names alone (an empty value), and the values
for as long as a state has to be loaded from them: from a recovery to the first record after it.
"""

from typing import Any

import faust
from faust.stores import memory
from faust.types import TP

_RECOVERED_AT_ONCE = 16  # records of up to 800 kB that wait in front of the table


class _Store(memory.Store):  # type: ignore[misc]
    """Faust's dictionary."""

    def persisted_offset(self, _tp: TP) -> int:
        """Before the first record: a recovery reads all of a changelog, also of one that was recovered before."""
        return -1


class ChangelogTable(faust.Table):  # type: ignore[misc]
    """A table of bytes by bytes; to be written by `state_table` alone."""

    def __init__(self, app: Any, **options: Any) -> None:
        kinds = {"key_type": bytes, "value_type": bytes}
        super().__init__(app, **kinds, recovery_buffer_size=_RECOVERED_AT_ONCE, **options)

    def _new_store(self) -> _Store:
        return _Store(
            "memory://", self.app, self, table_name=self.name, key_type=self.key_type, value_type=self.value_type
        )
