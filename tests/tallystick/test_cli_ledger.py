"""What people and auditors ask of the record, on a small real log: as processes, by exit code and output."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bus.local import LocalBus
from bus.topics import EVENTS
from evidence import archive
from ledger import layout
from ledger.batch import decode, encode
from ledger.note import parse_vkey
from ledger.proof import parse
from ledger.proof import verify as verify_proof
from ledger.reader import entries
from ledger.recovery import recover
from ledger.store import FileStore
from ledger.tree import leaf_hash
from schemas.records import LedgerAdopted
from tests.tallystick import deployment
from tests.tallystick.deployment import DAY, EVIL, ONE, REQUEST, TWO, Deployment, tallystick


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return deployment.make(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def made(pristine: Deployment, tmp_path: Path) -> Deployment:
    """A copy that a test may spoil."""
    place = tmp_path / "copy"
    shutil.copytree(pristine.place, place)
    return Deployment(place, place / "tallystick.toml", place / "ann.key", pristine.key)


def run(made: Deployment, *arguments: str, code: int = 0) -> str:
    done = tallystick(*arguments, "--config", str(made.config))
    assert done.returncode == code, done.stdout + done.stderr
    for c in EVIL:
        assert c.isprintable() or c not in done.stdout + done.stderr
    return done.stdout if code in (0, 12) else done.stdout + done.stderr


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# --- what is recorded -------------------------------------------------------------------


def test_sessions_are_listed_oldest_first_with_what_came_of_them(pristine: Deployment) -> None:
    first, second = lines(run(pristine, "sessions", "--json"))
    assert (first["session"], first["commands"], first["held"], first["reason"]) == (ONE, 2, 0, "client")
    assert (second["session"], second["held"], second["band"], second["score"]) == (TWO, 1, "high", 80)
    assert first["opened"] == "2026-01-01T00:00:00.000000Z"
    assert ONE in run(pristine, "sessions")
    (reviewer,) = lines(run(pristine, "reviewers", "--json"))
    assert (reviewer["reviewer"], reviewer["decided"], reviewer["approved"]) == ("ann", 1, 1)
    assert "1 (100 %)" in run(pristine, "reviewers")


def test_events_are_the_entries_and_a_sessions_are_those_of_its_approvals_too(pristine: Deployment) -> None:
    everything = lines(run(pristine, "events", "--json"))
    assert [e["index"] for e in everything] == list(range(19))
    kinds = [e["kind"] for e in lines(run(pristine, "events", "--json", "--session", TWO))]
    assert kinds == [
        "SessionOpened", "Hold", "ApprovalRequest", "Vote", "Grant", "Released", "Exchange", "SessionClosed",
    ]  # fmt: skip
    (grant,) = lines(run(pristine, "events", "--json", "--session", TWO, "--kind", "Grant"))
    assert grant["body"]["request"] == REQUEST  # type: ignore[index]
    assert "\\x1b]0;owned" in run(pristine, "events")
    assert "there are: Alert, ApprovalMoved" in run(pristine, "events", "--kind", "Query", code=2)


def test_a_replay_shows_masked_texts_tables_and_who_decided(pristine: Deployment) -> None:
    shown = run(pristine, "replay", ONE)
    assert "│ SELECT *\n    │ FROM t\n" in shown
    assert "tok:email:AAAA" in shown
    assert "NULL" in shown
    assert "\\x1b]0;owned\\x07\\u202ednert\\u200b" in shown
    shown = run(pristine, "replay", TWO)
    story = [f"waits for {REQUEST}", "ann says approve", "granted by ann", "released to the target", "DELETE 200"]
    assert [s for s in story if s in shown] == story
    whole = lines(run(pristine, "replay", TWO, "--json"))
    assert [m["masked"]["command"]["text"] for m in whole if m["masked"]] == ["DELETE FROM job_log"] * 2  # type: ignore[index]


def test_an_asciicast_is_one_and_its_time_never_goes_back(pristine: Deployment) -> None:
    head, *moments = lines(run(pristine, "replay", TWO, "--asciicast"))
    assert head["version"] == 2
    times = [m[0] for m in moments]  # type: ignore[index]
    assert times == sorted(times)
    assert all(m[1] == "o" and m[2].endswith("\r\n") for m in moments)  # type: ignore[index]
    assert "choose one" in run(pristine, "replay", TWO, "--asciicast", "--json", code=2)
    assert "tallystick sessions" in run(pristine, "replay", "none/1/1", code=2)


def test_erased_content_stays_erased_and_the_facts_stay(made: Deployment) -> None:
    keys = made.content_keys()
    keys.destroy(ONE)
    keys.close()
    shown = run(made, "replay", ONE)
    assert "was erased" in shown
    assert "tok:email" not in shown
    assert "#1 executed  SELECT 1" in shown
    run(made, "ledger", "verify")


def test_without_the_content_keys_facts_are_shown_and_nothing_is_made(made: Deployment) -> None:
    (made.place / "data" / "content.db").unlink()
    assert "content keys are not in this place" in run(made, "replay", ONE)
    assert not (made.place / "data" / "content.db").exists()


# --- the log ----------------------------------------------------------------------------


def test_an_export_verifies_and_its_key_is_the_logs(made: Deployment) -> None:
    out = made.place / "public"
    run(made, "ledger", "export", str(out))
    assert (out / "log.vkey").read_text() == made.vkey.read_text()
    assert tallystick("verify", str(out), "--key", str(out / "log.vkey")).returncode == 0
    assert "not empty" in run(made, "ledger", "export", str(out), code=2)


def test_a_proof_is_one(pristine: Deployment) -> None:
    said = json.loads(run(pristine, "ledger", "proof", "14", "--json"))
    verify_proof(parse(said["proof"]), bytes.fromhex(said["leaf"]), pristine.key)
    assert said["leaf_hash"] == hashlib.sha256(b"\0" + bytes.fromhex(said["leaf"])).hexdigest()
    verify_proof(parse(run(pristine, "ledger", "proof", "14")), bytes.fromhex(said["leaf"]), pristine.key)
    assert "there is no entry 19: the log has 19" in run(pristine, "ledger", "proof", "19", code=2)


def test_the_status_says_where_the_log_stands(pristine: Deployment) -> None:
    said = json.loads(run(pristine, "ledger", "status", "--json"))
    assert (said["size"], said["batches"], said["newest_entry"]) == (19, 3, "2026-01-01T00:03:27.000000Z")
    assert said["cursors"] == [{"source": "journal:db.0.0a0b0c0d", "position": "2/7/0"}]
    assert parse_vkey(said["key"]) == pristine.key
    assert "size          19" in run(pristine, "ledger", "status")


def test_a_place_where_nothing_is_recorded_says_so(tmp_path: Path) -> None:
    made = deployment.make(tmp_path)
    shutil.rmtree(made.store)
    for command in (["sessions"], ["ledger", "status"], ["ledger", "verify"], ["events"]):
        assert "nothing is recorded yet" in run(made, *command, code=2)


def test_a_reader_of_a_damaged_log_is_sent_to_verify(made: Deployment) -> None:
    batch = made.store / layout.batch("0", 1)
    batch.unlink()
    said = run(made, "sessions", code=1)
    assert "tallystick ledger verify" in said
    assert layout.batch("0", 1) in said


# --- verify -----------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(bytes(raw))


def test_one_altered_byte_exits_10_and_names_the_entry(made: Deployment) -> None:
    """The 12th entry's content, altered where it lies, with its CRC left as it was."""
    batch = made.store / layout.batch("0", 2)
    flip(batch, batch.stat().st_size - 200)
    done = tallystick("verify", str(made.store), "--key", str(made.vkey))
    assert done.returncode == 10
    assert "altered" in done.stdout.splitlines()[0]
    assert "entry 1" in done.stdout


