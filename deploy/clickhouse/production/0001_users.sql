-- SQL users of a ClickHouse server (the embedded engine has none): a reader for BI. Set its password afterwards:
--   ALTER USER chargeline_bi IDENTIFIED WITH sha256_password BY '…';
CREATE ROLE IF NOT EXISTS chargeline_reader SETTINGS readonly = 1;
GRANT SELECT ON charges TO chargeline_reader;
GRANT SELECT ON cost_rollups TO chargeline_reader;
GRANT SELECT ON performance_rollups TO chargeline_reader;
GRANT SELECT ON cost_hourly TO chargeline_reader;
GRANT SELECT ON cost_daily TO chargeline_reader;
GRANT SELECT ON performance_hourly TO chargeline_reader;
GRANT SELECT ON focus_cost_and_usage TO chargeline_reader;
CREATE USER IF NOT EXISTS chargeline_bi IDENTIFIED WITH no_password HOST LOCAL DEFAULT ROLE chargeline_reader;
GRANT chargeline_reader TO chargeline_bi;
