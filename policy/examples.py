"""Examples: commands in a policy with what the policy must say of them. `tallystick policy check` tries each.

    tests:
      - {command: "DROP TABLE orders", decision: hold, rule: structure}
      - {command: "DROP TABLE orders", subject: migrations, claims: {ref: main}, at: "2026-12-24", decision: deny}

Beside the command: subject, claims, environment (production unless it says another), target, database, user, and `at`
(a day or time in UTC; without it no time of `context` holds). What must come out: decision, and rule, band, alerts and
masks (names of rules, all of them) if named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policy import circumstances, document
from policy.document import Value
from policy.judge import judge
from policy.rules import Rules
from schemas.judging import SessionFacts
from schemas.records import Band, Claim, Decision

MOST = 1000
_FACTS = ("subject", "environment", "target", "database", "user")


@dataclass(frozen=True, slots=True)
class Example:
    line: int
    command: str
    facts: SessionFacts
    at_us: int | None
    decision: Decision
    rule: str | None
    band: Band | None
    alerts: tuple[str, ...] | None
    masks: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Failure:
    """`why` never holds the command."""

    line: int
    why: str


def read(text: str) -> tuple[Example, ...]:
    """Of a policy that `rules.parse` took. Raises RulesInvalid."""
    parts = document.read(text).pairs()
    if "tests" not in parts:
        return ()
    found = [_example(item) for item in parts["tests"].items()]
    if len(found) > MOST:
        raise parts["tests"].invalid(f"there are at most {MOST}")
    return tuple(found)


def failures(rules: Rules, examples: tuple[Example, ...]) -> Iterator[Failure]:
    for each in examples:
        moment = () if each.at_us is None else rules.moment(each.at_us)
        found = judge(each.command, each.facts, rules, moment=moment)
        wrong = found.decision is not each.decision
        wrong |= each.rule is not None and found.rule != each.rule
        wrong |= each.band is not None and found.band is not each.band
        wrong |= each.alerts is not None and found.alerts != each.alerts
        wrong |= each.masks is not None and found.masks != each.masks
        if wrong:
            wanted = [
                each.decision.value,
                f"by {each.rule}" * (each.rule is not None),
                each.band.value if each.band else "",
                f"with alerts of {list(each.alerts)}" if each.alerts is not None else "",
                f"masked by {list(each.masks)}" if each.masks is not None else "",
            ]
            told = f", alerts of {list(found.alerts)}" if found.alerts else ""
            told += f", masked by {list(found.masks)}" if found.masks else ""
            is_ = f"{found.decision.value} by {found.rule}, {found.band.value} {found.score}{told}"
            yield Failure(each.line, f"must be {' '.join(filter(None, wanted))}, and is {is_}")


def _example(item: Value) -> Example:
    known = ("command", "claims", "at", "decision", "rule", "band", "alerts", "masks", *_FACTS)
    parts = item.fields(known, ("command", "decision"))
    texts = {name: parts[name].text() if name in parts else "" for name in _FACTS}
    claims = parts["claims"].pairs() if "claims" in parts else {}
    facts = SessionFacts(
        texts["subject"] or "somebody",
        tuple(Claim(name, value.text()) for name, value in claims.items()),
        texts["target"] or "target",
        "postgres",
        texts["environment"] or "production",
        texts["database"],
        texts["user"],
    )
    return Example(
        item.line,
        parts["command"].text(),
        facts,
        circumstances.date(parts["at"]) if "at" in parts else None,
        Decision(parts["decision"].one_of(Decision)),
        parts["rule"].text() if "rule" in parts else None,
        Band(parts["band"].one_of(Band)) if "band" in parts else None,
        tuple(parts["alerts"].texts()) if "alerts" in parts else None,
        tuple(parts["masks"].texts()) if "masks" in parts else None,
    )
