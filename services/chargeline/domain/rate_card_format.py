"""The keys of a rate card and of its SKUs, and which of them this version can work out.

Source: spec/formats.md, section 2.
"""

from typing import Any

MATCH_ATTRIBUTES = (
    "operation_name",
    "service_tier",
    "region",
    "accelerator",
    "criticality",
    "latency_class",
    "accuracy_class",
    "deployment",
    "resource_id",
)
CARD_KEYS = frozenset({
    "id", "version", "supersedes", "correction", "currency", "effective_from", "effective_to", "scope",
    "description", "aliases", "status_policy", "focus", "skus",
})  # fmt: skip
SKU_KEYS = frozenset({
    "sku_id", "variant", "match", "leaf", "quantity", "charge_model", "pricing_unit", "divide_by", "round",
    "free_units", "discounts", "minimum", "maximum", "window", "scope_by", "modifiers", "source", "focus",
    "status_policy",
})  # fmt: skip
FOCUS_KEYS = frozenset({
    "service_name", "service_category", "service_subcategory", "service_provider_name", "host_provider_name",
})  # fmt: skip
# The parameters of each charge model; those that this version can work out have theirs read below.
PARAMETERS = {
    "per_unit": frozenset({"unit_price"}),
    "threshold": frozenset({"base", "thresholds"}),
    "flat": frozenset({"amount", "bill_in"}),
    "package": frozenset({"package_price", "package_size", "package_round"}),
    "graduated": frozenset({"tiers"}),
    "volume": frozenset({"tiers"}),
    "percentage": frozenset(
        {"rate_percent", "fixed", "free_events", "free_amount", "per_event_min", "per_event_max"},
    ),
    "graduated_percentage": frozenset({"tiers"}),
    "dynamic": frozenset({"dynamic", "price_sources"}),
    "cost_plus": frozenset({"multiplier"}),
}
SUPPORTED = ("per_unit", "threshold")
STATUSES = ("OK", "ERROR", "CANCELLED", "PARTIAL")
MONEY_QUANTITIES = ("reported_cost", "transaction_amount", "recurring_units")
# Keys of a rate that this version reads only where they change nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "discounts": (None, []),
    "minimum": (None,),
    "maximum": (None,),
    "window": (None, "billing_period"),
    "scope_by": (None, []),
    "modifiers": (None, []),
    "round": (None, "none"),
}
