"""Refusing by substitute and rewrite (DESIGN section 4).

A refused command is replaced upstream by one that must fail there: a Bind to
the missing statement `tl-<nonce>`, or the Query `tl_<nonce>`. The target itself
then aborts what must abort, skips to Sync and reports its true state; nothing
of the protocol is invented here. The one ErrorResponse that carries the nonce
is rewritten into ours; any other error is the client's own and passes. The
nonce is random for each refusal and no client text is in the substitute, so
none reaches the target's log.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from schemas.ids import ApprovalId, HoldId
from schemas.records import Refused, Refusing, Scope, Suspended
from wire.postgres import messages as wire

INSUFFICIENT_PRIVILEGE = "42501"
NEEDS_APPROVAL = "TL001"
FEATURE_NOT_SUPPORTED = "0A000"
PROGRAM_LIMIT = "54000"
QUERY_CANCELED = "57014"
DISK_FULL = "53100"
IO_ERROR = "58030"
BAD_TEXT = "22021"
IN_FAILED_TRANSACTION = "25P02"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One command is refused, and what the client is told: our words and ids only, never traffic."""

    why: Refusing
    sqlstate: str
    message: str
    hint: str = ""
    hold: HoldId | None = None
    nonce: str = ""

    def with_nonce(self) -> Refusal:
        return replace(self, nonce=secrets.token_hex(12))

    def record(self, offset: int) -> Refused:
        return Refused(offset, self.why, self.sqlstate, self.message, self.nonce, self.hold)


def substitute(refusal: Refusal, *, simple: bool) -> bytes:
    """What goes upstream in place of the command: a Query for Query and FunctionCall, else a Bind."""
    nonce = refusal.nonce.encode("ascii")
    if simple:
        body = b"tl_%b\0" % nonce
        return b"Q%b%b" % ((len(body) + 4).to_bytes(4, "big"), body)
    body = b"\0tl-%b\0\0\0\0\0\0\0" % nonce
    return b"B%b%b" % ((len(body) + 4).to_bytes(4, "big"), body)


def describe_missing(refusal: Refusal) -> bytes:
    """Fails as `substitute` does, where there is no command to stand in for."""
    return wire.describe("S", b"tl-" + refusal.nonce.encode("ascii"))


def copy_fail(refusal: Refusal) -> bytes:
    """Ends a COPY whose data could not be recorded; the target repeats the reason, so it has the nonce."""
    body = b"tl-%b\0" % refusal.nonce.encode("ascii")
    return b"f%b%b" % ((len(body) + 4).to_bytes(4, "big"), body)


def rewrite(error: bytes, waiting: Iterable[Refusal]) -> tuple[bytes, Refusal] | None:
    """Our error in place of a whole ErrorResponse message that carries a nonce of `waiting`; else None.

    Position, file, line and routine would tell of the substitute: they are left out.
    """
    for refusal in waiting:
        if refusal.nonce.encode("ascii") in error:
            return error_response("ERROR", refusal.sqlstate, refusal.message, refusal.hint), refusal
    return None


def error_response(severity: str, sqlstate: str, message: str, hint: str = "") -> bytes:
    """ErrorResponse of ours (PostgreSQL chapter "Error and Notice Message Fields")."""
    return _report(b"E", severity, sqlstate, message, hint)


def notice_response(sqlstate: str, message: str, hint: str = "") -> bytes:
    """NoticeResponse of ours."""
    return _report(b"N", "NOTICE", sqlstate, message, hint)


def _report(kind: bytes, severity: str, sqlstate: str, message: str, hint: str) -> bytes:
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", message), ("H", hint)]
    body = b"".join(f"{code}{text}".encode() + b"\0" for code, text in fields if text) + b"\0"
    return kind + (len(body) + 4).to_bytes(4, "big") + body


# --- what is said, and when ------------------------------------------------------


def denied_by_policy(rule: str) -> Refusal:
    return Refusal(
        Refusing.POLICY,
        INSUFFICIENT_PRIVILEGE,
        f"tallystick: denied by policy rule {rule}",
        "This command is not allowed for this identity; ask who owns the policy.",
    )


