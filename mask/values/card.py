"""Payment card numbers: 12 to 19 digits under any separators, by issuer range and the Luhn digit.

Numbers are looked for in *chains*, groups of digits with at most three other characters between, none of
them a letter. Every stretch of whole groups is tried (`2026 4111 1111 1111 1111`: a match that starts at
the year fails, and must not hide the card behind it). Groups set apart by what usually divides different
numbers (`,`, `;`, `:` ...) count only if cut as cards are printed. A group too long to be one number is
searched at every place. Sources: ISO/IEC 7812-1 (Luhn, annex B); the networks' published ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from mask.kinds import Detector, Finding, Kind
from mask.normal import View

SHORTEST, LONGEST = 12, 19
GAP = 3  # characters between two groups
_GROUPS = re.compile(rb"[0-9]++")
_CHAINS = re.compile(rb"[0-9](?<![0-9].)(?:[^0-9A-Za-z\x80\x82]{0,%d}+[0-9]){%d,}+" % (GAP, SHORTEST - 1), re.DOTALL)
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_DIVIDERS = re.compile(rb"[^-\s./_+\x00]")
_PRINTED = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 5), (6, 13), (8, 8)})
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_SINGLE = bytes.maketrans(b"0123456789", bytes(range(10)))

_MAESTRO = frozenset((5018, 5020, 5038, 5081, 5085, 5893, 6304, 6390, 6759, 6761, 6762, 6763))

_GAP = rb"[^0-9A-Za-z\x80\x82]{0,3}"


def _more(digits: int) -> bytes:
    return rb"(?:" + _GAP + rb"[0-9]){%d}" % digits


FILTERS = (
    rb"(?:^|[^0-9])(?:4" + _more(12) + rb"|[56]" + _more(11) + rb")",
    rb"(?:^|[^0-9])(?:3" + _GAP + rb"[04-9]" + _more(12) + rb"|2" + _GAP + rb"[2-7]" + _more(14) + rb")",
    rb"[0-9]{20}",
)


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1 annex B, over ASCII digits."""
    return (sum(digits[-2::-2].translate(_DOUBLED)) + sum(digits[::-2].translate(_SINGLE))) % 10 == 0


def issued(digits: bytes) -> bool:
    """Whether a network gives out numbers that begin so and are so long."""
    length = len(digits)
    if digits[0] == 0x34:  # Visa
        return length in (13, 16, 19)
    two, four = int(digits[:2]), int(digits[:4])
    if 51 <= two <= 55 or 2221 <= four <= 2720:  # Mastercard
        return length == 16
    if two in (34, 37):  # American Express
        return length == 15
    if 3000 <= four <= 3059 or four == 3095 or two in (36, 38, 39):  # Diners Club
        return 14 <= length <= LONGEST
    if two in (62, 64, 65) or four == 6011 or 3528 <= four <= 3589 or 2200 <= four <= 2204:
        return 16 <= length <= LONGEST  # UnionPay, Discover, RuPay, JCB, Mir
    if two in (56, 57, 58, 60):  # Maestro of old, RuPay
        return length == 16
    return four in _MAESTRO


def is_card(digits: bytes) -> bool:
    return SHORTEST <= len(digits) <= LONGEST and issued(digits) and luhn(digits)


_HEX = b"0123456789ABCDEFabcdef"
_DIGESTS = frozenset((32, 40, 48, 56, 64, 96, 128))  # letters of hex: MD5, SHA-1, SHA-2, ids of traces
_UUID = re.compile(rb"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")


def in_digest(data: bytes, start: int, end: int) -> bool:
    """Whether these digits are a part of a digest in hex, or of a UUID: chance makes cards in both."""
    left, right = data[max(0, start - 128) : start], data[end : end + 128]
    before = len(left) - len(left.rstrip(_HEX + b"-"))
    after = len(right) - len(right.lstrip(_HEX + b"-"))
    run = data[start - before : end + after]
    if before + after and len(run) in _DIGESTS and b"-" not in run:
        return (
            data[start - before - 1 : start - before].isalnum()
            is data[end + after : end + after + 1].isalnum()
            is False
        )
    return len(run) == 36 and _UUID.fullmatch(run) is not None


def find(view: View) -> Iterator[Finding]:
    data = view.data
    for chain in _CHAINS.finditer(data):
        start, end = chain.span()
        if end - start <= LONGEST and chain[0].isdigit():
            if is_card(chain[0]) and not in_digest(data, start, end):
                yield Finding(start, end, Kind.CARD, chain[0].decode())
            continue
        groups = [match.span() for match in _GROUPS.finditer(data, start, end)]
        for first, last in groups:
            if last - first > LONGEST:
                yield from _anywhere(data, first, last)
        yield from _in_chain(data, groups)


def _in_chain(data: bytes, chain: list[tuple[int, int]]) -> Iterator[Finding]:
    divided = [_DIVIDERS.search(data, one[1], two[0]) is not None for one, two in pairwise(chain)]
    for first, (start, _) in enumerate(chain):
        if data[start] not in b"234568":
            continue
        length, shape, apart = 0, [], False
        for nth in range(first, min(first + LONGEST + 1, len(chain))):
            begin, end = chain[nth]
            apart = apart or (nth > first and divided[nth - 1])
            length += end - begin
            if length > LONGEST:
                break
            shape.append(end - begin)
            if length >= SHORTEST and (not apart or tuple(shape) in _PRINTED):
                digits = data[start:end] if nth == first else data[start:end].translate(None, _NO_DIGITS)
                if is_card(digits) and not in_digest(data, start, end):
                    yield Finding(start, end, Kind.CARD, digits.decode())


def _anywhere(data: bytes, start: int, end: int) -> Iterator[Finding]:
    """Nothing is 20 digits long of itself, so two things were run together."""
    for at in range(start, end - 12):
        if data[at] not in b"2345":
            continue
        for length in (16, 15, 13) if data[at] != 0x33 else (15, 14, 16):
            digits = data[at : at + length]
            if at + length <= end and issued(digits) and luhn(digits):
                yield Finding(at, at + length, Kind.CARD, digits.decode())


DETECTOR = Detector(
    "card",
    FILTERS,
    find,
    "ISO/IEC 7812-1, annex B (Luhn); the networks' published ranges",
    ("«4111111111111111»", "«4111-1111-1111-1111»", "«3782 822463 10005»", "«2223003122003222»",
     "«6205500000000000004»", "2026 «4111 1111 1111 1111» 12/29", "x«4111111111111111»x", "9999«4111111111111111»1000"),
    ("4111111111111112", "1234567890123456", "4111 1111 1111", "9111111111111111", "2024-05-01 10:22:33",
     "da39a3ee5e6b4b4111111111111111affed80709", "41111111-1111-4111-8111-111111111111", "1722222222222222"),
)  # fmt: skip
