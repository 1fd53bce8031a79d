"""`chargeline …`: the front door. Each command is a file of this room with a `register` function."""

import inspect
import sys
from importlib import import_module

import typer
from rich.console import Console
from rich.markup import escape

from chargeline.domain.documents import BadDocument
from chargeline.domain.errors import ChargelineError, Refused

PANELS = {
    "Run": ("stack", "status", "doctor", "state", "migrate"),
    "Send usage": ("replay", "generate", "normalise"),
    "Prices and accounts": ("rates", "accounts", "fx", "catalogue", "price", "prorate", "rerate"),
    "Look": ("top", "query", "tail", "dlq", "explain", "verify"),
    "Watch": ("anomalies", "anomaly", "budgets", "notify"),
}
COMMANDS = tuple(name for names in PANELS.values() for name in names)
_ROOMS = {"up": "stack", "down": "stack"}


def build(arguments: list[str]) -> typer.Typer:
    """The commands; of a named one only its own file is imported, because some need heavy libraries."""
    app = typer.Typer(name="chargeline", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

    @app.callback()
    def chargeline() -> None:
        """Exactly-once, explainable charges for AI usage."""

    wanted = arguments[0] if arguments else ""
    name = _ROOMS.get(wanted, wanted)
    for panel, names in PANELS.items():
        for module in names if name not in COMMANDS else {name}.intersection(names):
            commands, groups = len(app.registered_commands), len(app.registered_groups)
            import_module(f"chargeline.cli.{module}").register(app)
            for command in app.registered_commands[commands:]:
                command.rich_help_panel = panel
            for group in app.registered_groups[groups:]:
                group.rich_help_panel = panel
    _reflow(app)
    return app


def _reflow(app: typer.Typer) -> None:
    """Give the help of each command lines as long as the terminal is wide, not as those of the source."""
    for command in app.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _reflow(group.typer_instance)


def main() -> None:
    """Run a command; a refusal or fault is one line on standard error and exit code 1."""
    console = Console(stderr=True)
    try:
        build(sys.argv[1:])()
    except Refused as error:
        console.print(f"[red]{error.code}[/red] {escape(error.reason)}", highlight=False)
        sys.exit(1)
    except BadDocument as error:
        for problem in error.problems:
            console.print(
                f"{problem.line}:{problem.column} [red]{problem.code}[/red] {escape(problem.message)}", highlight=False
            )
        sys.exit(2)
    except ChargelineError as error:
        console.print(f"[red]{type(error).__name__}[/red] {escape(str(error))}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
