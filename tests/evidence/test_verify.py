"""A verifier tells valid, altered, missing, extra and gap apart, and finds any changed byte."""

import hashlib
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from approvals.votes import cast
from evidence import archive
from evidence.bundle import FORMAT, CannotBuild, Keys, Made, build, manifest
from evidence.logcheck import Indexed
from evidence.outcome import Code
from evidence.population import count
from evidence.tables import Query, cell, exceptional, seen
from evidence.verify import verify
from ledger import layout
from ledger.batch import Consumed, Cursor, Item, decode, encode
from ledger.entry import leaf_bytes
from ledger.export import export
from ledger.note import Checkpoint, open_checkpoint
from ledger.store import FileStore
from ledger.writer import Writer
from schemas.ids import (
    AlertId,
    ApprovalId,
    HoldId,
    Position,
    RecorderId,
    SessionId,
    Source,
    SuspensionId,
    beats_source,
)
from schemas.judging import Reviewer
from schemas.records import (
    Alert,
    ApprovalRequest,
    ApproverRule,
    Band,
    Beat,
    ChainHead,
    Choice,
    CloseReason,
    CommandKind,
    Decision,
    Exchange,
    Finding,
    Gap,
    Grant,
    HoldGone,
    KeyEnrolled,
    Learning,
    LedgerAdopted,
    LedgerAlive,
    LedgerEntry,
    PolicyInForce,
    Released,
    Result,
    Scope,
    SessionClosed,
    SessionOpened,
    Suspended,
    Vote,
)
from seal.keyfiles import enrolment_message
from seal.sign import Domain, Signer

LOG = Signer("ledger", bytes(range(32)))
ROOT = Signer("root", bytes(range(2, 34)))
ANN = Signer("ann", bytes(range(1, 33)))
GATEWAY = RecorderId("orders.0.0a0b0c0d")
JOURNAL = Source(f"journal:{GATEWAY}")
ONE = SessionId(f"{GATEWAY}/1/1")
RULE = ApproverRule("two eyes", ("dba",), 1, 3600)
HOLD, REQUEST = HoldId("hold-" + "0" * 32), ApprovalId("req-abcdefghijklmnop")
COMMITMENT = bytes(32)
REVIEWERS = (Reviewer("ann", ANN.public, ("dba",)),)
QUERY = Query(0, 1_000_000, "seed", 2)
MADE = Made(FORMAT, "")


def exchange(number: int, result: Result = Result.EXECUTED, tag: str = "SELECT 1") -> Exchange:
    return Exchange(
        ONE, number, CommandKind.SIMPLE, number, number + 1, result, tag, "", b"f" * 32, (), True, 0, Band.LOW, (),
        Decision.ALLOW, "", HOLD if number == 2 else None, 1, 9, False, (), 0, "v", "e", b"",
    )  # fmt: skip


def enrolment(root: Signer = ROOT, public: bytes = LOG.public) -> KeyEnrolled:
    unsigned = KeyEnrolled("ledger", "ledger", public, 0, 10**18, b"")
    return replace(unsigned, signature=root.sign(Domain.ENROLMENT, enrolment_message(unsigned)))


def bodies(voter: Signer = ANN, enrolled: KeyEnrolled | None = None) -> list[object]:
    vote = cast(voter, REQUEST, COMMITMENT, Choice.APPROVE, 900, "", 50)
    return [
        enrolled or enrolment(),
        SessionOpened(ONE, "ci", "static", (), "orders", "postgres", "p", "d", "u", "c", "", "", "app", "3.0", "v", 1),
        ApprovalRequest(REQUEST, HOLD, ONE, "ci", "orders", "p", COMMITMENT, RULE, 1, Band.HIGH, (), (), 2, 900, ONE,
                        b""),
        Grant(HOLD, GATEWAY, REQUEST, HOLD, COMMITMENT, (vote,), 900, 60),
        Released(HOLD, REQUEST, COMMITMENT, ("p1",), 61),
        exchange(1), exchange(2), exchange(3, Result.UNKNOWN, "=cmd()"),
        SessionClosed(ONE, CloseReason.CLIENT, 3, 70),
        Beat(GATEWAY, 1, 9, 2, 1, 5, ChainHead(1, 1, b""), 1, 1, True, 80),
    ]  # fmt: skip


def entries(all_bodies: list[object]) -> list[LedgerEntry]:
    def of(body: object) -> Source:
        return beats_source(GATEWAY) if isinstance(body, PolicyInForce) else JOURNAL

    return [LedgerEntry(of(b), Position(1, n, 0), n, body=b) for n, b in enumerate(all_bodies)]  # type: ignore[arg-type]


