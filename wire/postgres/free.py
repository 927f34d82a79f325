"""Which parts of a statement are free where an approval is for any values: named, for who signs it. Pure.

free_places("DELETE FROM t WHERE id = $1 AND kind = 'x'")
("$1 in WHERE id = ...", "constant 1 in WHERE ... kind = ...")
"""

from __future__ import annotations

import re

from wire.postgres.grammar import words

MOST_PLACES = 40
_AROUND = 3  # words that stand before the place
_CLAUSES = frozenset(
    ("select", "from", "where", "set", "values", "limit", "offset", "having", "on", "by", "returning", "using", "fetch")
)
_PARAMETER = re.compile(r"\$[0-9]+")


def free_places(sql: str) -> tuple[str, ...]:
    """One line a constant or parameter, in order; what is above MOST_PLACES is counted in the last.
    Raises Unparsable."""
    found: list[str] = []
    clause, before, constants = "", list[str](), 0
    for word in words(sql):
        constants += not word
        if not word or _PARAMETER.fullmatch(word):
            found.append(f"{word or f'constant {constants}'} in {_where(clause, before)} ...".replace("  ", " "))
        if word in _CLAUSES:
            clause, before = word.upper(), []
        else:
            before.append(word or "?")
    if len(found) > MOST_PLACES:
        found[MOST_PLACES:] = [f"and {len(found) - MOST_PLACES} more: every constant and parameter"]
    return tuple(found)


def _where(clause: str, before: list[str]) -> str:
    near = before[-_AROUND:]
    while near and near[0] in ("and", "or", ",", "?"):
        near = near[1:]
    skipped = "... " if len(before) > len(near) else ""
    return f"{clause} {skipped}{' '.join(near)}".strip()
