"""What an answer format is: a table from the fields of a usage block to leaves. Pure.

A table line is `"field": "effect"`. A field is a dotted path inside the usage block; `name[AUDIO].count` is the
`count` of those items of a list whose selector (`modality`, `ttl`) is AUDIO, and `name[]` any other item. An effect
names the leaves (spec/rating.md 6) that grow by the count, or, after a minus sign, shrink by it:

    "prompt_tokens": "input"                                        a whole
    "prompt_tokens_details.cached_tokens": "cache_read_input -input"  a part that is inside the whole
    "cache_read_input_tokens": "cache_read_input"                   a part that stands beside the whole

So a part is taken out of its whole once, at the one place that says where it was counted. Effects of a whole add up
to +1, those of a part to 0. `"a | b + c": effect` takes `a`, or the sum of `b` and `c` where `a` is absent or null.
A name that is no leaf is an extra quantity (`web_searches`), kept in millionths of its unit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

INPUT_LEAVES = (
    "input", "cache_read_input", "cache_write_input", "cache_write_1h_input", "input_audio", "input_image",
    "cache_read_audio",
)  # fmt: skip
OUTPUT_LEAVES = ("output", "reasoning_output", "output_audio", "output_image")
LEAVES = (*INPUT_LEAVES, *OUTPUT_LEAVES)


class Quiet(Enum):
    """Fields that count nothing here."""

    KNOWN = "known"  # informational: totals, times, the provider's own costs
    UNCOUNTED = "uncounted"  # left inside its whole here, though other formats count it: reported unless it is zero


@dataclass(frozen=True)
class Counted:
    """Where a field's number goes: (group, rank) pairs. Of a group's alternatives the lowest rank given holds."""

    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Items:
    """A list of objects: the fields of an item by the value of its selector; "" is any other item."""

    by_selector: Mapping[str, "Node"]


Node = dict[str, "Counted | Quiet | Items | Node"]


@dataclass(frozen=True)
class Stop:
    """Where an answer says that it has ended: a path in the answer, `name[].key` for each item of a list.

    Cut off if the value there is one of `words`, or null where no words are given. An absent key tells something
    only if `required`.
    """

    path: str
    words: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class Format:
    """One provider API's usage block.

    Attributes:
        name: stable, for messages and tests.
        counts: the table; see the module.
        known: informational fields, never reported; a path stands for everything below it.
        uncounted: fields reported only if not zero, because here they are no leaf of their own.
        signs: names that tell this format from the others where nothing else does.
        roots: where the block may stand in a whole answer, first match wins.
        models: where the object that holds the block says which model answered.
        stops: where that object says that the answer has ended.
        needs: sides without which the count is not complete: "input", "output".
        total: the block's own sum of input and output; it tells that a missing side is zero.
        selector: the key of list items that `[…]` in paths compares.
    """

    name: str
    counts: Mapping[str, str]
    known: frozenset[str] = frozenset()
    uncounted: frozenset[str] = frozenset()
    signs: tuple[str, ...] = ()
    roots: tuple[str, ...] = ("usage",)
    models: tuple[str, ...] = ("model",)
    stops: tuple[Stop, ...] = ()
    needs: tuple[str, ...] = ("input", "output")
    total: str | None = None
    selector: str = ""

    @cached_property
    def effects(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        """(leaf or extra quantity, +1 or -1) pairs of each table line."""
        return tuple(tuple(_effect(word) for word in text.split()) for text in self.counts.values())

    @cached_property
    def tree(self) -> Node:
        """The table as nested names, so that a block is walked once."""
        places: dict[str, list[tuple[int, int]]] = {}
        for group, line in enumerate(self.counts):
            for rank, alternative in enumerate(line.split("|")):
                for path in alternative.split("+"):
                    places.setdefault(path.strip(), []).append((group, rank))
        root: Node = {}
        for quiet, paths in ((Quiet.KNOWN, self.known), (Quiet.UNCOUNTED, self.uncounted)):
            for path in paths:
                _hang(root, path, quiet)
        for path, found in places.items():
            _hang(root, path, Counted(tuple(found)))
        return root

    @cached_property
    def wholes(self) -> frozenset[str]:
        """Top names of the fields that fill one leaf, or would: with none of them a block is not of this format."""
        lines = [
            line
            for line, effect in zip(self.counts, self.effects, strict=True)
            if len(effect) == 1 and effect[0][0] in LEAVES
        ]
        paths = [path.strip() for line in (*lines, *self.uncounted) for path in line.replace("+", "|").split("|")]
        return frozenset(path.split(".")[0].split("[")[0] for path in paths)


def names(text: str) -> frozenset[str]:
    """The words of a text as a set of paths."""
    return frozenset(text.split())


def prefixed(prefix: str, words: Iterable[str] | str) -> frozenset[str]:
    """The words of a text as paths under a prefix."""
    return frozenset(f"{prefix}{word}" for word in (words.split() if isinstance(words, str) else words))


def _effect(word: str) -> tuple[str, int]:
    return (word[1:], -1) if word.startswith("-") else (word, 1)


def _hang(root: Node, path: str, leaf: "Counted | Quiet") -> None:
    node = root
    *branches, last = path.split(".")
    for branch in branches:
        name, bracket, selector = branch.partition("[")
        if bracket:
            items = node.setdefault(name, Items({}))
            assert isinstance(items, Items)
            assert isinstance(items.by_selector, dict)
            node = items.by_selector.setdefault(selector[:-1], {})
        else:
            below = node.setdefault(name, {})
            assert isinstance(below, dict)
            node = below
    node[last] = leaf
