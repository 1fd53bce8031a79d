"""An update of an incident: what is published of it, complete in itself."""

from dataclasses import dataclass
from decimal import Decimal

from chargeline.domain.anomaly.contribution import Contributor, contributors, effects, money, scaled
from chargeline.domain.anomaly.incidents import Incident

_CONTRIBUTORS = 10
_CHILD = "request_model"  # whose prices and shares tell price from mix


@dataclass(frozen=True)
class Update:
    """One numbered update; (anomaly_id, sequence) names it for ever. Amounts are in `billing_currency`.

    Attributes:
        status: OPEN or RESOLVED.
        window_start, window_end: microseconds, [start, end) of what was odd so far.
        expected_cost: an estimate; `impact` is what goes beyond it, also estimated.
        value, usual: the ratio of kinds that are about one, else 0.
        volume_effect, price_effect, mix_effect: of actual - reference, exact.
        samples: commit units (start, end offset of the source partition) that brought the largest parts.
        watermark: microseconds, when the update was made.
    """

    anomaly_id: str
    sequence: int
    status: str
    kind: str
    kinds: tuple[str, ...]
    severity: str
    billing_account_id: str
    billing_currency: str
    dimensions: tuple[tuple[str, str], ...]
    window_start: int
    window_end: int
    windows: int
    actual_cost: Decimal
    expected_cost: Decimal
    reference_cost: Decimal
    impact: Decimal
    value: float
    usual: float
    surprise: float
    volume_effect: Decimal
    price_effect: Decimal
    mix_effect: Decimal
    contributors: tuple[Contributor, ...]
    reasons: tuple[str, ...]
    source_partition: int
    samples: tuple[tuple[int, int], ...]
    watermark: int
    is_muted: bool = False


def update_of(incident: Incident, minimum: Decimal, watermark: int) -> Update:
    """The next update of an incident; its number counts as used."""
    incident.tell(minimum, incident.window_end)
    windows = max(incident.windows, 1)
    then = {
        dimension: scaled(amounts, windows, max(incident.reference_windows, 1))
        for dimension, amounts in incident.reference.items()
    }
    children, before = incident.causes.get(_CHILD, {}), then.get(_CHILD, {})
    parts = effects(children, before)
    # What the scope holds still is no cause.
    fixed = {name for name, _ in incident.dimensions}
    causes = {dimension: amounts for dimension, amounts in incident.causes.items() if dimension not in fixed}
    return Update(
        anomaly_id=incident.anomaly_id,
        sequence=incident.sequence,
        status=incident.status,
        kind=incident.kind,
        kinds=tuple(incident.kinds),
        severity=incident.severity(minimum).name,
        billing_account_id=incident.scope.billing_account_id,
        billing_currency=incident.scope.billing_currency,
        dimensions=incident.dimensions,
        window_start=incident.window_start,
        window_end=incident.window_end,
        windows=incident.windows,
        actual_cost=money(incident.actual),
        expected_cost=money(incident.expected),
        reference_cost=money(sum(each.picos for each in before.values())),
        impact=money(incident.impact),
        value=incident.value,
        usual=incident.usual,
        surprise=incident.surprise,
        volume_effect=money(parts.volume),
        price_effect=money(parts.price),
        mix_effect=money(parts.mix),
        contributors=tuple(contributors(causes, then, _CONTRIBUTORS)),
        reasons=tuple(incident.reasons),
        source_partition=incident.source_partition,
        samples=tuple(incident.samples),
        watermark=watermark,
    )
