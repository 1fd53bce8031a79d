"""The keys of a rate card and of its SKUs, and the words that their values may be.

Source: spec/formats.md, section 2.
"""

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
# The parameters of each charge model.
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
STATUSES = ("OK", "ERROR", "CANCELLED", "PARTIAL")
POLICIES = ("bill_full", "bill_zero")
SCOPES = ("group", "account", "contract")
WINDOWS = ("billing_period", "day", "hour", "event")
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
TIME_BAND = "time_band"
MODIFIER_ATTRIBUTES = ("service_tier", "criticality", "latency_class", "accuracy_class", "region")
# Money amounts of the event: their pricing unit is the currency.
MONEY_QUANTITIES = ("transaction_amount", "reported_cost")
RECURRING = "recurring_units"
# What some charge models are worked out on, and nothing else.
MEASURED_BY = {
    "percentage": "transaction_amount",
    "graduated_percentage": "transaction_amount",
    "dynamic": "reported_cost",
    "cost_plus": "reported_cost",
}
# Attributes of an event that a scope may be split by.
SCOPE_ATTRIBUTES = (
    "sub_account_id", "team", "project", "environment", "cost_center", "initiative", "experiment_id", "feature",
    "customer_id", "user_intent", "principal_id", "credential_id", "service_name", "resource_id", "commitment_id",
    "deployment", "model_version", "request_model", "response_model", "operation_name", "region", "accelerator",
    "service_tier", "accuracy_class", "latency_class", "criticality", "run_id",
)  # fmt: skip
