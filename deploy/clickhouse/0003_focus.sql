-- FOCUS 1.4, Cost and Usage, chargeback mode: one row for each hour, price point and owner. UNRATED charges are not
-- exported: their cost may not be null here, and 0 would be a placeholder. Dimensions of ours stand in Tags.

CREATE OR REPLACE VIEW focus_cost_and_usage AS
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
    toJSONString(map('x_ModelId', request_model)) AS SkuPriceDetails,
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
    service_tier AS x_ServiceTier
FROM
(
    SELECT
        *,
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
    rate_card_id, rate_card_version, service_tier;
