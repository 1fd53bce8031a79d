"""The close of billing periods over a whole log in memory: what the ledger does at a PERIOD_CLOSE, offline."""

from collections.abc import Mapping

from chargeline.domain.closing.close import Carried
from chargeline.domain.closing.entries import Booked, Period
from chargeline.domain.rating.booked_entries import BookedEntry, Span
from chargeline.pricer.account_close import ClosedScope, booked_of, close_account
from chargeline.pricer.log_pricer import LogPricer
from chargeline.pricer.log_scopes import LogScopes
from chargeline.wire.event_rows import EventRow, Identity


class LogCloser:
    """Closes periods of the log that a pricer has priced, in the order in which it is asked to.

    Attributes:
        closed: what the closes have booked, in order.
    """

    def __init__(self, pricer: LogPricer) -> None:
        self.closed: list[ClosedScope] = []
        self._log = pricer.judging
        self._scopes = LogScopes(self._log)
        self._carried: dict[str, dict[str, Carried]] = {}
        self._log.closer = self

    def close(self, account: str, span: Span) -> None:
        """Book what is due at the close of an account's period."""
        rows, period = self._log.store.rows_of(account), Period(*span)
        scopes = self._scopes.found(account, period, rows)
        carried = self._carried.get(account, {})
        booked = self._booked(account, span, rows)
        made, self._carried[account] = close_account(account, span, booked, scopes, self._log, carried)
        self.closed += made
        self._scopes.settle(period, scopes)
        self._log.hold(self._scopes.newly_held(period, scopes))

    def _booked(self, account: str, span: Span, rows: list[EventRow]) -> list[tuple[str, Booked]]:
        """(currency, entry) of what the rows have in a period. Estimates count where they are invoiced."""
        offsets = {row.identity: row.offset for row in reversed(rows)}
        found = [
            self._entry(row, entry, offsets)
            for row in rows
            for entry in row.entries
            if entry.billing_period == span
            and (not entry.estimated or self._log.accounts.at(account, entry.charge_time).bill_estimates)
        ]
        return [(currency, entry) for currency, entry in found if currency is not None]

    def _entry(self, row: EventRow, entry: BookedEntry, offsets: Mapping[Identity, int]) -> tuple[str | None, Booked]:
        """(its currency, an entry of an event as the close sees it). `offsets`: where each event came first.

        What a record takes back is in the currency of what it was; what a re-rating books anew is about its event, as
        what it takes back is.
        """
        about = row if entry.corrects is None else self._log.store.row(entry.corrects)
        assert about is not None
        offset = offsets[about.identity]
        corrects = None if entry.corrects is None and offset == row.offset else (0, offset, 0)
        found = booked_of(entry, (0, row.offset, 0), about.identity[2], corrects)
        return about.currency or row.currency, found
