"""Laws of masked content: nothing planted is left, rows and columns stay as many, JSON stays JSON, and what is masked
once stays so."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask.masker import masker_for
from schemas.ids import SessionId
from schemas.records import CommandKind
from stream import content
from stream.exchange import RawExchange
from tests.mask.conftest import PLANTED, core
from wire.postgres import messages as m
from wire.postgres.messages import Column

MASKER = masker_for(b"t" * 32)(SessionId("r.0.00000000/0/1"))
BOOL, BYTEA, INT8, TEXT, JSON, JSONB, UNKNOWN_TYPE = 16, 17, 20, 25, 114, 3802, 70_000
CARD, SSN = 4012888888881881, 212345678

NUMBERS = st.sampled_from([CARD, SSN, 0, -7, 19.99, 5e-7])
LEAVES = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.sampled_from([text for text, _ in PLANTED.values()])
)
KEYS = st.sampled_from(["id", "note", "ssn", "password", "card", "é"])
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, dict | list))
COLUMNS = st.sampled_from(["id", "note", "ssn", "password", "body", "total"])


@st.composite
def cells(draw: st.DrawFn) -> tuple[int, int, bytes | None]:
    """(type, format, bytes): sound ones, and ones that are not what their type says."""
    oid = draw(st.sampled_from([BOOL, BYTEA, INT8, TEXT, JSON, JSONB, UNKNOWN_TYPE]))
    form = draw(st.sampled_from([0, 1]))
    if draw(st.integers(0, 9)) == 0:
        return oid, form, draw(st.none() | st.binary(max_size=12))
    match oid:
        case 20:
            number = draw(st.sampled_from([CARD, SSN, 7]))
            return oid, form, struct.pack(">q", number) if form else str(number).encode()
        case 16:
            return oid, form, (b"\1" if form else b"t")
        case 114 | 3802:
            text = json.dumps(draw(DOCUMENTS), ensure_ascii=draw(st.booleans())).encode("utf-8", "replace")
            return oid, form, (b"\1" + text if form and oid == JSONB else text)
        case _:
            text = draw(st.text(max_size=12) | st.sampled_from([f"x {text}" for text, _ in PLANTED.values()]))
            return oid, form, text.encode("utf-8", "replace")


@st.composite
def exchanges(draw: st.DrawFn) -> RawExchange:
    names = draw(st.lists(COLUMNS, min_size=1, max_size=4))
    kinds = draw(st.lists(cells(), min_size=len(names), max_size=len(names)))
    columns = tuple(Column(name.encode(), 0, 0, oid, form) for name, (oid, form, _) in zip(names, kinds, strict=True))
    sql = draw(st.sampled_from(["SELECT * FROM t", "SELECT a AS x, ssn FROM t", "no SQL", "FETCH 1 FROM c"]))
    raw = RawExchange(1, CommandKind.SIMPLE, sql.encode(), 0, columns=columns)
    for _ in range(draw(st.integers(0, 3))):
        raw.rows.append((columns, tuple(value for _, _, value in kinds)))
    raw.tags.append(b"SELECT 1")
    raw.notices.append(m.error("NOTICE", "00000", draw(st.sampled_from(["ok", f"card {CARD}"]))))
    return raw


def shown(raw: RawExchange) -> tuple[dict[str, Any], content.Masking]:
    masking = content.Masking(MASKER, content.Learned())
    return {
        "command": content.command(masking, raw.text, raw.binds, raw.bind_formats, raw.param_oids),
        "answer": content.answer(masking, raw),
    }, masking


@given(exchanges())
@settings(max_examples=150)
def test_rows_and_columns_stay_as_many_and_json_stays_json(raw: RawExchange) -> None:
    made, masking = shown(raw)
    answer = json.loads(content.bounded(masking, made))["answer"]
    assert len(answer["columns"]) == len(raw.columns)
    assert [len(row) for row in answer["rows"]] == [len(values) for _, values in raw.rows]
    for (columns, values), row in zip(raw.rows, answer["rows"], strict=True):
        for column, value, masked in zip(columns, values, row, strict=True):
            assert (value is None) == (masked is None)
            text = (value or b"")[1 if column.type_oid == JSONB and column.format else 0 :]
            if column.type_oid in (JSON, JSONB) and _is_json(text) and not _is_hidden(masked):
                assert _shape(json.loads(masked)) == _shape(json.loads(text)) or _is_masked(masked)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_hidden(masked: str) -> bool:
    return masked.startswith(("tok:", "withheld:"))


def _is_masked(masked: str) -> bool:
    return "tok:" in masked or "withheld:" in masked


def _shape(value: Any) -> Any:
    """Members and their order; not what is in them."""
    if isinstance(value, dict):
        return [(key, _shape(inner)) for key, inner in value.items()]
    return [_shape(inner) for inner in value] if isinstance(value, list) else None


@given(exchanges())
@settings(max_examples=150)
def test_nothing_planted_is_left_and_all_is_counted(raw: RawExchange) -> None:
    made, masking = shown(raw)
    text = content.as_bytes(made).decode()
    for planted, _ in PLANTED.values():
        assert core(planted) not in text
    assert str(CARD) not in text
    assert ("tok:" in text) <= bool(masking.counts())
    assert ("withheld:" in text) <= bool(masking.withheld)
    assert not masking.failed


@given(exchanges())
@settings(max_examples=150)
def test_what_is_masked_stays_when_masked_again(raw: RawExchange) -> None:
    """The masked rows sent once more, as text under the same names: nothing is found that was not there."""
    once, _ = shown(raw)
    columns = tuple(Column(column.name, 0, 0, TEXT, 0) for column in raw.columns)
    again = RawExchange(1, CommandKind.SIMPLE, once["command"]["text"].encode(), 0, columns=columns, tags=raw.tags)
    for row in once["answer"]["rows"]:
        again.rows.append((columns, tuple(None if value is None else value.encode() for value in row)))
    twice, masking = shown(again)
    assert twice["answer"]["rows"] == once["answer"]["rows"]
    assert not masking.failed


def test_what_a_command_hid_is_hidden_in_json_that_stays_json() -> None:
    doc = Column(b"doc", 0, 0, JSON, 0)
    raw = RawExchange(1, CommandKind.SIMPLE, b"insert into t (ssn) values (536904399) returning doc", 0, columns=(doc,))
    raw.rows.append(((doc,), (b'[[536904399], {"of": 536904399.0}]',)))
    made, _ = shown(raw)
    (cell,) = made["answer"]["rows"][0]
    assert "536904399" not in cell
    assert _shape(json.loads(cell)) == _shape([[""], {"of": ""}])


@pytest.mark.parametrize(("values", "said"), [(1, True), (content.MOST_SAID, True), (content.MOST_SAID + 1, False)])
def test_what_a_command_hid_is_looked_for_by_one_pattern_however_many_rows_hide(
    values: int, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []
    build = content._said_again
    monkeypatch.setattr(content, "_said_again", lambda hidden: (built.append(1), build(hidden))[1])
    rows = ", ".join(f"('word{n:04}x')" for n in range(values))
    columns = (Column(b"password", 0, 0, 25, 0), Column(b"note", 0, 0, 25, 0))
    raw = RawExchange(1, CommandKind.SIMPLE, f"insert into t (password) values {rows}".encode(), 0, columns=columns)
    raw.rows += [(columns, (b"other%d" % n, b"plain")) for n in range(500)]
    raw.error = m.error("ERROR", "22P02", 'no such thing: "word0000x"')[5:]
    made, _ = shown(raw)
    assert built == [1] * said
    told = made["answer"]["error"]["M"]
    assert "word0000x" not in told
    assert told.startswith("no such thing" if said else "withheld:")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("said", [b")=(", b"(a)=(", b"((", b'x: "', b") ", b"(a, b)=(x) "])
def test_what_a_failed_row_says_is_read_once(said: bytes) -> None:
    """A client chooses what RAISE says: 256 KiB of it took hours."""
    masking = content.Masking(MASKER, content.Learned())
    detail = b"Key (" + said * (200_000 // len(said))
    for copying in (False, True):
        content.told(masking, m.error("ERROR", "23505", "x")[5:-1] + b"D" + detail + b"\0\0", copying=copying)


def test_a_long_value_that_a_command_hid_is_in_no_pattern_and_no_error_is_shown() -> None:
    """A pattern of a megabyte took a quarter of a minute."""
    text = b"insert into t (password) values ('" + b"it''s \\ " * 100_000 + b"')"
    raw = RawExchange(1, CommandKind.SIMPLE, text, 0)
    raw.error = m.error("ERROR", "22P02", "it's \\ " * 30_000)[5:]
    made, masking = shown(raw)
    assert masking._again is None
    assert made["answer"]["error"]["M"].startswith("withheld:")