def ledger(place: Path, all_bodies: list[object]) -> Writer:
    w = Writer(FileStore(place), "0", "tallystick.test/0", LOG)
    items = [Item(leaf_bytes(e), b"sealed%d" % n) for n, e in enumerate(entries(all_bodies))]
    for at in range(0, len(items), 3):
        cursors = {JOURNAL: Cursor(Position(1, at, 0), hashlib.sha256(b"%d" % at).digest())}
        w.commit(items[at : at + 3], cursors, Consumed("c", "events", 0, at))
    return w


def bundle(place: Path, all_bodies: list[object], reviewers: tuple[Reviewer, ...] = REVIEWERS) -> tuple[bytes, Writer]:
    w = ledger(place / "ledger", all_bodies)
    made = build(
        FileStore(place / "ledger"), "0", w.key, LOG, QUERY, Keys(ROOT.public, reviewers), lambda e: b"masked text"
    )
    return made, w


def code(place: Path, data: bytes, w: Writer) -> Code:
    path = place / "tried.zip"
    path.write_bytes(data)
    return verify(path, w.key).code


def test_a_bundle_as_built_is_valid_and_builds_the_same_again(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies())
    (tmp_path / "b.zip").write_bytes(made)
    said = verify(tmp_path / "b.zip", w.key)
    assert (said.code, said.findings) == (Code.VALID, ())
    assert "earlier checkpoint" in said.facts[0]
    again = build(
        FileStore(tmp_path / "ledger"), "0", w.key, LOG, QUERY, Keys(ROOT.public, REVIEWERS), lambda e: b"masked text"
    )
    assert again == made
    parts = archive.unpack(made).parts
    assert {"index.html", "population.csv", f"approvals/{REQUEST}.json", "keys/log.vkey"} <= set(parts)
    assert sum(p.startswith("samples/") for p in parts) == 2
    assert b"'=cmd()" in parts["exchanges.csv"]


@pytest.mark.parametrize("seed", range(6))
def test_any_changed_byte_of_a_bundle_is_found(tmp_path: Path, seed: int) -> None:
    made, w = bundle(tmp_path, bodies())
    chance = random.Random(seed)
    for _ in range(60):
        at = chance.randrange(len(made))
        damaged = bytearray(made)
        damaged[at] ^= 1 << chance.randrange(8)
        assert code(tmp_path, bytes(damaged), w) is not Code.VALID, at


def test_a_part_gone_is_missing_a_part_more_is_extra_an_entry_changed_is_named(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies())
    parts = archive.unpack(made).parts
    one = f"batches/{1:020d}.avro"
    assert code(tmp_path, archive.pack({n: d for n, d in parts.items() if n != one}), w) is Code.MISSING
    assert code(tmp_path, archive.pack(parts | {"../evil": b"x"}), w) is Code.EXTRA
    for name in ("population.csv", "README.txt", "keys/enrolments.json", "manifest.json"):
        assert code(tmp_path, archive.pack(parts | {name: b"none"}), w) is Code.ALTERED, name
    changed = parts[one].replace(b"SELECT 1", b"SELECT 2", 1)
    changed = changed if changed != parts[one] else parts[one][:-30] + b"\x00" + parts[one][-29:]
    (tmp_path / "t.zip").write_bytes(archive.pack(parts | {one: changed}))
    said = verify(tmp_path / "t.zip", w.key)
    assert said.code is Code.ALTERED
    assert any("entry " in f.what or "batch 1" in f.what for f in said.findings)


def signed(parts: dict[str, bytes], w: Writer, made: Made = MADE) -> bytes:
    """As whoever builds bundles could make one of these parts: with the log's key."""
    listed = {name: data for name, data in parts.items() if name != "manifest.json"}
    return archive.pack(listed | {"manifest.json": manifest(listed, w.key, LOG, made)})


@pytest.mark.parametrize(
    "name", ["Population.csv", "./population.csv", "population.csv.", "alerts.csv", "report.pdf", "keys/ann.pem"]
)
def test_a_signed_part_that_follows_from_no_entry_is_extra(tmp_path: Path, name: str) -> None:
    made, w = bundle(tmp_path, bodies())
    assert code(tmp_path, signed(archive.unpack(made).parts | {name: b"all is well"}, w), w) is Code.EXTRA


@pytest.mark.parametrize("name", ["README.txt", "keys/log.vkey"])
def test_a_signed_part_that_says_something_else_or_is_not_there_is_altered(tmp_path: Path, name: str) -> None:
    made, w = bundle(tmp_path, bodies())
    parts = archive.unpack(made).parts
    assert code(tmp_path, signed(parts, w), w) is Code.VALID
    assert code(tmp_path, signed(parts | {name: b"take tallystick-verify.example's word"}, w), w) is Code.ALTERED
    assert code(tmp_path, signed({n: d for n, d in parts.items() if n != name}, w), w) is Code.ALTERED


