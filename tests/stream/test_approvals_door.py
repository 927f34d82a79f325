"""What the door lets in and out, and for whom."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from approvals.machine import step
from approvals.state import State
from approvals.votes import Directory, cast
from bus.topics import APPROVALS
from schemas.codec import decode
from schemas.ids import HoldId, RecorderId, SessionId
from schemas.judging import Reviewer
from schemas.records import ApproverRule, Band, Choice, Effect, HoldRaised, RelationSize, Vote
from seal import content
from seal.digest import approval_id
from seal.sign import Signer
from stream.approvals_door import LARGEST_BODY, Door, authorization, vote_json
from stream.places import hold_place

NOW = 1_700_000_000
ANN, EVE, GUS = Signer("ann", b"a" * 32), Signer("ann", b"e" * 32), Signer("gus", b"g" * 32)
DIRECTORY = Directory([Reviewer("ann", ANN.public, ("dba",)), Reviewer("gus", GUS.public, (), break_glass=True)])
HOLD = HoldId("hold-" + "1" * 32)
REQUEST = approval_id(HOLD)
KEY = b"k" * 32


RULE = ApproverRule(
    "dba", ("dba",), 1, 3600, standing_s=9_000, standing_uses=5, any_values=True, break_glass=True, review_s=600
)


def raised() -> HoldRaised:
    shown = {"command": {"text": "DELETE …", "params": []}, "free": ["$1 in WHERE id = ..."]}
    sealed = content.encrypt(KEY, hold_place(HOLD), json.dumps(shown).encode())
    return HoldRaised(
        HOLD, RecorderId("db.0.aaaaaaaa"), 0, SessionId("db.0.aaaaaaaa/0/1"), "ci", "db", "production", b"m" * 32,
        b"c" * 32, RULE, (Effect("delete", "t"),), True, 80, Band.HIGH, ("S:X/Y",),
        "v", NOW * 10**6, (NOW + 300) * 10**6, False, sealed, b"", (), b"k" * 32, b"s" * 32,
        (RelationSize("t", 1204),),
    )  # fmt: skip


@pytest.fixture
def states() -> list[State]:
    """What the step's state was, is: the last."""
    return [step(State(), raised(), NOW * 10**6, DIRECTORY)[0]]


@pytest.fixture
def door(bus: Any, states: list[State]) -> Any:
    made = Door(lambda: states[-1], bus, DIRECTORY, lambda _: KEY, lambda s: {"reason": f"why {s}"}, now=lambda: NOW)
    return httpx.AsyncClient(transport=httpx.ASGITransport(made.app), base_url="http://door")


def signed(path: str, signer: Signer = ANN, at: int = NOW, method: str = "GET") -> dict[str, str]:
    return {"Authorization": authorization(signer, method, path, at)}


def vote(
    signer: Signer = ANN,
    choice: Choice = Choice.APPROVE,
    until: int = NOW + 60,
    uses: int = 1,
    shape: bytes | None = None,
    reason: str = "INC-7",
) -> Vote:
    return cast(signer, REQUEST, b"c" * 32, choice, until * 10**6, reason, NOW * 10**6, uses, shape)


async def test_a_reviewer_reads_the_list_and_all_that_is_known(door: Any) -> None:
    listed = (await door.get("/approvals", headers=signed("/approvals"))).json()["approvals"]
    assert [(r["id"], r["state"], r["waiting"]) for r in listed] == [(REQUEST, "pending", 1)]
    path = f"/approvals/{REQUEST}"
    detail = (await door.get(path, headers=signed(path))).json()
    assert detail["command"] == {"text": "DELETE …", "params": []}
    assert detail["signals"] == [{"id": "S:X/Y", "reason": "why S:X/Y"}]
    assert detail["commitment"] == (b"c" * 32).hex()
    assert (detail["shape"], detail["free"]) == ((b"s" * 32).hex(), ["$1 in WHERE id = ..."])
    assert detail["rule"]["standing_uses"] == 5
    assert detail["uses"] == {"allowed": 1, "kept": 0, "running": 0, "any_values": False}
    assert detail["review"] is None


STRANGERS = [
    ("nothing", {}),
    ("another scheme", {"Authorization": "Bearer x"}),
    ("another key", signed("/approvals", EVE)),
    ("an old signature", signed("/approvals", at=NOW - 301)),
    ("one from the future", signed("/approvals", at=NOW + 301)),
    ("another path's", signed("/approvals/x")),
    ("another method's", signed("/approvals", method="POST")),
    ("no number", {"Authorization": "Tallystick ann ²² AAAA"}),
    ("no base64", {"Authorization": f"Tallystick ann {NOW} %%%"}),
    ("an unknown name", signed("/approvals", Signer("bob", b"a" * 32))),
]


@pytest.mark.parametrize(("what", "headers"), STRANGERS, ids=[row[0] for row in STRANGERS])
async def test_strangers_read_nothing(door: Any, what: str, headers: dict[str, str]) -> None:
    encoded = {name: value.encode() for name, value in headers.items()}
    answer = await door.get("/approvals", headers=encoded)
    assert answer.status_code == 401
    assert "reviewer" in answer.json()["error"]


