"""Effects without which a condition cannot be true, by its text: asking CEL costs 3 microseconds a rule.

    needed('target.name == "db" && command.effects.exists(e, e.effect in ["drop", "truncate"])')
        == frozenset({"drop", "truncate"})            # one of them

Sound because in CEL `false && x` is false whatever `x` is, an error included. Text of any other form
gives None: it is asked.
"""

from __future__ import annotations

import re

_TEXT = r"(?:\"[\w-]*\"|'[\w-]*')"
_EXISTS = re.compile(r"^command\s*\.\s*effects\s*\.\s*exists\s*\(\s*(\w+)\s*,(.*)\)$", re.DOTALL)
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')


def needed(condition: str) -> frozenset[str] | None:
    for part in _conjuncts(condition):
        exists = _EXISTS.match(part)
        if exists is None or _closes_early(exists[2]):
            continue
        for inner in _conjuncts(exists[2]):
            if (words := _effects(inner, exists[1])) is not None:
                return words
    return None


def _effects(text: str, name: str) -> frozenset[str] | None:
    """Of `e.effect == "x"` and `e.effect in ["x", "y"]`."""
    found = re.fullmatch(rf"{name}\.effect\s*(?:==\s*({_TEXT})|in\s*\[((?:\s*{_TEXT}\s*,?)*)\s*\])", text)
    if found is None:
        return None
    return frozenset(word[1:-1] for word in re.findall(_TEXT, found[1] or found[2]))


def _conjuncts(text: str) -> list[str]:
    """What stands between `&&` outside of brackets; the whole where `||` or `?` binds less."""
    bare = _STRING.sub(lambda found: "x" * len(found[0]), text)  # same places, no brackets in strings
    parts, depth, start = [], 0, 0
    for at, character in enumerate(bare):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth == 0 and (character == "?" or bare.startswith("||", at)):
            return [text.strip()]
        elif depth == 0 and bare.startswith("&&", at):
            parts.append(text[start:at].strip())
            start = at + 2
    return [*parts, text[start:].strip()]


def _closes_early(inner: str) -> bool:
    """`exists(e, a) == exists(e, b)` is not one call."""
    depth = 0
    for character in _STRING.sub("", inner):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return True
    return False
