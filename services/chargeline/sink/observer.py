"""What a topic's sink tells of itself while it works, and to whom: nobody here, `metrics.py` in a running service."""

from collections.abc import Mapping

from chargeline.ports import Record


class Observer:
    """Does nothing. Every method is called by the topic's own thread, neither blocks nor raises, changes nothing."""

    def began(self, topic: str) -> None:
        """A step of the topic's loop begins."""

    def idle(self, topic: str) -> None:
        """There was nothing to read."""

    def inserted(self, table: str, rows: int, seconds: float) -> None:
        """A block was acknowledged, so long after its message was taken in hand."""

    def stored(self, record: Record) -> None:
        """This record and all before it in its partition are stored and committed."""

    def failed(self, error: Exception) -> None:
        """A call failed and will be made again."""

    def assigned(self, topic: str) -> None:
        """Partitions of the topic are ours, and their places are not known yet."""

    def revoked(self, topic: str, partitions: list[int]) -> None:
        """These partitions are not ours any more."""

    def ready(self, topic: str, next_offsets: Mapping[int, int]) -> None:
        """The places of the assigned partitions are known."""
