"""Every example of the table, broken at every offset, under every encoding and encodings of encodings: nothing leaks.

What is left is read by an oracle of its own, slow and simple: it undoes escapes, base64 at all alignments, hex, gzip,
zlib and zstd as far as they go, and drops all but letters and digits. Chains of encodings are drawn by seeds: all of
them for all offsets would be five million. The short form takes every 53rd text.
"""

from __future__ import annotations

import base64
import gzip
import html
import itertools
import json
import quopri
import random
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, unquote

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mask.values import VALUES
from tests.mask.conftest import session

MASKER = session()
SHORT = 53  # a prime, so it falls on all breakers

BREAKERS: dict[str, Callable[[str, int], str]] = {
    "nothing": lambda t, at: t,
    "a zero-width space": lambda t, at: t[:at] + "\u200b" + t[at:],
    "a soft hyphen": lambda t, at: t[:at] + "\u00ad" + t[at:],
    "a combining mark": lambda t, at: t[:at] + "\u0301" + t[at:],
    "an escape": lambda t, at: f"{t[:at]}\\u{ord(t[at]):04x}{t[at + 1 :]}",
    "a percent": lambda t, at: t[:at] + "".join(f"%{b:02X}" for b in t[at].encode()) + t[at + 1 :],
    "an entity": lambda t, at: f"{t[:at]}&#{ord(t[at])};{t[at + 1 :]}",
    "a soft line break": lambda t, at: t[:at] + "=\n" + t[at:],
    "full width": lambda t, at: t[:at] + (chr(ord(t[at]) + 0xFEE0) if "!" <= t[at] <= "~" else t[at]) + t[at + 1 :],
}
ENCODINGS: dict[str, Callable[[str], str]] = {
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "base64url": lambda t: base64.urlsafe_b64encode(b"?" + t.encode()).decode().rstrip("="),
    "hex": lambda t: t.encode().hex(),
    "percent": lambda t: quote(t, safe=""),
    "quoted-printable": lambda t: "".join(f"={b:02X}" for b in t.encode()),
    "JSON": lambda t: json.dumps({"note": t}),
    "gzip": lambda t: base64.b64encode(gzip.compress(t.encode(), mtime=0)).decode(),
}
CHAINS = [chain for depth in range(4) for chain in itertools.product(ENCODINGS, repeat=depth)]
EXAMPLES = [(each.name, text) for each in VALUES for text in each.hits]
_RUNS = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_HEX = re.compile(r"[0-9A-Fa-f]{8,}")
_LINES = re.compile(r"(?<=[A-Za-z0-9+/_-]{60})(?:\r?\n|\\+n)")
_ESCAPES = re.compile(r"\\+u([0-9A-Fa-f]{4})")


def bare(text: str) -> str:
    """Letters and digits of any script as ASCII has them, in small letters."""
    return "".join(
        c for c in unicodedata.normalize("NFKD", text) if c.isalnum() and not unicodedata.combining(c)
    ).lower()


def secrets(marked: str) -> list[str]:
    """The longest pieces of what may not be left: 6 letters and digits are no chance."""
    found = [bare(unquote(value)) for value in re.findall("«([^»]*)»", marked)]
    return [value[:24] for value in found if len(value) >= 6]


