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
10. A vote may allow several uses, or leave the values free (`shape`), as far and as long as the rule's standing
    approvals go: it signs that, too. A quorum allows no more than the narrowest of the votes that make it.
11. Where the rule lets the glass be broken, one person to whom the directory gives the right approves alone: once,
    with a reason, not against a no, and not their own unless the rule says so. Whoever did it does not review it,
    nor anybody whose own it is; reviewers of the rule's groups do, with a reason, at any time.

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
from seal.sign import BadSignature, Domain, Signs, check

LONGEST_REASON = 2_000
"""Characters of a reason; a longer one is refused where it is cast."""
LEAST_WORDS = 3
"""Of a reason that others have to judge by: of broken glass, and of its review."""
APPROVING = frozenset({Choice.APPROVE, Choice.BREAK_GLASS})
REVIEWING = frozenset({Choice.ACCEPT, Choice.OBJECT})

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
    FEW_WORDS = "its reason has too few words for others to judge by"
    STANDING = "it allows more, or for longer, than the rule's standing approvals"
    GLASS = "its reviewer may not break the glass here"
    REASON_CHANGED = "the reason is not the one that was signed"
    AGAIN = "its reviewer has said so before"


@dataclass(frozen=True, slots=True)
class Ignored:
    vote: Vote
    why: Why


@dataclass(frozen=True, slots=True)
class Settled:
    """`votes` are those that settle it: the quorum, the one that broke the glass, or the one that says no."""

    approved: bool
    votes: tuple[Vote, ...]
    ignored: tuple[Ignored, ...]

    @property
    def voters(self) -> tuple[str, ...]:
        return tuple(vote.reviewer for vote in self.votes)

    @property
    def uses(self) -> int:
        return min(vote.uses for vote in self.votes)

    @property
    def shape(self) -> bytes | None:
        """What is approved with any values; None if only what was asked about is."""
        shapes = {vote.shape or None for vote in self.votes}
        return shapes.pop() if len(shapes) == 1 else None

    @property
    def break_glass(self) -> bool:
        return any(vote.choice is Choice.BREAK_GLASS for vote in self.votes)


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
    signer: Signs,
    request: ApprovalId,
    commitment: bytes,
    choice: Choice,
    deadline_us: int,
    reason: str,
    cast_us: int,
    uses: int = 1,
    shape: bytes | None = None,
) -> Vote:
    """The reviewer's signed word; `signer.name` is their name in the directory."""
    if len(reason) > LONGEST_REASON:
        raise ReasonTooLong(f"the reason has {len(reason)} characters: at most {LONGEST_REASON}")
    digest = reason_digest(request, reason)
    message = _message(request, commitment, choice, deadline_us, digest, uses, shape)
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
        uses=uses,
        shape=shape,
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
    alone: list[Vote] = []
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
        elif vote.choice is Choice.BREAK_GLASS:
            alone.append(vote)
        elif vote.choice not in REVIEWING:
            denials.append(vote)
    if denials:
        return Settled(approved=False, votes=(denials[0],), ignored=tuple(ignored))
    quorum = max(1, rule.quorum)
    given = tuple(approvals.values())
    if len(given) >= quorum:
        return Settled(approved=True, votes=given[:quorum], ignored=tuple(ignored))
    if alone:
        return Settled(approved=True, votes=(alone[0],), ignored=tuple(ignored))
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
    alone = vote.choice is Choice.BREAK_GLASS
    if alone and not (rule.break_glass and reviewer.break_glass):
        return Why.GLASS
    if not alone and not set(reviewer.groups) & set(rule.groups):
        return Why.GROUP
    if vote.choice not in (Choice.REVOKE, *REVIEWING) and vote.deadline_us <= now_us:
        return Why.LATE
    own = subject in reviewer.identities or reviewer.name in (subject, *caused_by)
    if own and vote.choice is not Choice.REVOKE and not (alone and rule.break_glass_own):
        return Why.OWN
    if vote.choice in APPROVING and not _within(vote, rule, now_us):
        return Why.STANDING
    return _reason_lacks(vote, rule) or _forged(vote, reviewer)


def _within(vote: Vote, rule: ApproverRule, now_us: int) -> bool:
    """Whether the rule lets a vote allow so much. Its end was reckoned by a clock of the reviewer's."""
    if vote.uses == 1 and vote.shape is None:
        return True
    lasts_us = vote.deadline_us - now_us - 2 * CLOCKS_APART_US
    return (
        vote.choice is Choice.APPROVE
        and 1 <= vote.uses <= rule.standing_uses
        and lasts_us <= rule.standing_s * 1_000_000
        and (vote.shape is None or rule.any_values)
    )


def _reason_lacks(vote: Vote, rule: ApproverRule) -> Why | None:
    """Only the reason's digest is signed: a leaf and a grant carry no words, so these are counted where they are."""
    judged_by = vote.choice in (Choice.BREAK_GLASS, *REVIEWING)
    if (rule.reason_required or judged_by) and vote.reason_sha256 == reason_digest(vote.request, ""):
        return Why.NO_REASON
    if judged_by and vote.reason and len(vote.reason.split()) < LEAST_WORDS:
        return Why.FEW_WORDS
    if vote.reason and vote.reason_sha256 != reason_digest(vote.request, vote.reason):
        return Why.REASON_CHANGED
    return None


def _forged(vote: Vote, reviewer: Reviewer) -> Why | None:
    message = _message(
        vote.request, vote.commitment, vote.choice, vote.deadline_us, vote.reason_sha256, vote.uses, vote.shape
    )
    try:
        check(reviewer.public_key, Domain.VOTE, message, vote.signature)
    except BadSignature:
        return Why.SIGNATURE
    return None


def _message(
    request: ApprovalId,
    commitment: bytes,
    choice: Choice,
    deadline_us: int,
    reason_sha256: bytes,
    uses: int,
    shape: bytes | None,
) -> bytes:
    """A vote for one use of one command is what it was before there were others."""
    parts = [request.encode(), commitment, choice.value.encode(), str(deadline_us).encode(), reason_sha256]
    if uses != 1 or shape is not None:
        parts += [b"standing", str(uses).encode(), shape or b""]
    return b"".join(map(_sized, parts))


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
