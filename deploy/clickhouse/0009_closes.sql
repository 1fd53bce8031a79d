-- What closes book beside the rates (docs/rating.md, Closes): entries whose billed or effective cost is another than the
-- contracted one, about another event or about none; what the row is due to; what the close hands to the next one.

ALTER TABLE charges ADD COLUMN IF NOT EXISTS `entries.effective_cost` Array(Nullable(Decimal(38, 12))) DEFAULT `entries.contracted_cost` AFTER `entries.scope_count`;

ALTER TABLE charges ADD COLUMN IF NOT EXISTS `entries.billed_cost` Array(Nullable(Decimal(38, 12))) DEFAULT `entries.contracted_cost` AFTER `entries.effective_cost`;

ALTER TABLE charges ADD COLUMN IF NOT EXISTS `entries.event_id` Array(Nullable(String)) DEFAULT arrayMap(x -> NULL, `entries.leaf`) AFTER `entries.billed_cost`;

ALTER TABLE charges ADD COLUMN IF NOT EXISTS `rule_id` LowCardinality(Nullable(String)) AFTER `entries.event_id`;

ALTER TABLE charges ADD COLUMN IF NOT EXISTS `carried` Nullable(String) AFTER `rule_id`;

-- The view with them: x_Estimated is told of each entry; billed and effective cost are those of the entry, a credit still
-- has four equal ones; an entry without a SKU or a rate card has null there. The purchase of a commitment is one unit of a
-- SKU of its own, which costs what it is billed; what it covers later is an adjustment beside the usage, as a row of usage
-- needs a price.

CREATE OR REPLACE VIEW focus_cost_and_usage AS
WITH
    (cost, price, quantity) -> abs(CAST(price, 'Nullable(Decimal(76, 18))') * quantity - cost)
        > abs(cost) * CAST('0.000000001', 'Decimal(76, 9)') AS misses,
    (price, rate) -> CAST(
        round(CAST(price, 'Nullable(Decimal(76, 18))') * ifNull(rate, CAST(1, 'Decimal(38, 18)')), 18),
        'Nullable(Decimal(38, 18))') AS converted
SELECT
    sum(billed) AS BilledCost,
    billing_account_id AS BillingAccountId,
    CAST(NULL, 'Nullable(String)') AS BillingAccountName,
    billing_currency AS BillingCurrency,
    formatDateTime(period_end, '%Y-%m-%dT%H:%i:%SZ') AS BillingPeriodEnd,
    formatDateTime(period_start, '%Y-%m-%dT%H:%i:%SZ') AS BillingPeriodStart,
    category AS ChargeCategory,
    if(correction, 'Correction', NULL) AS ChargeClass,
    concat(ifNull(sku_id, ifNull(rule_id, '')), ' (', ifNull(if(kind = 'UNIT', unit, NULL), lower(replaceAll(kind, '_', ' '))), ')') AS ChargeDescription,
    multiIf(category = 'Purchase', 'Recurring', category = 'Credit', 'One-Time', 'Usage-Based') AS ChargeFrequency,
    formatDateTime(charge_end, '%Y-%m-%dT%H:%i:%SZ') AS ChargePeriodEnd,
    formatDateTime(charge_start, '%Y-%m-%dT%H:%i:%SZ') AS ChargePeriodStart,
    if(consumed_as IS NULL, NULL, sum(consumed)) AS ConsumedQuantity,
    consumed_as AS ConsumedUnit,
    sum(contracted) AS ContractedCost,
    contracted_price AS ContractedUnitPrice,
    sum(effective) AS EffectiveCost,
    provider_name AS HostProviderName,
    'Chargeline' AS InvoiceIssuerName,
    sum(listed) AS ListCost,
    list_price AS ListUnitPrice,
    if(has_price, 'Standard', NULL) AS PricingCategory,
    pricing_currency AS PricingCurrency,
    price_of_card AS PricingCurrencyContractedUnitPrice,
    sum(priced) AS PricingCurrencyEffectiveCost,
    list_price_of_card AS PricingCurrencyListUnitPrice,
    sum(quantity) AS PricingQuantity,
    unit AS PricingUnit,
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
    sum(if(number = 1, cost_variance, NULL)) AS x_CostVariance,
    kind AS x_EntryKind,
    is_estimate AS x_Estimated,
    uniqExact(source_partition, source_offset, source_index) AS x_EventCount,
    match_kind AS x_MatchKind,
    operation_name AS x_OperationName,
    pool AS x_Pool,
    provider_name AS x_ProviderName,
    rate_card_id AS x_RateCardId,
    rate_card_version AS x_RateCardVersion,
    request_model AS x_RequestModel,
    service_tier AS x_ServiceTier,
    sum(waived) AS x_WaivedCost
