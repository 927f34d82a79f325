"""From findings to places to replace, and from those to the text that is kept."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mask.kinds import Finding, Kind
from mask.tokens import Tokens, canonical
from schemas.records import Found


@dataclass(frozen=True, slots=True)
class Replaced:
    """Characters `start` to `end` are to be replaced by what `finding` says; `kinds` were in it."""

    start: int
    end: int
    finding: Finding
    kinds: tuple[Kind, ...]


@dataclass(slots=True)
class Counts:
    """How many values were replaced, by type, and how many places are withheld."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    withheld: int = 0

    def add(self, places: Iterable[Replaced]) -> Counts:
        for each in places:
            self.kinds.update(each.kinds)
            self.withheld += each.finding.withhold
        return self

    def found(self) -> tuple[Found, ...]:
        return tuple(Found(kind.value, count) for kind, count in sorted(self.kinds.items()))


_VAGUE = frozenset((Kind.SECRET, Kind.FIELD, Kind.PASSWORD))


def merged(findings: list[Finding], text: str) -> list[Replaced]:
    """One replacement for findings that overlap: from the first character of any to the last of any, named
    after the longest. Where several values are in one place (a base64 of many), the place is the value."""
    findings = _without_false_addresses(findings)
    findings.sort(key=lambda each: (each.start, -each.end))
    done: list[Replaced] = []
    cluster: list[Finding] = []
    reach = -1
    for each in findings:
        if each.start >= reach and cluster:
            done.append(_joined(cluster, reach, text))
            cluster = []
        reach = each.end if not cluster else max(reach, each.end)
        cluster.append(each)
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
    if len(cluster) == 1 and not cluster[0].withhold:
        return Replaced(cluster[0].start, end, cluster[0], (cluster[0].kind,))
    start = cluster[0].start
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
    plain = _spliced(text, places, tokens, quoted=False)
    if text.lstrip()[:1] in ("{", "[") and not _is_json(plain):
        quoted = _spliced(text, places, tokens, quoted=True)
        if _is_json(quoted):
            return quoted
    return plain


def _spliced(text: str, places: list[Replaced], tokens: Tokens, *, quoted: bool) -> str:
    parts: list[str] = []
    at = 0
    for each in places:
        token = tokens.of(each.finding)
        before, after = text[at : each.start], text[each.end :].lstrip()[:1] if quoted else ""
        bare = quoted and before.rstrip()[-1:] in (":", ",", "[") and after in (",", "}", "]")
        parts += (before, f'"{token}"' if bare else token)
        at = each.end
    parts.append(text[at:])
    return "".join(parts)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