def test_one_altered_byte_of_a_leaf_names_exactly_that_entry(made: Deployment) -> None:
    out = made.place / "public"
    run(made, "ledger", "export", str(out))
    tile = out / layout.tile("entries", 0, 19)
    leaf = decode((made.store / layout.batch("0", 1)).read_bytes()).items[1].leaf
    flip(tile, tile.read_bytes().index(leaf) + 30)
    done = tallystick("verify", str(out), "--key", str(made.vkey), "--json")
    assert done.returncode == 10
    said = json.loads(done.stdout)
    assert said["outcome"] == "altered"
    assert any("entry 8 " in f["what"] for f in said["findings"])
    assert not any("entry 9 " in f["what"] for f in said["findings"])


def test_one_removed_batch_exits_11_and_says_which_entries_are_gone(made: Deployment) -> None:
    (made.store / layout.batch("0", 1)).unlink()
    for command in (["verify", str(made.store), "--key", str(made.vkey)],):
        done = tallystick(*command)
        assert done.returncode == 11
        assert "batch 1 is missing" in done.stdout
        assert "entries 7 to 10" in done.stdout
    assert "entries 7 to 10" in run(made, "ledger", "verify", code=11)


def test_the_newest_batch_removed_with_its_checkpoint_is_missed_by_nobody_but_the_holder_of_one(
    made: Deployment,
) -> None:
    (made.store / layout.batch("0", 2)).unlink()
    assert "entries 11 to 18" in run(made, "ledger", "verify", code=11)
    (made.store / layout.checkpoint("0", 2)).unlink()
    said = run(made, "ledger", "verify")
    assert "11 entries" in said
    assert "earlier checkpoint" in said


