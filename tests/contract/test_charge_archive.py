"""The archive of charges on a real ClickHouse: what it finds, and how little it reads for that."""

import re
from typing import Any

import numpy as np
import pytest

from chargeline.adapters.charge_archive import ClickHouseArchive
from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clickhouse_migrations import FOLDER, _statements
from chargeline.domain.columns.exact_rows import exact_of
from chargeline.domain.errors import TransientError
from chargeline.domain.rating.scope_states import ScopeColumns, ScopeStates
from chargeline.runtime.stack import load_stack

pytestmark = pytest.mark.stack
DATABASE, ROWS, EVENTS = "archive_contract", 400_000, 399_000
# 1 % of the records cancel the event 900 records before them, so every granule has some; the last 1,000 booked nothing.
FILL = f"""INSERT INTO {DATABASE}.charges (source_partition, source_offset, identity_hash, content_hash, append_time,
    event_id, source, billing_account_id, event_kind, amends_event_id, unit_end, unit_append_time, event_time,
    contracted_cost)
SELECT 3, number, '123456789012', '1234', now64(3), concat('e', toString(number)), 'gw',
    concat('account-', toString(number % 100)), if(is_cancel, 'CANCEL', 'USAGE'),
    if(is_cancel, concat('e', toString(number - 900)), NULL), intDiv(number, 1000) * 1000 + 1000, now64(3), now64(6), 1
FROM (SELECT number, number % 100 = 7 AND number > 900 AS is_cancel FROM numbers({EVENTS}))"""


class Asked:
    """A warehouse whose tables lie in a database of the test; what it was asked is kept."""

    def __init__(self, real):
        self._real, self.asked = real, []

    def query(self, sql, parameters):
        here = sql.replace("FROM charges", f"FROM {DATABASE}.charges")
        self.asked.append((here, parameters))
        return self._real.query(here, parameters)

    def command(self, sql):
        self._real.command(sql)

    def granules(self):
        """(read, there are) of each table that the questions read."""
        found = []
        for sql, parameters in self.asked:
            lines = self._real.query(f"EXPLAIN indexes = 1 {sql}", parameters).to_pylist()
            text = "\n".join(str(row["explain"]) for row in lines)
            for table in re.split(r"\bReadFromMergeTree", text)[1:]:
                of = [tuple(map(int, each)) for each in re.findall(r"Granules: (\d+)/(\d+)", table)]
                found.append((of[-1][0], of[0][1]))
        return found


@pytest.fixture(scope="module")
def warehouse(stack):
    where = load_stack(str(stack))
    real = ClickHouse(where.clickhouse_url, where.clickhouse_user, where.clickhouse_password)
    real.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    for path in sorted(FOLDER.glob("[0-9]*.sql")):
        for statement in _statements(path.read_text(), replicated=False):
            if "EXISTS charges\n" in statement or statement.startswith("ALTER TABLE charges"):
                real.command(re.sub(r"\bcharges\b", f"{DATABASE}.charges", statement, count=1))
    real.command(f"TRUNCATE TABLE {DATABASE}.charges")
    real.command(FILL)
    real.command(f"OPTIMIZE TABLE {DATABASE}.charges FINAL")
    yield Asked(real)
    real.command(f"DROP DATABASE {DATABASE}")
    real.close()


def test_an_event_and_what_is_about_it_are_found_in_few_granules(warehouse):
    warehouse.asked.clear()
    archive = ClickHouseArchive(warehouse)
    rows = archive.find(3, [("account-7", "gw", "e200107")], EVENTS, EVENTS)
    assert [(row["source_offset"], row["event_kind"]) for row in rows] == [(200_107, "CANCEL"), (201_007, "CANCEL")]
    assert [row["amends_event_id"] for row in rows] == ["e199207", "e200107"]
    assert all(row["entries"] == [] and row["outcome"] == "CHARGED" for row in rows)
    _, own, about = warehouse.granules()
    assert own[1] == about[1] >= EVENTS // 8192
    assert 1 <= own[0] <= 3
    assert 1 <= about[0] <= 3


