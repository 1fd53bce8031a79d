"""What the budgets service tells of itself, and to whom: nobody here, `metrics.py` in a running service."""

from collections.abc import Mapping


class Observer:
    """Does nothing. No method blocks, raises or changes anything."""

    def idle(self) -> None:
        """There was nothing to read."""

    def counted(self, partition: int, next_offset: int, append_time: int) -> None:
        """Everything before next_offset is stored; the last record of it was appended then (milliseconds)."""

    def judged(self, states: Mapping[str, int]) -> None:
        """So many budgets are in each state."""

    def assigned(self) -> None:
        """Partitions are ours, and their spend is not known yet."""

    def revoked(self, partitions: list[int]) -> None:
        """These partitions are not ours any more."""

    def ready(self, next_offsets: Mapping[int, int]) -> None:
        """The spend of the assigned partitions is known up to there."""
