"""Rate cards for tests, from a few words."""

from chargeline.domain.rates.book import PublishedCard, RateBook
from chargeline.domain.rates.card import RateCard
from chargeline.domain.rates.card_reader import read_rate_card

MARGIN_MS = 10_000
FUTURE_BOUND_MS = 300_000
DAY_MS = 86_400_000
JANUARY_1 = 1_767_225_600_000  # 2026, milliseconds


def sku(measures="input", price="2", *, sku_id=None, variant="null", models="[m]", match="", unit=None, **more):
    """One per_unit SKU of provider p as a line of YAML."""
    kind = "leaf" if measures.split("_")[-1] in {"input", "output", "audio", "image"} else "quantity"
    unit = unit or ("1000000 Tokens" if kind == "leaf" else "Units")
    named = f"models: {models}" if models.startswith("[") else f"model_prefix: {models}"
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    price = f"charge_model: per_unit, unit_price: {price}" if "base" not in more else "charge_model: threshold"
    return (
        f"  - {{sku_id: {sku_id or 'm/' + measures}, variant: {variant}, {kind}: {measures}, {price}, "
        f"match: {{provider_name: p, {named}{', ' + match if match else ''}}}, pricing_unit: {unit}{extra}}}"
    )


def card(
    *skus,
    id="list",  # noqa: A002 - the key of the card
    version=1,
    start="2026-01-01",
    end=None,
    scope="default",
    currency="USD",
    **more,
) -> RateCard:
    """A card that begins and ends at midnight UTC."""
    lines = [
        f"id: {id}",
        f"version: {version}",
        f"currency: {currency}",
        f"effective_from: {start}T00:00:00Z",
        f"effective_to: {end}T00:00:00Z" if end else "effective_to: null",
        f"scope: {scope}",
        *(f"{key}: {value}" for key, value in more.items()),
        "skus:",
        *(skus or (sku(),)),
    ]
    return read_rate_card("\n".join(lines))


def published(*cards, recorded=JANUARY_1) -> list[PublishedCard]:
    """The cards in this order, all recorded at one time."""
    return [PublishedCard(each, recorded, number) for number, each in enumerate(cards)]


def book(*cards, recorded=JANUARY_1) -> RateBook:
    return RateBook(published(*cards, recorded=recorded), margin_ms=MARGIN_MS, future_bound_ms=FUTURE_BOUND_MS)