def test_scopes_are_summed_up_exactly_before_an_offset(warehouse):
    """Two keys; one amount is larger than 64 bits; of the second all was taken back; a row without a scope between."""
    one, two, large = "k" * 16, "\x00" * 15 + "q", 10**22 + 1
    rows: list[Any] = [
        (1, [one, None], [5, None], [f"{large}", None], [2, None]),
        (2, [one, two], [-2, 7], ["-0.000000000001", "3"], [None, 1]),
        (2, [None], [None], [None], [None]),
        (3, [two], [-7], ["-3"], [-1]),
        (9, [one], [100], ["100"], [100]),
    ]
    for number, (offset, keys, quantities, amounts, counts) in enumerate(rows):
        listed = [",".join("NULL" if each is None else f"'{each}'" for each in column)
                  for column in (keys, quantities, amounts, counts)]  # fmt: skip
        warehouse.command(
            f"INSERT INTO {DATABASE}.charges (source_partition, source_offset, source_index, identity_hash, "
            "content_hash, `entries.scope_key`, `entries.scope_quantity`, `entries.scope_amount`, "
            "`entries.scope_count`, `entries.leaf`, `entries.sku_id`, `entries.rate_card_id`, "
            "`entries.rate_card_version`, `entries.consumed_quantity`, `entries.consumed_unit`, "
            f"`entries.contracted_cost`) SELECT 4, {offset}, {number}, '123456789012', '1234', "
            + ", ".join(f"[{each}]" for each in listed)
            + "".join(f", arrayResize([{each}], {len(keys)}, {each})" for each in ("''", "''", "''", 1, 1, "''", 1))
        )
    found = ClickHouseArchive(warehouse).scopes(4, 9)
    columns = ScopeColumns(
        exact_of([3, 0]), exact_of([large * 10**12 - 1, 0]), np.array([2, 0]), np.array([True, False])
    )
    assert found.stored() == ScopeStates.of((one + two).encode(), columns).stored()
    assert len(ClickHouseArchive(warehouse).scopes(5, 9)) == 0


def test_only_rows_before_an_offset_and_of_the_same_producer_are_found(warehouse):
    archive = ClickHouseArchive(warehouse)

    def found(partition=3, account="account-7", source="gw", before=EVENTS):
        return [row["source_offset"] for row in archive.find(partition, [(account, source, "e200107")], before, 0)]

    assert found() == [200_107, 201_007]
    assert found(before=201_007) == [200_107]
    assert found(before=200_107) == []
    assert found(partition=2) == found(account="account-8") == found(source="other") == []


def test_many_events_are_found_by_few_questions_each_row_once(warehouse):
    """Neighbours in the chain of cancels name each other; event ids of other accounts are not theirs."""
    warehouse.asked.clear()
    archive = ClickHouseArchive(warehouse)
    wanted = [("account-7", "gw", f"e{n}") for n in range(100_007, 250_007, 900)]
    wanted += [("account-8", "gw", "e100007"), ("account-7", "gw", "never")]
    wanted += [(f"account-{n % 100}", "gw", f"e{n}") for n in range(390_000, 390_500)]
    rows = archive.find(3, wanted, EVENTS, EVENTS)
    single = {row["source_offset"] for each in wanted[:9] for row in archive.find(3, [each], EVENTS, EVENTS)}
    offsets = [row["source_offset"] for row in rows]
    assert offsets == sorted(set(offsets))
    assert single <= set(offsets)
    chain = list(range(100_007, 250_908, 900))
    assert offsets == sorted({*chain, *range(390_000, 390_500), *range(390_907, 391_400, 100)})
    assert len(warehouse.asked) == 3 + 9


def test_a_record_is_found_by_its_place(warehouse):
    warehouse.asked.clear()
    archive = ClickHouseArchive(warehouse)
    assert [row["event_id"] for row in archive.rows(3, 123_456)] == ["e123456"]
    _, (read, _) = warehouse.granules()
    assert read == 1


def test_an_answer_counts_once_the_rows_are_there(warehouse):
    archive = ClickHouseArchive(warehouse)
    for partition, held in ((3, EVENTS + 1), (2, 1)):
        with pytest.raises(TransientError, match=f"{held} is needed"):
            archive.find(partition, [("account-7", "gw", "e200107")], ROWS, held)
    assert archive.find(2, [("account-7", "gw", "e200107")], ROWS, 0) == []
    assert len(archive.find(3, [("account-7", "gw", "e200107")], ROWS, EVENTS)) == 2
