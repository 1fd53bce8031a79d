"""Holds everything that was booked against the oracle, record by record and sum by sum."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from chargeline.ports import LogReader, Warehouse
from chargeline.verify import closes
from chargeline.verify.events import Rules, SchemaOf
from chargeline.verify.oracle import BookedRow, Governance, Judgement, Oracle, money
from chargeline.verify.rating.entries import Entry
from chargeline.verify.rating.numbers import EXACT, picos, q12, rounded
from chargeline.verify.rows import rows
from chargeline.verify.tables import Difference, Key, Tables, unlike
from chargeline.wire.left_out import completed
from chargeline.wire.units import OUTCOMES, UnitHeader

INPUT = "usage-events"
_UNIT_RECORDS = 1_000_000  # no unit is larger
_VARIANCE_MAX = 10**38 - 1  # of Decimal(38, 24)


@dataclass
class Report:
    """What was compared, by partition and in sum."""

    outcomes: dict[int, Counter[str]] = field(default_factory=dict)
    dead_letters: Counter[str] = field(default_factory=Counter)
    ends: dict[int, int] = field(default_factory=dict)
    billed: dict[str, Decimal] = field(default_factory=dict)
    units: int = 0
    charges: int = 0
    panes: int = 0
    stored: dict[int, int] = field(default_factory=dict)
    beyond_horizon: int = 0
    difference: str | None = None

    def add(self, other: "Report") -> None:
        """Join the report of other partitions."""
        self.outcomes |= other.outcomes
        self.dead_letters += other.dead_letters
        self.ends |= other.ends
        for currency, amount in other.billed.items():
            self.billed[currency] = EXACT.add(self.billed.get(currency, Decimal(0)), amount)
        self.units += other.units
        self.charges += other.charges
        self.panes += other.panes
        self.stored |= other.stored
        self.beyond_horizon += other.beyond_horizon
        self.difference = self.difference or other.difference


@dataclass
class _Sums:
    """Booked amounts by account, day, SKU and window, in picounits; their variances in the 10^-24 of their square."""

    billed: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    events: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    variances: dict[Key, int] = field(default_factory=lambda: defaultdict(int))


class Verification:
    """Compares the logs and the tables up to given input offsets (None: up to the last committed unit)."""

    def __init__(
        self,
        reader: LogReader,
        warehouse: Warehouse | None,
        schema_of: SchemaOf,
        rules: Rules,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._reader = reader
        self._warehouse = warehouse
        self._schema_of = schema_of
        self._rules = rules
        self._advance = advance
        self._governance = Governance(rules.margin_ms, rules.future_bound_ms)

    def run(self, until: dict[int, int] | None = None, partitions: Iterable[int] | None = None) -> Report:
        """The report of some partitions (None: of all); its `difference` names the first one found."""
        report = Report()
        try:
            self._read_governance()
            for partition in range(self._rules.partitions) if partitions is None else partitions:
                self._partition(partition, (until or {}).get(partition), report)
        except Difference as difference:
            report.difference = str(difference)
        return report

    def _read_governance(self) -> None:
        low, end = self._reader.bounds("governance-log", 0)
        for record in self._reader.read("governance-log", 0, low, end):
            self._governance.add(record.value or b"", record.append_time)

    def _partition(self, partition: int, until: int | None, report: Report) -> None:
        oracle = Oracle(partition, self._rules, self._governance, self._schema_of)
        counts: Counter[str] = Counter()
        report.outcomes[partition] = counts
        sums = _Sums()
        tables = None if self._warehouse is None else Tables(self._warehouse, partition)
        stored = 0 if tables is None else tables.stored_end()
        ends: list[tuple[int, int]] = []
        kept: list[dict[Key, int]] = []  # the sums at the last two units that the tables may hold whole
        source = self._input(partition)
        expected_start: int | None = None
        dead: dict[int, str] = {}
        for header, booked in self._units(partition):
            if until is not None and header.end > until:
                break
            if expected_start is not None and header.start != expected_start:
                raise Difference(
                    f"charges/{partition}: a unit begins at {header.start}, the last ended at {expected_start}"
                )
            if expected_start is None and header.start != 0:
                raise Difference(f"charges/{partition}: the first unit begins at {header.start}, not at 0")
            expected_start = header.end
            self._unit(partition, header, booked, source, oracle, counts, sums, dead, report)
            ends.append((header.end, len(booked)))
            if stored - 2 * _UNIT_RECORDS <= header.end <= stored:
                kept = [*kept[-1:], dict(sums.billed)]
            report.units += 1
        report.ends[partition] = expected_start or 0
        for (_, currency, _, _, _), amount in sums.billed.items():
            if currency is not None:
                report.billed[currency] = EXACT.add(report.billed.get(currency, Decimal(0)), money(amount))
        panes = self._check_panes(partition, report.ends[partition], sums, report)
        self._check_dead_letters(partition, report.ends[partition], dead, report)
        limit = None if tables is None else tables.check([each for each in ends if each[0] <= stored], panes, kept)
        if limit is not None:
            report.stored[partition] = limit

    def _input(self, partition: int) -> Iterator[Any]:
        low, end = self._reader.bounds(INPUT, partition)
        return self._reader.read(INPUT, partition, low, end)

    def _units(self, partition: int) -> Iterator[tuple[UnitHeader, list[dict[str, Any]]]]:
        """The units of `charges` with their rows; slices are joined."""
        low, end = self._reader.bounds("charges", partition)
        found: list[dict[str, Any]] = []
        wanted = 0
        for record in self._reader.read("charges", partition, low, end):
            header = UnitHeader.decode(record.headers)
            if header.slice_index != wanted:
                raise Difference(f"charges/{partition}/{record.offset}: slice {wanted} of its unit is missing")
            found += completed(rows(record.value or b""), "Charge")
            wanted = (wanted + 1) % header.slice_count
            if wanted == 0:
                yield header, found
                found = []

    def _unit(
        self,
        partition: int,
        header: UnitHeader,
        booked_rows: list[dict[str, Any]],
        source: Iterator[Any],
        oracle: Oracle,
        counts: Counter[str],
        sums: _Sums,
        dead: dict[int, str],
        report: Report,
    ) -> None:
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in booked_rows:
            found[row["source_offset"]].append(row)
        if len({(row["source_offset"], row["source_index"]) for row in booked_rows}) != len(booked_rows):
            raise Difference(f"charges/{partition}: a coordinate stands twice in the unit that ends at {header.end}")
        here: Counter[str] = Counter()
        for offset in range(header.start, header.end):
            record = next(source, None)
            if record is None or record.offset != offset:
                raise Difference(f"{INPUT}/{partition}/{offset}: the record is gone; the oracle needs it")
            rows_here = found.pop(offset, [])
            judged = oracle.judge(record.value, record.append_time, charged=bool(rows_here))
            where = f"{INPUT}/{partition}/{offset}"
            report.beyond_horizon += judged.beyond_horizon
            here[judged.outcome] += 1
            if judged.outcome in {"DEAD_LETTER", "CONFLICT"}:
                dead[offset] = judged.reason or judged.outcome
            self._check_rows(where, judged, rows_here, sums)
        if found:
            raise Difference(f"{INPUT}/{partition}/{min(found)}: charged, but not part of its unit")
        booked = {name: header.outcomes.get(name, 0) for name in OUTCOMES}
        if booked != {name: here[name] for name in OUTCOMES}:
            raise Difference(f"unit {partition}/{header.start}-{header.end}: outcomes {booked}, expected {dict(here)}")
        counts.update(here)
        report.charges += len(booked_rows)
        self._advance(header.end - header.start)

    def _check_rows(self, where: str, judged: Judgement, booked: list[dict[str, Any]], sums: _Sums) -> None:
        if not judged.rows and booked:
            cost = booked[0]["billed_cost"]
            raise Difference(f"{where}: charged {cost}, expected {judged.outcome} {judged.reason or ''}")
        if judged.rows and not booked:
            raise Difference(f"{where}: no charge, expected {judged.outcome}")
        if judged.rows and judged.event is not None and judged.event["event_kind"] == "PERIOD_CLOSE":
            self._check_close(where, judged, booked, sums)
            return
        if len(booked) != len(judged.rows) or [row["source_index"] for row in booked] != list(range(len(booked))):
            raise Difference(f"{where}: {len(booked)} rows, expected {len(judged.rows)}")
        for index, (row, wanted) in enumerate(zip(booked, judged.rows, strict=True)):
            self._check_row(where if not index else f"{where}/{index}", wanted, row, sums)

    def _check_close(self, where: str, judged: Judgement, booked: list[dict[str, Any]], sums: _Sums) -> None:
        """What a close books for its objects; the row of the record itself is the last one."""
        own, objects = judged.rows[-1], [(row.event, row.closed) for row in judged.rows if row.closed is not None]
        if [row["source_index"] for row in booked] != list(range(len(booked))):
            raise Difference(f"{where}: rows are not numbered from 0")
        names = [name for name in own.event if name in booked[-1] and name != "charge_period_end"]
        found, wanted = closes.booked(booked[:-1], names), closes.wanted(objects, names)
        if found != wanted:
            one, other = sorted(set(found) - set(wanted)), sorted(set(wanted) - set(found))
            raise Difference(f"{where}: the close booked {one[:1] or len(found)}, expected {other[:1] or len(wanted)}")
        for row in booked:
            costs = [picos(entry["billed_cost"]) for entry in row["entries"]]
            if row["reason"] is None and picos(row["billed_cost"]) != sum(costs):
                raise Difference(f"{where}: billed_cost {row['billed_cost']} is not the sum of its entries")
        for event, closed in objects:
            day, window = event["event_time"] // 86_400_000_000, own.window_start
            for each in closed.entries if closed.reason is None else ():
                place = (event["billing_account_id"], closed.currency, day, each.sku_id, window)
                sums.billed[place] += each.billed_cost
        self._check_row(where, own, booked[-1], sums)

    def _check_row(self, where: str, wanted: BookedRow, row: dict[str, Any], sums: _Sums) -> None:
        event, rated = wanted.event, wanted.reason is None
        expected: dict[str, Any] = {
            "outcome": "CHARGED" if rated else "UNRATED",
            "reason": wanted.reason,
            "billed_cost": money(wanted.contracted) if rated else None,
            "contracted_cost": money(wanted.contracted) if rated else None,
            "list_cost": money(sum(entry.listed for entry in wanted.entries)) if rated else None,
        }
        if wanted.match_kind is not None:
            expected["match_kind"] = wanted.match_kind
        if wanted.count > 0 or wanted.entries:
            expected["billing_currency"] = wanted.currency
        for name, value in expected.items():
            if row[name] != value:
                raise Difference(f"{where}: {name} is {row[name]}, expected {value}")
        for name, value in event.items():
            if name in {"leaves", "event_time", "charge_period_end"} or name not in row:
                continue
            if row[name] != value and (row[name] or value):
                raise Difference(f"{where}: {name} is {row[name]!r}, expected {value!r}")
        variance = _variance(where, wanted, row)
        if row["event_time"] != event["event_time"] or row["window_start"] != wanted.window_start:
            raise Difference(f"{where}: event_time or window differ")
        entries = [
            (*(each[name] for name in _ENTRY), each["charge_class"] or row["charge_class"],
             each["billing_period_start"] or row["billing_period_start"])
            for each in row["entries"]
        ]  # fmt: skip
        wanted_entries = [_entry(each) for each in wanted.entries]
        if entries != wanted_entries:
            raise Difference(f"{where}: entries are {entries}, expected {wanted_entries}")
        day = event["event_time"] // 86_400_000_000
        place = (event["billing_account_id"], row["billing_currency"], day)
        for each in wanted.entries:
            sums.billed[*place, each.sku_id, wanted.window_start] += each.contracted
        first = wanted.entries[0].sku_id if wanted.entries else None
        sums.events[*place, first, wanted.window_start] += wanted.count
        sums.variances[*place, first, wanted.window_start] += variance

    def _check_panes(self, partition: int, end: int, sums: _Sums, report: Report) -> Counter[int]:
        """Sum of panes = sum of charges, by account, currency, day, SKU and window. Returns panes by unit end."""
        count: Counter[int] = Counter()
        billed: dict[Key, int] = defaultdict(int)
        events: dict[Key, int] = defaultdict(int)
        variances: dict[Key, int] = defaultdict(int)
        low, high = self._reader.bounds("cost-rollups", partition)
        for record in self._reader.read("cost-rollups", partition, low, high):
            if UnitHeader.decode(record.headers).end > end:
                break
            for pane in completed(rows(record.value or b""), "CostRollup"):
                window = pane["window_start"]
                key = (pane["billing_account_id"], pane["billing_currency"], window // 86_400_000_000,
                       pane["sku_id"], window)  # fmt: skip
                billed[key] += picos(pane["billed_cost"])
                events[key] += pane["event_count"]
                variances[key] += int(EXACT.scaleb(pane["cost_variance"] or Decimal(0), 24))
                report.panes += 1
                count[pane["unit_end_offset"]] += 1
        # A pane holds no more than the most of its type: such sums are not compared.
        variances |= {key: wanted for key, wanted in sums.variances.items() if wanted > _VARIANCE_MAX}
        for name, found, wanted in (
            ("billed_cost", billed, sums.billed),
            ("event_count", events, sums.events),
            ("cost_variance", variances, sums.variances),
        ):
            for key, one, other in unlike(found, wanted):
                raise Difference(
                    f"cost-rollups/{partition}: {name} of (account, currency, day, SKU, window) {key} is "
                    f"{one}, expected {other}"
                )
        return count

    def _check_dead_letters(self, partition: int, end: int, dead: dict[int, str], report: Report) -> None:
        low, high = self._reader.bounds("usage-events-dlq", partition)
        found: dict[int, str] = {}
        for record in self._reader.read("usage-events-dlq", partition, low, high):
            headers = {name: value.decode() for name, value in record.headers}
            offset = int(headers["x-chargeline-offset"])
            if offset >= end:
                break
            if offset in found:
                raise Difference(f"usage-events-dlq: {INPUT}/{partition}/{offset} stands there twice")
            found[offset] = headers["x-chargeline-code"]
        for offset in sorted({*found, *dead}):
            if found.get(offset) != dead.get(offset):
                raise Difference(
                    f"{INPUT}/{partition}/{offset}: dead letter {found.get(offset)}, expected {dead.get(offset)}"
                )
        report.dead_letters.update(dead.values())


_ENTRY = ("entry_kind", "leaf", "sku_id", "sku_price_id", "rate_card_id", "rate_card_version", "pricing_quantity",
          "contracted_cost", "list_cost")  # fmt: skip


def _variance(where: str, wanted: BookedRow, row: dict[str, Any]) -> int:
    """Of a row, in the 10^-24 of a squared amount. A row that takes back has that of what it takes back, negative."""
    exact = None if wanted.variance is None else min(rounded(wanted.variance, 10**24), _VARIANCE_MAX)
    stored = None if row["cost_variance"] is None else int(EXACT.scaleb(row["cost_variance"], 24))
    is_new = wanted.count > 0 and wanted.reason is None
    if (is_new and stored != exact) or (wanted.count < 0 and (stored or 0) > 0):
        raise Difference(f"{where}: cost_variance is {row['cost_variance']}, expected {exact} E-24")
    return stored or 0


def _entry(entry: Entry) -> tuple[Any, ...]:
    """As `_ENTRY` names the fields of a charge; then its class and the start of the period that it is billed in."""
    quantity = None if entry.pricing_quantity is None else money(q12(entry.pricing_quantity))
    return (entry.kind, entry.leaf, entry.sku_id, entry.sku_price_id, entry.rate_card_id, entry.rate_card_version,
            quantity, money(entry.contracted), money(entry.listed), entry.charge_class,
            entry.period.start)  # fmt: skip
