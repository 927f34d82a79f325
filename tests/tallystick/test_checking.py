"""`tallystick check` against real servers: whatever is wrong is one line that says what to do, without a secret."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from bus import kafka_topics
from bus.kafka import KafkaBus
from bus.topics import EVENTS, BusDown
from tallystick import setup
from tallystick.backends import kafka_settings
from tallystick.checking import Finding, findings
from tallystick.config import load
from tallystick.demo_stage import Up, run
from tests.bus.test_kafka import PASSWORD, server_pem
from tests.conftest import Postgres, free_port, free_ports_in_a_row
from tests.ledger.locked import credentials_file, make_bucket
from tools import services
from tools.services import kafka_server

NAMES = (f"check-{n}" for n in itertools.count())
WRONG = "wrong-secret-Aq7"


@dataclass
class Place:
    """A deployment that is only configured."""

    made: setup.Made

    @property
    def keys(self) -> Path:
        return self.made.config.parent / "keys"

    def edit(self, old: str, new: str) -> None:
        text = self.made.config.read_text()
        assert old in text
        self.made.config.write_text(text.replace(old, new))

    def findings(self) -> list[Finding]:
        return list(findings(load(self.made.config)))

    def faults(self) -> list[tuple[str, str]]:
        return [(f.about, f.text) for f in self.findings() if not f.good]


Make = Callable[..., Place]


@pytest.fixture
def make(tmp_path: Path, postgres: Postgres) -> Make:
    def made(target: str = "", bus: str = "local", store: str = "file:data/ledger", more: str = "") -> Place:
        done = setup.make(
            tmp_path / "place",
            target=target or postgres.url(),
            listen=f"127.0.0.1:{free_port()}",
            approvals=f"127.0.0.1:{free_port()}",
            bus=bus,
            store=store,
            more=more,
        )
        return Place(done)

    return made


# --- embedded ------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_new_deployment(make: Make, postgres: Postgres) -> None:
    place = make()
    done = run("check", "--json", "--config", str(place.made.config))
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["good"] is True
    about = {f["about"]: f["text"] for f in said["findings"]}
    assert f"target 127.0.0.1:{postgres.port}: logged in as postgres" in next(
        f["text"] for f in said["findings"] if f["about"] == "gateway db"
    )
    assert about["log"] == "shard 0: 0 entries in 0 batches"
    assert set(about) == {"keys", "policy", "disk", "bus", "log", "gateway db", "approvals"}


def test_every_fault_is_said_and_none_hides_another(make: Make) -> None:
    place = make(target=f"postgresql://app@127.0.0.1:{free_port()}/orders")
    (place.keys / "ledger.key").chmod(0o644)
    (place.keys / "match.secret").unlink()
    (place.made.config.parent / "policy.yaml").write_text("rulez: []\n")
    place.edit('verifier = "SCRAM-SHA-256$', 'verifier = "SCRAM-SHA-1$')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place.edit("approvals = ", f'approvals = "127.0.0.1:{taken.getsockname()[1]}" #')
        done = run("check", "--config", str(place.made.config))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for told in (
        "ledger.key: others may read it; run: chmod 600",
        "match.secret: cannot be read; make keys with: tallystick keys init",
        "policy.yaml: ",
        "identity ci: verifier: must look like SCRAM-SHA-256$",
        "cannot connect to the target (ConnectionRefusedError)",
        "another program listens there; stop it or choose another port",
    ):
        assert sum(told in line for line in lines) == 1, (told, lines)
    assert lines[-1] == "6 to fix"


def test_a_config_that_cannot_be_read_is_said_as_json_too(make: Make) -> None:
    place = make()
    place.edit("approvals = ", "aprovals = ")
    done = run("check", "--json", "--config", str(place.made.config))
    assert done.returncode == 2
    (finding,) = json.loads(done.stdout)["findings"]
    assert "did you mean 'approvals'?" in finding["text"]


def test_a_wrong_password_of_the_target_is_found(make: Make, postgres: Postgres, tmp_path: Path) -> None:
    place = make(target=f"postgresql://scram_user@127.0.0.1:{postgres.port}/postgres")
    (tmp_path / "place/target.password").write_text(WRONG)
    place.edit("environment = ", 'target_password_file = "target.password"\nenvironment = ')
    ((about, text),) = place.faults()
    assert (about, text.partition(": ")[2]) == ("gateway db", "the target refused the gateway's credential")
    assert WRONG not in text


def test_a_key_that_is_not_the_enrolled_one_and_a_masker_key_that_is_lost_are_said(make: Make) -> None:
    place = make()
    (place.keys / "ledger.key").write_bytes((place.keys / "gateway.key").read_bytes())
    (masker,) = place.keys.glob("masker-*.key")
    masker.rename(masker.with_name("masker-00000000-0.key"))
    assert [text.partition("/keys/")[2] for _, text in place.faults()] == [
        "ledger.key: not the key that is enrolled; restore the right one",
        f"{masker.name}: not here: nobody could open what is recorded now; restore it",
    ]


def test_a_port_that_one_of_ours_holds_is_no_fault(make: Make, tmp_path: Path) -> None:
    place = make()
    place.edit("policy = ", f'ops = "127.0.0.1:{free_ports_in_a_row()}"\npolicy = ')
    up = Up(place.made.config, tmp_path / "up.log")
    up.start()
    try:
        said = place.findings()
    finally:
        up.kill()
    assert [f.text for f in said if not f.good] == []
    assert sum(f.text.endswith("is in use by us") for f in said) == 7  # the door, five ops, the gateway


# --- Kafka ---------------------------------------------------------------------------------


ONE_BROKER = "replication = 1\nmin_insync = 1\n"


def on_kafka(make: Make, servers: str, more: str = ONE_BROKER) -> Place:
    return make(bus=f"kafka://{servers}", more=f'[kafka]\nprefix = "{next(NAMES)}"\n{more}')


def test_topics_that_are_missing_are_made(make: Make, kafka: services.Kafka) -> None:
    place = on_kafka(make, kafka.servers)
    assert place.faults() == []
    (said,) = [f.text for f in place.findings() if f.about == "kafka"]  # again: they are as they must be
    assert said.startswith(f"{kafka.servers}: cluster ")


def test_more_replicas_than_brokers_is_said(make: Make, kafka: services.Kafka) -> None:
    place = on_kafka(make, kafka.servers, "")
    assert place.faults() == [
        (
            "kafka",
            "replication 3 needs as many brokers; Kafka has 1; "
            "add brokers, or lower replication and min_insync in [kafka]",
        )
    ]


@pytest.mark.timeout(300)
def test_fewer_replicas_in_sync_than_a_write_needs_is_said(make: Make, kafka: services.Kafka, tmp_path: Path) -> None:
    with services.kafka(tmp_path / "one") as one, services.kafka(tmp_path / "two", joins=one) as two:
        place = on_kafka(make, one.servers, "replication = 2\nmin_insync = 2\n")
        assert place.faults() == []
        two.kill()
        end = time.monotonic() + 60
        while len(faults := place.faults()) < 5 and time.monotonic() < end:
            pass  # until the controller has missed it
        assert {about for about, _ in faults} == {"kafka"}
        assert sorted(text.partition(".")[2] for _, text in faults) == [
            f"{topic}: replicas in sync: 1; a write needs 2; "
            "bring the brokers back: what is recorded waits on the gateways' disks"
            for topic in sorted(kafka_topics.NAMES)
        ]
        with pytest.raises(BusDown, match="did not acknowledge"):
            asyncio.run(_send(place))
        two.start()
        while place.faults() and time.monotonic() < end + 60:
            pass
        assert place.faults() == []
        asyncio.run(_send(place))


async def _send(place: Place) -> None:
    settings = replace(kafka_settings(load(place.made.config)), timeout_s=5.0)
    bus = await KafkaBus.open(settings)
    try:
        await bus.producer().send(EVENTS, [(b"key", b"value")])
    finally:
        await bus.close()


def test_a_kafka_that_is_not_there_is_said(make: Make) -> None:
    servers = f"127.0.0.1:{free_port()}"
    assert on_kafka(make, servers).faults() == [
        ("kafka", f"Kafka: {servers}: cannot be reached (ConnectionRefusedError)")
    ]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(kafka: services.Kafka, ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Kafka]:
    """With rights: `ledger` may do everything, `stranger` nothing."""
    folder = tmp_path_factory.mktemp("secure")
    with pytest.MonkeyPatch.context() as patch:
        rights = (
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
            "super.users=User:ANONYMOUS;User:ledger\n"
        )
        patch.setattr(kafka_server, "SECURE_PROPERTIES", kafka_server.SECURE_PROPERTIES + rights)
        pem = server_pem(folder, ca.issue_cert("127.0.0.1"))
        users = {"ledger": PASSWORD, "stranger": PASSWORD}
        with services.kafka(folder / "kafka", services.Secure(pem, users)) as server:
            yield server


def over_tls(make: Make, servers: str, ca: trustme.CA, folder: Path, user: str, password: str) -> Place:
    setup.write_secret(folder / "kafka.password", password)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    files = f'ca = "{folder}/ca.pem"\nuser = "{user}"\npassword_file = "{folder}/kafka.password"\n'
    return on_kafka(make, servers, ONE_BROKER + files)


@pytest.mark.timeout(300)  # a JVM starts
@pytest.mark.parametrize(
    ("user", "password", "fault"),
    [
        ("ledger", PASSWORD, ""),
        ("ledger", WRONG, "user 'ledger' or its password is not accepted (SCRAM-SHA-512)"),
        ("stranger", PASSWORD, "; give user 'stranger' all rights on topics and groups that begin with 'check-"),
    ],
    ids=["good", "password", "rights"],
)
def test_who_we_are_to_kafka(
    make: Make, secure: services.Kafka, ca: trustme.CA, tmp_path: Path, user: str, password: str, fault: str
) -> None:
    faults = over_tls(make, secure.secure_servers, ca, tmp_path, user, password).faults()
    assert [about for about, _ in faults] == ["kafka"] * bool(fault)
    assert all(fault in text and PASSWORD not in text and WRONG not in text for _, text in faults)


@pytest.mark.timeout(300)
def test_a_certificate_of_an_authority_that_we_do_not_know_is_said(
    make: Make, secure: services.Kafka, tmp_path: Path
) -> None:
    place = over_tls(make, secure.secure_servers, trustme.CA(), tmp_path, "ledger", PASSWORD)
    ((_, text),) = place.faults()
    assert text.endswith("its certificate is not accepted (unable to get local issuer certificate)")


def test_a_certificate_that_has_expired_is_said(make: Make, ca: trustme.CA, tmp_path: Path) -> None:
    """The handshake is all there is to it: a TLS server stands for the broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def meet() -> None:
            connection, _ = plain.accept()
            try:
                context.wrap_socket(connection, server_side=True)
            except OSError:
                pass
            connection.close()

        threading.Thread(target=meet, daemon=True).start()
        servers = f"127.0.0.1:{plain.getsockname()[1]}"
        ((_, text),) = over_tls(make, servers, ca, tmp_path, "ledger", PASSWORD).faults()
    assert text.endswith("its certificate is not accepted (certificate has expired)")


