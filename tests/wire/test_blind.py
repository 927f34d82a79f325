"""Statements under one blind key scan, parse and are masked alike, but for their whole numbers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask.fields import Fields
from mask.masker import Masker
from mask.search import Search
from mask.tokens import Tokens
from schemas.ids import SessionId
from wire.postgres.blind import blind
from wire.postgres.grammar import Unparsable, normalise, parse

SHAPES = [
    "SELECT {}",
    "SELECT a FROM t WHERE id = {} AND n > {}",
    "SELECT a FROM t WHERE ssn = {}",
    "INSERT INTO people (id, ssn) VALUES ({}, {})",
    "UPDATE t SET a = a + {} WHERE id = {}",
    "SELECT a FROM t LIMIT {} OFFSET {}",
    "SELECT {}.{}",
    "SELECT -{}, +{}, {}::text, {}e{}",
    "SELECT a[{}], $ {}, ${}",
    "SELECT t{}, {}t FROM t{}",
    "SELECT '{}', E'\\\\{}', $${}$$, $a${}$a$",
    "SELECT 'card {}{}' -- {}",
    "SELECT {} /* {} */",
    "SELECT 0x{}, 1_{}, 0b{}",
    "SELECT {}{}{}{}",
    "SELECT {}-{}-{}-{}",
    "SELECT U&'!{}' UESCAPE '!', U&\"d!{}\"",
    "SET work_mem = {}",
    "SET x = {}, {}",
    "FETCH {} FROM c",
    "SELECT * FROM t WHERE a IN ({}, {}) ORDER BY {}",
    "SELECT varchar({}) '{}'",
    "SELECT interval({}) '1 day', timestamp({}) 'now'",
    "CREATE TABLE t (a varchar({}), b numeric({}, {}))",
    "COPY t FROM STDIN; SELECT {}",
    "SELECT ä{}, {}ä",
    "NOTIFY a, '{}'",
]
NUMBERS = st.integers(0, 10**12).map(str) | st.sampled_from(
    ["0", "00", "4111", "1111", "078051120", "2147483647", "2147483648", "999999999", "1000000000"]
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    shape = draw(st.sampled_from(SHAPES))
    count = shape.count("{}")
    return tuple(shape.format(*(draw(NUMBERS) for _ in range(count))) for _ in range(2))  # type: ignore[return-value]


def masker(search: Search) -> Masker:
    return Masker(Tokens(b"s" * 32, SessionId("r/0/1")), search=search)


def tree(sql: str) -> object:
    """Its kinds, without constants and places; or why there is none."""
    try:
        found = parse(sql)
    except Unparsable:
        return "none"
    return [(s.kind, shape(s.body)) for s in found.statements]


def shape(node: object) -> object:
    """Without numbers (a place is one, and 0 is left out of a tree) and what strings hold."""
    if isinstance(node, dict):
        return {k: shape(v) for k, v in node.items() if type(v) is not int and k not in ("fval", "sval")}
    if isinstance(node, list):
        return [shape(each) for each in node]
    return re.sub("[0-9]+", "0", node) if isinstance(node, str) else node


@settings(max_examples=600)
@given(pairs())
def test_one_key_is_one_scan_one_tree_and_one_fingerprint(sqls: tuple[str, str]) -> None:
    one, two = sqls
    if blind(one.encode()) != blind(two.encode()):
        return
    assert tree(one) == tree(two)
    if tree(one) != "none":
        assert normalise(one) == normalise(two)


@settings(max_examples=600)
@given(pairs())
def test_what_was_masked_before_changes_nothing(sqls: tuple[str, str]) -> None:
    warm = masker(Search(Fields(())))
    first = warm.sql(sqls[0])
    assert warm.sql(sqls[0]) == first
    assert warm.sql(sqls[1]) == masker(Search(Fields(()))).sql(sqls[1])


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("SELECT 1", "SELECT 22", True),
        ("SELECT a FROM t WHERE b = 5", "SELECT a FROM t WHERE b = 123456789", True),
        ("SELECT 999999999", "SELECT 1000000000", False),  # the next may be no integer
        ("SELECT $1", "SELECT $2", False),
        ("SELECT t1", "SELECT t2", False),
        ("SELECT 1.5", "SELECT 2.5", False),
        ('SELECT "1"', 'SELECT "2"', False),
        ("SELECT U&'!0041'", "SELECT U&'!0042'", False),
        ("SELECT 0x1", "SELECT 0x2", False),
        ("SELECT ?", "SELECT 1", False),
        ("SELECT 1", "SELECT\x001", False),
    ],
)
def test_which_texts_share_a_key(one: str, two: str, same: bool) -> None:
    assert (blind(one.encode()) == blind(two.encode())) == same
