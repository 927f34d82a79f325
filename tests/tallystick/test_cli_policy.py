"""`policy simulate` and `policy rescore` on a small real log of judged commands."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.batch import Consumed, Cursor, Item
from ledger.entry import leaf_bytes
from ledger.store import FileStore
from ledger.writer import Writer
from policy import history, rules
from policy.judge import judge
from schemas.ids import Position, RecorderId, SessionId, Source
from schemas.records import LeafBody, LedgerEntry, LedgerStarted, SessionOpened
from seal import keyfiles
from tests.policy.test_history import recorded
from tests.tallystick.deployment import tallystick

RECORDER = RecorderId("db.0.0a0b0c0d")
JOURNAL = Source(f"journal:{RECORDER}")
AT_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
TODAY = "rules: [{name: high, when: 'score >= 70', then: hold}]\notherwise: allow\n"
NEW = """\
rules:
  - {name: no drops, when: 'command.effects.exists(e, e.effect == "drop")', then: deny}
  - {name: jobs, when: 'identity.subject == "ci/deploy" && "job_log" in command.writes', then: hold}
otherwise: allow
context: [{name: prod, environments: [production], percent: 200}]
"""
COMMANDS = {
    "ci/deploy": ["DELETE FROM job_log WHERE id = 1", "DROP TABLE t", "SELECT 1", "DELETE FROM job_log WHERE id = 2"],
    "nightly": ["TRUNCATE t", "SELECT a FROM t WHERE b = 1"],
}


def make(place: Path, forged: dict[str, int]) -> Path:
    """The config of a log with COMMANDS, judged by TODAY. `forged`: scores that are recorded instead, by text."""
    keys = place / "keys"
    keyfiles.init(keys, "test")
    (place / "policy.yaml").write_text(TODAY)
    config = place / "tallystick.toml"
    config.write_text('policy = "policy.yaml"\n')
    today = rules.parse(TODAY)
    bodies: list[LeafBody] = [LedgerStarted("0", 0, "file", AT_US), *keyfiles.enrolled(keys).all]
    for number, (subject, texts) in enumerate(COMMANDS.items(), 1):
        session = SessionId(f"{RECORDER}/1/{number}")
        opened = SessionOpened(
            session, subject, "static", (), "db", "postgres", "production", "orders", "app", "10.0.0.9", "", "", "psql",
            "3.0", today.version, AT_US,
        )  # fmt: skip
        bodies.append(opened)
        for text in texts:
            exchange = recorded(judge(text, history.facts(opened), today), today, AT_US + len(bodies))
            score = forged.get(text, exchange.score)
            bodies.append(replace(exchange, session=session, number=len(bodies), score=score))
    items = [
        Item(leaf_bytes(LedgerEntry(JOURNAL, Position(0, n, 0), AT_US + n, body=body)), b"")
        for n, body in enumerate(bodies)
    ]
    writer = Writer(
        FileStore(place / "data" / "ledger"), "0", keyfiles.origin(keys, "0"), keyfiles.load_signer(keys, "ledger")
    )
    cursors = {JOURNAL: Cursor(Position(0, len(bodies) - 1, 0), hashlib.sha256(b"").digest())}
    writer.commit(items, cursors, Consumed("c", "events", 0, 0))
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("judged"), {})


def test_what_a_policy_would_have_done_by_identity_and_against_todays(config: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(NEW)
    done = tallystick("policy", "simulate", str(new), "--since", "2026-01-01", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ci, nightly = found["identities"]
    assert ci == {
        "subject": "ci/deploy", "commands": 4, "held_today": 1, "denied_today": 0, "held": 2, "denied": 1, "stopped": 2,
        "let_through": 0,
    }  # fmt: skip
    assert (nightly["held_today"], nightly["held"], nightly["let_through"]) == (1, 0, 1)
    first = {"subject": "ci/deploy", "was": "allow (otherwise)", "is": "hold (jobs)", "does": "delete job_log"}
    assert found["changes"][0] == first | {"commands": 2}
    shown = tallystick("policy", "simulate", str(new), "--since", "2026-01-01", "--config", str(config)).stdout
    assert shown.startswith("6 commands since 2026-01-01; today's policy")
    assert "hold (high)" in shown
    later = tallystick("policy", "simulate", "--since", "2026-01-02", "--config", str(config)).stdout
    assert later.startswith("0 commands")


def test_every_score_comes_out_again(config: Path) -> None:
    done = tallystick("policy", "rescore", "--since", "2026-01-01", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 commands have the score")


def test_another_version_is_named_and_another_score_is_told(config: Path, tmp_path: Path) -> None:
    with_other = tmp_path / "other.yaml"
    with_other.write_text(NEW)
    done = tallystick("policy", "rescore", str(with_other), "--since", "2026-01-01", "--config", str(config))
    version = rules.parse(TODAY).version
    assert done.returncode == 0
    assert f"6 commands were scored by another version: policy {version}" in done.stdout
    (tmp_path / "forged").mkdir()
    forged = make(tmp_path / "forged", {"DROP TABLE t": 3})
    done = tallystick("policy", "rescore", "--since", "2026-01-01", "--config", str(forged))
    assert done.returncode == 1
    assert "recorded 3, and is 85" in done.stdout


@pytest.mark.parametrize("since", ["31", "x", "d", "2026-13-01"])
def test_a_since_that_says_nothing_is_wrong_use(config: Path, since: str) -> None:
    done = tallystick("policy", "rescore", "--since", since, "--config", str(config))
    assert done.returncode == 2
    assert "--since" in done.stderr
