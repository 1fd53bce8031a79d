"""The files that `chargeline price` reads before it prices anything: cards, accounts and exchange rates."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from chargeline.cli.fx import read_fx
from chargeline.cli.publishing import read_text
from chargeline.domain.accounts import Accounts
from chargeline.domain.accounts_reader import read_accounts
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.fx import FxTable
from chargeline.domain.rates.book import PublishedCard
from chargeline.domain.rates.card import RateCard
from chargeline.domain.rates.card_reader import read_rate_card
from chargeline.domain.rates.checks import check_publication

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Documents:
    """What counts as published before the first event."""

    cards: tuple[PublishedCard, ...]
    accounts: Accounts
    fx: FxTable


class Unusable(Exception):
    """Files that cannot be used; nothing has been written. `problems`: (file, problem)."""

    def __init__(self, problems: Sequence[tuple[Path, Problem]]) -> None:
        super().__init__("; ".join(f"{path}: {each.message}" for path, each in problems))
        self.problems = tuple(problems)

    def rows(self) -> list[dict[str, Any]]:
        """One row a problem, with its file, line and column."""
        return [{"file": str(path), **asdict(each)} for path, each in self.problems]


def read_documents(rates: Sequence[Path], accounts: Path | None, fx: Path | None) -> Documents:
    """Read all files, and publish the cards one after the other: what publication refuses is refused here, too.

    Cards are taken by version, so that a version may supersede another one whatever the order of the options.

    Raises:
        Unusable: with the problems of all files.
    """
    problems: list[tuple[Path, Problem]] = []
    read = [(path, _read(path, lambda path: read_rate_card(read_text(path)), problems)) for path in rates]
    documents = None if accounts is None else _read(accounts, lambda path: read_accounts(read_text(path)), problems)
    table = None if fx is None else _read(fx, read_fx, problems)
    cards = sorted(((path, card) for path, card in read if card is not None), key=lambda each: each[1].version)
    published = _published(cards, problems)
    if problems:
        raise Unusable(problems)
    return Documents(published, Accounts() if documents is None else documents.accounts, table or FxTable())


def _read(path: Path, read: Callable[[Path], _Read], problems: list[tuple[Path, Problem]]) -> _Read | None:
    try:
        return read(path)
    except OSError as error:
        problems.append((path, unreadable(error)))
    except BadDocument as error:
        problems += [(path, each) for each in error.problems]
    return None


def unreadable(error: OSError) -> Problem:
    """The problem of a file that cannot be read or written."""
    return Problem("UNUSABLE_FILE", error.strerror or str(error))


def _published(
    cards: Sequence[tuple[Path, RateCard]], problems: list[tuple[Path, Problem]]
) -> tuple[PublishedCard, ...]:
    published: list[PublishedCard] = []
    for path, card in cards:
        found = check_publication(card, published, recorded_time=0, margin_ms=0, future_bound_ms=0)
        errors = [(path, each) for each in found if not each.warning]
        problems += errors
        if not errors:
            published.append(PublishedCard(card, 0, len(published)))
    return tuple(published)
