-- Updates of incidents, one row each; a repeated record is the same row, which a merge (or FINAL) removes.

CREATE TABLE IF NOT EXISTS cost_anomalies
(
    `anomaly_id` String,
    `sequence` Int64,
    `status` LowCardinality(String),
    `kind` LowCardinality(String),
    `kinds.name` Array(LowCardinality(String)),
    `severity` LowCardinality(String),
    `billing_account_id` LowCardinality(String),
    `billing_currency` LowCardinality(String),
    `dimensions` Map(String, String),
    `window_start` DateTime64(6, 'UTC'),
    `window_end` DateTime64(6, 'UTC'),
    `windows` Int64,
    `actual_cost` Decimal(38, 12),
    `expected_cost` Decimal(38, 12),
    `reference_cost` Decimal(38, 12),
    `impact` Decimal(38, 12),
    `value` Float64,
    `usual_value` Float64,
    `surprise` Float64,
    `volume_effect` Decimal(38, 12),
    `price_effect` Decimal(38, 12),
    `mix_effect` Decimal(38, 12),
    `contributors.dimension` Array(LowCardinality(String)),
    `contributors.value` Array(String),
    `contributors.actual_cost` Array(Decimal(38, 12)),
    `contributors.reference_cost` Array(Decimal(38, 12)),
    `contributors.volume_effect` Array(Decimal(38, 12)),
    `contributors.price_effect` Array(Decimal(38, 12)),
    `reasons.text` Array(String),
    `source_partition` Int32,
    `samples.unit_start` Array(Int64),
    `samples.unit_end` Array(Int64),
    `watermark` DateTime64(6, 'UTC'),
    `is_muted` Bool,
    `log_topic` LowCardinality(String),
    `log_partition` Int32,
    `log_offset` Int64,
    `unit_end` Int64,
    `unit_append_time` DateTime64(3, 'UTC')
)
ENGINE = {replacing}
PARTITION BY toYYYYMM(window_start)
ORDER BY (billing_account_id, anomaly_id, sequence)
SETTINGS {parts};

-- Every incident as its newest update tells it.
CREATE OR REPLACE VIEW anomalies AS
SELECT * FROM cost_anomalies FINAL
ORDER BY sequence DESC
LIMIT 1 BY anomaly_id;
