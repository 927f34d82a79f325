"""Full mode under load while its parts die, sleep and are cut off, one after another: nothing is lost, nothing twice.

`make test-long` runs the long form: 60 kills, pauses of 30 s, Kafka away for 60 s. TALLYSTICK_SEED repeats a run.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from approvals.votes import cast
from ledger.s3 import S3Store
from schemas.ids import ApprovalId
from schemas.records import Choice, Conflict, Exchange, Grant, Released, Result, SessionClosed, SessionOpened
from seal import keyfiles
from tallystick import config
from tallystick.door import DoorClient, DoorShut, Refused
from tests.scenarios.conftest import SHARD, Deployment, Make
from tests.scenarios.test_kill import MARKER, Load, _settle
from tools import services

ROLES = ("ledger", "worker --steps ask", "worker --steps mask", "worker --steps approvals", "gateway")
JOBS = 3
APPROVED = r"approved-([0-9]+)-end"
HOLD = "hold = {wire_seconds = 15.0}"  # whose vote is lost in the chaos is refused, and goes on
REQUEST = re.compile(r"req-[a-z2-7]{16}")


class Approvals:
    """Jobs send commands that are held, about one a second when all is well; a reviewer says yes to every other one."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.sent: set[int] = set()
        self.approved: set[int] = set()
        self._stopping = threading.Event()
        signer = keyfiles.load_reviewer(deployment.made.reviewer_key, "alice")
        self._door = DoorClient(f"http://{config.load(deployment.made.config).approvals}", signer)
        self._signer = signer

    def __enter__(self) -> Approvals:
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(JOBS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, job: int) -> None:
        number = job
        while not self._stopping.wait(1.0):
            number += JOBS
            try:
                with psycopg.connect(self._deployment.url, autocommit=True, connect_timeout=5) as db:
                    self._one(db, number)
            except psycopg.Error:
                continue  # the gateway is down, or refuses: the next one

    def _one(self, db: psycopg.Connection, number: int) -> None:
        told: list[str] = []
        answered = threading.Event()

        def notice(said: psycopg.errors.Diagnostic) -> None:
            if (found := REQUEST.search(said.message_primary or "")) and not told:
                told.append(found[0])
                answered.set()

        db.add_notice_handler(notice)
        voting = threading.Thread(target=self._vote, args=(number, told, answered))
        voting.start()
        self.sent.add(number)
        try:
            db.execute(f"delete from chaos where mark = 'approved-{number}-end' or true")
        finally:
            answered.set()
            voting.join(30)

    def _vote(self, number: int, told: list[str], answered: threading.Event) -> None:
        answered.wait(30)
        if not told:
            return
        choice = Choice.APPROVE if number % 2 else Choice.DENY
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                asked = self._door.request(told[0])
                now = time.time_ns() // 1000
                commitment = bytes.fromhex(asked["commitment"])
                if choice is Choice.APPROVE:
                    self.approved.add(number)  # before it is said: it may count although the answer is lost
                request = ApprovalId(told[0])
                self._door.vote(cast(self._signer, request, commitment, choice, now + 60_000_000, "seen", now))
                return
            except (DoorShut, Refused):
                time.sleep(0.1)


