"""Writes docs/incomplete.md: of PostgreSQL's own regression SQL, what the judge cannot know, why, and the share.

    .venv/bin/python -m tools.incomplete

A test compares the file with what this writes, so run it after every change that judges more or less.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from policy.rules import default_text, parse
from policy.sql.effects import read
from tests.policy.regression import statements
from tools.services import regression_sql

PAGE = Path(__file__).parent.parent / "docs" / "incomplete.md"
VARIES = (
    (re.compile(r"^function .* is not a known one"), "a function that is not PostgreSQL's own"),
    (re.compile(r"^function \S+ runs what"), "a function that runs what its arguments say"),
    (re.compile(r"^operator .* is not a known one"), "an operator that is not PostgreSQL's own"),
    (re.compile(r"^a change to the catalog"), "a change to a catalog"),
    (re.compile(r"^not PostgreSQL's grammar"), "not PostgreSQL 18's grammar"),
)
"""Reasons that name something, or a place in the text."""

HEAD = """\
# What the judge cannot know from the text

Written by `python -m tools.incomplete`: do not edit. Of the {all:,} statements of PostgreSQL's own regression tests,
which are about odd and broken SQL, {incomplete:,} ({share:.1%}) are judged `complete: false`; the default policy holds
each of them. Without the {errors:,} that PostgreSQL 18 does not parse either it is {without:.1%}. Where there are
several reasons, the first is told.

| why | statements | share | mostly |
|---|---:|---:|---|
"""
MOSTLY = {
    "a function that is not PostgreSQL's own": "the tests' own functions; name yours under `functions.allow`",
    "an operator that is not PostgreSQL's own": "the tests' own operators; `functions.allow` takes them, too",
    "nobody knows what is prepared under the name that is executed": "EXECUTE and FETCH; a gateway knows what a session"
    " prepared, this count does not",
    "not PostgreSQL 18's grammar": "errors on purpose, and psql's variables",
    "a body that cannot be read": "errors on purpose, and arrays of row types, which libpg_query cannot read",
    "a function that runs what its arguments say": "`query_to_xml` and its like, `ts_rewrite`, `ts_stat`",
    "dynamic SQL in a body": "EXECUTE in plpgsql",
    "a function in a language that is not read": "C, internal, PL/Perl",
}


def page(texts: Iterable[str]) -> str:
    allowed = parse(default_text()).functions_allowed
    reasons: Counter[str] = Counter()
    total = 0
    for text in texts:
        total += 1
        if reason := read(text, allowed).reason:
            reasons[_kind(reason)] += 1
    incomplete, errors = reasons.total(), reasons["not PostgreSQL 18's grammar"]
    head = HEAD.format(
        all=total,
        incomplete=incomplete,
        share=incomplete / total,
        errors=errors,
        without=(incomplete - errors) / (total - errors),
    )
    ordered = sorted(reasons.items(), key=lambda row: (-row[1], row[0]))
    return head + "".join(f"| {why} | {n:,} | {n / total:.2%} | {MOSTLY.get(why, '')} |\n" for why, n in ordered)


def _kind(reason: str) -> str:
    return next((kind for pattern, kind in VARIES if pattern.match(reason)), reason)


if __name__ == "__main__":
    PAGE.write_text(page(each.text for each in statements(regression_sql())))