def test_an_extra_file_exits_13_and_what_is_no_log_14(made: Deployment) -> None:
    (made.store / "0" / "batch" / "note\x1b[2J.txt").write_text("x")
    assert "note" in run(made, "ledger", "verify", code=13)
    done = tallystick("verify", str(made.config), "--key", str(made.vkey))
    assert done.returncode == 14
    assert tallystick("verify", str(made.place / "none"), "--key", str(made.vkey)).returncode == 14


def test_the_trusted_key_is_text_or_a_file_and_nothing_else(made: Deployment) -> None:
    assert tallystick("verify", str(made.store), "--key", str(made.key)).returncode == 0
    for key in (str(made.place / "none"), "x", f"{made.key}x", str(made.reviewer)):
        done = tallystick("verify", str(made.store), "--key", key)
        assert done.returncode == 2, key
        assert len(done.stderr.splitlines()) == 1
        assert made.reviewer.read_text().strip() not in done.stderr


# --- the bundle -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bundle(pristine: Deployment) -> Path:
    out = pristine.place.parent / "q1.zip"
    run(
        pristine, "bundle", "--from", DAY, "--to", DAY, "--out", str(out), "--seed", "7", "--sample", "100"
    )  # all: which two a seed draws depends on the root
    return out


def test_a_bundle_verifies_and_has_what_an_auditor_opens(pristine: Deployment, bundle: Path) -> None:
    done = tallystick("verify", str(bundle), "--key", str(pristine.vkey), "--json")
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "valid")
    parts = archive.unpack(bundle.read_bytes()).parts
    assert {
        "index.html",
        "population.csv",
        "exchanges.csv",
        "exceptions.csv",
        "gaps.csv",
        "policies.csv",
        "query.json",
    } <= set(parts)
    assert f"approvals/{REQUEST}.json" in parts
    assert b"tok:email:AAAA" in b"".join(d for n, d in parts.items() if n.startswith("samples/"))
    page = parts["index.html"].decode()
    assert "db.0.0a0b0c0d" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched
    assert "<script" not in page


def test_an_altered_or_cut_bundle_has_the_right_code_and_says_where(
    pristine: Deployment, bundle: Path, tmp_path: Path
) -> None:
    parts = archive.unpack(bundle.read_bytes()).parts
    one = f"batches/{1:020d}.avro"
    tried = tmp_path / "tried.zip"
    key = str(pristine.vkey)
    tried.write_bytes(archive.pack({n: d for n, d in parts.items() if n != one}))
    done = tallystick("verify", str(tried), "--key", key)
    assert done.returncode == 11
    assert "entries 7 to 10" in done.stdout
    raw = parts[one]
    tried.write_bytes(archive.pack(parts | {one: raw[:-60] + bytes([raw[-60] ^ 1]) + raw[-59:]}))
    done = tallystick("verify", str(tried), "--key", key)
    assert done.returncode == 10
    assert "entry 9" in done.stdout or "entry 8" in done.stdout or "entry 7" in done.stdout
    tried.write_bytes(archive.pack(parts | {"more.txt": b"x"}))
    assert tallystick("verify", str(tried), "--key", key).returncode == 13
    tried.write_bytes(archive.pack(parts | {"population.csv": parts["population.csv"].replace(b"1", b"2", 1)}))
    done = tallystick("verify", str(tried), "--key", key)
    assert done.returncode == 10
    assert "population.csv was altered" in done.stdout


def test_a_bundle_is_asked_for_rightly_or_not_at_all(pristine: Deployment, bundle: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "b.zip")
    assert "nothing is overwritten" in run(pristine, "bundle", "--from", DAY, "--to", DAY, "--out", str(bundle), code=2)
    assert "2026-01-31" in run(pristine, "bundle", "--from", "yesterday", "--to", DAY, "--out", out, code=2)
    assert "before" in run(pristine, "bundle", "--from", "2026-02-01", "--to", DAY, "--out", out, code=2)
    assert not Path(out).exists()


def test_a_bundle_of_a_damaged_log_is_not_made(made: Deployment) -> None:
    flip(made.store / layout.batch("0", 1), 900)
    out = made.place / "b.zip"
    said = run(made, "bundle", "--from", DAY, "--to", DAY, "--out", str(out), code=1)
    assert "does not verify" in said
    assert not out.exists()


