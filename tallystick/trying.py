"""A policy, checked and tried on what is recorded: what `tallystick policy` does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from policy import examples, history
from policy import rules as policy_rules
from policy.document import RulesInvalid
from schemas.judging import SessionFacts
from schemas.records import CommandKind, Decision, Exchange, SessionOpened
from tallystick.cli_events import columns
from tallystick.recorded import as_json as json_line
from tallystick.recorded import iso, load, open_log
from tallystick.terminal import fail, note, say, working

MISMATCH = 1
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_JUDGED = (CommandKind.SIMPLE, CommandKind.EXTENDED)
_SHOWN = 20


def read_policy(path: Path | None) -> policy_rules.Rules:
    """The policy of that file, or the default one."""
    try:
        text = policy_rules.default_text() if path is None else path.read_text(encoding="utf-8")
        return policy_rules.parse(text)
    except (OSError, UnicodeDecodeError) as e:
        fail(f"{path}: cannot be read ({type(e).__name__})")
    except RulesInvalid as e:
        fail(f"{path or 'the default policy'}: {e}")


def check(path: Path) -> None:
    rules = read_policy(path)
    try:
        tests = examples.read(path.read_text(encoding="utf-8"))
    except RulesInvalid as e:
        fail(f"{path}: {e}")
    wrong = list(examples.failures(rules, tests))
    for each in wrong:
        note(f"{path}: line {each.line}: {each.why}")
    if wrong:
        fail(f"{path}: {len(wrong)} of {len(tests)} tests fail")
    tried = f", {len(tests)} tests pass" if tests else ""
    say(f"{path}: good; version {rules.version}, {len(rules.reviewers)} reviewers{tried}")


@dataclass(slots=True)
class Tally:
    """Of one identity. `stopped` and `let_through`: what the simulated policy changes against today's."""

    subject: str
    commands: int = 0
    held_today: int = 0
    denied_today: int = 0
    held: int = 0
    denied: int = 0
    stopped: int = 0
    let_through: int = 0


@dataclass(slots=True)
class Simulated:
    since: str
    today: str
    simulated: str
    identities: dict[str, Tally] = field(default_factory=dict)
    changes: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    def add(self, of: SessionFacts, exchange: Exchange, today: history.Again, then: history.Again) -> None:
        tally = self.identities.setdefault(of.subject, Tally(of.subject))
        tally.commands += 1
        tally.held_today += today.decision is Decision.HOLD
        tally.denied_today += today.decision is Decision.DENY
        tally.held += then.decision is Decision.HOLD
        tally.denied += then.decision is Decision.DENY
        tally.stopped += today.decision is Decision.ALLOW and then.decision is not Decision.ALLOW
        tally.let_through += today.decision is not Decision.ALLOW and then.decision is Decision.ALLOW
        if today.decision is not then.decision:
            does = ", ".join(f"{each.effect} {each.relation}".strip() for each in exchange.effects[:3]) or "nothing"
            was, is_ = (f"{each.decision.value} ({each.rule})" for each in (today, then))
            self.changes[of.subject, was, is_, does] += 1


def simulate(path: Path | None, since: str, config: Path, *, as_json: bool) -> None:
    today = read_policy(load(config).policy)
    then = read_policy(path) if path else today
    begin_us = _since(since)
    found = Simulated(iso(begin_us), today.version, then.version)
    with working("reading the ledger"):
        for of, exchange in _judged(config, begin_us):
            found.add(of, exchange, history.again(of, exchange, today), history.again(of, exchange, then))
    if as_json:
        changes = [dict(zip(("subject", "was", "is", "does"), key, strict=True)) | {"commands": count}
                   for key, count in found.changes.most_common()]  # fmt: skip
        identities = [asdict(each) for each in found.identities.values()]
        say(json_line({"since": found.since, "today": found.today, "simulated": found.simulated,
                       "identities": identities, "changes": changes}))  # fmt: skip
        return
    for line in _in_words(found):
        say(line)


def _in_words(found: Simulated) -> Iterator[str]:
    total = sum(each.commands for each in found.identities.values())
    yield f"{total} commands since {found.since[:10]}; today's policy {found.today}, simulated {found.simulated}"
    head = (
        "identity",
        "commands",
        "held today",
        "held",
        "denied today",
        "denied",
        "newly stopped",
        "newly let through",
    )
    rows = [
        (e.subject, *map(str, (e.commands, e.held_today, e.held, e.denied_today, e.denied, e.stopped, e.let_through)))
        for e in sorted(found.identities.values(), key=lambda e: (-e.stopped, -e.commands, e.subject))
    ]
    yield from columns([head, *rows]) if rows else ()
    if found.changes:
        changes = [(str(count), *key) for key, count in found.changes.most_common(_SHOWN)]
        yield from columns([("changed", "identity", "was", "would be", "does"), *changes])
    if len(found.changes) > _SHOWN:
        yield f"and {len(found.changes) - _SHOWN} more kinds of change; all with --json"


def rescore(path: Path | None, since: str, config: Path, *, as_json: bool) -> None:
    rules = read_policy(path or load(config).policy)
    same, others, wrong = 0, Counter[str](), list[dict[str, object]]()
    with working("reading the ledger"):
        for of, exchange in _judged(config, _since(since)):
            match history.agreement(of, exchange, rules):
                case history.Agreement.SAME:
                    same += 1
                case history.Agreement.OTHER_POLICY:
                    others[f"policy {exchange.policy_version}"] += 1
                case history.Agreement.OTHER_ENGINE:
                    others[f"engine {exchange.engine}"] += 1
                case history.Agreement.OTHER_SCORE:
                    score = history.again(of, exchange, rules).score
                    where = {"session": exchange.session, "number": exchange.number}
                    wrong.append({**where, "recorded": exchange.score, "again": score})
    if as_json:
        say(json_line({"policy": rules.version, "same": same, "others": others, "otherwise": wrong}))
    else:
        say(f"{same} commands have the score that policy {rules.version} gives, bit for bit")
        for version, count in sorted(others.items()):
            say(f"{count} commands were scored by another version: {version}")
        for each in wrong[:_SHOWN]:
            say("session {session} command {number}: recorded {recorded}, and is {again}".format(**each))
    if wrong:
        fail(f"{len(wrong)} commands have another score than is recorded", MISMATCH)


def _judged(config: Path, begin_us: int) -> Iterator[tuple[SessionFacts, Exchange]]:
    """The commands that a screen judged, from a time on, each with whose it is."""
    known: dict[str, SessionFacts] = {}
    for _, entry in open_log(config).entries():
        body = entry.body
        if isinstance(body, SessionOpened):
            known[body.session] = history.facts(body)
        elif isinstance(body, Exchange) and body.started_us >= begin_us:
            of = known.get(body.session)
            if of is not None and body.kind in _JUDGED:
                yield of, body


def _since(text: str) -> int:
    """Microseconds since 1970."""
    if text[-1:] in _UNITS and text[:-1].isascii() and text[:-1].isdigit():
        return max(0, time.time_ns() // 1000 - int(text[:-1][:6]) * _UNITS[text[-1]] * 1_000_000)
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000
    except ValueError:
        fail("--since: how long back, such as 31d or 12h, or a day, such as 2026-01-31")
