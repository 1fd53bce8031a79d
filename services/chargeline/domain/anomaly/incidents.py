"""Incidents: one for each thing that goes wrong, with updates while it lasts and one resolution.

Alerts of a window are put together by what they have in common: an alert whose excess lies for the most part in the
cells of an incident belongs to it, whatever series it came from. What identifies an incident never changes, and its
updates are numbered: the same panes give the same names again.
"""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum

from chargeline.domain.anomaly.cells import Cells
from chargeline.domain.anomaly.contribution import Amount, by_cause
from chargeline.domain.anomaly.groups import Groups
from chargeline.domain.anomaly.series import SeriesName

CALM_WINDOWS = 3  # windows without excess until an incident is over
HOLDS = 0.5  # of the expected excess at its height: less is calm
_LONG_S = 3600
_REASONS = 8
_FAR = 10.0  # times the expected spend

# What money flows away through, and what makes the books unreliable: never one incident.
HEALTH = frozenset({"SPEND_DROP", "UNRATED", "DEAD_LETTERS"})


class Severity(IntEnum):
    """How bad; comparable."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True)
class Alert:
    """One series is odd in one window.

    Attributes:
        actual, expected: in the unit of the kind: spend, or a ratio.
        impact: estimated money beyond what was to be expected, in the currency; 0: none that is known.
        surprise: -log10 of a probability, or deviations for a ratio.
    """

    series: int
    kind: str
    actual: float
    expected: float
    impact: float
    surprise: float
    reason: str

    @property
    def is_health(self) -> bool:
        return self.kind in HEALTH


@dataclass
class Incident:
    """One incident.

    Attributes:
        scope: the series that it is about.
        window_start: of its first window, microseconds; with scope and kind it makes the id.
        window_end: end of its newest window with excess, exclusive.
        sequence: of the last update, from 1.
        actual, expected: over its windows, picounits; expected is an estimate.
        peak: largest excess of a window, in the currency.
        calm: windows without excess since the last one with it.
        windows: complete windows in it.
        causes: actual amounts by dimension and value. `reference`: of `reference_windows` usual ones.
        mean_before: spend of one of those, in the currency.
        told: impact and severity at the last update.
        owner: the one team of its scope where the scope names none; "": none or several. Fixed when it begins, so
            that all its updates go the same way.
    """

    scope: SeriesName
    kind: str
    window_start: int
    window_end: int
    source_partition: int
    status: str = "OPEN"
    sequence: int = 0
    kinds: list[str] = field(default_factory=list)
    actual: int = 0
    expected: int = 0
    ratio_impact: int = 0
    peak: float = 0.0
    surprise: float = 0.0
    reasons: list[str] = field(default_factory=list)
    calm: int = 0
    windows: int = 0
    causes: dict[str, dict[str, Amount]] = field(default_factory=dict)
    reference: dict[str, dict[str, Amount]] = field(default_factory=dict)
    reference_windows: int = 0
    mean_before: float = 0.0
    samples: list[tuple[int, int]] = field(default_factory=list)
    value: float = 0.0
    usual: float = 0.0
    told_impact: int = 0
    told_severity: int = 0
    told_window: int = 0
    told_status: str = ""
    is_changed: bool = False
    is_early: bool = False
    owner: str = ""

    @property
    def anomaly_id(self) -> str:
        """A name that follows from what it is about and when it began."""
        parts = [self.kind, self.scope.billing_account_id, self.scope.billing_currency, str(self.source_partition)]
        parts += [text for pair in self.scope.dimensions for text in pair]
        packed = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
        return hashlib.sha256(packed + self.window_start.to_bytes(8, "big", signed=True)).hexdigest()[:32]

    @property
    def is_health(self) -> bool:
        return self.kind in HEALTH

    @property
    def dimensions(self) -> tuple[tuple[str, str], ...]:
        """What it is told to be about: its scope, and who owns that."""
        return (("team", self.owner), *self.scope.dimensions) if self.owner else self.scope.dimensions

    @property
    def impact(self) -> int:
        """Money beyond what was to be expected so far, picounits: of the spend, or of the ratio if that is more."""
        if self.kind == "SPEND_DROP":
            return self.expected - self.actual
        return max(self.actual - self.expected, self.ratio_impact)

    def deviation(self) -> float:
        """How many times the expected; 0: nothing was expected."""
        if self.usual > 0 and self.kind not in ("SPEND", "RUNAWAY", "NEW_SPEND", "SPEND_DROP"):
            return self.value / self.usual
        return self.actual / self.expected if self.expected > 0 else 0.0

    def severity(self, minimum: Decimal) -> Severity:
        """From impact, in steps of the least that matters; one more if it is far out and lasts; the worst so far.

        It never falls: who was told of the beginning because it was bad is told of the end, too.
        """
        if self.kind == "DEAD_LETTERS":
            return Severity.HIGH if self.value >= 0.5 else Severity.MEDIUM  # of events, no money is known
        unit = max(float(minimum), 1e-9)
        size = self.impact / 1e12 / unit
        found = 1 + (size >= 10) + (size >= 100) + (size >= 1000)
        lasting = self.window_end - self.window_start >= _LONG_S * 1_000_000
        if lasting and self.deviation() >= _FAR:
            found += 1
        return Severity(max(min(found, 4), self.told_severity))

    def saw(self, kind: str, reason: str, surprise: float) -> None:
        """Another alert belongs to it."""
        if kind not in self.kinds:
            self.kinds.append(kind)
            self.is_changed = True
        about = reason.partition(":")[0]
        if reason and len(self.reasons) < _REASONS and not any(each.startswith(about) for each in self.reasons):
            self.reasons.append(reason)
        self.surprise = max(self.surprise, surprise)

    def add(self, cells: Cells, groups: Groups) -> None:
        """Cells of the scope, of a window of the incident or late ones."""
        self.actual += cells.total()
        for dimension, amounts in by_cause(cells, groups).items():
            known = self.causes.setdefault(dimension, {})
            for value, more in amounts.items():
                before = known.get(value, Amount(0, 0))
                known[value] = Amount(before.picos + more.picos, before.events + more.events)

    def begin_early(self, cells: Cells, expected: float, groups: Groups) -> None:
        """Found in a window that is still open: the amounts so far, to be counted anew when it is complete."""
        self.is_early = True
        self.add(cells, groups)
        self.expected = round(expected * 1e12)
        self.peak = self.impact / 1e12

    def forget_early(self) -> None:
        """The first window is complete, and will be counted."""
        if self.is_early:
            self.is_early, self.actual, self.expected, self.causes = False, 0, 0, {}

    def is_due(self, minimum: Decimal, window_end: int, every_us: int) -> bool:
        """Whether there is something to tell: doubled, worse, another kind, or not told of for long."""
        if self.is_changed or self.status != self.told_status:
            return True
        if self.severity(minimum) > self.told_severity or self.impact >= 2 * max(self.told_impact, 1):
            return True
        return window_end - self.told_window >= every_us

    def tell(self, minimum: Decimal, window_end: int) -> None:
        """The next update is made."""
        self.sequence += 1
        self.told_impact, self.told_severity = self.impact, int(self.severity(minimum))
        self.told_window, self.told_status, self.is_changed = window_end, self.status, False
