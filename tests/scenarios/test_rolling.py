"""Roles are restarted one after another under load, as at an upgrade: no query fails but between two transactions of a
connection that its own gateway ended, and that one did not run.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from schemas.records import Beat, CloseReason, Exchange, Result, SessionClosed
from tallystick.roles.workers import OPS
from tests.conftest import free_port, free_ports_in_a_row
from tests.scenarios.conftest import BOTH, Deployment, Make
from tests.scenarios.test_hold import Running, _vote
from tests.scenarios.test_kill import MARKER, _settle
from tests.scenarios.test_ops import page, until

CLIENTS = 3
READY_S = 90
HOLD = "hold = {wire_seconds = 120.0}"


@dataclass
class Work:
    """Clients of one gateway that hardly rest and never try a command twice; `now` is what is being restarted."""

    name: str
    url: str
    now: Callable[[], str]
    answered: set[str] = field(default_factory=set)
    failed: list[tuple[str, int, str]] = field(default_factory=list)  # (restart, step of its transaction, mark)
    unreached: set[str] = field(default_factory=set)  # in the restart of: no connection was to be had
    stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Work:
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _client(self, number: int) -> None:
        marks = (f"{number}-{count}" for count in itertools.count())
        while not self.stopping.is_set():
            try:
                db = psycopg.connect(self.url, autocommit=True, connect_timeout=10)
            except psycopg.OperationalError:
                self.unreached.add(self.now())
                self.stopping.wait(0.05)
                continue
            with db:
                self._session(db, marks)

    def _session(self, db: psycopg.Connection[Any], marks: Any) -> None:
        """A command by itself, then a transaction, and so on, until the connection is ended."""
        for transaction in itertools.cycle((False, True)):
            if self.stopping.wait(0.02):  # the machine is for the restarts; 20 ms are shorter than any of them
                return
            step, mark = 0, ""
            try:
                if transaction:
                    db.execute("begin")
                for step in range(1, 3 if transaction else 2):
                    mark = f"{self.name}{next(marks)}"
                    db.execute(f"insert into work (mark, n) values ('mark-{mark}-end', %s)".encode(), (step,))
                if transaction:
                    db.execute("commit")
            except psycopg.Error:
                self.failed.append((self.now(), step if transaction else 0, mark))
                return
            self.answered.add(mark)


def _two_gateways(deployment: Deployment) -> str:
    """Adds a second one to the config, like the first; gives its URL."""
    port, ops = free_port(), free_port()
    text = deployment.made.config.read_text()
    block = text[text.index("[[gateway]]") :]
    block = block.replace('name = "orders-db"', f'name = "orders-too"\nops = "127.0.0.1:{ops}"', 1)
    deployment.made.config.write_text(text + block.replace(f":{deployment.gateway_port}", f":{port}"))
    return deployment.url.replace(f":{deployment.gateway_port}/", f":{port}/")


def _restart(deployment: Deployment, words: str, ready: Callable[[], object]) -> None:
    """SIGTERM, as an upgrade would; `up` starts it again. Returns when it is ready."""
    before = deployment.roles()[words]
    os.kill(before, signal.SIGTERM)
    until(READY_S, lambda: deployment.roles().get(words, before) != before)
    until(READY_S, ready)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("backing", BOTH, indirect=True)
def test_each_role_is_restarted_under_load_and_no_query_fails(deploy: Make) -> None:
    ops = free_ports_in_a_row()
    deployment = deploy(more=f'batch_seconds = 0.2\nops = "127.0.0.1:{ops}"', more_gateway=HOLD)
    urls = {"orders-db": deployment.url, "orders-too": _two_gateways(deployment)}
    steps = {step: nth for step, nth in OPS.items() if step != "notify"}  # nobody is to be told
    ports = {"ledger": ops, **{f"worker --steps {step}": ops + nth for step, nth in steps.items()}}
    with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
        db.execute("create table work (mark text, n int)")
        db.execute("create table held (n int)")
    deployment.up.start(ready_s=120)
    gateways = {f"gateway --name {name}": url for name, url in urls.items()}
    assert deployment.roles().keys() == ports.keys() | gateways.keys()
    now = ""
    with (
        Work("1", deployment.url, lambda: now) as one,
        Work("2", urls["orders-too"], lambda: now) as two,
        psycopg.connect(deployment.url, autocommit=True) as holding,
    ):
        works = dict(zip(gateways, (one, two), strict=True))
        for words, port in ports.items():
            now = words
            held = Running(holding, f"delete from held where {ports[words]} = {ports[words]}").start().held()
            _restart(deployment, words, lambda port=port: page(port, "/readyz")[0] == 200)  # type: ignore[misc]
            _go_on(one, two)
            _vote(deployment, "approve", held.request)
            assert held.ended().rows == 0, f"{held.error}: held over the restart of {words}"
        holding.close()
        for words, work in works.items():
            now = words
            with psycopg.connect(work.url, autocommit=True) as slow:
                running = Running(slow, "select 1 from pg_sleep(3)").start()
                until(10, lambda: _runs(deployment))
                _restart(deployment, words, lambda work=work: _listens(work.url))  # type: ignore[misc]
                assert running.ended().rows == 1, running.error
            _go_on(one, two)
            now = ""
    for words, work in works.items():
        assert {during for during, _, _ in work.failed} | work.unreached <= {words}
        assert len(work.failed) <= CLIENTS, "each connection ends once"
        assert [step for _, step, _ in work.failed if step] == [], "a transaction was cut"
    print({words: (len(work.answered), len(work.failed)) for words, work in works.items()})
    _settle(deployment)
    deployment.up.stop()
    _nothing_was_cut(deployment, works)
    said = (deployment.place / "up.log").read_text().splitlines()
    ends = [json.loads(line) for line in said if '"code"' in line]
    why = "\n".join(line for line in said if "the stream worker ends" in line or '"error"' in line)
    assert [(end["child"], end["code"]) for end in ends if end["code"]] == [], why
    assert len(ends) == len(ports) + len(works)


def _listens(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _go_on(*works: Work) -> None:
    before = [len(work.answered) for work in works]
    until(30, lambda: all(len(work.answered) > count + 20 for work, count in zip(works, before, strict=True)))


def _runs(deployment: Deployment) -> bool:
    with psycopg.connect(deployment.postgres.url(database="orders")) as db:
        asked = "select 1 from pg_stat_activity where query like 'select 1 from pg_sleep%' and state = 'active'"
        return db.execute(asked).fetchone() is not None


def _nothing_was_cut(deployment: Deployment, works: dict[str, Work]) -> None:
    executed = deployment.executed(MARKER)
    assert len(executed) > 100, "the load did not run"
    assert not {mark for work in works.values() for _, _, mark in work.failed} & set(executed)
    bodies = [entry.body for entry in deployment.entries()]
    assert {b.result for b in bodies if isinstance(b, Exchange)} == {Result.EXECUTED}
    assert CloseReason.CUT not in {b.reason for b in bodies if isinstance(b, SessionClosed)}
    assert sum(b.farewell for b in bodies if isinstance(b, Beat)) == 2 * len(works), "each boot said farewell"
    assert deployment.verify().code == 0
