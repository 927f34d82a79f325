"""Signals: the table, the sum, the bands."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.signals import Axis, band, points, score, signals, table
from policy.sql.marks import Mark
from schemas.records import Band
from tools.signals_page import PAGE, page


def total(environment: str, *marks: Mark) -> int:
    return score(signals(marks, environment), environment)


def test_the_table_is_well_formed() -> None:
    rows = list(table().values())
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert 0 <= row.points <= row.production <= 100
        assert row.reason.endswith(".")
        assert row.false_positives
        assert row.reference.startswith("https://")
        assert re.fullmatch(r"\w+:(Postgres|AWS|Kubernetes)/\w+", row.id)


def test_the_page_is_of_this_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.signals_page"


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(0, "low"), (39, "low"), (40, "medium"), (69, "medium"), (70, "high"), (89, "high"), (90, "critical")],
)
def test_bands(number: int, wanted: str) -> None:
    assert band(number) is Band(wanted)


def test_one_axis_counts_its_worst_and_axes_add_up() -> None:
    assert total("test", Mark.DELETE, Mark.INSERT) == 20
    assert total("test", Mark.DELETE, Mark.READS_ALL) == 30
    assert total("test", Mark.DROP_DATABASE, Mark.GRANT) == 100


def test_production_weighs_more() -> None:
    assert total("production", Mark.COPY_OUT_TABLE) >= 70 > total("staging", Mark.COPY_OUT_TABLE)
    assert total("PROD-eu", Mark.COPY_OUT_TABLE) == total("production", Mark.COPY_OUT_TABLE)


def test_what_must_be_high() -> None:
    for mark in (Mark.DELETE_ALL, Mark.UPDATE_ALL, Mark.DROP_TABLE, Mark.TRUNCATE, Mark.GRANT, Mark.ROLE, Mark.PARSING):
        assert total("test", mark) >= 70
    assert band(total("test", Mark.COPY_PROGRAM)) is Band.CRITICAL
    assert band(total("test", Mark.UNKNOWN)) is not Band.LOW


def test_ordinary_work_is_low() -> None:
    for mark in (Mark.INSERT, Mark.UPDATE, Mark.DELETE, Mark.CREATE, Mark.ALTER, Mark.CREATE_INDEX, Mark.SETTING):
        assert band(total("production", mark)) is Band.LOW


@given(st.sets(st.sampled_from(Mark)), st.sampled_from(Mark), st.sampled_from(["test", "production"]))
def test_one_more_mark_never_lowers_the_score(marks: set[Mark], more: Mark, environment: str) -> None:
    assert total(environment, *marks) <= total(environment, *marks, more) <= 100


@given(st.permutations(list(Mark)))
def test_order_does_not_matter(marks: list[Mark]) -> None:
    assert signals(marks, "production") == signals(list(Mark), "production")


def test_worst_first_and_none_without_points() -> None:
    found = signals(Mark, "production")
    assert [points(s, "production") for s in found] == sorted((points(s, "production") for s in found), reverse=True)
    assert signals([Mark.SETTING], "production") == ()
    assert {signal.axis for signal in found} == set(Axis)
