"""A suspension is lifted: what the approvals step makes of a reviewer's vote.

Nothing is kept of it: the vote is about the suspension that comes with it, which the
behaviour step signed. Each gateway checks both again.
"""

from __future__ import annotations

from dataclasses import replace

from approvals.suspensions import objects
from approvals.votes import Directory
from schemas.ids import RecorderId
from schemas.records import Resume, Resumed
from seal.keyfiles import Enrolled, NotEnrolled
from seal.sign import BadSignature
from seal.suspension import check_suspension


class Resuming:
    def __init__(self, enrolled: Enrolled, directory: Directory, groups: tuple[str, ...]) -> None:
        """`groups`: whose members may lift a suspension."""
        self._enrolled, self._directory, self._groups = enrolled, directory, groups

    def fault(self, given: Resume, now_us: int) -> str:
        """Why it lifts nothing, or ""."""
        try:
            check_suspension(given.suspended, self._enrolled, now_us)
        except (BadSignature, NotEnrolled):
            return "no behaviour step of this deployment signed that suspension"
        why = objects(given.suspended, given.vote, self._directory, self._groups, now_us)
        return "" if why is None else f"the vote does not count: {why.value}"

    def resumed(self, given: Resume, now_us: int) -> tuple[RecorderId, Resumed] | None:
        """The entry, and whose shard it is for."""
        if self.fault(given, now_us):
            return None
        of = given.suspended
        recorder = RecorderId(of.session.rsplit("/", 2)[0])
        return recorder, Resumed(of.suspension, of.subject, replace(given.vote, reason=""), now_us)
