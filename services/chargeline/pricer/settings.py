"""Settings of the pricer."""

from pydantic import Field, PositiveFloat, PositiveInt

from chargeline.runtime.settings import ServiceSettings


class PricerSettings(ServiceSettings):
    """Environment: CHARGELINE_<NAME>; what only the pricer has begins with PRICER_."""

    pricer_slot: int = Field(0, ge=0, description="Number of this pricer, unique among those that run: its writer id.")
    pricer_group: str = Field("chargeline-pricer", description="Consumer group; also the prefix of the writer id.")
    pricer_unit_records: PositiveInt = Field(100_000, description="Most records in one commit unit.")
    pricer_poll_s: PositiveFloat = Field(0.2, description="Longest wait for a unit to fill, in seconds.")
    pricer_session_timeout_ms: PositiveInt = Field(10_000, description="After so long without a sign it is replaced.")
    pricer_close_rows_max: PositiveInt = Field(250_000, description="Charges that one close may read: 10 kB each.")
    pricer_dedupe_max_ids: PositiveInt = Field(200_000_000, description="Identities a partition may remember.")
