"""Rate cards: what they hold. Reading them is in `rate_card_reader`, their canonical text in `rate_card_text`.

Every number is a Decimal that is exactly what the document says; times are microseconds since 1970 UTC.

Source: spec/formats.md, section 2; spec/rating.md, sections 3 to 5, 7 and 10.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Literal

from chargeline.domain.documents import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Texts = tuple[tuple[str, str], ...]
Level = Literal["default", "group", "account", "contract"]
LEVELS: tuple[Level, ...] = ("default", "group", "account", "contract")  # from the farthest to the nearest
Window = Literal["billing_period", "day", "hour", "event"]


@dataclass(frozen=True)
class Scope:
    """Whom a card is for. `name` is the group, account or contract; None for the default card."""

    kind: Level = "default"
    name: str | None = None


DEFAULT = Scope()


@dataclass(frozen=True)
class Alias:
    """Another name of a model of the same provider."""

    provider_name: str
    alias: str
    model: str
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Match:
    """Which events a rate is for; everything named must hold. Values and labels are sorted.

    A rate of no event (a standing fee, recurring units) has NO_EVENT, which names no model.
    """

    provider_name: str
    models: tuple[str, ...] = ()
    model_prefix: str | None = None
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    labels: Texts = ()

    @property
    def names(self) -> tuple[tuple[str, bool, str], ...]:
        """(provider, is a prefix, name) of everything that the model of an event may be found by."""
        if self.model_prefix is not None:
            return ((self.provider_name, True, self.model_prefix),)
        return tuple((self.provider_name, False, model) for model in self.models)

    @property
    def named_count(self) -> int:
        """How many attributes the rate names: more is nearer."""
        return len(self.attributes) + len(self.labels)


NO_EVENT = Match("")


@dataclass(frozen=True)
class PerUnit:
    """f = unit_price · P (spec/rating.md 4.1)."""

    unit_price: Decimal


@dataclass(frozen=True)
class PriceAbove:
    """Above so many input tokens of the request the price is this one. `above` 0: the base price."""

    above: int
    price: Decimal


@dataclass(frozen=True)
class Threshold:
    """A price by the length of the request: base price first, then ascending limits (spec/rating.md 4.8)."""

    prices: tuple[PriceAbove, ...]


@dataclass(frozen=True)
class Standing:
    """A fee for each billing period (`flat`, spec/rating.md 4.2), booked at its start or (default) at its close."""

    amount: Decimal
    in_advance: bool = False


@dataclass(frozen=True)
class Package:
    """A price for each package of `package_size` pricing units, > 0 (spec/rating.md 4.3)."""

    package_price: Decimal
    package_size: Decimal
    round_up: bool = True


@dataclass(frozen=True)
class Tier:
    """One tier.

    Attributes:
        up_to: cumulative and inclusive, in pricing units, > 0; None: open, for the last tier only.
        unit_price: of a unit, or of a block where there is a block size; of graduated_percentage the share of the
            amount, which is rate_percent / 100.
        flat_fee: charged once when the tier is entered.
        block_size: pricing units of a block, > 0; None: no blocks.
    """

    up_to: Decimal | None
    unit_price: Decimal = Decimal(0)
    flat_fee: Decimal = Decimal(0)
    block_size: Decimal | None = None


@dataclass(frozen=True)
class Tiered:
    """Prices by quantity (spec/rating.md 4.4, 4.5, 4.7): at least one tier, ascending, the last one open."""

    kind: Literal["graduated", "volume", "graduated_percentage"]
    tiers: tuple[Tier, ...]


@dataclass(frozen=True)
class Percentage:
    """A share of each transaction (spec/rating.md 4.6); None: not set. `free_events` and `free_amount` are > 0."""

    rate_percent: Decimal
    fixed: Decimal = Decimal(0)
    free_events: int | None = None
    free_amount: Decimal | None = None
    per_event_min: Decimal | None = None
    per_event_max: Decimal | None = None


@dataclass(frozen=True)
class Dynamic:
    """The event's own price, from these sources only (spec/rating.md 4.9); sorted."""

    price_sources: tuple[str, ...]


@dataclass(frozen=True)
class CostPlus:
    """The provider's cost of the event times this (spec/rating.md 4.10)."""

    multiplier: Decimal


ChargeModel = PerUnit | Threshold | Standing | Package | Tiered | Percentage | Dynamic | CostPlus
_NAMES: dict[type, str] = {
    PerUnit: "per_unit", Threshold: "threshold", Standing: "flat", Package: "package", Percentage: "percentage",
    Dynamic: "dynamic", CostPlus: "cost_plus",
}  # fmt: skip


@dataclass(frozen=True)
class Discount:
    """Percent off (0 to 100), or a fixed amount off the period's charge."""

    kind: Literal["percent", "fixed"]
    value: Decimal


