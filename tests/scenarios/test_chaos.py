"""Full mode under load while its parts die, sleep and are cut off, one after another: nothing is lost, nothing twice.

`make chaos` runs the long form: more than 60 kills, the ledger's at each step of a commit among them, pauses of 30 s,
Kafka away for 60 s, the journal's disk full. TALLYSTICK_SEED repeats a run.
"""

from __future__ import annotations

import collections
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from tests.scenarios import dying_ledger
from tests.scenarios.conftest import SHARD, Deployment, Make, asleep
from tests.scenarios.test_disk import fill, mounted
from tests.scenarios.test_kill import MARKER, Load, _settle
from tools import services

STEPS = ("ask", "mask", "approvals", "behaviour")
ROLES = ("ledger", *(f"worker --steps {step}" for step in STEPS), "gateway")
JOBS = 3
BACK_S = 60  # in which a role that was killed is started again
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


def _kill(deployment: Deployment, words: str) -> bool:
    """Whether it died of it: it is waited for, if it is just being started again."""
    end = time.monotonic() + BACK_S
    while (pid := deployment.role(words)) is None and time.monotonic() < end:
        time.sleep(0.02)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _dies_at(deployment: Deployment, step: str, nth: int) -> bool:
    """A second ledger, which takes the shard from the first, and dies there; the first, started again, goes on."""
    script = [sys.executable, str(Path(dying_ledger.__file__)), str(deployment.made.config), step, str(nth)]
    with (deployment.place / "up.log").open("ab") as log:
        done = subprocess.run(script, stdout=log, stderr=log, timeout=180, check=False)
    return done.returncode == -signal.SIGKILL  # else the first took it back before it came there


Act = Callable[[], object]
"""What may happen. A kill says whether it hit."""


@dataclass
class Mischief:
    """Each act leaves everything running, or to be started again by its supervisor."""

    deployment: Deployment
    kafka: services.Kafka
    minio: services.Minio
    chance: random.Random
    long_s: float
    disk: Path | None = None  # a file system of its own for the journal

    def kills(self) -> dict[str, Act]:
        found: dict[str, Act] = {f"kill {words}": partial(_kill, self.deployment, words) for words in ROLES}
        found |= {f"kill ledger at {step}": partial(self._dies, step) for step in dying_ledger.STEPS}
        return found | {f"kill {server.name}": partial(self._again, server) for server in (self.kafka, self.minio)}

    def others(self) -> dict[str, Act]:
        found: dict[str, Act] = {f"pause {words}": partial(self._sleeps, words) for words in ROLES}
        found |= {
            f"pause {server.name}": partial(self._away, server, self.long_s) for server in (self.kafka, self.minio)
        }
        found["cut kafka off"] = partial(self._away, self.kafka, 2 * self.long_s)
        if self.disk is not None:
            found["fill the journal's disk"] = partial(self._fills, self.disk)
        return found

    def _dies(self, step: str) -> bool:
        return _dies_at(self.deployment, step, self.chance.randint(1, 3))

    def _again(self, server: services.Server) -> bool:
        server.kill()
        try:
            time.sleep(self.chance.uniform(0, 1))
        finally:
            server.start()
        return True

    def _away(self, server: services.Server, seconds: float) -> None:
        server.pause()
        try:
            time.sleep(seconds)
        finally:
            server.resume()

    def _sleeps(self, words: str) -> None:
        with asleep(self.deployment, words):
            time.sleep(self.long_s)

    def _fills(self, disk: Path) -> None:
        try:
            fill(disk / "filler")
            time.sleep(self.long_s)
        finally:
            (disk / "filler").unlink()


class Pgbench:
    """pgbench as it is, with as many clients; it gives up where a connection ends, and is started again."""

    def __init__(self, deployment: Deployment, clients: int, a_second: int) -> None:
        self._script = deployment.place / "pgbench.sql"
        # A client's marks grow, from one run to the next too.
        self._script.write_text("\\set n :n + 1\ninsert into work (mark) values ('mark-1:client_id-:n-end');\n")
        self._words = [
            str(deployment.postgres.bin / "pgbench"), "-n", "-c", str(clients), "-j", "1", "-T", "3600", "-R",
            str(a_second), "-f", str(self._script), deployment.url,
        ]  # fmt: skip
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.runs = 0

    def __enter__(self) -> Pgbench:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.runs += 1
            words = [*self._words[:-1], "-D", f"n={self.runs * 1_000_000}", self._words[-1]]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and not self._stopping.wait(0.1):
                pass
            process.kill()
            process.wait()
            self._stopping.wait(0.2)


def _chaos(
    deployment: Deployment, kafka: services.Kafka, minio: services.Minio, kills: int, others: int, long_s: float
) -> None:
    seed = int(os.environ.get("TALLYSTICK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print(f"TALLYSTICK_SEED={seed}")
    chance = random.Random(seed)
    journal = deployment.place / "disk"
    with psycopg.connect(deployment.postgres.url(database="orders"), autocommit=True) as db:
        db.execute("create table work (mark text, n int)")
        db.execute("create table chaos (mark text)")
    with mounted(journal, "32m") as done:
        if done:
            (deployment.place / "data").mkdir()
            (deployment.place / "data" / "journal").symlink_to(journal)
        mischief = Mischief(deployment, kafka, minio, chance, long_s, journal if done else None)
        deployment.up.start(ready_s=120)
        with (
            Load(deployment.url, clients=2, rest_s=0.05) as load,
            Pgbench(deployment, clients=4, a_second=60) as pgbench,
            Approvals(deployment) as approvals,
        ):
            _acts(mischief, kills, others)
            _goes_on(load)
        print(f"pgbench was started {pgbench.runs} times")
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


def _acts(mischief: Mischief, kills: int, others: int) -> None:
    """So many kills that hit, of each kind in turn; and so many of the other acts among them."""
    possible, besides = mischief.kills(), mischief.others()
    chance = mischief.chance
    plan = (chance.sample(list(possible), len(possible)) * kills)[:kills]
    plan += (chance.sample(list(besides), len(besides)) * others)[:others]
    chance.shuffle(plan)
    hit: collections.Counter[str] = collections.Counter()
    while plan:
        time.sleep(chance.uniform(0.2, 2.0))  # the random instant: not a wait for something
        name = plan.pop()
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        if name in besides:
            besides[name]()
        elif possible[name]():
            hit[name] += 1
        else:
            plan.insert(0, name)  # it was not there: later again
    print(f"{hit.total()} kills: {dict(hit)}; {others} other acts")


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
    _chaos(deploy(more_gateway=HOLD), kafka, minio, kills=12, others=5, long_s=3.0)


@full
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_parts_die_sixty_times_and_sleep_long(deploy: Make, kafka: services.Kafka, minio: services.Minio) -> None:
    _chaos(deploy(more_gateway=HOLD), kafka, minio, kills=66, others=14, long_s=30.0)
