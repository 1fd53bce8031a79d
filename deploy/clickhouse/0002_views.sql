-- Reports: plain views over the panes. Panes are deltas, so sum() is right at every moment and FINAL is never needed.

CREATE OR REPLACE VIEW cost_hourly AS
SELECT
    toStartOfHour(window_start) AS hour, billing_account_id, sub_account_id, team, project, environment, feature, experiment_id, deployment, request_model,
    sku_id, billing_currency,
    sum(billed_cost) AS billed_cost, sum(list_cost) AS list_cost, sum(consumed_quantity) AS consumed_quantity,
    sum(event_count) AS event_count, sum(error_count) AS error_count, sum(unrated_count) AS unrated_count
FROM cost_rollups
GROUP BY ALL;

CREATE OR REPLACE VIEW cost_daily AS
SELECT
    toStartOfDay(window_start) AS day, billing_account_id, sub_account_id, team, project, environment, feature, experiment_id, deployment, request_model,
    sku_id, billing_currency,
    sum(billed_cost) AS billed_cost, sum(list_cost) AS list_cost, sum(consumed_quantity) AS consumed_quantity,
    sum(event_count) AS event_count, sum(error_count) AS error_count, sum(unrated_count) AS unrated_count
FROM cost_rollups
GROUP BY ALL;

CREATE OR REPLACE VIEW performance_hourly AS
SELECT
    toStartOfHour(window_start) AS hour, billing_account_id, sub_account_id, team, project, environment, feature, experiment_id, deployment, request_model,
    sum(event_count) AS event_count, sum(request_count) AS request_count, sum(error_count) AS error_count,
    sum(retry_count) AS retry_count, sum(input_tokens) AS input_tokens, sum(cache_read_tokens) AS cache_read_tokens,
    sum(output_tokens) AS output_tokens, sum(duration_ms_sum) AS duration_ms_sum,
    sumMap(`duration_ms_histogram.bucket`, `duration_ms_histogram.count`) AS duration_ms_histogram,
    sumMap(`time_to_first_token_ms_histogram.bucket`, `time_to_first_token_ms_histogram.count`)
        AS time_to_first_token_ms_histogram
FROM performance_rollups
GROUP BY ALL;

CREATE OR REPLACE VIEW cost_daily_performance AS
SELECT
    cost.day AS day, cost.team AS team, cost.request_model AS request_model, cost.billing_currency AS billing_currency,
    cost.billed_cost AS billed_cost, performance.event_count AS event_count, performance.error_count AS error_count
FROM
(
    SELECT toStartOfDay(window_start) AS day, team, request_model, billing_currency, sum(billed_cost) AS billed_cost
    FROM cost_rollups WHERE billing_currency IS NOT NULL GROUP BY ALL
) AS cost
LEFT JOIN
(
    SELECT toStartOfDay(window_start) AS day, team, request_model,
        sum(event_count) AS event_count, sum(error_count) AS error_count
    FROM performance_rollups GROUP BY ALL
) AS performance
ON cost.day = performance.day AND cost.team IS NOT DISTINCT FROM performance.team
    AND cost.request_model = performance.request_model;
