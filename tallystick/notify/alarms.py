"""What is said of a record that is ill, and of an identity that does what is not usual for it. Pure."""

from __future__ import annotations

from schemas.records import (
    Alert,
    Conflict,
    Gap,
    HoldGone,
    MaskingFailed,
    Over,
    Resumed,
    ReviewOverdue,
    RuleAlerted,
    Scope,
    ScreenDisagrees,
    Suspended,
    Undecoded,
)
from tallystick.notify.kinds import Kind
from tallystick.notify.requests import Memory
from tallystick.notify.told import Told, place, shown, when

MOST_FINDINGS = 5


def gap(body: Gap, memory: Memory) -> Told:
    where = f"{body.missing_source} after {place(body.after)}, before {place(body.before)}"
    return _alarm("Gap", "Part of the record is missing", (("where", where), ("reason", body.reason)))


def undecoded(body: Undecoded, memory: Memory) -> Told:
    whose = (("session", body.session),) if body.session else ()
    lines = (*whose, ("where", f"{body.topic} {body.where}"), ("reason", body.reason))
    return _alarm("Undecoded", "Part of the record could not be read", lines)


def conflict(body: Conflict, memory: Memory) -> Told:
    where = f"{body.conflicting_source} at {place(body.at)}"
    return _alarm("Conflict", "One position of the record came twice with unlike contents", (("where", where),))


def disagrees(body: ScreenDisagrees, memory: Memory) -> Told:
    lines = (
        ("session", body.session),
        ("command", str(body.number)),
        ("gateway", body.screen.value),
        ("pipeline", body.pipeline.value),
    )
    return _alarm("ScreenDisagrees", "A gateway decided on a command otherwise than the policy says", lines)


def masking(body: MaskingFailed, memory: Memory) -> Told:
    lines = (("session", body.session), ("detector", body.detector), ("values", f"{body.values}, all withheld"))
    return _alarm("MaskingFailed", "A part of the mask failed", lines)


def hold_gone(body: HoldGone, memory: Memory) -> Told | None:
    if body.why != Over.UNVERIFIED:
        return None
    words = "A gateway refused an approval whose votes do not hold: somebody may have forged it"
    return _alarm("HoldGone", words, (("hold", body.hold),))


def overdue(body: ReviewOverdue, memory: Memory) -> Told:
    lines = (("request", body.request), ("broken by", body.by), ("due", when(body.due_us)))
    return _alarm("ReviewOverdue", "The glass was broken, and nobody else has reviewed that in time", lines)


def _alarm(record: str, title: str, lines: tuple[tuple[str, str], ...]) -> Told:
    facts = {"record": record, **{label.replace(" ", "_"): value for label, value in lines}}
    said = tuple((label, shown(value)) for label, value in lines)
    return Told(Kind.ALARM, title, (*said, ("look", f"tallystick events --kind {record}")), facts)


# --- behaviour -----------------------------------------------------------------------------


def rule(body: RuleAlerted, memory: Memory) -> Told:
    does = ", ".join(f"{e.effect} {shown(e.relation)}".strip() for e in body.effects[:MOST_FINDINGS]) or "nothing known"
    more = f" and {len(body.effects) - MOST_FINDINGS} more" if len(body.effects) > MOST_FINDINGS else ""
    lines = (
        ("rule", shown(body.rule)),
        ("subject", shown(body.subject)),
        ("target", f"{shown(body.target)} ({shown(body.environment)})"),
        ("effects", does + more),
        ("risk", f"{body.band.value} {body.score}"),
        ("result", body.result.value),
        ("look", f"tallystick replay {shown(body.session)}"),
    )
    facts = {
        "rule": body.rule,
        "subject": body.subject,
        "target": body.target,
        "environment": body.environment,
        "session": body.session,
        "number": body.number,
        "effects": [{"effect": e.effect, "relation": e.relation} for e in body.effects],
        "score": body.score,
        "band": body.band.value,
        "result": body.result.value,
    }
    title = f"The rule {shown(body.rule)} tells of a command of {shown(body.subject)} on {shown(body.target)}"
    return Told(Kind.RULE, title, lines, facts, target=body.target, score=body.score)


def alert(body: Alert, memory: Memory) -> Told:
    found = [
        ("finding", f"{shown(f.signal)}, {f.points} points: {shown(f.seen)}; usual: {shown(f.usual)}")
        for f in body.findings
    ]
    lines = (
        ("subject", shown(body.subject)),
        ("target", f"{shown(body.target)} ({shown(body.environment)})"),
        ("session", shown(body.session)),
        *found[:MOST_FINDINGS],
        *([("", f"and {len(found) - MOST_FINDINGS} more")] if len(found) > MOST_FINDINGS else []),
        ("score", f"{body.score}; alerts begin at {body.threshold}"),
        *([("suspended", shown(body.suspension))] if body.suspension else []),
        ("look", "tallystick alerts"),
    )
    facts = {
        "alert": body.alert,
        "subject": body.subject,
        "class": body.identity_class,
        "target": body.target,
        "environment": body.environment,
        "session": body.session,
        "score": body.score,
        "threshold": body.threshold,
        "findings": [{"signal": f.signal, "points": f.points, "seen": f.seen, "usual": f.usual} for f in body.findings],
        "suspension": body.suspension,
    }
    title = f"Unusual: {shown(body.subject)} on {shown(body.target)}, {body.score}"
    return Told(Kind.ALERT, title, lines, facts, target=body.target, score=body.score)


def suspended(body: Suspended, memory: Memory) -> Told:
    whose = body.session if body.scope is Scope.SESSION else body.subject
    lines = (
        ("subject", shown(body.subject)),
        ("session", shown(body.session)),
        ("until", when(body.until_us)),
        ("look", "tallystick alerts"),
        ("lift", f"tallystick resume {shown(body.suspension)} --reason '…'"),
    )
    facts = {
        "suspension": body.suspension,
        "alert": body.alert,
        "scope": body.scope.value,
        "subject": body.subject,
        "session": body.session,
        "target": body.target,
        "until": when(body.until_us),
    }
    return Told(Kind.SUSPENDED, f"Suspended: {body.scope} {shown(whose)}", lines, facts, target=body.target, score=100)


def resumed(body: Resumed, memory: Memory) -> Told:
    by = body.vote.reviewer
    facts = {"suspension": body.suspension, "subject": body.subject, "reviewers": [by]}
    return Told(Kind.RESUMED, f"Suspension lifted by {shown(by)}: {shown(body.subject)}", (), facts)
