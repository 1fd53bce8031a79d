"""Random events with random cards, priced by the engine in columns and by the slow reference: how many differ.

    python bench/exactness.py [--events N] [--seed FIRST]

A case is one seed: random cards, accounts and exchange rates, and random events in blocks cut somewhere. Three cases in
four have usage alone, 2,000 events; the fourth has corrections, control records and closes among 100 events. Every
object of a line must be that of the reference in every field but what `tests/support/same_entries.py` allows in the
12th decimal of a list cost. Exit code 1: something differs, and the seeds are named.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.pricing import engine
from tests.support.publishable import publishable, publishable_case
from tests.support.random_rating import RandomRating
from tests.support.same_entries import assert_same_object

from chargeline.verify.rating.price import price_document

USAGE_EVENTS, MIXED_EVENTS = 2_000, 100
SHOWN = 20  # seeds of differences


@dataclass
class Count:
    """What was compared so far. `priced`: lines with entries; `different`: those that the reference has otherwise."""

    lines: int = 0
    priced: int = 0
    entries: int = 0
    different: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)


def compare(seed: int, count: Count) -> None:
    """One case more."""
    is_mixed = seed % 4 == 3
    case = RandomRating(seed, MIXED_EVENTS if is_mixed else USAGE_EVENTS)
    cards, events = publishable_case(case) if is_mixed else publishable(case)
    wanted = price_document(cards, case.accounts, case.fx, events, False)
    found = engine(cards, case.accounts, case.fx, events, unit=len(events) // 5 + seed * 37 % len(events))
    lines = slice(len(events))  # what a close books for scopes is compared by tests of its own
    wrong = sum(not is_same(one, other) for one, other in zip(found[lines], wanted[lines], strict=True))
    count.lines += len(events)
    count.priced += sum(bool(each["entries"]) for each in wanted[lines])
    count.entries += sum(len(each["entries"]) for each in wanted[lines])
    count.outcomes.update(each["outcome"] for each in wanted[lines])
    count.different += wrong
    if wrong:
        count.seeds.append(seed)


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
    given = options.parse_args()
    count, seed, started = Count(), given.seed, time.monotonic()
    while count.priced < given.events:
        compare(seed, count)
        seed += 1
    sys.stdout.write(json.dumps({
        "priced_events": count.priced, "differences": count.different, "lines": count.lines, "entries": count.entries,
        "outcomes": dict(sorted(count.outcomes.items())), "seeds": [given.seed, seed - 1],
        "seeds_that_differ": count.seeds[:SHOWN], "seconds": round(time.monotonic() - started, 1),
    }) + "\n")  # fmt: skip
    return 1 if count.different else 0


if __name__ == "__main__":
    sys.exit(main())
