"""A value is found in every way in which SQL may write it as a constant, whatever it is encoded by.

A body in dollars is searched as SQL where it reads as SQL, and base64 does: so what stands there encoded is
searched by names all the same.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mask.masker import masker_for
from schemas.ids import SessionId
from tests.mask.test_everywhere import bare, readings
from tests.scenarios import planting

MASKER = masker_for(bytes(32))(SessionId("constants"))
SEED = 485_442_241  # of a soak that found what only a body hid

CONSTANTS: dict[str, Callable[[str], str]] = {
    "quotes": lambda t: f"INSERT INTO t (id, note) VALUES (0, '{t.replace(chr(39), chr(39) * 2)}')",
    "dollars": lambda t: f"INSERT INTO t (id, note) VALUES (0, $soak${t}$soak$)",
    "a block": lambda t: f"DO $do$ BEGIN PERFORM f($soak${t}$soak$); END $do$",
    "a comment": lambda t: f"SELECT 1 /* {t.replace('*/', '').replace('/*', '')} */",
}


def leaking(seed: int, count: int) -> list[tuple[str, str]]:
    found = []
    for each in planting.planted(seed, count):
        said = planting.secret(each.value)
        for name, write in CONSTANTS.items():
            if name == "a comment" and ("*/" in each.text or "/*" in each.text):
                continue
            masked = str(MASKER.sql(write(each.text)).text)
            if said and any(said in bare(reading) for reading in readings(masked)):
                found.append((name, repr(each)))
    return found


def test_no_constant_hides_a_value() -> None:
    assert leaking(SEED, 160) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_constant_hides_any_of_five_thousand() -> None:
    assert leaking(SEED, 5000) == []


@pytest.mark.parametrize(
    "written", ["eyJwYXNzd29yZCI6ICJMNkRONUJNbyJ9", "\\u0070assword: L6DN5BMo", "password=3DL6DN5BMo=3D3D"]
)
def test_what_is_encoded_in_a_body_is_searched_by_names(written: str) -> None:
    """`{"password": "L6DN5BMo"}` and the like: no detector knows such a value but by its name."""
    masked = str(MASKER.sql(f"SELECT $a${written}$a$").text)
    assert not any("l6dn5bmo" in bare(reading) for reading in readings(masked))


def test_names_in_code_are_code() -> None:
    """Of the same body only what is encoded is searched so: its code stays."""
    body = "BEGIN password := crypt_of(token); secret_key := f(x, 'eyJwYXNzd29yZCI6ICJMNkRONUJNbyJ9'); END"
    shown = str(MASKER.sql(f"DO $a${body}$a$").text)
    assert "password := crypt_of(token); secret_key := f(x, '" in shown
    assert "eyJwYXNz" not in shown


@pytest.mark.parametrize("first", "0123456789abcdef")
def test_of_a_bytea_the_first_byte_is_no_escape_that_hides_the_rest(first: str) -> None:
    r"""`\x35` may be an escape for `5`; what follows is then read from an odd place, also where it is not ASCII."""
    said = f"{first}ut, carte 4780\u20111935\u20117979\u20117 refus\u00e9e, 19.99\r\n"
    shown = str(MASKER.text("\\x" + said.encode().hex()).text)
    assert not any("4780193579797" in bare(reading) for reading in readings(shown))
