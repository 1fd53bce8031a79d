"""What changed between two cards, and which rates held when by what was known then (two times).

Source: spec/rating.md, section 7.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from chargeline.domain.money import plain
from chargeline.domain.rates.book import PublishedCard, Rate, live_cards
from chargeline.domain.rates.card import RateCard, Sku
from chargeline.domain.rates.prices import named_prices

_UNCHANGING = frozenset({"sku_id", "variant", "line", "column"})


@dataclass(frozen=True)
class SkuChange:
    """One SKU that two cards do not say the same of; `before` None: added, `after` None: removed."""

    before: Sku | None
    after: Sku | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def differing(self) -> tuple[str, ...]:
        """Which attributes of a changed SKU differ."""
        if self.before is None or self.after is None:
            return ()
        names = [each.name for each in fields(Sku) if each.name not in _UNCHANGING]
        return tuple(name for name in names if getattr(self.before, name) != getattr(self.after, name))


@dataclass(frozen=True)
class RateVersion:
    """One version of a rate with the time in which it holds.

    Attributes:
        start, end: microseconds, half-open, as later versions left it; both None: it never held.
    """

    published: PublishedCard
    sku: Sku
    start: int | None
    end: int | None


def changes(before: RateCard, after: RateCard) -> tuple[SkuChange, ...]:
    """What a card says of its SKUs that another one says otherwise, in the order of the two cards."""
    old, new = ({sku.key: sku for sku in card.skus} for card in (before, after))
    found = [SkuChange(old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]
    return tuple(each for each in found if each.before != each.after)


def history(
    cards: Sequence[PublishedCard], sku_id: str, *, margin_ms: int, future_bound_ms: int
) -> tuple[RateVersion, ...]:
    """Every published version of a SKU's rates, in the order of the log."""
    live = live_cards(cards, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    held = {(rate.card.rate_card_id, rate.card.version, rate.sku.key): rate for rate in live.rates}
    found = []
    for published in sorted(cards, key=lambda each: each.sequence):
        for sku in published.card.skus:
            if sku.sku_id == sku_id:
                rate = held.get((published.card.rate_card_id, published.card.version, sku.key))
                found.append(_version(published, sku, rate))
    return tuple(found)


def as_of(
    cards: Sequence[PublishedCard], time: int, *, known_on_ms: int | None, margin_ms: int, future_bound_ms: int
) -> tuple[RateVersion, ...]:
    """The rates that hold at an instant by what was recorded until another one.

    Args:
        time: microseconds, the event time asked for.
        known_on_ms: milliseconds; cards recorded later are left out. None: every card counts.
    """
    known = [each for each in cards if known_on_ms is None or each.recorded_time <= known_on_ms]
    live = live_cards(known, margin_ms=margin_ms, future_bound_ms=future_bound_ms)
    by_version = {(each.card.rate_card_id, each.card.version): each for each in reversed(known)}
    return tuple(
        _version(by_version[rate.card.rate_card_id, rate.card.version], rate.sku, rate)
        for rate in live.rates
        if rate.holds(time)
    )


def price_text(sku: Sku) -> str:
    """The prices of a rate in one line, for people."""
    listed = ", ".join(f"{name} {plain(price)}" for name, price in named_prices(sku)) or "the event's own"
    return f"{listed} / {sku.pricing_unit}"


def _version(published: PublishedCard, sku: Sku, rate: Rate | None) -> RateVersion:
    return RateVersion(published, sku, None if rate is None else rate.start, None if rate is None else rate.end)
