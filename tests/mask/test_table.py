"""Every row of the table of values: its examples are found at their places, what must not be found is not."""

from __future__ import annotations

import re

import pytest

from mask.fields import Fields
from mask.kinds import Detector
from mask.masker import masker_for
from mask.search import Search
from mask.values import OPTIONAL, VALUES
from schemas.ids import SessionId
from schemas.judging import Detect
from tests.mask.conftest import SECRET, session
from tools.masking_page import PAGE, page

TABLE = (*VALUES, *OPTIONAL)
HITS = [(each, text) for each in TABLE for text in each.hits]
MISSES = [(each, text) for each in TABLE for text in each.misses]
MARKS = re.compile("[«»]")


def names(rows: list[tuple[Detector, str]]) -> list[str]:
    return [f"{each.name}-{n}" for n, (each, _) in enumerate(rows)]


def places(detector: Detector, text: str) -> list[tuple[int, int]]:
    return [(each.start, each.end) for each in Search(Fields(), [detector]).all(text, names=False)]


@pytest.mark.parametrize(("detector", "marked"), HITS, ids=names(HITS))
def test_what_must_be_found_is_found_at_its_place(detector: Detector, marked: str) -> None:
    text = MARKS.sub("", marked)
    expected = [
        (match.start() - 2 * n, match.end() - 2 * n - 2) for n, match in enumerate(re.finditer("«[^»]*»", marked))
    ]
    assert places(detector, text) == expected


@pytest.mark.parametrize(("detector", "text"), MISSES, ids=names(MISSES))
def test_what_must_not_be_found_is_not(detector: Detector, text: str) -> None:
    assert places(detector, text) == []


def test_every_row_has_a_source_and_examples_of_both_sorts() -> None:
    assert [each.name for each in TABLE if not (each.source and each.hits and each.misses)] == []
    assert len({each.name for each in TABLE}) == len(TABLE)


def test_what_is_optional_is_off_unless_the_policy_asks() -> None:
    assert {each.name for each in OPTIONAL} == set(Detect)
    on = masker_for(SECRET, detect=(Detect.IP_ADDRESS,))(SessionId("s"))
    for text, asked in (("from 192.168.0.1:5432", True), ("4111111111111111", False)):
        assert (session().text(text).text == text) is asked
        assert on.text(text).found


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.masking_page"
