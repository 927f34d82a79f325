"""What functions say of their arguments: pgcrypto's keys and passwords, labels before values, places in a template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from mask.sql_origins import members
from wire.postgres.grammar import Node, constant

_BY_KEY = "pgp_sym_encrypt pgp_sym_encrypt_bytea pgp_sym_decrypt pgp_sym_decrypt_bytea encrypt decrypt encrypt_iv hmac"
_SECRET = {
    "crypt": {0: "password"},
    "pgp_pub_decrypt": {1: "private_key", 2: "passphrase"},
    "pgp_pub_decrypt_bytea": {1: "private_key", 2: "passphrase"},
    **{name: {1: "encryption_key"} for name in (*_BY_KEY.split(), "decrypt_iv")},
}
"""What pgcrypto's functions take as their nth argument."""
NAMING = re.compile("crypt|hmac", re.IGNORECASE)
"""In the name of each of them: a statement without it has no names but those that stand in it."""
_PLACED = re.compile(r"%(?:[0-9]+\$)?-?[0-9*]*[sIL]")
_LAST_WORD = re.compile(r"([^\W\d][\w.]{0,80})[\s=:'\"(]{0,8}\Z")


def labels(function: str, args: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    """Each argument with its name, "" for none."""
    if len(args) == 2 and all("A_ArrayExpr" in each for each in args):  # json_object(keys, values)
        keys, values = (each["A_ArrayExpr"].get("elements", []) for each in args)
        yield from ((constant(key) or "", value) for key, value in zip(keys, values, strict=False))
        return
    known = _SECRET.get(function, {})
    if function == "format" and args:
        known = dict(enumerate(_placed(constant(args[0]) or ""), 1))
    for n, (before, value) in enumerate(pairwise([{}, *args])):
        yield known.get(n) or ".".join(members(constant(before) or "")), value


def _placed(template: str) -> list[str]:
    """What a template of format() calls its values: the words before their places, `PASSWORD %L`."""
    ends = [match.span() for match in _PLACED.finditer(template)]
    return [last_word(template[end:start]) for (_, end), (start, _) in pairwise([(0, 0), *ends])]


def last_word(text: str) -> str:
    """`PASSWORD` of 'ALTER ROLE r PASSWORD ', with which SQL is put together from strings."""
    word = _LAST_WORD.search(text[-100:])
    return word[1] if word else ""