def readings(text: str, depth: int = 5) -> Iterator[str]:
    """All that a reader who tries hard makes of a text."""
    yield text
    if not depth:
        return
    plain = _ESCAPES.sub(lambda match: chr(int(match[1], 16)), html.unescape(unquote(text)))
    for other in {plain, quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")} - {text}:
        yield from readings(other, depth - 1)
    for raw in _decoded(text):
        try:
            raw = _unpacked(raw)
        except (zlib.error, zstandard.ZstdError):
            continue
        said = raw.decode("utf-8", "replace")
        if sum(c.isprintable() for c in said) * 10 >= len(said) * 7:
            yield from readings(said, depth - 1)


def _unpacked(raw: bytes) -> bytes:
    if raw[:4] == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return zlib.decompressobj(47).decompress(raw) if raw[:2] in (b"\x1f\x8b", b"\x78\x9c") else raw


def _decoded(text: str) -> Iterator[bytes]:
    for run in _HEX.findall(text):
        yield bytes.fromhex(run[: len(run) // 2 * 2])
    for run in _RUNS.findall(text) + _RUNS.findall(_LINES.sub("", text)):
        for shift in range(4):
            cut = run[shift:].replace("-", "+").replace("_", "/")
            cut = cut[: len(cut) // 4 * 4] if shift else cut + "A" * (-len(cut) % 4)
            yield base64.b64decode(cut)


def broken() -> Iterator[tuple[str, str, str]]:
    """(detector, example, text in which its value is broken): each example, each breaker, each offset."""
    for name, marked in EXAMPLES:
        plain = marked.replace("«", "").replace("»", "")
        start, end = marked.index("«"), marked.index("»") - 1
        for breaker in BREAKERS.values():
            for at in range(start + 1, end):
                yield name, marked, f"so it says: {breaker(plain, at)} and no more"


def leaks(marked: str, text: str, chain: tuple[str, ...]) -> bool:
    for encoding in chain:
        text = ENCODINGS[encoding](text)
    masked = str(MASKER.text(text).text)
    left = [bare(reading) for reading in readings(masked)]
    return any(secret in each for secret in secrets(marked) for each in left)


def test_the_oracle_reads_what_is_not_masked() -> None:
    for chain in CHAINS[::7]:
        text = "so it says: 4111-1111-1111-1111 and no more"
        for encoding in chain:
            text = ENCODINGS[encoding](text)
        assert any("4111111111111111" in bare(each) for each in readings(text)), chain


def leaking(seed: int, texts: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, tuple[str, ...]]]:
    chance = random.Random(seed)
    drawn = [(*each, chance.choice(CHAINS)) for each in texts]
    return [(name, text, chain) for name, marked, text, chain in drawn if leaks(marked, text, chain)]


def test_nothing_leaks() -> None:
    assert not leaking(1, itertools.islice(broken(), 0, None, SHORT))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_nothing_leaks_anywhere(seed: int) -> None:
    assert not leaking(100 + seed, itertools.islice(broken(), seed, None, 8))


@pytest.mark.slow
@pytest.mark.parametrize("detector", [each.name for each in VALUES])
def test_no_chain_of_encodings_hides_a_value(detector: str) -> None:
    texts = [(name, marked, marked.replace("«", "").replace("»", "")) for name, marked in EXAMPLES if name == detector]
    found = [
        (text, chain) for _, marked, text in texts[:3] for chain in CHAINS if leaks(marked, f"so: {text} ok.", chain)
    ]
    assert not found


# --- separators -----------------------------------------------------------------------

SEPARATORS = list(" -./_\u2011\u2013\u2212\u00a0\u2009\u200b\u00ad\uff0d\u30fb")
GROUPS = {
    "card": ("4111", "1111", "1111", "1111"), "American Express": ("3782", "822463", "10005"),
    "ssn": ("536", "90", "4399"),
    "iban": ("GB82", "WEST", "1234", "5698", "7654", "32"), "phone": ("+49", "30", "901820"),
}  # fmt: skip
UNWRITTEN = {"phone": {"/", "_", "\u30fb"}, "ssn": {"\u200b", "\u00ad"}}
"""With which none is written; nine digits that nothing divides are none without a word."""


@pytest.mark.parametrize("separator", SEPARATORS, ids=lambda each: f"{ord(each):04x}")
@pytest.mark.parametrize("kind", GROUPS)
def test_no_separator_hides_a_value(kind: str, separator: str) -> None:
    if separator in UNWRITTEN.get(kind, ()):
        return
    marked = f"«{separator.join(GROUPS[kind])}»"
    text = f"it is {marked[1:-1]} then"
    assert not [chain for chain in CHAINS if len(chain) < 2 and leaks(marked, text, chain)]


# --- laws ------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", [chain for chain in CHAINS if len(chain) < 2], ids="-".join)
def test_masking_twice_changes_nothing(chain: tuple[str, ...]) -> None:
    for _, marked in EXAMPLES:
        text = json.dumps({"a": marked.replace("«", "").replace("»", "")})
        for encoding in chain:
            text = ENCODINGS[encoding](text)
        once = str(MASKER.text(text).text)
        assert MASKER.text(once).text == once


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
VALUE = st.sampled_from(
    [4111111111111111, "536-90-4399", "bob@example.com", 5555555555554444, 'say "4111111111111111"']
)
DOCUMENTS = st.recursive(
    PLAIN | VALUE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "ssn", "card", "pin"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: object) -> object:
    """What must stay of a document: its members and their order, how long its lists are."""
    if isinstance(value, dict):
        return {key: shape(inner) if key in ("a", "b", "card") else None for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


@settings(max_examples=50)
@example([46_755_330_751_966_058_312_864_540], None)  # with a card's digits in it
@given(DOCUMENTS.filter(lambda value: isinstance(value, dict | list)), st.sampled_from([None, 1]))
def test_what_was_json_is_json_with_the_same_members(value: object, indent: int | None) -> None:
    masked = MASKER.text(json.dumps(value, indent=indent))
    assert shape(json.loads(str(masked.text))) == shape(value)


def test_tokens_are_equal_in_a_session_and_in_no_other() -> None:
    one, again, other = session("a"), session("a"), session("b")
    for _, marked in EXAMPLES:
        text = marked.replace("«", "").replace("»", "")
        here, there = one.text(text), other.text(text)
        assert here == again.text(text)
        assert here.text != there.text
        assert here.found == there.found
