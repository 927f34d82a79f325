"""When a gateway releases a held command: its own check of the grant, which trusts nothing in it but signatures.

A grant comes over the bus from the approvals role. Either may be taken over, so these are
the rules, all of them, and each is checked against what the gateway itself knows:

 1. The request is the one that the named first hold opened: its id is derived from that hold.
 2. The commitment is that of the gateway's own bytes of the command, under the salt that only
    a gateway can derive from the first hold. So a grant is for one command at one target.
 3. It has not expired.
 4. Its votes settle the request (`votes.py`) by the gateway's own directory and rule.
 5. The gateway has not released on this request before; or it saw all of that undone
    (`Uses`), and not more often than MOST_USES.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from approvals.votes import Directory, Settled, settles
from schemas.ids import ApprovalId
from schemas.records import ApproverRule, Grant
from seal import digest


class Flaw(StrEnum):
    """Why a grant does not hold."""

    REQUEST = "its request is not the one of its first hold"
    COMMAND = "it is for another command"
    EXPIRED = "it has expired"
    VOTES = "its votes are not enough"
    USED = "it was used before"


MOST_USES = 5
"""Releases on one approval, all but the last of them undone."""


class Uses:
    """The requests on which a gateway released, and what it saw undone since."""

    def __init__(self) -> None:
        self._releases: Counter[ApprovalId] = Counter()
        self._kept: set[ApprovalId] = set()  # or under way

    def may_release(self, request: ApprovalId) -> bool:
        return request not in self._kept and self._releases[request] < MOST_USES

    def release(self, request: ApprovalId) -> None:
        self._releases[request] += 1
        self._kept.add(request)

    def undone(self, request: ApprovalId) -> None:
        self._kept.discard(request)


class BadGrant(ValueError):
    """The grant does not hold; nothing may run on it."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.value)
        self.flaw = flaw


def check(
    grant: Grant,
    what: bytes,
    rule: ApproverRule,
    subject: str,
    directory: Directory,
    uses: Uses,
    match_secret: bytes,
    now_us: int,
) -> tuple[str, ...]:
    """Who approved `what` (canonical bytes), asked by `subject` under `rule`. Raises BadGrant."""
    if digest.approval_id(grant.first_hold) != grant.request:
        raise BadGrant(Flaw.REQUEST)
    if not uses.may_release(grant.request):
        raise BadGrant(Flaw.USED)
    salt = digest.commitment_salt(match_secret, grant.first_hold)
    if digest.commitment(salt, what) != grant.commitment:
        raise BadGrant(Flaw.COMMAND)
    if grant.expires_us <= now_us:
        raise BadGrant(Flaw.EXPIRED)
    settled = settles(grant.request, grant.commitment, grant.votes, directory, rule, subject, now_us)
    if not isinstance(settled, Settled) or not settled.approved:
        raise BadGrant(Flaw.VOTES)
    return settled.voters
