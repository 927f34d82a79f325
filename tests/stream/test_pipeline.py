"""A journal through both workers: masked events, signed, the same bytes however often they are killed."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from approvals.votes import Directory, cast
from bus.topics import APPROVALS, ASK_GROUP, EVENTS, GRANTS, JOURNAL, MASK_GROUP
from mask.kinds import Detector, Finding
from mask.masker import Masker, Tokens
from mask.normal import View
from policy.rules import parse
from schemas.codec import decode, encode
from schemas.frames import Frame, FrameKind
from schemas.ids import START, HoldId, RecorderId, SessionId, undecoded_source
from schemas.judging import Reviewer
from schemas.records import (
    ApproverRule,
    BootMark,
    Choice,
    CommandKind,
    Decided,
    Decision,
    EventBatch,
    Exchange,
    Grant,
    HeldCommand,
    Hold,
    LedgerEntry,
    MaskingFailed,
    Pending,
    Refusal,
    Result,
    RuleAlerted,
    ScreenDisagrees,
    SessionClosed,
    SessionContext,
    Undecoded,
)
from seal import content, keyfiles
from seal.content import ContentKeys
from seal.digest import approval_id
from seal.event_batch import check_batch
from seal.sign import Signer
from stream.mask_stage import Done
from stream.pipeline import END, Tools
from stream.places import exchange_place, hold_place
from stream.runner import OFFSET, OUTPUTS, STATE
from stream.workers import ApprovalsWorker, Worker, ask_stages, mask_stages
from wire.postgres import messages as m

RECORDER = RecorderId("db.0.aaaaaaaa")
SESSION = SessionId("db.0.aaaaaaaa/0/1")
HOLD = HoldId("hold-" + "1" * 32)
REVIEWER = Signer("ann", b"a" * 32)
RULE = ApproverRule("dba", ("dba",), 1, 3600)


def frame(kind: FrameKind, body: Any, session: int = 1) -> Frame:
    return Frame(5, session, kind, body if isinstance(body, bytes) else encode(body))


def context(version: str) -> Frame:
    known = SessionContext(SESSION, "ci", (), "db", "postgres", "production", "orders", "app", version, "I", 0, 0)
    return frame(FrameKind.CONTEXT, known)


def client(data: bytes) -> Frame:
    return frame(FrameKind.CLIENT, data)


def server(data: bytes) -> Frame:
    return frame(FrameKind.SERVER, data)


ROW = m.frame("D", b"\0\1" + (4).to_bytes(4, "big") + b"4111")
READY = m.ready_for_query("I")


def held(now: int) -> HeldCommand:
    return HeldCommand(
        HOLD, CommandKind.SIMPLE, "DELETE FROM t -- 4111", (), (), (), (), b"m" * 32, b"c" * 32, b"s" * 32, RULE, now,
        now + 300_000_000, False,
    )  # fmt: skip


async def record(journal: Any, bus: Any, version: str) -> None:
    """Five segments: one opens, a query across two, a hold, a poisoned one, a crash."""
    boot = frame(FrameKind.BOOT, BootMark(RECORDER, 0, 1), 0)
    await journal.publish(bus, [boot, context(version), client(m.query(b"SELECT 4111 AS n"))])
    await journal.publish(bus, [context(version), server(ROW + m.frame("C", b"SELECT 1\0") + READY)])
    await journal.publish(bus, [context(version), frame(FrameKind.HOLD, held(bus.now_us))])
    await journal.publish(bus, [frame(FrameKind.CONTEXT, b"?")])
    await journal.publish(bus, [context(version), client(m.query(b"SELECT 1"))])
    await journal.publish(bus, [frame(FrameKind.BOOT, BootMark(RECORDER, 1, 9), 0)], boot=1)


class Killed(Exception):
    pass


async def live(make: Callable[[Callable[[str], None]], Any], deaths: dict[str, int]) -> None:
    """Runs a worker until it has nothing to do; it dies at each named place so many times first."""

    def at(place: str) -> None:
        if deaths.get(place, 0):
            deaths[place] -= 1
            raise Killed

    while True:
        worker = make(at)
        running = asyncio.create_task(worker.run())
        try:
            for _ in range(30):
                await asyncio.sleep(0.001)
                if running.done():
                    break
            worker.stop()
            await running
        except Killed:
            continue
        return


@pytest.fixture
def content_keys(tmp_path: Path, keys: Path) -> ContentKeys:
    return ContentKeys(tmp_path / "content.db", keyfiles.load_secret(keys, "content"))


async def whole(bus: Any, journal: Any, tools: Tools, keys: Path, store: ContentKeys, deaths: dict[str, int]) -> Any:
    masker, enrolled = keyfiles.load_masker(keys), keyfiles.enrolled(keys)
    directory = Directory([Reviewer("ann", REVIEWER.public, ("dba",))])
    approver = keyfiles.load_signer(keys, "approvals")
    if not bus.topics:
        await record(journal, bus, tools.rules.version)
    for group, stages in ((MASK_GROUP, mask_stages), (ASK_GROUP, ask_stages)):
        new = stages(tools, masker, enrolled, store)
        await live(lambda at, group=group, new=new: Worker(bus, group, JOURNAL, new, at), dict(deaths))
    vote = cast(REVIEWER, approval_id(HOLD), b"c" * 32, Choice.APPROVE, bus.now_us + 10**9, "ok", bus.now_us)
    await bus.send(APPROVALS, [(b"", encode(vote))])
    await live(lambda at: ApprovalsWorker(bus, approver, directory, at), dict(deaths))
    return bus


def batches(bus: Any) -> list[EventBatch]:
    found = [decode(message.value) for message in bus.topics[EVENTS]]
    assert all(isinstance(batch, EventBatch) for batch in found)
    return found  # type: ignore[return-value]


def bodies(found: list[EventBatch]) -> list[Any]:
    entries = [decode(event.leaf) for batch in found for event in batch.events]
    assert all(isinstance(entry, LedgerEntry) for entry in entries)
    return [entry.body for entry in entries]  # type: ignore[union-attr]


async def test_a_journal_becomes_masked_signed_events(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    await whole(bus, journal, tools, keys, content_keys, {})
    found = batches(bus)
    for batch in found:
        check_batch(batch, keyfiles.enrolled(keys), bus.now_us)
    ours = [batch for batch in found if batch.source.startswith("journal:")]
    assert ours[0].prior == START
    assert all(later.prior == earlier.last for earlier, later in itertools.pairwise(ours))
    assert {b.last.index for b in ours} == {END}
    told = bodies(ours)
    first = next(body for body in told if isinstance(body, Exchange))
    assert (first.number, first.result, first.rows, first.tag) == (1, Result.EXECUTED, 1, "SELECT *")
    assert [type(body).__name__ for body in told] == ["Exchange", "Hold", "Undecoded", "Exchange", "SessionClosed"]
    assert next(body for body in told if isinstance(body, SessionClosed)).commands == -1


async def test_content_opens_with_the_sessions_key_and_is_masked(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    await whole(bus, journal, tools, keys, content_keys, {})
    key = content_keys.get(SESSION)
    events = [(decode(e.leaf), e.content) for b in batches(bus) for e in b.events]
    exchange = next(e for e in events if isinstance(e[0].body, Exchange))  # type: ignore[union-attr]
    shown = json.loads(content.decrypt(key, exchange_place(SESSION, 1), exchange[1]))
    assert shown["command"]["text"] == "SELECT **** AS n"
    assert shown["answer"]["rows"] == [["****"]]
    hold = next(e for e in events if isinstance(e[0].body, Hold))  # type: ignore[union-attr]
    assert json.loads(content.decrypt(key, hold_place(HOLD), hold[1]))["command"]["text"] == "DELETE FROM t -- ****"


async def test_no_planted_value_is_in_anything_stored_or_sent(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys, tmp_path: Path
) -> None:
    await whole(bus, journal, tools, keys, content_keys, {})
    sent = [m.value for topic in (EVENTS, APPROVALS, GRANTS) for m in bus.topics[topic]]
    stored = [row for table in bus.tables.values() for row in table.values()]
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(b"4111" in raw for raw in [*sent, *stored, *files])


async def test_a_hold_is_answered_and_granted_by_a_vote(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    await journal.publish(bus, [context(tools.rules.version), frame(FrameKind.HOLD, held(bus.now_us))])
    await whole(bus, journal, tools, keys, content_keys, {})
    pending, grant = (decode(message.value) for message in bus.topics[GRANTS])
    assert pending == Pending(HOLD, RECORDER, approval_id(HOLD))
    assert isinstance(grant, Grant)
    assert (grant.hold, grant.first_hold, grant.commitment) == (HOLD, HOLD, b"c" * 32)


async def test_a_new_boot_voids_the_hold_before_the_vote_comes(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    await whole(bus, journal, tools, keys, content_keys, {})
    assert [type(decode(message.value)) for message in bus.topics[GRANTS]] == [Pending, Refusal]


async def test_killed_anywhere_the_distinct_batches_are_the_same_bytes(
    bus: Any, journal: Any, tools: Tools, keys: Path, tmp_path: Path
) -> None:
    store = ContentKeys(tmp_path / "content.db", keyfiles.load_secret(keys, "content"))
    await record(journal, bus, tools.rules.version)
    start = dict(bus.topics)
    seen: list[dict[Any, bytes]] = []
    for deaths in ({}, {OUTPUTS: 2}, {STATE: 2}, {OFFSET: 1}, {OUTPUTS: 1, STATE: 1, OFFSET: 1}):
        bus.topics = {name: list(held_) for name, held_ in start.items()}
        bus.tables, bus.offsets = {}, {}
        await whole(bus, journal, tools, keys, store, deaths)
        distinct: dict[Any, bytes] = {}
        for message in bus.topics[EVENTS]:
            batch = decode(message.value)
            assert isinstance(batch, EventBatch)
            if not batch.source.startswith("journal:"):
                continue
            assert distinct.setdefault((batch.source, batch.last), message.value) == message.value
        seen.append(distinct)
        repeats = len(bus.topics[EVENTS])
        assert repeats >= len(distinct)
    assert all(distinct == seen[0] for distinct in seen)


async def test_a_hold_in_a_topic_that_was_made_again_is_answered_under_a_new_source(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    """Its offsets begin at 0 again: neither the step nor the ledger may take what is in it for known."""
    approver, directory = keyfiles.load_signer(keys, "approvals"), Directory([])
    await journal.publish(bus, [context("v"), frame(FrameKind.HOLD, held(bus.now_us))])
    await whole(bus, journal, tools, keys, content_keys, {})
    raised = bus.topics[APPROVALS][0].value
    before = len(bus.topics[GRANTS])
    bus.cluster = "another"
    bus.topics[APPROVALS], bus.offsets = [], {}
    other = replace(decode(raised), hold=HoldId("hold-" + "2" * 32), match_key=b"n" * 32)
    await bus.send(APPROVALS, [(b"", encode(other))])
    await live(lambda at: ApprovalsWorker(bus, approver, directory, at), {})
    assert [decode(m.value).hold for m in bus.topics[GRANTS][before:]] == [other.hold]
    ours = [b for b in batches(bus) if b.source.startswith("approvals:")]
    assert len({b.source for b in ours}) == 2
    assert ours[-1].prior == START, "so the ledger takes it for new"


async def test_a_screen_that_let_something_through_is_an_alarm(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    version = tools.rules.version
    said = frame(FrameKind.DECISION, Decided(0, Decision.HOLD, "r", HOLD))
    done = server(m.frame("C", b"DROP TABLE\0") + READY)
    await journal.publish(bus, [context(version), client(m.query(b"DROP TABLE t")), done])
    await journal.publish(bus, [context(version), said, client(m.query(b"DROP TABLE t")), done])
    await whole(bus, journal, tools, keys, content_keys, {})
    assert [b for b in bodies(batches(bus)) if isinstance(b, ScreenDisagrees)] == [
        ScreenDisagrees(SESSION, 1, Decision.ALLOW, Decision.HOLD)
    ]


@pytest.mark.parametrize(("began", "alarms"), [("1960-01-01", 1), ("1970-01-01", 0)], ids=["long ago", "just now"])
async def test_a_command_is_judged_by_the_time_of_its_frame(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys, began: str, alarms: int
) -> None:
    """Where a circumstance just began, the screen may have judged by the time before it, and that is no alarm."""
    frozen = parse(f"rules: [{{name: f, when: '\"freeze\" in context', then: deny}}]\notherwise: allow\n"
                   f"context: [{{name: freeze, from: '{began}', until: '2000-01-01', percent: 300}}]")  # fmt: skip
    update, done = client(m.query(b"UPDATE t SET a = 1 WHERE id = 1")), server(m.frame("C", b"UPDATE 1\0") + READY)
    await journal.publish(bus, [context(frozen.version), update, done])
    await whole(bus, journal, replace(tools, rules=frozen), keys, content_keys, {})
    told = bodies(batches(bus))
    assert [body.score for body in told if isinstance(body, Exchange)] == [30]
    assert sum(isinstance(body, ScreenDisagrees) for body in told) == alarms


async def test_a_rule_that_alerts_is_told_of_beside_its_command(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    rules = parse("rules:\n  - {name: changes, when: 'size(command.writes) > 0', then: alert}\notherwise: allow\n")
    frames = [context(rules.version)]
    for text, tag in ((b"UPDATE t SET a = 1 WHERE id = 1", b"UPDATE 1\0"), (b"SELECT 1", b"SELECT 1\0")):
        frames += [client(m.query(text)), server(m.frame("C", tag) + READY)]
    await journal.publish(bus, frames)
    await whole(bus, journal, replace(tools, rules=rules), keys, content_keys, {})
    told = bodies(batches(bus))
    assert [type(body).__name__ for body in told] == ["Exchange", "RuleAlerted", "Exchange"]
    one, said = told[0], told[1]
    assert isinstance(one, Exchange)
    assert said == RuleAlerted(
        SESSION, 1, "changes", "ci", "db", "production", one.effects, one.score, one.band, Result.EXECUTED
    )


async def test_of_a_command_that_a_rule_masks_no_value_is_on_record(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    """Harmless words, that no detector would find: in constants, comments, parameters, rows, COPY data and errors."""
    asks = '"staff" in command.reads || "staff" in command.writes'
    rules = parse(f"rules:\n  - {{name: staff, when: '{asks}', then: mask}}\notherwise: allow\n")
    row = m.frame("D", b"\0\2" + (9).to_bytes(4, "big") + b"plainword" + b"\xff\xff\xff\xff")
    error = m.frame("E", b"SERROR\0C23505\0Mplainword is there\0DKey (n)=(plainword)\0\0")
    bind = b"\0\0" + b"\0\0\0\1" + (9).to_bytes(4, "big") + b"plainword" + b"\0\0"
    answers = m.frame("1", b"") + m.frame("2", b"") + m.frame("C", b"UPDATE 1\0") + READY
    frames = [context(rules.version)]
    update = m.frame("P", b"\0UPDATE staff SET n = $1 WHERE n <> 77123\0\0\0") + m.frame("B", bind)
    done = m.frame("C", b"SELECT 1\0") + READY
    for asked, answered in (
        (m.query(b"SELECT 'plainword', n, NULL FROM staff -- plainword\n WHERE n = 77123"), row + done),
        (update + m.frame("E", b"\0\0\0\0\0") + m.frame("S", b""), answers),
        (m.query(b"COPY staff FROM STDIN"), m.frame("G", b"\0\0\1\0\0")),
        (m.frame("d", b"plainword\t77123\n") + m.frame("c", b""), m.frame("C", b"COPY 1\0") + READY),
        (m.query(b"INSERT INTO staff VALUES ('plainword')"), error + READY),
        (m.query(b"SELECT 'plainword' FRM staff"), done),
    ):
        frames += [client(asked), server(answered)]
    frames.append(frame(FrameKind.HOLD, replace(held(bus.now_us), text="DELETE FROM staff WHERE n = 'plainword'")))
    frames += [client(m.query(b"SELECT 'plainword'")), server(READY)]
    await journal.publish(bus, frames)
    await whole(bus, journal, replace(tools, rules=rules), keys, content_keys, {})
    key = content_keys.get(SESSION)
    events = [event for batch in batches(bus) for event in batch.events]
    shown = [
        json.loads(content.decrypt(key, place, event.content))
        for event in events
        for body in [decode(event.leaf).body]
        if isinstance(body, Exchange | Hold)
        for place in [exchange_place(SESSION, body.number) if isinstance(body, Exchange) else hold_place(body.hold)]
    ]
    told = bodies(batches(bus))
    *exchanges, last = [body for body in told if isinstance(body, Exchange)]
    assert len(exchanges) == 5
    *hidden, usual = shown
    for each in hidden:
        assert "plainword" not in str(each)
        assert "77123" not in str(each)
        assert each["masked_by"] == ["staff"]
    assert all(b"plainword" not in event.leaf for event in events)
    assert [body.withheld for body in exchanges] == [3, 2, 2, 1, 1]
    assert hidden[0]["command"]["text"] == "select ? , n , null from staff where n = ?"
    assert [cell and cell[:10] for cell in hidden[0]["answer"]["rows"][0]] == ["withheld:9", None]
    assert "plainword" in str(usual)
    assert "masked_by" not in usual
    assert last.withheld == 0


class _Failing:
    """A detector's part: it fails on whatever it is shown."""

    def __call__(self, _: View) -> Iterator[Finding]:
        raise ValueError("4111")


