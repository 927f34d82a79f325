"""Data of a COPY: cut as PostgreSQL cuts them, each field masked by its column's name, in the format it came in."""

from __future__ import annotations

import csv
import io
import random
import re
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask.copied import SIGNATURE
from mask.copy_shape import Format, shapes
from mask.fields import Fields
from mask.masker import MOST_COPIED, Copied, Masker, masker_for
from mask.search import Search
from mask.values import VALUES
from schemas.ids import SessionId
from schemas.judging import FieldAction, FieldRule
from tests.mask.conftest import PLANTED, SECRET, core, session
from wire.postgres.grammar import parse

MASKER = session()
SSN, CARD = "536904399", "4012888888881881"
ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def masked(sql: str, data: str | bytes, *, whole: bool = True, masker: Masker = MASKER) -> Copied:
    raw = data.encode() if isinstance(data, str) else data
    return masker.copied(shapes(parse(sql)), raw, whole=whole)


def shown(sql: str, data: str | bytes, *, whole: bool = True) -> list[str]:
    """Every token as `<kind>`, every withheld value as `<withheld>`."""
    rows = masked(sql, data, whole=whole).rows
    return [_plainly(row) for row in rows]


def _plainly(row: str) -> str:
    row = re.sub(r"tok:([a-z_]+):[a-z2-7]{20}", r"<\1>", row)
    return re.sub(r"withheld:\d+(?::[a-z2-7]+)?", "<withheld>", row)


# Writers of each format of their own: what is tested may not also say what is right.


def as_text(rows: Iterable[Iterable[str | None]]) -> bytes:
    lines = ("\t".join("\\N" if v is None else "".join(ESCAPES.get(c, c) for c in v) for v in row) for row in rows)
    return "".join(line + "\n" for line in lines).encode()


def as_csv(rows: Iterable[Iterable[str | None]]) -> bytes:
    return "".join(",".join("" if v is None else _in_quotes(v) for v in row) + "\n" for row in rows).encode()


def _in_quotes(value: str) -> str:
    plain = value and not any(c in value for c in ',"\r\n')
    return value if plain else '"' + value.replace('"', '""') + '"'


def as_binary(rows: Iterable[Iterable[str | bytes | None]]) -> bytes:
    parts = [SIGNATURE, bytes(8)]
    for row in rows:
        values = [v.encode() if isinstance(v, str) else v for v in row]
        parts.append(struct.pack(">h", len(values)))
        parts += [b"\xff\xff\xff\xff" if v is None else struct.pack(">i", len(v)) + v for v in values]
    return b"".join([*parts, b"\xff\xff"])


