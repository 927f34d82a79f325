"""Values to plant by the hundred: of every type that the mask finds, in every encoding, made from a seed.

Types and forms come from two places: the corpora of the recall tests, and the table of detectors itself, whose
examples are made anew with other random characters (other digits that pass, for a national id).
"""

from __future__ import annotations

import base64
import random
import re
import string
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import zstandard

from mask.values import VALUES
from mask.values.national import IDS, Id, passes
from mask.values.secrets import is_random
from tests.mask import corpora
from tests.mask.test_everywhere import ENCODINGS as TESTED
from tests.mask.test_everywhere import bare

ENCODINGS: dict[str, Callable[[str], str]] = TESTED | {
    "zlib": lambda t: base64.b64encode(zlib.compress(t.encode())).decode(),
    "zstd": lambda t: base64.b64encode(zstandard.compress(t.encode())).decode(),
    "entities": lambda t: "".join(f"&#{ord(c)};" for c in t),
    "escapes": lambda t: "".join(f"\\u{ord(c):04x}" if c < "\U00010000" else c for c in t),
    "upper hex": lambda t: t.encode().hex().upper(),
    "wrapped": lambda t: base64.encodebytes(t.encode()).decode(),
}
DEPTH = 3
CHAINS = [chain for depth in range(DEPTH + 1) for chain in product(ENCODINGS, repeat=depth)]
_SHORTEST, _LONGEST = 9, 24
"""Letters and digits of which a needle is made: fewer are found by chance, more need not be left."""


class Planted(NamedTuple):
    """`text` says `value`, by so many encodings; whoever finds one of the needles has found the value."""

    kind: str
    value: str
    text: str
    chain: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{self.kind} by {'+'.join(self.chain) or 'nothing'}: {self.value!r}"


def needles(value: str) -> tuple[str, ...]:
    """What a file may not hold: the value as it is written, and without what separates; of a key in lines each line."""
    if value.startswith("-----BEGIN"):
        return tuple(line for line in re.split(r"\n|\\n", value)[1:-1] if len(line) >= _LONGEST)
    compact = re.sub(r"[\W_]", "", value)
    return (value, compact) if compact != value and len(compact) >= _SHORTEST else (value,)


def secret(value: str) -> str:
    """What a reading of what is left may not hold, by letters and digits alone: the end, for many values begin alike.
    "" where too few make it up."""
    said = needles(value) or ("",)
    short = bare(said[0])[-_LONGEST:]
    return short if len(short) >= _SHORTEST else ""


def all_needles(values: Iterable[Planted]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(needle for each in values for needle in needles(each.value)))


def planted(seed: int, count: int) -> Iterator[Planted]:
    """So many, all types in turn. Each chain of encodings comes before one comes again."""
    chance = random.Random(seed)
    chains = _drawn(chance)
    per_kind = -(-count // (len(corpora.KINDS) + len(EXAMPLES)))
    sentences = {kind: list(corpora.planted(seed, per_kind, (kind,))) for kind in corpora.KINDS}
    for n in range(per_kind):
        for kind in (*corpora.KINDS, *EXAMPLES):
            if count <= 0:
                return
            count -= 1
            if kind in sentences:
                text, ((start, end, _),) = sentences[kind][n]
                value = text[start:end]
            else:
                text, value = _anew(chance, EXAMPLES[kind][n % len(EXAMPLES[kind])])
            chain = next(chains)
            yield Planted(kind, value, encoded(text, chain), chain)


def _drawn(chance: random.Random) -> Iterator[tuple[str, ...]]:
    """Every second value is not encoded at all or once; deeper chains are many."""
    shallow = [chain for chain in CHAINS if len(chain) < 2]
    while True:
        deep = chance.sample(CHAINS, len(CHAINS))
        for nth, chain in enumerate(deep):
            yield shallow[nth % len(shallow)]
            yield chain


def encoded(text: str, chain: Sequence[str]) -> str:
    for name in chain:
        text = ENCODINGS[name](text)
    return text


# --- the table's examples, with other values ---------------------------------------------

OF_CORPORA = {
    "card", "ssn", "ssn_named", "email", "iban", "phone", "phone_named", "birth_date", "jwt", "aws_access_key",
    "github_token", "gitlab_token", "slack_token", "stripe_key", "google_api_key", "npm_token", "pypi_token",
    "aws_secret_key", "private_key",
}  # fmt: skip
"""Detectors whose values the corpora have."""
EXAMPLES = {each.name: each.hits for each in VALUES if each.name not in OF_CORPORA}
"""By name of any other detector: texts with their values in «»."""
_RANDOM = re.compile(r"(?:aB3dE5fG7hJ9)+[A-Za-z0-9]*|(?:0a1b2c3d)+|abcdefghij[a-z0-9]*|hunter2")
_OF_ID = {each.example: each for each in IDS}


def _anew(chance: random.Random, marked: str) -> tuple[str, str]:
    """The text of an example, and its value."""
    before, _, rest = marked.partition("«")
    value, _, after = rest.partition("»")
    if value in _OF_ID:
        value = _number(chance, _OF_ID[value])
    elif _RANDOM.search(value):
        value = _RANDOM.sub(lambda match: _like(chance, match[0]), value)
    else:
        value = re.sub("[0-9]", lambda match: _digit(chance, match), value)
    after = re.sub("«[^»]*»", "", after)
    return before + value + after, value


def _digit(chance: random.Random, match: re.Match[str]) -> str:
    """The first two stay: they are of a country or an area, and say that it is one."""
    return match[0] if match.start() < 3 else chance.choice(string.digits)


def _like(chance: random.Random, text: str) -> str:
    alphabet = "0123456789abcdef" if text.startswith("0a1b") else string.ascii_letters + string.digits
    while True:
        found = "".join(chance.choices(alphabet, k=len(text)))
        if len(text) < 20 or alphabet.startswith("0") or is_random(found.encode()):
            return found


def _number(chance: random.Random, of: Id) -> str:
    form = re.compile(of.form.decode("latin-1"))
    while True:
        found = re.sub("[0-9]", lambda _: chance.choice(string.digits), of.example)
        if form.fullmatch(found) and passes(of, found):
            return found
