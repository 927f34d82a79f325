"""A whole deployment: `tallystick up` before a real PostgreSQL of its own, and a look at what it left behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evidence.outcome import Outcome
from evidence.verify import verify_store
from ledger.note import VerifierKey
from ledger.reader import entries
from ledger.store import Store
from schemas.ids import SessionId
from schemas.records import Exchange, KeyEnrolled, LedgerEntry
from seal import keyfiles
from seal.content import ContentGone, ContentKeys, decrypt
from stream.places import exchange_place
from tallystick import backends, config, demo_postgres, setup
from tallystick.demo_postgres import Postgres
from tallystick.demo_stage import Up, run
from tests.ledger.locked import make_bucket
from tools import services

SHARD = "0"
BOTH = [pytest.param("embedded", marks=pytest.mark.slow), pytest.param("full", marks=pytest.mark.full)]
"""Of `backing`, where the embedded mode is not in the short run."""


@dataclass
class Deployment:
    place: Path
    postgres: Postgres
    made: setup.Made
    up: Up
    url: str
    gateway_port: int
    elsewhere: tuple[Path, ...] = ()  # where its servers keep what it told them
    extra: dict[str, Any] = field(default_factory=dict)

    def tallystick(self, *arguments: str) -> Any:
        """A command of ours, with this deployment's config."""
        return run(*arguments, "--config", str(self.made.config))

    def reviewer(self, *arguments: str) -> Any:
        return self.tallystick(*arguments, "--key", str(self.made.reviewer_key), "--name", "alice")

    def store(self) -> Store:
        return backends.open_store(config.load(self.made.config))

    def verify(self) -> Outcome:
        return verify_store(self.store(), SHARD, self.vkey())

    def entries(self, shard: str = SHARD) -> list[LedgerEntry]:
        return [stored.entry for stored in entries(self.store(), shard)]

    def alarms(self) -> set[str]:
        """What its roles cried."""
        lines = (self.place / "up.log").read_text().splitlines()
        return {json.loads(line)["alarm"] for line in lines if '"event": "alarm"' in line}

    def commands(self, shard: str = SHARD, start: int = 0, end: int | None = None) -> list[tuple[Exchange, str]]:
        """Every exchange of entries [start, end) with its masked command text, opened with the content keys."""
        found = []
        keys = ContentKeys(
            config.load(self.made.config).content_keys, keyfiles.load_secret(self.place / "keys", "content")
        )
        for stored in entries(self.store(), shard, start, end):
            body = stored.entry.body
            if isinstance(body, Exchange):
                found.append((body, _text(keys, body, stored.content)))
        keys.close()
        return found

    def vkey(self) -> VerifierKey:
        known = keyfiles.enrolled(self.place / "keys").all
        ledger: KeyEnrolled = next(e for e in known if e.role == "ledger")
        return VerifierKey(keyfiles.origin(self.place / "keys", SHARD), ledger.public_key)

    def roles(self) -> dict[str, int]:
        """By the words that start it ("worker --steps mask"): the process of each role that runs now."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                if parent == self.up.process.pid:
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                    found[" ".join(words[3 : words.index("--config")])] = int(entry.name)
        return found

    def role(self, words: str) -> int | None:
        """The process of the role that these words begin, or None while it is being started again."""
        return next((pid for found, pid in self.roles().items() if found.startswith(words)), None)

    def executed(self, marker: str) -> list[str]:
        """What the target's own log says it ran, by the first group of `marker`."""
        said = re.findall(r"LOG:  (?:statement|execute [^:]*): (.*)", self.postgres.log.read_text(errors="replace"))
        return [m[1] for line in said if (m := re.search(marker, line))]


def _text(keys: ContentKeys, body: Exchange, sealed: bytes) -> str:
    try:
        plain = decrypt(keys.get(SessionId(body.session)), exchange_place(body.session, body.number), sealed)
    except ContentGone:
        return ""
    return str(json.loads(plain)["command"]["text"])


@contextlib.contextmanager
def asleep(deployment: Deployment, words: str) -> Iterator[None]:
    """That role, if it runs."""
    if (pid := deployment.role(words)) is None:
        yield
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


Make = Callable[..., Deployment]


@dataclass
class Backing:
    """What a deployment is told of its bus and store."""

    bus: str = "local"
    store: str = "file:data/ledger"
    more: str = ""
    folders: tuple[Path, ...] = ()


NUMBERS = itertools.count()
NAMED = re.compile(r"scenario-[0-9]+")
"""A deployment's topics, groups and bucket in full mode begin so."""


@pytest.fixture(params=["embedded", pytest.param("full", marks=pytest.mark.full)])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backing]:
    """Of a new deployment: embedded, and on a real Kafka and a real MinIO, with the same tests."""
    if request.param == "embedded":
        return Backing
    kafka: services.Kafka = request.getfixturevalue("kafka")
    minio: services.Minio = request.getfixturevalue("minio")

    def full() -> Backing:
        name = f"scenario-{next(NUMBERS)}"
        more = f'[kafka]\nprefix = "{name}"\npartitions = 2\nreplication = 1\nmin_insync = 1\n'
        store = make_bucket(minio, name, tmp_path).url()
        return Backing(f"kafka://{kafka.servers}", store, more, (kafka.folder, minio.folder))

    return full


@pytest.fixture
def deploy(tmp_path: Path, backing: Callable[[], Backing]) -> Iterator[Make]:
    """Makes a deployment; `up` is not started. Ended by process group."""
    made: list[Deployment] = []
    with demo_postgres.running(connections=700) as postgres:

        def make(more: str = "batch_seconds = 0.2", more_gateway: str = "", policy: str = "") -> Deployment:
            place = tmp_path / f"deployment-{len(made)}"
            with psycopg.connect(postgres.url(), autocommit=True) as db:
                db.execute("drop database if exists orders")
                db.execute("create database orders")
            port = demo_postgres.free_port()
            listen = f"127.0.0.1:{port}"
            behind = backing()
            done = setup.make(
                place,
                target=postgres.url(database="orders"),
                name="orders-db",
                listen=listen,
                approvals=f"127.0.0.1:{demo_postgres.free_port()}",
                deployment="scenario",
                reviewer="alice",
                bus=behind.bus,
                store=behind.store,
                more=f"{more}\n{behind.more}",
                more_gateway=more_gateway,
            )
            if policy:
                text = (place / "policy.yaml").read_text()
                (place / "policy.yaml").write_text(text.replace("otherwise: allow", policy))
            up = Up(done.config, place / "up.log")
            url = f"postgresql://{done.user}:{done.password}@{listen}/orders"
            made.append(Deployment(place, postgres, done, up, url, port, behind.folders))
            return made[-1]

        yield make
        for one in made:
            if hasattr(one.up, "process"):
                one.up.kill()
