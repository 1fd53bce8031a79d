"""The clock of this machine. Pricing never reads it."""

import time


class SystemClock:
    """`ports.Clock`."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
