"""Settings of the anomaly service."""

from decimal import Decimal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from chargeline.runtime.settings import ServiceSettings


class AnomalySettings(ServiceSettings):
    """Environment: CHARGELINE_<NAME>; what only the anomaly service has begins with ANOMALY_."""

    anomaly_group: str = Field("chargeline-anomaly", description="Consumer group; also the prefix of its changelog.")
    anomaly_window_s: PositiveInt = Field(300, description="Length of a detection window; a multiple of window_s.")
    anomaly_dimensions: str = Field(
        "team;project;request_model;feature;experiment_id",
        description="What is watched of each account: sets of dimensions, the names of one joined by commas.",
    )
    anomaly_series_max: PositiveInt = Field(100_000, description="Series watched at most, of each source partition.")
    anomaly_full_max: NonNegativeInt = Field(2_000, description="Of them, the largest ones with the full detector.")
    anomaly_minimum_impact: Decimal = Field(Decimal(1), ge=0, description="Money below which nothing is told; 0: all.")
    anomaly_minimum_impact_by_team: dict[str, Decimal] = Field(
        default_factory=dict, description='The same for teams, as JSON: {"account/team": "25"}.'
    )
    anomaly_runaway_factor: PositiveFloat = Field(3.0, description="Times what is usual by a moment of an open window.")
    anomaly_young_factor: PositiveFloat = Field(4.0, description="Times the largest spend so far of a new series.")
    anomaly_idle_s: PositiveFloat = Field(120.0, description="Windows complete after so long without a unit.")
    anomaly_snapshot_s: PositiveFloat = Field(180.0, description="The state is stored every so often.")
    anomaly_bases: NonNegativeInt = Field(100, description="Full detectors whose state is stored with each snapshot.")
    anomaly_session_timeout_ms: PositiveInt = Field(10_000, description="After so long without a sign it is replaced.")
    anomaly_replication: PositiveInt = Field(1, description="Replication factor of the changelog, when it is created.")

    @field_validator("anomaly_dimensions")
    @classmethod
    def _known(cls, text: str) -> str:
        from chargeline.domain.anomaly.panes import DIMENSIONS  # noqa: PLC0415 - settings stay light

        unknown = [name for part in text.split(";") for name in part.split(",") if name and name not in DIMENSIONS]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no dimensions of panes; those are {', '.join(DIMENSIONS)}")
        return text

    def sets(self) -> tuple[tuple[str, ...], ...]:
        """`anomaly_dimensions` as sets."""
        return tuple(tuple(part.split(",")) for part in self.anomaly_dimensions.split(";") if part)
