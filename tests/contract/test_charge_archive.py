"""The archive of charges on a real ClickHouse: what it finds, and how little it reads for that."""

import re

import pytest

from chargeline.adapters.charge_archive import ClickHouseArchive
from chargeline.adapters.clickhouse import ClickHouse
from chargeline.adapters.clickhouse_migrations import FOLDER, _statements
from chargeline.domain.errors import TransientError
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
    rows = archive.find(3, ("account-7", "gw", "e200107"), EVENTS, EVENTS)
    assert [(row["source_offset"], row["event_kind"]) for row in rows] == [(200_107, "CANCEL"), (201_007, "CANCEL")]
    assert [row["amends_event_id"] for row in rows] == ["e199207", "e200107"]
    assert all(row["entries"] == [] and row["outcome"] == "CHARGED" for row in rows)
    _, own, about = warehouse.granules()
    assert own[1] == about[1] >= EVENTS // 8192
    assert 1 <= own[0] <= 3
    assert 1 <= about[0] <= 3


def test_only_rows_before_an_offset_and_of_the_same_producer_are_found(warehouse):
    archive = ClickHouseArchive(warehouse)

    def found(partition=3, account="account-7", source="gw", before=EVENTS):
        return [row["source_offset"] for row in archive.find(partition, (account, source, "e200107"), before, 0)]

    assert found() == [200_107, 201_007]
    assert found(before=201_007) == [200_107]
    assert found(before=200_107) == []
    assert found(partition=2) == found(account="account-8") == found(source="other") == []


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
            archive.find(partition, ("account-7", "gw", "e200107"), ROWS, held)
    assert archive.find(2, ("account-7", "gw", "e200107"), ROWS, 0) == []
    assert len(archive.find(3, ("account-7", "gw", "e200107"), ROWS, EVENTS)) == 2
