"""The law of the canonical form: equal bytes if and only if equal in everything that matters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.canonical import canonical, shape
from schemas.judging import SessionFacts
from schemas.records import Claim

FACTS = SessionFacts(
    subject="ci:deploy",
    claims=(Claim("repository", "acme/shop"), Claim("ref", "refs/heads/main"), Claim("run_id", "17")),
    target="orders-db",
    protocol="postgres",
    environment="production",
    database="orders",
    user="orders_app",
)
RESOLVED = (Claim("search_path", "public"), Claim("current_user", "orders_app"), Claim("job_log", "16385"))


def of(**changes: object) -> bytes:
    given_: dict[str, object] = {
        "text": b"DELETE FROM job_log WHERE id = $1",
        "binds": (b"17",),
        "bind_formats": (0,),
        "param_oids": (23,),
        "resolved": RESOLVED,
        "facts": FACTS,
    }
    return canonical(**(given_ | changes))  # type: ignore[arg-type]


DIFFERENT = [
    ("text", {"text": b"DELETE FROM job_log WHERE id = $1 "}),
    ("case of the text", {"text": b"delete FROM job_log WHERE id = $1"}),
    ("bind value", {"binds": (b"18",)}),
    ("bind NULL", {"binds": (None,)}),
    ("bind empty", {"binds": (b"",)}),
    ("bind format", {"bind_formats": (1,)}),
    ("one bind more", {"binds": (b"17", b""), "bind_formats": (0, 0)}),
    ("no bind", {"binds": (), "bind_formats": ()}),
    ("parameter type", {"param_oids": (25,)}),
    ("what a name resolved to", {"resolved": (*RESOLVED[:2], Claim("job_log", "16399"))}),
    ("a resolved setting missing", {"resolved": RESOLVED[:2]}),
    ("subject", {"facts": replace(FACTS, subject="ci:deploy2")}),
    ("target", {"facts": replace(FACTS, target="orders-db2")}),
    ("database", {"facts": replace(FACTS, database="orders2")}),
    ("role", {"facts": replace(FACTS, user="admin")}),
    ("protocol", {"facts": replace(FACTS, protocol="mysql")}),
    ("a claim the rule names", {"facts": replace(FACTS, claims=(Claim("repository", "acme/fork"),))}),
    ("the claims the rule names", {"claim_names": ("run_id",)}),
]


@pytest.mark.parametrize(("what", "change"), DIFFERENT, ids=[row[0] for row in DIFFERENT])
def test_another_command_is_another_thing(what: str, change: dict[str, object]) -> None:
    assert of(**change) != of()


def test_order_of_names_and_other_claims_do_not_matter() -> None:
    others = replace(FACTS, claims=(*reversed(FACTS.claims[:2]), Claim("run_id", "18")))
    assert of(facts=others, resolved=tuple(reversed(RESOLVED))) == of()


def test_formats_must_match_the_binds() -> None:
    with pytest.raises(ValueError, match="one format a bind"):
        of(bind_formats=())


_bytes = st.binary(max_size=6)
_claims = st.lists(st.builds(Claim, st.text(max_size=3), st.text(max_size=3)), max_size=3).map(tuple)
_commands = st.tuples(
    _bytes,
    st.lists(st.tuples(st.none() | _bytes, st.sampled_from([0, 1])), max_size=3),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    _claims,
    st.text(max_size=3),
)


def _meaning(command: tuple) -> tuple:  # type: ignore[type-arg]
    text, binds, oids, resolved, subject = command
    # A NULL has no format that means anything.
    return text, [(v, f if v is not None else 0) for v, f in binds], oids, sorted(map(_pair, resolved)), subject


def _pair(claim: Claim) -> tuple[bytes, bytes]:
    return claim.name.encode(), claim.value.encode()


def _encode(command: tuple) -> bytes:  # type: ignore[type-arg]
    text, binds, oids, resolved, subject = command
    facts = replace(FACTS, subject=subject, claims=())
    return canonical(text, [v for v, _ in binds], [f for _, f in binds], oids, resolved, facts)


@given(_commands, _commands)
def test_equal_bytes_mean_equal_commands(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    assert (_encode(one) == _encode(other)) == (_meaning(one) == _meaning(other))


@given(_commands, st.binary(max_size=12))
def test_nothing_slides_between_text_and_bind(command: tuple, moved: bytes) -> None:  # type: ignore[type-arg]
    text, binds, *rest = command
    shifted = (text + moved, binds, *rest)
    longer = (text, [(moved, 0), *binds], *rest)
    assert _encode(shifted) != _encode(longer)


SHAPE = {"normal": "delete from job_log where id = ?", "binds": 1, "param_oids": (23,), "resolved": RESOLVED}
SHAPES = [
    ("the text", {"normal": "delete from job_log where id > ?"}),
    ("how many binds", {"binds": 2}),
    ("a parameter's type", {"param_oids": (25,)}),
    ("what a name resolved to", {"resolved": RESOLVED[:2]}),
    ("the subject", {"facts": replace(FACTS, subject="ci:deploy2")}),
    ("the role", {"facts": replace(FACTS, user="admin")}),
    ("the target", {"facts": replace(FACTS, target="orders-db2")}),
]


@pytest.mark.parametrize(("what", "change"), SHAPES, ids=[w for w, _ in SHAPES])
def test_a_shape_is_another_for_all_but_values(what: str, change: dict[str, object]) -> None:
    whole: dict[str, object] = {**SHAPE, "facts": FACTS}
    assert shape(**whole) != shape(**(whole | change))  # type: ignore[arg-type]


def test_no_shape_is_the_bytes_of_a_command() -> None:
    text = "delete from job_log where id = ?"
    assert shape(text, 0, (), RESOLVED, FACTS) != canonical(text.encode(), (), (), (), RESOLVED, FACTS)


def test_how_wide_an_integer_is_is_free_in_a_shape_as_its_value_is() -> None:
    said = {shape(**(SHAPE | {"param_oids": (oid,), "facts": FACTS})) for oid in (20, 21, 23)}  # type: ignore[arg-type]
    assert len(said) == 1
    assert of(param_oids=(20,)) != of(param_oids=(23,))
