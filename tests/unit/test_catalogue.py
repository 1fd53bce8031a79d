"""Candidate cards: their text, their comparison, the choice of models, and the commands."""

import json
import sys
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from chargeline.cli import rates
from chargeline.cli.main import build
from chargeline.domain.catalogues.cards import candidates
from chargeline.domain.catalogues.compare import compare, newest
from chargeline.domain.catalogues.genai_prices import read_genai_prices
from chargeline.domain.catalogues.litellm import read_litellm
from chargeline.domain.catalogues.providers import provider_name
from chargeline.domain.catalogues.selection import select
from chargeline.domain.catalogues.yaml_text import card_text
from chargeline.domain.errors import Refused
from chargeline.domain.rates.card import instant
from chargeline.domain.rates.card_reader import read_rate_card
from tests.support.catalogues import BEGINNING, JUNE, ORIGIN, exact, genai, litellm, made, prices

RUNNER = CliRunner()
AWKWARD = {
    "null": {"input_cost_per_token": 1e-06},
    "a:b#c {d}, [e] 'f' \"g\"": {"input_cost_per_token": 1e-06},
    "*star": {"input_cost_per_token": 1e-06, "output_cost_per_image_token": 3e-05, "source": "https://x.example/#y"},
    "1.0": {"input_cost_per_token": 0.0, "input_cost_per_token_above_200k_tokens": 1e-06},
    "模型": {"input_cost_per_token": 1e-06, "input_cost_per_token_flex": 5e-07},
}


def cards_of(catalogue, effective_from=BEGINNING):
    return made(catalogue, effective_from)[0]


def test_the_text_of_a_candidate_reads_as_the_candidate():
    found, _ = candidates(read_litellm(litellm(**AWKWARD)), ORIGIN, BEGINNING)
    text = card_text(found[0].document, "two\nlines", dict(found[0].remarks))
    assert text.startswith("# two\n# lines\n")
    assert "# copy of the price of output_image" in text
    assert read_rate_card(text) == found[0].card


@pytest.mark.parametrize(
    ("name", "known"),
    [("google", "gcp.gemini"), ("gemini", "gcp.gemini"), ("vertex_ai-anthropic_models", "gcp.vertex_ai"),
     ("bedrock_converse", "aws.bedrock"), ("azure", "azure.ai.openai"), ("xai", "x_ai"), ("x-ai", "x_ai"),
     ("mistral", "mistral_ai"), ("groq", "groq"), ("a new one", "a new one")],
)  # fmt: skip
def test_both_catalogues_speak_of_providers_with_one_name(name, known):
    assert provider_name(name) == known
    assert provider_name(known) == known


def compared(first, second):
    return compare(newest(cards_of(read_litellm(exact(first)))), newest(cards_of(read_genai_prices(second))))


def test_a_difference_is_shown_with_its_size_and_the_largest_comes_first():
    ours = {"gemini/a": {"litellm_provider": "gemini", "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06},
            "gemini/z": {"litellm_provider": "gemini", "input_cost_per_token": 0.0},
            "gemini/only": {"litellm_provider": "gemini", "input_cost_per_token": 1e-06}}  # fmt: skip
    found = compared(ours, genai({"id": "a", "prices": {"input_mtok": 3, "output_mtok": 7, "cache_read_mtok": 1}},
                                 {"id": "z", "prices": {"input_mtok": 1}}, provider="google"))  # fmt: skip
    rows = [(each.thing.model, each.thing.measures, each.difference, each.percent) for each in found.differing]
    assert rows == [("z", "input", 1, None), ("a", "input", 1, 50), ("a", "output", -1, Decimal("-12.5"))]
    assert (found.models_in_both, found.models_only_in_first, found.models_only_in_second) == (2, 1, 0)
    assert len(found.pairs) == 3


def test_lists_by_prompt_length_are_compared_at_each_step_of_either():
    ours = {"m": {"litellm_provider": "anthropic", "input_cost_per_token": 3e-06,
                  "input_cost_per_token_above_200k_tokens": 6e-06}}  # fmt: skip
    found = compared(ours, genai({"id": "m", "prices": {"input_mtok": 3}}))
    assert [(each.thing.above, each.first, each.second) for each in found.pairs] == [(0, 3, 3), (200000, 6, 3)]


def test_an_alias_is_compared_and_said_to_be_one_and_units_do_not_matter():
    ours = {"m-2026": {"litellm_provider": "anthropic", "input_cost_per_token": 3e-06,
                       "search_context_cost_per_query": {"search_context_size_medium": 0.01}}}  # fmt: skip
    match = {"or": [{"equals": "m"}, {"equals": "m-2026"}]}
    theirs = genai({"id": "m", "match": match, "prices": {"input_mtok": 3, "web_searches_kcount": 10}})
    found = compared(ours, theirs)
    assert {(each.matched_by, each.thing.measures, each.difference) for each in found.pairs} == {
        ("alias", "input", 0), ("alias", "web_searches", 0)}  # fmt: skip


def test_the_prices_of_an_instant_are_those_of_the_version_in_force():
    price = [{"prices": {"input_mtok": 10}}, {"constraint": {"start_date": "2026-06-01"}, "prices": {"input_mtok": 2}}]
    cards = cards_of(read_genai_prices(genai({"id": "m", "prices": price})))
    assert [prices(each) for each in newest(cards, JUNE - 1)] == [{"anthropic/m/input": "10"}]
    assert [prices(each) for each in newest(cards, JUNE)] == newest_prices(cards) == [{"anthropic/m/input": "2"}]


def newest_prices(cards):
    return [prices(each) for each in newest(cards)]


MODELS = {"a": {"input_cost_per_token": 1e-06}, "b": {"input_cost_per_token": 2e-06},
          "c": {"litellm_provider": "groq", "input_cost_per_token": 3e-06}}  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "models"),
    [(["openai/a"], ["openai/a"]), (["openai/*"], ["openai/a", "openai/b"]), (["*/c", "openai/b"], ["groq/c", "openai/b"])],
)  # fmt: skip
def test_one_card_is_made_of_the_models_that_fit(patterns, models):
    cards = cards_of(read_litellm(litellm(**MODELS)))
    document, chosen = select(cards, patterns, rate_card_id="house", version=3, effective_from=JUNE)
    card = read_rate_card(card_text(document))
    assert chosen == models
    assert {f"{sku.match.provider_name}/{name}" for sku in card.skus for name in sku.match.models} == set(models)
    assert (card.rate_card_id, card.version, instant(card.effective_from)) == ("house", 3, "2026-06-01T00:00:00Z")


