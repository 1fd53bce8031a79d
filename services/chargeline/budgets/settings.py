"""Settings of the budgets service."""

from pydantic import Field, PositiveInt

from chargeline.runtime.settings import ServiceSettings


class BudgetsSettings(ServiceSettings):
    """Environment: CHARGELINE_<NAME>; what only this service has begins with BUDGETS_."""

    budgets_group: str = Field("chargeline-budgets", description="Consumer group.")
    budgets_messages: PositiveInt = Field(256, description="Most messages of cost-rollups taken at once.")
    budgets_every_ms: PositiveInt = Field(1_000, description="Budgets are judged, and documents written, so often.")
    budgets_session_timeout_ms: PositiveInt = Field(10_000, description="After so long without a sign it is replaced.")
