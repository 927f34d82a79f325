"""What a key does and does not open; what a signature does and does not mean."""

import base64
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import START, HoldId, Position, RecorderId, SessionId, Source
from schemas.records import Event, EventBatch, JournalSegment, KeyEnrolled
from seal import box, content, digest, keyfiles, segment, sign
from seal.event_batch import check_batch, sign_batch

KEY = bytes(range(32))
SOON = 2_000_000_000_000_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("k") / "keys"
    keyfiles.init(place, "test")
    return place


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_a_chunk_opens_only_as_itself(plain: bytes, number: int) -> None:
    key = box.EpochKey(KEY, "r", 1)
    sealed = key.seal(number, plain)
    assert key.open(number, sealed) == plain
    for other in (
        lambda: key.open(number ^ 1, sealed),
        lambda: box.EpochKey(KEY, "r", 2).open(number, sealed),
        lambda: box.EpochKey(KEY, "q", 1).open(number, sealed),
        lambda: box.EpochKey(bytes(32), "r", 1).open(number, sealed),
        lambda: key.open(number, sealed[:-1]),
        lambda: key.open(number, bytes([sealed[0] ^ 1]) + sealed[1:]),
    ):
        with pytest.raises(box.CannotOpen):
            other()


def test_the_epoch_key_opens_only_with_the_maskers(keys: Path) -> None:
    public = keyfiles.load_masker_public(keys)
    sealed = box.seal_to(public.key, KEY)
    assert box.open_sealed(keyfiles.load_masker(keys).private(public.id), sealed) == KEY
    with pytest.raises(box.CannotOpen):
        box.open_sealed(KEY, sealed)


def test_hkdf_is_rfc_5869() -> None:
    # RFC 5869, A.3: SHA-256 with no salt and no info.
    okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert digest.hkdf(b"\x0b" * 22, b"", 42).hex() == okm


def test_digests_differ_by_purpose_and_key() -> None:
    for data in (b"", b"x", bytes(200)):
        assert digest.Keyed(KEY, b"a")(data) == digest.keyed(KEY, b"a", data)
        assert digest.Keyed(bytes(64), b"")(data) == digest.keyed(bytes(64), b"", data)
    made = {digest.keyed(k, p, b"x") for k in (KEY, bytes(32)) for p in (b"a", b"b")}
    assert len(made) == 4
    hold = HoldId("hold-" + "0" * 32)
    assert digest.commitment_salt(KEY, hold) != digest.match_key(KEY, hold.encode())
    assert digest.approval_id(hold).startswith("req-")
    assert len(digest.approval_id(hold)) == 20


def test_a_signature_means_one_domain() -> None:
    signer = sign.Signer("x", KEY)
    made = signer.sign(sign.Domain.VOTE, b"m")
    sign.check(signer.public, sign.Domain.VOTE, b"m", made)
    for domain, message in ((sign.Domain.EVENTS, b"m"), (sign.Domain.VOTE, b"n")):
        with pytest.raises(sign.BadSignature):
            sign.check(signer.public, domain, message, made)
    with pytest.raises(sign.BadSignature):
        sign.check(b"short", sign.Domain.VOTE, b"m", made)


def a_segment() -> JournalSegment:
    return JournalSegment(
        RecorderId("g.0.aa"), 1, 2, 3, 4, 2, 2, bytes(32), "k", b"sealed", "", False, b"", (b"one", b"two")
    )


@pytest.mark.parametrize(
    "change",
    [
        {"boot": 9}, {"epoch": 9}, {"first": 9}, {"last": 9}, {"prior_epoch": 9}, {"prior_chunk": 9},
        {"chain": bytes(31) + b"1"}, {"masker_key": "o"}, {"sealed_key": b"other"}, {"recovered": True},
        {"recorder": "g.0.ab"}, {"signature": bytes(64)},
    ],
)  # fmt: skip
def test_every_field_of_a_segments_header_is_signed(keys: Path, change: dict[str, object]) -> None:
    known = keyfiles.enrolled(keys)
    now = known.all[0].from_us + 1
    signed = segment.sign_segment(keyfiles.load_signer(keys, "gateway"), a_segment())
    segment.check_segment(signed, known, now)
    with pytest.raises(sign.BadSignature):
        segment.check_segment(replace(signed, **change), known, now)
    with pytest.raises(keyfiles.NotEnrolled):
        segment.check_segment(replace(signed, signer="stranger"), known, now)