FROM
(
    SELECT
        *, number, kind, pool,
        kind = 'STANDING_FEE' AND startsWith(ifNull(rule_id, ''), 'commitment:') AS is_promise,
        if(is_promise, rule_id, nullIf(entry_sku, '')) AS sku_id,
        if(is_promise, concat(rule_id, '/1'), entry_sku_price) AS sku_price_id, nullIf(entry_card, '') AS rate_card_id, nullIf(entry_leaf, '') AS leaf,
        if(rate_card_id IS NULL, NULL, entry_version) AS rate_card_version,
        if(kind = 'COVER', 'Adjustment', transform(entry_category, ['PURCHASE', 'CREDIT', 'ADJUSTMENT'],
            ['Purchase', 'Credit', 'Adjustment'], 'Usage')) AS category,
        ifNull(entry_class, charge_class) IS NOT DISTINCT FROM 'CORRECTION' AS correction,
        sku_price_id IS NOT NULL AS has_price,
        estimated AND (kind = 'REVERSAL' OR NOT has(`entries.entry_kind`, 'REVERSAL')) AS is_estimate,
        kind IN ('STANDING_FEE', 'TRUE_UP', 'TIER_SETTLEMENT', 'OVERAGE', 'COVER', 'CREDIT', 'FORFEIT', 'ROUNDING')
            AND entry_start IS NULL AS of_period,
        ifNull(entry_period_start, billing_period_start) AS period_start,
        ifNull(entry_period_end, billing_period_end) AS period_end,
        if(of_period, period_start, toStartOfHour(ifNull(entry_start, event_time))) AS charge_start,
        if(of_period, period_end, toStartOfHour(ifNull(entry_start, event_time)) + INTERVAL 1 HOUR) AS charge_end,
        ifNull(entry_currency, billing_currency) AS pricing_currency,
        ifNull(entry_billed, entry_contracted) AS billed,
        ifNull(entry_effective, entry_contracted) AS effective,
        if(category = 'Credit' OR is_promise, billed, entry_listed) AS listed,
        if(category = 'Credit' OR is_promise, billed, entry_contracted) AS contracted,
        multiIf(entry_waived IS NOT NULL, CAST(0, 'Decimal(38, 12)'), effective != entry_contracted, effective,
            ifNull(entry_pricing_cost, entry_contracted)) AS priced,
        entry_waived AS waived,
        if(is_promise, CAST(1, 'Nullable(Decimal(38, 12))'), if(has_price, entry_quantity, NULL)) AS quantity,
        if(is_promise, 'Fees', if(has_price, entry_unit, NULL)) AS unit,
        if(has_price AND category = 'Usage', entry_consumed, NULL) AS consumed,
        if(has_price AND category = 'Usage', nullIf(entry_consumed_unit, ''), NULL) AS consumed_as,
        multiIf(is_promise, CAST(billed, 'Nullable(Decimal(38, 18))'), NOT has_price, NULL,
            entry_waived IS NULL, entry_price, CAST(0, 'Decimal(38, 18)')) AS price_of_card,
        multiIf(is_promise, price_of_card, has_price, entry_list_price, NULL) AS list_price_of_card,
        converted(price_of_card, entry_fx) AS contracted_price,
        converted(list_price_of_card, entry_fx) AS list_price
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
    )
    ARRAY JOIN
        arrayEnumerate(`entries.leaf`) AS number, `entries.entry_kind` AS kind,
        `entries.charge_category` AS entry_category, `entries.charge_class` AS entry_class,
        `entries.charge_period_start` AS entry_start,
        `entries.billing_period_start` AS entry_period_start, `entries.billing_period_end` AS entry_period_end,
        `entries.sku_id` AS entry_sku, `entries.sku_price_id` AS entry_sku_price, `entries.rate_card_id` AS entry_card,
        `entries.rate_card_version` AS entry_version, `entries.leaf` AS entry_leaf,
        `entries.consumed_quantity` AS entry_consumed, `entries.consumed_unit` AS entry_consumed_unit,
        `entries.pricing_quantity` AS entry_quantity, `entries.pricing_unit` AS entry_unit,
        `entries.list_unit_price` AS entry_list_price, `entries.contracted_unit_price` AS entry_price,
        `entries.list_cost` AS entry_listed, `entries.contracted_cost` AS entry_contracted,
        `entries.pricing_currency` AS entry_currency, `entries.pricing_cost` AS entry_pricing_cost,
        `entries.effective_cost` AS entry_effective, `entries.billed_cost` AS entry_billed,
        `entries.fx_rate` AS entry_fx, `entries.waived_cost` AS entry_waived, `entries.pool` AS pool
)
GROUP BY
    BillingAccountId, BillingCurrency, BillingPeriodEnd, BillingPeriodStart, category, correction, ChargePeriodEnd,
    ChargePeriodStart, consumed_as, contracted_price, list_price, pricing_currency, price_of_card, list_price_of_card,
    has_price, unit, region, resource_id, provider_name, sku_id, rule_id, leaf, kind, pool, is_estimate, request_model, sku_price_id,
    sub_account_id, tags, match_kind, operation_name, rate_card_id, rate_card_version, service_tier,
    if(misses(listed, list_price, quantity) OR misses(contracted, contracted_price, quantity),
        (source_partition, source_offset, source_index), (-1, -1, -1));