def test_a_chosen_model_keeps_its_aliases_and_prefixes():
    match = {"or": [{"equals": "m-2026"}, {"starts_with": "mm"}]}
    cards = cards_of(read_genai_prices(genai({"id": "m", "match": match, "prices": {"input_mtok": 3}},
                                             {"id": "n", "prices": {"input_mtok": 3}})))  # fmt: skip
    document, _ = select(cards, ["anthropic/m"], rate_card_id="house", version=1, effective_from=JUNE)
    assert [each["alias"] for each in document["aliases"]] == ["m-2026"]
    assert [each["match"].get("model_prefix") for each in document["skus"]] == [None, "mm"]


def test_a_pattern_that_fits_nothing_is_refused():
    with pytest.raises(Refused, match="no model of these cards fits openai/x"):
        select(cards_of(read_litellm(litellm(**MODELS))), ["openai/a", "openai/x"], rate_card_id="h", version=1,
               effective_from=JUNE)  # fmt: skip


def run(*arguments):
    return RUNNER.invoke(build(["catalogue"]), ["catalogue", *map(str, arguments)])


def imported(tmp_path, document, name="litellm", file="prices_1.2.3.json"):
    (tmp_path / file).write_text(document if isinstance(document, str) else json.dumps(document, default=str))
    done = run("import", name, tmp_path / file, "--output", tmp_path / name, "--catalogue-date", "2026-06-01", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


LONG = {"m": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.2e-06,
              "input_cost_per_token_above_272k_tokens": 2.4e-06, "output_cost_per_token": 6e-06},
        "none": {"litellm_provider": "openai"}}  # fmt: skip


