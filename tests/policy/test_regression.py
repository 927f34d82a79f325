"""PostgreSQL's own regression SQL, judged: nothing crashes, and nothing that changes rows or structure is a read."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable

import postgast
import pytest

from policy import signals
from policy.signals import Axis
from schemas.judging import Judgement
from schemas.records import Band
from tests.policy.outside_reader import ROWS, Change, changes
from tests.policy.regression import Statement
from tools import incomplete
from wire.postgres.grammar import quoted

Judge = Callable[..., Judgement]

SAMPLE = 1500
COMMENTS = r"(?:\s|--[^\n]*\n)*"
HIDES = re.compile(
    COMMENTS + r"\(*(?:with|select|explain|copy|prepare|declare|values)\b.*\b(?:insert|update|delete|merge)\b",
    re.I | re.S,
)
"""May have a change under another top: the short form has all of these."""
NOT_A_CHANGE = frozenset(("ClosePortalStmt", "DeallocateStmt"))  # of the session alone, by a name that is told
NO_MORE_THAN_READS = frozenset(("PrepareStmt", "DeclareCursorStmt", "MergeStmt"))  # of a SELECT; MERGE DO NOTHING
BY_ID = {signal.id: signal for signal in signals.table().values()}


def test_a_sample_of_it(judged: Judge, regression: list[Statement]) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    sample = random.Random(seed).sample(regression, SAMPLE)
    check(judged, sample)


def test_whatever_may_hide_a_change(judged: Judge, regression: list[Statement]) -> None:
    """A change under SELECT, EXPLAIN, COPY, PREPARE...: tools that read the first word took each for a read."""
    assert check(judged, [each for each in regression if HIDES.match(each.text)]) > 80


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_of_it(judged: Judge, regression: list[Statement]) -> None:
    assert len(regression) > 48_000
    assert check(judged, regression) > 200


@pytest.mark.slow
def test_what_is_not_complete_is_written_down(regression: list[Statement]) -> None:
    assert incomplete.page(each.text for each in regression) == incomplete.PAGE.read_text("utf-8")


def check(judged: Judge, statements: Iterable[Statement]) -> int:
    """How many changes stood under another statement's top, and ran."""
    hidden = 0
    for file, text in statements:
        found = judged(text)
        assert found.band is not Band.LOW or found.complete, (file, text)
        try:
            tree = postgast.parse(text)
        except postgast.PgQueryError:
            assert not found.complete, (file, text)
            continue
        for change in changes(tree):
            if not change.kept:
                hidden += not change.top
                named(found, change, (file, text))
                if change.text:
                    assert weight(judged(change.text)) <= weight(found), (file, text)
    return hidden


def named(found: Judgement, change: Change, where: tuple[str, str]) -> None:
    effects = {(each.effect, each.relation.rsplit(".", 1)[-1]) for each in found.effects}
    if change.kind in ROWS:
        assert any((effect, quoted(change.relation)) in effects for effect in ROWS[change.kind]), where
        assert not found.read_only, where
    elif change.kind not in NOT_A_CHANGE | NO_MORE_THAN_READS:
        assert any(effect != "select" for effect, _ in effects), where
        assert not found.read_only, where
    elif change.kind == "PrepareStmt":
        assert not found.read_only, where


def weight(found: Judgement) -> int:
    """The points of what is changed: a bare statement may read what was a CTE, so reads are left out."""
    of = [BY_ID[id_] for id_ in found.signals if BY_ID[id_].axis is not Axis.EXPOSURE]
    return max((signal.production for signal in of), default=0)


def test_a_reader_that_sees_less_would_be_caught(judged: Judge) -> None:
    """The outside reader finds what is hidden, so that agreement with it means something."""
    text = "WITH d AS (DELETE FROM s.log RETURNING *) SELECT * FROM d"
    (change,) = changes(postgast.parse(text))
    assert (change.kind, change.relation, change.top, change.text) == (
        "DeleteStmt",
        "log",
        False,
        "DELETE FROM s.log RETURNING *",
    )
    with pytest.raises(AssertionError):
        named(judged("SELECT * FROM log"), change, ("", text))
    assert list(changes(postgast.parse("EXPLAIN DELETE FROM log"))) == []
    assert [c.kept for c in changes(postgast.parse("CREATE RULE r AS ON INSERT TO t DO DELETE FROM u"))] == [
        False,
        True,
    ]
