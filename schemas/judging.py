"""What the judge is given and what it answers. Plain values, never encoded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from schemas.records import ApproverRule, Band, Claim, Decision, Effect


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a session is, as far as a judgement may depend on it. Fixed for its life."""

    subject: str
    claims: tuple[Claim, ...]
    target: str
    protocol: str
    environment: str
    database: str
    user: str


class TransactionStep(StrEnum):
    """What a whole command does to the transaction, for the rule of the fresh transaction."""

    HARMLESS = "harmless"  # only BEGIN, SET LOCAL, SET TRANSACTION, SAVEPOINT, SHOW: holds nothing
    ENDS = "ends"  # COMMIT, ROLLBACK and the like
    USES = "uses"  # anything else


@dataclass(frozen=True, slots=True)
class Prepares:
    """SQL PREPARE (or DECLARE): a name that a later EXECUTE or FETCH runs."""

    name: str
    text: str


class Judgement(NamedTuple):
    """Everything that is said of one command under one policy version.

    The same (text, session facts, policy version) always gives the same judgement,
    so it may be cached under exactly these; never under normalised text unless
    `literal_blind`.
    """

    effects: tuple[Effect, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    complete: bool
    reason: str  # why not complete; "" if it is
    signals: tuple[str, ...]
    score: int
    band: Band
    decision: Decision
    rule: str
    approvers: ApproverRule | None  # set where decision is HOLD
    read_only: bool  # complete, and nothing but reads: `write` durability is enough
    barrier: bool  # may change settings: nothing later is judged before its ReadyForQuery
    settings_only: bool  # only SET, RESET or ROLLBACK: allowed even under unsupported settings
    transaction: TransactionStep
    literal_blind: bool
    undoable: bool  # a rollback undoes all that it does, and it gives no rows
    prepares: tuple[Prepares, ...]
    executes: tuple[str, ...]  # names run by SQL EXECUTE: the caller judges their texts too
    deallocates: tuple[str, ...]  # "" means all
    names: tuple[str, ...]  # relation names as written, to be resolved before an approval
    context: tuple[str, ...] = ()  # circumstances that the policy names and that held
    alerts: tuple[str, ...] = ()  # rules that want people told
    masks: tuple[str, ...] = ()  # rules that want no value on record


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Somebody who may vote. `identities`: machine subjects that are this person's own. `break_glass`: may approve
    alone, where the rule lets the glass be broken."""

    name: str
    public_key: bytes
    groups: tuple[str, ...]
    identities: tuple[str, ...] = ()
    break_glass: bool = False


class FieldAction(StrEnum):
    """What a field rule says of a column, parameter or path."""

    KEEP = "keep"
    TOKEN = "token"  # noqa: S105
    WITHHOLD = "withhold"


class Detect(StrEnum):
    """Values that are masked only where the policy's `detect` names them."""

    IP_ADDRESS = "ip_address"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """`pattern` is a name or `table.column`, compared without case; `*` ends a prefix."""

    pattern: str
    action: FieldAction
