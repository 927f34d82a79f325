"""The records, as Python types. Each has a `.avsc` of the same name.

Leaf records (those that `LedgerEntry.body` may be) hold facts that are safe for
ever: no raw traffic, no unkeyed digest of it, people by pseudonym, names from
traffic only after the value detectors saw them. They have no logical types,
maps or floats, because leaf bytes must come back as they went in. Times are
microseconds since 1970 UTC. Adding a field needs a default; nothing is renamed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Union

from schemas.ids import AlertId, ApprovalId, HoldId, Position, RecorderId, SessionId, Source, SuspensionId

# --- words with a fixed list -------------------------------------------------


class Result(StrEnum):
    """What became of a command. Recorded is not executed."""

    EXECUTED = "executed"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Decision(StrEnum):
    """Policy's word on a command."""

    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


class Band(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class CommandKind(StrEnum):
    """How the command came in."""

    SIMPLE = "simple"  # Query
    EXTENDED = "extended"  # Bind (and its Execute)
    RESUME = "resume"  # Execute of a suspended portal: same command, same decision
    FUNCTION = "function"  # FunctionCall, always refused


class CloseReason(StrEnum):
    CLIENT = "client"  # Terminate, or the client's connection ended
    TARGET = "target"  # the target closed it
    GATEWAY = "gateway"  # we closed it: drain, or a protocol fault
    CUT = "cut"  # the recorder died: said by the next boot, not by the session


class Choice(StrEnum):
    APPROVE = "approve"
    DENY = "deny"
    REVOKE = "revoke"  # of a request, whoever had approved it: it is not to be used any more
    BREAK_GLASS = "break-glass"  # one alone, where approvers cannot be reached: another person reviews it afterwards
    ACCEPT = "accept"  # the review of that: it was right
    OBJECT = "object"  # the review of that: it was not


class ApprovalState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    RESERVED = "reserved"  # granted to one hold; what becomes of it is not known yet
    USED = "used"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REVOKED = "revoked"  # a reviewer took it back before its use
    SUPERSEDED = "superseded"  # the policy asks for other votes by now


class Over(StrEnum):
    """Why a hold waits no longer (`HoldGone.why`); the last three of one that was granted."""

    CLIENT_LEFT = "client left"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    CHANGED = "changed"  # names or settings mean something else by now: it did not run
    NOT_RECORDED = "not recorded"  # the gateway could not write down that the approval is used: it did not run
    UNVERIFIED = "unverified"  # the grant's votes do not hold at the gateway: it did not run
    SUSPENDED = "suspended"  # the session or its identity was, meanwhile: it did not run
    UNDONE = "undone"  # it failed, or its transaction was seen to roll back, and all that it does is undone by that
    KEPT = "kept"  # it ran, or nobody can know that it did not


class Refusing(StrEnum):
    """Why a command was refused on the wire."""

    POLICY = "policy"  # a rule denies it
    DENIED = "denied"  # a reviewer's vote
    EXPIRED = "expired"  # nobody answered in time
    CANCELLED = "cancelled"  # the client took it back
    IN_TRANSACTION = "in_transaction"  # held in a used transaction: run it again once approved
    JOURNAL = "journal"  # it could not be recorded
    PROTOCOL = "protocol"  # function call, replication, unsupported setting
    TOO_LARGE = "too_large"  # above capture.max_command
    UNVERIFIED = "unverified"  # a grant whose votes do not hold
    SUSPENDED = "suspended"  # behaviour suspended the session or the identity


class Scope(StrEnum):
    """What a suspension is of."""

    SESSION = "session"
    IDENTITY = "identity"  # every session of that subject, at every gateway


# --- judging -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing a command does, to what. `relation` is "" where it names none."""

    effect: str  # select insert update delete truncate drop alter create grant ... unknown
    relation: str = ""


@dataclass(frozen=True, slots=True)
class ApproverRule:
    """Who must say yes: `quorum` distinct reviewers out of `groups`."""

    name: str
    groups: tuple[str, ...]
    quorum: int
    expires_s: int  # an approval request, and an unused approval, end this long after it began
    reason_required: bool = False
    standing_s: int = 0  # a standing approval ends at most so long after it began; 0: none are allowed
    standing_uses: int = 0  # and has at most so many uses
    any_values: bool = False  # and may leave the values free, where they decide nothing (literal-blind)
    break_glass: bool = False  # who has the right may approve alone
    break_glass_own: bool = False  # also what their own run asks
    review_s: int = 0  # within which another person reviews that


# --- inside the journal (frames) ----------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SessionContext:
    """Repeated once a segment for each session in it, so that the segment reads alone."""

    session: SessionId
    subject: str
    claims: tuple[Claim, ...]
    target: str  # the gateway's name
    protocol: str  # "postgres"
    environment: str
    database: str
    user: str  # the role used at the target
    policy_version: str
    tx_status: str  # I, T, E at the start of this segment
    open_syncs: int  # ReadyForQuery still owed by the target at the start of this segment
    open_commands: int  # commands still unanswered at the start of this segment


@dataclass(frozen=True, slots=True)
class Statement:
    """A prepared text that a Bind in this segment uses but whose Parse is not in it."""

    name: str
    text: str
    param_oids: tuple[int, ...]
    row_description: bytes  # the target's RowDescription message, or empty


@dataclass(frozen=True, slots=True)
class Elided:
    """What was forwarded but not captured, at the end of its answer (or COPY)."""

    from_client: bool
    rows: int
    size: int  # bytes
    digest: bytes  # HMAC-SHA-256 of the elided bytes, key derived from the epoch key


@dataclass(frozen=True, slots=True)
class Decided:
    """The screen's word on the command that the next CLIENT frame starts at `offset`."""

    offset: int
    decision: Decision
    rule: str
    hold: HoldId | None = None


@dataclass(frozen=True, slots=True)
class RelationSize:
    """How many rows the target's statistics (`n_live_tup`) give a relation; none where they know of none."""

    relation: str  # as the command writes it
    rows: int


@dataclass(frozen=True, slots=True)
class HeldCommand:
    """A command that waits on the wire. Raw: lives only sealed in the journal."""

    hold: HoldId
    kind: CommandKind
    text: str
    binds: tuple[bytes | None, ...]
    bind_formats: tuple[int, ...]  # 0 text, 1 binary, one a bind
    param_oids: tuple[int, ...]
    resolved: tuple[Claim, ...]  # search_path, current_user, session_user, regclass of each name
    match_key: bytes
    commitment: bytes
    salt: bytes
    rule: ApproverRule
    raised_us: int
    deadline_us: int
    lookup_only: bool  # in a used transaction: answer now or never
    caused_by: tuple[str, ...] = ()  # reviewers who stand behind the run: they may not vote
    shape_key: bytes | None = None  # match key without the values; None where these may not be left free
    shape: bytes | None = None  # commitment without the values, likewise
    sizes: tuple[RelationSize, ...] = ()  # of the relations whose size the target knows


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway put a substitute in place of a command, at `offset` in the next CLIENT frame."""

    offset: int
    why: Refusing
    sqlstate: str
    message: str  # what the client is told: our words and ids only, never traffic
    nonce: str  # the substitute's name, which the target's error carries
    hold: HoldId | None = None


@dataclass(frozen=True, slots=True)
class BootMark:
    recorder: RecorderId
    boot: int
    started_us: int


# --- leaf records: sessions, commands ------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionOpened:
    session: SessionId
    subject: str
    method: str  # "static"
    claims: tuple[Claim, ...]
    target: str
    protocol: str
    environment: str
    database: str
    user: str
    client_address: str
    client_tls: str  # "" or the TLS version
    target_tls: str
    application: str  # application_name; masked before it reaches a leaf
    protocol_version: str
    policy_version: str
    opened_us: int


@dataclass(frozen=True, slots=True)
class SessionClosed:
    session: SessionId
    reason: CloseReason
    commands: int  # commands the gateway forwarded or refused; -1 where nobody knows (cut)
    closed_us: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """Somebody did not get in. The claimed name is masked, not trusted."""

    claimed: str
    target: str
    client_address: str
    why: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Found:
    """How many values of a type were replaced."""

    type: str
    count: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command and its answer, as facts. The masked texts are the content."""

    session: SessionId
    number: int  # counts from 1 within the session
    kind: CommandKind
    started_us: int
    ended_us: int  # 0 where no end was seen
    result: Result
    tag: str  # command tag, masked; "" where none came
    sqlstate: str
    fingerprint: bytes  # HMAC-SHA-256 of the normalised text
    effects: tuple[Effect, ...]
    effects_complete: bool
    score: int
    band: Band
    signals: tuple[str, ...]
    decision: Decision
    rule: str
    hold: HoldId | None
    rows: int
    answer_bytes: int
    excerpt: bool  # the answer or the COPY data was cut
    found: tuple[Found, ...]
    withheld: int
    policy_version: str
    engine: str  # versions of codec, mask and policy, e.g. "pg1 mask2.1f0c22ab+ip_address sql1"
    content_sha256: bytes  # of the content's ciphertext; empty where there is none


@dataclass(frozen=True, slots=True)
class Hold:
    session: SessionId
    hold: HoldId
    request: ApprovalId  # what the client was told; the request may be an older one
    commitment: bytes
    effects: tuple[Effect, ...]
    effects_complete: bool
    score: int
    band: Band
    signals: tuple[str, ...]
    rule: str
    policy_version: str
    raised_us: int
    deadline_us: int
    content_sha256: bytes


@dataclass(frozen=True, slots=True)
class HoldGone:
    """Also a frame: the hold is over, whether it was granted or not."""

    hold: HoldId
    why: str  # a word of Over
    at_us: int


@dataclass(frozen=True, slots=True)
class Released:
    """Also a frame: journalled before the command is sent."""

    hold: HoldId
    request: ApprovalId
    commitment: bytes
    reviewers: tuple[str, ...]  # pseudonyms in a leaf
    at_us: int
    use: int = 1  # which of the approval's uses, from 1: more than one only of a standing approval
    break_glass: bool = False  # one person alone let it through: a review is due


@dataclass(frozen=True, slots=True)
class ScreenDisagrees:
    """Alarm: the pipeline judged a command otherwise than the gateway did."""

    session: SessionId
    number: int
    screen: Decision
    pipeline: Decision


@dataclass(frozen=True, slots=True)
class RuleAlerted:
    """A rule of the policy asks that people are told of this command, whatever was decided."""

    session: SessionId
    number: int
    rule: str
    subject: str
    target: str
    environment: str
    effects: tuple[Effect, ...]
    score: int
    band: Band
    result: Result


@dataclass(frozen=True, slots=True)
class MaskingFailed:
    """Alarm: values were withheld because a part of the mask failed on them, not for what they are."""

    session: SessionId
    number: int  # of the exchange; 0 where it was the session's opening, a login or a held command
    detector: str  # which: a detector's name, or a module of the mask
    values: int


# --- leaf records: approvals ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    request: ApprovalId
    first_hold: HoldId
    session: SessionId
    subject: str
    target: str
    environment: str
    commitment: bytes
    rule: ApproverRule
    score: int
    band: Band
    signals: tuple[str, ...]
    effects: tuple[Effect, ...]
    opened_us: int
    expires_us: int
    content_session: SessionId  # whose content key opens the masked text
    content_sha256: bytes
    caused_by: tuple[str, ...] = ()  # reviewers who stand behind the run: they may not vote
    shape: bytes | None = None  # commitment to the command without its values; None where they may not be left free
    sizes: tuple[RelationSize, ...] = ()


@dataclass(frozen=True, slots=True)
class Vote:
    """One reviewer's own signature; anybody with the directory can check it."""

    request: ApprovalId
    commitment: bytes
    reviewer: str
    choice: Choice
    reason_sha256: bytes  # salted: see approvals/votes.py
    deadline_us: int  # the vote says nothing after this
    cast_us: int
    signature: bytes
    reason: str = ""  # travels on the bus; emptied in a leaf
    uses: int = 1  # a standing approval's: how often the command may run on it
    shape: bytes | None = None  # the request's: with any values; None: with these


@dataclass(frozen=True, slots=True)
class Grant:
    """The one answer to one hold: run it, here are the votes."""

    hold: HoldId
    recorder: RecorderId
    request: ApprovalId
    first_hold: HoldId  # the commitment's salt is derived from it
    commitment: bytes
    votes: tuple[Vote, ...]
    expires_us: int
    at_us: int
    caused_by: tuple[str, ...] = ()  # of the first hold: in the commitment
    use: int = 1  # which of the uses that the votes allow; the number of one that left nothing comes again


@dataclass(frozen=True, slots=True)
class Refusal:
    """The one answer to one hold: do not, and why."""

    hold: HoldId
    recorder: RecorderId
    request: ApprovalId
    state: ApprovalState
    at_us: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalMoved:
    """A request went from one state to another otherwise than by the votes that decide it."""

    request: ApprovalId
    before: ApprovalState
    after: ApprovalState
    at_us: int


@dataclass(frozen=True, slots=True)
class ReviewOverdue:
    """Alarm: somebody broke the glass, and nobody else has reviewed that in time."""

    request: ApprovalId
    by: str
    due_us: int
    at_us: int


# --- leaf records: behaviour -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an identity does not usually do. The words are ours; names in them passed the detectors."""

    signal: str  # "Behaviour:Network/FirstSeen"
    points: int  # when it was found; they fade
    seen: str
    usual: str
    peers: int  # identities of its class that were asked: none of them does it
    session: SessionId
    at_us: int


@dataclass(frozen=True, slots=True)
class Alert:
    """Behaviour's word on an identity: its findings since the last alert, and why they are enough for one."""

    alert: AlertId
    subject: str
    identity_class: str  # of the policy; "" where none names the subject
    session: SessionId  # of the newest finding
    target: str
    environment: str
    findings: tuple[Finding, ...]
    score: int  # of all its findings, as far as they have not faded
    threshold: int  # at which this policy alerts
    warm: bool  # whether the usual was learned for long enough; if not, only what needs no usual was looked for
    suspension: SuspensionId | None
    policy_version: str
    at_us: int  # of the newest finding


@dataclass(frozen=True, slots=True)
class Learning:
    """An identity came that was not known: what is usual for it is being learned, and not yet missed."""

    subject: str
    identity_class: str
    from_us: int
    until_us: int  # at the earliest: it must have come on a few days, too
    policy_version: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """Also a message to the gateways: refuse this session, or this identity, until then. Signed
    (seal/suspension.py) by the behaviour step, for no gateway believes the bus."""

    suspension: SuspensionId
    alert: AlertId
    scope: Scope
    subject: str
    session: SessionId
    target: str
    caused_by: tuple[str, ...]  # reviewers who stand behind the run: they may not lift it
    from_us: int
    until_us: int
    policy_version: str
    producer: str  # enrolled name
    signature: bytes


@dataclass(frozen=True, slots=True)
class Resumed:
    """Also a message to the gateways: a reviewer lifted it."""

    suspension: SuspensionId
    subject: str
    vote: Vote  # over the suspension's id and the digest of what was signed of it; without its words
    at_us: int


# --- on the bus, not leaves ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HoldRaised:
    """Input of the approvals step, made by the pipeline out of a HeldCommand."""

    hold: HoldId
    recorder: RecorderId
    boot: int
    session: SessionId
    subject: str
    target: str
    environment: str
    match_key: bytes
    commitment: bytes
    rule: ApproverRule
    effects: tuple[Effect, ...]
    effects_complete: bool
    score: int
    band: Band
    signals: tuple[str, ...]
    policy_version: str
    raised_us: int
    deadline_us: int
    lookup_only: bool
    content: bytes  # masked command, encrypted under the session's content key
    content_sha256: bytes
    caused_by: tuple[str, ...] = ()  # reviewers who stand behind the run: they may not vote
    shape_key: bytes | None = None
    shape: bytes | None = None
    sizes: tuple[RelationSize, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldEnded:
    """Input of the approvals step: this hold is over."""

    hold: HoldId
    recorder: RecorderId
    why: str  # a word of Over
    at_us: int


@dataclass(frozen=True, slots=True)
class BootStarted:
    """Input of the approvals step: holds of earlier boots of this recorder are void."""

    recorder: RecorderId
    boot: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Input of the approvals step: a reviewer's vote to lift this."""

    suspended: Suspended
    vote: Vote


@dataclass(frozen=True, slots=True)
class Tick:
    """Input of the approvals step: time went on (the message's own time says how far)."""


@dataclass(frozen=True, slots=True)
class Pending:
    """To the gateway: the hold's request is open under this id (it may be an older one)."""

    hold: HoldId
    recorder: RecorderId
    request: ApprovalId


@dataclass(frozen=True, slots=True)
class JournalSegment:
    """Consecutive chunks under one signed header; opens alone. Key = recorder.

    `signature` is Ed25519 by the recorder over `header_bytes` (seal/segment.py):
    domain, recorder, boot, epoch, first, last, prior, chain, masker key id, recovered.
    """

    recorder: RecorderId
    boot: int
    epoch: int
    first: int  # chunk numbers, inclusive
    last: int
    prior_epoch: int  # position (epoch, chunk) just before `first`; -1, -1 at the very start
    prior_chunk: int
    chain: bytes  # SHA-256(chain before ‖ SHA-256 of this segment's chunk bytes)
    masker_key: str  # id of the key the epoch key is sealed to
    sealed_key: bytes  # the epoch key, sealed to the masker: same bytes all through the epoch
    signer: str  # enrolled name of the recorder's signing key
    recovered: bool  # signed by the next boot, after a crash
    signature: bytes
    chunks: tuple[bytes, ...]
    asks: bool = True  # unsigned, a hint: false means that nothing in it is for the approvals step, so nobody looks


@dataclass(frozen=True, slots=True)
class Event:
    """What a source emits: a leaf and its content's ciphertext (may be empty)."""

    leaf: bytes  # single-object encoded LedgerEntry
    content: bytes


@dataclass(frozen=True, slots=True)
class EventBatch:
    """One message on `events`. `signature` covers everything else (seal/event_batch.py)."""

    source: Source
    recorder: RecorderId  # the message key, so the shard
    prior: Position
    last: Position
    events: tuple[Event, ...]
    producer: str  # enrolled name
    signature: bytes


@dataclass(frozen=True, slots=True)
class Covered:
    """The ledger's word: this source is under a checkpoint up to `last`."""

    source: Source
    last: Position
    shard: str
    size: int


# --- leaf records: recorders, ledger -------------------------------------------


@dataclass(frozen=True, slots=True)
class Boot:
    recorder: RecorderId
    boot: int
    previous_boot: int  # -1 for the first
    previous_epoch: int  # where the journal found on disk ends; -1, -1 for none
    previous_chunk: int
    version: str
    started_us: int


@dataclass(frozen=True, slots=True)
class ChainHead:
    epoch: int
    chunk: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class Beat:
    recorder: RecorderId
    boot: int
    number: int
    opened: int  # sessions, since the boot
    closed: int
    chunks: int  # written, since the boot
    head: ChainHead
    covered_epoch: int
    covered_chunk: int
    farewell: bool  # the last beat of a clean stop
    at_us: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Something is missing between two positions of a source; said, never hidden."""

    missing_source: Source
    after: Position
    before: Position
    reason: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Undecoded:
    """A segment, or a session's part of it, could not be read."""

    session: SessionId | None
    topic: str
    where: str  # recorder, epoch, chunks
    digest: bytes  # SHA-256 of the sealed bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """The newest position of a source came twice with unlike bytes."""

    conflicting_source: Source
    at: Position
    digest_kept: bytes
    digest_other: bytes
    at_us: int


@dataclass(frozen=True, slots=True)
class LedgerAlive:
    at_us: int


@dataclass(frozen=True, slots=True)
class LedgerStarted:
    """A writer took the shard over."""

    version: str
    recovered_size: int
    store: str
    at_us: int


@dataclass(frozen=True, slots=True)
class WormCheck:
    name: str
    seen: str


@dataclass(frozen=True, slots=True)
class WormProbe:
    """The store was tried at the start and kept what was locked; each check with what was seen."""

    store: str
    checks: tuple[WormCheck, ...]
    at_us: int


@dataclass(frozen=True, slots=True)
class LedgerAdopted:
    """The first entry of a shard that goes on where a copy of another ends: a break, ordered by an operator."""

    before: str  # the shard's name; its own log ends there and stays as it is
    size: int
    root: bytes
    seen: str  # what the bus, or a witness, had seen of it: seq, size, root; empty if nothing is known
    reason: str
    at_us: int


@dataclass(frozen=True, slots=True)
class KeyEnrolled:
    name: str
    role: str  # recorder, masker, pipeline, approvals, ledger, behaviour
    public_key: bytes
    from_us: int
    until_us: int
    signature: bytes  # by the deployment's root key


@dataclass(frozen=True, slots=True)
class ReviewerInForce:
    """One of those whose votes count where a policy is in force: as `schemas.judging.Reviewer`."""

    name: str
    public_key: bytes
    groups: tuple[str, ...]
    identities: tuple[str, ...]
    break_glass: bool


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    version: str  # SHA-256 of the policy file, 16 hex digits
    by: str  # recorder or worker that loaded it
    at_us: int
    reviewers: tuple[ReviewerInForce, ...] = ()  # none: the policy has none, or the writer is of before it said so


LeafBody = Union[
    SessionOpened,
    SessionClosed,
    LoginRefused,
    Exchange,
    Hold,
    HoldGone,
    Released,
    ScreenDisagrees,
    ApprovalRequest,
    Vote,
    Grant,
    Refusal,
    ApprovalMoved,
    Boot,
    Beat,
    Gap,
    Undecoded,
    Conflict,
    LedgerAlive,
    LedgerStarted,
    KeyEnrolled,
    PolicyInForce,
    WormProbe,
    LedgerAdopted,
    MaskingFailed,
    ReviewOverdue,
    Alert,
    Learning,
    Suspended,
    Resumed,
    RuleAlerted,
]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What a leaf is: who says it, where it stands with that source, and the fact."""

    source: Source
    position: Position
    time_us: int
    body: LeafBody = field(kw_only=True)
