"""From findings to places to replace, and from those to the text that is kept."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from mask.kinds import Finding, Kind
from mask.tokens import Tokens, canonical
from schemas.records import Found


class Replaced(NamedTuple):
    """Characters `start` to `end` are to be replaced by what `finding` says; `kinds` were in it."""

    start: int
    end: int
    finding: Finding
    kinds: tuple[Kind, ...]


@dataclass(slots=True)
class Counts:
    """How many values were replaced, by type, and how many places are withheld."""

    kinds: dict[Kind, int] = field(default_factory=dict)
    withheld: int = 0
    hidden: dict[str, str] = field(default_factory=dict)
    """What was replaced for its name alone, and by what."""

    def add(self, places: Iterable[Replaced]) -> Counts:
        for each in places:
            for kind in each.kinds:
                self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if each.finding.withhold:
                self.withheld += 1
        return self

    def found(self) -> tuple[Found, ...]:
        return tuple(Found(kind.value, count) for kind, count in sorted(self.kinds.items()))


_VAGUE = frozenset((Kind.SECRET, Kind.FIELD, Kind.PASSWORD))


def merged(findings: list[Finding], text: str) -> list[Replaced]:
    """One replacement for findings that overlap: from the first character of any to the last of any, named
    after the longest. Where several values are in one place (a base64 of many), the place is the value."""
    findings = _without_false_addresses(findings)
    findings.sort()
    done: list[Replaced] = []
    cluster: list[Finding] = []
    reach = -1
    for each in findings:
        start, end, *_ = each
        if start >= reach:
            if cluster:
                done.append(_joined(cluster, reach, text))
            cluster, reach = [each], end
        else:
            cluster.append(each)
            if end > reach:
                reach = end
    if cluster:
        done.append(_joined(cluster, reach, text))
    return done


def _without_false_addresses(findings: list[Finding]) -> list[Finding]:
    """`bob:hunter2@db.example.com` holds a password and no address."""
    passwords = sorted(each.start for each in findings if each.kind is Kind.PASSWORD)
    if not passwords:
        return findings
    return [
        each
        for each in findings
        if each.kind is not Kind.EMAIL or bisect_left(passwords, each.start) == bisect_left(passwords, each.end)
    ]


def _joined(cluster: list[Finding], end: int, text: str) -> Replaced:
    start, last, kind, _, withhold = cluster[0]
    if not withhold and last == end:
        for each in cluster:  # one value, however often it was found
            if each[:3] != (start, last, kind) or each.withhold:
                break
        else:
            return Replaced(start, end, cluster[0], (kind,))
    length = max(each.end - each.start for each in cluster)
    longest = [each for each in cluster if each.end - each.start == length]
    values = {(each.kind, canonical(each.kind, each.value)): each for each in longest}
    if len({each.value for each in longest}) == 1:  # one value by several names: the one that says most
        said = [each for each in longest if each.kind not in _VAGUE] or longest
        values = {(said[0].kind, ""): said[0]}
    first = next((each for each in values.values() if each.withhold), None)
    if first is not None or length < end - start:
        first = (first or longest[0])._replace(value=text[start:end])
    elif len(values) > 1:
        first = Finding(start, end, Kind.ENCODED, text[start:end])
    else:
        first = next(iter(values.values()))
    return Replaced(start, end, first, tuple(kind for kind, _ in values))


def replaced(text: str, places: list[Replaced], tokens: Tokens) -> str:
    """The text with each place replaced. What was JSON stays JSON: numbers become strings."""
    return spliced(text, [(each.start, each.end, tokens.of(each.finding)) for each in places])


def spliced(text: str, places: list[tuple[int, int, str]]) -> str:
    """The text with other text from character to character, in order. What was JSON stays JSON: numbers become
    strings."""
    if not places:
        return text
    plain = _spliced(text, places, quoted=False)
    if text.lstrip()[:1] in ("{", "[") and not is_json(plain):
        quoted = _spliced(text, places, quoted=True)
        if is_json(quoted):
            return quoted
    return plain


def _spliced(text: str, places: list[tuple[int, int, str]], *, quoted: bool) -> str:
    parts: list[str] = []
    at = 0
    for first, last, token in places:
        if first < at:  # in a number that was replaced whole
            continue
        start, end = (quoted and _number(text, at, first, last)) or (first, last)
        parts += (text[at:start], f'"{token}"' if quoted and _stands_alone(text, at, start, end) else token)
        at = end
    parts.append(text[at:])
    return "".join(parts)


_DIGITS, _BLANKS = "+-.0123456789Ee", " \t\r\n"


def _number(text: str, at: int, start: int, end: int) -> tuple[int, int] | None:
    """All of the number in JSON of which a part is to be replaced."""
    while start > at and text[start - 1] in _DIGITS:
        start -= 1
    while end < len(text) and text[end] in _DIGITS:
        end += 1
    return (start, end) if _stands_alone(text, at, start, end) else None


def _stands_alone(text: str, at: int, start: int, end: int) -> bool:
    """Whether a value of JSON without quotes is there."""
    while start > at and text[start - 1] in _BLANKS:
        start -= 1
    while end < len(text) and text[end] in _BLANKS:
        end += 1
    return text[max(at, start - 1) : start] in (":", ",", "[") and text[end : end + 1] in (",", "}", "]")


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
