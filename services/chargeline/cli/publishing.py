"""What the commands share that check files and publish them as facts: reading, telling problems, the governance log."""

import getpass
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader, GovernanceWriter
from chargeline.adapters.kafka import KafkaLogReader
from chargeline.adapters.registry import SchemaRegistry
from chargeline.cli.common import print_json
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.errors import Refused
from chargeline.domain.governance import Fact
from chargeline.domain.rates.card import instant
from chargeline.runtime.stack import Stack

FUTURE_BOUND_MS = 300_000
FACT_BYTES_MAX = 15_000_000  # governance-log takes records of 16 MiB
T = TypeVar("T")
_SUBJECT = "governance-log-value"
Files = Annotated[list[Path], typer.Argument(help="The files, YAML or JSON.", exists=True, dir_okay=False)]
File = Annotated[Path, typer.Argument(help="The file, YAML or JSON.", exists=True, dir_okay=False)]
Wait = Annotated[bool, typer.Option(help="Return when what was published is visible to new events.")]
Author = Annotated[str | None, typer.Option(help="Who publishes (default: the user of this machine).")]


class AlreadyPublished(Exception):
    """The very same is in the log already."""


def stderr() -> Console:
    """Standard error without wrapping, so that a message stays one line."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def read_text(path: Path) -> str:
    """The text of a file. Raises BadDocument if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadDocument([Problem("NOT_UTF8", f"{path} is not UTF-8")]) from error


def in_file(path: Path, problems: Sequence[Problem]) -> BadDocument:
    """The same problems with the name of their file."""
    return BadDocument([replace(each, message=f"{path}: {each.message}") for each in problems])


def check(
    files: Sequence[Path],
    read: Callable[[Path], T],
    problems_of: Callable[[T], Sequence[Problem]] = lambda _: (),
    *,
    as_json: bool,
) -> None:
    """Tell the problems of all files: those for which `read` raises BadDocument, and those of what it returns.

    Exit code 2 if one is wrong.
    """
    found: list[tuple[Path, Sequence[Problem]]] = []
    for path in files:
        try:
            found.append((path, problems_of(read(path))))
        except BadDocument as error:
            found.append((path, error.problems))
    tell(found, as_json=as_json)


def tell(found: Sequence[tuple[Path, Sequence[Problem]]], *, as_json: bool) -> None:
    """Print every problem with its file and place; exit code 2 if one is more than a warning."""
    rows: list[dict[str, Any]] = [{"file": str(path), **asdict(each)} for path, problems in found for each in problems]
    if as_json:
        print_json(rows)
    for row in () if as_json else rows:
        kind = "[yellow]warning[/yellow] " if row["warning"] else ""
        stderr().print(f"{row['file']}:{row['line']}:{row['column']} {kind}[bold]{row['code']}[/bold] {row['message']}")
    if not rows and not as_json:
        stderr().print("[green]no problems[/green]")
    if any(not row["warning"] for row in rows):
        raise typer.Exit(2)


@contextmanager
def problems_told(path: Path, *, as_json: bool) -> Iterator[None]:
    """Tell why a file is not published as `validate` would; exit code 2."""
    try:
        yield
    except BadDocument as error:
        tell([(path, error.problems)], as_json=as_json)
        raise typer.Exit(2) from error


def warn(path: Path, problems: Sequence[Problem]) -> None:
    """Print the warnings of a file that is published all the same."""
    for each in problems:
        stderr().print(f"{path}:{each.line}:{each.column} [yellow]warning[/yellow] {each.code} {each.message}")


@contextmanager
def governance_log(stack: Stack, clock: SystemClock) -> Iterator[GovernanceReader]:
    """The governance log, read up to now."""
    reader = KafkaLogReader(stack.kafka)
    try:
        governance = GovernanceReader(reader, clock, max_clock_skew_ms=0)
        governance.refresh()
        yield governance
    finally:
        reader.close()


def governance_writer(stack: Stack, governance: GovernanceReader, author: str | None) -> GovernanceWriter:
    """A writer in the name of a person. Raises Refused if the stack does not know the record yet."""
    number = SchemaRegistry(stack.registry).id_of(_SUBJECT)
    if number is None:
        raise Refused("NOT_REGISTERED", f"{_SUBJECT} is not in the schema registry: run `chargeline up`")
    return GovernanceWriter(stack.kafka, governance, number, author or user_name())


def recorded_fact(fact: Fact, stack: Stack) -> dict[str, Any]:
    """A new fact for machines: its place in the log, when that took it, and from when on new events see it."""
    visible = fact.recorded_time + stack.governance_margin_ms
    return {
        "published": True,
        "sequence": fact.sequence,
        "recorded_time": instant(fact.recorded_time * 1000),
        "visible_from": instant(visible * 1000),
    }


def wait_until_visible(recorded_ms: int, stack: Stack, clock: SystemClock) -> None:
    """Return when any event appended from now on sees a fact recorded then."""
    clock.sleep(max(0.0, (recorded_ms + stack.governance_margin_ms - clock.now_ms()) / 1000))


def instant_argument(text: str) -> int:
    """Microseconds since 1970 UTC of an argument such as 2026-06-01T00:00:00Z, or of a date."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is not an instant such as 2026-06-01T00:00:00Z") from error
    if moment.tzinfo is None and len(text) != len("2026-06-01"):
        raise typer.BadParameter(f"{text} has no time zone: write 2026-06-01T00:00:00Z")
    since = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def user_name() -> str:
    """The login name; containers often run as a number without one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
