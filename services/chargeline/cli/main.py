"""`chargeline …`: the front door. Each command is a file of this room with a `register` function."""

import sys
from importlib import import_module

import typer
from rich.console import Console

from chargeline.domain.documents import BadDocument
from chargeline.domain.errors import ChargelineError, Refused

COMMANDS = ("stack", "rates", "price", "replay", "generate", "query", "tail", "top", "dlq", "verify", "migrate")

app = typer.Typer(
    name="chargeline",
    help="Exactly-once, explainable charges for AI usage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for _name in COMMANDS:
    import_module(f"chargeline.cli.{_name}").register(app)


def main() -> None:
    """Run a command; a refusal or fault is one line on standard error and exit code 1."""
    console = Console(stderr=True)
    try:
        app()
    except Refused as error:
        console.print(f"[red]{error.code}[/red] {error.reason}", highlight=False)
        sys.exit(1)
    except BadDocument as error:
        for problem in error.problems:
            console.print(
                f"{problem.line}:{problem.column} [red]{problem.code}[/red] {problem.message}", highlight=False
            )
        sys.exit(2)
    except ChargelineError as error:
        console.print(f"[red]{type(error).__name__}[/red] {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
