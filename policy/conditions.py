"""`when:` of a rule: CEL over a fixed, typed context, checked whole before it is used.

CEL looks names up at run time and its `has()` and `&&` hide wrong ones, so the text itself is checked:
variables, fields, functions, and the words that effects, bands and signals are compared with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cel

from policy import signals
from policy.aws.models import is_action
from policy.context import FIELDS, PLAIN, Context, Needs
from policy.document import Value, nearest
from policy.kubernetes.effects import EFFECTS as KUBERNETES_EFFECTS
from policy.needed import needed
from policy.sql.effects import EFFECTS as SQL_EFFECTS
from schemas.judging import SessionFacts
from schemas.records import Band, Claim, Effect

EFFECTS = SQL_EFFECTS | KUBERNETES_EFFECTS

MAX_LENGTH = 2000
MAX_NESTED = 24
MAX_LOOPS = 2

_EFFECT_FIELDS = frozenset(("effect", "relation"))
_FUNCTIONS = frozenset(
    ("size", "startsWith", "endsWith", "contains", "matches", "int", "string", "bool", "min", "max", "type")
)

_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')
_MACRO = re.compile(r"([\w.]+)\.(?:exists|all|exists_one|existsOne|filter|map)\(\s*(\w+)\s*,")
_PREFIXED = re.compile(r"(?<!\w)[rRbB]{1,2}[\"']")
_LOOP = re.compile(r"\.(?:exists|all|exists_one|existsOne|filter|map)\(")
_MATCHES = re.compile(r"(?<!\w)matches\(")
_PATTERN = re.compile(r"\.\s*matches\(\s*(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')\s*\)")
_ROOT = re.compile(r"(?<![\w.])(identity|target|command)\b(?:\.(\w+))?")
_CLAIM = re.compile(r"identity\.claims(?:\.(\w+)|\[\s*(?:\"([^\"]*)\"|'([^']*)')\s*\])")
_COMPARED = re.compile(r"(?:\.effect|(?<![\w.])(band))\s*(?:[=!]=\s*(\"[^\"]*\"|'[^']*')|in\s*\[([^\]]*)\])")
_IN_CONTEXT = re.compile(r"(\"[^\"]*\"|'[^']*')\s+in\s+context\b")
_SIGNAL_ID = re.compile(r"^\w+:\w+/\w+$")


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled `when`. `needs`: the names of `context` that it reads; `effects`: those of which a command
    must have one for it to be true, None where that is not known."""

    text: str
    needs: frozenset[str]
    effects: frozenset[str] | None
    program: Any

    def holds(self, variables: Any) -> bool | None:
        """True or false, or None where it failed: a claim that is not there, a wrong type."""
        try:
            found = self.program.execute(variables)
        except (RuntimeError, KeyError, TypeError, ValueError, ArithmeticError):
            return None
        return found if isinstance(found, bool) else None


def compile_(place: Value, circumstances: frozenset[str] = frozenset()) -> Condition:
    """`circumstances`: names that the policy gives them. Raises RulesInvalid, with the line and what is nearest."""
    text = place.text()
    if len(text) > MAX_LENGTH or _nesting(text) > MAX_NESTED:  # the parser's own limits are panics
        raise place.invalid(f"a condition has at most {MAX_LENGTH} characters and {MAX_NESTED} nested brackets")
    if '"""' in text or "'''" in text or "//" in _STRING.sub("", text) or _PREFIXED.search(_STRING.sub('""', text)):
        raise place.invalid("triple quotes, r'' and b'' and comments are not used in conditions")
    try:
        program = cel.compile(text)
        references = program.references()
    except ValueError as error:
        first = str(error).split("ERROR: ", 1)[-1].splitlines()[0]
        raise place.invalid(f"not CEL: {first}") from None
    bare = re.sub(r"\s*\.\s*", ".", _STRING.sub('""', text))
    bound = {name for _, name in _MACRO.findall(bare)}
    free = frozenset(references["variables"]) - bound
    _check_names(place, bare, free, frozenset(references["functions"]), bound)
    _check_words(place, text, circumstances)
    _check_work(place, text, bare)
    needs = (free & PLAIN) | {f"{root}.{field}" for root, field in _ROOT.findall(bare)}
    condition = Condition(text, needs, needed(text), program)
    handed = Needs(needs)
    for sample in _samples(text):
        if condition.holds(handed.variables(handed.key(sample))) is None:
            raise place.invalid("the condition fails on a sample command, or is not true or false")
    return condition


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "([{?":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}:":
            depth -= 1
    return deepest


