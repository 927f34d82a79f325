"""The policy file: strict, checked whole, first rule that is true decides."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import textwrap
import time

import pytest

from policy import rules
from policy.context import Context
from policy.rules import RulesInvalid, Then, parse
from schemas.judging import Detect, FieldAction, FieldRule, SessionFacts
from schemas.records import ApproverRule, Band, Claim, Decision, Effect
from tests.policy.many_rules import many_rules

FACTS = SessionFacts("ci", (Claim("ref", "main"),), "db", "postgres", "production", "d", "u")
KEY = "ed25519:" + base64.b64encode(bytes(range(32))).decode()
OTHER = "ed25519:" + base64.b64encode(bytes(32)).decode()

FULL = textwrap.dedent(
    f"""\
    rules:
      - name: freeze
        when: 'target.environment == "production" && size(command.writes) > 0'
        then: deny
      - name: deploys
        when: 'identity.claims.ref == "main"'
        then: allow
      - name: rest
        when: "true"
        then: hold
        approvers: dba
    otherwise: allow
    approvers:
      default: {{groups: [reviewers], quorum: 1, expires: 1h}}
      dba: {{groups: [dba, oncall], quorum: 2, expires: 30m, reason_required: true}}
    reviewers:
      - {{name: alice, key: "{KEY}", groups: [reviewers, dba], identities: [alice-ci]}}
      - {{name: bob, key: "{OTHER}", groups: [oncall]}}
    detect: [ip_address]
    mask:
      ssn: token
      "users.email": withhold
      "note*": keep
    functions:
      allow: [app.total]
    """
)


def context(
    environment: str = "test",
    writes: tuple[str, ...] = (),
    ref: str | None = "main",
    reads: tuple[str, ...] = (),
    complete: bool = True,
) -> Context:
    claims = () if ref is None else (Claim("ref", ref),)
    facts = SessionFacts("ci", claims, "db", "postgres", environment, "d", "u")
    return Context(facts, (), reads, writes, complete, 1, 0, Band.LOW, ())


def test_everything_in_the_file_comes_back() -> None:
    found = parse(FULL)
    assert found.version == hashlib.sha256(FULL.encode()).hexdigest()[:16]
    assert [rule.name for rule in found.rules] == ["freeze", "deploys", "rest"]
    assert found.approvers[1] == ApproverRule("dba", ("dba", "oncall"), 2, 1800, True)
    assert [(r.name, r.public_key, r.identities) for r in found.reviewers] == [
        ("alice", bytes(range(32)), ("alice-ci",)),
        ("bob", bytes(32), ()),
    ]
    assert found.field_rules[:2] == (
        FieldRule("ssn", FieldAction.TOKEN),
        FieldRule("users.email", FieldAction.WITHHOLD),
    )
    assert found.detect == (Detect.IP_ADDRESS,)
    assert found.functions_allowed == {"app.total"}


def test_masking_rules_in_groups_are_rules_by_name() -> None:
    grouped = """\
rules: []
mask:
  nick: token
  columns: {people.email: withhold, order_no: keep}
  tables: {salaries: withhold, hr.staff: token}
  paths: {"$.user.pin": withhold, "users[*].nick": token, note: keep}
  headers: {X-Session: token}
"""
    assert [(rule.pattern, rule.action.value) for rule in parse(grouped).field_rules] == [
        ("nick", "token"), ("people.email", "withhold"), ("order_no", "keep"), ("salaries.*", "withhold"),
        ("hr.staff.*", "token"), ("user.pin", "withhold"), ("users.nick", "token"), ("note", "keep"),
        ("X-Session", "token"),
    ]  # fmt: skip


def test_the_first_rule_that_is_true_decides() -> None:
    found = parse(FULL)
    denied = found.decide(context("production", ("t",)))
    assert (denied.decision, denied.rule, denied.approvers) == (Decision.DENY, "freeze", None)
    allowed = found.decide(context())
    assert (allowed.decision, allowed.rule, allowed.approvers) == (Decision.ALLOW, "deploys", None)
    held = found.decide(context(ref="feature"))
    assert (held.decision, held.rule, held.approvers) == (Decision.HOLD, "rest", found.approvers[1])


def test_a_rule_that_fails_holds() -> None:
    """`deploys` asks for a claim that this identity does not have: unknown is not false."""
    found = parse(FULL).decide(context(ref=None))
    assert (found.decision, found.rule) == (Decision.HOLD, "deploys")
    assert found.approvers is not None


def test_a_rule_that_alerts_decides_nothing_and_is_named_whoever_decides() -> None:
    found = parse(
        "rules:\n"
        "  - {name: writes, when: 'size(command.writes) > 0', then: alert}\n"
        "  - {name: main, when: 'identity.claims.ref == \"main\"', then: allow}\n"
        "  - {name: unread, when: 'true', then: alert}\n"
        "otherwise: deny\n"
    )
    decided = found.decide(context(writes=("t",)))
    assert (decided.decision, decided.rule, decided.alerts) == (Decision.ALLOW, "main", ("writes",))
    decided = found.decide(context(ref="other"))
    assert (decided.decision, decided.rule, decided.alerts) == (Decision.DENY, "otherwise", ("unread",))
    fails = parse("rules:\n  - {name: lost, when: 'identity.claims.ref == \"x\"', then: alert}\notherwise: allow\n")
    decided = fails.decide(context(ref=None))
    assert (decided.decision, decided.alerts) == (Decision.ALLOW, ("lost",)), "unknown is told of"


MASKS = """\
rules:
  - {name: writes, when: 'size(command.writes) > 0', then: alert}
  - {name: main, when: 'identity.claims.ref == "main"', then: allow}
  - {name: payroll, when: '"payroll" in command.reads', then: mask}
  - {name: other, when: 'identity.claims.ref == "other"', then: mask}
