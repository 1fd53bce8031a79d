"""What goes into the changelog: a snapshot now and then, of a bounded number of full detectors; and what it restores."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from faust.types import TP

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.anomaly.changelog import ChangelogTable
from chargeline.anomaly.processor import Mark, Partition
from chargeline.anomaly.state_table import CHUNK_BYTES, UNDER_WAY, Revoked, StateTable
from chargeline.anomaly.transport import App
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_bytes
from chargeline.domain.errors import StateIncomplete
from tests.support.panes import MINUTE, PICO, START, history

PARAMETERS = replace(shipped_parameters("cost"), learning_rows=20)
RULES = Rules(window_us=MINUTE, bound_us=MINUTE, minimum_impact=Decimal(100), sets=(("team",),), full_max=6)
BASES = 2


class Table:
    """A Faust table: `log` is what its compacted changelog holds, `sent` the size of what was written, None: dropped."""

    def __init__(self):
        self.data, self.log, self.sent = {}, {}, []
        self.under_way = self.most_under_way = 0  # parts that were sent and are not durable yet
        self.on_sent = lambda: None

    def send_changelog(self, _partition, key, value):
        self.sent.append((key.decode(), None if value is None else len(value)))
        self.log[key] = value
        self.on_sent()
        return asyncio.ensure_future(self._acknowledged(parts=int(value is not None)))

    async def _acknowledged(self, parts):
        self.under_way += parts
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= parts

    def recover(self):
        """What Faust does after a rebalance: the whole changelog again, over what is in memory."""
        self.data |= {key: value for key, value in self.log.items() if value is not None}
        for key in [key for key, value in self.log.items() if value is None]:
            self.data.pop(key, None)


def calm(number):
    return [{"team": team, "picos": (9 + (number + at) % 3) * PICO, "events": 1} for at, team in enumerate("uvwxyz")]


def stored_after(windows, snapshots):
    """The partition, its table, and what each snapshot sent; so many windows between two of them."""
    table = Table()
    state, partition = StateTable(table), Partition(Watch(0, RULES, PARAMETERS))
    sent = []
    for number, each in enumerate(history(windows * snapshots, calm)):
        partition.watch.take(each)
        assert table.sent == []  # nothing between two snapshots, however many windows end
        if number % windows == windows - 1:
            asyncio.run(state.store(partition, BASES))
            sent.append(table.sent[:])
            table.sent.clear()
    return partition, state, sent


def loaded(state):
    """What a worker that takes the partition over finds."""
    state._table.recover()
    return state.load(0, RULES, PARAMETERS)


def test_a_snapshot_holds_the_core_and_so_many_full_detectors_whatever_went_by():
    partition, state, sent = stored_after(windows=30, snapshots=4)
    assert len(partition.watch.scorer.full) == 6
    sent = [[each for each in snapshot if each[1] is not None] for snapshot in sent]
    for snapshot in sent:
        kinds = Counter(key.split("/")[1] for key, _ in snapshot)
        assert kinds["full"] <= BASES
        assert kinds["manifest"] == kinds["marks"] == 1
        assert all(size <= CHUNK_BYTES for _, size in snapshot)
    assert state.bytes_written == sum(size for snapshot in sent for _, size in snapshot)
    assert len({key for snapshot in sent for key, _ in snapshot if "/full/" in key}) > BASES  # each in its turn


def names_of(table):
    """What the changelog holds."""
    return {key.decode() for key, value in table.log.items() if value is not None}


def test_only_what_the_newest_manifest_names_is_kept_in_the_changelog():
    partition, state, _ = stored_after(windows=30, snapshots=8)
    full = partition.watch.scorer.full
    bases = {name for name in names_of(state._table) if name.startswith("0/full/")}
    assert bases == {f"0/full/{series}/{each.version % 2}" for series, each in full.items() if each.version}
    slot = json.loads(state._table.log[b"0/manifest"])["slot"]
    assert names_of(state._table) - bases == {"0/manifest", "0/marks", f"0/core/{slot}/0"}


def test_the_base_of_a_series_that_is_not_watched_any_more_is_dropped():
    partition, state, _ = stored_after(windows=30, snapshots=8)
    gone = next(series for series, each in partition.watch.scorer.full.items() if each.version)
    assert any(name.startswith(f"0/full/{gone}/") for name in names_of(state._table))
    del partition.watch.scorer.full[gone]
    asyncio.run(state.store(partition, BASES))
    assert not any(name.startswith(f"0/full/{gone}/") for name in names_of(state._table))


def kept_bytes(state):
    """Of the values in memory."""
    return sum(map(len, state._table.data.values()))


def test_memory_holds_no_copy_of_what_the_changelog_holds():
    _, state, _ = stored_after(windows=30, snapshots=8)
    table = state._table
    assert {key.decode() for key in table.data} == names_of(table)
    held = {key.decode() for key, value in table.data.items() if value}
    assert held == {"0/manifest", "0/marks"}
    before = kept_bytes(state)
    loaded(state)
    assert kept_bytes(state) == before


def test_a_state_that_cannot_be_loaded_leaves_nothing_in_memory():
    _, state, _ = stored_after(windows=30, snapshots=1)
    before = kept_bytes(state)
    state._table.log[b"0/core/0/0"] += b"!"
    with pytest.raises(StateIncomplete):
        loaded(state)
    assert kept_bytes(state) == before


def test_few_parts_are_under_way_at_a_time():
    partition, state, _ = stored_after(windows=30, snapshots=1)
    full = partition.watch.scorer.full
    partition.watch.scorer.full = dict(enumerate(list(full.values()) * 5))
    for each in full.values():
        each.is_stale = True
    asyncio.run(state.store(partition, BASES))
    assert sum(size is not None for _, size in state._table.sent) > 2 * UNDER_WAY
    assert UNDER_WAY <= state._table.most_under_way <= UNDER_WAY + 1


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_state_that_is_revoked_while_it_is_written_is_the_one_of_before(parts):
    partition, state, _ = stored_after(windows=30, snapshots=2)
    before = core_bytes(partition.watch)
    for each in history(10, calm, first=60):
        partition.watch.take(each)
    table = state._table
    table.on_sent = lambda: state.revoke() if len(table.sent) == parts else None
    with pytest.raises(Revoked):
        asyncio.run(state.store(partition, BASES))
    assert core_bytes(loaded(state).watch) == before


def test_a_snapshot_is_made_in_steps_between_which_the_event_loop_goes_on():
    partition, state, _ = stored_after(windows=30, snapshots=1)
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def both():
        other = asyncio.create_task(count())
        await state.store(partition, BASES)
        other.cancel()

    asyncio.run(both())
    assert turns > BASES


def test_what_is_stored_is_what_is_loaded():
    partition, state, _ = stored_after(windows=25, snapshots=3)
    found = loaded(state)
    assert core_bytes(found.watch) == core_bytes(partition.watch)
    after = history(40, calm, first=75)
    assert [found.watch.take(each) for each in after] == [partition.watch.take(each) for each in after]


def test_a_mark_is_kept_until_the_state_holds_it():
    partition, state, _ = stored_after(windows=25, snapshots=1)
    asyncio.run(state.mark(0, Mark(2500, START + 99 * MINUTE)))
    asyncio.run(state.mark(0, Mark(2600, START + 100 * MINUTE)))
    assert list(loaded(state).marks) == [Mark(2500, START + 99 * MINUTE), Mark(2600, START + 100 * MINUTE)]
    asyncio.run(state.store(partition, BASES))
    assert not loaded(state).marks


@pytest.mark.parametrize("part", ["core", "full"])
def test_a_state_of_which_a_part_is_missing_is_refused(part):
    _, state, sent = stored_after(windows=25, snapshots=1)
    key = next(key for key, _ in sent[0] if f"/{part}/" in key)
    del state._table.log[key.encode()], state._table.data[key.encode()]
    with pytest.raises(StateIncomplete):
        loaded(state)


def test_a_recovery_reads_a_changelog_from_its_begin_also_where_it_was_read_before():
    """A partition that stays here in a rebalance is loaded again, and of what was recovered nothing is in memory."""
    app = App("test", broker="kafka://nowhere", store="memory://", Table=ChangelogTable, web_enabled=False)
    table = app.Table("state", partitions=1)
    changelog, recovery = TP("test-state-changelog", 0), app.tables.recovery
    recovery.add_active(table, changelog)
    recovery.active_offsets[changelog] = 57
    recovery.add_active(table, changelog)
    assert recovery.active_offsets[changelog] == -1
