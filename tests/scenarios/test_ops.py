"""What each role says of itself to an operator's tools, while it works and while it cannot."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tallystick.metrics import METRICS
from tests.conftest import free_port, free_ports_in_a_row
from tests.scenarios.conftest import Deployment, Make
from tests.scenarios.test_hold import HOLD, Running
from tools import services

FULL_ONLY = {
    "tallystick_journal_unpublished_bytes",
    "tallystick_journal_unpublished_seconds",
    "tallystick_worker_lag_messages",
    "tallystick_worm_probe_success",
    "tallystick_worm_probe_timestamp_seconds",
}
TOLD_ONLY = {name for name in METRICS if name.startswith("tallystick_notify_")}
"""Of a role that is there where somebody is to be told: tests/scenarios/test_notify.py."""
EMBEDDED_ONLY = {"tallystick_worker_lag_bytes"}


def page(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until(seconds: float, condition: Callable[[], object]) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:  # a role that starts again
            pass
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.05)


@dataclass
class Watched:
    deployment: Deployment
    ports: dict[str, int]  # by role

    def ready(self, role: str) -> tuple[int, str]:
        return page(self.ports[role], "/readyz")

    def metrics(self, role: str) -> dict[tuple[str, str], float]:
        """By name, and by the label's value beside the role's; every type is the one that is declared."""
        found = {}
        for family in text_string_to_metric_families(page(self.ports[role], "/metrics")[1]):
            name = family.name + "_total" * (family.type == "counter")
            assert (METRICS[name].kind, METRICS[name].text) == (family.type, family.documentation)
            for sample in family.samples:
                assert sample.labels.pop("role") == role
                found[sample.name, "".join(sample.labels.values())] = sample.value
        return found


def watched(deploy: Make) -> Watched:
    ops, gateway = free_ports_in_a_row(), free_port()
    deployment = deploy(
        more=f'batch_seconds = 0.2\nops = "127.0.0.1:{ops}"', more_gateway=f'{HOLD}\nops = "127.0.0.1:{gateway}"'
    )
    deployment.up.start()
    ports = {"ledger": ops, "mask": ops + 1, "approvals": ops + 2, "ask": ops + 3, "behaviour": ops + 5}
    return Watched(deployment, {**ports, "gateway": gateway})


def test_each_role_says_what_it_does(deploy: Make, request: pytest.FixtureRequest) -> None:
    here = watched(deploy)
    full = request.node.callspec.params["backing"] == "full"
    with psycopg.connect(here.deployment.url, autocommit=True) as db:
        db.execute("create table work (mark text)")
        db.execute("insert into work values ('one')")
        held = Running(db, "delete from work").start()
        assert held.told.wait(20)
        until(20, lambda: here.metrics("approvals")["tallystick_approvals_holds_waiting", ""] == 1)
        gateway, approvals = here.metrics("gateway"), here.metrics("approvals")
        db.cancel_safe()
        assert held.done.wait(20)
        assert gateway["tallystick_sessions_active", ""] == 1
        assert gateway["tallystick_holds_waiting", ""] == 1
        assert gateway["tallystick_hold_oldest_seconds", ""] > 0
        assert approvals["tallystick_approvals_requests_open", ""] == 1
        assert approvals["tallystick_approvals_oldest_seconds", ""] > 0
    until(30, lambda: here.metrics("gateway")["tallystick_sessions_active", ""] == 0)
    until(30, lambda: here.metrics("mask")["tallystick_mask_exchanges_total", ""] == 3)
    until(30, lambda: here.metrics("ledger")["tallystick_ledger_lag_messages", ""] == 0)
    until(30, lambda: here.metrics("ledger")["tallystick_ledger_lag_seconds", ""] == 0)
    found = {role: here.metrics(role) for role in here.ports}
    gateway, mask, ledger = found["gateway"], found["mask"], found["ledger"]
    assert gateway["tallystick_commands_total", ""] == 3
    assert gateway["tallystick_refused_total", "cancelled"] == 1
    assert gateway["tallystick_refused_total", "policy"] == 0
    assert gateway["tallystick_journal_writable", ""] == 1
    assert gateway["tallystick_journal_disk_bytes", ""] > 1000
    assert gateway["tallystick_hold_oldest_seconds", ""] == 0
    assert mask["tallystick_mask_undecoded_total", ""] == 0
    assert mask["tallystick_mask_bytes_total", ""] > 1000
    assert mask["tallystick_worker_lag_messages" if full else "tallystick_worker_lag_bytes", ""] == 0
    assert ledger["tallystick_ledger_commit_seconds_count", ""] == ledger["tallystick_ledger_batches", ""]
    assert 0 < ledger["tallystick_ledger_commit_last_seconds", ""] < 30
    assert abs(time.time() - ledger["tallystick_ledger_checkpoint_timestamp_seconds", ""]) < 60
    if full:
        assert ledger["tallystick_worm_probe_success", ""] == 1
        assert abs(time.time() - ledger["tallystick_worm_probe_timestamp_seconds", ""]) < 600
    for role in here.ports:
        assert here.ready(role) == (200, "ready\n")
        assert found[role]["tallystick_ready", ""] == 1
        assert [n for (n, _), value in found[role].items() if n == "tallystick_alarms_total" and value] == []
    said = {name for role in found.values() for name, _ in role}
    said = {name for name in METRICS if any(one in (name, f"{name}_bucket") for one in said)}
    assert said == METRICS.keys() - TOLD_ONLY - (EMBEDDED_ONLY if full else FULL_ONLY)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("backing", [pytest.param("full", marks=pytest.mark.full)], indirect=True)
def test_a_bus_that_does_not_answer_makes_everyone_unready_but_the_gateway(
    deploy: Make, request: pytest.FixtureRequest
) -> None:
    kafka: services.Kafka = request.getfixturevalue("kafka")
    here = watched(deploy)
    kafka.pause()
    try:
        for role in ("ledger", "mask", "ask", "approvals", "behaviour"):
            assert here.ready(role) == (503, "the bus does not answer within 2 s\n")
        assert here.ready("gateway") == (200, "ready\n")
        with psycopg.connect(here.deployment.url, autocommit=True) as db:
            db.execute("create table work (mark text)")
        assert here.metrics("ledger")["tallystick_ready", ""] == 0
        until(20, lambda: here.metrics("gateway")["tallystick_journal_unpublished_bytes", ""] > 0)
        assert here.metrics("gateway")["tallystick_journal_unpublished_seconds", ""] > 0
    finally:
        kafka.resume()
    for role in here.ports:
        until(90, lambda role=role: here.ready(role)[0] == 200)  # type: ignore[misc]
    until(60, lambda: here.metrics("gateway")["tallystick_journal_unpublished_bytes", ""] == 0)
