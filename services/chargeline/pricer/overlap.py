"""What may run beside the pricer's own thread: calls that are under way, and the same calls without a thread."""

from collections.abc import Callable
from functools import cache
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
Result_co = TypeVar("Result_co", covariant=True)


class Coming(Protocol[Result_co]):
    """The result of a call that is under way."""

    def result(self) -> Result_co:
        """Wait for it. Raises what the call raised."""


class Later(Generic[T]):
    """A call that is made when its result is asked for first."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.result = cache(call)


class Done(Generic[T]):
    """A call that is made at once; what it raises is raised at once."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._result = call()

    def result(self) -> T:
        return self._result
