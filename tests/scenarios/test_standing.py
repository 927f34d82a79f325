"""Standing approvals and broken glass through the whole system: psycopg, the CLI, the ledger, the bundle."""

from __future__ import annotations

import csv
import io
import json
import time
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from schemas.records import ApprovalMoved, Choice, Grant, Released, ReviewOverdue, Vote
from seal import keyfiles
from tests.scenarios.conftest import BOTH, Deployment, Make
from tests.scenarios.test_hold import Running, _count, _table

HOLD = "hold = {wire_seconds = 100.0, lookup_seconds = 5.0, notice_seconds = 5.0}"
RULE = """
  - {name: deletes, when: 'command.effects.exists(e, e.effect == "delete")', then: hold, approvers: default}
otherwise: allow
"""
ALLOWS = """reason_required: false
    standing: {max_days: 31, max_uses: 40, any_values: true}
    break_glass: {review_within: 1s}
"""
JOB = "delete from t where n = %s"
TWO_DAYS = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")


@pytest.fixture
def running(deploy: Make) -> Deployment:
    """alice reviews; bob, who is on call, may break the glass."""
    deployment = deploy(more_gateway=HOLD, policy=RULE)
    policy = deployment.place / "policy.yaml"
    bob = keyfiles.new_reviewer(deployment.place / "bob.key")
    text = policy.read_text().replace("reason_required: false\n", ALLOWS)
    text = text.replace("reviewers:\n", f'reviewers:\n  - {{name: bob, key: "{bob}", groups: [], break_glass: true}}\n')
    policy.write_text(text)
    deployment.up.start()
    _table(deployment, "t")
    return deployment


def says(deployment: Deployment, word: str, request: str, *more: str, name: str = "alice", reason: str = "") -> Any:
    """As a reviewer would; the client hears of its hold a moment before the door knows of the request."""
    key = deployment.made.reviewer_key if name == "alice" else deployment.place / f"{name}.key"
    reason = reason or "agreed with the team"
    end = time.monotonic() + 20
    while True:
        who = ("--key", str(key), "--name", name)
        said = deployment.tallystick(word, request, "--reason", reason, "--yes", *more, *who)
        if "no approval request" not in said.stderr or time.monotonic() > end:
            return said


def listed(deployment: Deployment, request: str) -> dict[str, Any]:
    lines = deployment.reviewer("requests", "--json").stdout.splitlines()
    return next(one for line in lines if (one := json.loads(line))["id"] == request)


def bundle(deployment: Deployment) -> zipfile.ZipFile:
    """Of everything, after it was verified."""
    out = deployment.place / "bundle.zip"
    made = deployment.tallystick(
        "bundle", "--from", "2020-01-01", "--to", "2099-01-01", "--seed", "s", "--out", str(out)
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return zipfile.ZipFile(out)


def parts(found: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(found.read(name).decode())))


@pytest.mark.timeout(240)
def test_a_nightly_job_runs_as_often_as_was_signed_with_any_values(running: Deployment) -> None:
    with psycopg.connect(running.url, autocommit=True) as db:
        one = Running(db, JOB, (1,)).start().held()
        shown = says(running, "approve", one.request, "--standing", "--until", TWO_DAYS, "--uses", "3", "--any-values")
        assert shown.returncode == 0, shown.stderr
        assert "free        $1 in WHERE n = ..." in shown.stdout
        assert "3 uses until" in shown.stdout
        assert one.ended().rows == 1, one.error
    running.up.stop()  # what was used is not forgotten
    running.up.start()
    with psycopg.connect(running.url) as db:  # both in one transaction, which is used by then
        assert [Running(db, JOB, (n,)).start().ended().rows for n in (2, 3)] == [1, 1]
        db.commit()
    with psycopg.connect(running.url, autocommit=True) as db:
        for sql, values in ((JOB, (4,)), ("delete from t where n > %s", (4,))):  # used up; and another shape
            other = Running(db, sql, values).start().held()
            assert other.request != one.request
            db.cancel_safe()
            assert other.ended().error == "57014"
    assert _count(running, "t") == 7
    said = listed(running, one.request)
    assert (said["state"], said["uses"]["kept"], said["uses"]["any_values"]) == ("used", 3, True)
    assert "used (standing: used 3 of 3, any values)" in running.reviewer("requests").stdout
    running.up.stop()
    bodies = [entry.body for entry in running.entries()]
    assert [b.use for b in bodies if isinstance(b, Grant)] == [1, 2, 3]
    assert [b.use for b in bodies if isinstance(b, Released)] == [1, 2, 3]
    assert [b.after.value for b in bodies if isinstance(b, ApprovalMoved) and b.request == one.request] == [
        "reserved",
        "used",
    ]
    found = bundle(running)
    (row,) = parts(found, "standing.csv")
    assert (row["request"], row["used"], row["allowed"], row["any_values"]) == (one.request, "3", "3", "True")
    assert "3 of 3" in found.read("index.html").decode()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("backing", BOTH, indirect=True)
