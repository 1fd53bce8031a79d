"""What the close adds to the scopes of accumulating rates: openings, volume settlements, rate minimums.

Source: spec/rating.md, sections 3 (Opening), 4.5 and "Minimum and maximum of a rate", 12.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chargeline.domain.closing.entries import CORRECTION, Booked, Period, Rate, Scope, Span, of_rate, q12
from chargeline.domain.closing.largest_remainder import split_steps
from chargeline.domain.closing.proration import prorate
from chargeline.domain.money import PICOS


@dataclass(frozen=True)
class ProjectUsage:
    """What one project did in a volume scope.

    Attributes:
        quantity: any whole unit, the same for all projects of the scope; >= 0.
        booked: picounits of the pricing currency that its events were charged provisionally.
    """

    project: str | None
    quantity: int
    booked: int


@dataclass(frozen=True)
class ScopeTotal:
    """The state of one scope at the close. Amounts are picounits of the pricing currency.

    Attributes:
        used: when the rate is in force for the account; by it the minimum is prorated.
        total: T(Q), for a volume rate f(P); the running amount where the rate has modifiers.
        opening: T(0).
        is_explicit: the account has the rate in a card of its own or of its contract.
        has_events: an event came, of whatever quantity.
        is_opened: an event with a quantity > 0 came.
        minimum: for a whole period; None: the rate has none.
        projects: for a volume rate, one row a project.
        period: that of the scope where it is closed already and a late event has changed its total.
        true_up_booked: what earlier closes booked as its minimum's true-up.
    """

    scope: Scope
    rate: Rate
    used: Span
    total: int
    opening: int = 0
    is_volume: bool = False
    is_explicit: bool = False
    has_events: bool = True
    is_opened: bool = True
    minimum: Fraction | None = None
    projects: tuple[ProjectUsage, ...] = ()
    period: Period | None = None
    true_up_booked: int = 0

    @property
    def is_whole(self) -> bool:
        """Neither divided by attributes nor shorter than the period: such a scope exists without events, too."""
        return not self.scope.by and self.scope.window_start is None

    @property
    def settled(self) -> int:
        """What the scope comes to; a scope that nothing opened comes to nothing."""
        return self.total if self.is_opened or (self.is_explicit and self.is_whole) else 0


def opening_entry(scope: ScopeTotal, period: Period) -> Booked | None:
    """The first tier's flat fee of a rate that the account has explicitly and no event opened; None: none is due."""
    if scope.is_volume or scope.is_opened or not (scope.is_explicit and scope.is_whole) or not scope.opening:
        return None
    return of_rate(
        scope.rate,
        scope.scope,
        scope.opening,
        entry_kind="TIER_FLAT",
        charge_category="USAGE",
        event_time=period.last,
        tier=1,
        quantity=Fraction(1),
        unit_price=Fraction(scope.opening, PICOS),
    )


def settlement(total: int, projects: Sequence[ProjectUsage]) -> dict[str | None, int]:
    """What each project of a volume scope still has to pay, or gets back, so that the scope comes to its total.

    Args:
        total: f(P), picounits.
        projects: at most one row a project, any order.

    Returns:
        Final share, by quantity and largest remainder, less what was booked. A total without any quantity is nobody's:
        it goes to the project None.
    """
    weights: dict[str | None, int | Fraction] = {each.project: each.quantity for each in projects}
    if total and not any(weights.values()):
        weights = {**weights, None: 1}
    booked = {each.project: each.booked for each in projects}
    return {project: part - booked.get(project, 0) for project, part in split_steps(total, weights).items()}


def settlement_entries(scope: ScopeTotal, period: Period) -> list[Booked]:
    """One TIER_SETTLEMENT entry for each project whose booked sum is not its final share, by project."""
    if not scope.is_volume:
        return []
    parts = settlement(scope.settled, scope.projects)
    return [
        of_rate(
            scope.rate,
            scope.scope,
            parts[project],
            entry_kind="TIER_SETTLEMENT",
            charge_category="ADJUSTMENT",
            event_time=period.last,
            project=project,
        )
        for project in sorted(parts, key=lambda each: (each is not None, (each or "").encode()))
        if parts[project]
    ]


def with_project(scope: Scope, project: str | None) -> Scope:
    """The scope as the output names a settlement: with its project among the attributes (spec/formats.md 6)."""
    return replace(scope, by=tuple(sorted({**dict(scope.by), "project": project}.items())))


def true_up(minimum: int, total: int) -> int:
    """What a minimum adds to a total."""
    return max(0, minimum - total)


def true_up_entry(scope: ScopeTotal, period: Period) -> Booked | None:
    """The TRUE_UP to the rate's minimum, or its change where the scope was closed before; None: nothing to book.

    The minimum is prorated by whole days of the scope's period.
    """
    if scope.minimum is None or not (scope.has_events or (scope.is_explicit and not scope.scope.by)):
        return None
    own = scope.period or period
    amount = true_up(q12(prorate(scope.minimum, scope.used, own)), scope.settled) - scope.true_up_booked
    if amount == 0:
        return None
    return of_rate(
        scope.rate,
        scope.scope,
        amount,
        entry_kind="TRUE_UP",
        charge_category="ADJUSTMENT",
        event_time=own.last,
        charge_class=None if scope.period is None else CORRECTION,
        usage=scope.period,
    )


def scope_entries(scopes: Iterable[ScopeTotal], period: Period) -> list[Booked]:
    """What the close books for accumulating scopes: openings, then settlements, then true-ups, each by scope."""
    ordered = sorted(scopes, key=_key)
    openings = [entry for each in ordered if (entry := opening_entry(each, period)) is not None]
    settled = [entry for each in ordered for entry in settlement_entries(each, period)]
    true_ups = [entry for each in ordered if (entry := true_up_entry(each, period)) is not None]
    return [*openings, *settled, *true_ups]


def _key(total: ScopeTotal) -> tuple[object, ...]:
    scope = total.scope
    by = tuple((name, value is not None, (value or "").encode()) for name, value in scope.by)
    start = 0 if total.period is None else total.period.start
    return (scope.sku_id or "").encode(), (scope.variant or "").encode(), by, scope.window_start or 0, start
