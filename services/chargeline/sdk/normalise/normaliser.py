"""From a provider's answer, or the usage block in it, to disjoint quantities of a UsageEvent. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chargeline.sdk.normalise.formats import Format, Stop
from chargeline.sdk.normalise.providers import candidates, provider_formats
from chargeline.sdk.normalise.reading import Unreadable, read

# Stable, in order of precedence; where spec/rating.md 14 has the same fault it has the same word.
CODES = ("MALFORMED", "NO_USAGE", "UNKNOWN_PROVIDER", "BAD_NUMBER", "NEGATIVE_QUANTITY")


class UsageNotUnderstood(ValueError):
    """A usage block gives no quantities; `code` is one of CODES."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Normalised:
    """What an answer used.

    Attributes:
        status: OK; PARTIAL: the stream was cut off, so the provider may bill more; ERROR: see `error`.
        response_model: the model that answered, else the one that was given.
        quantities: disjoint leaves under their event names, in tokens; zeros left out.
        extra_quantities: in millionths of the unit; zeros left out.
        unknown_fields: dotted paths inside the usage block that no rule knows.
        error: one of CODES, or None.
        message: what is wrong, for people; None unless ERROR.
    """

    status: str
    response_model: str | None = None
    quantities: dict[str, int] = field(default_factory=dict)
    extra_quantities: dict[str, int] = field(default_factory=dict)
    unknown_fields: list[str] = field(default_factory=list)
    error: str | None = None
    message: str | None = None
    token_convention: str = "DISJOINT"  # noqa: S105 - no password


@dataclass(frozen=True)
class _Block:
    """A usage block, the format that reads it, and the object of the answer that it stands in."""

    usage: Mapping[Any, Any]
    shape: Format
    holder: Mapping[Any, Any]


def normalise(
    usage: Any, *, provider: str | None, model: str | None = None, api_flavor: str | None = None
) -> Normalised:
    """Disjoint quantities of one answer.

    Args:
        usage: the provider's whole answer as parsed JSON, one event of its stream, or the usage block alone.
        provider: OpenTelemetry's gen_ai.provider.name or a usual name; unknown ones are read by the block's shape.
        model: what to say as `response_model` if the answer does not name one.
        api_flavor: whose answer format it is: chat, responses, embeddings, anthropic, default, or None.

    Returns:
        Never raises: what cannot be understood has status ERROR, a code and no quantities.

    Source: spec/rating.md 6; spec/formats.md 7.
    """
    meant, shapes = candidates(provider, api_flavor)
    named = model if isinstance(model, str) else None
    try:
        if usage is None:
            raise Unreadable("NO_USAGE", "there is no usage")
        if not isinstance(usage, Mapping):
            raise Unreadable("MALFORMED", "usage is no object")
        block = _block(usage, meant, shapes)
        if block is None:
            return _without_block(usage, (*meant, *shapes), named, provider)
        named = _model(block) or named
        found = read(block.usage, block.shape)
    except Unreadable as error:
        return Normalised("ERROR", named, error=error.code, message=str(error))
    cut = not found.complete or _is_cut(block.holder, block.shape.stops)
    return Normalised("PARTIAL" if cut else "OK", named, found.quantities, found.extra_quantities, found.unknown_fields)


def usage_fields(
    answer: Any, *, provider: str, model: str | None = None, api_flavor: str | None = None
) -> dict[str, Any]:
    """The same as fields of a UsageEvent: quantities, extra quantities, response_model, and status if PARTIAL.

    Raises:
        UsageNotUnderstood: the answer gives no quantities.
    """
    found = normalise(answer, provider=provider, model=model, api_flavor=api_flavor)
    if found.error is not None:
        raise UsageNotUnderstood(found.error, found.message or "")
    fields: dict[str, Any] = dict(found.quantities)
    if found.extra_quantities:
        fields["extra_quantities"] = found.extra_quantities
    if found.response_model is not None:
        fields["response_model"] = found.response_model
    if found.status != "OK":
        fields["status"] = found.status
    return fields