def test_a_standing_approval_is_for_exactly_this_text_unless_values_are_free_and_a_revocation_wins(
    running: Deployment,
) -> None:
    with psycopg.connect(running.url, autocommit=True) as db:
        one = Running(db, JOB, (1,)).start().held()
        more = ("--standing", "--until", TWO_DAYS, "--uses")
        refused = says(running, "approve", one.request, *more, "41")
        assert (refused.returncode, "at most 40" in refused.stderr) == (1, True)
        assert says(running, "approve", one.request, *more, "5").returncode == 0
        assert one.ended().rows == 1, one.error
        assert Running(db, JOB, (1,)).start().ended().rows == 0, "again, with nothing left to delete"
        two = Running(db, JOB, (2,)).start().held()
        assert two.request != one.request
        db.cancel_safe()
        two.ended()
        assert says(running, "revoke", one.request).returncode == 0
        again = Running(db, JOB, (1,)).start().held()
        assert again.request != one.request
        db.cancel_safe()
        again.ended()
    assert listed(running, one.request)["state"] == "revoked"


@pytest.mark.timeout(240)
def test_broken_glass_lets_through_once_and_stays_named_until_another_person_reviewed_it(running: Deployment) -> None:
    with psycopg.connect(running.url, autocommit=True) as db:
        one = Running(db, "delete from t").start().held()
        few = says(running, "break-glass", one.request, name="bob", reason="urgent")
        assert (few.returncode, "too few words" in few.stderr) == (1, True)
        assert "may not break the glass" in says(running, "break-glass", one.request).stderr, "alice has no right to"
        broken = says(running, "break-glass", one.request, name="bob", reason="INC-9: the disk is full")
        assert broken.returncode == 0, broken.stderr
        assert "BREAK-GLASS, review due" in broken.stdout
        assert one.ended().rows == 10, one.error
        again = Running(db, "delete from t").start().held()  # once
        assert again.request != one.request
        db.cancel_safe()
        again.ended()
    end = time.monotonic() + 20
    while not listed(running, one.request)["review"]["overdue"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert "review OVERDUE" in running.reviewer("requests").stdout
    own = says(running, "review", one.request, "--accept", name="bob")
    assert own.returncode == 1, own.stdout
    assert says(running, "review", one.request, "--object").returncode == 0
    assert "reviewed: object" in running.reviewer("requests").stdout
    running.up.stop()
    assert {"break-glass", "review overdue"} <= running.alarms()
    bodies = [entry.body for entry in running.entries()]
    assert [b.choice for b in bodies if isinstance(b, Vote)] == [Choice.BREAK_GLASS, Choice.OBJECT]
    assert [b.break_glass for b in bodies if isinstance(b, Released)] == [True]
    assert [b.by for b in bodies if isinstance(b, ReviewOverdue)] == ["bob"]
    found = bundle(running)
    (row,) = parts(found, "break-glass.csv")
    assert (row["by"], row["review"], row["reviewer"], row["released"]) == ("bob", "object", "alice", "1")
    assert "BREAK-GLASS" in found.read("index.html").decode()
    whys = {row["why"] for row in parts(found, "exceptions.csv")}
    assert {why for why in whys if why.startswith("BREAK-GLASS")} == {
        "BREAK-GLASS: one person approved alone",
        "BREAK-GLASS: released by one person's word",
        "BREAK-GLASS that nobody reviewed in time",
        "BREAK-GLASS that its reviewer objects to",
    }
