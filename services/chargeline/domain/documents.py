"""Reading YAML and JSON documents that people write: strictly, with the line and column of every fault.

Every scalar stays its text, so that a number is never a binary float on the way (spec/formats.md, section 1).
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

_SIGNS = re.compile("[&*!%]")  # without one of these nothing forbidden can stand in a document
_FORBIDDEN = (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken, yaml.DirectiveToken)


class _Fast(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]  # libyaml, a sixth of the time
    """Works out no types of scalars: nobody asks for them, and they are a third of the time."""

    def resolve(self, kind: type[yaml.Node], value: object, implicit: object) -> str:  # noqa: ARG002 - the loader calls it
        return ""


@dataclass(frozen=True)
class Problem:
    """One fault of a document; `code` is stable, line and column count from 1."""

    code: str
    message: str
    line: int = 1
    column: int = 1
    warning: bool = False


class BadDocument(ValueError):
    """The document cannot be used; `problems` says why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{each.line}:{each.column} {each.code} {each.message}" for each in problems))
        self.problems = problems


class Place(dict[str, Any]):
    """A mapping that knows where it stands, and where its keys stand; line and column count from 1."""

    line: int = 1
    column: int = 1
    at: dict[str, tuple[int, int]]

    def place(self, key: str) -> tuple[int, int]:
        """Line and column of a key; of the mapping itself if the key is not there."""
        return self.at.get(key, (self.line, self.column))


def read_document(text: str) -> Any:
    """Mappings as `Place`, lists, and scalars as text, bool or None.

    Raises:
        BadDocument: not YAML or JSON, a tag, an anchor, a key twice, a key that is no text, or nested too deep.
    """
    text = _without_tabs(text)
    try:
        return _composed(text, _Fast)
    except yaml.YAMLError:
        pass  # the slow reader takes JSON's pairs of escapes too, and its messages are the known ones
    try:
        return _composed(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _fail(mark, "NOT_YAML", str(error.problem or error.context))
    except yaml.YAMLError as error:
        raise BadDocument([Problem("NOT_YAML", " ".join(str(error).split()))]) from error
    except RecursionError as error:
        raise BadDocument([Problem("NOT_YAML", "the document is nested too deep")]) from error


def read_json(text: str) -> Any:
    """The same for JSON that a program wrote; every mapping stands at line 1, column 1.

    The YAML reader would refuse characters that JSON allows, and it is a hundred times slower.

    Raises:
        BadDocument: not JSON, a key twice, or nested too deep.
    """
    try:
        return json.loads(
            text, parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=_pairs_place
        )
    except json.JSONDecodeError as error:
        raise BadDocument([Problem("NOT_JSON", error.msg, error.lineno, error.colno)]) from error
    except RecursionError as error:
        raise BadDocument([Problem("NOT_JSON", "the document is nested too deep")]) from error


def _composed(text: str, loader: Any) -> Any:
    for token in yaml.scan(text, Loader=loader) if _SIGNS.search(text) else ():
        if isinstance(token, _FORBIDDEN):
            _fail(token.start_mark, "NOT_ALLOWED", "anchors, aliases, tags and directives are not allowed")
    node = yaml.compose(text, Loader=loader)
    return None if node is None else _value(node)


def _no_constant(name: str) -> NoReturn:
    raise BadDocument([Problem("BAD_NUMBER", f"{name} is no number")])


def _pairs_place(pairs: list[tuple[str, Any]]) -> Place:
    place = Place(pairs)
    place.at = {}
    if len(place) < len(pairs):
        raise BadDocument([Problem("DUPLICATE_KEY", f"a key stands twice in {', '.join(key for key, _ in pairs)}")])
    return place


def _without_tabs(text: str) -> str:
    """Spaces for tabs where the text is JSON: YAML allows no tab there, and JSON none inside its strings."""
    if "\t" not in text or not text.lstrip().startswith("{"):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(each) for each in node.value]
    place = Place()
    place.line, place.column = node.start_mark.line + 1, node.start_mark.column + 1
    place.at = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _fail(key.start_mark, "BAD_KEY", "a key must be text")
        name = _text(key)
        if name in place:
            _fail(key.start_mark, "DUPLICATE_KEY", f"the key {name} stands twice")
        place[name] = _value(value)
        place.at[name] = (key.start_mark.line + 1, key.start_mark.column + 1)
    return place


def _scalar(node: yaml.ScalarNode) -> Any:
    if not node.style and node.value in {"null", "Null", "NULL", "~", ""}:
        return None
    if not node.style and node.value in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return node.value[0] in "tT"
    return _text(node)


def _text(node: yaml.ScalarNode) -> str:
    """JSON writes a character beyond 16 bits as two escapes, which the YAML reader leaves as two halves."""
    if node.value.isascii():
        return str(node.value)
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        _fail(node.start_mark, "BAD_TEXT", "half of a surrogate pair")


def _fail(mark: Any, code: str, message: str) -> NoReturn:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    raise BadDocument([Problem(code, message, line, column)])
