"""What is planted is found wherever it stands; what is harmless stays; whatever fails withholds."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mask.kinds import Detector, Finding, Kind
from mask.masker import Masked, Masker, Tokens, masker_for
from mask.normal import View
from schemas.ids import SessionId
from schemas.judging import FieldAction, FieldRule
from schemas.records import Found
from tests.mask.conftest import PLANTED, SECRET, core, session

MASKER = session()


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


CARRIERS: dict[str, Callable[[str], str]] = {
    "as it is": lambda t: t,
    "in prose": lambda t: f"please charge {t} today",
    "in JSON": lambda t: json.dumps({"id": 7, "note": t}),
    "in JSON in JSON": lambda t: json.dumps({"body": json.dumps({"note": t})}),
    "in JSON by escapes": lambda t: '{"note": "' + escaped(t) + '"}',
    "in base64": lambda t: base64.b64encode(t.encode()).decode(),
    "in base64 in JSON": lambda t: json.dumps({"blob": base64.b64encode(f"x {t} y".encode()).decode()}),
    "in base64url without padding": lambda t: base64.urlsafe_b64encode(f"??>>{t}".encode()).decode().rstrip("="),
    "in base64 run together": lambda t: "id/" + base64.b64encode(f"12 {t}".encode()).decode(),
    "in base64 of UTF-16": lambda t: base64.b64encode(t.encode("utf-16-le")).decode(),
    "in base64 of UTF-16 with others": lambda t: base64.b64encode(f"é {t} é".encode("utf-16-be")).decode(),
    "in base64 in lines": lambda t: base64.encodebytes(
        b"a line of mail before it, long enough. " + t.encode()
    ).decode(),
    "in base64 in lines joined by blanks": lambda t: " ".join(
        base64.encodebytes(b"as in a comment, seen by the soak, long. " + t.encode()).decode().split()
    ),
    "in base64 twice": lambda t: base64.b64encode(base64.b64encode(t.encode())).decode(),
    "in base64 three times": lambda t: base64.b64encode(base64.b64encode(base64.b64encode(t.encode()))).decode(),
    "in hex": lambda t: t.encode().hex(),
    "in upper hex": lambda t: t.encode().hex().upper(),
    "in bytea": lambda t: "\\x" + f"a: {t}".encode().hex(),
    "by percent": lambda t: quote(t, safe=""),
    "by percent, all": lambda t: "".join(f"%{b:02X}" for b in t.encode()),
    "by percent twice": lambda t: quote(quote("<" + t + ">", safe=""), safe=""),
    "by entities": lambda t: "".join(f"&#{ord(c)};" for c in t),
    "in gzip and base64": lambda t: base64.b64encode(gzip.compress(t.encode(), mtime=0)).decode(),
    "in two gzips and base64": lambda t: base64.b64encode(
        gzip.compress(b"one ", mtime=0) + gzip.compress(t.encode(), mtime=0)
    ).decode(),
    "in zlib and base64": lambda t: base64.b64encode(zlib.compress(t.encode())).decode(),
    "in zstd and base64": lambda t: base64.b64encode(zstandard.compress(t.encode())).decode(),
    "in gzip and hex": lambda t: gzip.compress(t.encode(), mtime=0).hex(),
    "in zlib and hex": lambda t: zlib.compress(t.encode()).hex(),
    "in zstd and hex": lambda t: zstandard.compress(t.encode()).hex(),
    "in full width": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    "with invisible characters": lambda t: "\u200b".join(t),
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_value_is_found(planted: str, carrier: str) -> None:
    text, kind = PLANTED[planted]
    carried = CARRIERS[carrier](text)
    masked = MASKER.text(carried)
    assert kind in [found.type for found in masked.found] or masked.withheld, masked
    assert core(text) not in (masked.text or "")
    assert masked.text != carried


HARMLESS = [
    "", "done", "shipped", "Widget blue 12", "2024-05-01T10:22:33.123Z", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "order 1234567890", "4111 1111 1111 1112", "192.168.0.1:5432", "+0530", "1,299,000.00", "000-12-3456",
    "GB83 WEST 1234 5698 7654 32", "https://example.com/a/b?page=2&sort=asc", "@channel hello", "a @ b",
    '{"id": 1, "status": "paid", "tags": ["a", "b"], "total": 19.99, "ok": true, "x": null}',
    '{"max_tokens": 512, "password_changed_at": "2024-01-01", "is_secret": false, "token": null}',
    "internationalization_of_the_application", "/usr/share/applications/mimeinfo.cache", "C:\\Users\\bob\\Documents",
    "SELECT count(*) FROM orders", "100% of 20% are 50%", "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHEl",
    "smörgåsbord naïve 日本語 😀", "\x00", "a\x00b", "\ud800", "caf\udce9", "postgres://db.example.com:5432/shop",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_stays(text: str) -> None:
    assert MASKER.text(text) == Masked(text)
    assert MASKER.text("ä " + text).text == "ä " + text


NAMED = [
    ('{"ssn":"536904399"}', "536904399", "ssn"),
    ('{"ssn": 536904399, "a": 1}', "536904399", "ssn"),
    ('{"user": {"socialSecurityNumber": "536904399"}}', "536904399", "ssn"),
    ('{"password": "hunter2", "a": "stays"}', "hunter2", "password"),
    ('{"password": "hun\\"ter2"}', "ter2", "password"),
    ('{"password": "hunter2\\\\", "a": "x"}', "hunter2", "password"),
    ('{"body": "{\\"password\\": \\"hunter2\\"}"}', "hunter2", "password"),
    ('{"dbPassword": ["hunter2", "other"]}', "hunter2", "password"),
    ('{"password": "hunter2', "hunter2", "password"),
    ("{'password': 'it''s hunter2', 'a': 1}", "hunter2", "password"),
    ("host=db password=hunter2 user=bob", "hunter2", "password"),
    ("PGPASSWORD=hunter2 psql", "hunter2", "password"),
    ("user=bob&pwd=hunter2&x=1", "hunter2", "password"),
    ("Authorization: Basic aHVudGVyMg==", "aHVudGVyMg", "secret"),
    ("Cookie: sid=hunter2; other=1\r\nHost: x", "hunter2", "secret"),
    ("<Password>hunter2</Password>", "hunter2", "password"),
    ('{"api_key": "abc-123"}', "abc-123", "secret"),
    ('{"X-Api-Key": "abc-123"}', "abc-123", "secret"),
    ('{"clientSecret": "abc-123"}', "abc-123", "secret"),
    ('{"cvv": "123"}', "123", "card_code"),
    ('{"dob": "1980-02-03"}', "1980-02-03", "birth_date"),
    ("CREATE ROLE x PASSWORD 'hunter2'", "hunter2", "password"),
    ("postgres://bob:hunter2@db.example.com/shop", "hunter2", "password"),
    (base64.b64encode(b'{"password": "hunter2"}').decode(), "aHVudGVyMiJ9", "password"),
]


@pytest.mark.parametrize(("text", "secret", "kind"), NAMED)
def test_a_value_that_text_gives_a_name(text: str, secret: str, kind: str) -> None:
    masked = MASKER.text(text)
    assert masked.text is not None
    assert secret not in masked.text
    assert kind in [found.type for found in masked.found]


def test_the_value_ends_where_its_quote_is_closed() -> None:
    """A backslash that ends a value closes nothing and opens nothing, at any depth of quoting."""
    text = json.dumps({"password": "hunter2\\", "a": "stays"})
    for depth in range(4):
        masked = str(MASKER.text(text).text)
        assert "hunter2" not in masked
        for _ in range(depth):
            masked = json.loads(masked)["body"]
        assert json.loads(masked)["a"] == "stays"
        text = json.dumps({"body": text})


@pytest.mark.parametrize("held", ['["}hunter22"]', '["]hunter22", {}]', '{"a\\"}": "hunter22"}', "['}hunter22']"])
def test_a_bracket_in_a_string_does_not_end_a_named_value(held: str) -> None:
    masked = MASKER.text(f'{{"password": {held}, "rest": 1}}').text or ""
    assert "hunter22" not in masked
    assert masked.endswith(', "rest": 1}')


def test_what_was_json_stays_json() -> None:
    row = {"id": 7, "ssn": 536904399, "card": 4111111111111111, "password": ["a1", "b2"], "note": "stays", "n": [1, 2]}
    for spaces in (None, 2):
        masked = MASKER.text(json.dumps(row, indent=spaces)).text
        assert masked is not None
        back = json.loads(masked)
        assert list(back) == list(row)
        assert (back["id"], back["note"], back["n"]) == (7, "stays", [1, 2])
        assert back["card"].startswith("tok:card:")


# --- columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("ssn", "ssn"), ("SSN", "ssn"), ("user_ssn", "ssn"), ("social_security_number", "ssn"), ("ｓｓｎ", "ssn"),
        ("password", "password"), ("password_hash", "password"), ("passwd", "password"), ("pwd", "password"),
        ("cvv", "card_code"), ("cvc2", "card_code"), ("pan", "card"), ("card_number", "card"), ("ccNumber", "card"),
        ("secret", "secret"), ("client_secret", "secret"), ("api_key", "secret"), ("apiKey2", "secret"),
        ("access_token", "secret"), ("private_key", "private_key"), ("iban", "iban"), ("birth_date", "birth_date"),
        ("date_of_birth", "birth_date"), ("users.ssn", "ssn"),
    ],
)  # fmt: skip
def test_a_column_of_the_deny_list(column: str, kind: str) -> None:
    masked = MASKER.value("z9 123", column)
    assert masked.found == (Found(kind, 1),)
    assert "z9" not in str(masked.text)
    assert MASKER.value(None, column) == Masked(None)


@pytest.mark.parametrize(
    "column",
    ["id", "name", "japan", "token_count", "password_changed_at", "keyboard", "secretary", "account", "?column?"],
)
def test_a_column_that_says_nothing(column: str) -> None:
    assert MASKER.value("zz 123", column).text == "zz 123"


def ruled(*rules: tuple[str, FieldAction]) -> Masker:
    return masker_for(SECRET, [FieldRule(*rule) for rule in rules])(SessionId("s"))


def test_the_users_rules_come_before_the_deny_list() -> None:
    masker = ruled(
        ("ssn", FieldAction.KEEP), ("nickname", FieldAction.TOKEN), ("salary*", FieldAction.WITHHOLD),
        ("users.city", FieldAction.TOKEN), ("order_no", FieldAction.KEEP), ("salary_band", FieldAction.KEEP),
    )  # fmt: skip
    assert masker.value("536-90-4399", "ssn").text == "536-90-4399"
    assert masker.value("Bo", "nickname").found == (Found("field", 1),)
    assert masker.value("100", "SALARY_2024").withheld == 1
    assert masker.value("100", "salary_band").text == "100"
    assert str(masker.value("Rome", "city").text).startswith("tok:field:")
    assert masker.value("4111111111111111", "order_no").text == "4111111111111111"
    assert masker.text('{"nickname": "Bo", "ssn": "536-90-4399"}').text != '{"nickname": "Bo", "ssn": "536-90-4399"}'
    assert "536-90-4399" in str(masker.text('{"nickname": "Bo", "ssn": "536-90-4399"}').text)
    assert "Bo" not in str(masker.text('{"nickname": "Bo"}').text)


def test_a_rule_of_a_table_keeps_no_column_of_another() -> None:
    masker = ruled(("orders.ssn", FieldAction.KEEP))
    assert masker.value("536904399", "ssn").found == (Found("ssn", 1),)
    assert masker.value("536904399", "orders.ssn").text == "536904399"


def test_keep_keeps_no_secret_that_has_a_form() -> None:
    """A client chooses the names of its results: SELECT token AS order_no."""
    masker = ruled(("order_no", FieldAction.KEEP))
    assert masker.value("AKIAIOSFODNN7EXAMPLE", "order_no").found == (Found("aws_access_key", 1),)
    assert "hunter2" not in str(masker.value("x://bob:hunter2@example.com", "order_no").text)


# --- tokens --------------------------------------------------------------------------------------


def test_equal_values_look_equal_in_a_session_and_nowhere_else() -> None:
    one, same, other = session("a"), session("a"), session("b")
    spellings = [
        "4111111111111111",
        "4111-1111-1111-1111",
        "４１１１ 1111 1111 1111",
        "4111\u20111111\u20111111\u20111111",
    ]
    assert {str(one.text(each).text) for each in spellings} == {str(same.value(spellings[0], "card_number").text)}
    assert one.text(spellings[0]).text != other.text(spellings[0]).text
    assert one.text(spellings[0]).text != session("a", b"\x08" * 32).text(spellings[0]).text
    assert one.value("x", "password").text != other.value("x", "password").text
    encoded = base64.b64encode(spellings[0].encode()).decode()
    assert str(one.text(encoded).text).rstrip("=") == one.text(spellings[0]).text


def test_the_form_of_a_token() -> None:
    tokens = Tokens(SECRET, "a")
    kind, form, digest = tokens.token(Kind.CARD, "4111111111111111").split(":")
    assert (kind, form, len(digest)) == ("tok", "card", 20)
    assert set(digest) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert tokens.withheld("hunter2").startswith("withheld:7:")
    assert tokens.token(Kind.CARD, "1") != tokens.token(Kind.SSN, "1")
    assert tokens.token(Kind.EMAIL, "Bob@Example.com") == tokens.token(Kind.EMAIL, "bob@example.com")


def test_masked_text_stays_as_it_is_when_masked_again() -> None:
    for text, _ in PLANTED.values():
        once = str(MASKER.text(json.dumps({"note": text, "password": "hunter2"})).text)
        assert MASKER.text(once).text == once


# --- faults ---------------------------------------------------------------------------------------


def _raises(here: View) -> Iterator[Finding]:
    raise ValueError(here.text)


def _after(here: View) -> Iterator[Finding]:
    yield Finding(0, len(here.text) + 1, Kind.SECRET, "x")


def _before(here: View) -> Iterator[Finding]:
    yield Finding(-3, 2, Kind.SECRET, "x")


def _nothing(here: View) -> Iterator[Finding]:
    yield Finding(3, 3, Kind.SECRET, "x")


def _none(here: View) -> Iterator[Finding]:
    yield None  # type: ignore[misc]


@pytest.mark.parametrize("broken", [_raises, _after, _before, _nothing, _none])
@pytest.mark.parametrize("text", ["traffic of mine", "träffic of mine"])
def test_a_broken_detector_withholds(broken: Callable[[View], Iterator[Finding]], text: str) -> None:
    masker = Masker(Tokens(SECRET, "s"), detectors=[Detector("broken", (rb"of",), broken)])
    for masked in (masker.text(text), masker.value(text, "note"), masker.sql(f"SELECT '{text}'")):
        assert masked.withheld == 1
        assert str(masked.text).startswith("withheld:")
        assert "mine" not in str(masked.text)


def test_too_much_text_is_withheld() -> None:
    assert MASKER.text("4111 " * (1 << 20)).withheld == 1


def test_a_bomb_is_withheld() -> None:
    for packed in (gzip.compress(bytes(8 << 20)), zlib.compress(bytes(8 << 20)), zstandard.compress(bytes(8 << 20))):
        masked = MASKER.text("x " + base64.b64encode(packed).decode())
        assert (masked.withheld, str(masked.text)[:11]) == (1, "x withheld:")
        assert MASKER.text(packed.hex()).withheld == 1


def test_cut_and_damaged_gzip_is_withheld() -> None:
    packed = gzip.compress(b"charge 4111 1111 1111 1111 " * 20, mtime=0)
    for raw in (packed[:-9], packed[:20] + b"\xff" * 10 + packed[30:]):
        assert MASKER.text(base64.b64encode(raw).decode()).withheld == 1


def test_deeper_than_can_be_followed_is_withheld() -> None:
    text = b"charge 4111 1111 1111 1111"
    for _ in range(6):
        text = base64.b64encode(text)
    masked = MASKER.text(f"see {text.decode()}")
    assert masked.withheld == 1
    assert str(masked.text).startswith("see withheld:")


@pytest.mark.parametrize("between", [" ", "\n"])
def test_one_compressed_text_does_not_hide_the_next(between: str) -> None:
    """Not where the first has no padding, so that the two are no one base64."""
    for size in range(60, 66):
        harmless = base64.b64encode(gzip.compress(random.Random(size).randbytes(size), mtime=0)).decode().rstrip("=")
        packed = base64.b64encode(gzip.compress(b"pay with 4111 1111 1111 1111, Bob", mtime=0)).decode()
        masked = str(MASKER.text(f"{harmless}{between}{packed}").text)
        assert packed not in masked, size


# --- any text --------------------------------------------------------------------------------------

ANY = st.text(st.characters(exclude_categories=())) | st.text("4 1-@.:/='\"\\%{}eyJ", max_size=200)


@given(ANY, st.sampled_from(sorted(PLANTED)), ANY)
@settings(max_examples=300)
def test_nothing_around_a_value_hides_it(before: str, planted: str, after: str) -> None:
    text, _ = PLANTED[planted]
    assume(core(text) not in before + after)
    masked = MASKER.text(f"{before} | {text} | {after}")
    assert core(text) not in str(masked.text)
    assert masked.found or masked.withheld


@given(ANY)
@settings(max_examples=300)
def test_no_text_raises(text: str) -> None:
    for masked in (MASKER.text(text), MASKER.value(text, text), MASKER.sql(text), MASKER.sql(f"SELECT '{text}'")):
        assert isinstance(masked.text, str)


@given(st.binary(max_size=300))
def test_no_bytes_are_taken_for_text_that_they_are_not(raw: bytes) -> None:
    for text in (base64.b64encode(raw).decode(), raw.hex(), raw.decode("utf-8", "surrogateescape")):
        assert isinstance(MASKER.text(text).text, str)


@pytest.mark.parametrize("unit", ["clean words ", "4111 1111 1111 1111 ", "\0", "\ud800", "日本", '{"a": "b\\n"},'])
def test_a_megabyte(unit: str) -> None:
    text = unit * ((1 << 20) // len(unit))
    masked = MASKER.text(text)
    assert ("4111" in unit) == bool(masked.found)
    assert not masked.withheld
