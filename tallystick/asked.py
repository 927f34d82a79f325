"""What is asked of a reviewer: read strictly from the door's answer, and shown so that it cannot fool. Pure.

Nothing in it is trusted to be printable: a machine wrote the command, and wants it approved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.door import DoorShut
from tallystick.recorded import iso
from tallystick.replay import command_lines
from tallystick.visible import block, strange, unambiguous, visible

SIGNAL = (("reason", ""), ("instead", "instead: "), ("false_positives", "may be wrong: "), ("reference", "see: "))
"""What is told of a signal, and how it is introduced."""
HEAD = ("request", "state", "subject", "target", "effects", "risk", "ends (UTC)", "waiting")


@dataclass(frozen=True, slots=True)
class Asked:
    """All that a reviewer should know before saying yes or no."""

    id: str
    state: str
    subject: str
    target: str
    environment: str
    session: str
    command: Mapping[str, Any] | None  # masked; None where its text was erased
    effects: tuple[tuple[str, str, int | None], ...]  # what is done, to what, and how many rows that has, if known
    effects_complete: bool
    score: int
    band: str
    signals: tuple[Mapping[str, str], ...]
    commitment: bytes
    rule: str
    groups: tuple[str, ...]
    quorum: int
    reason_required: bool
    opened_us: int
    expires_us: int
    now_us: int  # by the clock that these two are of
    waiting: int
    caused_by: tuple[str, ...]  # reviewers who may not vote on it
    votes: tuple[tuple[str, str, str], ...]  # reviewer, what they said, reason
    standing_s: int  # how long a standing approval may last, and how many uses it may have; 0: none are allowed
    standing_uses: int
    shape: bytes | None  # the commitment with any values, where these may be left free
    free: tuple[str, ...]  # which those are
    break_glass: bool
    uses: Uses
    review: Review | None


@dataclass(frozen=True, slots=True)
class Uses:
    allowed: int
    kept: int
    running: int
    any_values: bool


@dataclass(frozen=True, slots=True)
class Review:
    """Of broken glass."""

    by: str
    due_us: int
    overdue: bool
    said: str  # "" as long as it is due


def read_asked(plain: Mapping[str, Any], request: str) -> Asked:
    """Raises DoorShut where it is not the whole answer about that request."""
    try:
        rule, command = plain["rule"], plain["command"]
        asked = Asked(
            id=str(plain["id"]),
            state=str(plain["state"]),
            subject=str(plain["subject"]),
            target=str(plain["target"]),
            environment=str(plain["environment"]),
            session=str(plain["session"]),
            command=None if command is None else {"text": str(command["text"]), "params": list(command["params"])},
            effects=tuple(
                (str(e["effect"]), str(e["relation"]), _count(e.get("relation_rows"))) for e in plain["effects"]
            ),
            effects_complete=plain["effects_complete"] is True,
            score=int(plain["score"]),
            band=str(plain["band"]),
            signals=tuple({str(k): str(v) for k, v in s.items()} for s in plain["signals"]),
            commitment=bytes.fromhex(plain["commitment"]),
            rule=str(rule["name"]),
            groups=tuple(map(str, rule["groups"])),
            quorum=int(rule["quorum"]),
            reason_required=rule["reason_required"] is not False,
            opened_us=int(plain["opened_us"]),
            expires_us=int(plain["expires_us"]),
            now_us=int(plain["now_us"]),
            caused_by=tuple(map(str, plain["caused_by"])),
            waiting=int(plain["waiting"]),
            votes=tuple((str(v["reviewer"]), _said(v), str(v["reason"])) for v in plain["votes"]),
            standing_s=int(rule["standing_s"]),
            standing_uses=int(rule["standing_uses"]),
            shape=bytes.fromhex(plain["shape"]) if plain["shape"] is not None and rule["any_values"] is True else None,
            free=tuple(map(str, plain["free"] or ())),
            break_glass=rule["break_glass"] is True,
            uses=_uses(plain["uses"]),
            review=_review(plain["review"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise DoorShut("the door's answer is not a whole approval request: are both of one release?") from e
    if asked.id != request or len(asked.commitment) != 32 or (asked.shape is not None and len(asked.shape) != 32):
        raise DoorShut("the door answered about another request")
    return asked


def _said(vote: Mapping[str, Any]) -> str:
    often = f", {int(vote['uses'])} uses" if int(vote["uses"]) != 1 else ""
    return f"{vote['choice']}{often}{', any values' if vote['any_values'] is True else ''}"


def _uses(plain: Mapping[str, Any]) -> Uses:
    return Uses(int(plain["allowed"]), int(plain["kept"]), int(plain["running"]), plain["any_values"] is True)


def _review(plain: Mapping[str, Any] | None) -> Review | None:
    if plain is None:
        return None
    said = "" if plain["said"] is None else str(plain["said"])
    return Review(str(plain["by"]), int(plain["due_us"]), plain["overdue"] is True, said)


def standing(state: str, uses: Uses, review: Review | None) -> str:
    """The state with what makes it another than the usual: a standing approval's uses, glass that was broken."""
    if uses.allowed > 1 or uses.any_values:
        values = ", any values" if uses.any_values else ""
        state += f" (standing: used {uses.kept} of {uses.allowed}{values})"
    if review is not None:
        due = "OVERDUE" if review.overdue else "due"
        state += f" BREAK-GLASS, {f'reviewed: {review.said}' if review.said else f'review {due}'}"
    return state


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def about(rows: int) -> str:
    """Of an estimate, in two digits: it is of the target's last VACUUM or ANALYZE."""
    return f"has about {round(rows, 2 - len(str(rows))):,} rows"


