"""How a service starts and ends: SIGTERM and SIGINT ask it to stop after the step it is in."""

import signal
import threading
from types import FrameType


def stop_event() -> threading.Event:
    """An event that is set by SIGTERM and SIGINT; call it from the main thread."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop
