"""`chargeline accounts …`: groups, accounts, contracts, subscriptions, commitments and credits; closing a period."""

import hashlib

import typer

from chargeline.adapters.clock import SystemClock
from chargeline.cli.closing import close_period
from chargeline.cli.common import AsJson, DataDir, print_json
from chargeline.cli.publishing import (
    FACT_BYTES_MAX,
    AlreadyPublished,
    Author,
    File,
    Files,
    Wait,
    check,
    governance_log,
    governance_writer,
    problems_told,
    read_text,
    recorded_fact,
    stderr,
    wait_until_visible,
    warn,
)
from chargeline.domain.accounts_reader import read_accounts
from chargeline.domain.accounts_text import accounts_to_json
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.governance import AccountsPublished, GovernanceChain
from chargeline.runtime.stack import load_stack


def register(app: typer.Typer) -> None:
    accounts = typer.Typer(help="Accounts: validate, publish, close a period.", no_args_is_help=True)
    accounts.command()(validate)
    accounts.command()(publish)
    accounts.command()(close_period)
    app.add_typer(accounts, name="accounts")


def validate(files: Files, as_json: AsJson = False) -> None:
    """Check accounts files; no server runs.

    Exit code 2, and every problem with its line, if one is wrong.

    Example: chargeline accounts validate accounts.yaml
    """
    check(files, lambda path: read_accounts(read_text(path)), lambda document: document.remarks, as_json=as_json)


def publish(
    file: File, data: DataDir = None, wait: Wait = True, author: Author = None, as_json: AsJson = False
) -> None:
    """Publish an accounts file.

    It replaces the one before it as a whole; events before it keep what they saw.

    Example: chargeline accounts publish accounts.yaml
    """
    with problems_told(file, as_json=as_json):
        document = read_accounts(read_text(file))
        text, digest = accounts_to_json(document.accounts), hashlib.sha256(file.read_bytes()).hexdigest()
        if len(text.encode()) > FACT_BYTES_MAX:
            raise BadDocument([Problem("TOO_LARGE", f"accounts have at most {FACT_BYTES_MAX} bytes")])
    stack, clock = load_stack(data), SystemClock()

    def may(chain: GovernanceChain) -> None:
        published = [each for _, each in chain.of(AccountsPublished)]
        if published and published[-1].accounts == document.accounts:
            raise AlreadyPublished

    with governance_log(stack, clock) as governance:
        writer = governance_writer(stack, governance, author)
        try:
            fact = writer.append("AccountsPublished", {"accounts": text, "file_hash": digest}, may)
        except AlreadyPublished:
            stderr().print(f"{file} is published already: nothing changed")
            if as_json:
                print_json({"file": str(file), "published": False})
            return
    warn(file, document.remarks)
    if as_json:
        print_json({"file": str(file), **recorded_fact(fact, stack)})
    stderr().print(f"[green]published[/green] {file} as fact {fact.sequence}")
    if wait:
        wait_until_visible(fact.recorded_time, stack, clock)
