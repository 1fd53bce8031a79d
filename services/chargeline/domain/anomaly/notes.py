"""What people say of anomalies: mutes of a scope, labels of incidents, and how precise the detection was by them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chargeline.domain.anomaly.update import Update


@dataclass(frozen=True)
class Mute:
    """Incidents that nobody is told of; what is None or empty holds for all. Times are microseconds, [from, until)."""

    note_id: str
    anomaly_id: str | None
    billing_account_id: str | None
    dimensions: Mapping[str, str]
    kind: str | None
    from_time: int | None
    until_time: int | None

    def covers(self, update: Update) -> bool:
        """Whether the update is of such an incident; its time is the newest odd window's end."""
        scope = dict(update.dimensions)
        return (
            self.anomaly_id in (None, update.anomaly_id)
            and self.billing_account_id in (None, update.billing_account_id)
            and self.kind in (None, update.kind)
            and all(scope.get(name) == value for name, value in self.dimensions.items())
            and (self.from_time is None or update.window_end >= self.from_time)
            and (self.until_time is None or update.window_start < self.until_time)
        )


class Notes:
    """The newest note of every key."""

    def __init__(self) -> None:
        self.mutes: dict[str, Mute] = {}
        self.labels: dict[str, str] = {}

    def put(
        self, key: str, note: Mapping[str, Any] | None, times: tuple[int | None, int | None] = (None, None)
    ) -> None:
        """Take a record of the topic.

        Args:
            note: None: what was said under this key is taken back.
            times: its from_time and until_time in microseconds.
        """
        self.mutes.pop(key, None)
        self.labels.pop(key.removeprefix("label/"), None)
        if note is None:
            return
        if note["kind"] == "MUTE":
            self.mutes[key] = Mute(
                key, note["anomaly_id"], note["billing_account_id"], note["dimensions"], note["anomaly_kind"], *times
            )
        elif note["kind"] == "LABEL":
            self.labels[note["anomaly_id"]] = note["label"]

    def is_muted(self, update: Update) -> bool:
        """Whether some mute covers it."""
        return any(mute.covers(update) for mute in self.mutes.values())


def precision(labels: Iterable[str]) -> float | None:
    """Share of true positives among the incidents that were labelled right or wrong; None: none was.

    What was EXPECTED was rightly seen, and nobody's fault: it counts as true.
    """
    known = [label for label in labels if label in ("TRUE_POSITIVE", "FALSE_POSITIVE", "EXPECTED")]
    return sum(label != "FALSE_POSITIVE" for label in known) / len(known) if known else None