@dataclass(frozen=True)
class FactorTable:
    """Factors of unit prices by the value of an attribute, sorted by value; `*` stands for the values not named."""

    attribute: str
    factors: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True)
class TimeBand:
    """A factor for some local hours of some weekdays.

    Attributes:
        weekdays: of the band's start, ascending; 0 is Monday.
        start, end: minutes of the local day, half-open; `end` may be 1440, and below `start` is past midnight.
    """

    weekdays: tuple[int, ...]
    start: int
    end: int
    factor: Decimal


@dataclass(frozen=True)
class TimeBands:
    """Factors of unit prices by local time (`time_band`); they do not overlap, and elsewhere the factor is 1."""

    time_zone: str
    bands: tuple[TimeBand, ...]

    @property
    def attribute(self) -> str:
        return "time_band"


Modifier = FactorTable | TimeBands


@dataclass(frozen=True)
class StatusRule:
    """What a failed request pays (spec/rating.md 10); `pool` for amortise only."""

    status: str
    policy: Literal["bill_full", "bill_zero", "amortise"] = "bill_full"
    pool: str | None = None


@dataclass(frozen=True)
class Sku:
    """One rate: a SKU with its price list.

    Attributes:
        measures: a token leaf or another quantity of the event; `recurring_units`; empty for a standing fee.
        divide_by: base units in a pricing unit, > 0; None: GB-Months, whose size depends on the billing period. Extra
            quantities count in whole units here, and money in units of the currency.
        round_up: the accumulated quantity is rounded up to whole pricing units.
        free_units: in pricing units.
        minimum, maximum: money for each scope; None: none.
        scope_by: attributes of the event that split the scope; sorted.
        modifiers: one for an attribute, sorted by attribute.
        status_policy: what the SKU says itself, sorted by status; see `status_rule`.
        source: url and date of the price, where given.
        line, column: where it stands in the document, from 1.
    """

    sku_id: str
    variant: str | None
    match: Match
    measures: str
    model: ChargeModel
    pricing_unit: str
    divide_by: Decimal | None
    round_up: bool = False
    free_units: Decimal = Decimal(0)
    discounts: tuple[Discount, ...] = ()
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    window: Window = "billing_period"
    scope_by: tuple[str, ...] = ()
    modifiers: tuple[Modifier, ...] = ()
    status_policy: tuple[StatusRule, ...] = ()
    focus: Texts = ()
    source: Texts = ()
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)

    @property
    def key(self) -> tuple[str, str | None]:
        return self.sku_id, self.variant

    @property
    def charge_model(self) -> str:
        """The name of the charge model, as documents spell it."""
        return self.model.kind if isinstance(self.model, Tiered) else _NAMES[type(self.model)]

    @property
    def prices(self) -> tuple[PriceAbove, ...]:
        """The price list of a rate that never accumulates: base price first, then ascending limits; others: none."""
        if isinstance(self.model, Threshold):
            return self.model.prices
        return (PriceAbove(0, self.model.unit_price),) if isinstance(self.model, PerUnit) else ()

    @property
    def accumulates(self) -> bool:
        """Whether the charge of an event depends on what came before it in its scope (spec/rating.md 3)."""
        model = self.model
        free = isinstance(model, Percentage) and (model.free_events is not None or model.free_amount is not None)
        bounds = self.minimum is not None or self.maximum is not None or self.free_units != 0
        fixed = any(each.kind == "fixed" for each in self.discounts)
        return isinstance(model, Tiered | Package) or self.round_up or free or bounds or fixed


@dataclass(frozen=True)
class RateCard:
    """One immutable version of a card. Times are microseconds since 1970 UTC, half-open.

    Two cards are equal if they say the same, however it was written.

    Attributes:
        status_policy: what the card says for all its SKUs, sorted by status, without what is the default anyway.
        remarks: warnings found while it was read.
    """

    rate_card_id: str
    version: int
    supersedes: int | None
    correction: bool
    currency: str
    effective_from: int
    effective_to: int | None
    scope: Scope
    aliases: tuple[Alias, ...]
    skus: tuple[Sku, ...]
    description: str | None = None
    status_policy: tuple[StatusRule, ...] = ()
    focus: Texts = ()
    remarks: tuple[Problem, ...] = field(default=(), compare=False)

    @cached_property
    def text(self) -> str:
        """The canonical text."""
        from chargeline.domain.rates.card_text import to_json  # noqa: PLC0415 - it builds on this module

        return to_json(self)


def status_rule(card: RateCard, sku: Sku, status: str) -> StatusRule:
    """What a request of this status pays: the SKU's own rule, else the card's, else bill_full."""
    for rule in (*sku.status_policy, *card.status_policy):
        if rule.status == status:
            return rule
    return StatusRule(status)


def instant(micros: int) -> str:
    """Microseconds since 1970 UTC as ISO 8601 with Z, as short as it can be."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
