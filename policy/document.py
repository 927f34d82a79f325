"""Strict YAML: every value keeps its line, an unknown key is an error that names the nearest known one.

Only mappings, lists and scalars; no tags, anchors or aliases, so nothing can be built, grow or loop.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

MAX_TEXT = 1 << 18
MAX_DEPTH = 16


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C ten times quicker: 256 KiB in a second
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"[0-9]{1,9}")


class RulesInvalid(ValueError):
    """The policy cannot be used: which line, and what to do about it."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(f"policy line {line}: {why}")
        self.line = line


class Value:
    """One place in the document. Its methods say what must stand there."""

    def __init__(self, node: yaml.Node, path: str) -> None:
        self._node = node
        self.path = path
        self.line: int = node.start_mark.line + 1

    def invalid(self, why: str) -> RulesInvalid:
        return RulesInvalid(f"{self.path}: {why}" if self.path else why, self.line)

    def text(self) -> str:
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag != "tag:yaml.org,2002:str":
            raise self.invalid("must be text (put it in quotes)")
        return str(self._node.value)

    def number(self) -> int:
        node = self._node
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int" and _NUMBER.fullmatch(node.value):
            return int(node.value)
        raise self.invalid("must be a whole number")

    def seconds(self, longest: int) -> int:
        """Of a span such as 30m, 1h or 7d."""
        text = self.text()
        if text[:-1].isascii() and text[:-1].isdigit() and text[-1:] in _UNITS:
            seconds = int(text[:-1][:9]) * _UNITS[text[-1]]
            if 0 < seconds <= longest:
                return seconds
        most = f"{longest // 86400}d" if longest % 86400 == 0 else f"{longest // 3600}h"
        raise self.invalid(f"must be a time up to {most}, such as 30m, 1h or 7d")

    def truth(self) -> bool:
        node = self._node
        if isinstance(node, yaml.ScalarNode) and node.value in ("true", "false"):
            return bool(node.value == "true")
        raise self.invalid("must be true or false")

    def one_of(self, words: Iterable[str]) -> str:
        known = list(words)
        if self.text() not in known:
            raise self.invalid(f"must be one of {', '.join(known)}")
        return self.text()

    def items(self) -> Iterator[Value]:
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.invalid("must be a list")
        for at, node in enumerate(self._node.value):
            yield Value(node, f"{self.path}[{at}]")

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    def pairs(self) -> dict[str, Value]:
        """The keys of a mapping, whatever they are."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.invalid("must be a mapping")
        found: dict[str, Value] = {}
        for key, node in self._node.value:
            name = Value(key, self.path).text()
            if name in found:
                raise Value(key, self.path).invalid(f"{name!r} stands twice")
            found[name] = Value(node, f"{self.path}.{name}".lstrip("."))
        return found

    def fields(self, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Value]:
        """The keys of a mapping that may have these and must have those."""
        known = list(known)
        found = self.pairs()
        for name, value in found.items():
            if name not in known:
                raise RulesInvalid(f"{value.path}: unknown key{nearest(name, known)}", value.line)
        for name in needed:
            if name not in found:
                raise self.invalid(f"{name!r} is missing")
        return found


def nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def read(text: str) -> Value:
    """The document's root. Raises RulesInvalid."""
    if len(text) > MAX_TEXT:
        raise RulesInvalid(f"longer than {MAX_TEXT} characters", 1)
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = text.count("\n", 0, len(text.rstrip("\n"))) + 1  # at an unexpected end the mark is behind it
        raise RulesInvalid(f"not YAML: {error.problem}", min(mark.line + 1, last) if mark else 1) from None
    except yaml.YAMLError:
        raise RulesInvalid("not YAML: a character that may not stand in it", 1) from None
    if node is None:
        raise RulesInvalid("the policy is empty", 1)
    return Value(node, "")


def _check_events(text: str) -> None:
    """Before anything is built: no aliases, no depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise RulesInvalid("anchors and aliases are not used here", line)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise RulesInvalid("nested too deep", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
