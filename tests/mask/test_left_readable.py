"""Known faults, in docs/limitations.md: values that people read in masked text. Strict: who mends one sees it here."""

from __future__ import annotations

import re

import pytest

from mask.masker import masker_for
from schemas.ids import SessionId

pytestmark = pytest.mark.xfail(strict=True, reason="docs/limitations.md")
CARD = "4012888888881881"
MASKER = masker_for(b"t" * 32)(SessionId("db.0.aaaaaaaa/0/1"))


def _escaped(mark: str) -> str:
    return "".join(f"{mark}{ord(c):04x}" for c in CARD)


@pytest.mark.parametrize(
    "sql",
    [
        f"select U&'{_escaped('!')}' uescape '!'",
        f'select 1 as U&"{_escaped(chr(92))}"',
        f"select 1 as U&\"{_escaped('!')}\" uescape '!'",
        f"select $c{CARD}$x$c{CARD}$",
        f"select {int(CARD):#x}::bigint",
    ],
)
def test_a_card_in_sql(sql: str) -> None:
    shown = str(MASKER.sql(sql).text)
    assert CARD not in shown
    assert not re.search(r"[\\!]0034[\\!]0030[\\!]0031[\\!]0032", shown)
    assert f"{int(CARD):x}" not in shown


def test_a_body_in_single_quotes_is_read_as_one_in_dollars() -> None:
    body = "begin perform set_config({0}app.password{0}, {0}blue{0}, false); end"
    assert "blue" not in str(MASKER.sql(f"do $$ {body.format(chr(39))} $$").text)
    assert "blue" not in str(MASKER.sql(f"do ' {body.format(chr(39) * 2)} '").text)
