"""What a terminal would act on, hide or reorder is seen as an escape; what is harmless is left alone."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tallystick.visible import BAR, block, strange, unambiguous, visible

ACTS = [
    ("a title sequence", "\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    ("a C1 sequence", "\x9b31m", "\\x9b31m"),
    ("a bidi override", "a\u202eb", "a\\u202eb"),
    ("a bidi isolate", "a\u2066b", "a\\u2066b"),
    ("a zero-width space", "a\u200bb", "a\\u200bb"),
    ("a byte order mark", "a\ufeffb", "a\\ufeffb"),
    ("a hidden letter", "a\u3164b", "a\\u3164b"),
    ("a variation selector", "a\ufe0fb", "a\\ufe0fb"),
    ("a tag", "a\U000e0041b", "a\\U000e0041b"),
    ("a return", "safe\rDROP", "safe\\rDROP"),
    ("a new line", "a\nstate  approved", "a\\nstate  approved"),
    ("a space that is none", "a\u00a0b", "a\\xa0b"),
    ("a line separator", "a\u2028b", "a\\u2028b"),
    ("a backspace", "DROP\x08\x08\x08\x08safe", "DROP\\x08\\x08\\x08\\x08safe"),
    ("a lone surrogate", "a\ud800b", "a\\ud800b"),
    ("letters of people", "Grüße, 世界, ελ", "Grüße, 世界, ελ"),
]


@pytest.mark.parametrize(("what", "text", "shown"), ACTS, ids=[row[0] for row in ACTS])
def test_what_a_terminal_acts_on_is_an_escape(what: str, text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_but_plain_characters_is_left(text: str) -> None:
    for c in visible(text):
        assert c == " " or unicodedata.category(c)[0] in "LMNPS"


@given(st.text())
def test_what_a_reviewer_reads_runs_from_left_to_right_and_overprints_nothing(text: str) -> None:
    for c in unambiguous(text):
        assert unicodedata.bidirectional(c) not in ("R", "AL", "AN")
        assert c.isascii() or unicodedata.category(c) not in ("Mn", "Me")


@given(st.text(), st.integers(10, 200))
def test_every_line_of_a_block_stands_behind_the_bar_and_fits(text: str, width: int) -> None:
    for line in block(text, width):
        assert line.startswith(BAR)
        assert cell_len(line) < max(width, 24)


def test_padding_cannot_push_a_forged_label_to_the_beginning_of_a_line() -> None:
    forged = "SELECT 1" + " " * 92 + "effects     none"
    assert all(line.startswith(BAR) for line in block(forged, 100))


def test_look_alikes_are_called_by_name() -> None:
    assert strange("DELETE FROM \u043erders") == ["U+043E CYRILLIC SMALL LETTER O (1×)"]
