"""`alerts`, `resume` and a key directory of an earlier release, as people meet them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.store import FileStore
from ledger.writer import Writer
from schemas.ids import AlertId, ApprovalId, Source, SuspensionId
from schemas.records import Alert, Choice, Finding, Learning, Resumed, Scope, Suspended, Vote
from seal import keyfiles
from tallystick import cli, cli_roles
from tallystick import config as configuration
from tests.tallystick import deployment
from tests.tallystick.deployment import EVIL, ONE, Deployment

NOW_US = time.time_ns() // 1000
HOUR_US = 3_600_000_000


def alert(letter: str, subject: str, until_us: int) -> tuple[Alert, Suspended]:
    suspension, name = SuspensionId("sus-" + letter * 16), AlertId("alr-" + letter * 16)
    finding = Finding("Behaviour:Relation/FirstSeen", 20, f"select {EVIL} at db", "select t at db", 3, ONE, NOW_US)
    told = Alert(name, subject, "ci", ONE, "db", "production", (finding,), 130, 60, True, suspension, "v", NOW_US)
    return told, Suspended(suspension, name, Scope.IDENTITY, subject, ONE, "db", (), 1, until_us, "v", "b", b"s")


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    """With three suspensions: one that lasts, one that ended, one that was lifted."""
    made = deployment.make(tmp_path / "d")
    signer = keyfiles.load_signer(made.place / "keys", "ledger")
    writer = Writer(FileStore(made.store), "0", keyfiles.origin(made.place / "keys", "0"), signer)
    vote = Vote(ApprovalId("sus-" + "c" * 16), b"c", "ann", Choice.APPROVE, b"", 1, 1, b"")
    bodies = [
        *alert("a", "ci/deploy", NOW_US + HOUR_US),
        *alert("b", "ci/other", NOW_US - HOUR_US),
        *alert("c", "ci/deploy", NOW_US + HOUR_US),
        Resumed(SuspensionId("sus-" + "c" * 16), "ci/deploy", vote, NOW_US),
        Learning("ci/new", "ci", NOW_US, NOW_US + HOUR_US, "v"),
    ]
    deployment._commit(writer, Source("behaviour:a:0"), [(body, b"") for body in bodies], 3)
    return made


def run(*arguments: str, made: Deployment, code: int = 0) -> str:
    said = CliRunner().invoke(cli.app, [*arguments, "--config", str(made.config)], catch_exceptions=False)
    assert said.exit_code == code, said.output
    return said.output


def test_alerts_are_shown_with_what_became_of_them_and_fool_no_terminal(made: Deployment) -> None:
    shown = run("alerts", made=made)
    assert "sus-aaaaaaaaaaaaaaaa (identity) until" in shown
    assert "lift it: tallystick resume sus-aaaaaaaaaaaaaaaa" in shown
    assert "sus-bbbbbbbbbbbbbbbb (identity) ended at" in shown
    assert "sus-cccccccccccccccc (identity) lifted by ann at" in shown
    assert "usual: select t at db; nor for 3 peers" in shown
    assert "what is usual for ci/new is being learned, until" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert run("alerts", "--subject", "ci/other", made=made).count("points, alert at 60") == 1
    assert "no alert" in run("alerts", "--subject", "nobody", made=made)
    lines = [json.loads(line) for line in run("alerts", "--json", made=made).splitlines()]
    assert [line["subject"] for line in lines] == ["ci/deploy", "ci/other", "ci/deploy"]


def test_a_replay_shows_where_it_was_unusual(made: Deployment) -> None:
    shown = run("replay", ONE, made=made)
    assert "ALERT alr-aaaaaaaaaaaaaaaa: 130 points for what is unusual [Behaviour:Relation/FirstSeen]" in shown
    assert "SUSPENDED sus-aaaaaaaaaaaaaaaa: this identity, until" in shown


def test_only_a_suspension_that_lasts_can_be_lifted(made: Deployment) -> None:
    key = ("--key", str(made.reviewer), "--name", "ann", "--reason", "seen", "--yes")
    for letter in "bc":
        assert "is over" in run("resume", f"sus-{letter * 16}", *key, made=made, code=1)
    assert "not in the ledger" in run("resume", "sus-" + "d" * 16, *key, made=made, code=1)
    assert "looks like sus-" in run("resume", "req-abcdefghijklmnop", *key, made=made, code=2)
    assert "cannot be reached" in run("resume", "sus-" + "a" * 16, *key, made=made, code=1)


def test_up_goes_on_without_the_key_that_an_earlier_release_did_not_make(
    made: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configuration.load(made.config)
    assert cli_roles._watches(config)
    for name in ("behaviour.key", "enrolled/behaviour.json"):
        (config.keys / name).unlink()
    assert not cli_roles._watches(config)
    assert "tallystick keys add behaviour" in capsys.readouterr().err
    added = CliRunner().invoke(cli.app, ["keys", "add", "behaviour", "--dir", str(config.keys)])
    assert added.exit_code == 0, added.output
    assert cli_roles._watches(config)
    assert CliRunner().invoke(cli.app, ["keys", "add", "behavior", "--dir", str(config.keys)]).exit_code == 2
