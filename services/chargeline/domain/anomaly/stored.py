"""The state of a detector as bytes, and back: plain little-endian arrays, each with its length before it."""

import struct
from array import array
from collections.abc import Iterator

import numpy as np

from chargeline.domain.anomaly.blocks import Blocks
from chargeline.domain.anomaly.detector import Detector
from chargeline.domain.anomaly.history import History
from chargeline.domain.anomaly.journal import Step
from chargeline.domain.anomaly.level import Level, Value
from chargeline.domain.anomaly.parameters import Parameters
from chargeline.domain.anomaly.seasonal import Seasonal
from chargeline.domain.anomaly.spend import Spend
from chargeline.domain.errors import StateIncomplete

_MAGIC = b"CLAD0001"  # the last four digits: version of the layout


def to_bytes(detector: Detector) -> bytes:
    """The whole state, the rows that can still be corrected included. Parameters are not part of it."""
    pieces = [_MAGIC, struct.pack("<4I", *_shape(detector.parameters))]
    pieces.append(_packed(detector.small))
    for part in detector.parts():
        pieces += [_packed(values) for values in _arrays(part)]
        for history in _histories(part):
            pieces += [struct.pack("<Q", history.count), _packed(history.ring)]
    pieces.append(struct.pack("<I", len(detector.journal)))
    for row in detector.journal:
        pieces.append(struct.pack("<2dI", row.time_s, row.value, len(row.tokens)))
        pieces += [_packed(token) for token in row.tokens]
    return b"".join(pieces)


def from_bytes(state: bytes, parameters: Parameters) -> Detector:
    """The detector whose state this is; it goes on with the same bits.

    Args:
        parameters: sizes as they were when it was written; thresholds and waiting times may differ.

    Raises:
        StateIncomplete: other sizes, another layout, or damaged bytes.
    """
    detector = Detector(parameters)
    try:
        _read(_Reader(state), detector)
    except (struct.error, ValueError) as error:
        raise StateIncomplete(f"state of an anomaly detector: {error}") from error
    return detector


def _read(reader: "_Reader", detector: Detector) -> None:
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise ValueError("another layout")
    if reader.numbers("<4I") != _shape(detector.parameters):
        raise ValueError("other sizes of histories or another choice of legs")
    detector.small = reader.array("d")
    for part in detector.parts():
        _set_arrays(part, reader)
        for history in _histories(part):
            (history.count,) = reader.numbers("<Q")
            history.ring = reader.array("f")
            history.ordered = array("f", sorted(history.ring))
    for _ in range(*reader.numbers("<I")):
        time_s, value, tokens = reader.numbers("<2dI")
        detector.journal.append(Step(time_s, value, tuple(reader.array("d") for _ in range(tokens))))
    if reader.left():
        raise ValueError(f"{reader.left()} bytes too many")


def _shape(parameters: Parameters) -> tuple[int, int, int, int]:
    sizes = (parameters.history_rows, parameters.pattern_history_rows, parameters.late_rows)
    return (*sizes, int(parameters.spend_threshold > 0))


def _histories(part: Value | Seasonal | Level | Blocks | Spend) -> Iterator[History]:
    if isinstance(part, Value):
        yield from (part.values, part.jumps)
    elif isinstance(part, Seasonal):
        yield from (part.long, part.short)
    elif isinstance(part, Level):
        yield from (part.before, part.shifts)
    elif isinstance(part, Blocks):
        yield from (part.pattern_history, part.shape_history)


def _arrays(part: Value | Seasonal | Level | Blocks | Spend) -> Iterator["array[float]"]:
    yield part.small
    if isinstance(part, Seasonal | Spend):
        yield from (part.means, part.counts)
    elif isinstance(part, Blocks):
        yield array("d", part.means.tolist())


def _set_arrays(part: Value | Seasonal | Level | Blocks | Spend, reader: "_Reader") -> None:
    part.small = reader.array("d")
    if isinstance(part, Seasonal | Spend):
        part.means, part.counts = reader.array("d"), reader.array("d")
    elif isinstance(part, Blocks):
        part.means = np.array(reader.array("d"))


def _packed(values: "array[float]") -> bytes:
    return struct.pack("<I", len(values)) + struct.pack(f"<{len(values)}{values.typecode}", *values)


class _Reader:
    def __init__(self, state: bytes) -> None:
        self._state = state
        self._at = 0

    def take(self, length: int) -> bytes:
        if length > self.left():
            raise ValueError("bytes are missing at the end")
        self._at += length
        return self._state[self._at - length : self._at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def array(self, kind: str) -> "array[float]":
        (length,) = self.numbers("<I")
        form = f"<{length}{kind}"
        return array(kind, struct.unpack(form, self.take(struct.calcsize(form))))

    def left(self) -> int:
        return len(self._state) - self._at
