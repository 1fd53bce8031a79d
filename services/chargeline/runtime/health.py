"""Whether a process is alive (its loops go on) and ready (it has what it needs to do its work)."""

import time
from collections.abc import Callable


class Health:
    """Beats of the loops, and reasons to wait by name. Safe to use from any thread."""

    def __init__(self, step_s_max: float, now: Callable[[], float] = time.monotonic) -> None:
        self._step_s_max = step_s_max
        self._now = now
        self._beats: dict[str, float] = {}
        self._waits: dict[str, str] = {}

    def beat(self, loop: str = "main") -> None:
        """This loop has just gone round, or is known to be at work."""
        self._beats[loop] = self._now()

    def wait_for(self, what: str, why: str) -> None:
        """Not ready until `go(what)`, for this reason."""
        self._waits[what] = why

    def go(self, what: str) -> None:
        """It is there; nothing happens if nobody waited for it."""
        self._waits.pop(what, None)

    def stuck(self) -> dict[str, float]:
        """Seconds since the last beat of each loop that has been silent for too long; empty: alive."""
        now = self._now()
        silent = {loop: now - at for loop, at in dict(self._beats).items()}
        return {loop: seconds for loop, seconds in silent.items() if seconds > self._step_s_max}

    def waiting(self) -> dict[str, str]:
        """What the process still waits for, and why; empty: ready."""
        return dict(self._waits)
