-- Bills show a sampled part with its standard error: the root of the sum of these variances. Null: nothing was sampled.

ALTER TABLE cost_rollups ADD COLUMN IF NOT EXISTS `cost_variance` Nullable(Decimal(38, 24)) AFTER `watermark`;

CREATE OR REPLACE VIEW cost_hourly AS
SELECT
    toStartOfHour(window_start) AS hour, billing_account_id, sub_account_id, team, project, environment, feature, experiment_id, deployment, request_model,
    sku_id, billing_currency,
    sum(billed_cost) AS billed_cost, sum(list_cost) AS list_cost, sum(consumed_quantity) AS consumed_quantity,
    sum(event_count) AS event_count, sum(error_count) AS error_count, sum(unrated_count) AS unrated_count,
    sum(cost_variance) AS cost_variance
FROM cost_rollups
GROUP BY ALL;

CREATE OR REPLACE VIEW cost_daily AS
SELECT
    toStartOfDay(window_start) AS day, billing_account_id, sub_account_id, team, project, environment, feature, experiment_id, deployment, request_model,
    sku_id, billing_currency,
    sum(billed_cost) AS billed_cost, sum(list_cost) AS list_cost, sum(consumed_quantity) AS consumed_quantity,
    sum(event_count) AS event_count, sum(error_count) AS error_count, sum(unrated_count) AS unrated_count,
    sum(cost_variance) AS cost_variance
FROM cost_rollups
GROUP BY ALL;
