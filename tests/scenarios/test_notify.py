"""A hold is told of where the config says, with the way to it, and again when it was decided."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg

from tallystick.metrics import METRICS
from tests.conftest import free_ports_in_a_row
from tests.notify.receivers import Receiver, verified
from tests.scenarios.conftest import Make
from tests.scenarios.test_hold import HOLD, Running, _table, _vote
from tests.scenarios.test_ops import TOLD_ONLY, page, until

SECRET = "whsec_" + "c2VjcmV0" * 4


def test_a_hold_is_told_and_so_is_its_approval(deploy: Make, tmp_path: Path) -> None:
    with Receiver() as receiver:
        (tmp_path / "hook.url").write_text(receiver.url)
        (tmp_path / "hook.secret").write_text(SECRET)
        for name in ("hook.url", "hook.secret"):
            (tmp_path / name).chmod(0o600)
        ops = free_ports_in_a_row()
        hook = f'url_file = "{tmp_path}/hook.url"\nsecret_file = "{tmp_path}/hook.secret"'
        more = f'batch_seconds = 0.2\nops = "127.0.0.1:{ops}"\n[[notify]]\nname = "hook"\nkind = "webhook"\n{hook}\n'
        deployment = deploy(more=more, more_gateway=HOLD)
        deployment.up.start()
        _table(deployment, "work")
        with psycopg.connect(deployment.url, autocommit=True) as db:
            held = Running(db, "delete from work").start().held()
            opened = receiver.next()
            door = next(line.split()[-1] for line in deployment.up.lines if line.startswith("approvals"))
            _vote(deployment, "approve", held.request)
            assert held.ended().rows == 10
        later = [receiver.next(), receiver.next()]
        sent = 'tallystick_notify_sent_total{channel="hook",role="notify"} 3.0'
        until(20, lambda: sent in page(ops + 4, "/metrics")[1])
        metrics = page(ops + 4, "/metrics")[1]
        assert all(f"# TYPE {name} {METRICS[name].kind}" in metrics for name in TOLD_ONLY)
        assert page(ops + 4, "/readyz")[0] == 200
    for delivery in (opened, *later):
        verified(delivery, SECRET)
    said = json.loads(opened.body)
    assert said["type"] == "request.opened"
    data = said["data"]
    assert (data["request"], data["subject"], data["target"]) == (held.request, "ci/deploy", "orders-db")
    assert data["link"] == f"{door}/approvals/{held.request}"
    assert data["look"] == f"tallystick requests {held.request}"
    assert ("delete", "work") in [(e["effect"], e["relation"]) for e in data["effects"]]
    assert data["groups"] == ["reviewers"]
    assert data["score"] > 0
    assert [json.loads(d.body)["type"] for d in later] == ["request.approved", "request.used"]
    assert json.loads(later[0].body)["data"]["reviewers"] == ["alice"]
    assert deployment.verify().code == 0
    assert not deployment.alarms()
    log = (deployment.place / "up.log").read_text()
    assert receiver.path not in log
    assert SECRET not in log