def test_an_import_writes_candidates_an_index_and_the_review_list(tmp_path):
    answer = imported(tmp_path, LONG)
    index = json.loads((tmp_path / "litellm" / "catalogue.json").read_text())
    assert answer["counts"] == index["counts"]
    assert {key: index["counts"][key] for key in ("entries", "in_cards", "merged", "without_card", "cards", "skus")} == {
        "entries": 2, "in_cards": 1, "merged": 0, "without_card": 1, "cards": 1, "skus": 2}  # fmt: skip
    assert (index["source"]["version"], index["source"]["date"]) == ("1.2.3", "2026-06-01")
    assert len(index["source"]["sha256"]) == 64
    assert index["entries"] == {"m": "litellm-openai"}
    assert [(each["entry"], each["reason"]) for each in index["review"]] == [("none", "NO_PRICE")]
    file = tmp_path / "litellm" / index["cards"][0]["file"]
    assert file.name == "litellm-openai-v1.yaml"
    done = RUNNER.invoke(build(["rates"]), ["rates", "validate", str(file), "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


def test_a_second_import_takes_the_place_of_the_first_and_nothing_else_is_overwritten(tmp_path):
    imported(tmp_path, LONG)
    imported(tmp_path, {"m": {"litellm_provider": "groq", "input_cost_per_token": 1e-06}})
    assert [each.name for each in (tmp_path / "litellm" / "candidates").iterdir()] == ["litellm-groq-v1.yaml"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    done = run("import", "litellm", tmp_path / "prices_1.2.3.json", "--output", tmp_path / "mine")
    assert isinstance(done.exception, Refused)
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("tokens", "cost"), [(272_000, "0.3264"), (272_001, "0.6528024")])
def test_the_long_price_begins_one_token_above_the_limit(tmp_path, tokens, cost):
    imported(tmp_path, LONG)
    card, events = tmp_path / "card.yaml", tmp_path / "e.ndjson"
    done = run("publish", tmp_path / "litellm", "--select", "openai/m", "--id", "house", "--effective-from",
               "2026-01-01T00:00:00Z", "--output", card)  # fmt: skip
    assert done.exit_code == 0, done.output
    events.write_text(json.dumps({"event_id": "e", "source": "s", "event_time": "2026-06-10T08:00:00Z",
        "billing_account_id": "a", "provider_name": "openai", "request_model": "m", "operation_name": "chat",
        "token_convention": "INCLUSIVE", "input_tokens": tokens}))  # fmt: skip
    priced = RUNNER.invoke(build(["price"]), ["price", "--rates", str(card), "--events", str(events)])
    assert json.loads(priced.stdout.splitlines()[0])["contracted_cost"] == cost


def test_live_takes_the_path_of_rates_publish_with_the_very_card(tmp_path, monkeypatch):
    imported(tmp_path, LONG)
    seen = []
    monkeypatch.setattr(
        rates, "publish", lambda files, **more: seen.append((read_rate_card(files[0].read_text()), more))
    )
    done = run("publish", tmp_path / "litellm", "--select", "openai/*", "--id", "house", "--version", 2,
               "--effective-from", "2026-07-01T00:00:00Z", "--live", "--author", "me", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    card, more = seen[0]
    assert (card.rate_card_id, card.version, len(card.skus)) == ("house", 2, 2)
    assert (more["author"], more["as_json"]) == ("me", True)


def test_without_live_or_a_file_the_card_goes_to_standard_output_and_is_not_published(tmp_path, monkeypatch):
    imported(tmp_path, LONG)
    monkeypatch.setattr(rates, "publish", None)
    command = ("publish", tmp_path / "litellm", "--select", "openai/m", "--id", "house", "--effective-from",
               "2026-07-01T00:00:00Z")  # fmt: skip
    assert read_rate_card(run(*command).stdout).rate_card_id == "house"
    assert "--json goes with --live" in str(run(*command, "--json").exception)


def test_compare_reads_directories_and_files_and_shows_what_differs(tmp_path):
    imported(tmp_path, {"m": {"litellm_provider": "anthropic", "input_cost_per_token": 3e-06}})
    imported(tmp_path, [{"id": "anthropic", "models": [{"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": 4}}]}],
             "genai-prices", "data.json")  # fmt: skip
    file = next((tmp_path / "litellm" / "candidates").iterdir())
    for first in (tmp_path / "litellm", file):
        done = run("compare", first, tmp_path / "genai-prices", "--json")
        rows = json.loads(done.stdout)["differences"]
        assert [(row["model"], row["first"], row["second"], row["percent"]) for row in rows] == [
            ("m", "3", "4", "33.33")
        ]
    assert "anthropic/m" in run("compare", file, tmp_path / "genai-prices").stdout
    file.write_text(file.read_text().replace('unit_price: "3"', 'unit_price: "4"'))  # read strictly: not as written
    assert json.loads(run("compare", file, tmp_path / "genai-prices", "--json").stdout)["differences"] == []


def test_list_shows_cards_models_or_the_review_list(tmp_path):
    imported(tmp_path, LONG)
    shown = [
        json.loads(run("list", tmp_path / "litellm", *more, "--json").stdout)
        for more in ((), ("--models", "*/m"), ("--review",))
    ]
    assert [len(each) for each in shown] == [1, 2, 1]
    assert shown[1][0]["model"] == "openai/m"


@pytest.mark.parametrize("document", ["[", "[]", '{"m": 1}', '{"m": {"litellm_provider": "a", "tiered_pricing": 3}}'])
def test_what_is_no_catalogue_is_refused_and_nothing_is_written(tmp_path, document):
    (tmp_path / "x.json").write_text(document)
    assert run("import", "litellm", tmp_path / "x.json", "--output", tmp_path / "out").exception
    assert not (tmp_path / "out").exists()


def test_the_package_is_named_where_neither_it_nor_a_file_is_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    done = run("import", "genai-prices", "--output", tmp_path / "out")
    assert isinstance(done.exception, Refused)
    assert "pip install" in done.exception.reason