def test_a_key_that_is_said_twice_is_not_believed(tmp_path: Path) -> None:
    """Who compares by eye reads the first, and JSON takes the last."""
    forger = Signer("ann", bytes(32))
    made, w = bundle(tmp_path, bodies(voter=forger), (Reviewer("ann", forger.public, ("dba",)),))
    parts = archive.unpack(made).parts
    shown = b'"public_key": "' + ANN.public.hex().encode() + b'",\n  '
    said = parts["keys/reviewers.json"].replace(b'"public_key"', shown + b'"public_key"')
    assert code(tmp_path, signed(parts | {"keys/reviewers.json": said}, w), w) is Code.CANNOT
    other = parts["keys/root.json"].replace(b'"public_key"', shown + b'"public_key"')
    assert code(tmp_path, signed(parts | {"keys/root.json": other}, w), w) is Code.CANNOT


def test_what_is_no_bundle_or_another_log_cannot_pass(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies())
    assert code(tmp_path, b"hello", w) is Code.CANNOT
    assert code(tmp_path, made[: len(made) // 2], w) is not Code.VALID
    assert verify(tmp_path / "nowhere", w.key).code is Code.CANNOT
    stranger = type(w.key)(w.key.name, ANN.public)
    (tmp_path / "b.zip").write_bytes(made)
    assert verify(tmp_path / "b.zip", stranger).code is Code.ALTERED


def test_a_grant_whose_votes_are_not_the_reviewers_is_found(tmp_path: Path) -> None:
    forger = Signer("ann", bytes(32))
    made, w = bundle(tmp_path, bodies(voter=forger))
    assert code(tmp_path, made, w) is Code.ALTERED


def test_a_vote_by_who_stands_behind_the_run_is_found(tmp_path: Path) -> None:
    theirs = [replace(b, caused_by=("ann",)) if isinstance(b, ApprovalRequest) else b for b in bodies()]
    made, w = bundle(tmp_path, theirs)
    assert code(tmp_path, made, w) is Code.ALTERED


BOB = Signer("bob", bytes(range(3, 35)))
BOTH = (*REVIEWERS, Reviewer("bob", BOB.public, ("dba",)))


def before(kind: type, *more: object) -> list[object]:
    """The usual log, with these in front of the first of that kind."""
    usual = bodies()
    at = next(n for n, b in enumerate(usual) if isinstance(b, kind))
    return [*usual[:at], *more, *usual[at:]]


@pytest.mark.parametrize("choice", [Choice.DENY, Choice.REVOKE])
def test_a_grant_after_a_reviewers_no_is_found(tmp_path: Path, choice: Choice) -> None:
    no = cast(BOB, REQUEST, COMMITMENT, choice, 900, "not on a Friday", 40)
    made, w = bundle(tmp_path, before(Grant, no), BOTH)
    assert code(tmp_path, made, w) is Code.ALTERED
    forged = replace(no, signature=bytes(64))
    made, w = bundle(tmp_path / "2", before(Grant, forged), BOTH)
    assert code(tmp_path, made, w) is Code.VALID, "a no that does not count"
    made, w = bundle(tmp_path / "3", before(Exchange, no), BOTH)
    assert code(tmp_path, made, w) is Code.VALID, "what was released cannot be called back"


def test_a_held_command_that_was_executed_without_a_release_is_found(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, [b for b in bodies() if not isinstance(b, Grant | Released)])
    assert code(tmp_path, made, w) is Code.MISSING
    other = HoldId("hold-" + "9" * 32)
    made, w = bundle(tmp_path / "2", [replace(b, hold=other) if isinstance(b, Released) else b for b in bodies()])
    assert code(tmp_path, made, w) is Code.MISSING


def test_a_release_after_the_approval_had_ended_is_found(tmp_path: Path) -> None:
    late = 900 + 11 * 60 * 1_000_000  # clocks may be five minutes apart, twice
    made, w = bundle(tmp_path, [replace(b, at_us=late) if isinstance(b, Released) else b for b in bodies()])
    assert code(tmp_path, made, w) is Code.ALTERED


def test_a_request_that_is_told_milder_afterwards_excuses_no_grant(tmp_path: Path) -> None:
    asked = next(b for b in bodies() if isinstance(b, ApprovalRequest))
    strict = replace(asked, rule=replace(RULE, quorum=2))
    made, w = bundle(tmp_path, [*(strict if b == asked else b for b in bodies()), asked], BOTH)
    assert code(tmp_path, made, w) is Code.ALTERED


def test_what_somebody_signed_who_is_no_reviewer_any_more_was_not_altered(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies(), (Reviewer("bob", BOB.public, ("dba",)),))
    (tmp_path / "b.zip").write_bytes(made)
    said = verify(tmp_path / "b.zip", w.key)
    assert {f.code for f in said.findings} == {Code.CANNOT}


@pytest.mark.parametrize(("why", "found"), [("kept", Code.EXTRA), ("undone", Code.VALID)])
def test_a_second_release_on_one_approval_is_found_unless_the_first_was_undone(
    tmp_path: Path, why: str, found: Code
) -> None:
    again = HoldId("hold-" + "2" * 32)
    more = [HoldGone(HOLD, why, 62), Released(again, REQUEST, COMMITMENT, ("p1",), 63)]
    at = next(n for n, b in enumerate(bodies()) if isinstance(b, Released)) + 1
    made, w = bundle(tmp_path, [*bodies()[:at], *more, *bodies()[at:]])
    assert code(tmp_path, made, w) is found


def test_a_grant_that_was_not_accepted_is_an_exception() -> None:
    for why, found in (("unverified", True), ("timeout", False)):
        (entry,) = entries([HoldGone(HOLD, why, 62)])
        assert bool(exceptional(Indexed(1, b"", entry, b""))) is found


@pytest.mark.parametrize("harm", ["twice", "later before earlier"])
def test_an_entry_twice_or_out_of_its_sources_order_is_found(tmp_path: Path, harm: str) -> None:
    whole = entries(bodies())
    shown = [*whole, whole[5]] if harm == "twice" else [*whole[:5], whole[6], whole[5], *whole[7:]]
    w = Writer(FileStore(tmp_path / "l"), "0", "tallystick.test/0", LOG)
    items = [Item(leaf_bytes(e), b"") for e in shown]
    w.commit(items, {JOURNAL: Cursor(Position(1, 9, 0), bytes(32))}, Consumed("c", "events", 0, 0))
    made = build(FileStore(tmp_path / "l"), "0", w.key, LOG, QUERY, Keys(ROOT.public, REVIEWERS))
    assert code(tmp_path, made, w) is Code.ALTERED


def test_no_bundle_is_made_of_what_is_left_when_checkpoints_are_gone(tmp_path: Path) -> None:
    w = ledger(tmp_path / "l", bodies())
    keys = Keys(ROOT.public, REVIEWERS)
    (tmp_path / "l" / layout.checkpoint("0", 3)).unlink()
    build(FileStore(tmp_path / "l"), "0", w.key, LOG, QUERY, keys)  # as a writer leaves it that died before it signed
    (tmp_path / "l" / layout.checkpoint("0", 2)).unlink()
    with pytest.raises(CannotBuild, match="checkpoint 2 is missing"):
        build(FileStore(tmp_path / "l"), "0", w.key, LOG, QUERY, keys)


def test_an_enrolment_that_the_root_did_not_sign_is_found(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies(enrolled=enrolment(root=Signer("root", bytes(32)))))
    assert code(tmp_path, made, w) is Code.ALTERED


@pytest.mark.parametrize(("time_us", "found"), [(9, Code.VALID), (10, Code.CANNOT)])
def test_a_log_that_its_key_signed_after_its_enrolment_had_ended_cannot_be_verified(
    tmp_path: Path, time_us: int, found: Code
) -> None:
    unsigned = replace(enrolment(), until_us=10)
    term = replace(unsigned, signature=ROOT.sign(Domain.ENROLMENT, enrolment_message(unsigned)))
    alive = LedgerEntry(Source("shard:0"), Position(1, 0), time_us, body=LedgerAlive(time_us))
    w = Writer(FileStore(tmp_path / "l"), "0", "tallystick.test/0", LOG)
    items = [Item(leaf_bytes(e), b"") for e in (*entries(bodies(enrolled=term)), alive)]
    w.commit(items, {JOURNAL: Cursor(Position(1, 9, 0), bytes(32))}, Consumed("c", "events", 0, 0))
    made = build(FileStore(tmp_path / "l"), "0", w.key, LOG, QUERY, Keys(ROOT.public, REVIEWERS))
    assert code(tmp_path, made, w) is found


def test_a_log_whose_own_key_is_not_enrolled_cannot_be_verified(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies(enrolled=enrolment(public=ANN.public)))
    assert code(tmp_path, made, w) is Code.CANNOT


def test_what_traffic_chose_fools_neither_terminal_nor_reader(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\u202edeifidom"
    made, _ = bundle(tmp_path, [*bodies(), exchange(4, tag=evil), exchange(5, tag=evil), exchange(6, tag=evil)])
    parts = archive.unpack(made).parts
    for name in ("index.html", "exchanges.csv", *(n for n in parts if n.startswith("samples/"))):
        assert b"\x1b" not in parts[name]
        assert "\u202e".encode() not in parts[name]
    assert b"\\x1b]0;owned" in parts["exchanges.csv"]


def test_the_report_says_who_asked_who_decided_and_what_became_of_it(tmp_path: Path) -> None:
    made, _ = bundle(tmp_path, bodies())
    page = archive.unpack(made).parts["index.html"].decode()
    (row,) = [line for line in page.splitlines() if f"approvals/{REQUEST}.json" in line]
    for said in ("ci", "orders (p)", "high 1", "ann: approve", "released once, executed"):
        assert said in row
    made, _ = bundle(tmp_path / "2", [b for b in bodies() if not isinstance(b, Grant | Released)])
    page = archive.unpack(made).parts["index.html"].decode()
    assert "released" not in page.split("approvals/", 1)[1]


def test_unusual_behaviour_is_counted_listed_and_looked_at(tmp_path: Path) -> None:
    finding = Finding("Behaviour:Network/FirstSeen", 30, "10.9.9.0/24", "10.0.0.0/24", 0, ONE, 5)
    suspension = SuspensionId("sus-a")
    alert = Alert(AlertId("alr-a"), "ci", "", ONE, "orders", "p", (finding,), 70, 60, True, suspension, "v", 5)
    suspended = Suspended(suspension, alert.alert, Scope.SESSION, "ci", ONE, "orders", (), 5, 9, "v", "b", b"s")
    made, w = bundle(tmp_path, [*bodies(), Learning("ci", "", 1, 2, "v"), alert, suspended])
    assert code(tmp_path, made, w) is Code.VALID
    parts = archive.unpack(made).parts
    assert b"10.9.9.0/24" in parts["alerts.csv"]
    assert {"learning.csv", "suspensions.csv"} <= set(parts)
    assert "resumptions.csv" not in parts, "nobody lifted it"
    assert b"1 alerts, 1 suspensions, 0 of them lifted by a reviewer" in parts["index.html"]
    assert parts["exceptions.csv"].count(b"Alert") == 2
    quiet, _ = bundle(tmp_path / "2", bodies())
    assert not {"alerts.csv", "learning.csv", "suspensions.csv"} & set(archive.unpack(quiet).parts)


def test_a_gap_on_record_has_its_own_code(tmp_path: Path) -> None:
    gap = Gap(JOURNAL, Position(1, 1, 0), Position(1, 9, 0), "lost", 5)
    made, w = bundle(tmp_path, [*bodies(), gap])
    assert code(tmp_path, made, w) is Code.GAP


def test_a_log_that_goes_on_after_a_break_says_so_as_a_gap(tmp_path: Path) -> None:
    adopted = LedgerAdopted("0", 9, bytes(32), "", "disk lost", 5)
    made, w = bundle(tmp_path, [*bodies(), adopted])
    assert code(tmp_path, made, w) is Code.GAP


def test_a_store_tells_altered_missing_and_extra(tmp_path: Path) -> None:
    w = ledger(tmp_path / "l", bodies())
    assert verify(tmp_path / "l", w.key).code is Code.VALID
    batch = layout.batch("0", 1)
    for at in range(0, (tmp_path / "l" / batch).stat().st_size, 37):
        raw = bytearray((tmp_path / "l" / batch).read_bytes())
        raw[at] ^= 4
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "l", copy)
        (copy / batch).unlink()
        (copy / batch).write_bytes(raw)
        assert verify(copy, w.key).code is Code.ALTERED, at
        shutil.rmtree(copy)
    shutil.copytree(tmp_path / "l", tmp_path / "m")
    (tmp_path / "m" / batch).unlink()
    said = verify(tmp_path / "m", w.key)
    assert said.code is Code.MISSING
    assert "batch 1" in said.findings[0].what
    (tmp_path / "l" / "0" / "batch" / "note.txt").write_text("x")
    assert verify(tmp_path / "l", w.key).code is Code.EXTRA


def test_content_exchanged_with_every_checksum_made_right_is_found(tmp_path: Path) -> None:
    w = ledger(tmp_path / "l", bodies())
    newest = tmp_path / "l" / layout.batch("0", 2)
    kept = decode(newest.read_bytes())
    newest.unlink()
    newest.write_bytes(encode(replace(kept, items=(replace(kept.items[0], content=b"other"), *kept.items[1:]))))
    assert verify(tmp_path / "l", w.key).code is Code.ALTERED


@pytest.mark.parametrize("what", ["store", "export", "bundle"])
def test_a_log_whose_end_was_cut_off_is_told_by_a_checkpoint_that_was_kept(tmp_path: Path, what: str) -> None:
    """The key is not needed for that, so it is no operator's word: whoever may delete files can do it."""
    w = ledger(tmp_path / "l", bodies())
    other = ledger(tmp_path / "o", [*bodies()[:-1], exchange(9)])

    def shown(log: str) -> Path:
        store, made = FileStore(tmp_path / log), tmp_path / f"{log}-{what}"
        if what == "export":
            export(store, "0", w.key, made)
        elif what == "bundle":
            made.write_bytes(build(store, "0", w.key, LOG, QUERY, Keys(ROOT.public, REVIEWERS)))
        return tmp_path / log if what == "store" else made

    def kept(log: str, seq: int) -> Checkpoint:
        return open_checkpoint((tmp_path / log / layout.checkpoint("0", seq)).read_bytes(), w.key)

    newest, earlier, theirs = kept("l", 3), kept("l", 1), kept("o", 3)
    whole = shown("l")
    assert [verify(whole, w.key, seen).code for seen in (None, newest, earlier)] == [Code.VALID] * 3
    assert verify(whole, w.key, theirs).code is Code.ALTERED
    shutil.copytree(tmp_path / "l", tmp_path / "c")
    for key in (layout.batch("0", 3), layout.checkpoint("0", 3)):
        (tmp_path / "c" / key).unlink()
    cut = shown("c")
    assert verify(cut, w.key).code is Code.VALID, "nothing in it tells"
    assert verify(cut, w.key, newest).code is Code.MISSING
    assert verify(cut, w.key, earlier).code is Code.VALID
    assert other.head.tree.size == w.head.tree.size


def test_an_exported_log_names_the_altered_entry(tmp_path: Path) -> None:
    w = ledger(tmp_path / "l", bodies())
    export(FileStore(tmp_path / "l"), "0", w.key, tmp_path / "x")
    assert verify(tmp_path / "x", w.key).code is Code.VALID
    name = tmp_path / "x" / layout.tile("entries", 0, len(bodies()))
    whole = name.read_bytes()
    name.chmod(0o644)
    name.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    said = verify(tmp_path / "x", w.key)
    assert said.code is Code.ALTERED
    assert "entry 0 " in said.findings[0].what
    name.unlink()
    assert verify(tmp_path / "x", w.key).code is Code.MISSING


def test_an_exported_log_of_several_tiles_is_valid_until_one_is_gone_added_or_another_key_is_shown(
    tmp_path: Path,
) -> None:
    w = ledger(tmp_path / "l", [exchange(n) for n in range(700)])
    x = tmp_path / "x"
    export(FileStore(tmp_path / "l"), "0", w.key, x)
    assert verify(x, w.key).code is Code.VALID
    (x / "log.vkey").chmod(0o644)
    (x / "log.vkey").write_text("another\n")
    assert verify(x, w.key).code is Code.ALTERED
    (x / "log.vkey").write_text(f"{w.key}\n")
    (x / "tile" / "more").write_text("x")
    assert verify(x, w.key).code is Code.EXTRA
    (x / "tile" / "more").unlink()
    (x / layout.tile("0", 1, 256)).unlink()
    assert verify(x, w.key).code is Code.MISSING


def test_the_population_counts_every_kind_and_what_beats_know_more(tmp_path: Path) -> None:
    (row,) = count(entries(bodies()))
    assert (row.recorder, row.boot, row.opened, row.closed, row.complete, row.cut) == (GATEWAY, 1, 1, 1, 1, 0)
    assert (row.executed, row.unknown, row.beat_opened, row.unledgered, row.farewell) == (2, 1, 2, 1, True)
    more = replace(exchange(4), kind=CommandKind.RESUME)
    (row,) = count(entries([*bodies(), more]))
    assert (row.complete, row.executed) == (1, 3), "the close counts commands, not fetches of one's portal"


def test_a_hole_in_a_sessions_commands_is_an_exception(tmp_path: Path) -> None:
    """Also where the period cuts the session, and where the count at its end was made to fit."""
    lacking = [b for b in bodies() if not (isinstance(b, Exchange) and b.number == 1)]
    fitted = [replace(b, commands=2) if isinstance(b, SessionClosed) else b for b in lacking]
    shorter = [b for b in bodies() if not (isinstance(b, Exchange) and b.number == 3)]
    for n, tried in enumerate((lacking, fitted, shorter)):
        w = ledger(tmp_path / str(n), tried)
        store, keys = FileStore(tmp_path / str(n)), Keys(ROOT.public, REVIEWERS)
        parts = archive.unpack(build(store, "0", w.key, LOG, Query(7, 1_000_000, "", 0), keys)).parts
        assert b"SessionClosed" in parts["exceptions.csv"], n
        assert b"exceptions</a> (1)" in parts["index.html"]
    more = replace(exchange(4), kind=CommandKind.RESUME)
    for n, whole in enumerate((bodies(), before(SessionClosed, more))):
        made, _ = bundle(tmp_path / f"w{n}", whole)
        assert b"SessionClosed" not in archive.unpack(made).parts["exceptions.csv"], n


def test_what_was_opened_before_the_period_is_not_told_as_missing(tmp_path: Path) -> None:
    """A beat counts from its boot on, however often a bundle was made since."""
    w = ledger(tmp_path / "l", bodies())
    after_opening = Query(2, 1_000_000, "", 0)
    made = build(FileStore(tmp_path / "l"), "0", w.key, LOG, after_opening, Keys(ROOT.public, REVIEWERS))
    row = archive.unpack(made).parts["population.csv"].decode().splitlines()[1]
    (later,) = count(entries(bodies())[2:], entries(bodies())[:2])
    assert (later.opened, later.opened_before, later.beat_opened, later.unledgered) == (0, 1, 2, 1)
    assert row.endswith(",1")


def test_an_entry_whose_recorders_clock_was_set_is_an_exception_where_it_lies(tmp_path: Path) -> None:
    year_us = 365 * 24 * 3600 * 1_000_000
    w = Writer(FileStore(tmp_path / "l"), "0", "tallystick.test/0", LOG)
    shown = [replace(e, time_us=e.time_us - year_us) if e.body == exchange(1) else e for e in entries(bodies())]
    items = [Item(leaf_bytes(e), b"") for e in shown]
    w.commit(items, {JOURNAL: Cursor(Position(1, 9, 0), bytes(32))}, Consumed("c", "events", 0, 0))
    made = build(FileStore(tmp_path / "l"), "0", w.key, LOG, QUERY, Keys(ROOT.public, REVIEWERS))
    parts = archive.unpack(made).parts
    assert b"5,-31535999999995," in parts["exceptions.csv"]
    assert code(tmp_path, made, w) is Code.VALID


def test_a_period_says_where_within_a_second_it_begins(tmp_path: Path) -> None:
    w = ledger(tmp_path / "l", bodies())
    nearly = Query(999_999, 2_000_000, "", 0)
    made = build(FileStore(tmp_path / "l"), "0", w.key, LOG, nearly, Keys(ROOT.public, REVIEWERS))
    page = archive.unpack(made).parts["index.html"].decode()
    assert "Period 1970-01-01 00:00:00.999999 to 1970-01-01 00:00:02 UTC" in page


def test_what_is_seen_depends_on_no_release_of_unicode() -> None:
    """U+1FAE8 is printable from Unicode 15 on, so to Python 3.12 and not to 3.11: two reports of one log."""
    for c in map(chr, (0x1FAE8, 0x1F600, 0x202E, 0x2066, 0x9B, 0xE000, 0xD800, 0xA0)):
        assert seen(c) == c.encode("unicode_escape").decode(), hex(ord(c))
    assert seen("a \u00e9 \u05d0 \u4e2d") == "a \u00e9 \u05d0 \u4e2d"


def test_an_approval_that_the_report_cannot_have_is_told(tmp_path: Path) -> None:
    odd = ApprovalId("req.odd")
    vote = cast(ANN, odd, COMMITMENT, Choice.APPROVE, 900, "", 50)
    renamed = [replace(b, request=odd) if isinstance(b, ApprovalRequest | Grant | Released) else b for b in bodies()]
    made, w = bundle(tmp_path, [replace(b, votes=(vote,)) if isinstance(b, Grant) else b for b in renamed])
    assert code(tmp_path, made, w) is Code.ALTERED


@pytest.mark.parametrize(("value", "text"), [("=1", "'=1"), ("-x", "'-x"), ("@a", "'@a"), (-1, "-1"), ("ok", "ok")])
def test_no_cell_is_a_formula(value: object, text: str) -> None:
    assert cell(value) == text


# --- standing approvals and broken glass ----------------------------------------------------

BOB = Signer("bob", bytes(range(3, 35)))
WIDE = replace(RULE, standing_s=9, standing_uses=3, break_glass=True, review_s=60)
MORE = (*REVIEWERS, Reviewer("bob", BOB.public, ("on-call",), break_glass=True))


def approved(votes: tuple[Vote, ...], *after: object, use: int = 1, glass: bool = False) -> list[object]:
    """The usual bodies, approved so."""
    made: list[object] = []
    for body in bodies():
        if isinstance(body, ApprovalRequest):
            made += [replace(body, rule=WIDE), *votes]
        elif isinstance(body, Grant):
            made.append(replace(body, votes=votes, use=use))
        elif isinstance(body, Released):
            made += [replace(body, use=use, break_glass=glass), *after]
        else:
            made.append(body)
    return made


def says(who: Signer, choice: Choice = Choice.APPROVE, uses: int = 1) -> Vote:
    return replace(cast(who, REQUEST, COMMITMENT, choice, 900, "it is agreed so", 50, uses), reason="")


def tried(tmp_path: Path, all_bodies: list[object]) -> Code:
    made, w = bundle(tmp_path, all_bodies, MORE)
    return code(tmp_path, made, w)


def again(n: int, use: int) -> list[object]:
    """Another run on the same approval."""
    hold = HoldId(f"hold-{n:032x}")
    grant = Grant(hold, GATEWAY, REQUEST, HOLD, COMMITMENT, (says(ANN, uses=3),), 900, 62, use=use)
    return [grant, Released(hold, REQUEST, COMMITMENT, ("p1",), 63, use)]


@pytest.mark.parametrize(
    ("uses", "found"),
    [((2, 3), Code.VALID), ((2, 2), Code.EXTRA), ((2, 4), Code.ALTERED), ((2, 0), Code.ALTERED)],
    ids=str,
)
def test_the_uses_of_a_standing_approval_are_counted(tmp_path: Path, uses: tuple[int, int], found: Code) -> None:
    more = [*again(2, uses[0]), *again(3, uses[1])]
    assert tried(tmp_path, approved((says(ANN, uses=3),), *more)) is found


def test_a_standing_approval_is_in_the_report(tmp_path: Path) -> None:
    made, _ = bundle(tmp_path, approved((says(ANN, uses=3),), *again(2, 2)), MORE)
    parts = archive.unpack(made).parts
    assert b"2 of 3" in parts["index.html"]
    assert b"ann: approve 3 uses until" in parts["index.html"]
    assert parts["standing.csv"].splitlines()[1].startswith(REQUEST.encode() + b",ci,orders")


GLASS = says(BOB, Choice.BREAK_GLASS)
BROKEN: list[tuple[str, list[object], Code]] = [
    ("as it should be", approved((GLASS,), glass=True), Code.VALID),
    ("and reviewed", approved((GLASS,), says(ANN, Choice.OBJECT), glass=True), Code.VALID),
    ("a release that hides it", approved((GLASS,)), Code.MISSING),
    ("by who has no right to", approved((says(ANN, Choice.BREAK_GLASS),), glass=True), Code.ALTERED),
    ("by another key", approved((replace(says(ANN, Choice.BREAK_GLASS), reviewer="bob"),), glass=True), Code.ALTERED),
    ("reviewed by who broke it", approved((GLASS,), says(BOB, Choice.ACCEPT), glass=True), Code.ALTERED),
    ("a forged review", approved((GLASS,), replace(says(BOB, Choice.ACCEPT), reviewer="ann"), glass=True),
     Code.ALTERED),
    ("a review of nothing", approved((says(ANN),), says(ANN, Choice.ACCEPT)), Code.MISSING),
]  # fmt: skip


@pytest.mark.parametrize(("all_bodies", "found"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_broken_glass_is_checked_as_the_gateway_does(tmp_path: Path, all_bodies: list[object], found: Code) -> None:
    assert tried(tmp_path, all_bodies) is found


def test_broken_glass_is_named_in_each_period_until_it_is_reviewed(tmp_path: Path) -> None:
    def page(place: Path, *after: object) -> bytes:
        w = ledger(place, approved((GLASS,), *after, glass=True))
        later = Query(1_000_000, 2_000_000, "seed", 2)
        made = build(FileStore(place), "0", w.key, LOG, later, Keys(ROOT.public, MORE), None)
        return archive.unpack(made).parts["index.html"]

    assert b"<b>due</b>" in page(tmp_path / "open")
    assert b"BREAK-GLASS" not in page(tmp_path / "reviewed", says(ANN, Choice.ACCEPT))
    made, _ = bundle(tmp_path / "now", approved((GLASS,), says(ANN, Choice.ACCEPT), glass=True), MORE)
    parts = archive.unpack(made).parts
    assert b"accept by ann" in parts["index.html"]
    assert b"BREAK-GLASS: one person approved alone" in parts["exceptions.csv"]
