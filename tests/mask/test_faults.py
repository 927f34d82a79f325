"""Whatever fails in the mask, the value is withheld, and the mask says which part failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from mask import copied, encodings, fields, literals, named, search
from mask import replace as replacing
from mask.copy_shape import shapes
from mask.kinds import Detector, Finding, Kind
from mask.masker import Masked, Masker, Tokens, masker_for
from mask.normal import View
from mask.values import OPTIONAL, VALUES
from schemas.ids import SessionId
from schemas.records import Found
from tests.mask.conftest import SECRET
from wire.postgres.grammar import parse

ALL = (*VALUES, *OPTIONAL)


def _raises(here: View) -> Iterator[Finding]:
    raise ValueError(here.text)


def _raises_late(here: View) -> Iterator[Finding]:
    yield Finding(0, 1, Kind.SECRET, "x")
    raise RecursionError(here.text)


def _beyond(here: View) -> Iterator[Finding]:
    yield Finding(0, len(here.text) + 1, Kind.SECRET, "x")


def _before(here: View) -> Iterator[Finding]:
    yield Finding(-3, 2, Kind.SECRET, "x")


def _no_findings(here: View) -> Iterator[Finding]:
    yield None  # type: ignore[misc]


BROKEN = {each.__name__: each for each in (_raises, _raises_late, _beyond, _before, _no_findings)}


def _with(broken: Callable[[View], Iterator[Finding]], name: str) -> Masker:
    """A masker in which one detector of the table is broken."""
    table = [replace(each, find=broken) if each.name == name else each for each in ALL]
    return Masker(Tokens(SECRET, "s"), detectors=table)


def _withheld(masked: Masked, what: str) -> None:
    assert masked.text is not None
    assert masked.text.startswith(("withheld:", "SELECT withheld:"))
    assert (masked.found, masked.withheld, masked.failed) == ((), 1, (Found(what, 1),))


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("detector", ALL, ids=lambda each: each.name)
def test_a_value_on_which_a_detector_fails_is_withheld(detector: Detector, how: str) -> None:
    text = detector.hits[0].replace("«", "").replace("»", "")
    assert masker_for(SECRET, detect=[each.name for each in OPTIONAL])(SessionId("s")).text(text).found  # type: ignore[misc]
    masker = _with(BROKEN[how], detector.name)
    _withheld(masker.text(text), detector.name)
    _withheld(masker.value(text, "note"), detector.name)
    if "'" not in text and "\0" not in text:
        _withheld(masker.sql(f"SELECT '{text}'"), detector.name)
    assert masker.text("nothing at all in here") == Masked("nothing at all in here")  # and the next goes on


def _boom(*_: Any, **__: Any) -> Any:
    raise RuntimeError("4111 1111 1111 1111")


PARTS: list[tuple[ModuleType | type, str, str, Callable[[Masker], Masked]]] = [
    (encodings, "blobs", "search", lambda m: m.text("Y2hhcmdlIDQxMTEgMTExMSAxMTExIDExMTE=")),
    (encodings, "_printable", "encodings", lambda m: m.text("Y2hhcmdlIDQxMTEgMTExMSAxMTExIDExMTE=")),
    (encodings, "escapes", "search", lambda m: m.text("4111%201111%201111%201111")),
    (encodings, "_unescaped", "encodings", lambda m: m.text("4111%201111%201111%201111")),
    (named, "_values", "named", lambda m: m.text("password=hunter2")),
    (search, "view", "search", lambda m: m.text("4111 1111 1111 1111")),
    (replacing, "_joined", "replace", lambda m: m.text("4111 1111 1111 1111")),
    (fields, "denied", "fields", lambda m: m.value("hunter2", "column_that_nobody_asked_for")),
    (literals, "named", "literals", lambda m: m.sql("SELECT 'hunter2' AS password")),
]


@pytest.mark.parametrize(("where", "what", "part", "mask"), PARTS, ids=[f"{row[0].__name__}.{row[1]}" for row in PARTS])
def test_a_value_on_which_another_part_fails_is_withheld(
    where: ModuleType, what: str, part: str, mask: Callable[[Masker], Masked], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not mask(masker_for(SECRET)(SessionId("s"))).failed
    monkeypatch.setattr(where, what, _boom)
    _withheld(mask(masker_for(SECRET)(SessionId("s"))), part)


def test_a_field_of_copy_on_which_a_detector_fails_is_withheld_alone() -> None:
    shape = shapes(parse("COPY t (a, b, c) FROM stdin"))
    masker = _with(_raises, "card")
    done = masker.copied(shape, b"1\t4111111111111111\tstays\n2\tx\ty\n", whole=True)
    first, second = done.rows
    assert (first.split("\t")[0], first.split("\t")[2], second) == ("1", "stays\n", "2\tx\ty\n")
    assert first.split("\t")[1].startswith("withheld:16:")
    assert (done.found, done.withheld, done.failed) == ((), 1, (Found("card", 1),))


def test_data_of_a_copy_that_cannot_be_cut_are_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied, "_cut", _boom)
    done = masker_for(SECRET)(SessionId("s")).copied(shapes(parse("COPY t FROM stdin")), b"hunter2\n", whole=True)
    assert len(done.rows) == 1
    assert done.rows[0].startswith("withheld:8:")
    assert (done.withheld, done.failed) == (1, (Found("copied", 1),))


def _endless(_: View) -> Iterator[Finding]:
    while True:
        yield Finding(0, 1, Kind.SECRET, "x")


def test_a_detector_that_never_ends_is_stopped() -> None:
    masked = _with(_endless, "card").text("4111 1111 1111 1111")
    assert (masked.found, masked.withheld) == ((), 1)


def test_what_is_too_much_is_withheld_and_nobody_failed() -> None:
    masked = masker_for(SECRET)(SessionId("s")).text("4111 " * (1 << 20))
    assert (masked.withheld, masked.failed) == (1, ())
