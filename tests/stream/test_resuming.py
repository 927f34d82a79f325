"""A reviewer's vote to lift a suspension, at the approvals step: believed by two signatures, or nothing happens."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from approvals.votes import Directory, cast
from bus.topics import APPROVALS, EVENTS, GRANTS, Message
from schemas.codec import decode, encode
from schemas.ids import AlertId, ApprovalId, SessionId, SuspensionId
from schemas.judging import Reviewer
from schemas.records import Choice, Resume, Resumed, Scope, Suspended
from seal import keyfiles
from seal.event_batch import check_batch
from seal.sign import Signer
from seal.suspension import sign_suspension, suspension_digest
from stream.approvals_stage import ApprovalsStage
from stream.resuming import Resuming

ANN = Signer("ann", b"a" * 32)
DIRECTORY = Directory((Reviewer("ann", ANN.public, ("reviewers",)),))
NOW_US = time.time_ns() // 1000 + 3_600_000_000  # keys are good from a minute before they are made, and tests run long


def given(keys: Path, role: str = "behaviour", reason: str = "agreed") -> Resume:
    plain = Suspended(
        SuspensionId("sus-a"), AlertId("alr-a"), Scope.IDENTITY, "ci", SessionId("db.0.a/1/1"), "db", (), NOW_US,
        NOW_US + 10**9, "v", "", b"",
    )  # fmt: skip
    suspended = sign_suspension(keyfiles.load_signer(keys, role), plain)
    digest = suspension_digest(suspended)
    vote = cast(ANN, ApprovalId("sus-a"), digest, Choice.APPROVE, NOW_US + 10**9, reason, NOW_US)
    return Resume(suspended, vote)


@pytest.fixture
def stage(keys: Path) -> ApprovalsStage:
    made = ApprovalsStage(
        keyfiles.load_signer(keys, "approvals"), DIRECTORY, Resuming(keyfiles.enrolled(keys), DIRECTORY, ("reviewers",))
    )
    made.restore({}, "t")
    return made


def message(record: object, offset: int = 0) -> Message:
    return Message(APPROVALS, 0, offset, b"k", encode(record), NOW_US)


def test_it_is_entered_and_told_to_the_gateways_without_the_reasons_words(stage: ApprovalsStage, keys: Path) -> None:
    asked = given(keys)
    entered, told = stage.apply(message(asked))
    assert (entered.topic, told.topic) == (EVENTS, GRANTS)
    batch = decode(entered.value)
    check_batch(batch, keyfiles.enrolled(keys), NOW_US)
    assert batch.recorder == "db.0.a", "in the shard of the session"
    body = decode(batch.events[0].leaf).body
    assert body == decode(told.value) == Resumed(SuspensionId("sus-a"), "ci", replace(asked.vote, reason=""), NOW_US)
    assert stage.apply(message(asked)) == (), "the same message again"
    assert b"applied" in stage.changes()


@pytest.mark.parametrize("role", ["approvals", "gateway", "pipeline", "ledger"])
def test_a_suspension_that_no_behaviour_step_signed_is_none(stage: ApprovalsStage, keys: Path, role: str) -> None:
    assert stage.apply(message(given(keys, role))) == ()


def test_a_vote_that_does_not_count_changes_nothing(stage: ApprovalsStage, keys: Path) -> None:
    asked = given(keys)
    for n, bad in enumerate((
        given(keys, reason=""),
        replace(asked, vote=replace(asked.vote, choice=Choice.DENY)),
        replace(asked, vote=replace(asked.vote, signature=bytes(64))),
        replace(asked, suspended=replace(asked.suspended, until_us=asked.suspended.until_us + 1)),
    )):  # fmt: skip
        assert stage.apply(message(bad, n)) == ()
    assert stage.unreadable == 4
