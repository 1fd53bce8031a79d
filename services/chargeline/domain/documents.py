"""Reading YAML and JSON documents that people write: strictly, with the line and column of every fault.

Every scalar stays its text, so that a number is never a binary float on the way (spec/formats.md, section 1).
"""

from dataclasses import dataclass
from typing import Any

import yaml

_FORBIDDEN = (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken)


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
    """A mapping that knows where it stands, and where its keys stand."""

    line: int = 1
    column: int = 1
    at: dict[str, tuple[int, int]]


def read_document(text: str) -> Any:
    """Mappings as `Place`, lists, and scalars as text, bool or None.

    Raises:
        BadDocument: not YAML or JSON, a tag, an anchor, a key twice, or a key that is no text.
    """
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, _FORBIDDEN):
                _fail(token.start_mark, "NOT_ALLOWED", "anchors, aliases and tags are not allowed")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise BadDocument([Problem("NOT_YAML", str(error.problem), line, column)]) from error
    return None if node is None else _value(node)


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and node.value in {"null", "~", ""}:
            return None
        if node.style is None and node.value in {"true", "false"}:
            return node.value == "true"
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_value(each) for each in node.value]
    place = Place()
    place.line, place.column = node.start_mark.line + 1, node.start_mark.column + 1
    place.at = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _fail(key.start_mark, "BAD_KEY", "a key must be text")
        if key.value in place:
            _fail(key.start_mark, "DUPLICATE_KEY", f"the key {key.value} stands twice")
        place[key.value] = _value(value)
        place.at[key.value] = (key.start_mark.line + 1, key.start_mark.column + 1)
    return place


def _fail(mark: Any, code: str, message: str) -> None:
    raise BadDocument([Problem(code, message, mark.line + 1, mark.column + 1)])
