"""The events that a unit with corrections may ask for: those of the unit itself, of the log, and of the archive.

Source: spec/rating.md, section 12; docs/architecture.md.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chargeline.domain.errors import Fault
from chargeline.domain.identities import Identities, Keys
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.ports import ChargeArchive, ClosingRows
from chargeline.pricer.correction_state import CorrectionFields, CorrectionState
from chargeline.wire.charge_rows import Row, rows_of
from chargeline.wire.correction_rows import are_last
from chargeline.wire.event_rows import EventRow, Identity, PeriodOf, event_row, micros_of

FindRows = Callable[[Collection[int]], Mapping[int, list[Row]]]  # of committed records of this partition, by offset
_HASH, _KEY = 12, 24


@dataclass(frozen=True)
class Known:
    """What a partition knew before the unit, and where its booked rows are found.

    Attributes:
        booked_end: where the last unit before this one that booked rows ends; 0: none that the log still has did.
    """

    identities: Identities
    scopes: ScopeStates
    corrections: CorrectionFields
    next_offset: int
    booked_end: Callable[[], int]
    rows: FindRows
    archive: ChargeArchive | None = None


@dataclass(frozen=True)
class Event:
    """An event as it stands now. `row`: with its newest price; its entries are its own."""

    row: Row
    booked: EventRow

    @property
    def is_rated(self) -> bool:
        return bool(self.row["outcome"] == "CHARGED")

    @property
    def is_too_late(self) -> bool:
        return bool(self.row["reason"] == "TOO_LATE")

    @property
    def event_id(self) -> str:
        """Its own, also where a re-rating has priced it anew."""
        return str(self.row["amends_event_id" if self.row["event_kind"] == "RERATE" else "event_id"])

    @property
    def is_amend(self) -> bool:
        return bool(self.row["event_kind"] == "AMEND")


class KnownEvents:
    """What a partition knew before the unit, and what the unit has booked so far.

    Attributes:
        singles: by offset, the rows of records that are judged by themselves.
        tables: charges of usage in columns.
        claimed_before: events that were cancelled or amended so long ago that the archive alone knows.
    """

    def __init__(
        self, known: Known, state: CorrectionState, partition: int, first_offset: int, period_of: PeriodOf
    ) -> None:
        self._known, self._state, self._period_of = known, state, period_of
        self._partition, self._first = partition, first_offset
        self.singles: dict[int, list[Row]] = {}
        self.tables: list[pa.Table] = []
        self.claimed_before: set[bytes] = set()
        self._held: dict[bytes, tuple[int | None, Event | None]] = {}  # and where its newest price lay
        self._found: dict[bytes, tuple[int, int]] = {}  # what was known before the unit, as far as it was looked up
        self._fresh: dict[bytes, tuple[int, int]] = {}  # content and offset of what this unit made known

    def know(self, keys: Keys) -> None:
        """Usage that the unit made known."""
        for name, content, offset in zip(names_of(keys), keys.content.tolist(), keys.offset.tolist(), strict=True):
            self._fresh[name] = (content, offset)

    def know_one(self, name: bytes, content: int, offset: int) -> None:
        """A single record that the unit made known."""
        self._fresh[name] = (content, offset)

    def fresh(self) -> Keys | None:
        """What the unit made known; None: nothing."""
        stored = [stored_key(name, content.to_bytes(4, "big"), at) for name, (content, at) in self._fresh.items()]
        return Keys.from_stored(b"".join(stored)) if stored else None

    def remember(self, offset: int, *rows: Row) -> None:
        """Rows that later records of this unit may ask for."""
        self.singles.setdefault(offset, []).extend(rows)

    def look_up(self, names: Sequence[bytes]) -> None:
        """Look many identities up at once, before they are asked for."""
        content, offset = self._known.identities.find(Keys.from_stored(b"".join(map(stored_key, names))))
        self._found |= dict(zip(names, zip(content.tolist(), offset.tolist(), strict=True), strict=True))

    def coordinate(self, name: bytes) -> tuple[int, int]:
        """(content, offset) of a known identity; offset -1: not known."""
        if name in self._fresh:
            return self._fresh[name]
        if name not in self._found:
            self.look_up([name])
        return self._found[name]

    def read(self, about: Mapping[bytes, Identity], coming: Collection[bytes]) -> list[Event]:
        """Events of before this unit, many at once, before they are asked for. What it changes of one is seen all the
        same.

        Args:
            about: by the hash of their identity.
            coming: hashes of what the unit itself may make known: the archive is not asked for these.
        """
        places = {name: self._newest_offset(name) for name in about}
        committed = {name: at for name, at in places.items() if at is not None and at < self._first}
        rows = self._known.rows(set(committed.values()))
        found = {name: rows[at] for name, at in committed.items()}
        unknown = [name for name, at in places.items() if at is None]
        found |= self._archived({name: about[name] for name in unknown if name not in coming})
        events = {name: self._event(each, about[name]) for name, each in found.items()}
        self._held |= {name: (places[name], event) for name, event in events.items()}
        return [event for event in events.values() if event is not None]

    def event(self, identity: Identity, name: bytes) -> Event | None:
        """An event that is known; None: it has not come, or it is no event."""
        offset = self._newest_offset(name)
        place, held = self._held.get(name, (-1, None))
        if place == offset:
            return held
        rows = self._archived({name: identity}).get(name, []) if offset is None else self._rows(offset)
        return self._event(rows, identity)

    def held(self, name: bytes) -> Event | None:
        """An event that was read, and still has the price that it had before this unit; None: any other."""
        place, held = self._held.get(name, (-1, None))
        return held if place == self._newest_offset(name) else None

    def _event(self, rows: Sequence[Row], identity: Identity) -> Event | None:
        newest = _newest(rows, identity)
        return None if newest is None else Event(newest, event_row(newest, self._period_of))

    def _newest_offset(self, name: bytes) -> int | None:
        """Of the record with the newest price of an event that is remembered."""
        offset = self._state.rerated_at(name)
        if offset is None:
            _, found = self.coordinate(name)
            offset = found if found >= 0 else None
        return offset

    def of_account(self, billing_account_id: str, wanted: ClosingRows) -> Iterator[Row]:
        """What a close of an account has to know of all that is booked so far, in log order.

        Raises:
            Fault: there is no archive.
            TransientError: it does not hold all of it yet.
        """
        if self._known.next_offset:
            if self._known.archive is None:
                raise Fault("a period is to be closed and no archive is set: set the address of ClickHouse")
            yield from self._known.archive.of_account(
                self._partition, billing_account_id, wanted, self._first, self._known.booked_end()
            )
        rows: list[Row] = []
        for table in self.tables:
            mine = pc.equal(table.column("billing_account_id").cast(pa.string()), billing_account_id)
            rows += rows_of(table.filter(mine))
        here = [row for each in self.singles.values() for row in each]
        rows += [row for row in here if row["billing_account_id"] == billing_account_id]
        found = [row for row in rows if matters(row, wanted)]
        yield from sorted(found, key=lambda row: (row["source_offset"], row["source_index"]))

    def _archived(self, about: Mapping[bytes, Identity]) -> dict[bytes, list[Row]]:
        """What was booked of events before the horizon of the identities."""
        oldest = self._known.identities.first_offset
        before = self._known.next_offset if oldest is None else oldest
        if self._known.archive is None or not before or not about:
            return {}
        # What is remembered has a row, so the archive will hold that. Of units without rows it never hears.
        held = self._known.booked_end() if oldest is None else oldest
        names = {identity: name for name, identity in about.items()}
        found: dict[bytes, list[Row]] = {name: [] for name in about}
        for row in self._known.archive.find(self._partition, list(names), before, held):
            producer = (row["billing_account_id"], row["source"])
            if (own := names.get((*producer, row["event_id"]))) is not None:
                found[own].append(row)
            target = names.get((*producer, row["amends_event_id"] or ""))
            if target is None:
                continue
            if target != own:
                found[target].append(row)
            if row["event_kind"] in ("CANCEL", "AMEND") and row["outcome"] == "CHARGED":
                self.claimed_before.add(target)
        return found

    def _rows(self, offset: int) -> list[Row]:
        if offset < self._first:
            return self._known.rows([offset])[offset]
        if offset in self.singles:
            return self.singles[offset]
        for table in reversed(self.tables):
            if not table.num_rows:
                continue
            offsets = table.column("source_offset").to_numpy()
            place = int(np.searchsorted(offsets, offset))
            if place < len(offsets) and offsets[place] == offset:
                return rows_of(table.slice(place, 1))
        return []


def matters(row: Row, wanted: ClosingRows) -> bool:
    """Whether a close has to know a row of its account."""
    if row["rule_id"] is not None:
        return False
    if row["event_kind"] == "PERIOD_CLOSE" or any(entry["sku_id"] in wanted.sku_ids for entry in row["entries"]):
        return True
    starts = [row["billing_period_start"], *(entry["billing_period_start"] for entry in row["entries"])]
    return wanted.period_start in [micros_of(each) for each in starts if each is not None]


def _newest(rows: Sequence[Row], identity: Identity) -> Row | None:
    """The last row that tells of an event itself."""
    found = None
    for row, is_last in zip(rows, are_last(rows), strict=True):
        if not is_last or (row["billing_account_id"], row["source"]) != identity[:2]:
            continue
        kind = row["event_kind"]
        is_own = kind in ("USAGE", "AMEND") and row["event_id"] == identity[2]
        if is_own or (kind == "RERATE" and row["amends_event_id"] == identity[2]):
            found = row
    return found


def names_of(keys: Keys) -> list[bytes]:
    """The 12 bytes of each identity's hash."""
    stored = keys.stored()
    return [stored[at : at + _HASH] for at in range(0, len(stored), _KEY)]


def stored_key(name: bytes, content: bytes = bytes(4), offset: int = 0) -> bytes:
    """One of `Keys.stored`."""
    return name + content + offset.to_bytes(8, "big")
