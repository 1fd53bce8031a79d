"""An alert: one state of one cost anomaly, as the people see it who must act on it."""

from dataclasses import dataclass
from decimal import Decimal

OPEN, UPDATED, RESOLVED = "OPEN", "UPDATED", "RESOLVED"
BUDGET = "BUDGET_BURN"  # the kind of all alerts of budgets
SEVERITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")  # ascending


@dataclass(frozen=True)
class Contributor:
    """What added to an anomaly. `name`: e.g. feature=chat; `excess`: how much of the difference is its own."""

    name: str
    excess: Decimal | None = None


@dataclass(frozen=True)
class Alert:
    """One record of `cost-anomalies`.

    Attributes:
        anomaly_id: names the anomaly for ever.
        sequence: number of this state of it, from 1; (anomaly_id, sequence) is the deduplication key of every channel.
        state: OPEN, UPDATED or RESOLVED.
        kind: e.g. SPEND, BUDGET_BURN.
        severity: one of `SEVERITIES`; another word ranks as the highest.
        dimensions: what it is about within the account, names and values; () for all of it.
        what: one sentence for people.
        actual, expected: in `unit`; None: not measured.
        since: microseconds since 1970 UTC, when it began.
        at: microseconds since 1970 UTC, of this state.
        contributors: largest first.
        is_muted: somebody asked not to be told.
    """

    anomaly_id: str
    sequence: int
    state: str
    kind: str
    severity: str
    billing_account_id: str
    dimensions: tuple[tuple[str, str], ...]
    what: str
    unit: str
    actual: Decimal | None
    expected: Decimal | None
    since: int
    at: int
    contributors: tuple[Contributor, ...] = ()
    explanation: str = ""
    is_muted: bool = False

    @property
    def key(self) -> str:
        """The deduplication key: the same at every delivery of this state."""
        return f"{self.anomaly_id}/{self.sequence}"

    @property
    def team(self) -> str | None:
        """Who owns the spend; None: not said."""
        return dict(self.dimensions).get("team")

    @property
    def series(self) -> str:
        """What was watched, e.g. team=search, feature=chat."""
        return ", ".join(f"{name}={value}" for name, value in self.dimensions)


def rank(severity: str) -> int:
    """Place of a severity, ascending. An unknown one is the highest: rather one alert too many than one too few."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
