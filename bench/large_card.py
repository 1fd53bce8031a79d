"""What a card of 2,000 SKUs costs the pricer: the same events with it and with the card of `make bench`, in turn.

Prints JSON and writes bench/results/large_card.json; exit code 1 below 80 %. RUNS (default 3) of each, each with a
stack of its own; QUICK=1 takes a tenth of the events.
"""

import json
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import cards
import traffic
from commands import NO_SERVICES, child, running
from run import EVENTS, PARTITIONS, charged, preload

RUNS = int(os.environ.get("RUNS", "3"))
RESULTS = Path(__file__).parent / "results"
LEAST = 0.8


def priced(card: str) -> float:
    """Events a second by a card, on a stack of its own."""
    with running(card, NO_SERVICES, "--partitions", PARTITIONS) as stack:
        preload(stack)
        found = child("child.py", "pricer", EVENTS, stack=stack)
        charged(stack)
        return found["events_per_s"]


def main() -> int:
    pairs = [(priced(traffic.card()), priced(json.dumps(cards.card()))) for _ in range(RUNS)]
    small, large = (statistics.median(each) for each in zip(*pairs, strict=True))
    result = {"events": EVENTS, "runs": pairs, "small_card_events_per_s": small, "large_card_events_per_s": large,
              "ratio": round(large / small, 3), "least": LEAST}  # fmt: skip
    (RESULTS / "large_card.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return int(large < LEAST * small)


if __name__ == "__main__":
    raise SystemExit(main())
