"""Directories of candidate cards: `catalogue.json` and `candidates/<id>-v<version>.yaml`.

The directory is what marks its cards as candidates: a card itself has no key for it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from chargeline.domain.catalogues.cards import Candidate, Origin
from chargeline.domain.catalogues.entries import Catalogue, Finding
from chargeline.domain.catalogues.yaml_text import card_text
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.errors import Refused
from chargeline.domain.rates.card import RateCard
from chargeline.domain.rates.card_reader import from_json, read_rate_card

INDEX, FOLDER = "catalogue.json", "candidates"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
# libyaml where it is there: ten times faster. BaseLoader leaves every scalar its text.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_catalogue(path: Path) -> tuple[Any, str]:
    """A catalogue's JSON with exact numbers, and the checksum of the file."""
    data = path.read_bytes()
    try:
        document = json.loads(data, parse_float=Decimal, parse_int=Decimal)
    except ValueError as error:
        raise BadDocument([Problem("NOT_JSON", f"{path} is not JSON: {error}")]) from error
    return document, hashlib.sha256(data).hexdigest()


def write_candidates(
    folder: Path, cards: Sequence[Candidate], findings: Sequence[Finding], source: dict[str, Any], catalogue: Catalogue
) -> dict[str, Any]:
    """Write the cards and their index; cards of an earlier import into the same directory go.

    Returns:
        The index.

    Raises:
        Refused: the directory holds something else.
    """
    _make_room(folder)
    head = f"Candidate, not published. Source: {source['name']} {source['version']} of {source['date']}."
    head += f"\n{source['url']}\nWhat the catalogue says beyond it: `review` in {INDEX}."
    rows = []
    for each in cards:
        name = f"{FOLDER}/{_UNSAFE.sub('_', each.card.rate_card_id)}-v{each.card.version}.yaml"
        text = card_text(each.document, head, dict(each.remarks))
        (folder / name).write_text(text, encoding="utf-8")
        rows.append(
            {
                "file": name,
                "provider_name": each.provider,
                "rate_card_id": each.card.rate_card_id,
                "version": each.card.version,
                "effective_from": each.document["effective_from"],
                "models": len(each.entries),
                "skus": len(each.card.skus),
                "aliases": len(each.card.aliases),
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
            }
        )
    entries = {name: each.card.rate_card_id for each in cards for name in each.entries}
    index = {
        "kind": "chargeline-candidates",
        "source": source,
        "counts": {
            "entries": catalogue.count,
            "in_cards": len(entries),
            "merged": len(catalogue.merged),
            "without_card": catalogue.count - len(entries) - len(catalogue.merged),
            "cards": len(rows),
            "skus": sum(row["skus"] for row in rows),
            "review": dict(sorted(Counter(each.reason for each in findings).items())),
        },
        "cards": rows,
        "entries": entries,
        "merged": catalogue.merged,
        "review": [asdict(each) for each in findings],
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return index


def source_of(origin: Origin, file: str, sha256: str | None) -> dict[str, Any]:
    """Where a directory's cards come from, for its index."""
    return {**asdict(origin), "file": file, "sha256": sha256}


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a directory of candidates. Raises Refused where there is none."""
    path = folder / INDEX
    if not path.is_file():
        raise Refused("NO_CATALOGUE", f"{folder} has no {INDEX}: make one with `chargeline catalogue import`")
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if index.get("kind") != "chargeline-candidates":
        raise Refused("NO_CATALOGUE", f"{path} is no index of candidates")
    return index


def card_files(path: Path) -> list[tuple[Path, str | None]]:
    """The cards of a directory of candidates with their checksums, or a file by itself."""
    if not path.is_dir():
        return [(path, None)]
    return [(path / row["file"], row["sha256"]) for row in read_index(path)["cards"]]


def read_cards(files: Sequence[tuple[Path, str | None]], done: Callable[[], object]) -> list[RateCard]:
    """Read cards; `done` is called after each file."""
    cards = []
    for path, sha256 in files:
        data = path.read_bytes()
        unchanged = sha256 is not None and hashlib.sha256(data).hexdigest() == sha256
        try:
            cards.append(_as_written(data) if unchanged else read_rate_card(data.decode()))
        except UnicodeDecodeError as error:
            raise BadDocument([Problem("NOT_UTF8", f"{path} is not UTF-8")]) from error
        done()
    return cards


def _as_written(data: bytes) -> RateCard:
    """A file that is as the import wrote it: its form needs no second check, and the strict reader is slow."""
    return from_json(json.dumps(yaml.load(data, Loader=_LOADER)))  # noqa: S506 - makes texts, lists and mappings only


def _make_room(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        for row in read_index(folder)["cards"]:
            (folder / row["file"]).unlink(missing_ok=True)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
