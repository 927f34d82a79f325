"""What a verifier says: one code, the findings behind it, and what a pass does not prove."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Code(IntEnum):
    """Exit codes of `tallystick verify`."""

    VALID = 0
    ALTERED = 10
    MISSING = 11
    GAP = 12
    EXTRA = 13
    CANNOT = 14


_WORST_FIRST = (Code.ALTERED, Code.MISSING, Code.EXTRA, Code.CANNOT, Code.GAP)


@dataclass(frozen=True, slots=True)
class Finding:
    code: Code
    what: str  # one line, names the entry, batch, tile or part


@dataclass(frozen=True, slots=True)
class Outcome:
    findings: tuple[Finding, ...]
    facts: tuple[str, ...]  # what a pass does not prove
    about: str = ""  # what was looked at, in a few words

    @property
    def code(self) -> Code:
        found = {f.code for f in self.findings}
        return next((c for c in _WORST_FIRST if c in found), Code.VALID)
