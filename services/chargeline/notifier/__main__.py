"""`python -m chargeline.notifier`: sends the alerts of cost-anomalies to their channels until it is asked to stop."""

from chargeline.domain.errors import TransientError
from chargeline.notifier.app import build
from chargeline.notifier.settings import NotifierSettings
from chargeline.runtime.service import run


def main(argv: list[str] | None = None) -> int:
    return run("notifier", NotifierSettings, build, TransientError, argv)  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
