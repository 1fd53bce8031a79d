"""What a channel's delivery tells of itself, and to whom: nobody here, `metrics.py` in a running service."""


class Observer:
    """Does nothing. Every method is called by the channel's own thread, neither blocks nor raises, changes nothing."""

    def began(self, channel: str) -> None:
        """A step of the channel's loop begins."""

    def outcome(self, channel: str, outcome: str) -> None:
        """An attempt ended: DELIVERED, RETRIED, PARKED, or SKIPPED (not for this channel)."""

    def waits(self, channel: str, seconds: float) -> None:
        """So old is the oldest alert that the channel has not taken; 0: none waits."""

    def failed(self, error: Exception) -> None:
        """A call failed and will be made again."""

    def assigned(self, channel: str) -> None:
        """Partitions are ours, and their places are not known yet."""

    def ready(self, channel: str) -> None:
        """The places of the assigned partitions are known."""
