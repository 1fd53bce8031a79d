"""What the settings of every service have in common. Secrets never appear in a log or an error text."""

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Addresses and rules that hold for a whole installation. Environment: CHARGELINE_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="CHARGELINE_", frozen=True, extra="ignore")

    kafka: str = Field(description="Bootstrap servers, host:port, separated by commas.")
    registry: str = Field(description="URL of the schema registry (Confluent's API).")
    redis_url: str = Field(
        description="redis://host:port/db of the state store; user and password by their own fields."
    )
    redis_user: str | None = Field(None, description="User of the state store.")
    redis_password: SecretStr | None = Field(None, description="Password of the state store.")
    clickhouse_url: str = Field(description="http(s)://host:port of ClickHouse.")
    clickhouse_user: str = Field("default", description="User that may write the tables.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="Its password.")
    governance_margin_ms: NonNegativeInt = Field(10_000, description="A fact is visible so long after it was recorded.")
    future_bound_ms: PositiveInt = Field(300_000, description="How far event_time may lie beyond the append time.")
    max_clock_skew_ms: NonNegativeInt = Field(2_000, description="Most that broker and service clocks may differ.")
    accounts_required: bool = Field(
        False, description="An event of an account without facts is UNRATED, UNKNOWN_ACCOUNT; the same everywhere."
    )
    control_sources: str = Field(
        "chargeline", description="Sources that may close billing periods, by commas; the same everywhere."
    )
    window_s: PositiveInt = Field(60, description="Length of a tumbling window, in seconds.")
    watermark_bound_s: PositiveInt = Field(60, description="The watermark trails the newest event_time by so much.")
    metrics_host: str = Field("127.0.0.1", description="Where /metrics, /healthz and /readyz listen; 0.0.0.0: all.")
    metrics_port: int = Field(0, ge=0, le=65_535, description="Their port; 0: a free one, which the log names.")
    health_step_s_max: PositiveFloat = Field(60.0, description="/healthz fails once a loop was silent for so long.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
