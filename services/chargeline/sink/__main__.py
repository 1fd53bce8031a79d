"""`python -m chargeline.sink`: moves charges, panes and dead letters into ClickHouse until it is asked to stop."""

from chargeline.domain.errors import TransientError
from chargeline.runtime.service import run
from chargeline.sink.app import build
from chargeline.sink.settings import SinkSettings


def main(argv: list[str] | None = None) -> int:
    return run("sink", SinkSettings, build, TransientError, argv)  # type: ignore[arg-type]


if __name__ == "__main__":
    raise SystemExit(main())