def row(summary: Any) -> tuple[str, ...]:
    """Under HEAD. Raises DoorShut."""
    try:
        effects = [f"{e['effect']} {e['relation']}".strip() for e in summary["effects"]]
        more = f" and {len(effects) - 3} more" if len(effects) > 3 else ""
        return (
            str(summary["id"]),
            standing(str(summary["state"]), _uses(summary["uses"]), _review(summary["review"])),
            str(summary["subject"]),
            str(summary["target"]),
            ", ".join(effects[:3]) + more,
            f"{summary['band']} {summary['score']}",
            iso(int(summary["expires_us"]))[:19].replace("T", " "),
            str(summary["waiting"]),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise DoorShut("the door's answer is not a list of approval requests: are both of one release?") from e


def _also(asked: Asked) -> list[str]:
    """What may be said beyond yes and no, and what follows from broken glass."""
    lines = []
    if asked.standing_uses:
        values = ", with any values" if asked.shape is not None else ""
        days = asked.standing_s // 86400
        lines.append(f"standing    may be approved for up to {asked.standing_uses} uses in {days} days{values}")
    if asked.shape is not None:
        lines += [f"free        {visible(place)}" for place in asked.free]
        lines.append("            these only with --any-values; then whoever runs it chooses them, and so which rows,")
        lines.append("            up to all; comments and spaces are free then, too")
    if asked.break_glass and asked.state == "pending":
        lines.append("glass       may be broken: tallystick break-glass")
    if asked.review is not None:
        said = visible(asked.review.said) or f"by another person until {iso(asked.review.due_us)[:19]}Z"
        late = "OVERDUE " if asked.review.overdue and not asked.review.said else ""
        lines.append(f"BREAK-GLASS approved by {visible(asked.review.by)} alone; {late}review: {said}")
    return lines


def shown(asked: Asked, width: int, most: int) -> list[str]:
    """What a reviewer must see, the command in at most `most` lines. Labels are ours; all else is escaped, or
    behind a bar."""
    whole = "" if asked.effects_complete else "  (and perhaps more: NOT all of its effects are known)"
    effects = [
        f"{effect} {unambiguous(relation)}".strip() + ("" if rows is None else f" ({about(rows)})")
        for effect, relation, rows in asked.effects
    ] or ["none known"]
    lines = [
        f"request     {asked.id}  {visible(standing(asked.state, asked.uses, asked.review))}",
        f"subject     {unambiguous(asked.subject)}",
        f"target      {unambiguous(asked.target)}  ({unambiguous(asked.environment)})",
        f"session     {unambiguous(asked.session)}",
        f"effects     {'; '.join(effects)}{whole}",
        f"risk        {visible(asked.band)} {asked.score}",
    ]
    for signal in asked.signals:
        lines.append(f"signal      {visible(signal.get('id', ''))}")
        for part, words in SIGNAL:
            if signal.get(part):
                lines.append(f"            {words}{visible(signal[part])}")
    people = "person" if asked.quorum == 1 else "people"
    lines += [
        f"needs       {asked.quorum} {people} of {', '.join(map(visible, asked.groups))}  (rule {visible(asked.rule)})",
        *[f"behind it   {visible(name)}: no vote of theirs counts" for name in asked.caused_by],
        f"ends        {iso(asked.expires_us)[:19]}Z; {asked.waiting} waiting on the wire",
        f"commitment  {asked.commitment.hex()[:16]}…",
        *_also(asked),
    ]
    for reviewer, choice, reason in asked.votes:
        lines.append(f"vote        {visible(reviewer)}: {visible(choice)}")
        lines += block(reason, width) if reason else []
    if asked.command is None:
        return [*lines, "command     ITS TEXT WAS ERASED: nobody can see what it does"]
    lines.append("command     (masked: what is behind tokens and withheld values is not shown)")
    text = command_lines(asked.command, width)
    if len(text) > most:
        half = most // 2
        hidden = f"    … {len(text) - 2 * half} LINES ARE NOT SHOWN HERE; see all: tallystick requests {asked.id}"
        text = [*text[:half], hidden, *text[-half:]]
    lines += text
    odd = strange(str(asked.command["text"]))
    lines += [f"note        not ASCII: {visible(', '.join(odd[:8]))}{' …' if len(odd) > 8 else ''}"] if odd else []
    return lines
