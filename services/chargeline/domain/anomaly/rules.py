"""What the detection of cost anomalies is told from outside."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from chargeline.domain.anomaly.series import DIMENSION_SETS, SeriesName


@dataclass(frozen=True)
class Rules:
    """Settings of the detection; times in microseconds.

    Attributes:
        window_us: length of a detection window, a multiple of a pane's.
        bound_us: the watermark trails the newest event by so much.
        sets: sets of dimensions that are watched besides the account itself.
        series_max: series watched at most; the least active are given up.
        full_max: of them, those with a full detector.
        minimum_impact: money below which nothing is told; 0: everything is.
        minimum_impact_by_team: the same for teams, by "account/team".
        runaway_factor: times what the baseline allows at a moment of an open window.
        young_factor: times the largest spend so far of a series that has not learned.
        late_windows: complete windows that late panes still correct.
        gap_windows: empty windows in a row that count as windows without spend; in a longer gap nothing is known.
        reference_windows: complete windows that an incident is compared with.
        update_us: an open incident is told of again after so long.
        incidents_max: open incidents at most, those with the largest impact first.
    """

    window_us: int
    bound_us: int
    sets: tuple[tuple[str, ...], ...] = DIMENSION_SETS
    series_max: int = 100_000
    full_max: int = 2_000
    minimum_impact: Decimal = Decimal(1)
    minimum_impact_by_team: Mapping[str, Decimal] = field(default_factory=dict)
    runaway_factor: float = 3.0
    young_factor: float = 4.0
    late_windows: int = 12
    gap_windows: int = 12
    reference_windows: int = 12
    update_us: int = 3_600_000_000
    incidents_max: int = 1_000

    def minimum(self, name: SeriesName) -> Decimal:
        """Least impact of a series that is told: its team's, else everybody's."""
        team = dict(name.dimensions).get("team")
        key = f"{name.billing_account_id}/{team}"
        return self.minimum_impact_by_team.get(key, self.minimum_impact)
