"""`chargeline budgets …`: what an owner may spend in a period."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.governance import GovernanceReader
from chargeline.adapters.redis_budgets import RedisSpendStore
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows
from chargeline.cli.publishing import (
    AlreadyPublished,
    Author,
    Wait,
    governance_log,
    governance_writer,
    instant_argument,
    recorded_fact,
    stderr,
    wait_until_visible,
)
from chargeline.domain.budgets.budget import Budget, BudgetVersion, Scope, budget_of, budget_to_json, valid_budgets
from chargeline.domain.errors import Refused
from chargeline.domain.governance import GovernanceChain
from chargeline.domain.money import plain
from chargeline.domain.rates.card import instant
from chargeline.runtime.stack import Stack, load_stack

Account = Annotated[str, typer.Argument(help="billing_account_id.")]
Team = Annotated[str | None, typer.Option(help="Only this team's spend.")]
Project = Annotated[str | None, typer.Option(help="Only this project's spend.")]
Experiment = Annotated[str | None, typer.Option(help="Only this experiment's spend.")]
From = Annotated[str | None, typer.Option("--from", help="Holds from this instant on, e.g. 2026-06-01 (default: now).")]
BudgetId = Annotated[str, typer.Argument(help="e.g. acme:team:search@monthly; `budgets list` shows them.")]

_COLUMNS = ("budget_id", "state", "spent", "limit", "unit", "period_end")  # what fits a terminal; --json has all


def register(app: typer.Typer) -> None:
    budgets = typer.Typer(help="Budgets: set, list, show, remove.", no_args_is_help=True)
    budgets.command("set")(set_budget)
    budgets.command("list")(list_budgets)
    budgets.command()(show)
    budgets.command()(remove)
    app.add_typer(budgets, name="budgets")


def set_budget(
    account: Account,
    limit: Annotated[str, typer.Argument(help="What may be spent in a period, e.g. 1200.50.")],
    currency: Annotated[str, typer.Option(help="Currency of the limit, as billed.")],
    team: Team = None,
    project: Project = None,
    experiment: Experiment = None,
    period: Annotated[
        str, typer.Option(help="daily, weekly, monthly, or dates with an exclusive end: 2026-06-01..2026-09-01.")
    ] = "monthly",
    soft: Annotated[
        list[str] | None, typer.Option(help="Warn at this: 80% of the limit, or an amount. Repeatable.")
    ] = None,
    hard: Annotated[str, typer.Option(help="Exceeded at this: a percentage of the limit, or an amount.")] = "100%",
    effective_from: From = None,
    wait: Wait = True,
    author: Author = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set a budget.

    Setting it again records a new version; what was recorded is never edited.

    Example: chargeline budgets set acme 1000 --currency USD --team search --soft 50% --soft 80%
    """
    budget = budget_of(Scope(account, team, project, experiment), period, limit, currency, soft or ["80%"], hard)
    _record(budget.budget_id, budget, effective_from, load_stack(data), author, wait=wait, as_json=as_json)


