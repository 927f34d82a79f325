"""Whose votes count where and when: reviewers by the policies that gateways had in force, as the log has them. Pure.

Who reviews changes: people leave, groups are mended. A vote is held against the reviewers of the gateway that the
request came from, at the time of the vote, and not against those of the day on which somebody asks for a bundle.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from approvals.votes import CLOCKS_APART_US, Directory, DirectoryInvalid
from evidence.logcheck import Indexed, Log
from evidence.outcome import Code
from schemas.ids import RecorderId, SessionId, beats_source
from schemas.judging import Reviewer
from schemas.records import PolicyInForce

APART_US = 2 * CLOCKS_APART_US
"""How far the clock of a gateway and that of who settles votes may be apart."""


class InForce:
    """Directories by recorder and time. `of_bundle`: for what came before a log said who its reviewers are."""

    def __init__(self, log: Log, of_bundle: Directory) -> None:
        self._of_bundle = of_bundle
        self._by: dict[str, tuple[list[int], list[Directory]]] = {}
        said = [(body, e) for e in log.entries if isinstance(body := e.entry.body, PolicyInForce) and body.reviewers]
        for body, e in sorted(said, key=lambda each: each[0].at_us):
            self._say(log, body, e)

    def _say(self, log: Log, body: PolicyInForce, e: Indexed) -> None:
        if e.entry.source != beats_source(RecorderId(body.by)):
            log.found(Code.ALTERED, f"entry {e.index}: the reviewers of {body.by!a}, by another's word")
            return
        try:
            found = Directory(
                Reviewer(r.name, r.public_key, r.groups, r.identities, r.break_glass) for r in body.reviewers
            )
        except DirectoryInvalid:
            log.found(Code.ALTERED, f"entry {e.index}: of the reviewers in force, two have one name or one key")
            return
        times, directories = self._by.setdefault(body.by, ([], []))
        times.append(body.at_us)
        directories.append(found)

    def is_known(self, recorder: RecorderId, at_us: int) -> bool:
        """Whether the log says who reviewed there then."""
        return bool(self._known(recorder, at_us))

    def at(self, recorder: RecorderId, at_us: int) -> Sequence[Directory]:
        """Those that may have been in force there then, by clocks a little apart: one at least, newest first."""
        return self._known(recorder, at_us) or (self._of_bundle,)

    def _known(self, recorder: RecorderId, at_us: int) -> Sequence[Directory]:
        times, directories = self._by.get(recorder, ((), ()))
        first = max(0, bisect_right(times, at_us - APART_US) - 1)
        return tuple(reversed(directories[first : bisect_left(times, at_us + APART_US)]))

    def of(self, session: SessionId, at_us: int) -> Sequence[Directory]:
        return self.at(RecorderId(session.partition("/")[0]), at_us)
