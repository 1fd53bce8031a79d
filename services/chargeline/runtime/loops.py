"""Several loops in one service, a thread each: one that is slow or dead holds up nobody else."""

import threading
from collections.abc import Callable, Mapping

from chargeline.domain.errors import TransientError
from chargeline.runtime.service import Steps

_LOOK_S, _RETRY_S = 0.2, 0.5


class Loops:
    """Runs each loop in a thread of the given name until `close`.

    A TransientError is told and the step made again; anything else ends its thread, and `step` raises it.
    """

    def __init__(self, loops: Mapping[str, Steps], told: Callable[[Exception], None]) -> None:
        self._told = told
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(loop,), name=name) for name, loop in loops.items()]
        for thread in self._threads:
            thread.start()

    def step(self) -> bool:
        """Wait a little; raise what a thread raised."""
        self._stop.wait(_LOOK_S)
        if self._failed:
            raise self._failed[0]
        return True

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, loop: Steps) -> None:
        try:
            while not self._stop.is_set():
                try:
                    loop.step()
                except TransientError as error:
                    self._told(error)
                    self._stop.wait(_RETRY_S)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self._failed.append(error)
        finally:
            loop.close()