async def test_anybody_with_the_id_learns_the_state_and_no_more(door: Any) -> None:
    answer = await door.get(f"/approvals/{REQUEST}/state")
    assert set(answer.json()) == {"id", "state", "expires_us"}
    assert (await door.get("/approvals/req-none/state")).status_code == 404


VOTES = [vote(), vote(uses=5, shape=b"s" * 32, until=NOW + 9_000), vote(uses=2)]


@pytest.mark.parametrize("cast_", VOTES, ids=["plain", "standing, any values", "standing"])
async def test_a_vote_goes_to_the_topic_as_it_was_signed(door: Any, bus: Any, cast_: Vote) -> None:
    answer = await door.post(f"/approvals/{REQUEST}/votes", json=vote_json(cast_))
    assert answer.status_code == 202, answer.text
    assert [decode(message.value) for message in bus.topics[APPROVALS]] == [cast_]


async def test_a_vote_of_an_earlier_release_has_neither_uses_nor_shape(door: Any, bus: Any) -> None:
    older = {name: value for name, value in vote_json(vote()).items() if name not in ("uses", "shape")}
    assert (await door.post(f"/approvals/{REQUEST}/votes", json=older)).status_code == 202
    assert [decode(message.value) for message in bus.topics[APPROVALS]] == [vote()]


async def test_broken_glass_and_its_review(door: Any, bus: Any, states: list[State]) -> None:
    path = f"/approvals/{REQUEST}/votes"
    broken = vote(GUS, Choice.BREAK_GLASS, reason="the disk is full")
    review = vote(choice=Choice.OBJECT, reason="it was not full")
    assert (await door.post(path, json=vote_json(review))).status_code == 409, "nothing to review yet"
    assert (await door.post(path, json=vote_json(vote(GUS, Choice.BREAK_GLASS)))).status_code == 403, "too few words"
    assert (await door.post(path, json=vote_json(broken))).status_code == 202
    states.append(step(states[-1], broken, NOW * 10**6, DIRECTORY)[0])
    (one,) = (await door.get("/approvals", headers=signed("/approvals"))).json()["approvals"]
    assert one["review"] == {"by": "gus", "due_us": (NOW + 600) * 10**6, "overdue": False, "said": None}
    assert (await door.post(path, json=vote_json(review))).status_code == 202
    states.append(step(states[-1], review, NOW * 10**6, DIRECTORY)[0])
    detail = (await door.get(f"/approvals/{REQUEST}", headers=signed(f"/approvals/{REQUEST}"))).json()
    assert [(v["reviewer"], v["choice"]) for v in detail["votes"]] == [("gus", "break-glass"), ("ann", "object")]
    assert detail["review"]["said"] == "object"
    assert (await door.post(path, json=vote_json(review))).status_code == 409, "reviewed already"


REFUSED: list[tuple[str, Any, int]] = [
    ("a forged vote", vote_json(vote(EVE)), 403),
    ("a late vote", vote_json(vote(until=NOW)), 403),
    ("another choice than signed", vote_json(vote()) | {"choice": "deny"}, 403),
    ("another reason than signed", vote_json(vote()) | {"reason": "INC-8"}, 403),
    ("no choice", vote_json(vote()) | {"choice": "maybe"}, 400),
    ("a lone surrogate", vote_json(vote()) | {"reason": "\ud800"}, 400),
    ("a long reason", vote_json(vote()) | {"reason": "x" * 2001}, 400),
    ("more uses than signed", vote_json(vote()) | {"uses": 2}, 403),
    ("more uses than the rule has", vote_json(vote(uses=6)), 403),
    ("another shape than the request's", vote_json(vote(shape=b"t" * 32)), 403),
    ("a shape that is no hex", vote_json(vote()) | {"shape": "no"}, 400),
    ("uses that are no number", vote_json(vote()) | {"uses": "2"}, 400),
    ("glass broken without the right", vote_json(vote(choice=Choice.BREAK_GLASS, reason="the disk is full")), 403),
    ("a huge number", vote_json(vote()) | {"deadline_us": 2**63}, 400),
    ("a list", [], 400),
    ("nested lists", "[" * 10_000, 400),
    ("too much", "x" * (LARGEST_BODY + 1), 413),
]


@pytest.mark.parametrize(("what", "body", "status"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_what_is_no_good_vote_reaches_no_topic(door: Any, bus: Any, what: str, body: Any, status: int) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    answer = await door.post(f"/approvals/{REQUEST}/votes", content=raw)
    assert answer.status_code == status
    assert APPROVALS not in bus.topics


async def test_every_answer_has_the_security_headers(door: Any) -> None:
    for answer in (
        await door.get("/approvals"),
        await door.get("/nothing"),
        await door.get(f"/approvals/{REQUEST}/state"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