def list_budgets(
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    at: Annotated[str | None, typer.Option(help="Those that hold at this instant (default: now).")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the budgets that hold, with what was spent.

    Example: chargeline budgets list --account acme
    """
    stack, clock = load_stack(data), SystemClock()
    moment = clock.now_ms() * 1000 if at is None else instant_argument(at)
    with governance_log(stack, clock) as governance, _store(stack) as store:
        held = valid_budgets(governance.chain.budgets(), moment)
        rows = [
            _row(each, _current(store, each))
            for each in held.values()
            if account in (None, each.scope.billing_account_id)
        ]
    if as_json:
        print_json(rows)
    elif rows:
        print_rows([{name: row[name] for name in _COLUMNS} for row in rows])
    else:
        stderr().print("no budgets: `chargeline budgets set --help`")


def show(budget_id: BudgetId, data: DataDir = None, as_json: AsJson = False) -> None:
    """Show where a budget stands, and all its versions.

    Example: chargeline budgets show acme:team:search@monthly
    """
    stack = load_stack(data)
    with governance_log(stack, SystemClock()) as governance, _store(stack) as store:
        versions = [
            {
                "effective_from": instant(each.effective_from),
                "recorded_time": instant(recorded * 1000),
                "budget": None if each.budget is None else json.loads(budget_to_json(each.budget)),
            }
            for each, recorded in _versions(governance)
            if each.budget_id == budget_id
        ]
        if not versions:
            raise Refused("NO_BUDGET", f"there is no budget {budget_id}: `chargeline budgets list` shows them")
        text = store.document(budget_id.rpartition("@")[0])
    current = _of_id(None if text is None else json.loads(text), budget_id)
    if as_json:
        print_json({"budget_id": budget_id, "current": current, "versions": versions})
        return
    if current is None:
        stderr().print("where it stands is not known: it does not hold now, or the budgets service has not written yet")
    else:
        print_rows([{"what": name, "value": _shown(value)} for name, value in current.items()], budget_id)
    print_rows([each | {"budget": _shown(each["budget"])} for each in versions], "versions")


def remove(
    budget_id: BudgetId,
    effective_from: Annotated[str | None, typer.Option("--from", help="Holds to this instant (default: now).")] = None,
    wait: Wait = True,
    author: Author = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a budget; it stays in the history.

    Example: chargeline budgets remove acme:team:search@monthly
    """
    _record(budget_id, None, effective_from, load_stack(data), author, wait=wait, as_json=as_json)


def _record(
    budget_id: str, budget: Budget | None, given: str | None, stack: Stack, author: str | None, *, wait: bool,
    as_json: bool,
) -> None:  # fmt: skip
    clock = SystemClock()
    now = clock.now_ms() * 1000
    begins = now if given is None else instant_argument(given)

    def may(chain: GovernanceChain) -> None:
        versions = [each for each in chain.budgets() if each.budget_id == budget_id]
        if budget is None and not valid_budgets(versions, begins):
            raise Refused("NO_BUDGET", f"{budget_id} does not hold at {instant(begins)}: `chargeline budgets list`")
        # A first version may be back-dated; one that replaces another would rewrite what was told of the past.
        if versions and given is not None and begins < now:
            raise Refused(
                "BAD_EFFECTIVE_FROM", f"{budget_id} is set already: --from {given} is in the past; leave it out"
            )
        if budget is not None and valid_budgets(versions, begins).get(budget_id) == budget:
            raise AlreadyPublished

    with governance_log(stack, clock) as governance:
        writer = governance_writer(stack, governance, author)
        text = None if budget is None else budget_to_json(budget)
        fact = {"budget_id": budget_id, "effective_from": begins, "budget": text}
        try:
            new = writer.append("BudgetSet", fact, may)
        except AlreadyPublished:
            stderr().print(f"{budget_id} is set so already: nothing changed")
            if as_json:
                print_json({"budget_id": budget_id, "published": False})
            return
    if as_json:
        print_json({"budget_id": budget_id, "effective_from": instant(begins), **recorded_fact(new, stack)})
    done = "removed" if budget is None else "set"
    stderr().print(f"[green]{done}[/green] {budget_id} from {instant(begins)} as fact {new.sequence}")
    if wait:
        wait_until_visible(new.recorded_time, stack, clock)


def _versions(governance: GovernanceReader) -> Iterator[tuple[BudgetVersion, int]]:
    for fact, version in governance.chain.of(BudgetVersion):
        yield version, fact.recorded_time


@contextmanager
def _store(stack: Stack) -> Iterator[RedisSpendStore]:
    store = RedisSpendStore(stack.redis_url, username=stack.redis_user, password=stack.redis_password)
    try:
        yield store
    finally:
        store.close()


def _current(store: RedisSpendStore, budget: Budget) -> dict[str, Any] | None:
    text = store.document(budget.scope.path)
    return _of_id(None if text is None else json.loads(text), budget.budget_id)


def _of_id(document: dict[str, Any] | None, budget_id: str) -> dict[str, Any] | None:
    """What a document says of one of its budgets."""
    if document is None:
        return None
    found = [each for each in document.get("budgets", [document]) if each["budget_id"] == budget_id]
    return {**found[0], "updated_at": document["updated_at"]} if found else None


def _row(budget: Budget, current: dict[str, Any] | None) -> dict[str, Any]:
    known = current or {}
    return {
        "budget_id": budget.budget_id,
        "limit": plain(budget.limit),
        "unit": budget.currency,
        "soft": ", ".join(map(str, budget.soft)) or None,
        "hard": str(budget.hard),
        "state": known.get("state"),
        "spent": known.get("spent"),
        "remaining": known.get("remaining"),
        "forecast": known.get("forecast"),
        "period_end": known.get("period_end"),
        "updated_at": known.get("updated_at"),
    }


def _shown(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
