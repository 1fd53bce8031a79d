"""The state store in memory, for simulations and tests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from chargeline.adapters.memory import Fault, no_faults
from chargeline.domain.errors import TransientError
from chargeline.state_ports import ApplyOutcome, Segment, StateDelta, StateHead, StateSizes

_IDENTITY_BYTES = 24


class MemoryStateStore:
    """`state_ports.StateStore`; shared by the processes of a simulation."""

    def __init__(self, segment_bytes: int = 240) -> None:
        self.heads: dict[int, StateHead] = {}
        self.stored: dict[int, list[Segment]] = {}
        self.windows: dict[int, dict[int, bytes]] = {}
        self.scope_states: dict[int, dict[bytes, bytes]] = {}
        self.correction_fields: dict[int, dict[bytes, bytes]] = {}
        self.away = False
        self._segment_bytes = segment_bytes

    def with_faults(self, faults: Fault) -> "MemoryStateStore":
        """The same store as one process sees it."""
        view = type(self)(self._segment_bytes)
        view.heads, view.stored, view.windows = self.heads, self.stored, self.windows
        view.scope_states, view.correction_fields = self.scope_states, self.correction_fields
        view._faults = faults
        return view

    _faults: Fault = staticmethod(no_faults)

    def head(self, partition: int) -> StateHead | None:
        self._there()
        return self.heads.get(partition)

    def segments(self, partition: int) -> Iterator[Segment]:
        self._there()
        yield from self.stored.get(partition, [])

    def apply(self, partition: int, delta: StateDelta) -> ApplyOutcome:
        self._faults("apply.before")
        self._there()
        head = self.heads.get(partition)
        if head is None or head.next_offset < delta.start:
            return ApplyOutcome.BEHIND
        if head.next_offset > delta.start:
            return ApplyOutcome.AHEAD
        segments = self.stored.setdefault(partition, [])
        if delta.identities:
            last = segments[-1] if segments else None
            if last is not None and len(last.identities) + len(delta.identities) <= self._segment_bytes:
                joined = last.identities + delta.identities
                segments[-1] = replace(last, identities=joined, last_append_time=delta.last_append_time)
            else:
                segments.append(Segment(len(segments), delta.identities, delta.last_append_time))
        self.heads[partition] = StateHead(delta.end, delta.charges_next_offset, delta.watermark)
        self.windows.setdefault(partition, {}).update(delta.live)
        self.scope_states.setdefault(partition, {}).update(_scopes(delta.scopes))
        both = self.correction_fields.get(partition, {}) | dict(delta.corrections)
        self.correction_fields[partition] = {name: value for name, value in both.items() if value}
        self._faults("apply.after")
        return ApplyOutcome.APPLIED

    def replace(
        self,
        partition: int,
        head: StateHead,
        segments: Sequence[Segment],
        live: Mapping[int, bytes],
        scopes: bytes,
        corrections: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._there()
        self.heads.pop(partition, None)
        self._faults("replace")
        self.stored[partition] = list(segments)
        self.windows[partition] = dict(live)
        self.scope_states[partition] = _scopes(scopes)
        self.correction_fields[partition] = dict(corrections or {})
        self.heads[partition] = head

    def drop_segments(self, partition: int, before_append_time: int) -> None:
        kept = [each for each in self.stored.get(partition, []) if each.last_append_time >= before_append_time]
        self.stored[partition] = kept

    def scopes(self, partition: int) -> bytes:
        self._there()
        return b"".join(name + state for name, state in self.scope_states.get(partition, {}).items())

    def corrections(self, partition: int) -> dict[bytes, bytes]:
        self._there()
        return dict(self.correction_fields.get(partition, {}))

    def live(self, partition: int) -> dict[int, bytes]:
        return dict(self.windows.get(partition, {}))

    def sizes(self, partition: int) -> StateSizes:
        self._there()
        segments, live = self.stored.get(partition, []), self.windows.get(partition, {})
        identities = sum(len(segment.identities) for segment in segments)
        size = identities + sum(map(len, live.values()))
        scopes = len(self.scope_states.get(partition, {}))
        return StateSizes(len(segments), identities // _IDENTITY_BYTES, 0, size, len(live), scopes)

    def invalidate(self, partition: int) -> None:
        self._there()
        self.heads.pop(partition, None)

    def _there(self) -> None:
        if self.away:
            raise TransientError("the state store is away")


def _scopes(stored: bytes) -> dict[bytes, bytes]:
    return {stored[at : at + 16]: stored[at + 16 : at + 57] for at in range(0, len(stored), 57)}