def normalise_row(row: Any) -> dict[str, Any]:
    """One row of `chargeline normalise` (spec/formats.md 7), input and output as parsed JSON. Never raises."""
    if not isinstance(row, Mapping):
        return _row(None, Normalised("ERROR", error="MALFORMED"))
    provider, model, flavor = (_text(row.get(name)) for name in ("provider", "model", "api_flavor"))
    found = normalise(row.get("usage"), provider=provider, model=model, api_flavor=flavor)
    return _row(row.get("id"), found)


def _row(name: Any, found: Normalised) -> dict[str, Any]:
    return {
        "id": name,
        "status": found.status,
        "token_convention": found.token_convention,
        "response_model": found.response_model,
        "quantities": found.quantities,
        "extra_quantities": found.extra_quantities,
        "unknown_fields": found.unknown_fields,
        "error": found.error,
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _block(answer: Mapping[Any, Any], meant: tuple[Format, ...], shapes: tuple[Format, ...]) -> _Block | None:
    """The usage block, where a format says that it stands or the answer itself, and the format that reads it."""
    return (
        next(_fitting(answer, meant, lambda shape: shape.wholes), None)
        or next(_fitting(answer, shapes, lambda shape: shape.signs), None)
        or next(_fitting(answer, shapes, lambda shape: shape.wholes), None)
    )


def _fitting(
    answer: Mapping[Any, Any], shapes: tuple[Format, ...], names: Callable[[Format], Iterable[str]]
) -> Iterator[_Block]:
    """Blocks that have one of a format's names with a value."""
    for shape in shapes:
        for usage, holder in _places(answer, shape):
            if any(usage.get(name) is not None for name in names(shape)):
                yield _Block(usage, shape, holder)


def _places(answer: Mapping[Any, Any], shape: Format) -> Iterator[tuple[Mapping[Any, Any], Mapping[Any, Any]]]:
    for root in shape.roots:
        holder: Any = answer
        *above, last = root.split(".")
        for name in above:
            holder = holder.get(name) if isinstance(holder, Mapping) else None
        usage = holder.get(last) if isinstance(holder, Mapping) else None
        if isinstance(usage, Mapping):
            yield usage, holder
    yield answer, answer


def _without_block(
    answer: Mapping[Any, Any], shapes: tuple[Format, ...], model: str | None, provider: str | None
) -> Normalised:
    """No format finds its counts: a stream cut off before they came, or nothing that we know."""
    for shape in shapes:
        for root in shape.roots:
            usage = answer.get(root)
            if usage is not None and not isinstance(usage, Mapping):
                return Normalised("ERROR", model, error="MALFORMED", message=f"{root} is no object")
    if any(_is_cut(answer, shape.stops) for shape in shapes):
        return Normalised("PARTIAL", model)
    if provider_formats(provider) is None:
        return Normalised("ERROR", model, error="UNKNOWN_PROVIDER", message=f"no format of {provider} fits")
    return Normalised("ERROR", model, error="NO_USAGE", message="no usage block with counts")


def _model(block: _Block) -> str | None:
    return next((text for name in block.shape.models if (text := _text(block.holder.get(name)))), None)


def _is_cut(holder: Mapping[Any, Any], stops: tuple[Stop, ...]) -> bool:
    return any(_is_cut_at(holder, stop) for stop in stops)


def _is_cut_at(holder: Mapping[Any, Any], stop: Stop) -> bool:
    above, _, key = stop.path.rpartition(".")
    objects: list[Any] = [holder]
    if above:
        below = holder.get(above.removesuffix("[]"))
        objects = below if isinstance(below, list) else [below]
    for each in objects:
        if not isinstance(each, Mapping) or (key not in each and not stop.required):
            continue
        reason = each.get(key)
        if reason in stop.words if stop.words else reason is None:
            return True
    return False
