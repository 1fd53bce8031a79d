-- FOCUS 1.4, Cost and Usage, chargeback mode: one row for each hour, price point and owner. UNRATED charges are not
-- exported: their cost may not be null here, and 0 would be a placeholder. Dimensions of ours stand in Tags; an empty
-- text is null. Cost must be price times quantity within 1E-9 of the cost, or of 1 below it: an entry that its rounding
-- puts further off than 1E-9 of its own cost is a row of its own, because a sum of many such entries would miss that.

CREATE OR REPLACE VIEW focus_cost_and_usage AS
WITH (cost, price, quantity) ->
    abs(CAST(price, 'Decimal(76, 18)') * quantity - cost) > abs(cost) * CAST('0.000000001', 'Decimal(76, 9)') AS misses
SELECT
    sum(entry_contracted_cost) AS BilledCost,
    billing_account_id AS BillingAccountId,
    CAST(NULL, 'Nullable(String)') AS BillingAccountName,
    billing_currency AS BillingCurrency,
    formatDateTime(billing_period_end, '%Y-%m-%dT%H:%i:%SZ') AS BillingPeriodEnd,
    formatDateTime(billing_period_start, '%Y-%m-%dT%H:%i:%SZ') AS BillingPeriodStart,
    'Usage' AS ChargeCategory,
    if(charge_class = 'CORRECTION', 'Correction', NULL) AS ChargeClass,
    concat(sku_id, ' (', pricing_unit, ')') AS ChargeDescription,
    'Usage-Based' AS ChargeFrequency,
    formatDateTime(toStartOfHour(event_time) + INTERVAL 1 HOUR, '%Y-%m-%dT%H:%i:%SZ') AS ChargePeriodEnd,
    formatDateTime(toStartOfHour(event_time), '%Y-%m-%dT%H:%i:%SZ') AS ChargePeriodStart,
    sum(entry_consumed_quantity) AS ConsumedQuantity,
    consumed_unit AS ConsumedUnit,
    sum(entry_contracted_cost) AS ContractedCost,
    contracted_unit_price AS ContractedUnitPrice,
    sum(entry_contracted_cost) AS EffectiveCost,
    provider_name AS HostProviderName,
    'Chargeline' AS InvoiceIssuerName,
    sum(entry_list_cost) AS ListCost,
    list_unit_price AS ListUnitPrice,
    'Standard' AS PricingCategory,
    sum(entry_pricing_quantity) AS PricingQuantity,
    pricing_unit AS PricingUnit,
    region AS RegionId,
    region AS RegionName,
    resource_id AS ResourceId,
    resource_id AS ResourceName,
    'AI and Machine Learning' AS ServiceCategory,
    concat(provider_name, ' API') AS ServiceName,
    provider_name AS ServiceProviderName,
    'Generative AI' AS ServiceSubcategory,
    sku_id AS SkuId,
    leaf AS SkuMeter,
    CAST(NULL, 'Nullable(String)') AS SkuPriceDetails,
    sku_price_id AS SkuPriceId,
    sub_account_id AS SubAccountId,
    sub_account_id AS SubAccountName,
    tags AS Tags,
    uniqExact(source_partition, source_offset, source_index) AS x_EventCount,
    match_kind AS x_MatchKind,
    operation_name AS x_OperationName,
    provider_name AS x_ProviderName,
    rate_card_id AS x_RateCardId,
    rate_card_version AS x_RateCardVersion,
    request_model AS x_RequestModel,
    service_tier AS x_ServiceTier
FROM
(
    SELECT
        * REPLACE (
            nullIf(region, '') AS region, nullIf(resource_id, '') AS resource_id,
            nullIf(service_tier, '') AS service_tier, nullIf(sub_account_id, '') AS sub_account_id),
        toJSONString(mapFilter((k, v) -> v != '', mapUpdate(CAST(labels, 'Map(String, String)'), map(
            'chargeline/team', ifNull(team, ''), 'chargeline/project', ifNull(project, ''),
            'chargeline/environment', ifNull(environment, ''), 'chargeline/cost_center', ifNull(cost_center, ''),
            'chargeline/initiative', ifNull(initiative, ''), 'chargeline/experiment_id', ifNull(experiment_id, ''),
            'chargeline/feature', ifNull(feature, ''), 'chargeline/deployment', ifNull(deployment, ''))))) AS tags
    FROM charges
    WHERE outcome = 'CHARGED'
)
ARRAY JOIN
    `entries.sku_id` AS sku_id, `entries.sku_price_id` AS sku_price_id, `entries.rate_card_id` AS rate_card_id,
    `entries.rate_card_version` AS rate_card_version, `entries.leaf` AS leaf,
    `entries.consumed_quantity` AS entry_consumed_quantity, `entries.consumed_unit` AS consumed_unit,
    `entries.pricing_quantity` AS entry_pricing_quantity, `entries.pricing_unit` AS pricing_unit,
    `entries.list_unit_price` AS list_unit_price, `entries.contracted_unit_price` AS contracted_unit_price,
    `entries.list_cost` AS entry_list_cost, `entries.contracted_cost` AS entry_contracted_cost
GROUP BY
    BillingAccountId, BillingCurrency, BillingPeriodEnd, BillingPeriodStart, ChargeClass, ChargePeriodEnd,
    ChargePeriodStart, consumed_unit, contracted_unit_price, list_unit_price, pricing_unit, region, resource_id,
    provider_name, sku_id, leaf, request_model, sku_price_id, sub_account_id, tags, match_kind, operation_name,
    rate_card_id, rate_card_version, service_tier,
    if(misses(entry_list_cost, list_unit_price, entry_pricing_quantity)
        OR misses(entry_contracted_cost, contracted_unit_price, entry_pricing_quantity),
        (source_partition, source_offset, source_index), (-1, -1, -1));
