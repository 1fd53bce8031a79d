"""`python -m chargeline.budgets`: keeps the state of every budget until it is asked to stop."""

from chargeline.budgets.app import build
from chargeline.budgets.settings import BudgetsSettings
from chargeline.domain.errors import TransientError
from chargeline.runtime.service import run


def main(argv: list[str] | None = None) -> int:
    return run("budgets", BudgetsSettings, build, TransientError, argv)  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