def _role(deployment: Deployment, words: str) -> int | None:
    """The process of that role, or None while it is being started again."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if parent == deployment.up.process.pid and f"tallystick {words} " in command:
                return int(entry.name)
    return None


def _kill(deployment: Deployment, words: str) -> None:
    if (pid := _role(deployment, words)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def asleep(deployment: Deployment, words: str) -> Iterator[None]:
    if (pid := _role(deployment, words)) is None:
        yield
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _mischief(
    deployment: Deployment, kafka: services.Kafka, minio: services.Minio, chance: random.Random, long_s: float
) -> dict[str, Callable[[], None]]:
    """What may happen, by name. Each leaves everything running, or to be started again by its supervisor."""

    def again(server: services.Server) -> None:
        server.kill()
        try:
            time.sleep(chance.uniform(0, 1))
        finally:
            server.start()

    def away(server: services.Server, seconds: float) -> None:
        server.pause()
        try:
            time.sleep(seconds)
        finally:
            server.resume()

    def sleeps(words: str) -> None:
        with asleep(deployment, words):
            time.sleep(long_s)

    found: dict[str, Callable[[], None]] = {f"kill {words}": lambda w=words: _kill(deployment, w) for words in ROLES}  # type: ignore[misc]
    found |= {f"pause {words}": lambda w=words: sleeps(w) for words in ROLES}  # type: ignore[misc]
    found |= {
        "kill kafka": lambda: again(kafka),
        "kill minio": lambda: again(minio),
        "pause kafka": lambda: away(kafka, long_s),
        "pause minio": lambda: away(minio, long_s),
        "cut kafka off": lambda: away(kafka, 2 * long_s),
    }
    return found


def _chaos(
    deployment: Deployment, kafka: services.Kafka, minio: services.Minio, acts: int, long_s: float, pauses: int
) -> None:
    seed = int(os.environ.get("TALLYSTICK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print(f"TALLYSTICK_SEED={seed}")
    chance = random.Random(seed)
    possible = _mischief(deployment, kafka, minio, chance, long_s)
    kills = [name for name in possible if name.startswith("kill")]
    others = [name for name in possible if name not in kills]
    plan = (kills * (acts // len(kills) + 1))[:acts] + (others * (pauses // len(others) + 1))[:pauses]
    chance.shuffle(plan)
    with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
        db.execute("create table work (mark text, n int)")
        db.execute("create table chaos (mark text)")
    deployment.up.start(ready_s=120)
    with Load(deployment.url) as load, Approvals(deployment) as approvals:
        for name in plan:
            time.sleep(chance.uniform(0.2, 2.0))  # the random instant: not a wait for something
            print(name, flush=True)
            possible[name]()
        _goes_on(load)
    _settle(deployment)
    deployment.up.stop()
    _exactly_once_and_in_order(deployment, load)
    _approved_once(deployment, approvals)
    _population_is_whole(deployment)
    outcome = deployment.verify()
    assert outcome.code == 0, outcome.findings
    store = deployment.store()
    assert isinstance(store, S3Store)
    assert store.irregular(f"{SHARD}/") == {}, "no key has two versions, and none is marked as deleted"


def _goes_on(load: Load) -> None:
    """After all of it, traffic flows."""
    before, end = len(load.answered), time.monotonic() + 90
    while len(load.answered) < before + 200:
        assert time.monotonic() < end, "it settled, and traffic does not go on"
        time.sleep(0.05)


def _exactly_once_and_in_order(deployment: Deployment, load: Load) -> None:
    executed = collections.Counter(deployment.executed(MARKER))
    assert len(executed) > 200, "the load did not run"
    assert [m for m, times in executed.items() if times != 1] == []
    known: dict[str, list[Result]] = collections.defaultdict(list)
    numbers: dict[str, int] = {}
    marks: dict[str, list[int]] = collections.defaultdict(list)
    for exchange, text in deployment.commands():
        assert exchange.number > numbers.get(exchange.session, 0), "a session's exchanges are in order"
        numbers[exchange.session] = exchange.number
        for mark in re.findall(MARKER, text):
            known[mark].append(exchange.result)
            client, _, count = mark.partition("-")
            marks[client].append(int(count))
    missing = [m for m in executed if m not in known]
    assert missing == [], f"{len(missing)} executed commands are not in the ledger"
    assert [m for m, results in known.items() if len(results) != 1] == []
    assert all(counts == sorted(counts) for counts in marks.values()), "a client's commands are in its own order"
    unknown = sum(results[0] is Result.UNKNOWN for results in known.values())
    print(f"{len(executed)} executed, {len(known)} in the ledger, {unknown} unknown")
    assert not [m for m in load.answered if known[m][0] in (Result.REFUSED, Result.FAILED)]
    assert unknown < len(known) / 2


def _approved_once(deployment: Deployment, approvals: Approvals) -> None:
    executed = collections.Counter(int(n) for n in deployment.executed(APPROVED))
    print(f"{len(approvals.sent)} held, {len(approvals.approved)} approved, {len(executed)} of them executed")
    assert [n for n, times in executed.items() if times != 1] == [], "an approval is used once"
    assert set(executed) <= approvals.approved, "nothing runs that nobody approved"
    bodies = [entry.body for entry in deployment.entries()]
    granted = {b.hold for b in bodies if isinstance(b, Grant)}
    released = [b.hold for b in bodies if isinstance(b, Released)]
    assert len(released) == len(set(released))
    assert set(released) <= granted
    used = {
        int(n)
        for exchange, text in deployment.commands()
        if exchange.hold in released
        for n in re.findall(APPROVED, text)
    }
    assert set(executed) <= used, "what ran was released, on record"


def _population_is_whole(deployment: Deployment) -> None:
    bodies = [entry.body for entry in deployment.entries()]
    opened = [b.session for b in bodies if isinstance(b, SessionOpened)]
    closed = [b.session for b in bodies if isinstance(b, SessionClosed)]
    assert len(opened) == len(set(opened))
    assert len(closed) == len(set(closed))
    assert set(opened) <= set(closed), "every session is closed, or reported as cut"
    assert {b.session for b in bodies if isinstance(b, Exchange)} <= set(opened)
    assert not [b for b in bodies if isinstance(b, Conflict)]


full = pytest.mark.parametrize("backing", [pytest.param("full", marks=pytest.mark.full)], indirect=True)


@full
@pytest.mark.timeout(600)
def test_parts_die_and_sleep(deploy: Make, kafka: services.Kafka, minio: services.Minio) -> None:
    _chaos(deploy(more_gateway=HOLD), kafka, minio, acts=12, long_s=3.0, pauses=5)


@full
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_parts_die_sixty_times_and_sleep_long(deploy: Make, kafka: services.Kafka, minio: services.Minio) -> None:
    _chaos(deploy(more_gateway=HOLD), kafka, minio, acts=60, long_s=30.0, pauses=10)
