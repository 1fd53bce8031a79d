"""`python -m chargeline.anomaly`: watches the panes for anomalies of cost until it is asked to stop."""

from chargeline.anomaly.app import build
from chargeline.anomaly.settings import AnomalySettings
from chargeline.domain.errors import TransientError
from chargeline.runtime.service import run


def main(argv: list[str] | None = None) -> int:
    return run("anomaly", AnomalySettings, build, TransientError, argv)  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
