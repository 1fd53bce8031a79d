"""A rate card with every charge model, equal to the one of the format's description (spec/formats.md 2)."""

FULL_CARD = """\
id: house-list
version: 1
currency: USD
effective_from: 2026-01-01T00:00:00Z
effective_to: null
scope: {account: acme}
aliases:
  - {provider_name: openai, alias: gpt-4o-2024-08-06, model: gpt-4o}
status_policy: {ERROR: bill_full, CANCELLED: bill_full, PARTIAL: bill_full}
focus: {service_name: Model API, service_category: AI and Machine Learning, service_subcategory: Generative AI}
skus:
  - sku_id: gpt-4o/input
    match: {provider_name: openai, models: [gpt-4o]}
    leaf: input
    charge_model: per_unit
    unit_price: 2.50
    pricing_unit: 1000000 Tokens
    modifiers:
      - {attribute: service_tier, factors: {standard: 1, priority: 1.5, "*": 1}}
      - attribute: time_band
        time_zone: Europe/Berlin
        bands: [{weekdays: [MON, TUE, WED, THU, FRI], from: "22:00", to: "06:00", factor: 0.8}]
  - sku_id: gpt-4o/input
    variant: batch
    match: {provider_name: openai, models: [gpt-4o], service_tier: batch}
    leaf: input
    charge_model: per_unit
    unit_price: 1.25
    pricing_unit: 1000000 Tokens
  - sku_id: gpt-4o/output
    match: {provider_name: openai, models: [gpt-4o]}
    leaf: output
    charge_model: per_unit
    unit_price: "10.00"
    pricing_unit: 1000000 Tokens
    discounts: [{percent: 10}]
    status_policy: {ERROR: bill_zero}
  - sku_id: long/input
    match: {provider_name: openai, model_prefix: long-}
    leaf: input
    charge_model: threshold
    base: 1.2
    thresholds: [{above: 128000, price: 2.4}]
    pricing_unit: 1000000 Tokens
  - sku_id: seats
    charge_model: flat
    amount: 60
    bill_in: arrears
    pricing_unit: Seats
  - sku_id: pages
    match: {provider_name: house, models: [ocr]}
    quantity: pages
    charge_model: package
    package_price: 7
    package_size: 48
    package_round: up
    free_units: 12
    pricing_unit: Pages
  - sku_id: calls
    match: {provider_name: house, models: [planner]}
    quantity: tool_calls
    charge_model: graduated
    tiers:
      - {up_to: 40, unit_price: 0.7, flat_fee: 9}
      - {up_to: 90, unit_price: 0.55, flat_fee: 4}
      - {up_to: null, unit_price: 0.3, flat_fee: 1.5}
    pricing_unit: Calls
    minimum: 20
    maximum: 100
    window: billing_period
    scope_by: [project]
  - sku_id: images
    match: {provider_name: house, models: [draw]}
    quantity: images
    charge_model: volume
    tiers:
      - {up_to: 300, unit_price: 2, block_size: 25}
      - {up_to: null, unit_price: 6, block_size: 100}
    pricing_unit: Images
  - sku_id: payments
    match: {provider_name: house, models: [checkout]}
    quantity: transaction_amount
    charge_model: percentage
    rate_percent: 2.4
    fixed: 0.30
    free_events: 2
    free_amount: 120
    per_event_min: null
    per_event_max: null
    pricing_unit: USD
  - sku_id: marketplace
    match: {provider_name: house, models: [market]}
    quantity: transaction_amount
    charge_model: graduated_percentage
    tiers: [{up_to: 500, rate_percent: 1.5, flat_fee: 3}, {up_to: null, rate_percent: 0.8, flat_fee: 2}]
    pricing_unit: USD
  - sku_id: gateway
    match: {provider_name: gateway, models: [routed]}
    quantity: reported_cost
    charge_model: dynamic
    dynamic: true
    price_sources: [gateway-1]
    pricing_unit: USD
  - sku_id: resale
    match: {provider_name: reseller, models: [any]}
    quantity: reported_cost
    charge_model: cost_plus
    multiplier: 1.15
    pricing_unit: USD
  - sku_id: gpu-h100
    match: {provider_name: house, models: [h100-job], accelerator: h100}
    quantity: gpu_ms
    charge_model: per_unit
    unit_price: 2.20
    pricing_unit: GPU-Hours
"""


def sku_card(sku: str, **more: str) -> str:
    """A card of one SKU, given as the inside of a flow mapping; `more` are further keys of the card."""
    head = {
        "id": "one",
        "version": "1",
        "currency": "USD",
        "effective_from": "2026-01-01T00:00:00Z",
        "scope": "default",
    }
    lines = [f"{key}: {value}" for key, value in (head | more).items()]
    return "\n".join([*lines, "skus:", f"  - {{{sku}}}", ""])
