"""Reading ahead and writing behind: what reads, prices and writes a file takes turns no more.

Each side has one thread and does its blocks in their order. The work is array operations, which let go of the
interpreter, so that two cores are used.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
_END: Any = object()


def ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """The same items; up to `depth` more are made in a thread while one is used. What making one raises is raised."""
    with ThreadPoolExecutor(1, "ahead") as worker:
        iterator = iter(items)
        coming = deque(worker.submit(next, iterator, _END) for _ in range(depth))
        try:
            while (item := coming.popleft().result()) is not _END:
                coming.append(worker.submit(next, iterator, _END))
                yield item
        finally:
            for each in coming:
                each.cancel()


class Behind:
    """Makes calls one after the other in a thread; at most one waits while one is under way."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "behind")
        self._under_way: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def do(self, call: Callable[..., None], *arguments: Any) -> None:
        """Make a call; waits for the last but one. Raises what an earlier call raised."""
        while len(self._under_way) > 1:
            self._under_way.popleft().result()
        self._under_way.append(self._worker.submit(call, *arguments))

    def wait(self) -> None:
        """Until all calls are made. Raises what one of them raised."""
        while self._under_way:
            self._under_way.popleft().result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._worker.shutdown(cancel_futures=True)
