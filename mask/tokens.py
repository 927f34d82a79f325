"""What stands in the place of a value: a token, or the withheld form.

A token is equal for equal values in one session and says nothing anywhere else, so it is no oracle:
HMAC-SHA-256 under a key that HKDF makes of the token secret and the session's id. 20 characters of base32
are 100 bits. Both forms are plain ASCII that may stand in SQL, JSON and URLs as they are.
"""

from __future__ import annotations

import re

from mask.kinds import Finding, Kind
from seal.digest import Keyed, hkdf

MASKED = rb"tok:[a-z_]++:[a-z2-7]{20}|withheld:[0-9]++(?::[a-z2-7]++)?"
"""What stands in the place of a value, as a pattern."""
_TOKEN, _DIGEST = 20, 12  # characters of base32
_LETTERS = bytes(b"abcdefghijklmnopqrstuvwxyz234567"[n & 31] for n in range(256))  # five bits of each byte
_DIGITS = frozenset((Kind.CARD, Kind.SSN))
_ANY_CASE = frozenset((Kind.EMAIL, Kind.IBAN))


WHOLE = re.compile(rf"tok:[a-z_]{{2,20}}:[a-z2-7]{{{_TOKEN}}}|withheld:[0-9]{{1,9}}(?::[a-z2-7]{{{_DIGEST}}})?")


def is_masked(text: str) -> bool:
    """Whether this is nothing but what stands in the place of a value: masked again it stays."""
    return text.startswith(("tok:", "withheld:")) and WHOLE.fullmatch(text) is not None


class Tokens:
    """The tokens of one session."""

    __slots__ = ("_key", "_macs")

    def __init__(self, secret: bytes, session: str) -> None:
        self._key = hkdf(secret, b"tallystick/tokens/1\0" + session.encode("utf-8", "surrogatepass"))
        self._macs: dict[str, Keyed] = {}

    def token(self, kind: Kind, value: str) -> str:
        """`tok:<kind>:<20 base32>`."""
        return f"tok:{kind}:{self._digest(kind, canonical(kind, value))[:_TOKEN]}"

    def withheld(self, text: str) -> str:
        """`withheld:<characters>:<12 base32>`."""
        return f"withheld:{len(text)}:{self._digest('withheld', text)[:_DIGEST]}"

    def unreadable(self, raw: bytes) -> str:
        """The same of bytes that are no text: `withheld:<bytes>:<12 base32>`."""
        return f"withheld:{len(raw)}:{self._keyed('withheld', raw)[:_DIGEST]}"

    def of(self, finding: Finding) -> str:
        return self.withheld(finding.value) if finding.withhold else self.token(finding.kind, finding.value)

    def _digest(self, purpose: str, text: str) -> str:
        return self._keyed(purpose, text.encode("utf-8", "surrogatepass"))

    def _keyed(self, purpose: str, raw: bytes) -> str:
        mac = self._macs.get(purpose)
        if mac is None:
            mac = self._macs[purpose] = Keyed(self._key, purpose.encode())
        return mac(raw).translate(_LETTERS).decode()


def canonical(kind: Kind, value: str) -> str:
    """One spelling for one value: `4111-1111-...` and `41111111...` get one token."""
    if kind in _DIGITS:
        return value if value.isdigit() and value.isascii() else "".join(c for c in value if "0" <= c <= "9") or value
    return value.casefold() if kind in _ANY_CASE else value
