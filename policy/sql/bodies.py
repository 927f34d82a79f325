"""What runs inside a plpgsql body: the SQL texts of it, each with the mode it parses in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from wire.postgres.grammar import MODE_SQL

# Statements that hold no SQL of their own, or hold it in the PLpgSQL_expr below them.
_UNDERSTOOD = frozenset(
    "PLpgSQL_stmt_" + name
    for name in (
        *("assert", "assign", "block", "call", "case", "close", "commit", "execsql", "exit", "fetch", "forc", "fori"),
        *("foreach_a", "fors", "getdiag", "if", "loop", "open", "perform", "raise", "return", "return_next"),
        *("return_query", "rollback", "while"),
    )
)
_DYNAMIC_FIELDS = frozenset(("dynquery",))  # OPEN ... FOR EXECUTE, RETURN QUERY EXECUTE


class Piece(NamedTuple):
    """`text` "" is dynamic SQL: nobody knows what runs."""

    text: str
    mode: int


def pieces(body: Any) -> Iterator[Piece]:
    """Every text in what `grammar.parse_plpgsql` gave. Kinds that are not in the list above are dynamic."""
    stack = [body]
    while stack:
        here = stack.pop()
        if here.__class__ is list:
            stack.extend(here)
        elif here.__class__ is dict:
            for key, value in here.items():
                if key == "PLpgSQL_expr":
                    yield Piece(value.get("query", ""), value.get("parseMode", MODE_SQL))
                    continue
                if key in _DYNAMIC_FIELDS or (key.startswith("PLpgSQL_stmt_") and key not in _UNDERSTOOD):
                    yield Piece("", MODE_SQL)
                stack.append(value)


def hides_a_default(body: Any, words: list[str]) -> bool:
    """Whether a record or row variable of this body has a default: libpg_query leaves these out. `words` are the
    tokens of the body's text (`grammar.words`)."""
    records = {
        datum["PLpgSQL_rec"].get("refname", "")
        for function in body
        for datum in function.get("PLpgSQL_function", {}).get("datums", ())
        if "lineno" in datum.get("PLpgSQL_rec", {})
    }
    if not records:
        return False
    end = default = len(words)  # the next `;` and the next default behind `at`: read backwards, each word once
    for at in range(len(words) - 1, -1, -1):
        word = words[at]
        if word == ";":
            end = at
        starts = at == 0 or words[at - 1] in (";", "declare")
        if starts and default < end and _may_be(word, records) and words[at + 1] not in (":=", "=", ".", "["):
            return True
        if word in (":=", "=", "default"):
            default = at
    return False


def _may_be(word: str, names: set[str]) -> bool:
    """A name with escapes, or one that is cut, may be any."""
    if word.startswith("u&") or len(word) >= 60:
        return True
    return (word[1:-1].replace('""', '"') if word.startswith('"') else word) in names
