"""Kafka 4.1 in KRaft, broker and controller in one JVM (and a second broker, if asked), from jars that Maven fetches.

Every jar is named in `pins/kafka/jars.sha256` and compared with it after the fetch and before the first
use in a process: Maven's own checksums come from where the jars come from. (The Maven plugin that
fetches is pinned by version alone.)
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .cache import PINS, Unavailable, made, run, tools
from .process import Server, free_ports

MAX_MESSAGE = 5 * 1024 * 1024
"""Bytes of a record batch that topics take: a record of 4 MiB and what Kafka puts around it."""

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=CONTROLLER://127.0.0.1:{controller},PLAINTEXT://127.0.0.1:{plain}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes={max_message}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=200
log.cleaner.dedupe.buffer.size=8388608
"""
"""A killed broker's registration stands for the session timeout, and its successor waits for that long: 2 s, not 9."""

JOINING_PROPERTIES = """
process.roles=broker
node.id=2
listeners=PLAINTEXT://127.0.0.1:{plain}
"""

SECURE_PROPERTIES = """
listeners=CONTROLLER://127.0.0.1:{controller},PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;
ssl.keystore.type=PEM
ssl.keystore.location={pem}
"""
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
SCRAM_ITERATIONS = 4096

# To the process's own output, which is the log file in the folder.
LOG4J = """
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
"""
STARTED = "Kafka Server started"
"""Logged when the broker is registered, unfenced and serving."""


@dataclass(frozen=True, slots=True)
class Secure:
    """A second listener, SASL over TLS, where each of `users` (name: password) proves itself by SCRAM-SHA-256 or -512.

    `pem` is a file with the private key in PKCS #8, then the certificate and its chain.
    """

    pem: Path
    users: Mapping[str, str] = field(repr=False)


class Kafka(Server):
    """A running broker: `servers` is what a client takes as its bootstrap servers.

    `secure_servers` are those of the `Secure` listener; empty without one.
    """

    name = "kafka"

    def __init__(self, folder: Path, secure: Secure | None = None, joins: Kafka | None = None) -> None:
        jars, java = kafka_jars(), _java()
        folder = folder.absolute()
        plain, controller, sasl_ssl = free_ports(3)
        self.controller: int = joins.controller if joins else controller
        self.cluster: str = joins.cluster if joins else _new_cluster()
        self.servers = f"127.0.0.1:{plain}"
        self.secure_servers = f"127.0.0.1:{sasl_ssl}" if secure else ""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        properties, logging = folder / "server.properties", folder / "log4j2.properties"
        text = PROPERTIES.format(controller=self.controller, plain=plain, data=folder / "data", max_message=MAX_MESSAGE)
        if joins:  # of a name that is there twice, Java takes the last
            text += JOINING_PROPERTIES.format(plain=plain)
        if secure:
            text += SECURE_PROPERTIES.format(
                controller=self.controller, plain=plain, secure=sasl_ssl, scram=SCRAM, pem=secure.pem
            )
        properties.write_text(text)
        logging.write_text(LOG4J)
        jvm = ["-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]
        storage_tool = [java, "-XX:TieredStopAtLevel=1", *jvm, "kafka.tools.StorageTool"]
        how = [f"--cluster-id={self.cluster}", *([] if joins else ["--standalone"])]
        _format(storage_tool, properties, how, secure.users if secure else {})
        super().__init__(folder, [java, "-Xms256m", "-Xmx512m", *jvm, "kafka.Kafka", str(properties)], {})

    def _answers(self, began: int) -> bool:
        return STARTED in self._said(began)


def kafka(folder: Path, secure: Secure | None = None, joins: Kafka | None = None) -> Kafka:
    """A broker with its data in `folder`, for a `with`. Raises `Unavailable` where it cannot be had.

    `joins`: the first broker of a cluster, running, whose second one this is to be.
    """
    return Kafka(folder, secure, joins)


def _new_cluster() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()


def _format(storage_tool: list[str], properties: Path, how: list[str], users: Mapping[str, str]) -> None:
    """Makes the empty data folder of a cluster that knows `users`. RuntimeError if there is data already."""
    words = ["format", f"--config={properties}", *how]
    words += [f"--add-scram={line}" for name, password in users.items() for line in _scram(name, password)]
    arguments = properties.parent / "format.arguments"  # one a line: keys have no place in argv
    with open(os.open(arguments, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{word}\n" for word in words)
    done = subprocess.run(
        [*storage_tool, f"@{arguments}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    arguments.unlink()
    if done.returncode:
        raise RuntimeError(f"kafka could not format {properties.parent / 'data'}: {done.stdout.strip()}")


def _scram(name: str, password: str) -> list[str]:
    """Both mechanisms' keys of a user, as the storage tool takes them: a password itself could hold its separators."""
    lines = []
    for mechanism, digest in (("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-512", "sha512")):
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, SCRAM_ITERATIONS)
        fields = {
            "name": name,
            "iterations": str(SCRAM_ITERATIONS),
            "salt": base64.b64encode(salt).decode(),
            "saltedpassword": base64.b64encode(salted).decode(),
        }
        lines.append(f"{mechanism}=[{','.join(f'{key}={value}' for key, value in fields.items())}]")
    return lines


@functools.cache
def _java() -> str:
    """The path of a Java that is new enough. `Unavailable` says what was found instead."""
    (java,) = tools("kafka", "java 17+", "java")
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', done.stderr)
    if done.returncode or not version or int(version[1]) < 17:
        raise Unavailable(f"kafka: needs java 17+; found: {(done.stderr.splitlines() or ['no version'])[0]}")
    return java


@functools.cache
def kafka_jars() -> Path:
    """The folder of the jars, each compared with its pin once in this process.

    `Unavailable` where anything is missing that Kafka needs.
    """
    jars = made("kafka", _fetch)
    verify(jars)
    _java()
    return jars


def _fetch(folder: Path) -> None:
    _, mvn = tools("kafka", "java 17+ and mvn", "java", "mvn")
    fetch = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    run("kafka", [mvn, "--batch-mode", "--quiet", "--file", PINS / "kafka/pom.xml", *fetch], folder)
    verify(folder)


def verify(jars: Path) -> None:
    """That `jars` holds the pinned jars and no other file. `Unavailable` names the first that differs."""
    pinned = {}
    for line in (PINS / "kafka/jars.sha256").read_text().splitlines():
        digest, name = line.split("  ")
        pinned[name] = digest
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in jars.iterdir()}
    for name in sorted(pinned.keys() | found.keys()):
        if pinned.get(name) != found.get(name):
            what = "is missing" if name not in found else "is not pinned" if name not in pinned else "has other bytes"
            raise Unavailable(f"kafka: {name} {what}: refused; remove {jars} to fetch it again")
