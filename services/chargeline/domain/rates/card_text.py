"""The canonical text of a rate card: keys sorted, numbers as plain text, defaults left out. Equal cards, equal texts.

Source: spec/formats.md, section 2.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from chargeline.domain.money import plain
from chargeline.domain.rates.card import (
    ChargeModel,
    CostPlus,
    Dynamic,
    Match,
    Modifier,
    Package,
    Percentage,
    PerUnit,
    RateCard,
    Scope,
    Sku,
    Standing,
    StatusRule,
    Threshold,
    Tier,
    Tiered,
    TimeBands,
    instant,
)
from chargeline.domain.rates.card_format import WEEKDAYS
from chargeline.domain.rates.units import unit_size
from chargeline.domain.usage import LEAVES


def to_json(card: RateCard) -> str:
    """The canonical text of a card."""
    document = {
        "id": card.rate_card_id,
        "version": str(card.version),
        "supersedes": None if card.supersedes is None else str(card.supersedes),
        "correction": card.correction or None,
        "currency": card.currency,
        "effective_from": instant(card.effective_from),
        "effective_to": None if card.effective_to is None else instant(card.effective_to),
        "scope": _scope(card.scope),
        "description": card.description,
        "aliases": [
            {"provider_name": each.provider_name, "alias": each.alias, "model": each.model} for each in card.aliases
        ],
        "status_policy": _policy(card.status_policy),
        "focus": dict(card.focus),
        "skus": [_sku(sku) for sku in card.skus],
    }
    return json.dumps(_given(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _scope(scope: Scope) -> str | dict[str, str]:
    return scope.kind if scope.name is None else {scope.kind: scope.name}


def _policy(rules: Sequence[StatusRule]) -> dict[str, Any]:
    return {rule.status: rule.policy if rule.pool is None else {rule.policy: rule.pool} for rule in rules}


def _sku(sku: Sku) -> dict[str, Any]:
    sized = sku.divide_by is None or sku.divide_by == unit_size(sku.pricing_unit, sku.measures)
    return _given(
        {
            "sku_id": sku.sku_id,
            "variant": sku.variant,
            "match": _match(sku.match),
            "leaf" if sku.measures in LEAVES else "quantity": sku.measures or None,
            "charge_model": sku.charge_model,
            **_model(sku.model),
            "pricing_unit": sku.pricing_unit,
            "divide_by": None if sized else _number(sku.divide_by),
            "round": "up" if sku.round_up else None,
            "free_units": _number(sku.free_units or None),
            "discounts": [{each.kind: plain(each.value)} for each in sku.discounts],
            "minimum": _number(sku.minimum),
            "maximum": _number(sku.maximum),
            "window": None if sku.window == "billing_period" else sku.window,
            "scope_by": list(sku.scope_by),
            "modifiers": [_modifier(each) for each in sku.modifiers],
            "status_policy": _policy(sku.status_policy),
            "focus": dict(sku.focus),
            "source": dict(sku.source),
        }
    )


def _model(model: ChargeModel) -> dict[str, Any]:  # noqa: PLR0911 - one for each charge model
    """The parameters of a charge model."""
    match model:
        case PerUnit():
            return {"unit_price": plain(model.unit_price)}
        case Threshold():
            base, *limits = model.prices
            thresholds = [{"above": str(each.above), "price": plain(each.price)} for each in limits]
            return {"base": plain(base.price), "thresholds": thresholds}
        case Standing():
            return {"amount": plain(model.amount), "bill_in": "advance" if model.in_advance else None}
        case Package():
            rounding = None if model.round_up else "down"
            price, size = plain(model.package_price), plain(model.package_size)
            return {"package_price": price, "package_size": size, "package_round": rounding}
        case Tiered():
            return {"tiers": [_tier(each, model.kind) for each in model.tiers]}
        case Percentage():
            return {
                "rate_percent": plain(model.rate_percent),
                "fixed": _number(model.fixed or None),
                "free_events": None if model.free_events is None else str(model.free_events),
                "free_amount": _number(model.free_amount),
                "per_event_min": _number(model.per_event_min),
                "per_event_max": _number(model.per_event_max),
            }
        case Dynamic():
            return {"dynamic": True, "price_sources": list(model.price_sources)}
        case CostPlus():
            return {"multiplier": plain(model.multiplier)}


def _tier(tier: Tier, kind: str) -> dict[str, Any]:
    """A tier; its bound is always written, since the format requires it."""
    share = kind == "graduated_percentage"
    prices = {
        "rate_percent": plain(tier.unit_price.scaleb(2)) if share else None,
        "unit_price": None if share else _number(tier.unit_price or None),
        "flat_fee": _number(tier.flat_fee or None),
        "block_size": _number(tier.block_size),
    }
    return {"up_to": _number(tier.up_to), **_given(prices)}


def _modifier(modifier: Modifier) -> dict[str, Any]:
    if isinstance(modifier, TimeBands):
        bands = [
            {
                "weekdays": [WEEKDAYS[day] for day in each.weekdays],
                "from": _clock(each.start),
                "to": _clock(each.end),
                "factor": plain(each.factor),
            }
            for each in modifier.bands
        ]
        return {"attribute": modifier.attribute, "time_zone": modifier.time_zone, "bands": bands}
    return {"attribute": modifier.attribute, "factors": {value: plain(factor) for value, factor in modifier.factors}}


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _match(match: Match) -> dict[str, Any]:
    return _given(
        {
            "provider_name": match.provider_name or None,
            "models": list(match.models),
            "model_prefix": match.model_prefix,
            "labels": dict(match.labels),
            **{name: values[0] if len(values) == 1 else list(values) for name, values in match.attributes},
        }
    )


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _given(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in (None, [], {})}
