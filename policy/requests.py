"""The judgement of a request over HTTP, and of one line of any protocol, which is what `explain` is given.

    judge_request(request, facts, rules) -> Judgement      # by facts.protocol
    judge_line(text, facts, rules) -> Judgement            # text as the protocol's `commands.py` says

As pure as `judge.judge`, and never raising on a command.
"""

from __future__ import annotations

from collections.abc import Callable

from policy.aws import commands as aws_commands
from policy.aws import effects as aws_effects
from policy.circumstances import Moment
from policy.found import Effects
from policy.http import Request
from policy.judge import judge, judged
from policy.kubernetes import commands as kubernetes_commands
from policy.kubernetes import effects as kubernetes_effects
from policy.rules import Rules
from schemas.judging import Judgement, SessionFacts

_REQUESTS: dict[str, Callable[[Request, frozenset[str]], Effects]] = {
    "aws": aws_effects.read,
    "kubernetes": kubernetes_effects.read,
}
_LINES: dict[str, Callable[[str, frozenset[str]], Effects]] = {
    "aws": aws_commands.read,
    "kubernetes": kubernetes_commands.read,
}
PROTOCOLS = ("postgres", *_LINES)


def judge_request(request: Request, facts: SessionFacts, rules: Rules, *, moment: Moment = ()) -> Judgement:
    """`facts.protocol` is one of HTTP."""
    return judged(_REQUESTS[facts.protocol](request, rules.functions_allowed), facts, rules, moment)


def judge_line(text: str, facts: SessionFacts, rules: Rules, *, moment: Moment = ()) -> Judgement:
    """`facts.protocol` is one of PROTOCOLS."""
    if facts.protocol == "postgres":
        return judge(text, facts, rules, moment=moment)
    return judged(_LINES[facts.protocol](text, rules.functions_allowed), facts, rules, moment)