async def test_a_value_on_which_a_detector_fails_is_told_of_and_the_stream_goes_on(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    broken = [Detector("broken", (rb"hunter2",), _Failing())]
    tools = replace(tools, masker=lambda session: Masker(Tokens(b"t" * 32, session), detectors=broken))
    row = m.frame("D", b"\0\2" + (10).to_bytes(4, "big") + b"my hunter2" + (1).to_bytes(4, "big") + b"7")
    asked = [client(m.query(b"SELECT 'hunter2', 7")), server(row + m.frame("C", b"SELECT 1\0") + READY)]
    after = [client(m.query(b"SELECT 8")), server(READY)]
    await journal.publish(bus, [context("v"), *asked, *after])
    masker, enrolled, done = keyfiles.load_masker(keys), keyfiles.enrolled(keys), Done()
    make = mask_stages(tools, masker, enrolled, content_keys, done)
    await live(lambda at: Worker(bus, "mask", "journal", make, at), {})
    first, failed, second = bodies(batches(bus))
    assert (first.withheld, second.withheld) == (2, 0)
    assert failed == MaskingFailed(SESSION, 1, "broken", 2)
    assert done.failed == 2
    key = content_keys.get(SESSION)
    assert key is not None
    sealed = batches(bus)[0].events[0].content
    shown = content.decrypt(key, exchange_place(SESSION, 1), sealed)
    assert b"hunter2" not in shown
    assert json.loads(shown)["answer"]["rows"][0][1] == "7"


async def test_what_no_recorder_signed_is_told_of_and_moves_nobody(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    """Whoever may write to the topic could otherwise say "epoch 2,000,000,000" and silence a recorder for ever."""
    asked = [context("v"), client(m.query(b"SELECT 1")), server(READY)]
    await journal.publish(bus, asked)
    forged = replace(journal.segment([context("v")]), epoch=2_000_000_000, signature=b"x" * 64)
    await bus.send("journal", [(b"", encode(forged)), (b"", b"not a record")])
    journal.prior, journal.chunk = (0, 0), 1  # the forged one was not the recorder's
    await journal.publish(bus, asked)
    await whole(bus, journal, tools, keys, content_keys, {OUTPUTS: 1, STATE: 1})
    found = list({(b.source, b.last): b for b in batches(bus)}.values())
    for batch in found:
        check_batch(batch, keyfiles.enrolled(keys), bus.now_us)
    ours = [b for b in found if b.source.startswith("journal:")]
    assert [(b.prior, b.last) for b in ours] == [(START, (0, 0, END)), ((0, 0, END), (0, 1, END))]
    assert [type(b) for b in bodies(ours)] == [Exchange, Exchange]
    others = [b for b in found if b not in ours]
    assert [(b.source, b.prior, b.last) for b in others] == [
        (undecoded_source("memory/journal", 0), START, (1, 0, 0)),
        (undecoded_source("memory/journal", 0), (1, 0, 0), (2, 0, 0)),
    ]
    assert [b.reason for b in bodies(others)] == [
        "the segment is not signed by an enrolled recorder",
        "not a journal segment",
    ]


async def test_a_frame_that_nobody_writes_leaves_what_came_before_it(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    asked = [context("v"), client(m.query(b"SELECT 1")), server(READY), client(m.query(b"SELECT 2"))]
    await journal.publish(bus, [*asked, frame(FrameKind.CONTEXT, b"?"), server(READY)])
    await journal.publish(bus, [context("v"), client(m.query(b"SELECT 3")), server(READY)])
    await whole(bus, journal, tools, keys, content_keys, {})
    found = bodies(batches(bus))
    assert [type(b) for b in found] == [Exchange, Exchange, Undecoded, Exchange]
    exchanges = [b for b in found if isinstance(b, Exchange)]
    assert [(b.number, b.result) for b in exchanges] == [
        (1, Result.EXECUTED),
        (2, Result.UNKNOWN),
        (3, Result.EXECUTED),
    ]
    times = [decode(e.leaf).time_us for b in batches(bus) for e in b.events]  # type: ignore[union-attr]
    assert all(times), "an entry without a time is in no auditor's period"