def test_the_chain_depends_on_where_chunks_are_cut() -> None:
    assert segment.next_chain(bytes(32), [b"ab", b"c"]) != segment.next_chain(bytes(32), [b"a", b"bc"])


def test_a_batch_is_taken_only_from_the_role_that_makes_its_source(keys: Path) -> None:
    known = keyfiles.enrolled(keys)
    now = known.all[0].from_us + 1
    batch = EventBatch(Source("journal:r"), RecorderId("r"), START, Position(1, 1), (Event(b"l", b"c"),), "", b"")
    good = sign_batch(keyfiles.load_signer(keys, "pipeline"), batch)
    check_batch(good, known, now)
    with pytest.raises(keyfiles.NotEnrolled):
        check_batch(sign_batch(keyfiles.load_signer(keys, "gateway"), batch), known, now)
    with pytest.raises(sign.BadSignature):
        check_batch(replace(good, events=()), known, now)
    with pytest.raises(sign.BadSignature):
        check_batch(
            sign_batch(keyfiles.load_signer(keys, "pipeline"), replace(batch, source=Source("x:r"))), known, now
        )


def test_an_enrolment_needs_the_roots_signature_and_has_a_time(keys: Path) -> None:
    known = keyfiles.enrolled(keys)
    mine = sign.Signer("pipeline", KEY)
    forged = KeyEnrolled("pipeline", "pipeline", mine.public, 0, SOON * 10, mine.sign(sign.Domain.ENROLMENT, b""))
    assert keyfiles.Enrolled(known.root, [forged]).all == ()
    first = known.all[0]
    for at in (first.from_us - 1, first.until_us):
        with pytest.raises(keyfiles.NotEnrolled):
            known.public(first.name, first.role, at)


def test_a_key_that_others_can_read_is_refused(keys: Path) -> None:
    path = keys / "ledger.key"
    path.chmod(0o640)
    try:
        with pytest.raises(keyfiles.KeysUnusable, match="chmod 600"):
            keyfiles.load_signer(keys, "ledger")
    finally:
        path.chmod(0o600)
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in keys.glob("*.key"))
    with pytest.raises(keyfiles.KeysUnusable, match="never overwritten"):
        keyfiles.init(keys, "again")


def test_a_public_masker_key_that_root_did_not_enrol_is_not_sealed_to(tmp_path: Path) -> None:
    keyfiles.init(tmp_path / "k", "test")
    good = keyfiles.load_masker_public(tmp_path / "k")
    (tmp_path / "k" / "masker-99999999-evil.pub").write_text(base64.b64encode(KEY).decode())
    assert keyfiles.load_masker_public(tmp_path / "k") == good


def test_content_replays_to_the_same_bytes_and_is_gone_when_destroyed(tmp_path: Path) -> None:
    store = content.ContentKeys(tmp_path / "c.db", KEY)
    session = SessionId("r/1/1")
    key = store.ensure([session, session])[session]
    again = content.ContentKeys(tmp_path / "c.db", KEY)
    assert again.get(session) == key
    assert content.encrypt(key, b"1", b"text") == content.encrypt(key, b"1", b"text")
    assert content.encrypt(key, b"1", b"text")[:24] != content.encrypt(key, b"1", b"texu")[:24]
    sealed = content.encrypt(key, b"1", b"text")
    assert content.decrypt(key, b"1", sealed) == b"text"
    with pytest.raises(box.CannotOpen):
        content.decrypt(key, b"2", sealed)
    assert key not in (tmp_path / "c.db").read_bytes()
    again.destroy(session)
    with pytest.raises(content.ContentGone):
        store.get(session)
    with pytest.raises(content.ContentGone):
        store.ensure([session])