WRITERS = {Format.TEXT: as_text, Format.CSV: as_csv, Format.BINARY: as_binary}
CASES: list[tuple[str, str, str, list[str]]] = [
    ("nine bare digits, by the name of their column", "COPY t (id, ssn) FROM stdin", f"7\t{SSN}\n", ["7\t<ssn>\n"]),
    ("in CSV", "COPY t (id, ssn) FROM stdin CSV", f"7,{SSN}\n", ["7,<ssn>\n"]),
    ("quotes stay", "COPY t (id, ssn) FROM stdin CSV", f'7,"{SSN}"\n', ['7,"<ssn>"\n']),
    ("half quoted", "COPY t (id, ssn) FROM stdin CSV", '7,5369"0"4399\n', ['7,"<ssn>"\n']),
    ("the names of a query", "COPY (SELECT id, s AS ssn FROM t) TO STDOUT", f"7\t{SSN}\n", ["7\t<ssn>\n"]),
    ("the names of a header", "COPY t TO STDOUT CSV HEADER", f"id,ssn\n7,{SSN}\n", ["id,ssn\n", "7,<ssn>\n"]),
    ("a header in text", "COPY t TO STDOUT (HEADER)", f"id\tssn\n7\t{SSN}\n", ["id\tssn\n", "7\t<ssn>\n"]),
    ("a header of the columns", "COPY t (id, ssn) FROM stdin CSV HEADER", "ID,ssn\n7,\n", ["ID,ssn\n", "7,\n"]),
    ("a header that is none", "COPY t (id, ssn) FROM stdin CSV HEADER", f"7,{SSN}\n", ["7,<ssn>\n"]),
    ("no names: only what is known by its form", "COPY t TO STDOUT", f"7{SSN}\t{CARD}\n", [f"7{SSN}\t<card>\n"]),
    ("no names: nine digits may be an SSN", "COPY t TO STDOUT", f"{SSN}\t666443322\n", ["<ssn>\t666443322\n"]),
    ("no names, in CSV", "COPY t TO STDOUT CSV", f'"{SSN}",x\n', ["\"<ssn>\",x\n"]),
    ("a name that says that it is none", "COPY t (order_no) TO STDOUT", f"{SSN}\n", [f"{SSN}\n"]),
    ("what a query's star stands for", "COPY (SELECT * FROM t) TO STDOUT", f"{SSN}\n", ["<ssn>\n"]),
    ("NULL", "COPY t (id, ssn) FROM stdin", "7\t\\N\n", ["7\t\\N\n"]),
    ("NULL of CSV", "COPY t (id, ssn) FROM stdin CSV", "7,\n", ["7,\n"]),
    ("NULL by another name", "COPY t (id, ssn) FROM stdin (NULL 'none')", "7\tnone\n", ["7\tnone\n"]),
    ("a value in place of NULL", f"COPY t (a) FROM stdin (NULL '{CARD}')", f"{CARD}\n", ["<card>\n"]),
    ("octal and hexadecimal", "COPY t (a) FROM stdin", "\\64\\x3012888888881881\n", ["<card>\n"]),
    ("an escape by mistake", "COPY t (a) FROM stdin", f"C:\\{CARD}\n", ["<withheld>\n"]),
    ("a delimiter in a value", "COPY t (ssn, b) FROM stdin", "536\\\t904399\tx\n", ["<ssn>\tx\n"]),
    ("an end of line in a value", "COPY t (ssn, b) FROM stdin", "536\\\n904399\tx\n", ["<ssn>\tx\n"]),
    ("in CSV too", "COPY t (ssn, b) FROM stdin CSV", '"536\n904399",x\n', ['"<ssn>",x\n']),
    ("an odd delimiter is escaped in tokens", "COPY t (ssn, b) FROM stdin (DELIMITER ':')", f"{SSN}:x\n",
     ["tok\\:ssn\\:", ":x\n"]),
    ("and quoted in CSV", "COPY t (ssn, b) FROM stdin CSV DELIMITER ':'", f"{SSN}:x\n", ['"<ssn>":x\n']),
    ("another escape", "COPY t (note) FROM stdin CSV ESCAPE '\\'", f'"say \\"{CARD}\\""\n', ['"say \\"<card>\\""\n']),
    ("a quote in a value", "COPY t (ssn, b) FROM stdin CSV ESCAPE '\\'", '"536\\",904399",x\n', ['"<ssn>",x\n']),
    ("doubled quotes", "COPY t (note) FROM stdin CSV", f'"say ""{CARD}"""\n', ['"say ""<card>"""\n']),
    ("ends of line of Windows", "COPY t (ssn) FROM stdin", f"{SSN}\r\n{SSN}\r\n", ["<ssn>\r\n", "<ssn>\r\n"]),
    ("the end of data", "COPY t (id, ssn) FROM stdin", f"7\t{SSN}\n\\.\n", ["7\t<ssn>\n", "\\.\n"]),
    ("no end of the last line", "COPY t (id, ssn) FROM stdin", f"7\t{SSN}", ["7\t<ssn>"]),
    ("too few fields", "COPY t (id, ssn) FROM stdin", f"{SSN}\n7\tx\n", ["<withheld>\n", "7\t<ssn>\n"]),
    ("too many fields", "COPY t (id, ssn) FROM stdin", f"7\t8\t{SSN}\n", ["<withheld>\n"]),
    ("too few where nothing is hidden", "COPY t (id, a) FROM stdin", f"{CARD} x\n", ["<card> x\n"]),
    ("a quote that is never closed", "COPY t (a, b) FROM stdin CSV", f'1,"{SSN}\n2,3\n', ["1,<withheld>"]),
    ("several COPYs, whose is it", "COPY t (a) TO STDOUT; COPY u (b) TO STDOUT", f"{CARD}\nx\n", ["<card>\n", "x\n"]),
    ("several, one has something to hide", "COPY t (ssn) TO STDOUT; COPY u (b) TO STDOUT", f"{SSN}\n", ["<withheld>"]),
    ("several, one is binary", "COPY t TO STDOUT; COPY u TO STDOUT (FORMAT binary)", "x\n", ["<withheld>"]),
    ("no COPY that is known", "SELECT 1", "x\n", ["<withheld>"]),
    ("a format that is not known", "COPY t TO STDOUT (FORMAT 'json')", "x\n", ["<withheld>"]),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "data", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_cases(sql: str, data: str, expected: list[str]) -> None:
    found = shown(sql, data)
    if len(expected) > len(found):  # an escaped token, in pieces
        assert all(piece in found[0] for piece in expected)
    else:
        assert found == expected


def test_a_cut_row_that_fits_no_columns_is_withheld() -> None:
    assert shown("COPY t (a) FROM stdin", f"x\ty\n1\t{CARD[:9]}", whole=False) == ["x\ty\n", "<withheld>"]
    sql = "COPY t (a) TO STDOUT; COPY u (b) TO STDOUT"
    assert shown(sql, f"x\n{CARD[:9]}", whole=False) == ["x\n", "<withheld>"], "nor one whose shape is not known"
    sql = "COPY t (a, b) FROM stdin CSV ESCAPE '\\'"
    assert shown(sql, '"x,y\\', whole=False) == ["<withheld>"], "the end of the data is no end of the quote"


def test_what_is_not_utf8_is_withheld() -> None:
    assert shown("COPY t (a, b) FROM stdin", b"\xff1\tx\n") == ["<withheld>\tx\n"]
    assert shown("COPY t (a) FROM stdin", b"\xc3\\xa9\n") == ["<withheld>\n"], "UTF-8 only once it is unescaped"
    assert shown("COPY t TO STDOUT; COPY u TO STDOUT", b"\xff1\nx\n") == ["<withheld>\n", "x\n"]


KINDS = {"ssn": SSN, "pan": "1234", "iban": "DE00", "dob": "1990-01-01", "password": "blue", "api_key": "k1",
         "passport": "C01X"}  # fmt: skip


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("column", KINDS)
def test_every_kind_of_column_hides_its_value(column: str, form: Format) -> None:
    sql = f"COPY t (id, {column}, note) FROM stdin (FORMAT {form})"
    found = masked(sql, WRITERS[form]([("7", KINDS[column], "plain")]))
    (row,) = found.rows
    assert KINDS[column] not in row
    assert row.startswith("7")
    assert row.endswith("plain\n")
    assert sum(each.count for each in found.found) == 1


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("planted", PLANTED)
def test_planted_values_are_found_without_a_name(planted: str, form: Format) -> None:
    text, kind = PLANTED[planted]
    found = masked(f"COPY t FROM stdin (FORMAT {form})", WRITERS[form]([("7", f"so: {text} ok", "x")]))
    (row,) = found.rows
    assert core(text) not in row
    assert kind in {each.type for each in found.found}


def test_the_users_rules_count_too() -> None:
    rules = (FieldRule("nickname", FieldAction.TOKEN), FieldRule("dob", FieldAction.KEEP))
    masker = masker_for(SECRET, rules)(SessionId("r.0.00000000/0/1"))
    (row,) = masked("COPY t (nickname, dob) FROM stdin", "bob\tx\n", masker=masker).rows
    assert _plainly(row) == "<field>\tx\n"
    bad = masked("COPY t (nickname, a) FROM stdin", "bob\n", masker=masker).rows
    assert _plainly(bad[0]) == "<withheld>\n"
    kept = masked("COPY t (dob, a) FROM stdin", "bob\n", masker=masker).rows
    assert kept == ("bob\n",)


# --- laws -------------------------------------------------------------------------

CLEAN = st.text(st.sampled_from("abd é日 \t\n\r\b\\,;\"'.N"), max_size=8)
DIRTY = st.one_of(CLEAN, st.sampled_from([SSN, CARD, f"card {CARD}\n", f'"{CARD}"', f"a\t{CARD}\\"]))
ROWS = st.lists(st.tuples(CLEAN, CLEAN, CLEAN), max_size=6)
DIRTY_ROWS = st.lists(st.tuples(st.one_of(st.none(), DIRTY), st.one_of(st.none(), DIRTY), DIRTY), max_size=6)


@given(ROWS)
def test_clean_text_comes_back_byte_by_byte(rows: list[tuple[str, str, str]]) -> None:
    data = as_text(rows)
    found = masked("COPY t (a, b, c) FROM stdin", data)
    assert "".join(found.rows).encode() == data
    assert len(found.rows) == len(rows)
    assert not found.found
    assert not found.withheld


@given(ROWS)
def test_clean_csv_comes_back_byte_by_byte(rows: list[tuple[str, str, str]]) -> None:
    data = as_csv(rows)
    found = masked("COPY t (a, b, c) FROM stdin CSV", data)
    assert "".join(found.rows).encode() == data
    assert len(found.rows) == len(rows)
    assert not found.withheld


def _read_text(line: str) -> list[str]:
    fields, here, escaped = [], "", False
    for c in line.removesuffix("\n"):
        if c == "\t" and not escaped:
            fields.append(here)
            here = ""
            continue
        here += c
        escaped = c == "\\" and not escaped
    return [*fields, here]


@given(DIRTY_ROWS)
def test_rows_and_fields_never_become_more_or_fewer(rows: list[tuple[str | None, str | None, str]]) -> None:
    for columns in ("(ssn, b, password)", ""):
        text = masked(f"COPY t {columns} FROM stdin", as_text(rows)).rows
        assert [len(_read_text(row)) for row in text] == [3] * len(rows)
        written = masked(f"COPY t {columns} FROM stdin CSV", as_csv(rows)).rows
        assert [len(row) for row in csv.reader(io.StringIO("".join(written), newline=""))] == [3] * len(rows)
        binary = masked(f"COPY t {columns} FROM stdin BINARY", as_binary(rows)).rows
        assert [len(_read_text(row)) for row in binary] == [3] * len(rows)
        assert CARD not in "".join((*text, *written, *binary))


@pytest.mark.parametrize("form", [Format.TEXT, Format.CSV])
@pytest.mark.parametrize("columns", ["(id, ssn, note)", ""], ids=["names", "no names"])
def test_wherever_the_data_are_cut_half_a_value_is_not_shown(form: Format, columns: str) -> None:
    data = WRITERS[form]([("7", SSN, f"card {CARD}, ok"), ("8", f'5"{SSN}\n', f"{CARD}")])
    sql = f"COPY t {columns} FROM stdin (FORMAT {form})"
    all_of_it = "".join(masked(sql, data).rows)
    for end in range(len(data)):
        cut = masked(sql, data[:end], whole=False)
        rows = "".join(cut.rows)
        last = rows.rfind("withheld:")
        assert all_of_it.startswith(rows if last < 0 else rows[:last]), end
        if last < 0:
            assert not data[:end] or rows[-1] in "\n\t,", "a cut value is withheld"


def test_wherever_binary_data_are_cut_half_a_value_is_not_shown() -> None:
    data = as_binary([("7", SSN, f"card {CARD}"), ("8", SSN, CARD)])
    sql = "COPY t (id, a, note) FROM stdin BINARY"
    all_of_it = masked(sql, data).rows
    for end in range(len(data) - 2):
        rows = masked(sql, data[:end], whole=False).rows
        for row, known in zip(rows, all_of_it, strict=False):
            for value, whole in zip(_read_text(row), _read_text(known), strict=False):
                assert value in ("", whole) or value.startswith("withheld:"), end


# --- binary -----------------------------------------------------------------------


def test_binary_rows_are_shown_as_text() -> None:
    sql = "COPY t (id, ssn, note, raw, n) FROM stdin BINARY"
    data = as_binary([(struct.pack(">i", 7), SSN, "a\tb\\", b"\xff\xfe", None)])
    found = masked(sql, data)
    assert [_plainly(row) for row in found.rows] == ["<withheld>\t<ssn>\ta\\tb\\\\\t<withheld>\t\\N\n"]
    assert found.withheld == 2


HEAD = SIGNATURE + bytes(8)
WRONG: dict[str, tuple[bytes, list[str]]] = {
    "no signature": (b"PGCOPX" + bytes(30), ["<withheld>"]),
    "half a signature": (SIGNATURE[:5], ["<withheld>"]),
    "flags that a reader must know": (SIGNATURE + b"\0\1\0\0\0\0\0\0" + b"\0\1\0\0\0\x03abc", ["<withheld>"]),
    "an extension longer than all": (SIGNATURE + b"\0\0\0\0\x7f\xff\xff\xff" + b"abc", ["<withheld>"]),
    "an extension is passed over": (SIGNATURE + b"\0\0\0\0\0\0\0\3abc" + b"\0\1\0\0\0\1x\xff\xff", ["x\n"]),
    "a length beyond the end": (HEAD + b"\0\1\x7f\xff\xff\xff" + SSN.encode(), ["<withheld>\n"]),
    "a length below NULL's": (HEAD + b"\0\1\xff\xff\xff\xfe" + SSN.encode(), ["<withheld>\n"]),
    "half a length": (HEAD + b"\0\1\0\0", ["<withheld>\n"]),
    "half a count": (HEAD + b"\0", ["<withheld>"]),
    "more fields than a row may have": (HEAD + b"\x7f\xff" + bytes(99), ["<withheld>"]),
    "a negative count": (HEAD + b"\xff\xfe" + bytes(9), ["<withheld>"]),
    "bytes behind the end": (HEAD + b"\xff\xff" + SSN.encode(), ["<withheld>"]),
    "fewer fields than columns": (HEAD + b"\0\1\0\0\0\3abc\xff\xff", ["<withheld>\n"]),
    "nothing": (HEAD, []),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_binary_that_is_wrong_is_withheld(wrong: str) -> None:
    data, expected = WRONG[wrong]
    columns = "(a, b)" if wrong == "fewer fields than columns" else ""
    assert shown(f"COPY t {columns} FROM stdin BINARY", data) == expected


@given(st.binary(max_size=60), st.sampled_from(["", "CSV", "CSV ESCAPE '\\'", "BINARY", "CSV HEADER"]))
def test_any_bytes_are_read(data: bytes, options: str) -> None:
    for raw in (data, HEAD + data):
        found = masked(f"COPY t (ssn, b) FROM stdin {options}", raw)
        assert isinstance(found, Copied)
        if options != "BINARY":
            assert found.rows[-1:] != ("",)


# --- size -------------------------------------------------------------------------


def test_what_is_shown_of_one_copy_is_bounded() -> None:
    found = masked("COPY t (ssn) FROM stdin", "1\n" * 100_000)
    assert found.cut
    assert MOST_COPIED * 0.8 < sum(map(len, found.rows)) < MOST_COPIED
    assert masked("COPY t FROM stdin", "\n" * 1_000_000).cut
    assert not masked("COPY t FROM stdin", "x\n" * 1000).cut


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("COPY people TO STDOUT", "<withheld>\t<withheld>\n"),
        ("COPY hr.people FROM stdin", "<withheld>\t<withheld>\n"),
        ("COPY (SELECT p.* FROM shops JOIN people p USING (id)) TO STDOUT", "<withheld>\t<withheld>\n"),
        ("COPY shops TO STDOUT", "a\tb\n"),
        ("COPY people (id, note) TO STDOUT", "a\tb\n"),
        ("COPY people (id, city) TO STDOUT", "a\t<withheld>\n"),
    ],
)
def test_columns_that_nobody_names_are_hidden_where_the_policy_hides_one_of_their_table(sql: str, row: str) -> None:
    masker = masker_for(SECRET, [FieldRule("people.city", FieldAction.WITHHOLD)])(SessionId("s"))
    (found,) = masked(sql, "a\tb\n", masker=masker).rows
    assert _plainly(found) == row


