"""What stands in the place of a value: a token, or the withheld form.

A token is equal for equal values in one session and says nothing anywhere else, so it is no oracle:
HMAC-SHA-256 under a key that HKDF makes of the token secret and the session's id. 20 characters of base32
are 100 bits. Both forms are plain ASCII that may stand in SQL, JSON and URLs as they are.
"""

from __future__ import annotations

from mask.kinds import Finding, Kind
from seal.digest import hkdf, keyed

_TOKEN, _DIGEST = 20, 12  # characters of base32
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, section 6
_PAIRS = [one + two for one in _BASE32 for two in _BASE32]
_SHIFTS = range(110, -1, -10)  # of 120 bits, ten at a time
_DIGITS = frozenset((Kind.CARD, Kind.SSN))
_ANY_CASE = frozenset((Kind.EMAIL, Kind.IBAN))


class Tokens:
    """The tokens of one session."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes, session: str) -> None:
        self._key = hkdf(secret, b"tallystick/tokens/1\0" + session.encode("utf-8", "surrogatepass"))

    def token(self, kind: Kind, value: str) -> str:
        """`tok:<kind>:<20 base32>`."""
        return f"tok:{kind}:{self._digest(kind.encode(), canonical(kind, value), _TOKEN)}"

    def withheld(self, text: str) -> str:
        """`withheld:<characters>:<12 base32>`."""
        return f"withheld:{len(text)}:{self._digest(b'withheld', text, _DIGEST)}"

    def of(self, finding: Finding) -> str:
        return self.withheld(finding.value) if finding.withhold else self.token(finding.kind, finding.value)

    def _digest(self, purpose: bytes, text: str, length: int) -> str:
        mac = keyed(self._key, purpose, text.encode("utf-8", "surrogatepass"))
        bits = int.from_bytes(mac[:15], "big")
        return "".join([_PAIRS[bits >> at & 1023] for at in _SHIFTS])[:length]


def canonical(kind: Kind, value: str) -> str:
    """One spelling for one value: `4111-1111-...` and `41111111...` get one token."""
    if kind in _DIGITS and not (value.isascii() and value.isdigit()):
        return "".join(c for c in value if "0" <= c <= "9") or value
    return value.casefold() if kind in _ANY_CASE else value
