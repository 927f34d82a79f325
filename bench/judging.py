"""The judge, cold and remembered, beside postgast.parse of the same statements, in turns in one run.

    .venv/bin/python -m bench.judging [statements]

The statements are a seeded sample of PostgreSQL's own regression tests; where those cannot be had, what real
programs send (tests/policy/real_programs.yaml). Cold: a text never seen; the policy may have decided one that
is alike in all that its rules ask. Undecided: not even that. Remembered: the gateway's screen
(ingest/postgres/screen.py) asked again for the same bytes.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import postgast
import yaml

from ingest.postgres.screen import Screen
from policy import rules
from policy.judge import judge
from schemas.judging import Judgement, SessionFacts
from schemas.records import Claim
from tests.policy.many_rules import many_rules
from tests.policy.regression import statements
from tools.services import Unavailable, regression_sql
from wire.postgres import grammar

FACTS = SessionFacts("ci", (Claim("repository", "acme/shop"),), "orders", "postgres", "production", "orders", "app")
LOOPS = 1000  # of what is too quick for one look at the clock
IN_TURN = 250  # statements that one row does before the next has them


def main() -> None:
    texts = _texts(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
    default, many = rules.parse(rules.default_text()), rules.parse(many_rules(200))

    def cold(policy: rules.Rules) -> Callable[[str], object]:
        return lambda text: judge(text, FACTS, policy)

    def undecided(policy: rules.Rules) -> Callable[[str], object]:
        def run(text: str) -> Judgement:
            policy.forget()
            return judge(text, FACTS, policy)

        return run

    def remembered(text: str) -> None:
        raw = text.encode()
        for _ in range(LOOPS):
            screen.verdict(raw, _nothing)

    screen = Screen(lambda text, facts, lookup: judge(text, facts, default, lookup=lookup), FACTS)
    rows: dict[str, tuple[Callable[[str], object], int]] = {
        "postgast.parse": (postgast.parse, 1),
        "cold, default policy": (cold(default), 1),
        "undecided, default": (undecided(default), 1),
        "cold, 200 rules": (cold(many), 1),
        "undecided, 200 rules": (undecided(many), 1),
        "remembered": (remembered, LOOPS),
    }
    took: dict[str, list[float]] = {name: [] for name in rows}
    for start in range(0, len(texts), IN_TURN):
        for name, (work, loops) in rows.items():
            for text in texts[start : start + IN_TURN]:
                grammar.parse.cache_clear()
                took[name].append(_took(work, text) / loops)
    parse = statistics.median(took["postgast.parse"])
    print(f"{len(texts)} statements, median {statistics.median(len(t) for t in texts):.0f} characters")
    for name, times in took.items():
        cut, median = statistics.quantiles(times, n=100), statistics.median(times)
        spread = f"p90 {cut[89]:7.1f}  p99 {cut[98]:7.1f}"
        print(f"{name:22} p50 {median:7.2f} us  {spread}   {median / parse:5.2f} of postgast")


def _took(work: Callable[[str], object], text: str) -> float:
    start = time.perf_counter_ns()
    work(text)
    return (time.perf_counter_ns() - start) / 1000


def _nothing(_: str) -> tuple[str, ...]:
    return ()


def _texts(most: int) -> list[str]:
    try:
        found = [each.text for each in statements(regression_sql())]
    except Unavailable as error:
        print(f"no regression SQL ({error}): real programs instead")
        programs = yaml.safe_load(Path("tests/policy/real_programs.yaml").read_text("utf-8"))
        found = [text for texts in programs.values() for text in texts]
    chosen = random.Random(1).sample(found, min(most, len(found)))
    return [text for text in chosen if _parses(text)]


def _parses(text: str) -> bool:
    try:
        postgast.parse(text)
    except postgast.PgQueryError:
        return False
    return True


if __name__ == "__main__":
    main()
