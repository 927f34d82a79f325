"""What came from traffic, made safe to look at. Pure.

A terminal acts on control characters, and a reader is fooled by what is invisible or
reordered. All of that is written as an escape: what is there is seen, and nothing else
happens. A text that could forge our own labels stands behind a bar, on every line.
"""

from __future__ import annotations

import unicodedata
from collections import Counter

from rich.cells import cell_len

BAR = "│ "
_HIDDEN = frozenset(  # printable by category, yet nothing is seen
    map(
        chr,
        (
            *(0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def visible(text: str) -> str:
    """One line: control, format, bidirectional, zero-width and odd space characters as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and c not in _HIDDEN else _escape(c) for c in text)


def unambiguous(text: str) -> str:
    """As `visible`, and letters that a terminal may reorder, and marks that overprint others, are escapes too."""
    return "".join(_escape(c) if _reorders(c) else c for c in visible(text))


def block(text: str, width: int) -> list[str]:
    """Lines behind a bar, wrapped here and not by the terminal, so that no text can begin a line of ours."""
    room = max(20, width - len(BAR) - 1)
    lines = []
    for line in text.expandtabs(4).split("\n"):
        lines += [BAR + part for part in _wrapped(unambiguous(line), room)]
    return lines


def strange(text: str) -> list[str]:
    """The characters of it that are not ASCII, by name: a look-alike letter is seen for what it is."""
    found = Counter(c for c in text if not c.isascii())
    return [f"U+{ord(c):04X} {unicodedata.name(c, 'without a name')} ({n}×)" for c, n in sorted(found.items())]


def _reorders(c: str) -> bool:
    return not c.isascii() and (
        unicodedata.bidirectional(c) in _RIGHT_TO_LEFT or unicodedata.category(c) in ("Mn", "Me")
    )


def _escape(c: str) -> str:
    number = ord(c)
    if c in "\n\r\t":
        return repr(c)[1:-1]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _wrapped(line: str, room: int) -> list[str]:
    if len(line) * 2 <= room or cell_len(line) <= room:
        return [line]
    parts, part, used = [], "", 0
    for c in line:
        wide = cell_len(c)
        if used + wide > room:
            parts.append(part)
            part, used = "", 0
        part, used = part + c, used + wide
    return [*parts, part]
