"""The clock of this machine. Pricing never reads it."""

import random
import time


class SystemClock:
    """`ports.Clock`."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def chance() -> int:
    """0 to 999 by chance: spreads retries, guards nothing."""
    return random.randrange(1000)  # noqa: S311
