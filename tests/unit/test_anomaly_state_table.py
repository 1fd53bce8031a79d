"""What goes into the changelog: a snapshot now and then, of a bounded number of full detectors; and what it restores."""

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.anomaly.processor import Mark, Partition
from chargeline.anomaly.state_table import CHUNK_BYTES, StateTable
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_bytes
from chargeline.domain.errors import StateIncomplete
from tests.support.panes import MINUTE, PICO, START, history

PARAMETERS = replace(shipped_parameters("cost"), learning_rows=20)
RULES = Rules(window_us=MINUTE, bound_us=MINUTE, minimum_impact=Decimal(100), sets=(("team",),), full_max=6)
BASES = 2


class Table:
    """A Faust table whose changelog is a list."""

    def __init__(self):
        self.data, self.sent = {}, []

    def send_changelog(self, partition, key, value):
        self.sent.append((partition, key.decode(), None if value is None else len(value)))
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


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


def test_a_snapshot_holds_the_core_and_so_many_full_detectors_whatever_went_by():
    partition, state, sent = stored_after(windows=30, snapshots=4)
    assert len(partition.watch.scorer.full) == 6
    sent = [[each for each in snapshot if each[2] is not None] for snapshot in sent]
    for snapshot in sent:
        kinds = Counter(key.split("/")[1] for _, key, _ in snapshot)
        assert kinds["full"] <= BASES
        assert kinds["manifest"] == kinds["marks"] == 1
        assert all(size <= CHUNK_BYTES for _, _, size in snapshot)
    assert state.bytes_written == sum(size for snapshot in sent for _, _, size in snapshot)
    assert len({key for snapshot in sent for _, key, _ in snapshot if "/full/" in key}) > BASES  # each in its turn


def test_only_what_the_newest_manifest_names_is_kept_in_memory_and_in_the_changelog():
    partition, state, sent = stored_after(windows=30, snapshots=8)
    last = {key: size for snapshot in sent for _, key, size in snapshot}
    assert {key for key, size in last.items() if size is not None} == {key.decode() for key in state._table.data}
    full = partition.watch.scorer.full
    assert sum(b"/full/" in key for key in state._table.data) == sum(each.version > 0 for each in full.values())
    gone = next(iter(full))
    del full[gone]  # its series was evicted
    asyncio.run(state.store(partition, BASES))
    assert not [key for key in state._table.data if f"/full/{gone}/".encode() in key]
    assert (0, f"0/full/{gone}/{int(f'0/full/{gone}/1' in last and last[f'0/full/{gone}/1'] is not None)}", None) in (
        state._table.sent
    )


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
    loaded = state.load(0, RULES, PARAMETERS)
    assert core_bytes(loaded.watch) == core_bytes(partition.watch)
    after = history(40, calm, first=75)
    assert [loaded.watch.take(each) for each in after] == [partition.watch.take(each) for each in after]


def test_a_mark_is_kept_until_the_state_holds_it():
    partition, state, _ = stored_after(windows=25, snapshots=1)
    asyncio.run(state.mark(0, Mark(2500, START + 99 * MINUTE)))
    assert list(state.load(0, RULES, PARAMETERS).marks) == [Mark(2500, START + 99 * MINUTE)]
    asyncio.run(state.store(partition, BASES))
    assert not state.load(0, RULES, PARAMETERS).marks


@pytest.mark.parametrize("part", ["core", "full"])
def test_a_state_of_which_a_part_is_missing_is_refused(part):
    _, state, sent = stored_after(windows=25, snapshots=1)
    key = next(key for _, key, _ in sent[0] if f"/{part}/" in key)
    del state._table.data[key.encode()]
    with pytest.raises(StateIncomplete):
        state.load(0, RULES, PARAMETERS)
