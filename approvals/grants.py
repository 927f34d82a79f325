"""When a gateway releases a held command: its own check of the grant, which trusts nothing in it but signatures.

A grant comes over the bus from the approvals role. Either may be taken over, so these are
the rules, all of them, and each is checked against what the gateway itself knows:

 1. The request is the one that the named first hold opened: its id is derived from that hold.
 2. The commitment is that of the gateway's own bytes of the command, under the salt that only
    a gateway can derive from the first hold. So a grant is for one command at one target;
    and the reviewers behind that hold's run, whom the grant names, are those that it had.
    Or all its votes say "any values" of the commitment without them, and the gateway's own judge
    and rule leave them free.
 3. It has not expired, nor have its votes, by a clock that is CLOCKS_APART_US behind the
    gateway's: the bus's is the one that counts, and may be that far behind.
 4. Its votes settle the request (`votes.py`) by the gateway's own directory and rule, without
    those who stand behind the first run or this one.
 5. Its use is one of those that the votes allow, and the gateway has not released on that use
    before; or it saw all of that undone (`Uses`), and not more often than MOST_USES.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from approvals.canonical import committed
from approvals.votes import CLOCKS_APART_US, Directory, Settled, settles
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
"""Releases on one use of an approval, all but the last of them undone."""


class Uses:
    """The uses of approvals on which a gateway released, and what it saw undone since. A request has use 1, and as
    many more as a standing approval allows."""

    def __init__(self) -> None:
        self._releases: Counter[tuple[ApprovalId, int]] = Counter()
        self._kept: set[tuple[ApprovalId, int]] = set()  # or under way

    def may_release(self, request: ApprovalId, use: int = 1) -> bool:
        return (request, use) not in self._kept and self._releases[request, use] < MOST_USES

    def release(self, request: ApprovalId, use: int = 1) -> None:
        self._releases[request, use] += 1
        self._kept.add((request, use))

    def undone(self, request: ApprovalId, use: int = 1) -> None:
        self._kept.discard((request, use))


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
    caused_by: tuple[str, ...],
    directory: Directory,
    uses: Uses,
    match_secret: bytes,
    now_us: int,
    shape: bytes | None = None,
) -> Settled:
    """The votes that approve `what` (canonical bytes), asked by `subject`, behind whom `caused_by` stand, under `rule`.
    `shape`: the same without its values, where these may be left free. Raises BadGrant."""
    if digest.approval_id(grant.first_hold) != grant.request:
        raise BadGrant(Flaw.REQUEST)
    if not uses.may_release(grant.request, grant.use):
        raise BadGrant(Flaw.USED)
    salt = digest.commitment_salt(match_secret, grant.first_hold)
    exact = digest.commitment(salt, committed(what, grant.caused_by)) == grant.commitment
    free = None if shape is None else digest.commitment(salt, committed(shape, grant.caused_by))
    if not exact and (free is None or any(vote.shape != free for vote in grant.votes)):
        raise BadGrant(Flaw.COMMAND)
    now_us -= CLOCKS_APART_US
    if grant.expires_us <= now_us:
        raise BadGrant(Flaw.EXPIRED)
    behind = {*grant.caused_by, *caused_by}
    settled = settles(grant.request, grant.commitment, grant.votes, directory, rule, subject, now_us, behind)
    if not isinstance(settled, Settled) or not settled.approved:
        raise BadGrant(Flaw.VOTES)
    if not 1 <= grant.use <= settled.uses:
        raise BadGrant(Flaw.USED)
    return settled
