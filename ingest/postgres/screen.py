"""The gateway's use of the judge: one verdict a text, with a cache of exact bytes.

The cache's key is the statement's exact bytes, within one policy version and one
session's facts. Where the judge calls a tree literal-blind, texts that differ in
whole numbers alone share a verdict (`wire.postgres.blind`). A number in a string
is replaced, too: a literal-blind tree is blind to strings as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.judging import Judgement, SessionFacts, TransactionStep
from schemas.records import Decision
from wire.generations import Generations
from wire.postgres.blind import LONGEST, blind

Lookup = Callable[[str], tuple[str, ...]]
Judge = Callable[[str, SessionFacts, Lookup], Judgement]

MOST_ENTRIES = 4096
MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement, with what the relay asks of it made ready."""

    judgement: Judgement
    plain: bool  # allow, no barrier, prepares and runs nothing by name: nothing to do but forward
    read_only: bool
    uses: bool  # the transaction holds something once it ran
    rows: bool  # it reads and changes rows alone: every name means what it did before


class NotUtf8(ValueError):
    """The text is not UTF-8, so the target would not take it either."""


class Screen:
    """Verdicts for sessions with the same facts; sessions share it."""

    def __init__(self, judge: Judge, facts: SessionFacts, moment: Callable[[], object] | None = None) -> None:
        """`moment`, where the policy has times: what was remembered holds while this stays the same."""
        self._judge = judge
        self._facts = facts
        self._moment = moment
        self.hits = 0
        self.misses = 0
        self._begin(moment() if moment else None)

    def _begin(self, at: object) -> None:
        self._at = at
        self._known: Generations[bytes, Verdict] = Generations(MOST_ENTRIES, MOST_BYTES)
        self.nothing = made(self._judge("EXECUTE tallystick_unknown", self._facts, lambda name: ()))
        """Of a Bind to a name that no known text has: whatever it runs was prepared out of sight."""

    def verdict(self, text: bytes, lookup: Lookup) -> Verdict:
        """Raises NotUtf8."""
        if self._moment is not None and (now := self._moment()) != self._at:
            self._begin(now)
        found = self._known.young.get(text)
        if found is not None:
            self.hits += 1
            return found
        key = blind(text)
        found = self._known.get(text) or self._known.get(key)
        if found is not None:
            self.hits += 1
            if key not in self._known.young:
                self._keep(key if found.judgement.literal_blind else text, found)
            if key[1:] == text:
                self._keep(text, found)  # nothing in it was blanked: next time it is found as it stands
            return found
        self.misses += 1
        try:
            decoded = text.decode("utf-8")
        except UnicodeDecodeError:
            raise NotUtf8 from None
        verdict = made(self._judge(decoded, self._facts, lookup))
        if len(text) <= LONGEST and not verdict.judgement.executes:
            self._keep(key if verdict.judgement.literal_blind else text, verdict)
        return verdict

    def _keep(self, key: bytes, verdict: Verdict) -> None:
        self._known.keep(key, verdict, len(key))


_OF_ROWS = frozenset(("select", "insert", "update", "delete", "lock", "copy-in", "copy-out"))


def made(judgement: Judgement) -> Verdict:
    return Verdict(
        judgement,
        plain=(
            judgement.decision is Decision.ALLOW
            and not judgement.barrier
            and not judgement.executes
            and not judgement.prepares
            and not judgement.deallocates
        ),
        read_only=judgement.read_only,
        uses=judgement.transaction is not TransactionStep.HARMLESS,
        rows=judgement.complete and all(each.effect in _OF_ROWS for each in judgement.effects),
    )


_SEVERITY = {Decision.ALLOW: 0, Decision.HOLD: 1, Decision.DENY: 2}


def worst(verdicts: list[Verdict]) -> tuple[int, Verdict]:
    """Of all that a name may mean: which one's decision stands, and the verdict to act on, which has the worst of
    each. It removes no name, for it is not known that it does."""
    at = max(range(len(verdicts)), key=lambda n: _SEVERITY[verdicts[n].judgement.decision])
    all_of = [v.judgement for v in verdicts]
    used = any(v.uses for v in verdicts)
    joined = all_of[at]._replace(
        barrier=any(j.barrier for j in all_of),
        read_only=all(j.read_only for j in all_of),
        settings_only=all(j.settings_only for j in all_of),
        undoable=all(j.undoable for j in all_of),
        transaction=TransactionStep.USES if used else TransactionStep.HARMLESS,
        prepares=tuple(dict.fromkeys(p for j in all_of for p in j.prepares)),
        executes=tuple(dict.fromkeys(e for j in all_of for e in j.executes)),
        deallocates=(),
    )
    return at, made(joined)
