"""How far a long piece of work is, and how long it will still take."""

from collections.abc import Callable

_EVERY_S = 1.0


class Progress:
    """Work of `total` items, of any kind."""

    def __init__(self, total: int, now: Callable[[], float]) -> None:
        self._total = total
        self._now = now
        self._began = self._told = now()
        self._done = 0

    @property
    def eta_s(self) -> float | None:
        """Seconds still to go at the rate so far; None before anything was done."""
        if not self._done:
            return None
        return round((self._now() - self._began) / self._done * max(0, self._total - self._done), 1)

    def is_due(self, done: int) -> bool:
        """Note how much is done; whether it is time to tell of it again (about once a second)."""
        self._done = done
        due = self._now() - self._told >= _EVERY_S
        if due:
            self._told = self._now()
        return due

    def __str__(self) -> str:
        eta = self.eta_s
        left = "" if eta is None else f", about {eta:.0f} s left"
        return f"{self._done:,} of {self._total:,}{left}"