def suspended(what: Suspended) -> Refusal:
    whom = "this session" if what.scope is Scope.SESSION else "this identity"
    until = datetime.fromtimestamp(what.until_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return Refusal(
        Refusing.SUSPENDED,
        INSUFFICIENT_PRIVILEGE,
        f"tallystick: {whom} is suspended ({what.suspension}) for unusual behaviour, alert {what.alert}",
        f"The command did not run. Until {until} UTC, or until a reviewer runs: tallystick resume {what.suspension}"
        " --reason …",
    )


def denied_by_reviewer(request: ApprovalId, hold: HoldId) -> Refusal:
    return Refusal(
        Refusing.DENIED,
        INSUFFICIENT_PRIVILEGE,
        f"tallystick: approval request {request} was denied",
        "A reviewer said no; the command did not run.",
        hold,
    )


def revoked(request: ApprovalId, hold: HoldId) -> Refusal:
    return Refusal(
        Refusing.DENIED,
        INSUFFICIENT_PRIVILEGE,
        f"tallystick: approval request {request} was revoked",
        "A reviewer took it back; the command did not run.",
        hold,
    )


def approval_gone(request: ApprovalId, hold: HoldId, why: str) -> Refusal:
    """Another run uses or used it, its votes are not for this run, or the policy asks for others by now."""
    return Refusal(
        Refusing.EXPIRED,
        NEEDS_APPROVAL,
        f"tallystick: approval request {request} {why}",
        "The command did not run. Run it again to ask again.",
        hold,
    )


def expired(request: ApprovalId, hold: HoldId, url: str) -> Refusal:
    return Refusal(
        Refusing.EXPIRED,
        NEEDS_APPROVAL,
        f"tallystick: nobody answered approval request {request} in time",
        f"The command did not run. See {url}/approvals/{request}; run the command again once it is approved.",
        hold,
    )


def in_used_transaction(request: ApprovalId, hold: HoldId | None, url: str) -> Refusal:
    return Refusal(
        Refusing.IN_TRANSACTION,
        NEEDS_APPROVAL,
        f"tallystick: this command needs approval ({request}) and its transaction cannot wait for it",
        f"It did not run. See {url}/approvals/{request}; run the transaction again once it is approved.",
        hold,
    )


def cannot_be_asked(reason: str) -> Refusal:
    """It would be held, but what exactly would be approved is not known."""
    return Refusal(
        Refusing.IN_TRANSACTION,
        NEEDS_APPROVAL,
        f"tallystick: this command needs approval, and {reason}",
        "It did not run. Send it in a transaction of its own.",
    )


def failed_transaction() -> Refusal:
    """A command that would be held, in a transaction that has failed: the target would refuse it, too."""
    return Refusal(
        Refusing.IN_TRANSACTION,
        IN_FAILED_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )


def cancelled(hold: HoldId) -> Refusal:
    return Refusal(Refusing.CANCELLED, QUERY_CANCELED, "canceling statement due to user request", hold=hold)


def changed_since(request: ApprovalId, hold: HoldId) -> Refusal:
    return Refusal(
        Refusing.UNVERIFIED,
        NEEDS_APPROVAL,
        f"tallystick: names or settings changed since approval request {request} was made, so it is void",
        "The command did not run. Run it again to ask again.",
        hold,
    )


def unverified(request: ApprovalId, hold: HoldId, reason: str) -> Refusal:
    return Refusal(
        Refusing.UNVERIFIED,
        INSUFFICIENT_PRIVILEGE,
        f"tallystick: the grant for {request} does not hold: {reason}",
        "The command did not run; tell who operates the gateway.",
        hold,
    )


def not_recorded(*, disk_full: bool) -> Refusal:
    return Refusal(
        Refusing.JOURNAL,
        DISK_FULL if disk_full else IO_ERROR,
        "tallystick: the journal cannot be written, so the command was not sent",
        "Try again later; the operator must free space or mend the disk of the gateway.",
    )


def too_large(size: int, limit: int) -> Refusal:
    return Refusal(
        Refusing.TOO_LARGE,
        PROGRAM_LIMIT,
        f"tallystick: command of {size} bytes is above capture.max_command ({limit})",
        "Send large data by COPY, or in several commands.",
    )


def unsupported_settings() -> Refusal:
    return Refusal(
        Refusing.PROTOCOL,
        FEATURE_NOT_SUPPORTED,
        "tallystick: commands cannot be judged with standard_conforming_strings off or client_encoding not UTF8",
        "Only SET, RESET and ROLLBACK are let through until both are back.",
    )


def not_utf8() -> Refusal:
    return Refusal(Refusing.PROTOCOL, BAD_TEXT, 'invalid byte sequence for encoding "UTF8"')


def function_call() -> Refusal:
    return Refusal(
        Refusing.PROTOCOL,
        FEATURE_NOT_SUPPORTED,
        "tallystick: function-call messages are not let through",
        "Call the function by a SELECT.",
    )
