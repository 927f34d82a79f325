"""The surroundings of words: what says nothing by itself is looked for where a word says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

BARRIER = re.compile(rb"\x82")
VALUE = re.compile(rb"[\"'][ ]?[,}\]]|[}\]] ?,|\r?\n\r?\n|\x82")
"""Ends a value of JSON, or a paragraph: what stands behind it is another's."""


def windows(
    data: bytes, says: Any, before: int, after: int, ends: re.Pattern[bytes] = BARRIER
) -> Iterator[tuple[int, int]]:
    """The surroundings of each match of the pattern `says`, up to what `ends` them, joined where they meet."""
    start = end = -1
    for match in says.finditer(data):
        first, last = match.span()
        left = max(0, first - before)
        for stop in ends.finditer(data, left, first):
            left = stop.end()
        ended = ends.search(data, last, last + after)
        right = ended.start() if ended else min(len(data), last + after)
        if left <= end:
            end = max(end, right)
            continue
        if end >= 0:
            yield start, end
        start, end = left, right
    if end >= 0:
        yield start, end
