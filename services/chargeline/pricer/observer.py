"""What the pricer tells of itself while it works, and to whom: nobody here, `metrics.py` in a running service."""

from typing import TYPE_CHECKING, Literal

from chargeline.pricer.aggregate import Computed
from chargeline.wire.units import UnitHeader

if TYPE_CHECKING:
    from chargeline.pricer.recovery import PartitionState  # which reports its progress here

# Of one unit; from `aggregate` on it may have a thread of its own.
Step = Literal["poll", "fresh", "prepare", "book", "settle", "apply", "aggregate", "produce", "commit"]
Phase = Literal["loading from Redis", "folding charges"]


class Observer:
    """Does nothing. The pricer's thread calls it, and the one that commits; no method blocks, raises or decides."""

    def began(self) -> None:
        """A step of this thread's loop begins."""

    def did(self, step: Step) -> None:
        """This part of the step is done; it took the time since this thread's last call."""

    def idle(self) -> None:
        """There was nothing to read."""

    def committed(self, header: UnitHeader, computed: Computed, state: "PartitionState", unsaved: int) -> None:
        """A unit of one partition is committed and applied to `state`; the store trails by `unsaved` units."""

    def aborted(self) -> None:
        """The transaction was aborted; its records are read again."""

    def failed(self, error: Exception) -> None:
        """A call failed and will be made again."""

    def assigned(self, partitions: list[int]) -> None:
        """These partitions are ours, and none is ready yet."""

    def revoked(self, partitions: list[int]) -> None:
        """These partitions are not ours any more."""

    def recovering(self, partition: int, phase: Phase, done: int, total: int) -> None:
        """Recovery goes on: so many identities loaded, or events folded, of so many."""

    def ready(self, state: "PartitionState") -> None:
        """The state of a partition is at its commit point."""
