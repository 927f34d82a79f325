"""What a reviewer sees and signs, and what a waiting job is told: against the real door, over HTTP."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from approvals.machine import step
from approvals.state import State
from approvals.votes import Directory
from schemas.codec import decode
from schemas.ids import HoldId, RecorderId, SessionId
from schemas.judging import Reviewer
from schemas.records import (
    ApprovalState,
    ApproverRule,
    Band,
    BootStarted,
    Choice,
    Effect,
    HoldEnded,
    HoldRaised,
    RelationSize,
    Tick,
    Vote,
)
from seal import content, keyfiles
from seal.digest import approval_id
from stream.approvals_door import Door
from stream.places import hold_place
from tallystick.asked import Asked
from tallystick.cli_votes import deadline
from tests.seal.agents import Agent, agent
from tests.tallystick.deployment import EVIL, tallystick
from tests.tallystick.test_cli_keys import typed

__all__ = ["agent"]

KEY = b"k" * 32
HOLD = HoldId("hold-" + "1" * 32)
REQUEST = approval_id(HOLD)
COMMITMENT = bytes(range(32))
HOUR_US = 3600 * 10**6


@dataclass
class Approvals:
    """The door, and the step behind it, as the approvals role puts them together."""

    directory: Directory
    state: State = field(default_factory=State)
    votes: list[Vote] = field(default_factory=list)
    url: str = ""
    later_us: int = 0

    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        for _, value in items:
            vote = decode(value)
            assert isinstance(vote, Vote)
            self.votes.append(vote)
            self.step(vote)

    def step(self, given: HoldRaised | HoldEnded | Vote | BootStarted | Tick) -> None:
        self.state, _ = step(self.state, given, time.time_ns() // 1000 + self.later_us, self.directory)

    def raised(
        self,
        text: str = "DELETE FROM job_log",
        params: Sequence[str] = (),
        quorum: int = 1,
        shape: bytes | None = None,
        **allowed: Any,
    ) -> None:
        now = time.time_ns() // 1000
        shown = {"command": {"text": text, "params": list(params)}, "free": [f"$1 in WHERE id{EVIL} = ..."]}
        plain = json.dumps(shown).encode()
        sealed = content.encrypt(KEY, hold_place(HOLD), plain)
        self.step(
            HoldRaised(
                HOLD, RecorderId("db.0.aaaaaaaa"), 0, SessionId("db.0.aaaaaaaa/0/1"), "ci/deploy", "orders-db",
                "production", b"m" * 32, COMMITMENT, ApproverRule("destructive", ("dba",), quorum, 3600, **allowed),
                (Effect("delete", "public.job_log"),), True, 80, Band.HIGH, ("Loss:Postgres/DeleteAll",), "v", now,
                now + 300 * 10**6, False, sealed, b"", (), None if shape is None else b"k" * 32, shape,
                (RelationSize("public.job_log", 1204),),
            )
        )  # fmt: skip


@dataclass(frozen=True)
class Desk:
    """Reviewer Ann's desk: her key, a stranger's, a config."""

    place: Path
    approvals: Approvals
    ann: Path
    eve: Path
    config: Path

    def run(self, *arguments: str, key: Path | None = None, code: int = 0) -> str:
        named = ("--key", str(key or self.ann)) if arguments[0] != "wait" else ()
        done = tallystick(*arguments, *named, "--config", str(self.config))
        assert done.returncode == code, done.stdout + done.stderr
        for c in EVIL:
            assert c.isprintable() or c not in done.stdout + done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def key(self, name: str) -> Path:
        return self.place / f"{name}.key"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    public = {name: keyfiles.new_reviewer(tmp_path / f"{name}.key") for name in ("ann", "bob", "eve")}
    listed = "".join(f'  - {{name: {n}, key: "{public[n]}", groups: [dba, reviewers]}}\n' for n in ("ann", "bob"))
    (tmp_path / "policy.yaml").write_text(f"reviewers:\n{listed}rules: []\notherwise: allow\n")
    known = [keyfiles.load_reviewer(tmp_path / f"{n}.key", n) for n in ("ann", "bob")]
    people = [Reviewer(s.name, s.public, ("dba",), break_glass=s.name == "bob") for s in known]
    approvals = Approvals(Directory(people))
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    approvals.url = f"http://{host}:{port}"
    config = tmp_path / "tallystick.toml"
    config.write_text(f'policy = "policy.yaml"\napprovals = "{host}:{port}"\n')
    door = Door(
        lambda: approvals.state, approvals, directory=approvals.directory, content_key=lambda _: KEY,
        explain=lambda s: {
            "reason": f"{s} takes all rows{EVIL}", "instead": "add a WHERE", "reference": "https://docs.example/delete"
        },
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(door.app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield Desk(tmp_path, approvals, tmp_path / "ann.key", tmp_path / "eve.key", config)
    server.should_exit = True
    thread.join(10)


# --- reading ----------------------------------------------------------------------------


def test_a_reviewer_lists_what_waits(desk: Desk) -> None:
    assert desk.run("requests") == ""
    desk.approvals.raised()
    listed = desk.run("requests")
    for said in (REQUEST, "pending", "ci/deploy", "orders-db", "delete public.job_log", "high 80"):
        assert said in listed
    (one,) = [json.loads(line) for line in desk.run("requests", "--json").splitlines()]
    assert (one["id"], one["state"]) == (REQUEST, "pending")


def test_one_request_is_shown_whole(desk: Desk) -> None:
    desk.approvals.raised("DELETE\nFROM job_log", ["7"])
    shown = desk.run("requests", REQUEST)
    assert "│ DELETE\n│ FROM job_log\n│ $1 = '7'\n" in shown
    assert f"commitment  {COMMITMENT.hex()[:16]}…" in shown
    assert "effects     delete public.job_log (has about 1,200 rows)\n" in shown
    assert "instead: add a WHERE" in shown
    assert "see: https://docs.example/delete" in shown
    assert json.loads(desk.run("requests", REQUEST, "--json"))["commitment"] == COMMITMENT.hex()


def test_a_stranger_reads_nothing_and_is_told_what_to_do(desk: Desk) -> None:
    said = desk.run("requests", key=desk.eve, code=2)
    assert "reviewer's key" in said
    assert "tallystick keys reviewer" in desk.run("requests", key=desk.place / "none.key", code=2)
    desk.ann.chmod(0o644)
    assert "chmod 600" in desk.run("requests", code=2)


def test_a_name_may_be_said_and_must_be_the_keys_own(desk: Desk) -> None:
    moved = desk.place / "reviewer.key"
    moved.write_text(desk.ann.read_text())
    moved.chmod(0o600)
    assert desk.run("requests", key=moved) == ""  # found in the policy, by the key
    assert desk.run("requests", "--name", "ann", key=moved) == ""
    desk.run("requests", "--name", "bob", key=moved, code=2)
    done = tallystick("requests", "--config", str(desk.config), TALLYSTICK_REVIEWER_KEY=str(desk.ann))
    assert done.returncode == 0, done.stderr
    (desk.place / ".tallystick").mkdir()
    moved.rename(desk.place / ".tallystick" / "reviewer.key")
    done = tallystick("requests", "--config", str(desk.config), HOME=str(desk.place))
    assert done.returncode == 0, done.stderr


def test_a_key_may_stay_in_ssh_agent(desk: Desk, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Path("ssh-agent")
    assert "SSH_AUTH_SOCK is not set" in desk.run("requests", key=inside, code=2)
    monkeypatch.setenv("SSH_AUTH_SOCK", agent.at)
    assert "no such Ed25519 key" in desk.run("requests", key=inside, code=2)
    agent.take(base64.b64decode(desk.ann.read_text()), "work")
    agent.make("home")
    listed = tallystick("keys", "agent").stdout.splitlines()
    assert [line.split()[-1] for line in listed] == ["work", "home"]
    assert listed[0].split()[0] in (desk.place / "policy.yaml").read_text()
    desk.ann.unlink()
    desk.approvals.raised()
    assert REQUEST in desk.run("requests", key=inside)  # of the two the policy knows one
    assert "reviewer's key" in desk.run("requests", key=Path("ssh-agent:home"), code=2)
    assert "counted" in desk.run("approve", REQUEST, "--reason", "INC-7", "--yes", key=Path("ssh-agent:work"))
    assert [vote.reviewer for vote in desk.approvals.votes] == ["ann"]
    agent.ssh_add("-q", "-D")
    assert "no such Ed25519 key" in desk.run("requests", key=inside, code=2)


# --- voting -----------------------------------------------------------------------------


def test_an_approval_shows_what_it_signs_and_is_counted(desk: Desk) -> None:
    desk.approvals.raised("DELETE FROM job_log", ["x"])
    shown = desk.run("approve", REQUEST, "--reason", "INC-7", "--yes")
    for said in (
        "ci/deploy", "orders-db", "│ DELETE FROM job_log", "│ $1 = 'x'", "delete public.job_log", "high 80",
        "Loss:Postgres/DeleteAll", "takes all rows", COMMITMENT.hex()[:16], "counted; the request is reserved",
    ):  # fmt: skip
        assert said in shown
    (vote,) = desk.approvals.votes
    assert (vote.reviewer, vote.choice, vote.commitment, vote.reason) == ("ann", Choice.APPROVE, COMMITMENT, "INC-7")
    assert 0 < vote.deadline_us - vote.cast_us <= HOUR_US


def test_a_denial_is_counted_and_ends_it(desk: Desk) -> None:
    desk.approvals.raised()
    assert "the request is denied" in desk.run("deny", REQUEST, "--reason", "no", "--yes")
    assert "nothing to approve" in desk.run("approve", REQUEST, "--reason", "yes", "--yes", code=1)
    assert [v.choice for v in desk.approvals.votes] == [Choice.DENY]


def test_a_revocation_takes_back_what_others_approved(desk: Desk) -> None:
    desk.approvals.raised(quorum=2)
    desk.run("approve", REQUEST, "--reason", "a", "--yes")
    said = desk.run("revoke", REQUEST, "--reason", "the freeze", "--yes", key=desk.key("bob"))
    assert "your revoke is counted; the request is revoked" in said
    assert "nothing to revoke" in desk.run("revoke", REQUEST, "--reason", "x", "--yes", code=1)
    assert [v.choice for v in desk.approvals.votes] == [Choice.APPROVE, Choice.REVOKE]


# --- standing approvals and broken glass ----------------------------------------------------

STANDING = {"standing_s": 7 * 86_400, "standing_uses": 30, "any_values": True}
SHAPE = bytes(range(100, 132))


def day(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def test_a_standing_approval_shows_what_is_free_and_signs_no_more_than_was_said(desk: Desk) -> None:
    desk.approvals.raised("DELETE FROM job_log WHERE id = $1", ["7"], shape=SHAPE, **STANDING)
    more = ("--standing", "--until", day(3), "--uses", "5")
    shown = desk.run("approve", REQUEST, "--reason", "nightly", "--yes", *more, "--any-values")
    for said in (
        "up to 30 uses in 7 days, with any values", "free        $1 in WHERE id", "only with --any-values",
        f"you allow   5 uses until {day(4)}T00:00:00Z, with any values in the free places",
        "the request is approved (standing: used 0 of 5, any values)",
    ):  # fmt: skip
        assert said in shown
    (vote,) = desk.approvals.votes
    assert (vote.uses, vote.shape, vote.commitment) == (5, SHAPE, COMMITMENT)
    assert "approved (standing: used 0 of 5, any values)" in desk.run("requests")


def test_without_any_values_these_alone_are_signed(desk: Desk) -> None:
    desk.approvals.raised(shape=SHAPE, quorum=2, **STANDING)
    shown = desk.run(
        "approve", REQUEST, "--reason", "n", "--yes", "--standing", "--until", day(1) + "T00:00:00Z", "--uses", "2"
    )
    assert "with exactly these values" in shown
    assert [(v.uses, v.shape) for v in desk.approvals.votes] == [(2, None)]


WRONG = [
    (("--standing", "--uses", "2"), 2, "say until when, and how often"),
    (("--uses", "2"), 2, "add --standing"),
    (("--any-values",), 2, "add --standing"),
    (("--standing", "--uses", "2", "--until", "tomorrow"), 2, "not a day or a time"),
    (("--standing", "--uses", "31", "--until", day(1)), 1, "at most 30"),
    (("--standing", "--uses", "2", "--until", day(8)), 1, "at most 7 days"),
    (("--standing", "--uses", "2", "--until", "2020-01-01"), 1, "at most 7 days"),
    (("--standing", "--uses", "2", "--until", day(1), "--any-values"), 1, "does not allow it"),
]


def test_what_the_rule_does_not_allow_is_not_signed(desk: Desk) -> None:
    desk.approvals.raised(**STANDING)
    for more, code, why in WRONG:
        assert why in desk.run("approve", REQUEST, "--reason", "x", "--yes", *more, code=code), more
    assert desk.approvals.votes == []


def test_glass_is_broken_by_who_may_and_reviewed_by_another(desk: Desk) -> None:
    desk.approvals.raised(quorum=2, break_glass=True, review_s=60)
    assert "there is nothing to review" in desk.run(
        "review", REQUEST, "--accept", "--reason", "it was right so", "--yes", code=1
    )
    said = desk.run("break-glass", REQUEST, "--reason", "the disk is full", "--yes", code=1)
    assert "may not break the glass" in said
    said = desk.run("break-glass", REQUEST, "--reason", "the disk is full", "--yes", key=desk.key("bob"))
    assert "glass       may be broken" in said
    assert "the request is reserved BREAK-GLASS, review due" in said
    assert desk.run("wait", REQUEST) == f"{REQUEST}: reserved\n"
    mine = ("review", REQUEST, "--accept", "--reason", "it was right so", "--yes")
    assert "nobody approves their own" in desk.run(*mine, key=desk.key("bob"), code=1)
    desk.approvals.later_us = 61 * 10**6
    desk.approvals.step(Tick())
    assert "BREAK-GLASS, review OVERDUE" in desk.run("requests")
    said = desk.run("review", REQUEST, "--object", "--reason", "it was not full", "--yes")
    assert "BREAK-GLASS approved by bob alone; OVERDUE review: by another person until" in said
    assert "reviewed: object" in said
    assert [v.choice for v in desk.approvals.votes] == [Choice.BREAK_GLASS, Choice.OBJECT]


@pytest.mark.parametrize(("apart_s", "off_s"), [(0, 0), (-299, 0), (299, 0), (-900, 600), (900, -600)])
def test_a_vote_ends_by_the_clock_that_counts_and_a_lying_one_is_not_believed(apart_s: int, off_s: int) -> None:
    """`apart_s`: the door's clock from the reviewer's; `off_s`: the vote's end from the rule's."""
    now = 10**15
    theirs = now + apart_s * 10**6
    asked = Asked(
        **{f.name: None for f in dataclasses.fields(Asked)} | {"now_us": theirs, "opened_us": 5, "expires_us": 65}
    )
    assert deadline(asked, now) == theirs + 60 + off_s * 10**6


def test_a_quorum_of_two_needs_two(desk: Desk) -> None:
    desk.approvals.raised(quorum=2)
    assert "the request is pending" in desk.run("approve", REQUEST, "--reason", "a", "--yes")
    second = desk.run("approve", REQUEST, "--reason", "b", "--yes", key=desk.key("bob"))
    assert "vote        ann: approve\n│ a\n" in second
    assert "the request is reserved" in second


def test_without_a_terminal_nothing_is_signed_unless_yes(desk: Desk) -> None:
    desk.approvals.raised()
    assert "--yes" in desk.run("approve", REQUEST, "--reason", "x", code=2)
    assert desk.approvals.votes == []


@pytest.mark.parametrize(("typed", "code", "votes"), [(b"y\n", 0, 1), (b"n\n", 1, 0), (b"\n", 1, 0), (b"yess\n", 1, 0)])
def test_on_a_terminal_it_asks(desk: Desk, typed: bytes, code: int, votes: int) -> None:
    desk.approvals.raised()
    ours, theirs = pty.openpty()
    arguments = ["approve", REQUEST, "--reason", "x", "--key", str(desk.ann), "--config", str(desk.config)]
    done = subprocess.Popen(
        [sys.executable, "-m", "tallystick", *arguments],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.write(ours, typed)
    out, err = done.communicate(timeout=60)
    assert done.returncode == code, out + err
    assert b"Sign approve as ann? [y/N]" in err
    assert len(desk.approvals.votes) == votes
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(("passphrase", "code", "votes"), [("correct horse", 0, 1), ("correct mouse", 2, 0)])
def test_a_key_with_a_passphrase_votes_when_it_is_typed(desk: Desk, passphrase: str, code: int, votes: int) -> None:
    desk.approvals.raised()
    keyfiles.set_passphrase(desk.ann, lambda: "", lambda: "correct horse")
    arguments = ["approve", REQUEST, "--reason", "x", "--yes", "--key", str(desk.ann), "--config", str(desk.config)]
    assert typed(arguments, passphrase)[0] == code
    assert len(desk.approvals.votes) == votes
    assert "is asked for at a terminal" in desk.run("approve", REQUEST, "--reason", "x", "--yes", code=2)


HOSTILE = [
    ("a bidi override", "DELETE FROM a\u202e", "\\u202e"),
    ("letters from right to left", "DELETE FROM \u05d0\u05d1 WHERE 1", "\\u05d0\\u05d1"),
    ("a carriage return", "SELECT 1\rDELETE", "│ SELECT 1\\rDELETE"),
    ("an escape sequence", "SELECT 1 -- \x1b[2J\x1b[H", "\\x1b[2J"),
    ("a zero-width space", "DE\u200bLETE", "DE\\u200bLETE"),
    ("a forged label", "x\neffects     none", "│ effects     none"),
    ("a look-alike", "DELETE FROM \u043erders", "U+043E CYRILLIC SMALL LETTER O"),
]


@pytest.mark.parametrize(("what", "text", "seen"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_what_a_machine_wrote_cannot_fool_its_reviewer(desk: Desk, what: str, text: str, seen: str) -> None:
    desk.approvals.raised(text, [EVIL])
    shown = desk.run("approve", REQUEST, "--reason", "x", "--yes")
    assert seen in shown
    assert not any(line.startswith("effects     none") for line in shown.splitlines())


def test_what_is_not_shown_is_said_loudly(desk: Desk) -> None:
    desk.approvals.raised("SELECT 1\n" + "\n" * 5_000 + "DELETE FROM t")
    shown = desk.run("approve", REQUEST, "--reason", "x", "--yes")
    assert "4902 LINES ARE NOT SHOWN HERE" in shown
    assert "│ DELETE FROM t" in shown
    assert len(desk.run("requests", REQUEST).splitlines()) > 5_000


def test_an_erased_text_is_never_shown_as_an_empty_one(desk: Desk) -> None:
    desk.approvals.raised()
    (request,) = desk.approvals.state.requests.values()
    blank = replace(request, raised=replace(request.raised, content=b"gone"))
    desk.approvals.state = replace(desk.approvals.state, requests={request.id: blank})
    assert "ITS TEXT WAS ERASED" in desk.run("requests", REQUEST)


def test_wrong_ids_reach_no_door(desk: Desk) -> None:
    for wrong in ("req-x", "../approvals", "req-abcdefghijklmno/", "hold-" + "1" * 32):
        assert "looks like" in desk.run("approve", wrong, "--reason", "x", "--yes", code=2)
    assert "no approval request" in desk.run("approve", "req-" + "a" * 16, "--reason", "x", "--yes", code=2)


def test_a_reason_too_long_is_refused_before_it_is_signed(desk: Desk) -> None:
    desk.approvals.raised()
    assert "2001 characters" in desk.run("approve", REQUEST, "--reason", "x" * 2001, "--yes", code=2)


def test_a_proxy_in_the_environment_sees_nothing(desk: Desk) -> None:
    proxy = "http://127.0.0.1:1"
    done = tallystick(
        "requests", "--key", str(desk.ann), "--config", str(desk.config), http_proxy=proxy, HTTP_PROXY=proxy,
        ALL_PROXY=proxy,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_door_in_the_clear_is_warned_of(desk: Desk) -> None:
    done = tallystick("requests", "--key", str(desk.ann), "--config", str(desk.config), "--url", "http://192.0.2.1:1")
    assert done.returncode == 1
    assert "another command than you sign" in done.stderr
    assert "cannot be reached" in done.stderr
    done = tallystick("requests", "--key", str(desk.ann), "--name", "ann", "--url", desk.approvals.url)
    assert done.returncode == 0, done.stderr  # a reviewer's own machine has no config


# --- waiting ----------------------------------------------------------------------------


def ended(approvals: Approvals, state: ApprovalState) -> None:
    request = approvals.state.requests[REQUEST]
    approvals.state = replace(approvals.state, requests={REQUEST: replace(request, state=state)})


STATES = [
    *(("approved", 0), ("reserved", 0), ("used", 0), ("denied", 3), ("revoked", 3)),
    *(("expired", 4), ("cancelled", 4), ("superseded", 4)),
]


@pytest.mark.parametrize(("state", "code"), STATES)
def test_a_job_waits_for_the_answer_without_a_key(desk: Desk, state: str, code: int) -> None:
    desk.approvals.raised()
    ended(desk.approvals, ApprovalState(state))
    assert desk.run("wait", REQUEST, code=code) == f"{REQUEST}: {state}\n"
    said = json.loads(desk.run("wait", REQUEST, "--json", code=code))
    assert said == {"request": REQUEST, "state": state, "exit": code}


def test_a_wait_ends_when_the_answer_comes(desk: Desk) -> None:
    desk.approvals.raised()
    timer = threading.Timer(1.5, ended, (desk.approvals, ApprovalState.APPROVED))
    timer.start()
    assert "approved" in desk.run("wait", REQUEST, "--timeout", "30")


def test_no_answer_exits_5(desk: Desk) -> None:
    desk.approvals.raised()
    assert "no answer within 1 s" in desk.run("wait", REQUEST, "--timeout", "1", code=5)
    unknown = "req-" + "b" * 16  # the client may know its id before the door does
    assert "no answer" in desk.run("wait", unknown, "--timeout", "1", code=5)
    assert "cannot be reached" in desk.run("wait", REQUEST, "--timeout", "1", "--url", "http://127.0.0.1:1", code=5)


@pytest.fixture
def impostor() -> Iterator[Any]:
    """Something else that answers where the door should."""
    answers: list[tuple[bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kind, body = answers[-1]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", answers
    server.should_exit = True
    thread.join(10)


WRONG_ANSWERS = [
    b"<html>",
    b"[]",
    b"{}",
    b'{"id": "req-cccccccccccccccc"}',
    b"[" * 100_000,
    b'{"approvals": 7}',
    b'{"approvals": [{}]}',
]


def test_what_is_no_door_is_told_apart_and_never_voted_at(desk: Desk, impostor: Any) -> None:
    url, answers = impostor
    for body in WRONG_ANSWERS:
        answers.append((b"application/json", body))
        for command in (["requests"], ["approve", REQUEST, "--reason", "x", "--yes"]):
            if body == b"{}" and command == ["requests"]:
                continue
            said = desk.run(*command, "--url", url, code=1)
            assert len(said.splitlines()) == 1
            assert "Traceback" not in said


def test_an_answer_about_another_request_is_not_signed(desk: Desk, impostor: Any) -> None:
    desk.approvals.raised()
    url, answers = impostor
    whole = json.loads(desk.run("requests", REQUEST, "--json"))
    answers.append((b"application/json", json.dumps({**whole, "id": "req-" + "c" * 16}).encode()))
    assert "another request" in desk.run("approve", REQUEST, "--reason", "x", "--yes", "--url", url, code=1)
    answers.append((b"application/json", json.dumps({**whole, "commitment": "00"}).encode()))
    assert "another request" in desk.run("approve", REQUEST, "--reason", "x", "--yes", "--url", url, code=1)