# --- rows at a glance ------------------------------------------------------------------

STATEMENTS = (
    "copy t (a, b, c) from stdin",
    "copy t from stdin",
    "copy t (a, ssn, c) from stdin",
    "copy t (a, b, c) from stdin (delimiter '|')",
    "copy t (a, b, c) from stdin (delimiter 'X')",
    "copy t (a, b, c) from stdin (format csv)",
    "copy t from stdin (format csv, header)",
    "copy t (a, b, c) from stdin (format csv, null '-')",
)
EXAMPLES = [hit.replace("«", "").replace("»", "") for each in VALUES for hit in each.hits]
CLEAN = [
    "",
    "5",
    "widget",
    "Jürgen",
    "2026-11-25 10:22:33",
    "12.50",
    "a\tb",
    "50 %",
    'say "hi"',
    "C:\\temp",
    "123456789",
]


def _in_format(statement: str, rows: list[list[str | None]]) -> bytes:
    if "csv" in statement:
        return as_csv(rows)
    delimiter = re.search("delimiter '(.)'", statement)
    return as_text(rows) if delimiter is None else as_text(rows).replace(b"\t", delimiter[1].encode())


@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_is_seen_at_a_glance_is_what_is_seen_field_by_field(
    statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(statement)
    for _ in range(12):
        rows = [[chance.choice((*CLEAN, None, chance.choice(EXAMPLES))) for _ in "abc"] for _ in range(40)]
        data = _in_format(statement, rows)
        glanced = masked(statement, data), masked(statement, data[:-9], whole=False)
        with monkeypatch.context() as patched:
            patched.setattr(Search, "clean_of", lambda _, texts: [False] * len(texts))
            again = masked(statement, data), masked(statement, data[:-9], whole=False)
        assert glanced == again


def test_most_clean_rows_are_clean_at_a_glance() -> None:
    """A row with a NULL too, and one in another script; not beside the one with a value in it."""
    rows = ["1\twidget\t12.50", "2\tJürgen\tblau", "3\tbob@example.com\tx", "4\tbolt\t1.00"]
    assert Search(Fields()).clean_of(rows) == [True, True, False, True]


@pytest.mark.parametrize("before", ["", "x", "9", "@", "widget\t5"])
def test_no_example_is_clean_at_a_glance(before: str) -> None:
    search = Search(Fields())
    found = [text for text in EXAMPLES if search.all(text)]
    assert len(found) > 80
    for at in range(0, len(found), 3):
        some = [each for text in found[at : at + 3] for each in (before, text)]
        assert [clean for clean, text in zip(search.clean_of(some), some, strict=True) if text is not before] == [
            False
        ] * (len(some) // 2)


def _cut_short() -> list[str]:
    """Each example with all that it has around its value, and with less and less of it."""
    texts = set(EXAMPLES)
    for hit in (hit for each in VALUES for hit in each.hits if hit.count("»") == 1):
        before, value, after = re.split("[«»]", hit)
        texts.update(before + value + after[:end] for end in range(len(after)))
        texts.update(before[start:] + value + after for start in range(len(before)))
    return sorted(texts)


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
def test_what_is_found_in_a_field_is_not_missed_in_its_row(delimiter: str) -> None:
    """The end of a field is the end of a text, and in its row a delimiter stands there."""
    search = Search(Fields())
    found = [text for text in _cut_short() if search.all(text)]
    assert len(found) > 400
    missed = [text for text in found if search.clean_of([f"x{delimiter}{text}{delimiter}x"]) == [True]]
    assert missed == []
