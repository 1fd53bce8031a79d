"""Rate cards for tests, as people write them."""

CARD = """
id: test-list
version: 1
currency: USD
effective_from: 2023-01-01T00:00:00Z
scope: default
aliases:
  - {provider_name: openai, alias: b, model: gpt-4o}
skus:
  - {sku_id: gpt-4o/input, match: {provider_name: openai, models: [gpt-4o]}, leaf: input,
     charge_model: per_unit, unit_price: "2.50", pricing_unit: 1000000 Tokens}
  - {sku_id: gpt-4o/input, variant: batch, match: {provider_name: openai, models: [gpt-4o], service_tier: batch},
     leaf: input, charge_model: per_unit, unit_price: "1.25", pricing_unit: 1000000 Tokens}
  - {sku_id: gpt-4o/cached, match: {provider_name: openai, models: [gpt-4o]}, leaf: cache_read_input,
     charge_model: per_unit, unit_price: "0.1234567891", pricing_unit: 1000000 Tokens}
  - {sku_id: gpt-4o/output, match: {provider_name: openai, models: [gpt-4o]}, leaf: output,
     charge_model: per_unit, unit_price: "10.00", pricing_unit: 1000000 Tokens}
  - {sku_id: mini/input, match: {provider_name: openai, models: [gpt-4o-mini]}, leaf: input,
     charge_model: per_unit, unit_price: "0.15", pricing_unit: 1000000 Tokens}
  - {sku_id: long/input, match: {provider_name: openai, model_prefix: long-}, leaf: input, charge_model: threshold,
     base: 1.2, thresholds: [{above: 128000, price: 2.4}], pricing_unit: 1000000 Tokens}
  - {sku_id: long/cached, match: {provider_name: openai, model_prefix: long-}, leaf: cache_read_input,
     charge_model: threshold, base: 0.12, thresholds: [{above: 128000, price: 0.24}], pricing_unit: 1000000 Tokens}
  - {sku_id: long/output, match: {provider_name: openai, model_prefix: long-}, leaf: output,
     charge_model: threshold, base: 6, thresholds: [{above: 128000, price: 9}], pricing_unit: 1000000 Tokens}
  - {sku_id: gpu, match: {provider_name: openai, models: [gpu]}, quantity: gpu_ms,
     charge_model: per_unit, unit_price: 2.20, pricing_unit: GPU-Hours}
  - {sku_id: searches, match: {provider_name: openai, models: [gpt-4o, gpt-4o-mini]}, quantity: web_searches,
     charge_model: graduated, tiers: [{up_to: 40, unit_price: "0.7", flat_fee: 9}, {up_to: 150, unit_price: "0.55",
     flat_fee: 4}, {up_to: null, unit_price: "0.3"}], maximum: 120, pricing_unit: Searches}
"""

ACCOUNT_CARD = """
id: contract
version: 1
currency: USD
effective_from: 2023-01-01T00:00:00Z
scope: {account: account-7}
skus:
  - {sku_id: gpt-4o/input, match: {provider_name: openai, models: [gpt-4o]}, leaf: input,
     charge_model: per_unit, unit_price: "2.00", pricing_unit: 1000000 Tokens}
"""
