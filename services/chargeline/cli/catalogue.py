"""`chargeline catalogue …`: candidate rate cards out of public price catalogues."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console

from chargeline.adapters.clock import SystemClock
from chargeline.adapters.genai_prices import installed_catalogue
from chargeline.cli import rates
from chargeline.cli.catalogue_files import (
    FOLDER,
    INDEX,
    card_files,
    read_cards,
    read_catalogue,
    read_index,
    source_of,
    write_candidates,
)
from chargeline.cli.common import AsJson, DataDir, print_json, print_rows, progress
from chargeline.cli.publishing import Author
from chargeline.domain.catalogues.cards import Origin, candidates
from chargeline.domain.catalogues.compare import Comparison, Pair, compare, newest
from chargeline.domain.catalogues.entries import Catalogue
from chargeline.domain.catalogues.genai_prices import read_genai_prices
from chargeline.domain.catalogues.litellm import read_litellm
from chargeline.domain.catalogues.selection import problems, select
from chargeline.domain.catalogues.yaml_text import card_text
from chargeline.domain.documents import BadDocument, Problem
from chargeline.domain.errors import Refused
from chargeline.domain.rates.card import instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_LITELLM_URL = "https://github.com/BerriAI/litellm"
_GENAI_URL = "https://github.com/pydantic/genai-prices"
# No model of these catalogues was sold before; prices without a date hold from the catalogue's beginning.
_GENAI_BEGINNING = "2020-01-01T00:00:00Z"

Output = Annotated[Path, typer.Option("--output", help="Directory for the candidates.", file_okay=False)]
FromTime = Annotated[str | None, typer.Option("--effective-from", help="When the first prices begin, UTC with Z.")]
Number = Annotated[str | None, typer.Option("--catalogue-version", help="Default: read from the file's name.")]
Date = Annotated[str | None, typer.Option("--catalogue-date", help="YYYY-MM-DD. Default: the file's date.")]
CardSet = Annotated[Path, typer.Argument(help="Directory of candidates, or a file with a card.", exists=True)]
Candidates = Annotated[Path, typer.Argument(help="Directory of candidates.", exists=True, file_okay=False)]


def register(app: typer.Typer) -> None:
    catalogue = typer.Typer(
        help="Public price catalogues: import as candidates, compare, publish.", no_args_is_help=True
    )
    imports = typer.Typer(help="Make candidate cards of a catalogue; nothing is published.", no_args_is_help=True)
    imports.command("litellm")(import_litellm)
    imports.command("genai-prices")(import_genai_prices)
    catalogue.add_typer(imports, name="import")
    catalogue.command("compare")(compare_cards)
    catalogue.command()(publish)
    catalogue.command("list")(list_candidates)
    app.add_typer(catalogue, name="catalogue")


def import_litellm(
    file: Annotated[Path, typer.Argument(help="model_prices_and_context_window.json", exists=True, dir_okay=False)],
    output: Output,
    effective_from: FromTime = None,
    catalogue_version: Number = None,
    catalogue_date: Date = None,
    as_json: AsJson = False,
) -> None:
    """Make candidates of litellm's catalogue.

    Its prices have no dates: they begin on the day of the catalogue.

    Example: chargeline catalogue import litellm model_prices_and_context_window.json --output litellm
    """
    document, sha256 = read_catalogue(file)
    if not isinstance(document, dict) or not all(isinstance(each, dict) for each in document.values()):
        raise BadDocument([Problem("NOT_A_CATALOGUE", f"{file} is not an object of entries")])
    origin = _origin("litellm", catalogue_version, catalogue_date, _LITELLM_URL, file, sha256)
    start = effective_from or f"{origin.date}T00:00:00Z"
    source = source_of(origin, file.name, sha256)
    _import(lambda: read_litellm(document), origin, start, source, output, as_json)


def import_genai_prices(
    output: Output,
    file: Annotated[
        Path | None,
        typer.Argument(help="The catalogue's data.json; default: the package.", exists=True, dir_okay=False),
    ] = None,
    effective_from: FromTime = None,
    catalogue_version: Number = None,
    catalogue_date: Date = None,
    as_json: AsJson = False,
) -> None:
    r"""Make candidates of the catalogue genai-prices.

    Of a file, or of the installed package (`pip install 'chargeline\[genai-prices]'`).

    Example: chargeline catalogue import genai-prices --output genai-prices
    """
    if file is None:
        document, installed = installed_catalogue()
        sha256, name = None, f"genai-prices {installed}"
        catalogue_version = catalogue_version or installed
    else:
        (document, sha256), name = read_catalogue(file), file.name
    if not isinstance(document, list) or not all(isinstance(each, dict) and "models" in each for each in document):
        raise BadDocument([Problem("NOT_A_CATALOGUE", f"{name} is not a list of providers")])
    origin = _origin("genai-prices", catalogue_version, catalogue_date, _GENAI_URL, file, sha256)
    source = source_of(origin, name, sha256)
    _import(lambda: read_genai_prices(document), origin, effective_from or _GENAI_BEGINNING, source, output, as_json)


def compare_cards(
    first: CardSet,
    second: CardSet,
    at: Annotated[str | None, typer.Option(help="Prices of this instant (default: the newest of each).")] = None,
    provider: Annotated[str | None, typer.Option(help="This provider only.")] = None,
    limit: Annotated[int, typer.Option(help="Rows shown; 0: all. JSON has all.", min=0)] = 40,
    as_json: AsJson = False,
) -> None:
    """Where two sets of cards have another price for the same thing.

    The largest difference comes first.

    Example: chargeline catalogue compare litellm genai-prices --provider openai
    """
    time = None if at is None else _micros(at, "--at")
    files = card_files(first), card_files(second)
    with progress() as bar:
        task = bar.add_task("reading cards", total=len(files[0]) + len(files[1]), rate="")
        one, two = (newest(read_cards(each, lambda: bar.advance(task)), time) for each in files)
    found = compare(one, two)
    differing = [pair for pair in found.differing if provider in (None, pair.thing.provider_name)]
    if as_json:
        print_json({"summary": _summary(found), "differences": [_row(pair) for pair in differing]})
        return
    if differing:
        shown = differing[: limit or None]
        print_rows([_shown(_row(pair)) for pair in shown], f"{len(shown)} of {len(differing)} differences")
    summary = _summary(found)
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"{summary['models_in_both']} models in both, {summary['models_only_in_first']} only in the first, "
        f"{summary['models_only_in_second']} only in the second; "
        f"{summary['prices_differing']} of {summary['prices_compared']} prices differ"
    )


def publish(
    directory: Candidates,
    selected: Annotated[list[str], typer.Option("--select", help="provider/model, with * and ?; may be repeated.")],
    card_id: Annotated[str, typer.Option("--id", help="Id of the new card.")],
    effective_from: Annotated[str, typer.Option("--effective-from", help="UTC with Z; its prices are chosen too.")],
    version: Annotated[int, typer.Option(help="Version of the new card.", min=1)] = 1,
    output: Annotated[Path | None, typer.Option(help="File for the card.", dir_okay=False)] = None,
    live: Annotated[bool, typer.Option("--live", help="Publish it, as `rates publish` does.")] = False,
    data: DataDir = None,
    author: Author = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --live: JSON of what was recorded.")] = False,
) -> None:
    """Make one card of chosen candidates, or publish it.

    It is written to a file or standard output, or published with --live.

    Example: chargeline catalogue publish litellm --select openai/gpt-4o --select 'anthropic/*' --id house-models
    --version 1 --effective-from 2026-12-01T00:00:00Z --output house-models.yaml
    """
    if as_json and not live:
        raise Refused("BAD_OPTION", "--json goes with --live: without it nothing is recorded")
    time = _micros(effective_from, "--effective-from")
    cards = read_cards(card_files(directory), lambda: None)
    current = newest(cards, time) or newest(cards)
    document, models = select(current, selected, rate_card_id=card_id, version=version, effective_from=time)
    source = read_index(directory)["source"]
    document["description"] = f"Chosen from {source['name']} {source['version']} of {source['date']}"
    faults = [each for each in problems(document) if not each.warning]
    if faults:
        raise BadDocument(faults)
    text = card_text(document, "\n".join(["Chosen models:", *models]))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{len(models)} models, {len(document['skus'])} prices; read the review list in {directory / INDEX}")
    for later in sorted({card.effective_from for card in cards if card.effective_from > time}):
        then, _ = select(newest(cards, later), selected, rate_card_id=card_id, version=version, effective_from=later)
        if then["skus"] != document["skus"]:
            console.print(f"prices of the chosen models change on {instant(later)}: publish a further version for it")
    if output is not None:
        output.write_text(text, encoding="utf-8")
    elif not live:
        typer.echo(text, nl=False)
    if live:
        with TemporaryDirectory() as folder:
            path = output or Path(folder) / f"{card_id}.yaml"
            path.write_text(text, encoding="utf-8")
            rates.publish([path], data=data, author=author, as_json=as_json)


def list_candidates(
    directory: Candidates,
    models: Annotated[str | None, typer.Option(help="List models instead: provider/model, with * and ?.")] = None,
    review: Annotated[bool, typer.Option("--review", help="List what a person must look at.")] = False,
    as_json: AsJson = False,
) -> None:
    """List candidate cards, their models, or what is to review.

    Example: chargeline catalogue list litellm --models 'openai/gpt-5*'
    """
    index = read_index(directory)
    if models is not None:
        rows = _models(directory, models)
    elif review:
        rows = index["review"]
    else:
        rows = [{key: row[key] for key in row if as_json or key not in ("sha256", "file")} for row in index["cards"]]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, f"candidates of {index['source']['name']} {index['source']['version']}, not published")


def _import(
    read: Callable[[], Catalogue], origin: Origin, start: str, source: dict[str, Any], output: Path, as_json: bool
) -> None:
    time = _micros(start, "--effective-from")
    try:
        catalogue = read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{source['file']} is not a catalogue of {origin.name}: {type(error).__name__} {error}"
        raise BadDocument([Problem("NOT_A_CATALOGUE", text)]) from error
    with progress() as bar:
        task = bar.add_task("making candidates", total=len(catalogue.entries), rate="")
        cards, findings = candidates(catalogue, origin, time, lambda: bar.advance(task))
    index = write_candidates(output, cards, findings, source, catalogue)
    counts = index["counts"]
    if as_json:
        print_json({"directory": str(output), "source": index["source"], "counts": counts})
        return
    print_rows([{"reason": reason, "findings": number} for reason, number in counts["review"].items()], "to review")
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"{counts['entries']} entries: {counts['in_cards']} in {counts['cards']} candidate cards with {counts['skus']} "
        f"prices, {counts['merged']} merged, {counts['without_card']} in the review list only. "
        f"Cards: {output / FOLDER}; review list: {output / INDEX}"
    )


def _origin(
    name: str, version: str | None, date: str | None, url: str, file: Path | None, sha256: str | None
) -> Origin:
    seconds = SystemClock().now_ms() // 1000 if file is None else int(file.stat().st_mtime)
    day = date or (_EPOCH + timedelta(seconds=seconds)).date().isoformat()
    found = _VERSION.search(file.stem) if file is not None else None
    _micros(f"{day}T00:00:00Z", "--catalogue-date")
    return Origin(name, version or (found[0] if found else f"sha256:{(sha256 or '')[:12]}"), day, url)


def _micros(text: str, option: str) -> int:
    try:
        time = datetime.fromisoformat(text)
        if time.utcoffset() != timedelta(0):
            raise ValueError(text)
    except ValueError as error:
        raise Refused("BAD_TIME", f"{option} is an instant such as 2026-01-01T00:00:00Z, not {text}") from error
    return (time - _EPOCH) // timedelta(microseconds=1)


def _models(directory: Path, pattern: str) -> list[dict[str, Any]]:
    rows = [
        {
            "model": f"{sku.match.provider_name}/{model}",
            "rate_card_id": card.rate_card_id,
            "measures": sku.measures,
            "variant": sku.variant,
            "price": sku.prices[0].price,
            "pricing_unit": sku.pricing_unit,
        }
        for card in newest(read_cards(card_files(directory), lambda: None))
        for sku in card.skus
        for model in sku.match.models
    ]
    return [row for row in rows if fnmatchcase(str(row["model"]), pattern)]


def _summary(found: Comparison) -> dict[str, int]:
    return {
        "models_in_both": found.models_in_both,
        "models_only_in_first": found.models_only_in_first,
        "models_only_in_second": found.models_only_in_second,
        "prices_compared": len(found.pairs),
        "prices_differing": len(found.differing),
    }


def _row(pair: Pair) -> dict[str, Any]:
    thing = pair.thing
    return {
        "provider_name": thing.provider_name,
        "model": thing.model,
        "measures": thing.measures,
        "service_tier": thing.service_tier,
        "attributes": dict(thing.attributes),
        "above": thing.above,
        "matched_by": pair.matched_by,
        "first": pair.first,
        "second": pair.second,
        "difference": pair.difference,
        "percent": pair.percent,
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    attributes = ", ".join(f"{key}={value}" for key, value in row["attributes"].items())
    what = " ".join(
        part for part in (row["measures"], attributes, f"above {row['above']}" if row["above"] else "") if part
    )
    first = {"model": f"{row['provider_name']}/{row['model']}", "what": what, "tier": row["service_tier"]}
    money: dict[str, Decimal | None] = {key: row[key] for key in ("first", "second", "difference", "percent")}
    return first | money
