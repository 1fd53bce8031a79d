"""Random events with random cards, priced by the engine in columns and by the slow reference: how many differ.

    python bench/exactness.py [--events N] [--seed FIRST] [--jobs N]

A case is one seed: random cards, accounts and exchange rates, and random events in blocks cut somewhere. Three cases in
four have usage alone, 6,000 lines; the fourth has corrections, control records and closes among 100 lines. Every
object of a line must be that of the reference, field by field (`tests/support/same_entries.py`). Exit code 1: something
differs, and the seeds are named.
"""

import argparse
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.pricing import engine
from tests.support.publishable import publishable, publishable_case
from tests.support.random_rating import RandomRating
from tests.support.same_entries import assert_same_object

from chargeline.verify.rating.price import price_document

USAGE_EVENTS, MIXED_EVENTS = 6_000, 100
SHOWN = 20  # seeds of differences


@dataclass
class Count:
    """What was compared. `priced`: lines with entries; `different`: those that the reference has otherwise."""

    cases: int = 0
    lines: int = 0
    priced: int = 0
    entries: int = 0
    different: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)

    def add(self, other: "Count") -> None:
        self.cases += other.cases
        self.lines += other.lines
        self.priced += other.priced
        self.entries += other.entries
        self.different += other.different
        self.outcomes += other.outcomes
        self.seeds += other.seeds


def compare(seed: int) -> Count:
    """One case."""
    is_mixed = seed % 4 == 3
    case = RandomRating(seed, MIXED_EVENTS if is_mixed else USAGE_EVENTS)
    cards, events = publishable_case(case) if is_mixed else publishable(case)
    wanted = price_document(cards, case.accounts, case.fx, events, False)
    found = engine(cards, case.accounts, case.fx, events, unit=len(events) // 5 + seed * 37 % len(events))
    lines = slice(len(events))  # what a close books for scopes is compared by tests of its own
    pairs = zip(events, found[lines], wanted[lines], strict=True)
    differing = [each for each in pairs if not is_same(*each[1:])]
    if differing:  # the first one is told whole: it may not come again
        sys.stderr.write(json.dumps([seed, *differing[0]]) + "\n")
    wrong = len(differing)
    return Count(
        1,
        len(events),
        sum(bool(each["entries"]) for each in wanted[lines]),
        sum(len(each["entries"]) for each in wanted[lines]),
        wrong,
        Counter(each["outcome"] for each in wanted[lines]),
        [seed] if wrong else [],
    )


def cases(first: int, jobs: int) -> Iterator[Count]:
    """The cases from a seed on, in their order, worked out in so many processes."""
    with ProcessPoolExecutor(jobs) as pool:
        ahead = 2 * jobs
        waiting = deque(pool.submit(compare, seed) for seed in range(first, first + ahead))
        try:
            for seed in count(first + ahead):
                yield waiting.popleft().result()
                waiting.append(pool.submit(compare, seed))
        finally:
            pool.shutdown(cancel_futures=True)


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    try:
        assert_same_object(one, other)
    except AssertionError:
        return False
    return True


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--events", type=int, default=50_000, help="priced events to compare, at least")
    options.add_argument("--seed", type=int, default=0, help="of the first case")
    options.add_argument("--jobs", type=int, default=1, help="processes that compare cases")
    given = options.parse_args()
    found, started = Count(), time.monotonic()
    for case in cases(given.seed, given.jobs):
        found.add(case)
        if found.priced >= given.events:
            break
    sys.stdout.write(json.dumps({
        "priced_events": found.priced, "differences": found.different, "lines": found.lines, "entries": found.entries,
        "outcomes": dict(sorted(found.outcomes.items())), "seeds": [given.seed, given.seed + found.cases - 1],
        "seeds_that_differ": found.seeds[:SHOWN], "seconds": round(time.monotonic() - started, 1),
    }) + "\n")  # fmt: skip
    return 1 if found.different else 0


if __name__ == "__main__":
    sys.exit(main())