# --- the object store -------------------------------------------------------------------------


def test_each_check_of_the_store_is_said(make: Make, minio: services.Minio, tmp_path: Path) -> None:
    place = make(store=make_bucket(minio, next(NAMES), tmp_path).url())
    assert place.faults() == []
    said = [f.text.partition(": ")[0] for f in place.findings() if f.about == "store"]
    assert {"object lock is on", "shorten is refused", "create-once is kept", "delete marker is refused"} <= set(said)
    assert len(said) == 12  # the store's name, and eleven checks


STORES: dict[str, tuple[Callable[[services.Minio, Path], str], str]] = {
    "no lock": (
        lambda minio, folder: make_bucket(minio, next(NAMES), folder, lock=False).url(),
        "object lock is on: ObjectLockConfigurationNotFoundError: Object Lock configuration does not exist for this "
        "bucket; a bucket gets object lock when it is made: make another",
    ),
    "no bucket": (
        lambda minio, folder: (
            f"s3://nowhere?endpoint=http://{minio.endpoint}"
            f"&credentials={credentials_file(folder / 'root', minio.user, minio.password)}"
        ),
        "nowhere: no such bucket; make it with object lock: mc mb --with-lock",
    ),
    "unknown user": (
        lambda minio, folder: make_bucket(minio, next(NAMES), folder).url(
            credentials_file(folder / "other", "nobody", WRONG)
        ),
        "; the store knows no such user: look at the credentials file",
    ),
    "wrong secret": (
        lambda minio, folder: make_bucket(minio, next(NAMES), folder).url(
            credentials_file(folder / "other", minio.user, WRONG)
        ),
        "; the secret key is wrong: look at the credentials file",
    ),
    "too many rights": (
        lambda minio, folder: (made := make_bucket(minio, next(NAMES), folder)).url(made.root),
        "give the ledger the rights of docs/writer-policy.json and no other",
    ),
    "nobody there": (
        lambda minio, folder: make_bucket(minio, next(NAMES), folder).url(endpoint=f"http://127.0.0.1:{free_port()}"),
        "for 5 s (NewConnectionError)",
    ),
    "no credentials": (
        lambda minio, folder: f"s3://none?endpoint=http://{minio.endpoint}&credentials={folder / 'none'}",
        "credentials cannot be read (No such file or directory)",
    ),
    "not an address": (lambda minio, folder: "s3://none?endpint=http://h", "did you mean endpoint?"),
}


@pytest.mark.parametrize("case", STORES)
def test_what_is_wrong_with_the_store(make: Make, minio: services.Minio, tmp_path: Path, case: str) -> None:
    store, fault = STORES[case]
    ((about, text),) = make(store=store(minio, tmp_path)).faults()
    assert about == "store"
    assert fault in text, text
    assert "\n" not in text
    assert WRONG not in text
    assert minio.password not in text