def _check_names(place: Value, bare: str, free: frozenset[str], functions: frozenset[str], bound: set[str]) -> None:
    known = FIELDS.keys() | PLAIN
    for name in sorted(free - known):
        raise place.invalid(f"unknown name {name!r}{nearest(name, known)}")
    for name in sorted(bound & known):
        raise place.invalid(f"{name!r} is taken: choose another name inside the brackets")
    for name in sorted(f for f in functions if f[0].isalpha()):
        if name not in _FUNCTIONS:
            raise place.invalid(f"unknown function {name!r}{nearest(name, _FUNCTIONS)}")
    for root, field in _ROOT.findall(bare):
        if field not in FIELDS[root]:
            where = f"{root}.{field}" if field else root
            raise place.invalid(f"unknown field {where!r}{nearest(where, [f'{root}.{f}' for f in FIELDS[root]])}")
    for owner, name in _MACRO.findall(bare):
        if owner == "command.effects":
            for field in re.findall(rf"(?<![\w.]){name}\.(\w+)", bare):
                if field not in _EFFECT_FIELDS:
                    raise place.invalid(f"unknown field {name}.{field}{nearest(field, _EFFECT_FIELDS)}")


def _check_words(place: Value, text: str, circumstances: frozenset[str]) -> None:
    """Words that would never be equal are mistakes, and a control that never fires."""
    for is_band, word, several in _COMPARED.findall(text):
        known: frozenset[str] = frozenset(each.value for each in Band) if is_band else EFFECTS
        for each in _STRING.findall(word or several):
            if each[1:-1] not in known and (is_band or not is_action(each[1:-1])):
                raise place.invalid(f"nothing is ever {each}{nearest(each[1:-1], known)}")
    for each in _IN_CONTEXT.findall(text):
        if each[1:-1] not in circumstances:
            raise place.invalid(f"no context is named {each}{nearest(each[1:-1], circumstances)}")
    ids = {signal.id for signal in signals.table().values()}
    for each in _STRING.findall(text):
        if each[1:-1].startswith("Behaviour:"):
            raise place.invalid(f"{each} is found after the command has run: no rule can ask for it (see `behaviour`)")
        if _SIGNAL_ID.match(each[1:-1]) and each[1:-1] not in ids:
            raise place.invalid(f"unknown signal {each}{nearest(each[1:-1], ids)}")


def _check_work(place: Value, text: str, bare: str) -> None:
    """What a condition may cost: 256 effects a loop, so loops in loops at most twice; and regular expressions that
    no command had a hand in (the engine is linear in the text, but not in the pattern)."""
    begins = {found.end() - 1 for found in _LOOP.finditer(bare)}
    open_, depth = list[bool](), 0
    for at, character in enumerate(bare):
        if character == "(":
            open_.append(at in begins)
            depth += open_[-1]
        elif character == ")" and open_:
            depth -= open_.pop()
        if depth > MAX_LOOPS:
            raise place.invalid(f"exists, all, map and filter stand in each other at most {MAX_LOOPS} deep")
    if len(_MATCHES.findall(bare)) != len(_PATTERN.findall(text)):
        raise place.invalid("the pattern of matches() must be written as one string")


def _samples(text: str) -> tuple[Context, ...]:
    """Commands of unlike kinds; the identity has every claim that the text names."""
    names = {"".join(found) for found in _CLAIM.findall(text)} | {"sample"}
    facts = SessionFacts(
        "ci-deploy", tuple(Claim(n, "x") for n in sorted(names)), "db", "postgres", "production", "app", "app"
    )
    some = (Effect("delete", "public.t"), Effect("select", ""))
    return (
        Context(facts, some, ("a",), ("public.t",), True, 1, 85, Band.HIGH, ("Impact:Postgres/DeleteAll",)),
        Context(facts, (), (), (), False, 0, 0, Band.LOW, ()),
    )
