"""Prices a whole log in memory, record after record, with the functions of the pricer.

Usage of accounts that have nothing to correct is priced a unit at a time. Where corrections, control records or closed
periods matter the order of the account's records does, too: its usage is priced in runs between them.
Source: spec/rating.md, sections 1 (outcomes), 7.6 and 12; spec/formats.md, section 6.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from chargeline.domain.accounts import Accounts
from chargeline.domain.columns.codes import combine, dense_codes
from chargeline.domain.fx import FxTable
from chargeline.domain.rates.book import PublishedCard
from chargeline.domain.rating.booked_entries import BookedEntry, Span
from chargeline.domain.usage import CODES, GOOD
from chargeline.pricer.aggregate import charges_alone
from chargeline.pricer.closed_periods import in_closed
from chargeline.pricer.compute import Prepared, book, prepare_decoded
from chargeline.pricer.log_judging import LogJudging
from chargeline.pricer.log_records import RULES, Answer, Answers, Records
from chargeline.wire.event_rows import event_rows


class LogPricer:
    """Blocks of records, in columns as far as their order allows it.

    Attributes:
        judging: the records that are judged by themselves, and everything that the log so far has left behind.
    """

    def __init__(
        self, cards: Sequence[PublishedCard], accounts: Accounts, fx: FxTable, *, accounts_required: bool = False
    ) -> None:
        self._rules = replace(RULES, accounts_required=accounts_required)
        self.judging = LogJudging(cards, accounts, fx, self._rules)

    @property
    def touched(self) -> set[tuple[str, Span]]:
        """(account, period) that a record lies in or that a correction is billed in."""
        return self.judging.touched

    @property
    def waived(self) -> Sequence[tuple[int, str, str | None, BookedEntry]]:
        """(offset, event_id, currency, entry) of what its owner does not pay."""
        return self.judging.waived

    def close(self, account: str, period: Span) -> None:
        """Close a period for ever; a second close changes nothing. Raises errors.Refused."""
        self.judging.close(account, period)

    def price(self, records: Records) -> Answers:
        """Judge records that come next in the log."""
        answers = Answers()
        busy = self._busy(records)
        if busy is None:
            self._usage(records, answers)
            return answers
        self._usage(records.take(np.flatnonzero(~busy)), answers)
        accounts = records.usage.texts["billing_account_id"].codes.tolist()
        left: dict[int, deque[int]] = {}
        for row in np.flatnonzero(busy).tolist():
            left.setdefault(accounts[row], deque()).append(row)
        while left:
            runs = [self._next_run(records, rows) for rows in left.values()]
            usage = sorted(row for run in runs for row in run if records.is_usage[row])
            self._usage(records.take(np.array(usage, np.int64)), answers)
            for row in sorted(row for run in runs for row in run if not records.is_usage[row]):
                answers.single[int(records.offsets[row])] = self.judging.judge(records.take(np.array([row])))
            left = {account: rows for account, rows in left.items() if rows}
        return answers

    def _busy(self, records: Records) -> npt.NDArray[np.bool_] | None:
        """Records of accounts whose order matters; None: there are none."""
        accounts = records.usage.texts["billing_account_id"]
        codes, names = accounts.codes, accounts.values.to_pylist()
        closed, waiting = self.judging.closed, self.judging.waiting
        flags = np.array([name in closed or name in waiting for name in names], bool)
        flags[codes[~records.is_usage]] = True
        return flags[codes] if flags.any() else None

    def _next_run(self, records: Records, rows: deque[int]) -> list[int]:
        """Usage up to the next record that is no usage, or that record alone."""
        run = [rows.popleft()]
        while records.is_usage[run[0]] and rows and records.is_usage[rows[0]]:
            run.append(rows.popleft())
        return run

    def _usage(self, records: Records, answers: Answers) -> None:
        """Usage of a unit, with whatever waits for it or is late in it."""
        if not len(records):
            return
        batch, judging = records.batch(), self.judging
        prepared = prepare_decoded(batch, records.decoded(), judging.table, self._rules)
        apart = self._apart(prepared)
        if apart.any():
            self._one_by_one(records, prepared, answers)
            return
        booked = book(batch, prepared, known=judging.known, scopes=judging.scopes, watermark=None, rules=self._rules)
        judging.known.add(booked.keys)
        if len(booked.scopes):
            judging.scopes = judging.scopes.apply(booked.scopes)
        self._touch(prepared)
        table = charges_alone(booked, 0, self._rules)
        judging.store.add(table)
        if table.num_rows:
            answers.tables.append(table)
            if any(field.name == "waived_cost" for field in table.schema.field("entries").type.value_type):
                for waiving in event_rows(table):
                    judging.waive(waiving)
        codes = booked.codes
        for row in np.flatnonzero(codes != GOOD).tolist():
            answers.single[int(records.offsets[row])] = Answer("DEAD_LETTER", CODES[int(codes[row])])
        for row in booked.conflicts.tolist():
            answers.single[int(records.offsets[row])] = Answer("CONFLICT")
        rest = np.ones(len(records), bool)
        rest[codes != GOOD] = False
        rest[booked.conflicts] = False
        rest[prepared.rows[booked.accepted]] = False
        for row in np.flatnonzero(rest).tolist():
            answers.single[int(records.offsets[row])] = Answer("DUPLICATE")

    def _apart(self, prepared: Prepared) -> npt.NDArray[np.bool_]:
        """Events that a correction waits for, or that lie (in part) in a closed period."""
        usage = prepared.usage
        account = usage.texts["billing_account_id"]
        ends = {name: max(end for _, end in spans) for name, spans in self.judging.closed.items()}
        flags = in_closed(usage, ends, self.judging.closed.__getitem__)
        for code, name in enumerate(account.values.to_pylist()):
            wanted = {event_id for _, _, event_id in self.judging.waiting.get(name, ())}
            for row in np.flatnonzero(account.codes == code).tolist() if wanted else ():
                flags[row] |= usage.plain["event_id"][row].as_py() in wanted
        return flags

    def _one_by_one(self, records: Records, prepared: Prepared, answers: Answers) -> None:
        """Runs of usage between the events that stand apart, and these by themselves."""
        apart = np.zeros(len(records), bool)
        apart[prepared.rows[self._apart(prepared)]] = True
        edges = np.flatnonzero(apart)
        start = 0
        for edge in edges.tolist():
            self._usage(records.take(np.arange(start, edge)), answers)
            answers.single[int(records.offsets[edge])] = self.judging.judge(records.take(np.array([edge])))
            start = edge + 1
        self._usage(records.take(np.arange(start, len(records))), answers)

    def _touch(self, prepared: Prepared) -> None:
        usage, priced = prepared.usage, prepared.priced
        good = ~priced.refused
        account = usage.texts["billing_account_id"]
        start, end = priced.period_start[good], priced.period_end[good]
        # A start tells its end: cycle days are at most 28, so a period begins on its cycle day.
        period, _ = dense_codes(start)
        code = account.codes[good]
        _, first = combine([(code, len(account.values)), (period, len(period) + 1)], len(code))
        names = account.values.to_pylist()
        found = zip(code[first].tolist(), start[first].tolist(), end[first].tolist(), strict=True)
        self.judging.touched |= {(names[each], (low, high)) for each, low, high in found}
        ends = usage.nullable.get("charge_period_end")
        if ends is not None:
            for row in np.flatnonzero(good & ends[1] & (ends[0] > priced.period_end)).tolist():
                self.judging.touch(names[account.codes[row]], int(priced.period_end[row]), int(ends[0][row]))
