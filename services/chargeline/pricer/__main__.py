"""`python -m chargeline.pricer`: turns usage events into charges until it is asked to stop."""

from chargeline.domain.errors import TransientError
from chargeline.pricer.app import build
from chargeline.pricer.settings import PricerSettings
from chargeline.runtime.service import run


def main(argv: list[str] | None = None) -> int:
    return run("pricer", PricerSettings, build, TransientError, argv)  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
