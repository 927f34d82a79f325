"""What is asked ahead of the masker: held commands, their ends and boots, of segments that are ours, and no more."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.topics import APPROVALS, EVENTS, JOURNAL, Message
from schemas.codec import decode, encode
from schemas.frames import Frame, FrameKind
from schemas.records import (
    BootMark,
    BootStarted,
    EventBatch,
    Hold,
    HoldEnded,
    HoldGone,
    HoldRaised,
    LedgerEntry,
    RelationSize,
    Statement,
)
from seal import keyfiles
from seal.content import ContentKeys
from seal.segment import sign_segment
from seal.sign import Signer
from stream.ask_stage import Asked, AskStage
from stream.mask_stage import MaskStage
from stream.opening import NoMaskerKey
from stream.pipeline import Tools
from stream.workers import SealedState, ensure_keys
from tests.stream.test_pipeline import HOLD, RECORDER, context, frame, held
from wire.postgres import messages as m

NOW = time.time_ns() // 1000 + 3_600_000_000


@pytest.fixture
def content_keys(tmp_path: Path, keys: Path) -> ContentKeys:
    return ContentKeys(tmp_path / "content.db", keyfiles.load_secret(keys, "content"))


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def stage(keys: Path, tools: Tools, content_keys: ContentKeys, asked: Asked) -> AskStage:
    masker, enrolled = keyfiles.load_masker(keys), keyfiles.enrolled(keys)
    return AskStage(tools, masker.private, enrolled, lambda wanted: ensure_keys(content_keys, wanted), asked)


def message(value: Any) -> Message:
    data = value if isinstance(value, bytes) else encode(value)
    return Message(JOURNAL, 0, 1, RECORDER.encode(), data, NOW)


def a_hold(**more: Any) -> Frame:
    return frame(FrameKind.HOLD, replace(held(NOW), **more))


def test_holds_their_ends_and_boots_are_told_in_journal_order_and_traffic_is_not(
    stage: AskStage, journal: Any, tools: Tools, asked: Asked
) -> None:
    segment = journal.segment(
        [
            frame(FrameKind.BOOT, BootMark(RECORDER, 3, 1), 0),
            context(tools.rules.version),
            frame(FrameKind.CLIENT, m.query(b"select 4111")),
            a_hold(sizes=(RelationSize("public.t", 7), RelationSize('"4111111111111111"', 8))),
            frame(FrameKind.GONE, HoldGone(HOLD, "cancelled", NOW + 1)),
        ],
        boot=3,
    )
    outputs = stage.apply(message(segment))
    assert {(output.topic, output.key) for output in outputs} == {(APPROVALS, RECORDER.encode())}
    boot, raised, ended = (decode(output.value) for output in outputs)
    assert boot == BootStarted(RECORDER, 3)
    assert isinstance(raised, HoldRaised)
    assert (raised.hold, raised.boot, raised.subject, raised.environment) == (HOLD, 3, "ci", "production")
    assert [size.rows for size in raised.sizes] == [7, 8]
    assert raised.sizes[0].relation == "public.t"
    assert ended == HoldEnded(HOLD, RECORDER, "cancelled", NOW + 1)
    assert asked.messages == 3
    assert b"4111" not in b"".join(output.value for output in outputs)
    assert [output.value for output in stage.apply(message(segment))] == [output.value for output in outputs]
    assert stage.changes() == {}


def test_what_is_asked_is_what_the_pipeline_records_later(
    stage: AskStage, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    """The masker gets here from the frames before; the asker from this segment alone."""
    before = journal.segment([context(tools.rules.version), frame(FrameKind.CLIENT, m.query(b"select 1"))])
    prepared = Statement("p", "delete from t", (), b"")
    told = [context(tools.rules.version), frame(FrameKind.STATEMENT, prepared), a_hold(text="execute p")]
    segment = journal.segment(told)
    masker, enrolled = keyfiles.load_masker(keys), keyfiles.enrolled(keys)
    pipeline = MaskStage(
        tools, masker.private, enrolled, lambda w: ensure_keys(content_keys, w), SealedState(masker.privates)
    )
    (raised,) = (decode(output.value) for output in stage.apply(message(segment)))
    recorded = [*pipeline.apply(message(before)), *pipeline.apply(message(segment))]
    assert {output.topic for output in recorded} == {EVENTS}
    batches = [decode(output.value) for output in recorded]
    events = [e for batch in batches if isinstance(batch, EventBatch) for e in batch.events]
    entries = [(decode(event.leaf), event.content) for event in events]
    ((hold, sealed),) = [(e.body, c) for e, c in entries if isinstance(e, LedgerEntry) and isinstance(e.body, Hold)]
    assert isinstance(raised, HoldRaised)
    assert isinstance(hold, Hold)
    same = ("hold", "session", "commitment", "effects", "effects_complete", "score", "band", "signals")
    assert [getattr(hold, name) for name in same] == [getattr(raised, name) for name in same]
    assert "delete" in [effect.effect for effect in raised.effects], "judged by the text that the name stands for"
    assert (hold.content_sha256, sealed) == (raised.content_sha256, raised.content)


def test_a_segment_whose_header_says_that_it_asks_nothing_is_not_opened(stage: AskStage, journal: Any) -> None:
    segment = journal.segment([context("v"), a_hold()])
    assert stage.apply(message(replace(segment, asks=False))) == ()
    assert len(stage.apply(message(segment))) == 1


def test_what_is_not_ours_or_does_not_read_asks_nothing_and_stops_nothing(stage: AskStage, journal: Any) -> None:
    good = journal.segment([context("v"), a_hold()])
    stranger = sign_segment(Signer("gateway", b"x" * 32), good)
    poison = journal.segment([frame(FrameKind.CONTEXT, b"?"), a_hold()])
    torn = replace(good, chunks=(good.chunks[0][:-1],))
    for value in (b"", b"no record", held(NOW), stranger, poison, torn):
        assert list(stage.apply(message(value))) == []
    assert len(stage.apply(message(good))) == 1


def test_frames_before_one_that_no_recorder_writes_still_ask(stage: AskStage, journal: Any) -> None:
    """As the pipeline records them."""
    segment = journal.segment([context("v"), a_hold(), frame(FrameKind.STATEMENT, b"?"), a_hold()])
    assert len(stage.apply(message(segment))) == 1


def test_without_the_masker_key_nothing_is_skipped(stage: AskStage, journal: Any) -> None:
    segment = journal.segment([context("v"), a_hold()])
    other = sign_segment(keyfiles.load_signer(journal.keys, "gateway"), replace(segment, masker_key="another"))
    with pytest.raises(NoMaskerKey):
        stage.apply(message(other))
