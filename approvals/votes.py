"""What makes an approval valid.

A vote is one reviewer's own Ed25519 signature (domain VOTE) over the approval
request, the commitment to the exact command, the choice, a deadline and the
reason's digest. Everybody who has the directory of reviewers can check it: the
gateway, the approvals role, an auditor. These are the rules, all of them:

 1. A vote counts only for the request and the commitment that it names.
 2. A vote counts only if its reviewer is in the directory and the signature is by
    the key that the directory gives for that name.
 3. A vote counts only before its deadline; to revoke has none.
 4. A vote counts only if its reviewer is in one of the rule's groups. Being in two
    groups does not make two people.
 5. Nobody votes on their own: not if the subject is one of the reviewer's identities, nor if they stand
    behind the run that asks (`Directory.behind`). To revoke, they may.
 6. Where the rule wants a reason, a vote without one does not count.
 7. One vote that counts and says deny or revoke is enough; whatever the others say, and
    even if the same reviewer said approve before.
 8. A quorum of distinct people who say approve, approves. A quorum is at least one.
 9. What does not count changes nothing, and the reason why can be shown.

    settles(request, commitment, votes, Directory(rules.reviewers), rule, subject, now_us)
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from schemas.ids import ApprovalId
from schemas.judging import Reviewer
from schemas.records import ApproverRule, Choice, Claim, Vote
from seal.sign import BadSignature, Domain, Signer, check

LONGEST_REASON = 2_000
"""Characters of a reason; a longer one is refused where it is cast."""


CLOCKS_APART_US = 5 * 60 * 1_000_000
"""How far apart the clocks of reviewers, gateways and the bus may be without an approval ending early.

What ends, ends by the bus's clock, to the second (`machine.py`). A gateway's own check gives this much more, so
whoever has the bus and the approvals role gains no more than that; a reviewer's program bounds by it what it believes.
"""


class ReasonTooLong(ValueError):
    """The reason has more characters than LONGEST_REASON."""


class DirectoryInvalid(ValueError):
    """Two reviewers share a name or a key, so people could not be told apart."""


class Why(StrEnum):
    """Why a vote does not count."""

    OTHER_REQUEST = "it is for another request"
    OTHER_COMMAND = "it is for another command than the one asked about"
    UNKNOWN = "its reviewer is not in the directory"
    SIGNATURE = "its signature is not by that reviewer's key"
    LATE = "its deadline has passed"
    GROUP = "its reviewer is in none of the rule's groups"
    OWN = "its reviewer asked for this: nobody approves their own"
    NO_REASON = "it gives no reason, and the rule wants one"
    REASON_CHANGED = "the reason is not the one that was signed"
    AGAIN = "its reviewer has said so before"


@dataclass(frozen=True, slots=True)
class Ignored:
    vote: Vote
    why: Why


@dataclass(frozen=True, slots=True)
class Settled:
    """`votes` are those that settle it: the quorum, or the one that says no."""

    approved: bool
    votes: tuple[Vote, ...]
    ignored: tuple[Ignored, ...]

    @property
    def voters(self) -> tuple[str, ...]:
        return tuple(vote.reviewer for vote in self.votes)


@dataclass(frozen=True, slots=True)
class Open:
    """Not settled: `missing` more people have to approve."""

    missing: int
    votes: tuple[Vote, ...]
    ignored: tuple[Ignored, ...]


class Directory:
    """Who the reviewers are. Raises DirectoryInvalid where one key or name stands for two."""

    def __init__(self, reviewers: Iterable[Reviewer]) -> None:
        self._by_name: dict[str, Reviewer] = {}
        keys: dict[bytes, str] = {}
        for reviewer in reviewers:
            if reviewer.name in self._by_name:
                raise DirectoryInvalid(f"reviewer {reviewer.name} is listed twice: keep one entry")
            if reviewer.public_key in keys:
                other = keys[reviewer.public_key]
                raise DirectoryInvalid(f"reviewers {other} and {reviewer.name} have the same key: give each their own")
            self._by_name[reviewer.name] = reviewer
            keys[reviewer.public_key] = reviewer.name

    def get(self, name: str) -> Reviewer | None:
        return self._by_name.get(name)

    def behind(self, subject: str, claims: Iterable[Claim]) -> tuple[str, ...]:
        """The reviewers whose identity, or whose run, this is: whoever the subject or a claim's value names."""
        said = {subject, *(claim.value for claim in claims)}
        return tuple(sorted(r.name for r in self._by_name.values() if r.name in said or said & set(r.identities)))

    def __len__(self) -> int:
        return len(self._by_name)


