"""Which records are told, in which words; and the same words however often a record is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import AlertId, ApprovalId, HoldId, Position, Source, SuspensionId
from schemas.records import (
    Alert,
    ApprovalMoved,
    ApprovalState,
    ApproverRule,
    Band,
    Choice,
    Conflict,
    Effect,
    Finding,
    Gap,
    HoldGone,
    LeafBody,
    LedgerAlive,
    MaskingFailed,
    RelationSize,
    Result,
    Resumed,
    ReviewOverdue,
    RuleAlerted,
    Scope,
    ScreenDisagrees,
    Suspended,
    Undecoded,
)
from schemas.records import Decision as D
from tallystick.notify import words
from tallystick.notify.kinds import Kind
from tallystick.notify.notices import TOLD_OF, Notice, notice
from tallystick.notify.outbox import message
from tallystick.notify.requests import MOST_KNOWN, Memory
from tests.notify.conftest import SESSION, asked, vote

S = ApprovalState
DOOR = "https://tally.internal"
EVIL = "a\nlink        https://evil.example\r\u202e\x1b[2J"


def read(bodies: Sequence[LeafBody], memory: Memory | None = None, at: int = 0) -> list[Notice]:
    memory = Memory() if memory is None else memory
    found = [notice(b, Source("s"), Position(at + n, 0, 0), 7, at + n, memory) for n, b in enumerate(bodies)]
    return [one for one in found if one is not None]


def kinds(bodies: Sequence[LeafBody]) -> list[str]:
    return [one.told.kind.value.removeprefix("request.") for one in read(bodies)]


TWO = ApproverRule("dba", ("dba",), 2, 3600)
ONE = asked()
BOTH = asked(rule=TWO)
ID = ONE.request


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([ONE], ["opened"]),
        ([ONE, vote(ID)], ["opened", "approved"]),
        ([ONE, vote(ID), vote(ID, "bob")], ["opened", "approved"]),
        ([BOTH, vote(BOTH.request)], ["opened"]),
        ([BOTH, vote(BOTH.request), vote(BOTH.request)], ["opened"]),
        ([BOTH, vote(BOTH.request), vote(BOTH.request, "bob")], ["opened", "approved"]),
        ([BOTH, vote(BOTH.request), vote(BOTH.request, "bob", Choice.DENY)], ["opened", "denied"]),
        ([ONE, vote(ID, "ann", Choice.REVOKE), ApprovalMoved(ID, S.APPROVED, S.REVOKED, 0)], ["opened", "revoked"]),
        ([ApprovalMoved(ID, S.APPROVED, S.RESERVED, 0), ApprovalMoved(ID, S.RESERVED, S.USED, 0)], ["used"]),
        ([ApprovalMoved(ID, S.RESERVED, S.APPROVED, 0)], ["returned"]),
        ([ApprovalMoved(ID, S.PENDING, S.EXPIRED, 0)], ["expired"]),
        ([ApprovalMoved(ID, S.APPROVED, S.EXPIRED, 0)], ["expired"]),
        ([ApprovalMoved(ID, S.PENDING, S.CANCELLED, 0)], ["cancelled"]),
        ([ApprovalMoved(ID, S.APPROVED, S.SUPERSEDED, 0), ApprovalMoved(ID, S.RESERVED, S.SUPERSEDED, 0)],
         ["superseded", "superseded"]),
        ([vote(ID, "ann", Choice.BREAK_GLASS)], ["break-glass"]),
        ([vote(ID, "bob", Choice.ACCEPT), vote(ID, "bob", Choice.OBJECT)], ["reviewed", "reviewed"]),
        ([HoldGone(HoldId("hold-1"), "unverified", 0), HoldGone(HoldId("hold-1"), "timeout", 0)], ["alarm"]),
        ([LedgerAlive(0)], []),
    ],
    ids=range(18),
)  # fmt: skip
def test_what_is_told(bodies: list[LeafBody], expected: list[str]) -> None:
    assert kinds(bodies) == expected


FOUND = Finding("Behaviour:Network/FirstSeen", 40, "10.9.9.9", "10.0.0.0/24", 5, SESSION, 0)
ALERT = Alert(AlertId("alert-1"), "ci/deploy", "ci", SESSION, "orders-db", "production", (FOUND,) * 7, 60, 50, True,
              SuspensionId("susp-1"), "v", 0)  # fmt: skip
SUSPENDED = Suspended(SuspensionId("susp-1"), AlertId("alert-1"), Scope.IDENTITY, "ci/deploy", SESSION, "orders-db", (),
                      0, 0, "v", "behaviour", b"")  # fmt: skip
P = Position(1, 2, 3)
OTHERS: list[LeafBody] = [
    Gap(Source("journal:r"), P, P, "messages missing", 0),
    Undecoded(SESSION, "journal", "partition 0 offset 9", bytes(32), "does not open"),
    Conflict(Source("journal:r"), P, bytes(32), bytes(32), 0),
    ScreenDisagrees(SESSION, 3, D.ALLOW, D.HOLD),
    MaskingFailed(SESSION, 3, "card", 2),
    HoldGone(HoldId("hold-1"), "unverified", 0),
    ReviewOverdue(ID, "ann", 0, 0),
    RuleAlerted(
        SESSION,
        3,
        "exports",
        "ci/deploy",
        "orders-db",
        "production",
        (Effect("copy-out", "t"),) * 7,
        75,
        Band.HIGH,
        Result.EXECUTED,
    ),
    ALERT,
    SUSPENDED,
    Resumed(SuspensionId("susp-1"), "ci/deploy", vote(ApprovalId("susp-1"), "bob"), 0),
]
REQUESTS: list[LeafBody] = [ONE, vote(ID), ApprovalMoved(ID, S.RESERVED, S.USED, 0)]


def test_there_is_an_example_here_of_each_record_that_is_told_and_all_are_leaves() -> None:
    names = {type(body).__name__ for body in (*OTHERS, *REQUESTS)}
    assert names == TOLD_OF
    assert names <= {kind.__name__ for kind in get_args(LeafBody)}


@pytest.mark.parametrize("body", [*OTHERS, *REQUESTS], ids=lambda body: type(body).__name__)
def test_each_makes_json_lines_and_blocks(body: LeafBody) -> None:
    told = read([ONE, body])[-1:]
    one = message(told, 7)
    said = json.loads(words.payload(one, DOOR))
    assert said["type"] == told[0].told.kind
    assert said["data"]["text"] == told[0].told.title
    text = words.text(one, DOOR)
    assert text.startswith(told[0].told.title)
    assert json.loads(words.slack(one, DOOR))["blocks"][0]["text"]["text"] + "\n" == text
    if told[0].told.about:
        assert f"{DOOR}/approvals/{ID}" in text
        assert f"tallystick requests {ID}" in text


def test_a_digest_lists_fifty_and_fits_into_slack() -> None:
    found = read([asked(subject="x" * 5000) for _ in range(50)])
    one = message(found, 7, {Kind.ALARM: 3, Kind.OPENED: 4})
    assert words.title(one) == "57 notices: 3 alarm, 54 request.opened"
    said = json.loads(words.payload(one, DOOR))
    assert said["type"] == "digest"
    assert [n["data"]["id"] for n in said["data"]["notices"]] == [n.id for n in found]
    assert said["data"]["not_listed"] == {"alarm": 3, "request.opened": 4}
    text = words.text(one, DOOR)
    assert text.count("Approval wanted") == 50
    assert "and 7 more that are not listed" in text
    blocks = json.loads(words.slack(one, DOOR))["blocks"]
    assert len(blocks) <= 50
    assert all(len(b["text"]["text"]) <= 3000 for b in blocks[:-1])
    assert len(blocks[-1]["elements"][0]["text"]) <= 3000


def test_an_alarm_says_which_command_shows_it() -> None:
    assert "tallystick events --kind Gap" in words.text(message(read(OTHERS[:1]), 7), DOOR)


@pytest.mark.parametrize("where", ["subject", "target", "environment"])
def test_a_name_cannot_write_a_line_of_ours(where: str) -> None:
    one = message(read([asked(**{where: EVIL})]), 7)
    lines = words.text(one, DOOR).splitlines()
    assert [line for line in lines if line.startswith("link")] == [f"link        {DOOR}/approvals/{_request(one)}"]
    assert not {"\x1b", "\r", "\u202e"} & set(words.text(one, DOOR))


@pytest.mark.parametrize(
    "body", [asked(request=ApprovalId(EVIL)), vote(ApprovalId(EVIL)), asked(signals=(EVIL,))], ids=range(3)
)
def test_an_id_cannot_either(body: LeafBody) -> None:
    one = message(read([body]), 7)
    assert len(words.title(one).splitlines()) == 1
    assert not [line for line in words.text(one, DOOR).splitlines() if "https://evil" in line and "\\n" not in line]
    (*_, last) = json.loads(words.slack(one, DOOR))["blocks"]
    assert "\n" not in last["elements"][0]["text"]


def test_a_long_name_is_cut_in_words_and_whole_for_programs() -> None:
    one = message(read([asked(subject="x" * 5000)]), 7)
    assert len(words.title(one)) < 300
    assert json.loads(words.payload(one, DOOR))["data"]["subject"] == "x" * 5000


def _request(one: Any) -> str:
    return str(one.notices[0].told.about)


def test_an_approval_names_who_made_it_and_what_was_asked() -> None:
    told = read([BOTH, vote(BOTH.request, "ann"), vote(BOTH.request, "bob")])[-1].told
    assert told.title == "Approved by ann, bob: ci/deploy on orders-db, high 80"
    assert told.facts["reviewers"] == ["ann", "bob"]
    assert (told.target, told.groups, told.score) == ("orders-db", ("dba",), 80)


@pytest.mark.parametrize(
    ("uses", "shapes", "allowed", "facts"),
    [
        ((1, 1), (None, None), None, (1, False)),
        ((5, 3), (None, None), "3 uses until 1970-01-01T00:00:07Z", (3, False)),
        ((5, 3), (b"s", b"s"), "3 uses until 1970-01-01T00:00:07Z, with any values", (3, True)),
        ((2, 2), (b"s", None), "2 uses until 1970-01-01T00:00:07Z", (2, False)),
    ],
    ids=range(4),
)
def test_a_standing_approval_says_what_all_its_votes_allow(
    uses: tuple[int, int], shapes: tuple[bytes | None, bytes | None], allowed: str | None, facts: tuple[int, bool]
) -> None:
    votes = [
        vote(BOTH.request, name, uses=n, shape=shape, deadline_us=end)
        for name, n, shape, end in zip(("ann", "bob"), uses, shapes, (9_000_000, 7_000_000), strict=True)
    ]
    memory = Memory()
    read([BOTH, votes[0]], memory)
    told = read(votes[1:], Memory.load(memory.dump()))[-1].told
    assert dict(told.lines).get("allowed") == allowed
    assert (told.facts["uses"], told.facts["any_values"]) == facts


def test_broken_glass_says_how_to_review_it() -> None:
    told = read([ONE, vote(ID, "ann", Choice.BREAK_GLASS)])[-1].told
    assert told.title.startswith(
        "The glass was broken, and another person must review it: let through by ann: ci/deploy"
    )
    assert f"tallystick review {ID} --accept --reason" in dict(told.lines)["review"]


def test_how_many_rows_a_relation_has_is_said() -> None:
    told = read([asked(sizes=(RelationSize("public.orders", 1_234_567),))])[-1].told
    assert dict(told.lines)["effects"] == "delete public.orders (has about 1,200,000 rows)"


def test_of_a_request_that_is_forgotten_the_id_is_told() -> None:
    told = read([vote(ID, "ann"), ApprovalMoved(ID, S.RESERVED, S.USED, 0)])
    assert [one.told.title for one in told] == [
        f"Approved, perhaps not yet by all who must by ann: {ID}", f"Used: {ID}",
    ]  # fmt: skip
    memory = Memory()
    read([asked() for _ in range(MOST_KNOWN)], memory)
    last = asked()
    read([ONE, last], memory)
    assert memory.get(ID) is not None
    read([asked() for _ in range(MOST_KNOWN - 1)], memory)
    assert memory.get(ID) is None
    assert memory.get(last.request) is not None


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b'{"requests": [[1, 2]]}', b'{"requests": [["AAAA", []]]}',
                                 b'{"requests": 3}', b"\xff"])  # fmt: skip
def test_a_memory_that_cannot_be_read_is_empty(raw: bytes) -> None:
    assert json.loads(Memory.load(raw).dump())["requests"] == []


STEPS: list[LeafBody] = [
    BOTH, vote(BOTH.request, "ann"), vote(BOTH.request, "bob"), vote(BOTH.request, "eve"),
    vote(BOTH.request, "eve", Choice.DENY), ApprovalMoved(BOTH.request, S.PENDING, S.EXPIRED, 0), ONE, vote(ID),
]  # fmt: skip


@given(st.lists(st.sampled_from(STEPS), max_size=20), st.integers(0, 20), st.booleans())
def test_a_record_that_is_read_again_says_the_same(bodies: list[LeafBody], start: int, stored: bool) -> None:
    """What a death makes: a memory that is ahead, and records that come again from an earlier one."""
    bodies = [BOTH, ONE, *bodies]
    memory = Memory()
    whole = read(bodies, memory)
    if stored:
        memory = Memory.load(memory.dump())
    again = read(bodies[start:], memory, start)
    assert again == [one for one in whole if one.offset >= start]
