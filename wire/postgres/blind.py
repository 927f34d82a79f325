"""A key under which statements meet that differ in whole numbers alone. Pure.

Whoever uses it must know that the numbers do not matter for what is asked: it is a key for the
judgement only of a tree that the judge calls literal-blind, and for the masker only where every
constant is a number without a name. Statements of one key scan and parse alike but for these
numbers: they have at most nine digits, so that each is an integer to PostgreSQL, and a text
with quoted identifiers, or with escapes in strings where digits are no numbers, is its own key.
"""

from __future__ import annotations

import re

LONGEST = 32 << 10
_NUMBER = re.compile(rb"(?<![\w$.\\\x80-\xff])[0-9]{1,9}(?![\w$.\x80-\xff])")


def blind(text: bytes) -> bytes:
    """Numbers become a byte that no statement has (a text ends at it), and not `?`, which is an operator. The key
    begins with it, too, so it never meets an exact text."""
    if b'"' in text or b"&'" in text or len(text) > LONGEST:  # in U&'!0041' digits are not numbers
        return b"\0" + text
    return b"\0" + _NUMBER.sub(b"\0", text)
