"""How long to wait before a failed delivery is tried again: exponential back-off with jitter."""

BASE_MS = 1_000
CAP_MS = 300_000  # a channel that comes back after hours is noticed within five minutes


def delay_ms(failures: int, jitter: int, *, base_ms: int = BASE_MS, cap_ms: int = CAP_MS) -> int:
    """Milliseconds to wait after so many failures in a row (>= 1).

    Half of the doubled delay is fixed, the other half is chance, so that channels of many processes do not all come
    back in the same moment ("equal jitter").

    Args:
        jitter: 0 to 999: the thousandths of the second half.
    """
    whole = min(cap_ms, base_ms << min(failures - 1, 30))
    return whole // 2 + whole // 2 * jitter // 1000