def test_a_proof_that_does_not_hold_is_not_given(made: Deployment) -> None:
    """The first batch is another one, well made, as only the checkpoints behind it tell."""
    first = made.store / layout.batch("0", 0)
    kept = decode(first.read_bytes())
    items = (*kept.items[:-2], kept.items[-1], kept.items[-2])
    root = kept.meta.before.extend([leaf_hash(i.leaf) for i in items]).root()
    first.unlink()
    first.write_bytes(encode(replace(kept, meta=replace(kept.meta, root=root), items=items)))
    assert "not proved" in run(made, "ledger", "proof", "0", code=1)


# --- mask -------------------------------------------------------------------------------


def test_mask_keeps_the_text_and_hides_the_values() -> None:
    done = tallystick("mask", stdin="mail ann@example.com, card 4111 1111 1111 1111\nok\n")
    assert done.returncode == 0
    assert "ann@example.com" not in done.stdout
    assert "4111" not in done.stdout
    assert done.stdout.endswith("\nok\n")


def test_mask_in_json_says_what_and_where() -> None:
    value = {"mail": "ann@example.com", "n": 4111111111111111, "password": {"a": "x"}, "l": ["a", "078-05-1120"]}
    done = tallystick("mask", "--json", stdin=json.dumps({"value": value}) + "\n" + json.dumps({"value": 7}) + "\n")
    masked, seven = lines(done.stdout)
    assert masked["found"] == [
        {"type": "email", "path": "$.mail"},
        {"type": "card", "path": "$.n"},
        {"type": "password", "path": "$.password"},
        {"type": "ssn", "path": "$.l[1]"},
    ]
    assert masked["withheld"] is True
    assert masked["value"]["l"][0] == "a"  # type: ignore[index]
    assert seven == {"value": 7, "found": [], "withheld": False}
    secret = '{"value": "4111111111111111'
    refused = tallystick("mask", "--json", stdin=secret)
    assert refused.returncode == 2
    assert "4111" not in refused.stderr


# --- help -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["sessions", "events", "replay", "bundle", "verify", "mask", "requests", "approve", "deny", "wait"]
    + [f"ledger {c}" for c in ("export", "verify", "proof", "status")],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = tallystick(*command.split(), "--help")
    assert done.returncode == 0
    assert "Example: " in done.stdout


# --- a ledger that lost its end --------------------------------------------------------------


async def bus_saw(made: Deployment, tripwire: str) -> None:
    bus = LocalBus(made.place / "data")
    await bus.producer().send(EVENTS, [(b"r", b"x")])
    consumer = await bus.consumer("ledger-0", [EVENTS])
    (message,) = await consumer.batch(1, 1.0)
    await consumer.commit(message, tripwire)
    await bus.close()


def test_a_sound_ledger_is_not_adopted(made: Deployment) -> None:
    assert "needs no successor" in run(made, "ledger", "adopt", "--reason", "none", code=2)


async def test_a_ledger_that_lost_its_end_goes_on_and_verify_says_the_break(made: Deployment) -> None:
    whole = recover(FileStore(made.store), "0", made.key)
    await bus_saw(made, whole.tripwire("0"))
    for key in (layout.batch("0", 2), layout.checkpoint("0", 2)):
        (made.store / key).unlink()
    assert "is kept with" in run(made, "ledger", "adopt", "--reason", "disk lost, INC-482")
    found = json.loads(run(made, "ledger", "verify", "--json", code=12))
    assert "0-2/batch" in json.dumps(found)
    assert "shard 0-2: 1 entries" in json.dumps(found)
    (entry,) = entries(FileStore(made.store), "0-2")
    assert entry.entry.body == LedgerAdopted(
        "0", *sizes(made), whole.tripwire("0"), "disk lost, INC-482", entry.entry.time_us
    )
    assert "needs no successor" in run(made, "ledger", "adopt", "--reason", "again", code=2)


def sizes(made: Deployment) -> tuple[int, bytes]:
    left = recover(FileStore(made.store), "0", made.key)
    return left.tree.size, left.tree.root()


async def test_a_bundle_says_which_shards_it_has_not(made: Deployment) -> None:
    await bus_saw(made, recover(FileStore(made.store), "0", made.key).tripwire("0"))
    for key in (layout.batch("0", 2), layout.checkpoint("0", 2)):
        (made.store / key).unlink()
    run(made, "ledger", "adopt", "--reason", "disk lost, INC-482")
    asked = ("bundle", "--from", DAY, "--to", DAY, "--config", str(made.config), "--out")
    first = tallystick(*asked, str(made.place / "first.zip"))
    assert "this bundle has 0 alone: make one of 0-2 too" in first.stdout + first.stderr
    second = tallystick(*asked, str(made.place / "second.zip"), "--shard", "0-2")
    assert "this bundle has 0-2 alone: make one of 0 too" in second.stdout + second.stderr
    assert "index.html" in archive.unpack((made.place / "second.zip").read_bytes()).parts
