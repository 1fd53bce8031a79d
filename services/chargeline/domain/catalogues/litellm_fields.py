"""The price fields of litellm's catalogue: what each measures, for which service tier, above which prompt length.

A field is a stem, `_above_1hr` among the stems, then perhaps `_above_<n>k_tokens`, then perhaps a service tier:
`cache_read_input_token_cost_above_272k_tokens_flex`. Token prices are for one token; ours are for a million.
"""

import re
from dataclasses import dataclass

from chargeline.domain.catalogues.entries import MILLION_TOKENS, Texts

LEAF_FIELDS = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read_input",
    "input_cost_per_token_cache_hit": "cache_read_input",
    "cache_creation_input_token_cost": "cache_write_input",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_input",
    "input_cost_per_audio_token": "input_audio",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_image_token": "input_image",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning_output",
    "output_cost_per_audio_token": "output_audio",
    "output_cost_per_image_token": "output_image",
}
# Tokens without a leaf of their own: they are counted in this leaf, and pay its price.
INSIDE_FIELDS = {
    "cache_creation_input_audio_token_cost": "cache_write_input",
    "cache_creation_input_token_cost_above_12hr": "cache_write_input",
    "cache_read_input_image_token_cost": "cache_read_input",
    "explicit_cache_read_input_token_cost": "cache_read_input",
    "input_cost_per_video_token": "input",
    "output_cost_per_video_token": "output",
}
# Quantities beside the tokens: (name, pricing unit, how many of the catalogue's units it holds).
QUANTITY_FIELDS = {
    "input_cost_per_request": ("requests", "Requests", 1),
    "input_cost_per_query": ("requests", "Requests", 1),
    "ocr_cost_per_page": ("pages", "Pages", 1),
    "annotation_cost_per_page": ("annotated_pages", "Pages", 1),
    "ocr_cost_per_credit": ("ocr_credits", "Credits", 1),
    "citation_cost_per_token": ("citation_tokens", MILLION_TOKENS, 10**6),
    "code_interpreter_cost_per_session": ("code_interpreter_sessions", "Sessions", 1),
    "google_maps_grounding_cost_per_query": ("map_searches", "Searches", 1),
    "input_cost_per_text_message": ("text_messages", "Messages", 1),
    "input_cost_per_audio_per_second": ("audio_s", "Seconds", 1),
    "input_cost_per_video_per_second": ("input_video_s", "Seconds", 1),
    "output_cost_per_video_per_second": ("video_s", "Seconds", 1),
    "cost_per_second": ("provisioned_unit_s", "Unit-Hours", 3600),
}
# Quantities that both sides of a call may have: the name for the answer's, then for the request's.
PAIRS = {
    "image": ("images", "input_images", "Images"),
    "pixel": ("pixels", "input_pixels", "1000000 Pixels"),
    "character": ("output_characters", "characters", "1000000 Characters"),
}
# A second means what the model does; elsewhere it is the time that the request takes.
SECONDS = {
    "audio_transcription": "audio_s",
    "audio_speech": "audio_s",
    "realtime": "audio_s",
    "video_generation": "video_s",
}
TIERS = {
    "_batches": "batch",
    "_flex": "flex",
    "_priority": "priority",
    "_ultrafast": "ultrafast",
    "_balanced": "balanced",
}
_PAIR = re.compile(r"(input|output)_cost_per_(image|pixel|character|second)(?:_([0-9]+(?:\.[0-9]+)?[kKp]?))?")
_ABOVE = re.compile(r"_above_([0-9]+)k_tokens")
_PRICED = re.compile(r"cost|price|pricing|multiplier|free_requests|billing_unit")


@dataclass(frozen=True)
class Meaning:
    """What the number of a field is the price of.

    Attributes:
        above: 0, or the number of input tokens above which the price holds.
        inside: tokens that have no leaf of their own; `measures` is the leaf in which they are counted.
        side: `input` or `output` where an entry may have both for one and the same quantity.
    """

    measures: str
    unit: str
    scale: int
    tier: str | None = None
    above: int = 0
    labels: Texts = ()
    inside: bool = False
    side: str | None = None


def is_price(name: str) -> bool:
    """Whether a field says something about money; limits and abilities of a model do not."""
    return _PRICED.search(name) is not None


def meaning(name: str, mode: str | None) -> Meaning | None:
    """What a field is the price of; None if a rate card has no place for it."""
    stem, tier = name, None
    for suffix, named in TIERS.items():
        if stem.endswith(suffix):
            stem, tier = stem.removesuffix(suffix), named
    found = _ABOVE.search(stem)
    above = int(found[1]) * 1000 if found else 0
    stem = _ABOVE.sub("", stem)
    if stem in LEAF_FIELDS:
        return Meaning(LEAF_FIELDS[stem], MILLION_TOKENS, 10**6, tier, above)
    if stem in INSIDE_FIELDS:
        return Meaning(INSIDE_FIELDS[stem], MILLION_TOKENS, 10**6, tier, above, inside=True)
    if stem in QUANTITY_FIELDS:
        measures, unit, scale = QUANTITY_FIELDS[stem]
        return Meaning(measures, unit, scale, tier, above)
    pair = _PAIR.fullmatch(stem)
    return None if pair is None else _of_pair(pair, mode, tier, above)


def _of_pair(pair: re.Match[str], mode: str | None, tier: str | None, above: int) -> Meaning:
    side, what, resolution = pair[1], pair[2], pair[3]
    labels = () if resolution is None else (("resolution", resolution),)
    if what != "second":
        answer, request, unit = PAIRS[what]
        scale = 10**6 if unit[0].isdigit() else 1  # single pixels and characters cost less than 18 decimals can say
        generated = mode in ("image_generation", "image_edit") and what in ("image", "pixel")
        measures = answer if generated or side == "output" else request
        return Meaning(measures, unit, scale, tier, above, labels, side=side if generated else None)
    measures = SECONDS.get(mode or "", "duration_s")
    return Meaning(measures, "Seconds", 1, tier, above, labels, side=side)
