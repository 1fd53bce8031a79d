"""The last rows of a detector, which can be taken back: one block of memory, made with it, that never grows."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HEAD = 3  # time, value, number of tokens


@dataclass(frozen=True)
class Step:
    """A row that can be taken back. `tokens`: of the detector itself and of each part; of itself alone if not known."""

    time_s: float
    value: float
    tokens: tuple["array[float]", ...]


class Journal:
    """A ring of steps; the oldest goes first.

    Args:
        rows: steps kept at most.
        lengths: of the tokens of a step, in their order.
    """

    def __init__(self, rows: int, lengths: Sequence[int]) -> None:
        self._rows, self._lengths = rows, tuple(lengths)
        self._width = _HEAD + sum(lengths)
        self._block = array("d", bytes(8 * rows * self._width))
        self._count = self._next = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Step]:
        """The oldest first."""
        return (self.step(back) for back in reversed(range(self._count)))

    def append(self, step: Step) -> None:
        """Keep a step."""
        if not self._rows:
            return
        row = array("d", (step.time_s, step.value, len(step.tokens)))
        for token in step.tokens:
            row.extend(token)
        at = self._next * self._width
        self._block[at : at + len(row)] = row
        self._next = (self._next + 1) % self._rows
        self._count = min(self._count + 1, self._rows)

    def step(self, back: int) -> Step:
        """The step `back` rows before the last one; less than the length."""
        at = (self._next - 1 - back) % self._rows * self._width
        time_s, value, tokens = self._block[at : at + _HEAD]
        at += _HEAD
        found = []
        for length in self._lengths[: int(tokens)]:
            found.append(self._block[at : at + length])
            at += length
        return Step(time_s, value, tuple(found))

    def pop(self) -> Step:
        """Take the last step out."""
        step = self.step(0)
        self._next = (self._next - 1) % self._rows
        self._count -= 1
        return step
