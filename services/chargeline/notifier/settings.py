"""Settings of the notifier."""

from pathlib import Path

from pydantic import Field, PositiveInt, field_validator

from chargeline.domain.alerts.routes import read_alerts
from chargeline.domain.documents import BadDocument
from chargeline.runtime.settings import ServiceSettings


class NotifierSettings(ServiceSettings):
    """Environment: CHARGELINE_<NAME>; what only the notifier has begins with NOTIFIER_."""

    notifier_config: Path = Field(description="File of channels and routes (docs/alerts.md).")
    notifier_group: str = Field("chargeline-notifier", description="Consumer groups begin with it, one a channel.")
    notifier_park_after_s: PositiveInt = Field(
        259_200, description="An alert that a channel has not taken for so many seconds goes to the dead letters."
    )
    notifier_session_timeout_ms: PositiveInt = Field(10_000, description="After so long without a sign it is replaced.")

    @field_validator("notifier_config")
    @classmethod
    def _usable(cls, path: Path) -> Path:
        try:
            read_alerts(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, BadDocument) as error:
            raise ValueError(f"{path}: {error}") from error
        return path
