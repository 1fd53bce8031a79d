"""Settings of the sink."""

from pydantic import Field, PositiveInt

from chargeline.runtime.settings import ServiceSettings


class SinkSettings(ServiceSettings):
    """Environment: CHARGELINE_<NAME>; what only the sink has begins with SINK_."""

    sink_group: str = Field("chargeline-sink", description="Consumer group.")
    sink_messages: PositiveInt = Field(128, description="Most messages taken from a topic at once; a unit may have 40.")
    sink_inserts: PositiveInt = Field(4, description="Most inserts in flight for a topic; one for each partition.")
    sink_session_timeout_ms: PositiveInt = Field(10_000, description="After so long without a sign it is replaced.")