def cast(
    signer: Signer,
    request: ApprovalId,
    commitment: bytes,
    choice: Choice,
    deadline_us: int,
    reason: str,
    cast_us: int,
) -> Vote:
    """The reviewer's signed word; `signer.name` is their name in the directory."""
    if len(reason) > LONGEST_REASON:
        raise ReasonTooLong(f"the reason has {len(reason)} characters: at most {LONGEST_REASON}")
    digest = reason_digest(request, reason)
    message = _message(request, commitment, choice, deadline_us, digest)
    return Vote(
        request=request,
        commitment=commitment,
        reviewer=signer.name,
        choice=choice,
        reason_sha256=digest,
        deadline_us=deadline_us,
        cast_us=cast_us,
        signature=signer.sign(Domain.VOTE, message),
        reason=reason,
    )


def reason_digest(request: ApprovalId, reason: str) -> bytes:
    """SHA-256 over request and reason, each with its length: the same words look unlike in two requests."""
    return hashlib.sha256(_sized(request.encode()) + _sized(reason.encode())).digest()


def settles(
    request: ApprovalId,
    commitment: bytes,
    votes: Iterable[Vote],
    directory: Directory,
    rule: ApproverRule,
    subject: str,
    now_us: int,
    caused_by: Collection[str] = (),
) -> Settled | Open:
    """What these votes, in any order, say of the request now."""
    approvals: dict[str, Vote] = {}
    denials: list[Vote] = []
    ignored: list[Ignored] = []
    for vote in votes:
        why = objection(vote, request, commitment, directory, rule, subject, now_us, caused_by)
        if why is None and vote.choice is Choice.APPROVE and vote.reviewer in approvals:
            why = Why.AGAIN
        if why is not None:
            ignored.append(Ignored(vote, why))
        elif vote.choice is Choice.APPROVE:
            approvals[vote.reviewer] = vote
        else:
            denials.append(vote)
    if denials:
        return Settled(approved=False, votes=(denials[0],), ignored=tuple(ignored))
    quorum = max(1, rule.quorum)
    given = tuple(approvals.values())
    if len(given) >= quorum:
        return Settled(approved=True, votes=given[:quorum], ignored=tuple(ignored))
    return Open(missing=quorum - len(given), votes=given, ignored=tuple(ignored))


def objection(
    vote: Vote,
    request: ApprovalId,
    commitment: bytes,
    directory: Directory,
    rule: ApproverRule,
    subject: str,
    now_us: int,
    caused_by: Collection[str] = (),
) -> Why | None:
    """Why this vote by itself does not count, or None. The cheap rules first, the signature last."""
    if vote.request != request:
        return Why.OTHER_REQUEST
    if vote.commitment != commitment:
        return Why.OTHER_COMMAND
    reviewer = directory.get(vote.reviewer)
    if reviewer is None:
        return Why.UNKNOWN
    if not set(reviewer.groups) & set(rule.groups):
        return Why.GROUP
    if vote.choice is not Choice.REVOKE:
        if vote.deadline_us <= now_us:
            return Why.LATE
        if subject in reviewer.identities or reviewer.name in (subject, *caused_by):
            return Why.OWN
    if rule.reason_required and vote.reason_sha256 == reason_digest(request, ""):
        return Why.NO_REASON
    if vote.reason and vote.reason_sha256 != reason_digest(request, vote.reason):
        return Why.REASON_CHANGED  # only the reason's digest is signed: a leaf and a grant carry no words
    message = _message(vote.request, vote.commitment, vote.choice, vote.deadline_us, vote.reason_sha256)
    try:
        check(reviewer.public_key, Domain.VOTE, message, vote.signature)
    except BadSignature:
        return Why.SIGNATURE
    return None


def _message(request: ApprovalId, commitment: bytes, choice: Choice, deadline_us: int, reason_sha256: bytes) -> bytes:
    parts = (request.encode(), commitment, choice.value.encode(), str(deadline_us).encode(), reason_sha256)
    return b"".join(map(_sized, parts))


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
