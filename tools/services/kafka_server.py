"""Kafka 4.1 in KRaft, broker and controller in one JVM, from jars that Maven fetches.

Every jar is named in `pins/kafka/jars.sha256` and compared with it after the fetch and before the first
use in a process: Maven's own checksums come from where the jars come from. (The Maven plugin that
fetches is pinned by version alone.)
"""

from __future__ import annotations

import base64
import functools
import hashlib
import subprocess
import uuid
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


class Kafka(Server):
    """A running broker: `servers` is what a client takes as its bootstrap servers."""

    name = "kafka"

    def __init__(self, folder: Path) -> None:
        (java,) = tools("kafka", "java")
        jars = kafka_jars()
        plain, controller = free_ports(2)
        self.servers = f"127.0.0.1:{plain}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        properties, logging = folder / "server.properties", folder / "log4j2.properties"
        properties.write_text(
            PROPERTIES.format(controller=controller, plain=plain, data=folder / "data", max_message=MAX_MESSAGE)
        )
        logging.write_text(LOG4J)
        jvm = ["-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={logging}", "-cp", f"{jars}/*"]
        _format([java, "-XX:TieredStopAtLevel=1", *jvm, "kafka.tools.StorageTool"], properties)
        super().__init__(folder, [java, "-Xms256m", "-Xmx512m", *jvm, "kafka.Kafka", properties], {})

    def _answers(self, began: int) -> bool:
        return STARTED in self._said(began)


def kafka(folder: Path) -> Kafka:
    """A broker with its data in `folder`, for a `with`. Raises `Unavailable` where it cannot be had."""
    return Kafka(folder)


def _format(storage_tool: list[str], properties: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    done = subprocess.run(
        [*storage_tool, "format", "--standalone", "--config", properties, f"--cluster-id={cluster}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"kafka could not format {properties.parent / 'data'}: {done.stdout.strip()}")


@functools.cache
def kafka_jars() -> Path:
    """The folder of the jars, each compared with its pin once in this process."""
    jars = made("kafka", _fetch)
    verify(jars)
    return jars


def _fetch(folder: Path) -> None:
    _, mvn = tools("kafka", "java", "mvn")
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