otherwise: deny
"""


def test_a_rule_that_masks_decides_nothing_and_is_tried_wherever_it_stands() -> None:
    rules = parse(MASKS)
    decided = rules.decide(context(reads=("payroll",)))
    assert (decided.decision, decided.rule, decided.masks) == (Decision.ALLOW, "main", ("payroll",))
    decided = rules.decide(context(ref="other", reads=("payroll",)))
    assert (decided.decision, decided.rule, decided.masks) == (Decision.DENY, "otherwise", ("payroll", "other"))
    assert rules.decide(context(reads=("orders",))).masks == ()


def test_what_is_not_known_is_masked() -> None:
    rules = parse(MASKS)
    assert rules.decide(context(complete=False)).masks == ("payroll",), "it may read payroll where nobody sees it"
    assert rules.decide(context(complete=True)).masks == (), "and what was decided of the one is not the other's"
    assert rules.decide(context(ref=None)).masks == ("other",), "a claim that is not there"
    within = parse("rules:\n  - {name: drops, when: 'command.effects.exists(e, e.effect == \"drop\")', then: mask}\n")
    assert within.decide(context(complete=False)).masks == ("drops",)
    assert within.decide(context(complete=True)).masks == ()


def test_where_no_rule_decides_otherwise_does_and_without_it_hold() -> None:
    none = "rules: [{name: a, when: 'false', then: allow}]\n"
    assert parse(none).decide(context()).decision is Decision.HOLD
    assert parse(none).decide(context()).approvers == rules.DEFAULT_APPROVERS
    assert parse(none + "otherwise: deny").decide(context()).decision is Decision.DENY
    assert parse(none + "otherwise: allow").decide(context()).rule == "otherwise"


def test_the_same_context_gives_the_same_answer_and_memory_is_bounded() -> None:
    found = parse(FULL)
    first = found.decide(context())
    for n in range(rules._REMEMBERED + 10):
        found.decide(context(writes=(str(n),)))
    assert found.decide(context()) == first
    assert len(found._decided) <= rules._REMEMBERED


def edited(old: str, new: str) -> str:
    assert old in FULL
    return FULL.replace(old, new)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (edited("otherwise:", "otherwize:"), "unknown key; did you mean 'otherwise'?"),
        (edited("approvers: dba", "aproovers: dba"), "did you mean 'approvers'?"),
        (edited("then: deny", "then: block"), "one of allow, hold, deny"),
        (edited("approvers: dba", "approvers: dbas"), "did you mean 'dba'?"),
        (edited("name: deploys", "name: freeze"), "is taken"),
        (edited("name: deploys", "name: otherwise"), "is taken"),
        (edited("quorum: 2", "quorum: 0"), "at least 1"),
        (edited("quorum: 2", "quorum: 3"), "needs 3 reviewers and only 2"),
        (edited("quorum: 2", "quorum: two"), "whole number"),
        (edited("expires: 30m", "expires: 30"), "must be text"),
        (edited("expires: 30m", "expires: 90d"), "up to 30d"),
        (edited("expires: 30m", "expires: 0m"), "up to 30d"),
        (edited("groups: [dba, oncall]", "groups: []"), "nobody could approve"),
        (edited("expires: 30m", "expires: 30m, standing: {max_days: 7}"), "'max_uses' is missing"),
        (edited("expires: 30m", "expires: 30m, standing: {max_days: 0, max_uses: 5}"), "must be 1 to 366"),
        (edited("expires: 30m", "expires: 30m, standing: {max_days: 7, max_uses: 1}"), "must be 2 to 500"),
        (edited("expires: 30m", "expires: 30m, standing: {max_days: 7, max_uses: 501}"), "must be 2 to 500"),
        (edited("expires: 30m", "expires: 30m, standing: true"), "must be a mapping"),
        (edited("expires: 30m", "expires: 30m, break_glass: {review: 1h}"), "did you mean 'review_within'?"),
        (edited("expires: 30m", "expires: 30m, break_glass: yes"), "true or false"),
        (edited("expires: 30m", "expires: 30m, break_glass: true"), "no reviewer has `break_glass: true`"),
        (edited("identities: [alice-ci]", "break_glass: on"), "true or false"),
        (edited(OTHER, KEY), "another reviewer has this key"),
        (edited("name: bob", "name: alice"), "listed twice"),
        (edited(OTHER, "ed25519:AAAA"), "32 bytes"),
        (edited(OTHER, "rsa:" + OTHER.split(":")[1]), "ed25519"),
        (edited("ssn: token", "ssn: hide"), "one of keep, token, withhold"),
        (edited('"note*"', '"no*te"'), "only ends it"),
        (edited('"note*"', '"*"'), "only ends it"),
        (edited('"note*"', '"a..b"'), "only ends it"),
        (edited("ssn: token", "colums: {ssn: token}"), "did you mean 'columns'?"),
        (edited("ssn: token", "columns: {ssn: hide}"), "mask.columns.ssn: must be one of keep, token, withhold"),
        (edited("ssn: token", "columns: [ssn]"), "must be text"),
        (edited("ssn: token", "tables: {people.*: token}"), "a table is a name, or schema.table"),
        (edited("ssn: token", "tables: {a.b.c: token}"), "a table is a name, or schema.table"),
        (edited("ssn: token", "paths: {'$..ssn': token}"), "only ends it"),
        (edited("ssn: token", "paths: {'a[?(@.b)]': token}"), "a path is names with dots"),
        (edited("ssn: token", "headers: {'x session': token}"), "a header is letters"),
        (edited("ssn: token", "columns: {Note*: token}"), "stands twice, and not for the same"),
        (edited("when: \"true\"", "when: true"), "must be text"),
        (edited("    then: deny\n", "    then: deny\n    approvers: dba\n"), "only a rule that holds"),
        (edited("    then: deny\n", ""), "'then' is missing"),
        ("otherwise: allow", "'rules' is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_stops_the_start(text: str, why: str) -> None:
    with pytest.raises(RulesInvalid) as caught:
        parse(text)
    assert why in str(caught.value)
    assert str(caught.value).startswith("policy line ")


def test_the_line_is_the_line() -> None:
    with pytest.raises(RulesInvalid) as caught:
        parse(edited("identity.claims.ref", "identity.clams.ref"))
    assert caught.value.line == 6


def test_the_default_policy_loads_and_names_no_reviewer() -> None:
    found = parse(rules.default_text())
    assert found.reviewers == ()
    assert [rule.then for rule in found.rules] == [Then.HOLD, Then.HOLD]
    assert found.otherwise is Decision.ALLOW


def test_two_hundred_rules_cost_a_cold_command_less_than_a_millisecond() -> None:
    """The quickest of a hundred, each with names that no other has: the rest is what else the machine does."""
    found = parse(many_rules(200))
    assert len(found.rules) == 200
    took = []
    for n in range(100):
        effects = (Effect("update", f"t{n}"), Effect("select", f"u{n}"))
        cold = Context(FACTS, effects, (f"u{n}",), (f"t{n}",), True, 1, 10, Band.LOW, ("Impact:Postgres/Update",))
        start = time.perf_counter()
        decided = found.decide(cold)
        took.append(time.perf_counter() - start)
        assert decided.rule == rules.OTHERWISE
    assert min(took) < 0.001


def test_commands_alike_in_what_the_rules_ask_are_decided_once() -> None:
    found = parse("rules: [{name: a, when: 'score > 70 && command.complete', then: hold}]\notherwise: allow")
    for n in range(100):
        found.decide(context(writes=(str(n),)))
    assert len(found._decided) == 1
    assert found.decide(dataclasses.replace(context(), score=71)).rule == "a"
    assert found.decide(dataclasses.replace(context(), score=71, complete=False)).rule == rules.OTHERWISE
    assert len(found._decided) == 3


def test_what_a_rule_allows_beyond_one_use_and_beyond_its_quorum() -> None:
    (plain, _) = parse(FULL).approvers
    assert (plain.standing_s, plain.standing_uses, plain.any_values, plain.break_glass) == (0, 0, False, False)
    more = edited("expires: 30m", "expires: 30m, standing: {max_days: 7, max_uses: 40}, break_glass: true")
    more = more.replace("identities: [alice-ci]", "identities: [alice-ci], break_glass: true")
    found = parse(more)
    dba = found.approvers[1]
    assert (dba.standing_s, dba.standing_uses, dba.any_values) == (7 * 86_400, 40, False)
    assert (dba.break_glass, dba.break_glass_own, dba.review_s) == (True, False, 86_400)
    assert [r.break_glass for r in found.reviewers] == [True, False]
    said = more.replace("break_glass: true}}", "break_glass: {own: true, review_within: 8h}}")
    said = said.replace(
        "max_uses: 40}, break_glass: true", "max_uses: 40}, break_glass: {own: true, review_within: 8h}"
    )
    dba = parse(said).approvers[1]
    assert (dba.break_glass, dba.break_glass_own, dba.review_s) == (True, True, 8 * 3_600)


def test_who_breaks_the_glass_must_not_be_the_only_one_who_could_review_it() -> None:
    text = edited("quorum: 2, expires: 30m, reason_required: true", "quorum: 1, expires: 30m, break_glass: true")
    text = text.replace("identities: [alice-ci]", "break_glass: true")
    assert parse(text).approvers
    alone = text.replace("groups: [oncall]}", "groups: [other]}")
    assert alone != text
    with pytest.raises(RulesInvalid, match="nobody else in its groups could review"):
        parse(alone)
