"""Closed billing periods: which usage lies in them, and where it is billed then.

Source: spec/rating.md, sections 1 (period state) and 12; docs/rating.md (Corrections).
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np
import numpy.typing as npt

from chargeline.domain.rating.booked_entries import CORRECTION, BilledIn, Span
from chargeline.domain.usage import Text, UsageColumns

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
BilledBy = Callable[[str, int], BilledIn]  # (account, append time in milliseconds)


def billed_in(closed: Collection[Span], period_of: Callable[[int], Span], time: int) -> BilledIn:
    """Where an account's usage is billed: that of a closed period in the one of `time`, or the next that is open.

    Args:
        closed: the account's closed periods.
        period_of: its billing period of an instant.
        time: append time of the record that books, microseconds.
    """
    if not closed:
        return _as_it_lies
    open_period = period_of(time)
    while open_period in closed:
        open_period = period_of(open_period[1])

    def where(period: Span) -> tuple[Span, str | None]:
        return (open_period, CORRECTION) if period in closed else (period, None)

    return where


def _as_it_lies(period: Span) -> tuple[Span, str | None]:
    return period, None


def in_closed(usage: UsageColumns, ends: Mapping[str, int], closed: Callable[[str], Collection[Span]]) -> BoolArray:
    """Whether each event lies, in part at least, in a closed period of its account.

    Args:
        ends: by account, the end of its last closed period, microseconds; accounts without one are left out.
        closed: the closed periods of an account.
    """
    flags = np.zeros(usage.length, bool)
    start = usage.long("event_time")
    if not ends or not usage.length or int(start.min()) >= max(ends.values()):
        return flags
    account = usage.texts["billing_account_id"]
    names = account.values.to_pylist()
    until = np.array([ends.get(name, 0) for name in names], np.int64)[account.codes]
    late = np.flatnonzero(start < until)
    end = usage.nullable.get("charge_period_end")
    last = start if end is None else np.where(end[1], end[0] - 1, start)
    for code in np.unique(account.codes[late]).tolist():
        mine = late[account.codes[late] == code]
        for low, high in closed(names[code]):
            flags[mine] |= (start[mine] < high) & (last[mine] >= low)
    return flags


def late_periods(
    account: Text, start: Int64Array, end: Int64Array, append_times: Int64Array, billed_by: BilledBy
) -> tuple[Int64Array, Int64Array, BoolArray]:
    """Where n point events are billed: (start and end of the period, whether that is a correction).

    Args:
        account: of each; start, end: the period that it lies in, microseconds.
        append_times: milliseconds. Where an account's first and last one of a period agree, all between them do.
    """
    starts, ends, is_correction = start.copy(), end.copy(), np.zeros(len(start), bool)
    groups, place = np.unique(np.stack([account.codes, start, end], axis=1), axis=0, return_inverse=True)
    for number, (code, low, high) in enumerate(groups.tolist()):
        name, mine = str(account.values[code].as_py()), np.flatnonzero(place.ravel() == number)
        times = append_times[mine]
        first, last = (billed_by(name, int(time))((low, high)) for time in (times.min(), times.max()))
        found = {} if first == last else {int(t): billed_by(name, int(t))((low, high)) for t in np.unique(times)}
        for time, (period, charge_class) in (found or {-1: first}).items():
            at = mine if not found else mine[times == time]
            starts[at], ends[at], is_correction[at] = *period, charge_class is not None
    return starts, ends, is_correction
