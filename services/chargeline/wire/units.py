"""The headers that every columnar message of a commit unit carries, and their reading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

OUTCOMES = ("CHARGED", "UNRATED", "DUPLICATE", "CONFLICT", "DEAD_LETTER", "WAITING", "CONTROL")


@dataclass(frozen=True)
class UnitHeader:
    """Which commit unit of which source partition a message belongs to.

    Attributes:
        partition: source partition; the message lies in the partition of the same number.
        start, end: consumed offsets [start, end) of the source partition.
        slice_index, slice_count: this message is number slice_index (from 0) of slice_count on its topic.
        outcomes: count of every outcome over the whole unit and partition (not the slice); they sum to end - start.
        watermark: microseconds, max event_time - bound after the unit; None before the first accepted event.
        last_append_time: milliseconds, of the newest record consumed.
        governance_sequence: newest governance fact visible to the last record; -1: none.
        waiting: (offset, hash of the identity that it is about) of each record that waits for its original; written on
            the first slice only.
    """

    partition: int
    start: int
    end: int
    slice_index: int
    slice_count: int
    outcomes: Mapping[str, int]
    watermark: int | None
    last_append_time: int
    governance_sequence: int
    waiting: tuple[tuple[int, bytes], ...] = ()

    def slice(self, index: int, count: int) -> "UnitHeader":
        """The header of message `index` of `count` on a topic."""
        return replace(self, slice_index=index, slice_count=count)

    def encode(self) -> list[tuple[str, bytes]]:
        pairs = [
            ("source_partition", str(self.partition)),
            ("unit_start", str(self.start)),
            ("unit_end", str(self.end)),
            ("slice", f"{self.slice_index}/{self.slice_count}"),
            ("outcomes", ",".join(f"{name}={self.outcomes.get(name, 0)}" for name in OUTCOMES)),
            ("watermark", "" if self.watermark is None else str(self.watermark)),
            ("last_append_time", str(self.last_append_time)),
            ("governance_sequence", str(self.governance_sequence)),
        ]
        if self.waiting and self.slice_index == 0:
            pairs.append(("waiting", ",".join(f"{offset}={name.hex()}" for offset, name in self.waiting)))
        return [(name, text.encode()) for name, text in pairs]

    @classmethod
    def decode(cls, headers: Sequence[tuple[str, bytes]]) -> "UnitHeader":
        """Raises KeyError or ValueError if the headers are not those of `encode`."""
        text = {name: value.decode() for name, value in headers}
        index, count = text["slice"].split("/")
        pairs = (part.split("=") for part in text["outcomes"].split(","))
        return cls(
            partition=int(text["source_partition"]),
            start=int(text["unit_start"]),
            end=int(text["unit_end"]),
            slice_index=int(index),
            slice_count=int(count),
            outcomes={name: int(value) for name, value in pairs},
            watermark=int(text["watermark"]) if text["watermark"] else None,
            last_append_time=int(text["last_append_time"]),
            governance_sequence=int(text["governance_sequence"]),
            waiting=_waiting(text.get("waiting", "")),
        )


def _waiting(text: str) -> tuple[tuple[int, bytes], ...]:
    pairs = (part.split("=") for part in text.split(",") if part)
    return tuple((int(offset), bytes.fromhex(name)) for offset, name in pairs)
