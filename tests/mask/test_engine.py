"""What an entry says of the mask that made it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mask import encodings, masker
from mask.fields import Fields
from mask.masker import engine, table
from mask.normal import view
from mask.search import Search
from mask.values import OPTIONAL, VALUES
from schemas.judging import Detect
from tallystick.cli import app


def test_the_engine_is_its_version_its_table_and_what_is_asked_for(monkeypatch: object) -> None:
    assert re.fullmatch(r"mask[0-9]+\.[0-9a-f]{8}", engine())
    assert engine([Detect.IP_ADDRESS]) == engine() + "+ip_address"
    assert [each.name for each in table()] == [each.name for each in VALUES]
    assert [each.name for each in table([Detect.IP_ADDRESS])][-1] == OPTIONAL[0].name
    before = engine()
    monkeypatch.setattr(masker, "VALUES", VALUES[1:])  # type: ignore[attr-defined]
    assert engine() != before


def test_the_command_line_says_which_detectors_are_behind_it() -> None:
    said = CliRunner().invoke(app, ["mask", "--detectors"]).stdout.split()
    assert said == [engine(), *(each.name for each in VALUES)]


SEARCH = Search(Fields(()))


@given(
    st.lists(st.sampled_from([b"\\", b"%", b"&", b"#", b"=", b"4D", b"=\n", b"= \r\n", b"\t", b"\n", b"x", b"\x82"]))
)
def test_no_text_with_escapes_is_clean_at_a_glance(parts: list[bytes]) -> None:
    """The filters say it of all that `has_any` says it of: who looks at a glance asks them alone."""
    text = b"".join(parts)
    assert not (encodings.has_any(text) and SEARCH.clean(text))
    assert SEARCH.clean_of([text.decode("latin-1")]) == [SEARCH.clean(view(text.decode("latin-1")).data)]
