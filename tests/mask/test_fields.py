"""What names say of values: the user's rules by their parts, several names at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask.fields import _WORDS, Fields
from schemas.judging import FieldAction, FieldRule

KEEP, TOKEN, WITHHOLD = FieldAction.KEEP, FieldAction.TOKEN, FieldAction.WITHHOLD

# (rules, name or names, the action or None)
CASES = [
    ({"people.city": TOKEN}, "people.city", TOKEN),
    ({"people.city": TOKEN}, "hr.people.city", TOKEN),
    ({"hr.people.city": TOKEN}, "people.city", TOKEN),
    ({"hr.people.city": KEEP}, "people.city", None),
    ({"people.city": TOKEN}, "shops.city", None),
    ({"people.city": TOKEN}, "City", TOKEN),
    ({"people.city": KEEP}, "city", None),
    ({"city": KEEP}, "people.city", KEEP),
    ({"people.*": WITHHOLD}, "people.city", WITHHOLD),
    ({"people.*": WITHHOLD}, "hr.people.city", WITHHOLD),
    ({"people.*": WITHHOLD}, "city", None),
    ({"hr.people.*": WITHHOLD}, "people.city", WITHHOLD),
    ({"hr.people.*": WITHHOLD}, "it.people.city", None),
    ({"people.ci*": TOKEN}, "people.city", TOKEN),
    ({"people.ci*": TOKEN}, "city", TOKEN),
    ({"people.ci*": TOKEN}, "people.name", None),
    ({"people*": TOKEN}, "people.city", None),
    ({"user.pin": TOKEN}, "t.body.user.pin", TOKEN),
    ({"app.*": TOKEN}, "app.trace", TOKEN),
    ({"people.*": WITHHOLD, "people.city": KEEP}, "people.city", KEEP),
    ({"people.*": KEEP, "city": TOKEN}, "people.city", TOKEN),
    # a column that nobody names
    ({"people.city": TOKEN}, "people.?", TOKEN),
    ({"people.*": WITHHOLD, "people.city": KEEP}, "hr.people.?", WITHHOLD),
    ({"hr.people.city": TOKEN}, "people.?", TOKEN),
    ({"hr.people.city": TOKEN}, "it.people.?", None),
    ({"people.city": TOKEN}, "shops.?", None),
    ({"city": TOKEN}, "shops.?", TOKEN),
    ({"people.city": TOKEN}, "?", TOKEN),
    ({"people.city": KEEP, "city": KEEP}, "people.?", None),
    ({"x-session": TOKEN}, "people.?", None),
    ({}, "people.?", None),
    # several names of one value
    ({"people.city": TOKEN}, ("x", "people.city"), TOKEN),
    ({"people.city": KEEP}, ("x", "people.city"), None),
    ({"people.city": KEEP, "x": KEEP}, ("x", "people.city"), KEEP),
    ({"x": KEEP}, ("x", "people.ssn"), TOKEN),
    ({"a.b": TOKEN, "c.d": WITHHOLD}, ("a.b", "c.d"), WITHHOLD),
    ({}, ("x", "people.ssn"), TOKEN),
    ({}, ("people.ssn", "people.password"), WITHHOLD),
    ({}, ("x", "people.name"), None),
    ({}, (), None),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "name", "action"), CASES)
def test_what_is_done(rules: dict[str, FieldAction], name: str | tuple[str, ...], action: FieldAction | None) -> None:
    fields = Fields([FieldRule(pattern, what) for pattern, what in rules.items()])
    for _ in range(2):  # said, and remembered
        found = fields.judge(name)
        assert (found and found.action) is action


@given(
    st.sampled_from(
        ["ssn", "userApiKey", "PGPASSWORD", "card_number", "x_access_token2", "nick", "shop.city", "id", "name"]
    ),
    st.sampled_from(["", "people.", "body.user."]),
)
def test_what_has_a_ruling_is_spoken_of(name: str, before: str) -> None:
    """Names are worked out only of a text that speaks of one: it may not miss any."""
    rules = [FieldRule("nick", TOKEN), FieldRule("shop.*", KEEP), FieldRule("people.id", WITHHOLD)]
    for fields in (Fields(), Fields(rules)):
        if fields.judge(before + name) is not None:
            assert fields.speaks_of(f"SELECT {before}{name} FROM t")


@pytest.mark.parametrize("said", [kind for kind in _WORDS.values()], ids=[*_WORDS])
def test_every_name_of_the_deny_list_is_spoken_of(said: str) -> None:
    for phrase in said.split():
        for name in (phrase, phrase.upper(), phrase.replace("_", ""), phrase.replace("_", "-"), f"my_{phrase}_hash"):
            if Fields().judge(name) is not None:
                assert Fields().speaks_of(f"SELECT {name}"), name


def test_names_by_escapes_and_in_other_letters_are_spoken_of() -> None:
    assert Fields().speaks_of('SELECT U&"\\0073sn"')
    assert Fields().speaks_of("SELECT ｓｓｎ")
    assert Fields([FieldRule("größe", TOKEN)]).speaks_of("SELECT a")
    assert not Fields().speaks_of("SELECT id, name FROM orders WHERE state = 'done'")
