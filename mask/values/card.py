"""Payment card numbers: 12 to 19 digits under any separators, by issuer range and the Luhn digit.

Numbers are looked for in *chains*, groups of digits with at most three other characters between, none of
them a letter. A stretch of whole groups (`2026 4111 1111 1111 1111`: the year must not hide the card behind
it) counts cut as cards are printed, by whatever separators; cut otherwise, by one separator throughout that
does not usually divide different numbers: one in fifty stretches of a table of plain numbers would be a card
else. A group too long to be one number is searched at every place; a decimal fraction is none. Sources:
ISO/IEC 7812-1 (Luhn, annex B); the networks' published ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise

from mask.kinds import Detector, Family, Finding, Kind
from mask.normal import View

SHORTEST, LONGEST = 12, 19
GAP = 3  # characters between two groups
_FEW = 4  # digits
_GROUPS = re.compile(rb"[0-9]++")
_CHAINS = re.compile(rb"[0-9](?<![0-9].)(?:[^0-9A-Za-z\x80\x82]{0,%d}+[0-9]){%d,}+" % (GAP, SHORTEST - 1), re.DOTALL)
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_FOURS = (4, 4, 4, 4)
_PRINTED = (_FOURS, (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 5), (4, 4, 4), (6, 13), (8, 8))
_SHAPES = {first[:2]: [shape for shape in _PRINTED if shape[:2] == first[:2]] for first in _PRINTED}
_DIVIDES = re.compile(rb"[,:;|]")
_POINT = re.compile(rb"\.[0-9]")
_FRACTION = re.compile(rb"[0-9]\.[0-9]")
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_SINGLE = bytes.maketrans(b"0123456789", bytes(range(10)))

_MAESTRO = frozenset((604, 5018, 5020, 5038, 5081, 5085, 5893, 6304, 6390, 6759, 6761, 6762, 6763))

_GAP = rb"[^0-9A-Za-z\x80\x82]{1,%d}" % GAP
_JOIN = rb"[^\s.,:;|\"'()\[\]{}<>=&0-9A-Za-z\x80\x82]"
_FIRST_TWO = rb"(?:06|4[0-9]|5[0-8]|6[0-9]|3[04-9]|2[1-7]|18)"


def _written(first: int, *groups: int) -> bytes:
    """Groups so long, cut by anything; the first begins as a card does."""
    return _FIRST_TWO + b"".join(rb"[0-9]{%d}" % (first - 2) if n == 0 else _GAP + rb"[0-9]{%d}" % size
                                 for n, size in enumerate((first, *groups)))  # fmt: skip


def _cut(first: int, most: int) -> bytes:
    """Twelve digits and more, of which so many stand before the first separator."""
    digit, left = rb"(?:" + _JOIN + rb"{0,%d}[0-9])" % GAP, max(1, SHORTEST - first)
    return rb"[1-6][0-9]{%d,%d}" % (first - 1, most - 1) + _JOIN + digit + rb"{%d}" % left


_CANDIDATE = rb"|".join(
    (
        _written(4, 4, 4),
        _written(4, 6, 4),
        _written(6, 13),
        _written(8, 8),
        *(_cut(first, first) for first in range(1, SHORTEST - 1)),  # to the digit, or UUIDs are candidates
        _cut(SHORTEST - 1, 16),
        rb"[1-6][0-9]{3,16}\.[0-9]{1,14}\.[0-9]",  # by points, but no decimal number and no IPv4 address
        rb"[1-6][0-9]{0,2}\.(?:[0-9]{4,14}\.[0-9]|[0-9]{1,3}\.(?:[0-9]{4}|[0-9]{1,3}\.(?:[0-9]{4}|[0-9]{1,3}\.[0-9])))",
        rb"[1-6][0-9]{5,17}[ ][0-9]|[1-6][0-9]{0,4}[ ][0-9]{7}",
        rb"[1-6][0-9]{2}(?:[ ][0-9]{3}){3}|[1-6][0-9](?:[ ][0-9]{2}){5}|[1-6](?:[ ][0-9]){11}",
    )
)
"""What `_stretches` may find, and more; most numbers and times are none."""
_RUN = _FIRST_TWO + rb"[0-9]{10}"
_MAY_BE = re.compile(rb"(?<![0-9])(?:" + _RUN + rb"|" + _CANDIDATE + rb"|[0-9]{20})")
_JOINS = re.compile(_JOIN + rb"{1,%d}|[ .]" % GAP)
FILTERS = (
    rb"(?:^|[^0-9])(?:" + _CANDIDATE + rb")",
    rb"(?:^|[^0-9.]|(?:^|[^0-9])\.)" + _RUN,  # not behind the point of a number
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
    if digits[0] == 0x31:  # JCB of old, with 2131
        return length == 15 and digits.startswith(b"1800")
    two, four = int(digits[:2]), int(digits[:4])
    if 51 <= two <= 55 or 2221 <= four <= 2720:  # Mastercard
        return length == 16
    if two in (34, 37) or four == 2131:  # American Express
        return length == 15
    if 3000 <= four <= 3059 or four == 3095 or two in (36, 38, 39):  # Diners Club
        return 14 <= length <= LONGEST
    if two in (62, 64, 65) or four == 6011 or two == 35 or 2200 <= four <= 2204:
        return 16 <= length <= LONGEST  # UnionPay, Discover, RuPay, JCB (lists differ in which of 35), Mir
    if two == 60:  # RuPay
        return length == 16
    if 56 <= two <= 58:  # Maestro
        return SHORTEST <= length <= LONGEST
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
        if chain[0].isdigit():
            yield from _alone(data, start, end)
            continue
        if not _MAY_BE.search(data, start, end):
            continue
        groups = [match.span() for match in _GROUPS.finditer(data, start, end)]
        for first, last in groups:
            if last - first >= SHORTEST:
                yield from _alone(data, first, last)
        for first, last in _stretches(data, groups):
            start, end = groups[first][0], groups[last][1]
            if last == first + 1 and (_FRACTION.match(data, start - 2) or _POINT.match(data, end)):
                continue
            digits = data[start:end].translate(None, _NO_DIGITS)
            if is_card(digits) and not in_digest(data, start, end):
                yield Finding(start, end, Kind.CARD, digits.decode())


def _alone(data: bytes, start: int, end: int) -> Iterator[Finding]:
    """One group."""
    if end - start > LONGEST:
        yield from _anywhere(data, start, end)
    elif is_card(data[start:end]) and not in_digest(data, start, end) and not _FRACTION.match(data, start - 2):
        yield Finding(start, end, Kind.CARD, data[start:end].decode())


def _stretches(data: bytes, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The first and the last group of each stretch that may be written so."""
    sizes = [end - start for start, end in groups]
    printed = set()
    gaps = [data[one[1] : two[0]] for one, two in pairwise(groups)]
    for first, two in enumerate(pairwise(sizes)):
        for shape in _SHAPES.get(two, ()):
            last = first + len(shape) - 1
            if tuple(sizes[first : last + 1]) == shape and (shape is _FOURS or _alike(gaps[first:last])):
                printed.add((first, last))
                yield first, last
    at = 0
    for gap, same in groupby(gaps):
        count = sum(1 for _ in same)
        if _JOINS.fullmatch(gap):
            yield from (each for each in _joined(sizes, at, at + count, gap) if each not in printed)
        at += count


def _alike(gaps: list[bytes]) -> bool:
    return len(set(gaps)) == 1 and not _DIVIDES.search(gaps[0])


def _joined(sizes: list[int], first: int, last: int, gap: bytes) -> Iterator[tuple[int, int]]:
    """Stretches of 12 to 19 digits. By a space or a point, which tables are full of: two groups by the one, three
    and more by the other, or small groups all alike."""
    for begin in range(first, last):
        length = sizes[begin]
        for end in range(begin + 1, last + 1):
            length += sizes[end]
            if length > LONGEST:
                break
            if length < SHORTEST:
                continue
            few = end == begin + 1
            alike = sizes[end] <= sizes[begin] <= _FEW and len(set(sizes[begin:end])) == 1
            if alike or (few if gap == b" " else gap != b"." or not few):
                yield begin, end


def _anywhere(data: bytes, start: int, end: int) -> Iterator[Finding]:
    """Nothing is 20 digits long of itself, so two things were run together."""
    for at in range(start, end - 12):
        if data[at] not in b"2345":
            continue
        for length in (16, 15, 13) if data[at] != 0x33 else (15, 14, 16):
            digits = data[at : at + length]
            if at + length <= end and issued(digits) and luhn(digits) and not in_digest(data, start, end):
                yield Finding(at, at + length, Kind.CARD, digits.decode())


DETECTOR = Detector(
    "card",
    FILTERS,
    find,
    "ISO/IEC 7812-1, annex B (Luhn); the networks' published ranges",
    ("«4111111111111111»", "«4111-1111-1111-1111»", "«3782 822463 10005»", "«2223003122003222»",
     "«6205500000000000004»", "2026 «4111 1111 1111 1111» 12/29", "x«4111111111111111»x", "9999«4111111111111111»1000"),
    ("4111111111111112", "1234567890123456", "4111 1111 1111", "9111111111111111", "2024-05-01 10:22:33",
     "da39a3ee5e6b4b4111111111111111affed80709", "41111111-1111-4111-8111-111111111111", "1722222222222222",
     "0.4111111111111111", "4111111 11111 1111", "[411, 111111, 1111, 111]"),
    family=Family.DIGITS,
)  # fmt: skip
